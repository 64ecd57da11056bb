import { channels } from '../channels.ts'
import { codeOf, takeLimit } from '../errors.ts'

/** Publishes a refusal, if it is one that somebody counts. */
export type TellRefusal = (error: unknown, principal: string | null) => void

const OF_AUTH = new Set(['FST_MCP_UNAUTHORIZED', 'FST_MCP_TOKEN_INVALID', 'FST_MCP_SCOPE_INSUFFICIENT', 'FST_MCP_AUTH_UNAVAILABLE'])

/** Each error is told once, however many see it pass; while nobody listens nothing is looked at. */
export function createEvents (server: string): TellRefusal {
  return (error, principal) => {
    const { limit, auth } = channels
    if (!limit.hasSubscribers && !auth.hasSubscribers) return
    const code = codeOf(error)
    const reached = takeLimit(error)
    if (reached !== undefined) limit.publish({ limit: reached, code, principal, server })
    if (OF_AUTH.has(code)) auth.publish({ code, server })
  }
}
