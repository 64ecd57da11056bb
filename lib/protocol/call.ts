import type { FastifyRequest } from 'fastify'
import type { CallsInProgress } from './in-progress.ts'
import { type CallInfo, infoOf } from './call-info.ts'
import type { Profile, Revision } from '../eras/revisions.ts'
import { errorCodes } from '../errors.ts'
import { DEFAULT_LEVEL, isLoud } from '../features/logging.ts'
import type { Principal } from '../http/auth.ts'
import type { Room } from '../sse/stream.ts'
import type { LogLevel, SessionRecord } from '../store/store.ts'
import { CONTENT_META, isContentBlock, type ProgressParams } from '../tools/chunk.ts'
import type { ClientCapabilities, Question, Task } from '../tools/context.ts'
import { checkCapability, type Inquiry, Once } from './inquiry.ts'
import { notificationOf, progressHead, progressOf, type Params, progressTokenOf, type RequestId } from './message.ts'
import type { Watch } from './watch.ts'

/** Where the messages of a call go: the response of its POST, or the stream of its session. */
export interface Outbox {
  /** A message that belongs to a call in progress. */
  send (json: string): Room
  /** The response to one request, after which nothing more is sent for it. `error`: what it tells, if it is one. */
  respond (id: RequestId, json: string, status?: number, error?: unknown): void
  /** One request ends without a response. */
  skip (id: RequestId): void
  /** Ends the connection but not the call; false where the client could not come back for the rest. */
  closeStream (): boolean
  /** Whether a request of the server would reach the client. */
  canAsk (): boolean
}

/** What a client said of itself with this one request (2026-07-28). */
interface Terms {
  readonly capabilities: object
  /** Null: no log messages at all. */
  readonly logLevel: LogLevel | null
}

/** Who asks, and how the answers travel: the same for all requests of one POST. */
export interface Caller {
  readonly profile: Profile
  readonly principal: Principal | null
  readonly session: SessionRecord | null
  /** Null in the handshake revisions, where the session knows them. */
  readonly terms: Terms | null
  readonly request: FastifyRequest
  readonly outbox: Outbox
  readonly calls: CallsInProgress
  /** How the call may ask its client; null when it cannot. */
  readonly inquiryOf: (call: Call) => Inquiry | null
}

/** One request of a client while it is being answered. */
export class Call implements Task {
  readonly id: RequestId
  readonly method: string
  readonly params: Params
  readonly #caller: Caller
  /** Of its progress notifications; undefined where nobody wants any. */
  readonly #progressHead: string | undefined
  #controller: AbortController | undefined
  #reason: Error | undefined
  #listener: ((reason: Error) => void) | undefined
  #inquiry: Inquiry | null | undefined
  #asked: Map<string, { json: string, answer: Promise<unknown> }> | undefined
  #enders: Set<(reason: Error) => void> | undefined
  #made: Pick<Inquiry, 'once'> | undefined
  #failure: { error: unknown } | undefined
  #over = false
  #info: CallInfo | undefined
  /** Null when nobody looks on. */
  watch: Watch | null = null

