import { errorCodes, isTold, logSafely, McpError, readable, ToolError } from '../errors.ts'
import type { Room } from '../sse/stream.ts'
import { type CallToolResult, Collector, isResult } from './chunk.ts'
import { type Task, ToolContext } from './context.ts'
import { type Job, run } from './run.ts'
import type { CompiledSchema, Verdict } from './schema.ts'
import { Pace } from './turn.ts'

/** How a tool runs, fixed at its registration. */
export interface RunOptions {
  readonly name: string
  readonly handler: (args: never, context: ToolContext) => unknown
  readonly input: CompiledSchema
  readonly output: CompiledSchema | undefined
  /** Whether yielded chunks become part of the result. */
  readonly collect: boolean
  /** Milliseconds of work, not counting the time in which the client keeps the tool waiting. */
  readonly timeout: number
  /** Milliseconds after an abort before a tool that ignores it counts as abandoned. */
  readonly grace: number
  readonly maxResult: number
}

/**
 * Validates the arguments and runs one call of a tool. Rejects with the reason when the call is aborted; what the tool throws becomes a
 * result with `isError`. Throws FST_MCP_INPUT_INVALID where the revision tells that to the client.
 */
export function runTool (options: RunOptions, args: unknown, task: Task): CallToolResult | Promise<CallToolResult> {
  const pace = new Pace()
  return run(new ToolJob(options, args, task, pace), options, task, pace)
}

class ToolJob implements Job<CallToolResult> {
  readonly #options: RunOptions
  readonly #args: unknown
  readonly #task: Task
  readonly #pace: Pace
  readonly #collector: Collector

  constructor (options: RunOptions, args: unknown, task: Task, pace: Pace) {
    this.#options = options
    this.#args = args
    this.#task = task
    this.#pace = pace
    this.#collector = new Collector(options.collect, options.maxResult)
  }

  begin (): unknown {
    return whenChecked(this.#options.input, this.#args, this.#task, this.#start)
  }

  readonly #start = (verdict: Verdict): unknown => {
    if (!verdict.ok) throw new errorCodes.FST_MCP_INPUT_INVALID(this.#options.name, verdict.message)
    // The arguments have passed the schema that the handler's type was inferred from.
    return this.#options.handler(verdict.value as never, new ToolContext(this.#task, this.#collector.progress, this.#pace))
  }

  take (chunk: unknown): Room {
    return this.#task.sendProgress(this.#collector.add(chunk))
  }

  finish (returned: unknown): CallToolResult | Promise<CallToolResult> {
    const { output } = this.#options
    if (output === undefined || isErrorResult(returned)) return this.#collector.finish(returned)
    // A whole result says in its own words what the value says for programs.
    const whole = isStructuredResult(returned) ? returned : undefined
    const verdict = output.validate(whole === undefined ? returned : whole.structuredContent)
    return verdict instanceof Promise ? verdict.then(settled => this.#finishVerdict(settled, whole)) : this.#finishVerdict(verdict, whole)
  }

  #finishVerdict (verdict: Verdict, whole: CallToolResult | undefined): CallToolResult {
    if (!verdict.ok) throw new errorCodes.FST_MCP_OUTPUT_INVALID(verdict.message)
    if (whole === undefined) return this.#collector.finishStructured(verdict.value)
    // The output schema was checked to fit the revision before the value was.
    return this.#collector.finish({ ...whole, structuredContent: verdict.value })
  }

  fail (error: unknown): CallToolResult {
    // The first is no failure: the tool starts anew with the answer.
    if (error instanceof errorCodes.FST_MCP_INPUT_REQUIRED || error instanceof errorCodes.FST_MCP_INTERNAL || error instanceof McpError) throw error
    if (error instanceof errorCodes.FST_MCP_INPUT_INVALID && !this.#task.tellsInputErrorsToModel) throw error
    if (this.#task.tellsCapabilities && isAskError(error)) throw error
    this.#task.failed(error)
    if (error instanceof errorCodes.FST_MCP_RESULT_TOO_LARGE) return { content: [{ type: 'text', text: error.message }], isError: true }
    if (error instanceof ToolError || (isTold(error) && !isBroken(error))) return this.#collector.fail(String(Object(error).message))
    this.#log(error, 'tool failed')
    return this.#collector.fail(`Tool "${this.#options.name}" failed; the server's log says why under request ${this.#task.request.id}`)
  }

  logLate (error: unknown): void {
    this.#log(error, 'tool failed while it was ended')
  }

  #log (error: unknown, message: string): void {
    logFailure(this.#task, error, message, { tool: this.#options.name })
  }
}

/** What a client of 2026-07-28 acts on itself, by declaring more or by answering better. */
function isAskError (error: unknown): boolean {
  return error instanceof errorCodes.FST_MCP_CAPABILITY_REQUIRED || error instanceof errorCodes.FST_MCP_ANSWER_INVALID ||
    error instanceof errorCodes.FST_MCP_RERUN_DIFFERS || error instanceof errorCodes.FST_MCP_STATE_TOO_LARGE
}

/** What the tool's author must mend, and what its caller can do nothing with. */
function isBroken (error: unknown): boolean {
  return error instanceof errorCodes.FST_MCP_CHUNK_INVALID || error instanceof errorCodes.FST_MCP_OUTPUT_INVALID ||
    error instanceof errorCodes.FST_MCP_ASK_INVALID || error instanceof errorCodes.FST_MCP_SCHEMA_INVALID
}

function isStructuredResult (value: unknown): value is CallToolResult & { structuredContent: unknown } {
  return isResult(value) && 'structuredContent' in value
}

function isErrorResult (value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'isError' in value && value.isError === true && 'content' in value
}

/**
 * Validates, then starts. Validation may take its time: a call that was ended meanwhile does not start. A schema that breaks is a
 * fault of the server, and nobody's arguments are wrong: throws FST_MCP_INTERNAL.
 */
export function whenChecked (schema: CompiledSchema, value: unknown, task: Task, start: (verdict: Verdict) => unknown): unknown {
  const verdict = check(schema, value)
  if (!(verdict instanceof Promise)) return start(verdict)
  return verdict.then(settled => {
    task.signal.throwIfAborted()
    return start(settled)
  }, breakDown)
}

function check (schema: CompiledSchema, value: unknown): Verdict | Promise<Verdict> {
  try {
    return schema.validate(value)
  } catch (error) {
    return breakDown(error)
  }
}

function breakDown (error: unknown): never {
  throw new errorCodes.FST_MCP_INTERNAL({ cause: readable(error) })
}

/** Tells the log of the request. */
export function logFailure ({ request: { log } }: Task, error: unknown, message: string, what: Record<string, unknown>): void {
  logSafely(log, error, message, what)
}
