import type { Cluster } from '../cluster/cluster.ts'
import { atLimit, errorCodes } from '../errors.ts'
import { checkUris } from '../features/subscriptions.ts'
import type { Principal } from '../http/auth.ts'
import type { Call } from '../protocol/call.ts'
import type { SessionMemory } from '../protocol/methods.ts'
import { ownerOf } from '../protocol/owner.ts'
import type { StreamPool } from '../sse/pool.ts'
import { type Awaitable, type Change, type EventLog, type OpenStore, type SessionRecord, whenReady } from '../store/store.ts'
import { Audience } from './audience.ts'
import { Channel, type ChannelHost, type ChannelOptions } from './channel.ts'
import { Elsewhere } from './elsewhere.ts'
import type { Position } from './event-id.ts'
import type { Resumed } from './resume.ts'
import { Session } from './session.ts'

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
  /** Null where there is one node. */
  readonly cluster: Cluster | null
  /** The store failed in something that nobody waits for. */
  readonly onError: (error: unknown) => void
}

/** The sessions of one server: their records in the store, and what of them is at work here. */
export class SessionHost implements SessionMemory, ChannelHost {
  readonly #options: SessionsOptions
  readonly #live = new Map<string, Session>()
  /** Those at work, as they are told of changes. */
  readonly audience = new Audience(this.#live)
  readonly #timer: NodeJS.Timeout
  /** Whether there are no new sessions, and no new streams of old ones. */
  isLeaving = false
  /** What other nodes do for these sessions; null where there are none. */
  readonly elsewhere: Elsewhere | null

  constructor (options: SessionsOptions) {
    this.#options = options
    const { cluster, store, pool } = options
    this.elsewhere = cluster === null ? null : new Elsewhere(this, cluster, store, pool)
    // Whoever holds a stream open or waits for an answer is not idle.
    this.#timer = setInterval(() => {
      for (const { record, isIdle } of this.#live.values()) if (!isIdle) this.inBackground(() => store.sessions.touch(record))
    }, options.idle / 2).unref()
  }

