import { atLimit, errorCodes } from '../errors.ts'
import { checkUris, LIST_CHANGED, type IsSeen, type Subscriber, type Subscriptions, UPDATED } from '../features/subscriptions.ts'
import type { ListName } from '../features/registry.ts'
import type { Principal } from '../http/auth.ts'
import { isObject, notificationOf, type Request, type RequestId, resultOf } from '../protocol/message.ts'
import { ownerOf } from '../protocol/owner.ts'
import { message } from '../sse/frame.ts'
import { Mailbox } from '../sse/mailbox.ts'
import type { StreamPool } from '../sse/pool.ts'
import type { SseStream } from '../sse/stream.ts'
import { Tally } from '../sse/tally.ts'

const SUBSCRIPTION_ID = 'io.modelcontextprotocol/subscriptionId'

/** What a client wants to hear of. */
interface Filter {
  toolsListChanged?: true
  promptsListChanged?: true
  resourcesListChanged?: true
  resourceSubscriptions?: string[]
}

export interface ListenersOptions {
  readonly pool: StreamPool
  readonly subscriptions: Subscriptions
  readonly limits: { readonly maxPerPrincipal: number, readonly uris: number }
  /** Which of the lists the server declared. */
  readonly declares: (list: ListName) => boolean
  /** Whether somebody could read a resource. */
  readonly knows: (uri: string, principal: Principal | null) => boolean
  /** What the era adds to every result. */
  readonly complete: (result: object) => object
}

const FIELDS = { tools: 'toolsListChanged', prompts: 'promptsListChanged', resources: 'resourcesListChanged', templates: 'resourcesListChanged' } as const

/**
 * The streams of `subscriptions/listen`: each tells its client of what it asked for until either side ends it.
 * Specification: 2026-07-28, basic/patterns/subscriptions.
 */
export class Listeners {
  readonly #options: ListenersOptions
  readonly #open = new Set<Listener>()
  readonly #owners = new Tally()

  #isClosed = false

  constructor (options: ListenersOptions) {
    this.#options = options
  }

  get size (): number {
    return this.#open.size
  }

  /** Throws FST_MCP_PARAMS_INVALID, FST_MCP_SUBSCRIPTIONS_FULL, FST_MCP_STREAMS_FULL, FST_MCP_QUOTA_EXCEEDED and FST_MCP_CLOSING. */
  open ({ id, params }: Request, principal: Principal | null): SseStream {
    if (this.#isClosed) throw new errorCodes.FST_MCP_CLOSING()
    const { pool, subscriptions, limits } = this.#options
    const filter = this.#honour(params.notifications, principal)
    const owner = ownerOf(principal)
    if (this.#owners.of(owner) >= limits.maxPerPrincipal) {
      throw atLimit('subscriptions.maxPerPrincipal', new errorCodes.FST_MCP_SUBSCRIPTIONS_FULL(`${limits.maxPerPrincipal} for each principal`))
    }
    pool.admit(owner)
    this.#owners.add(owner)
    const listener: Listener = new Listener(id, filter, principal, this.#options, () => {
      undo()
      this.#open.delete(listener)
      this.#owners.remove(owner)
    })
    const undo = subscriptions.add(listener)
    this.#open.add(listener)
    return listener.stream
  }

  /** The part of a filter that can be served. Nobody learns which resources exist but are hidden. */
  #honour (given: unknown, principal: Principal | null): Filter {
    if (!isObject(given)) throw new errorCodes.FST_MCP_PARAMS_INVALID('`notifications` must be an object')
    const { resourceSubscriptions } = given
    for (const field of new Set(Object.values(FIELDS))) {
      if (!['boolean', 'undefined'].includes(typeof given[field])) throw new errorCodes.FST_MCP_PARAMS_INVALID(`\`notifications.${field}\` must be a boolean`)
    }
    const wants = (list: ListName): boolean => given[FIELDS[list]] === true && this.#options.declares(list)
    return {
      ...(wants('tools') && { toolsListChanged: true }),
      ...(wants('prompts') && { promptsListChanged: true }),
      ...(wants('resources') && { resourcesListChanged: true }),
      ...(resourceSubscriptions !== undefined && { resourceSubscriptions: this.#known(resourceSubscriptions, principal) })
    }
  }

  #known (given: unknown, principal: Principal | null): string[] {
    const { limits, knows, pool } = this.#options
    if (!Array.isArray(given) || !given.every(uri => typeof uri === 'string')) {
      throw new errorCodes.FST_MCP_PARAMS_INVALID('`notifications.resourceSubscriptions` must be an array of strings')
    }
    checkUris(given, { max: limits.uris, characters: pool.buffer }, 'subscription')
    return [...new Set(given)].filter(uri => knows(uri, principal))
  }

  /** Ends every subscription with its result; there are no new ones. */
  close (): void {
    this.#isClosed = true
    for (const listener of this.#open) listener.end()
  }
}

/** One subscription. */
class Listener implements Subscriber {
  readonly stream: SseStream
  readonly #id: RequestId
  readonly #filter: Filter
  readonly #uris: ReadonlySet<string>
  readonly #principal: Principal | null
  readonly #mailbox: Mailbox
  readonly #meta: Readonly<Record<string, unknown>>
  readonly #complete: ListenersOptions['complete']

  constructor (id: RequestId, filter: Filter, principal: Principal | null, { pool, complete }: ListenersOptions, closed: () => void) {
    this.#id = id
    this.#filter = filter
    this.#uris = new Set(filter.resourceSubscriptions)
    this.#principal = principal
    this.#meta = { [SUBSCRIPTION_ID]: id }
    this.#complete = complete
    const stream = this.stream = pool.open({ owner: ownerOf(principal), closed })
    this.#mailbox = new Mailbox({
      budget: pool.buffer,
      send: json => { stream.write(message(json)) },
      room: () => stream.room(),
      // A client that comes back reads the lists anew.
      onOverflow: () => stream.destroy()
    })
    stream.write(message(notificationOf('notifications/subscriptions/acknowledged', { notifications: filter, _meta: this.#meta })))
  }

  listChanged (list: ListName, isSeen: IsSeen): void {
    if (this.#filter[FIELDS[list]] !== true || !isSeen(this.#principal)) return
    this.#mailbox.put(LIST_CHANGED[list], notificationOf(LIST_CHANGED[list], { _meta: this.#meta }))
  }

  updated (uri: string, isSeen: IsSeen): void {
    if (this.#uris.has(uri) && isSeen(this.#principal)) this.#mailbox.put(uri, notificationOf(UPDATED, { uri, _meta: this.#meta }))
  }

  uris (): Iterable<string> {
    return this.#uris
  }

  end (): void {
    this.stream.write(message(resultOf(this.#id, this.#complete({ _meta: this.#meta }))))
    this.stream.end()
  }
}
