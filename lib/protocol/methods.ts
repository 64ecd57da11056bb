import { errorCodes, toRpcError } from '../errors.ts'
import { isLevel } from '../features/logging.ts'
import type { Tools } from '../features/tools.ts'
import type { Awaitable, Sessions } from '../store/store.ts'
import type { Call } from './call.ts'
import { errorOf, resultOf } from './message.ts'

/** What answers one JSON-RPC method: a result, at once or later. */
export type Method = (call: Call) => Awaitable<object>

/** The methods of the session revisions, by name. */
export function createMethods (tools: Tools, sessions: Sessions): ReadonlyMap<string, Method> {
  return new Map<string, Method>([
    ['ping', () => ({})],
    ['tools/list', ({ params, profile }) => {
      const page = tools.list(params.cursor)
      return { ...page, tools: page.tools.map(profile.convertTool) }
    }],
    ['tools/call', call => {
      const { profile } = call
      const result = tools.call(call.params, call)
      return result instanceof Promise ? result.then(profile.convertResult) : profile.convertResult(result)
    }],
    ['logging/setLevel', ({ params: { level }, session }) => {
      // Without a session there is nothing that could remember the level, and `logging` was not declared.
      if (session === null) throw new errorCodes.FST_MCP_METHOD_NOT_FOUND('logging/setLevel')
      if (!isLevel(level)) throw new errorCodes.FST_MCP_PARAMS_INVALID('`level` must be one of the eight levels of RFC 5424')
      session.logLevel = level
      const written = sessions.update(session)
      return written instanceof Promise ? written.then(() => ({})) : {}
    }]
  ])
}

/** Runs one call and hands its response to the outbox. The promise settles when nothing more is sent for it; it never rejects. */
export function dispatch (call: Call, methods: ReadonlyMap<string, Method>): Awaitable<void> {
  try {
    const method = methods.get(call.method)
    if (method === undefined) throw new errorCodes.FST_MCP_METHOD_NOT_FOUND(call.method)
    const result = method(call)
    if (result instanceof Promise) return result.then(value => respond(call, value), error => refuse(call, error))
    respond(call, result)
  } catch (error) {
    refuse(call, error)
  }
}

function respond (call: Call, result: object): void {
  // Cancelled while something other than a tool was at work: nobody waits any more.
  if (call.reason !== undefined && isSilent(call.reason)) return refuse(call, call.reason)
  let json
  try {
    json = resultOf(call.id, result)
  } catch (error) {
    return refuse(call, error)
  }
  deliver(call, json)
}

function refuse (call: Call, error: unknown): void {
  if (isSilent(error)) return deliver(call, undefined)
  if (toRpcError(error).data.code === 'FST_MCP_INTERNAL') call.request.log.error({ err: error, method: call.method }, 'call failed')
  deliver(call, errorOf(call.id, error))
}

/** The host may have ended the response by itself: that is its mistake, and no reason to lose the call or the process. */
function deliver (call: Call, json: string | undefined): void {
  call.finish()
  try {
    if (json === undefined) call.outbox.skip(call.id)
    else call.outbox.respond(call.id, json)
  } catch (error) {
    call.request.log.error({ err: error, method: call.method }, 'the response could not be sent')
  }
}

/** A call that its client gave up gets no response (basic/utilities/cancellation). */
function isSilent (error: unknown): boolean {
  return error instanceof errorCodes.FST_MCP_CANCELLED || error instanceof errorCodes.FST_MCP_CLIENT_GONE ||
    error instanceof errorCodes.FST_MCP_SESSION_ENDED
}
