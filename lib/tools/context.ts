import type { FastifyRequest } from 'fastify'
import type { Principal } from '../http/auth.ts'
import type { LogLevel, SessionRecord } from '../store/store.ts'
import type { Revision } from '../eras/revisions.ts'
import type { Room } from '../sse/stream.ts'
import type { Progress, ProgressParams } from './chunk.ts'
import type { Pace } from './turn.ts'

/** What a tool may know of the session of its call. */
export type SessionInfo = Readonly<Pick<SessionRecord, 'id' | 'transport' | 'capabilities'>>

/** What the run of a tool asks of the call that it serves. */
export interface Task {
  readonly request: FastifyRequest
  readonly principal: Principal | null
  readonly session: SessionInfo | null
  readonly revision: Revision
  readonly signal: AbortSignal
  /** Whether arguments that do not fit are told to the model, or to the client. */
  readonly tellsInputErrorsToModel: boolean
  sendProgress (params: ProgressParams): Room
  sendLog (level: LogLevel, data: unknown): Room
  closeStream (): boolean
  abort (reason: Error): void
  /** Sets the one listener. Nobody can abort a call before it has one: it is not known to anybody yet. */
  onAbort (listener: (reason: Error) => void): void
  /** The tool ignored its signal for the whole grace time. */
  abandon (): void
}

/** Sends `notifications/message` to the client of the call when the session's level asks for it (server/utilities/logging). */
export type ToolLog = Readonly<Record<LogLevel, (data: unknown) => Room>>

/** What a tool's handler gets beside its arguments. Every member may be destructured. */
export class ToolContext {
  readonly #task: Task
  readonly #progress: Progress
  readonly #pace: Pace
  #log: ToolLog | undefined

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

  /** The session of the call, null in stateless mode. */
  get session (): SessionInfo | null {
    return this.#task.session
  }

  /** The protocol revision that the call is answered in. */
  get revision (): Revision {
    return this.#task.revision
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
