import type { FastifyRequest } from 'fastify'
import type { Principal } from '../http/auth.ts'
import type { LogLevel, SessionRecord } from '../store/store.ts'
import type { Revision } from '../eras/revisions.ts'
import type { Room } from '../sse/stream.ts'
import { type Ask, createAsk, createRoots, createSample, quiet, type Roots, type Sample } from './ask.ts'
import type { Progress, ProgressParams } from './chunk.ts'
import type { Pace } from './turn.ts'

/** What a tool may know of the session of its call. */
export type SessionInfo = Readonly<Pick<SessionRecord, 'id' | 'transport' | 'capabilities'>>

/** What a client declares, as it came: any member may be missing, or be more than is known here. */
export interface ClientCapabilities {
  readonly elicitation?: unknown
  readonly sampling?: unknown
  readonly roots?: unknown
  readonly [name: string]: unknown
}

/** A request of the server to its client. */
export interface Question {
  readonly method: 'elicitation/create' | 'sampling/createMessage' | 'roots/list'
  readonly params: Readonly<Record<string, unknown>>
}

/** What the run of a handler asks of the call that it serves. */
export interface Task {
  readonly request: FastifyRequest
  readonly principal: Principal | null
  readonly session: SessionInfo | null
  readonly revision: Revision
  readonly capabilities: ClientCapabilities
  readonly signal: AbortSignal
  /** Whether arguments that do not fit are told to the model, or to the client. */
  readonly tellsInputErrorsToModel: boolean
  /** Whether the client is told in JSON-RPC what it would have to be able to do. */
  readonly tellsCapabilities: boolean
  /** Whether forms may offer several choices, titles and defaults. */
  readonly hasRichAsks: boolean
  sendProgress (params: ProgressParams): Room
  sendLog (level: LogLevel, data: unknown): Room
  closeStream (): boolean
  /** What the client answers: its result, not looked at yet. */
  inquire (key: string, question: Question): Promise<unknown>
  once (key: string, make: () => unknown): Promise<unknown>
  abort (reason: Error): void
  /** Sets the one listener, which is called at once when the call was aborted before. */
  onAbort (listener: (reason: Error) => void): void
  /** What a handler threw that its client is told otherwise. */
  failed (error: unknown): void
  /** The handler ignored its signal for the whole grace time. */
  abandon (): void
}

/** Sends `notifications/message` to the client of the call when the client's level asks for it (server/utilities/logging). */
export type ToolLog = Readonly<Record<LogLevel, (data: unknown) => Room>>

/** What a handler gets beside its arguments. Every member may be destructured. */
export class ToolContext {
  readonly #task: Task
  readonly #progress: Progress
  readonly #pace: Pace
  #log: ToolLog | undefined
  #ask: Ask | undefined

  constructor (task: Task, progress: Progress, pace: Pace) {
    this.#task = task
    this.#progress = progress
    this.#pace = pace
  }

  /** Aborted when the call ends early. `reason.code` says why: FST_MCP_CANCELLED, FST_MCP_CLIENT_GONE, FST_MCP_TOOL_TIMEOUT, … */
  get signal (): AbortSignal {
    return this.#task.signal
  }

  /** The Fastify request that carried the call. */
  get request (): FastifyRequest {
    return this.#task.request
  }

  /** Who calls, null without auth. */
  get principal (): Principal | null {
    return this.#task.principal
  }

  /** The session of the call, null where there is none: in stateless mode and from 2026-07-28 on. */
  get session (): SessionInfo | null {
    return this.#task.session
  }

  /** The protocol revision that the call is answered in. */
  get revision (): Revision {
    return this.#task.revision
  }

  /** What the client declared that it can do, so that a handler may look before it asks: `capabilities.sampling !== undefined`. */
  get capabilities (): ClientCapabilities {
    return this.#task.capabilities
  }

  /** Tells the client something beside the result: `log.info('…')`, with any JSON value. */
  get log (): ToolLog {
    this.#log ??= logOf(this.#task, this.#pace)
    return this.#log
  }

  /**
   * Reports progress from a handler that does not yield. Await the answer to let backpressure reach the tool.
   * Sent only when the caller gave a progress token.
   */
  get progress (): (progress: number, total?: number, message?: string) => Room {
    return (progress, total, message) => this.#pace.of(this.#task.sendProgress(this.#progress.report({ progress, total, message })))
  }

  /**
   * Ends the connection of this call, not the call: the client comes back with `Last-Event-ID` for the rest.
   * Revision 2025-11-25 in sessions alone; elsewhere it does nothing and returns false (basic/transports, "Sending Messages to the Server").
   */
  get closeStream (): () => boolean {
    return () => this.#task.closeStream()
  }

  /**
   * Asks the user for a form: `await ask('size', 'Which size?', z.object({ size: z.enum(['S', 'L']) }))`; `ask.url(…)` sends the user to a page.
   * The `key` names the question within the call. In sessions the handler waits for the answer; on 2026-07-28 it ends here and runs
   * again from the top with the answer, so what stands before an ask runs again: see `once`.
   * Rejects with FST_MCP_CAPABILITY_REQUIRED, FST_MCP_ASK_UNAVAILABLE, FST_MCP_ASK_TIMEOUT, FST_MCP_ASK_REFUSED, FST_MCP_ANSWER_INVALID
   * and FST_MCP_ASK_INVALID. Specification: client/elicitation.
   */
  get ask (): Ask {
    this.#ask ??= createAsk(this.#task, this.#pace)
    return this.#ask
  }

  /** Asks the client's model: `await sample('title', { messages, maxTokens: 100 })`. Rejects as `ask` does. Specification: client/sampling. */
  get sample (): Sample {
    return createSample(this.#task, this.#pace)
  }

  /** Asks for the folders that the client works in: `await roots('roots')`. Rejects as `ask` does. Specification: client/roots. */
  get roots (): Roots {
    return createRoots(this.#task, this.#pace)
  }

  /**
   * Runs `make` once for a call, however often its handler runs: on 2026-07-28 the value is sealed into the `requestState`, so it must be
   * small and JSON. Rejects with what `make` throws, FST_MCP_ASK_INVALID and FST_MCP_STATE_TOO_LARGE.
   */
  get once (): <T>(key: string, make: () => T | Promise<T>) => Promise<T> {
    // What comes back is what `make` gave, as JSON has it.
    return (key, make) => quiet(this.#task.once(key, make)) as Promise<never>
  }
}

/** What the reader of a resource gets beside the variables of its template. */
export class ReadContext extends ToolContext {
  readonly #uri: string

  constructor (uri: string, task: Task, progress: Progress, pace: Pace) {
    super(task, progress, pace)
    this.#uri = uri
  }

  /** The URI that is read. */
  get uri (): string {
    return this.#uri
  }
}

function logOf (task: Task, pace: Pace): ToolLog {
  const at = (level: LogLevel) => (data: unknown): Room => pace.of(task.sendLog(level, data))
  return {
    debug: at('debug'),
    info: at('info'),
    notice: at('notice'),
    warning: at('warning'),
    error: at('error'),
    critical: at('critical'),
    alert: at('alert'),
    emergency: at('emergency')
  }
}
