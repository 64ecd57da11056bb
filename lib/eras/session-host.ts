import { atLimit, errorCodes } from '../errors.ts'
import type { Principal } from '../http/auth.ts'
import { LIST_CHANGED, type IsSeen, type Subscriber, UPDATED } from '../features/subscriptions.ts'
import type { ListName } from '../features/registry.ts'
import type { Call } from '../protocol/call.ts'
import { notificationOf } from '../protocol/message.ts'
import type { SessionMemory } from '../protocol/methods.ts'
import { ownerOf } from '../protocol/owner.ts'
import type { StreamPool } from '../sse/pool.ts'
import { type Awaitable, type OpenStore, type SessionRecord, whenReady } from '../store/store.ts'
import { Channel } from './channel.ts'
import type { Position } from './event-id.ts'
import type { Resumed } from './resume.ts'
import { Session } from './session.ts'

export interface ChannelInit {
  readonly id: string
  readonly primes: boolean
  /** True for a stream that carries what belongs to no call. */
  readonly listens: boolean
  readonly isDisposable: boolean
  readonly onLost: () => void
  readonly onGap: () => void
}

export interface SessionsOptions {
  readonly store: OpenStore
  readonly pool: StreamPool
  /** Milliseconds after which an untouched session is gone. */
  readonly idle: number
  readonly window: number
  readonly retry: number
  /** The most sessions of one principal. */
  readonly maxPerPrincipal: number
  /** The most resources that one session may subscribe to. */
  readonly uris: number
  /** The store failed in something that nobody waits for. */
  readonly onError: (error: unknown) => void
}

/** The sessions of one server: their records in the store, and what of them is at work here. */
export class SessionHost implements Subscriber, SessionMemory {
  readonly #options: SessionsOptions
  readonly #live = new Map<string, Session>()
  /** The sessions at work by the resources that they subscribed to. */
  readonly #subscribers = new Map<string, Set<Session>>()
  readonly #timer: NodeJS.Timeout

  constructor (options: SessionsOptions) {
    this.#options = options
    this.#timer = setInterval(() => this.#touchLive(), options.idle / 2).unref()
  }

