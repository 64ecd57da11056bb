import type { FastifyRequest } from 'fastify'
import type { Profile, Revision } from '../eras/revisions.ts'
import { DEFAULT_LEVEL, isLoud } from '../features/logging.ts'
import type { Principal } from '../http/auth.ts'
import type { Room } from '../sse/stream.ts'
import type { LogLevel, SessionRecord } from '../store/store.ts'
import { CONTENT_META, isContentBlock, type ProgressParams } from '../tools/chunk.ts'
import type { Task } from '../tools/context.ts'
import { notificationOf, type Params, type RequestId } from './message.ts'

/** Where the messages of a call go: the response of its POST, or the stream of its session. */
export interface Outbox {
  /** A message that belongs to a call in progress. */
  send (json: string): Room
  /** The response to one request, after which nothing more is sent for it. */
  respond (id: RequestId, json: string): void
  /** One request ends without a response. */
  skip (id: RequestId): void
  /** Ends the connection but not the call; false where the client could not come back for the rest. */
  closeStream (): boolean
}

/** Who asks, and how the answers travel: the same for all requests of one POST. */
export interface Caller {
  readonly profile: Profile
  readonly principal: Principal | null
  readonly session: SessionRecord | null
  readonly request: FastifyRequest
  readonly outbox: Outbox
  readonly calls: CallsInProgress
}

/** One request of a client while it is being answered. */
export class Call implements Task {
  readonly id: RequestId
  readonly method: string
  readonly params: Params
  readonly #caller: Caller
  readonly #progressToken: string | number | undefined
  #controller: AbortController | undefined
  #reason: Error | undefined
  #listener: ((reason: Error) => void) | undefined
  #over = false

  constructor (id: RequestId, method: string, params: Params, caller: Caller) {
    this.id = id
    this.method = method
    this.params = params
    this.#caller = caller
    this.#progressToken = progressTokenOf(params)
  }

  get profile (): Profile {
    return this.#caller.profile
  }

  get revision (): Revision {
    return this.#caller.profile.revision
  }

  get tellsInputErrorsToModel (): boolean {
    return this.#caller.profile.inputErrorsToModel
  }

  get principal (): Principal | null {
    return this.#caller.principal
  }

  get session (): SessionRecord | null {
    return this.#caller.session
  }

  get request (): FastifyRequest {
    return this.#caller.request
  }

  get outbox (): Outbox {
    return this.#caller.outbox
  }

  /** Made when a tool asks for it: most calls are over before anybody could listen. */
  get signal (): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.#reason !== undefined) this.#controller.abort(this.#reason)
    return this.#controller.signal
  }

  get reason (): Error | undefined {
    return this.#reason
  }

  abort (reason: Error): void {
    if (this.#over || this.#reason !== undefined) return
    this.#reason = reason
    this.#controller?.abort(reason)
    this.#listener?.(reason)
  }

  onAbort (listener: (reason: Error) => void): void {
    this.#listener = listener
  }

  abandon (): void {
    this.#caller.calls.abandon(this)
  }

  /** The response is on its way: whatever the tool still sends goes nowhere. */
  finish (): void {
    this.#over = true
    this.#listener = undefined
  }

  /** Without a progress token there is nobody to tell, and so nothing to wait for. */
  sendProgress ({ progress, total, message, _meta }: ProgressParams): Room {
    if (this.#over || this.#reason !== undefined) return false
    // Above the largest double there is none, and nothing more can rise.
    if (this.#progressToken === undefined || !Number.isFinite(progress)) return true
    const block = _meta?.[CONTENT_META]
    const meta = isContentBlock(block) ? { [CONTENT_META]: this.profile.convertBlock(block) } : _meta
    return this.outbox.send(notificationOf('notifications/progress', {
      progressToken: this.#progressToken,
      progress,
      total,
      message,
      ...(meta && { _meta: meta })
    }))
  }

  sendLog (level: LogLevel, data: unknown): Room {
    if (this.#over || this.#reason !== undefined) return false
    if (this.session === null || !isLoud(level, this.session.logLevel ?? DEFAULT_LEVEL)) return true
    return this.outbox.send(notificationOf('notifications/message', { level, data: data ?? null }))
  }

  closeStream (): boolean {
    // Older clients do not come back for the rest of a response, and without a session nobody can.
    return !this.#over && this.session !== null && this.profile.primes && this.outbox.closeStream()
  }
}

function progressTokenOf ({ _meta }: Params): string | number | undefined {
  if (typeof _meta !== 'object' || _meta === null || !('progressToken' in _meta)) return undefined
  const token = _meta.progressToken
  // `readMessage` has refused every other form.
  return typeof token === 'string' || typeof token === 'number' ? token : undefined
}

/** All calls of one server that are not answered yet. */
export class CallsInProgress {
  readonly #calls = new Set<Call>()
  #abandoned = 0

  get size (): number {
    return this.#calls.size
  }

  /** Tools that ignored the end of their call. */
  get abandoned (): number {
    return this.#abandoned
  }

  add (call: Call, done: Promise<void>): void {
    this.#calls.add(call)
    done.then(() => this.#calls.delete(call))
  }

  abandon (call: Call): void {
    this.#abandoned++
    call.request.log.warn({ tool: call.params.name, err: call.reason }, 'tool abandoned: it ignored ctx.signal after its call had ended')
  }

  abort (reason: Error): void {
    for (const call of this.#calls) call.abort(reason)
  }
}
