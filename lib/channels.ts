import { channel } from 'node:diagnostics_channel'
import type { CallInfo } from './protocol/call-info.ts'

/** The options whose limits refuse; `tool.rateLimit` is `rateLimit` in the definition of a tool. */
export type LimitName =
  | 'sessions.max' | 'sessions.maxPerPrincipal' | 'streams.max' | 'streams.maxPerPrincipal' | 'streams.buffer'
  | 'tickets.max' | 'tickets.maxPerPrincipal' | 'limits.calls' | 'limits.callsPerSession' | 'limits.callsPerPrincipal' | 'ask.max' | 'ask.maxPerPrincipal'
  | 'subscriptions.maxPerPrincipal' | 'subscriptions.uris' | 'rateLimit.max' | 'rateLimit.maxPerAddress' | 'tool.rateLimit'
  | 'limits.body' | 'limits.batch' | 'limits.depth' | 'limits.keys' | 'limits.values' | 'limits.id' | 'limits.header'

interface OfServer {
  /** The option `name` of the server. */
  readonly server: string
}

/** What the channel `fastify-mcp-sse:limit` carries: a limit has refused something. */
export interface LimitEvent extends OfServer {
  readonly limit: LimitName
  /** `FST_MCP_…`, as the client reads it. */
  readonly code: string
  /** Whose request it was: the length of the issuer, `:`, issuer and id. Null without auth, and before the token was looked at. */
  readonly principal: string | null
}

/** What the channel `fastify-mcp-sse:auth` carries: a request was refused for its token, or for want of one. */
export interface AuthEvent extends OfServer {
  /** `FST_MCP_…`, as the client reads it. */
  readonly code: string
}

/**
 * What `fastify-mcp-sse:call:start` carries: a request of a client begins. A store that is bound to this channel
 * (`bindStore` of node:diagnostics_channel) holds for all that its handler and its hooks do; what listens to its `signal` runs as
 * whoever aborts it.
 */
export interface CallStartEvent extends OfServer {
  /** The same object as in its `call:end`. */
  readonly call: CallInfo
}

/** How a call ended. `tool_error`: in a result with `isError`. `input_required`: it asks its client, and runs again (2026-07-28). */
export type Outcome = 'ok' | 'tool_error' | 'error' | 'cancelled' | 'input_required'

/** What `fastify-mcp-sse:call:end` carries: the response is on its way, or there is none. */
export interface CallEndEvent extends CallStartEvent {
  readonly outcome: Outcome
  /** `FST_MCP_…`, or the number of a `McpError`; undefined where nothing went wrong, and for a `ToolError`. */
  readonly code: string | undefined
  /** The number of the JSON-RPC error that answers the call; undefined where a result does, or nothing. */
  readonly rpcCode: number | undefined
  /** What was thrown, as it was, where anything was. */
  readonly error: unknown
  /** Milliseconds. */
  readonly duration: number
  /** Milliseconds until the first chunk was sent; undefined where none was. */
  readonly firstChunk: number | undefined
  /** Progress and log messages that were sent. Without a progress token no progress is. */
  readonly chunks: number
  /** Bytes of JSON, with those of the response. */
  readonly bytes: number
  /** Milliseconds in which chunks waited for the client to read. */
  readonly blocked: number
}

/** What `fastify-mcp-sse:resume` carries: a client came back for the rest of a stream. */
export interface ResumeEvent extends OfServer {
  /** Events that it had missed and was sent. */
  readonly replayed: number
  /** False when some were lost, of which it is told. */
  readonly isComplete: boolean
  /** Whether the stream goes on. */
  readonly isLive: boolean
}

/** What `fastify-mcp-sse:kick` carries: this server broke the connection of a stream. */
export interface KickEvent extends OfServer {
  /**
   * `stalled`: its client read nothing for `streams.stall` ms. `overflow`: it read too slowly for what belongs to no call.
   * `replaced`: it came back on another connection.
   */
  readonly reason: 'stalled' | 'overflow' | 'replaced'
}

/** What `fastify-mcp-sse:store` carries: Redis has answered a command, or has not. */
export interface StoreEvent {
  /** `EVALSHA`, `GET`, … */
  readonly command: string
  /** Milliseconds. */
  readonly duration: number
  readonly failed: boolean
}

/** What `fastify-mcp-sse:route` carries: another node was asked to do something for a client of this one. */
export interface RouteEvent {
  /** What it was asked for. */
  readonly kind: string
  /** Milliseconds until it answered. */
  readonly duration: number
  /** `gone`: that node is no more. */
  readonly outcome: 'ok' | 'gone' | 'failed'
}

/** A channel of node:diagnostics_channel, as far as it is used here. */
export interface Channel<Event> {
  readonly hasSubscribers: boolean
  publish (event: Event): void
  subscribe (take: (event: Event) => void): void
  unsubscribe (take: (event: Event) => void): void
  runStores<Result> (event: Event, work: () => Result): Result
}

// What is published is what is declared here: nobody else publishes on these.
const named = <Event>(name: string) => channel(`fastify-mcp-sse:${name}`) as Channel<Event>

/** Everything that can be observed, on channels of node:diagnostics_channel. Nothing is measured for a channel without subscribers. */
export const channels = {
  callStart: named<CallStartEvent>('call:start'),
  callEnd: named<CallEndEvent>('call:end'),
  resume: named<ResumeEvent>('resume'),
  kick: named<KickEvent>('kick'),
  limit: named<LimitEvent>('limit'),
  auth: named<AuthEvent>('auth'),
  store: named<StoreEvent>('store'),
  route: named<RouteEvent>('route')
} as const