  /** Whoever holds a stream open or waits for an answer is not idle. */
  #touchLive (): void {
    for (const [id, session] of this.#live) {
      if (!session.isIdle) this.#inBackground(() => this.#options.store.sessions.touch(id))
    }
  }

  /** Nobody waits for this: a store that fails is told to the log. */
  #inBackground (work: () => Awaitable<unknown>): void {
    try {
      const done = work()
      if (done instanceof Promise) done.catch(this.#options.onError)
    } catch (error) {
      this.#options.onError(error)
    }
  }

  /** Ends the session of a client that did not come back. */
  expire (id: string): void {
    this.#inBackground(() => this.end(id, new errorCodes.FST_MCP_CLIENT_GONE()))
  }

  /** Throws FST_MCP_SESSIONS_FULL and FST_MCP_QUOTA_EXCEEDED. */
  create (record: SessionRecord): Awaitable<SessionRecord> {
    const { store: { sessions }, maxPerPrincipal } = this.#options
    return whenReady(sessions.create(record, maxPerPrincipal), created => {
      if (created === 'quota') throw atLimit('sessions.maxPerPrincipal', new errorCodes.FST_MCP_QUOTA_EXCEEDED(maxPerPrincipal, 'sessions'))
      if (created === 'full') throw atLimit('sessions.max', new errorCodes.FST_MCP_SESSIONS_FULL())
      return record
    })
  }

  /** Undefined when it is unknown, over, of the other transport or somebody else's: none of these can be told apart. */
  find (id: string, principal: Principal | null, transport: SessionRecord['transport']): Awaitable<SessionRecord | undefined> {
    const { sessions } = this.#options.store
    return whenReady(sessions.get(id), record => {
      if (record === undefined || record.principal !== ownerOf(principal) || record.transport !== transport) return undefined
      const live = this.#live.get(id)
      // What it may see may have changed since it last came in.
      if (live !== undefined) live.principal = principal
      return whenReady(sessions.touch(id), () => record)
    })
  }

  update (record: SessionRecord): Awaitable<void> {
    return this.#options.store.sessions.update(record)
  }

  /** What is at work of a session, if anything is. */
  peek (id: string): Session | undefined {
    return this.#live.get(id)
  }

  live (record: SessionRecord): Session {
    let session = this.#live.get(record.id)
    if (session === undefined) {
      this.#live.set(record.id, session = new Session(record))
      for (const uri of record.subscriptions) this.#index(uri, session)
    }
    return session
  }

  #index (uri: string, session: Session): void {
    const sessions = this.#subscribers.get(uri)
    if (sessions === undefined) this.#subscribers.set(uri, new Set([session]))
    else sessions.add(session)
  }

  #unindex (uri: string, session: Session): void {
    const sessions = this.#subscribers.get(uri)
    if (sessions?.delete(session) === true && sessions.size === 0) this.#subscribers.delete(uri)
  }

  #forget (session: Session): void {
    this.#live.delete(session.record.id)
    for (const uri of session.record.subscriptions) this.#unindex(uri, session)
  }

  /** Tells a session of changes of a resource. Throws FST_MCP_SUBSCRIPTIONS_FULL. */
  subscribe (record: SessionRecord, uri: string): Awaitable<void> {
    const { uris, pool } = this.#options
    if (record.subscriptions.includes(uri)) return
    if (record.subscriptions.length >= uris) throw atLimit('subscriptions.uris', new errorCodes.FST_MCP_SUBSCRIPTIONS_FULL(`${uris} resources for each session`))
    const length = record.subscriptions.reduce((sum, subscribed) => sum + subscribed.length, uri.length)
    if (length > pool.buffer) throw atLimit('streams.buffer', new errorCodes.FST_MCP_SUBSCRIPTIONS_FULL(`${pool.buffer} characters of URIs for each session`))
    record.subscriptions = [...record.subscriptions, uri]
    const session = this.#live.get(record.id)
    if (session !== undefined) this.#index(uri, session)
    return this.update(record)
  }

  unsubscribe (record: SessionRecord, uri: string): Awaitable<void> {
    record.subscriptions = record.subscriptions.filter(subscribed => subscribed !== uri)
    const session = this.#live.get(record.id)
    if (session !== undefined) this.#unindex(uri, session)
    return this.update(record)
  }

  /** Keeps a call where a cancellation finds it until it is answered. */
  track (record: SessionRecord, call: Call, done: Promise<void>): void {
    const session = this.live(record)
    session.calls.set(call.id, call)
    done.then(() => {
      session.calls.delete(call.id)
      this.#dropIdle(session)
    })
  }

  #dropIdle (session: Session): void {
    if (session.isIdle && this.#live.get(session.record.id) === session) this.#forget(session)
  }

  openChannel (record: SessionRecord, { id, primes, listens, isDisposable, onLost, onGap }: ChannelInit): Channel {
    const { pool, window, retry, store: { events } } = this.#options
    const session = this.live(record)
    const channel: Channel = new Channel({
      id,
      session: record.id,
      owner: record.principal,
      pool,
      events,
      window,
      retry,
      primes,
      isDisposable,
      onLost,
      onGap,
      onEnd: () => {
        session.channels.delete(id)
        session.listeners.delete(channel)
        this.#dropIdle(session)
      }
    })
    session.channels.set(id, channel)
    if (listens) session.listeners.add(channel)
    return channel
  }

  /** What is known of the stream that a client comes back to. */
  replay (record: SessionRecord, { stream, seq }: Position): Awaitable<Resumed> {
    const { events } = this.#options.store
    const channelOf = (): Channel | undefined => this.peek(record.id)?.channels.get(stream)
    // A store may take its time, and the tool goes on meanwhile.
    const sentMeanwhile = channelOf()?.capture()
    return whenReady(events.after(record.id, stream, seq), replay => {
      events.release(record.id, stream)
      const frames = new Set([...replay?.frames ?? [], ...sentMeanwhile?.() ?? []])
      return { name: stream, channel: channelOf(), replay: replay && { ...replay, frames: [...frames] } }
    })
  }

  /** Ends a session with everything that is at work for it. */
  end (id: string, reason: Error): Awaitable<boolean> {
    const session = this.#live.get(id)
    if (session !== undefined) this.#forget(session)
    session?.end(reason)
    return this.#options.store.sessions.delete(id)
  }

  /** One serialisation for all who listen. */
  listChanged (list: ListName, isSeen: IsSeen): void {
    const method = LIST_CHANGED[list]
    const json = notificationOf(method)
    for (const session of this.#live.values()) {
      if (session.hears && isSeen(session.principal)) session.notify(method, json)
    }
  }

  updated (uri: string, isSeen: IsSeen): void {
    const json = notificationOf(UPDATED, { uri })
    for (const session of this.#subscribers.get(uri) ?? []) {
      if (session.hears && isSeen(session.principal)) session.notify(uri, json)
    }
  }

  close (reason: Error): void {
    clearInterval(this.#timer)
    for (const session of this.#live.values()) session.end(reason)
    this.#live.clear()
    this.#subscribers.clear()
  }
}
