import { type CallEndEvent, channels, type Outcome } from '../channels.ts'
import { codeOf, readable, ToolError, toRpcError } from '../errors.ts'
import type { Room } from '../sse/stream.ts'
import type { Awaitable } from '../store/store.ts'
import type { Call } from './call.ts'

// What runs handlers. The log of the host has a line for every request anyway.
const LOGGED = new Set(['tools/call', 'prompts/get', 'resources/read'])
// A client may name what it likes.
const MAX_NAME = 256

/** What becomes of one call, for the channels of node:diagnostics_channel and for one line in the log of its request. */
export class Watch {
  readonly #call: Call
  readonly #server: string
  readonly #isLogged: boolean
  readonly #startedAt = performance.now()
  #firstAt: number | undefined
  #chunks = 0
  #bytes = 0
  #waits = 0
  #blockedSince = 0
  #blocked = 0

  private constructor (call: Call, server: string, isLogged: boolean) {
    this.#call = call
    this.#server = server
    this.#isLogged = isLogged
  }

  /** Null when nobody looks on: then nothing is measured. */
  static of (call: Call, server: string): Watch | null {
    const isLogged = LOGGED.has(call.method) && isHeard(call.request.log)
    const { callStart, callEnd } = channels
    return isLogged || callStart.hasSubscribers || callEnd.hasSubscribers ? new Watch(call, server, isLogged) : null
  }

  /** Begins the call. */
  run (work: () => Awaitable<void>): Awaitable<void> {
    const { callStart } = channels
    if (!callStart.hasSubscribers) return work()
    return callStart.runStores({ server: this.#server, call: this.#call.info }, work)
  }

  /** A message was sent before the response. */
  sent (json: string, room: Room): void {
    this.#chunks++
    this.#bytes += Buffer.byteLength(json)
    this.#firstAt ??= performance.now()
    if (!(room instanceof Promise)) return
    if (this.#waits++ === 0) this.#blockedSince = performance.now()
    room.then(() => {
      if (--this.#waits === 0) this.#blocked += performance.now() - this.#blockedSince
    })
  }

  /** `json`: the response, unless the client gave the call up. `thrown`: what it tells, or what was thrown and is told in its result. */
  end (outcome: Outcome, json: string | undefined, thrown: unknown): void {
    const now = performance.now()
    const error = readable(thrown)
    const ended: CallEndEvent = {
      server: this.#server,
      call: this.#call.info,
      outcome,
      // What a tool tells the model on purpose has no code.
      code: error === undefined || error instanceof ToolError ? undefined : codeOf(error),
      rpcCode: outcome === 'error' ? toRpcError(error, this.#call.profile.isStateless).code : undefined,
      error,
      duration: now - this.#startedAt,
      firstChunk: this.#firstAt === undefined ? undefined : this.#firstAt - this.#startedAt,
      chunks: this.#chunks,
      bytes: this.#bytes + (json === undefined ? 0 : Buffer.byteLength(json)),
      blocked: this.#blocked + (this.#waits === 0 ? 0 : now - this.#blockedSince)
    }
    channels.callEnd.publish(ended)
    if (!this.#isLogged) return
    try {
      this.#log(ended)
    } catch {
      // The call is answered all the same, and a log that throws can be told nothing.
    }
  }

  #log ({ call, outcome, code, duration, firstChunk, chunks, bytes, blocked }: CallEndEvent): void {
    const { method, target, revision, principal } = call
    this.#call.request.log.info({
      call: {
        method,
        // What follows may be a secret.
        target: (method === 'resources/read' ? target?.replace(/[?#].*$/s, '').replace(/\/\/[^/]*@/, '//') : target)?.slice(0, MAX_NAME),
        revision,
        principal: principal?.id,
        outcome,
        code,
        duration: rounded(duration),
        firstChunk: firstChunk && rounded(firstChunk),
        chunks,
        bytes,
        blocked: rounded(blocked)
      }
    }, 'call ended')
  }
}

/** Whether a line at `info` is written anywhere. Loggers beside pino need not say so; those that write nothing have one function for all levels. */
function isHeard (log: Call['request']['log']): boolean {
  const isLevelEnabled: unknown = Reflect.get(log, 'isLevelEnabled')
  return typeof isLevelEnabled === 'function' ? isLevelEnabled.call(log, 'info') : log.info !== log.trace
}

/** Microseconds are enough to read. */
function rounded (ms: number): number {
  return Math.round(ms * 1_000) / 1_000
}
