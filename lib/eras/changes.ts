import type { Cluster } from '../cluster/cluster.ts'
import type { Letter } from '../cluster/letters.ts'
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
  /** Who could see what this node changed, until that comes back in its turn: all nodes tell their listeners in one order. */
  readonly #own = new Map<number, IsSeen>()
  #count = 0

  constructor (options: ChangesOptions) {
    this.#options = options
    const letters = options.cluster?.letters
    letters?.onOrdered('list', (letter, from) => this.#listChanged(letter, from === letters.node))
    letters?.onOrdered('updated', ({ uri }) => this.#updated(String(uri)))
    letters?.onLoss(() => this.#catchUp())
  }

  /** `keys`: of what changed, which `isSeen` says who could see. */
  list (list: ListName, isSeen: IsSeen, keys: readonly string[]): void {
    const { subscriptions, cluster } = this.#options
    const tell = (): void => subscriptions.listChanged(list, isSeen)
    if (cluster === null) return tell()
    const number = ++this.#count
    this.#own.set(number, isSeen)
    cluster.letters.tellInOrder('list', { list, keys, number }, () => {
      this.#own.delete(number)
      tell()
    })
  }

  #listChanged (letter: Letter, isOwn: boolean): void {
    const { subscriptions, isShown } = this.#options
    // What this node's registrations are named.
    const { list, keys, number } = letter as { list: ListName, keys: readonly string[], number: number }
    const own = isOwn ? this.#own.get(number) : undefined
    if (isOwn) this.#own.delete(number)
    subscriptions.listChanged(list, own ?? (principal => keys.some(key => isShown(list, key, principal))))
  }

  updated (uri: string): void {
    const { cluster } = this.#options
    if (cluster === null) this.#updated(uri)
    else cluster.letters.tellInOrder('updated', { uri }, () => this.#updated(uri))
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
    this.#own.clear()
    for (const list of usedLists()) subscriptions.listChanged(list, () => true)
    for (const uri of subscriptions.uris()) this.#updated(uri)
  }
}
