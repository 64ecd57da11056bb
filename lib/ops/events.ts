import { channel } from 'node:diagnostics_channel'
import { takeLimit, toRpcError } from '../errors.ts'

/** The options whose limits refuse; `tool.rateLimit` is `rateLimit` in the definition of a tool. */
export type LimitName =
  | 'sessions.max' | 'sessions.maxPerPrincipal' | 'streams.max' | 'streams.maxPerPrincipal' | 'streams.buffer'
  | 'tickets.max' | 'tickets.maxPerPrincipal' | 'limits.calls' | 'limits.callsPerSession' | 'limits.callsPerPrincipal' | 'ask.max' | 'ask.maxPerPrincipal'
  | 'subscriptions.maxPerPrincipal' | 'subscriptions.uris' | 'rateLimit.max' | 'rateLimit.maxPerAddress' | 'tool.rateLimit'
  | 'limits.body' | 'limits.batch' | 'limits.depth' | 'limits.keys' | 'limits.values' | 'limits.id' | 'limits.header'

/** What the channel `fastify-mcp-sse:limit` carries: a limit has refused something. */
export interface LimitEvent {
  readonly limit: LimitName
  /** `FST_MCP_…`, as the client reads it. */
  readonly code: string
  /** Whose request it was: the length of the issuer, `:`, issuer and id. Null without auth, and before the token was looked at. */
  readonly principal: string | null
  /** The option `name` of the server. */
  readonly server: string
}

/** What the channel `fastify-mcp-sse:auth` carries: a request was refused for its token, or for want of one. */
export interface AuthEvent {
  /** `FST_MCP_…`, as the client reads it. */
  readonly code: string
  /** The option `name` of the server. */
  readonly server: string
}

/** Publishes a refusal, if it is one that somebody counts. */
export type TellRefusal = (error: unknown, principal: string | null) => void

const LIMIT = channel('fastify-mcp-sse:limit')
const AUTH = channel('fastify-mcp-sse:auth')
const OF_AUTH = new Set(['FST_MCP_UNAUTHORIZED', 'FST_MCP_TOKEN_INVALID', 'FST_MCP_SCOPE_INSUFFICIENT', 'FST_MCP_AUTH_UNAVAILABLE'])

/** Each error is told once, however many see it pass; while nobody listens nothing is looked at. */
export function createEvents (server: string): TellRefusal {
  return (error, principal) => {
    if (!LIMIT.hasSubscribers && !AUTH.hasSubscribers) return
    const code = String(toRpcError(error).data?.code)
    const reached = takeLimit(error)
    if (reached !== undefined) {
      const event: LimitEvent = { limit: reached.limit, code, principal: reached.owner ?? principal, server }
      LIMIT.publish(event)
    }
    if (OF_AUTH.has(code)) {
      const event: AuthEvent = { code, server }
      AUTH.publish(event)
    }
  }
}
