import type { Principal } from '../http/auth.ts'

/** A value, or the promise of one: memory answers at once, a store behind a socket later. */
export type Awaitable<T> = T | Promise<T>

/** Goes on with a value, in the same tick when it is there already. */
export function whenReady<T, R> (value: Awaitable<T>, next: (value: T) => Awaitable<R>): Awaitable<R> {
  return value instanceof Promise ? value.then(next) : next(value)
}

export type LogLevel = 'debug' | 'info' | 'notice' | 'warning' | 'error' | 'critical' | 'alert' | 'emergency'

/** What is kept of a session between its requests. Plain data, so that any store can hold it. */
export interface SessionRecord {
  readonly id: string
  /** Issuer and subject of the principal that opened it, null without auth. */
  readonly principal: string | null
  readonly transport: 'http+sse' | 'streamable-http'
  /** The negotiated protocol revision. */
  revision: string
  /** True once `initialize` was answered. */
  initialized: boolean
  capabilities: object | null
  logLevel: LogLevel | null
  /** The URIs of the resources that its client subscribed to. */
  subscriptions: readonly string[]
  /** The ticket that opened it, and that may come back to it. */
  ticket: UsedTicket | null
  /** The node that holds its stream: of HTTP+SSE, where there are several nodes. */
  home: string | null
}

/** A ticket is kept by its hash, so that whoever reads the store cannot use it. */
export interface UsedTicket {
  readonly hash: string
  readonly principal: Principal | null
}

/** A ticket that waits for its use. */
export interface TicketRecord extends UsedTicket {
  /** Issuer and subject of its principal, null without auth. */
  readonly owner: string | null
}

export type Change = (record: SessionRecord) => void

/** What came of a new session or ticket: it is kept, the store holds as many as it may, or its principal does. */
export type Created = 'created' | 'full' | 'quota'

/** Sessions by id. A session that was not touched for its idle time is gone. */
export interface Sessions {
  /** `maxPerPrincipal`: the most sessions whose `principal` is the same. Those of null are not counted. */
  create (record: SessionRecord, maxPerPrincipal: number): Awaitable<Created>
  /** Keeps a session that the store has lost, unless it is there. */
  restore (record: SessionRecord): Awaitable<void>
  get (id: string): Awaitable<SessionRecord | undefined>
  /**
   * Changes a record as it is kept now, whoever else changed it since it was read, and brings the given one up to date.
   * `change` may be called again, and may throw: then nothing has changed.
   */
  update (record: SessionRecord, change: Change): Awaitable<void>
  /** Starts the idle time anew. */
  touch (record: SessionRecord): Awaitable<void>
  /** False when there was none. Its events go with it. */
  delete (id: string): Awaitable<boolean>
  readonly size: number
}

/** Tickets that were not used yet. */
export interface Tickets {
  /** Keeps a ticket for its time. `maxPerOwner`: the most unused tickets of its owner; those of null are not counted. */
  issue (record: TicketRecord, maxPerOwner: number): Awaitable<Created>
  /** Gives a ticket to the first who asks for it, and to nobody after. */
  take (hash: string): Awaitable<TicketRecord | undefined>
}

/** One event of a stream as it is kept for replay. */
export interface LoggedEvent {
  /** The stream that it belongs to. */
  stream: string
  /** Its number in that stream; one writer numbers them 1, 2, 3… */
  seq: number
  /** The whole SSE frame. */
  frame: string
  /** The request that this event answers, so that its loss can be told. */
  answers?: string | number
}

export interface Replay {
  /** The frames after the given number, in order. */
  frames: string[]
  /** False when some of them were trimmed. */
  isComplete: boolean
  /** The requests whose answers were among the trimmed. */
  lost: (string | number)[]
  /** False when more answers were trimmed than `lost` names. */
  isTold: boolean
  /** Of a stream whose node is gone before its end. */
  broken?: {
    /** The number of the last event that is known. */
    last: number
    /** The requests that were answered. */
    answered: (string | number)[]
  }
}

/** The events of each session's streams, kept within a budget of events, bytes and time for clients that come back. */
export interface EventLog {
  /**
   * Keeps one event and trims what is over the budget, held streams last.
   * False: what is held fills the budget, so the writer of a held stream must wait.
   */
  append (session: string, event: LoggedEvent): boolean
  /** From now on nothing of the stream is trimmed: its client is away. */
  hold (session: string, stream: string): void
  /** Its client is back: of a finished stream, it has everything. */
  release (session: string, stream: string): void
  /** The stream gets no more events; they are forgotten after the window. */
  finish (session: string, stream: string): void
  /** Undefined when nothing is known of the stream. */
  after (session: string, stream: string, seq: number): Awaitable<Replay | undefined>
  /** This node writes the stream from now on, in the place of one that is gone. Gives the number of its last event, 0 when there is none. */
  takeOver (session: string, stream: string): Awaitable<number>
  /** Another node may write the stream from now on: what is kept of it is left to that. */
  leave (session: string, stream: string): void
  /** Its session is over. */
  drop (session: string): void
}

export interface Count {
  readonly count: number
  /** Milliseconds until it starts anew. */
  readonly left: number
}

/** Counts how often something happens in each window of time, at all nodes. */
export interface Counters {
  /** Counts once more. `window`: milliseconds from the first count on. */
  hit (name: string, window: number): Awaitable<Count>
}

/** Who hears what other nodes say. */
export interface BusListener {
  /** JSON. */
  onMessage (message: unknown): void
  /** Some messages may have been lost. `isEmptied`: and with them all that the store has kept. */
  onGap (isEmptied: boolean): void
}

/** How the nodes of one server reach each other. What one node sends another arrives in order, if it arrives. */
export interface Bus {
  /** This node: 8 hexadecimal digits. */
  readonly node: string
  /** Rejects with FST_MCP_STORE_UNAVAILABLE. */
  send (node: string, message: object): Promise<void>
  /** To every node, this one too, in the same order; false before this node hears. Rejects with FST_MCP_STORE_UNAVAILABLE. */
  broadcast (message: object): Promise<boolean>
  /** Gives back its undo. */
  listen (listener: BusListener): () => void
  /** Whether a node was there within the last few seconds. Rejects with FST_MCP_STORE_UNAVAILABLE. */
  isAlive (node: string): Promise<boolean>
}

/** Where sessions, their events and tickets live. One store may be opened by several servers; they do not meet. */
export interface Store {
  open (limits: StoreLimits): OpenStore
}

export interface OpenStore {
  readonly sessions: Sessions
  readonly events: EventLog
  readonly tickets: Tickets
  /** Null where there is one node. */
  readonly bus: Bus | null
  /** Null where every node counts for itself. */
  readonly counters: Counters | null
  /** Resolves once it can be used. */
  opened (): Awaitable<void>
  /** Why it cannot be used now, or null. */
  problem (): string | null
  close (): Awaitable<void>
}

export interface StoreLimits {
  /** Names the server: the same on all its nodes, and its own among those that share a store. */
  server: string
  /** Milliseconds without a request after which a session is gone. */
  idle: number
  /** The most sessions at once. */
  max: number
  replay: { events: number, bytes: number, window: number }
  /** Milliseconds for which an unused ticket is good, and the most of them. */
  tickets: { ttl: number, max: number }
}
