import type { Cluster } from '../cluster/cluster.ts'
import type { ListName } from '../features/registry.ts'
import type { IsSeen, Subscriptions } from '../features/subscriptions.ts'
import type { Principal } from '../http/auth.ts'

export interface ChangesOptions {
  readonly subscriptions: Subscriptions
  /** Null where there is one node. */
  readonly cluster: Cluster | null
  /** Whether something of a list may be told of. */
  readonly isShown: (list: ListName, key: string, principal: Principal | null) => boolean
  /** Whether a resource is there for a principal. */
  readonly isKnown: (uri: string, principal: Principal | null) => boolean
  /** The lists that anything was ever registered on. */
  readonly usedLists: () => readonly ListName[]
}

/** What changes on the server, told to whoever listens at any node. */
export class Changes {
  readonly #options: ChangesOptions

  constructor (options: ChangesOptions) {
    this.#options = options
    const letters = options.cluster?.letters
    letters?.on('list', ({ list, keys }) => this.#listElsewhere(list as ListName, keys as readonly string[]))
    letters?.on('updated', ({ uri }) => this.#updated(String(uri)))
    letters?.onLoss(() => this.#catchUp())
  }

  /** `keys`: of what changed, which `isSeen` says who could see. */
  list (list: ListName, isSeen: IsSeen, keys: readonly string[]): void {
    const { subscriptions, cluster } = this.#options
    subscriptions.listChanged(list, isSeen)
    cluster?.letters.tellAll('list', { list, keys })
  }

  #listElsewhere (list: ListName, keys: readonly string[]): void {
    const { subscriptions, isShown } = this.#options
    subscriptions.listChanged(list, principal => keys.some(key => isShown(list, key, principal)))
  }

  updated (uri: string): void {
    this.#updated(uri)
    this.#options.cluster?.letters.tellAll('updated', { uri })
  }

  #updated (uri: string): void {
    // Templates take their time to match, and most who listen are one principal, or nobody.
    const seen = new Map<Principal | null, boolean>()
    this.#options.subscriptions.updated(uri, principal => {
      const isSeen = seen.get(principal) ?? this.#options.isKnown(uri, principal)
      seen.set(principal, isSeen)
      return isSeen
    })
  }

  /** What other nodes said may have been lost, so everything may have changed. */
  #catchUp (): void {
    const { subscriptions, usedLists } = this.#options
    for (const list of usedLists()) subscriptions.listChanged(list, () => true)
    for (const uri of subscriptions.uris()) this.#updated(uri)
  }
}
