import type { Outcome } from '../channels.ts'
import { codeOf, errorCodes, logSafely, readable, ToolError, toStatus } from '../errors.ts'
import type { TellRefusal } from '../ops/events.ts'
import type { Awaitable } from '../store/store.ts'
import type { Call } from './call.ts'
import type { Hooks } from './hooks.ts'
import { errorOf, resultOf } from './message.ts'
import { ownerOf } from './owner.ts'
import type { Methods } from './methods.ts'
import { Watch } from './watch.ts'

/** What answers the requests of one era. */
export interface Desk {
  readonly methods: Methods
  readonly hooks: Hooks
  /** What the era adds to every result. */
  readonly complete: (result: object) => object
  /** Hears of every error that answers a call. */
  readonly tell: TellRefusal
  /** The option `name` of the server. */
  readonly server: string
}

/** Runs one call and hands its response to the outbox. The promise settles when nothing more is sent for it; it never rejects. */
export function dispatch (call: Call, desk: Desk): Awaitable<void> {
  call.watch = Watch.of(call, desk.server)
  return call.watch === null ? settle(call, desk) : call.watch.run(() => settle(call, desk))
}

function settle (call: Call, desk: Desk): Awaitable<void> {
  try {
    const result = desk.hooks.isEmpty ? perform(call, desk) : desk.hooks.around(call, () => perform(call, desk))
    if (result instanceof Promise) return result.then(value => respond(call, value, desk), error => refuse(call, error, desk))
    respond(call, result, desk)
  } catch (error) {
    refuse(call, error, desk)
  }
}

function perform (call: Call, { methods }: Desk): Awaitable<object> {
  const method = methods.get(call.method)
  if (method === undefined) throw new errorCodes.FST_MCP_METHOD_NOT_FOUND(call.method)
  // In sessions an answer comes to whoever waits for it, and changes nothing about how the call ends.
  const inquiry = call.profile.isStateless ? call.inquiry : null
  return inquiry?.settle === undefined ? method(call) : inquiry.settle(() => method(call))
}

function respond (call: Call, result: object, desk: Desk): void {
  // Cancelled while something other than a handler was at work: nobody waits any more.
  if (call.reason !== undefined && isSilent(call.reason)) return giveUp(call, call.reason)
  let json: string
  try {
    json = resultOf(call.id, desk.complete(result))
  } catch (error) {
    return refuse(call, error, desk)
  }
  call.watch?.end(outcomeOf(result), json, call.failure?.error)
  deliver(call, () => call.outbox.respond(call.id, json))
}

function refuse (call: Call, thrown: unknown, desk: Desk): void {
  let error = readable(thrown)
  if (error === call.reason && isSilent(error)) return giveUp(call, error)
  // A hook may speak to the model too, where there is one to speak to.
  if (error instanceof ToolError) {
    if (call.method === 'tools/call') return respond(call, { content: [{ type: 'text', text: String(error.message) }], isError: true }, desk)
    error = new errorCodes.FST_MCP_HANDLER_FAILED(error.message)
  }
  desk.tell(error, ownerOf(call.principal))
  const { isStateless } = call.profile
  // What only the author of the handler can mend.
  const isFault = codeOf(error) === 'FST_MCP_INTERNAL' || error instanceof errorCodes.FST_MCP_RERUN_DIFFERS
  if (isFault) logSafely(call.request.log, error, 'call failed', { method: call.method, name: call.params.name })
  // A client asks for more scopes when it reads the status and the challenge, in every era.
  const status = isStateless || error instanceof errorCodes.FST_MCP_SCOPE_INSUFFICIENT ? toStatus(error) : 200
  // What went wrong here is told inside of the response: an error status would hide it from clients.
  const json = errorOf(call.id, error, isStateless, call.request.id)
  call.watch?.end('error', json, error)
  deliver(call, () => call.outbox.respond(call.id, json, status < 500 ? status : 200, error))
}

function giveUp (call: Call, reason: unknown): void {
  call.watch?.end('cancelled', undefined, reason)
  deliver(call, () => call.outbox.skip(call.id))
}

function outcomeOf (result: { isError?: unknown, resultType?: unknown }): Outcome {
  if (result.resultType === 'input_required') return 'input_required'
  return result.isError === true ? 'tool_error' : 'ok'
}

/** A store that somebody wrote may throw where it should keep an event: no reason to lose the process. */
function deliver (call: Call, send: () => void): void {
  call.finish()
  try {
    send()
  } catch (error) {
    logSafely(call.request.log, error, 'the response could not be sent', { method: call.method })
  }
}

/** A call that its client gave up gets no response (basic/utilities/cancellation). */
function isSilent (error: unknown): boolean {
  return error instanceof errorCodes.FST_MCP_CANCELLED || error instanceof errorCodes.FST_MCP_CLIENT_GONE ||
    error instanceof errorCodes.FST_MCP_SESSION_ENDED
}