  /** Nobody waits for this: a store that fails is told to the log. */
  inBackground (work: () => Awaitable<unknown>): void {
    try {
      const done = work()
      if (done instanceof Promise) done.catch(this.#options.onError)
    } catch (error) {
      this.#options.onError(error)
    }
  }

  /** Ends the session of a client that did not come back. */
  expire (id: string): void {
    this.inBackground(() => this.end(id, errorCodes.FST_MCP_CLIENT_GONE))
  }

  /** Throws FST_MCP_SESSIONS_FULL, FST_MCP_QUOTA_EXCEEDED and FST_MCP_CLOSING. */
  create (record: SessionRecord): Awaitable<SessionRecord> {
    if (this.isLeaving) throw new errorCodes.FST_MCP_CLOSING()
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
      this.inBackground(() => sessions.touch(record))
      const live = this.#live.get(id)
      if (live === undefined) return record
      // What it may see may have changed since it last came in.
      live.principal = principal
      return this.#refresh(live, record)
    })
  }

  /** What is at work goes by the record as it is kept now. */
  #refresh (live: Session, record: SessionRecord): SessionRecord {
    // In memory it is the very record.
    if (live.record !== record) Object.assign(live.record, record)
    this.audience.index(live)
    return live.record
  }

  /** `uri`: of a resource that it subscribes to. Ready when what is said after it comes after it at all nodes. */
  update (record: SessionRecord, change: Change, uri?: string): Awaitable<void> {
    return whenReady(this.#options.store.sessions.update(record, change), () => {
      const live = this.#live.get(record.id)
      if (live !== undefined) this.#refresh(live, record)
      return this.elsewhere?.changed(record.id, uri)
    })
  }

  get pool (): StreamPool {
    return this.#options.pool
  }

  get events (): EventLog {
    return this.#options.store.events
  }

  get window (): number {
    return this.#options.window
  }

  get retry (): number {
    return this.#options.retry
  }

  /** Of the sessions that are at work here. */
  records (): SessionRecord[] {
    return [...this.#live.values()].map(({ record }) => record)
  }

  /** What is at work of a session, if anything is. */
  peek (id: string): Session | undefined {
    return this.#live.get(id)
  }

  live (record: SessionRecord): Session {
    let session = this.#live.get(record.id)
    if (session === undefined) {
      this.#live.set(record.id, session = new Session(record))
      this.audience.index(session)
    }
    return session
  }

  #forget (session: Session): void {
    this.#live.delete(session.record.id)
    this.audience.forget(session)
  }

  /** Tells a session of changes of a resource. Throws FST_MCP_SUBSCRIPTIONS_FULL. */
  subscribe (record: SessionRecord, uri: string): Awaitable<void> {
    const { uris, pool } = this.#options
    return this.update(record, record => {
      if (record.subscriptions.includes(uri)) return
      const subscriptions = [...record.subscriptions, uri]
      checkUris(subscriptions, { max: uris, characters: pool.buffer }, 'session')
      record.subscriptions = subscriptions
    }, uri)
  }

  unsubscribe (record: SessionRecord, uri: string): Awaitable<void> {
    return this.update(record, record => {
      record.subscriptions = record.subscriptions.filter(subscribed => subscribed !== uri)
    })
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

  openChannel (record: SessionRecord, options: ChannelOptions): Channel {
    const session = this.live(record)
    const channel = new Channel(session, options, this)
    // Spread into a literal, they would take room for sixteen more.
    session.channels = session.channels.concat(channel)
    if (!channel.kind.listens) return channel
    session.listeners = session.listeners.concat(channel)
    this.elsewhere?.listening(session)
    return channel
  }

  ended (channel: Channel): void {
    const { session, kind } = channel
    session.channels = session.channels.filter(other => other !== channel)
    if (kind.listens) this.#unlisten(session, channel)
    this.#dropIdle(session)
  }

  #unlisten (session: Session, channel: Channel): void {
    session.listeners = session.listeners.filter(listener => listener !== channel)
    if (session.listeners.length === 0 && !session.isMuted) this.elsewhere?.deaf(session.record)
  }

  /** What is known of the stream that a client comes back to. */
  replay (record: SessionRecord, { stream, seq }: Position): Awaitable<Resumed> {
    const { events } = this.#options.store
    const channelOf = (): Channel | undefined => this.peek(record.id)?.channel(stream)
    // A store may take its time, and the tool goes on meanwhile.
    const sentMeanwhile = channelOf()?.capture()
    return whenReady(events.after(record.id, stream, seq), replay => {
      events.release(record.id, stream)
      const frames = new Set([...replay?.frames ?? [], ...sentMeanwhile?.() ?? []])
      return { name: stream, seq, channel: channelOf(), replay: replay && { ...replay, frames: [...frames] } }
    })
  }

  /** Ends a session with everything that is at work for it. */
  end (id: string, Reason: new () => Error): Awaitable<boolean> {
    this.stop(id, Reason)
    return whenReady(this.#options.store.sessions.delete(id), isDeleted => {
      this.elsewhere?.ended(id)
      return isDeleted
    })
  }

  /** Ends what is at work for a session here. */
  stop (id: string, Reason: new () => Error): void {
    const session = this.#live.get(id)
    if (session === undefined) return
    this.#forget(session)
    session.end(new Reason())
  }

  /** Ends the streams, and tells their clients to come back, perhaps to other nodes. */
  async handOver (): Promise<void> {
    const live = [...this.#live.values()]
    for (const { channels } of live) channels.forEach(channel => channel.leaveOff())
    await this.elsewhere?.leave(live.map(({ record }) => record))
  }

  /** Ends what is at work here. */
  close (reason: Error): void {
    clearInterval(this.#timer)
    for (const session of this.#live.values()) session.end(reason)
    this.#live.clear()
    this.audience.clear()
  }
}