  constructor (id: RequestId, method: string, params: Params, caller: Caller) {
    this.id = id
    this.method = method
    this.params = params
    this.#caller = caller
    const token = progressTokenOf(params)
    this.#progressHead = token === undefined ? undefined : progressHead(token)
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

  get tellsCapabilities (): boolean {
    return this.#caller.profile.isStateless
  }

  get hasRichAsks (): boolean {
    return this.#caller.profile.hasRichAsks
  }

  get info (): CallInfo {
    this.#info ??= infoOf(this)
    return this.#info
  }

  /** How the call asks its client. Throws what is wrong with the answers that it brought. */
  get inquiry (): Inquiry | null {
    if (this.#inquiry === undefined) this.#inquiry = this.#caller.inquiryOf(this)
    return this.#inquiry
  }

  /** What the client can be asked for. */
  get capabilities (): ClientCapabilities {
    const { terms, session } = this.#caller
    return { ...terms?.capabilities ?? session?.capabilities }
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
    this.#tellEnd(reason)
    this.#listener?.(reason)
  }

  #tellEnd (reason: Error): void {
    for (const end of [...this.#enders ?? []]) end(reason)
  }

  /** Tells of the end of the call, however it comes. */
  onEnd (listener: (reason: Error) => void): void {
    this.#enders ??= new Set()
    this.#enders.add(listener)
  }

  offEnd (listener: (reason: Error) => void): void {
    this.#enders?.delete(listener)
  }

  /** What the handler threw, when its client is told in a result. */
  get failure (): { error: unknown } | undefined {
    return this.#failure
  }

  failed (error: unknown): void {
    if (!(error instanceof errorCodes.FST_MCP_INPUT_REQUIRED)) this.#failure = { error }
  }

  onAbort (listener: (reason: Error) => void): void {
    this.#listener = listener
    // A handler that runs differently is found out while it starts.
    if (this.#reason !== undefined) listener(this.#reason)
  }

  abandon (): void {
    this.#caller.calls.abandon(this)
  }

  /** The response is on its way: whatever the tool still sends goes nowhere. */
  finish (): void {
    if (this.#enders !== undefined) this.#tellEnd(new errorCodes.FST_MCP_CANCELLED('the call is over'))
    this.#over = true
    this.#listener = undefined
  }

  /** Without a progress token there is nobody to tell, and so nothing to wait for. */
  sendProgress (params: ProgressParams): Room {
    if (this.#over || this.#reason !== undefined) return false
    try {
      if (this.#inquiry?.repeats(params) === true) return true
    } catch (error) {
      this.abort(error instanceof Error ? error : new errorCodes.FST_MCP_INTERNAL({ cause: error }))
      return false
    }
    const { progress, total, message, _meta } = params
    // Above the largest double there is none, and nothing more can rise.
    if (this.#progressHead === undefined || !Number.isFinite(progress)) return true
    const block = _meta?.[CONTENT_META]
    const meta = isContentBlock(block) ? { [CONTENT_META]: this.profile.convertBlock(block) } : _meta
    return this.#send(progressOf({ head: this.#progressHead, progress, total, message, meta }))
  }

  sendLog (level: LogLevel, data: unknown): Room {
    if (this.#over || this.#reason !== undefined) return false
    const threshold = this.#threshold
    if (threshold === null || !isLoud(level, threshold) || this.#inquiry?.repeatsLog() === true) return true
    return this.#send(notificationOf('notifications/message', { level, data: data ?? null }))
  }

  #send (json: string): Room {
    const room = this.outbox.send(json)
    this.watch?.sent(json, room)
    return room
  }

  get #threshold (): LogLevel | null {
    const { terms, session } = this.#caller
    if (terms !== null) return terms.logLevel
    return session === null ? null : session.logLevel ?? DEFAULT_LEVEL
  }

  async inquire (key: string, question: Question): Promise<unknown> {
    const { terms, session, profile } = this.#caller
    const json = JSON.stringify(question)
    const known = this.#asked?.get(key)
    if (known !== undefined && known.json !== json) throw new errorCodes.FST_MCP_ASK_INVALID(key, 'the key stands for another question of this call')
    if (known !== undefined) return known.answer
    if (this.#over) throw new errorCodes.FST_MCP_ASK_UNAVAILABLE('its call is over')
    if (this.#reason !== undefined) throw this.#reason
    if (terms === null && session === null) throw new errorCodes.FST_MCP_ASK_UNAVAILABLE('this server keeps no sessions')
    checkCapability(question, this.capabilities, profile)
    if (this.inquiry === null) throw new errorCodes.FST_MCP_ASK_UNAVAILABLE(`${this.method} cannot ask`)
    const answer = this.inquiry.ask(key, question)
    this.#asked ??= new Map()
    this.#asked.set(key, { json, answer })
    return answer
  }

  once (key: string, make: () => unknown): Promise<unknown> {
    if (typeof key !== 'string' || typeof make !== 'function') return Promise.reject(new errorCodes.FST_MCP_ASK_INVALID(String(key), '`once` needs a key and a function'))
    this.#made ??= this.inquiry ?? new Once()
    return this.#made.once(key, make)
  }

  closeStream (): boolean {
    // Older clients do not come back for the rest of a response, and without a session nobody can.
    return !this.#over && this.session !== null && this.profile.primes && this.outbox.closeStream()
  }
}
