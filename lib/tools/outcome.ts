import { errorCodes, ToolError } from '../errors.ts'
import type { CallToolResult, Collector } from './chunk.ts'
import type { Task, ToolContext } from './context.ts'
import type { CompiledSchema } from './schema.ts'

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

/** The result for what a tool returned in the end. */
export function finish (options: RunOptions, collector: Collector, returned: unknown): CallToolResult | Promise<CallToolResult> {
  if (options.output === undefined || isErrorResult(returned)) return collector.finish(returned)
  const verdict = options.output.validate(returned)
  if (verdict instanceof Promise) return verdict.then(settled => finishVerdict(collector, settled))
  return finishVerdict(collector, verdict)
}

function isErrorResult (value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'isError' in value && value.isError === true && 'content' in value
}

function finishVerdict (collector: Collector, verdict: Awaited<ReturnType<CompiledSchema['validate']>>): CallToolResult {
  if (!verdict.ok) throw new errorCodes.FST_MCP_OUTPUT_INVALID(verdict.message)
  return collector.finishStructured(verdict.value)
}

/** The result for what a tool threw, or for what ended it. Throws what is told to the client instead of to the model. */
export function failure (options: RunOptions, collector: Collector, task: Task, error: unknown): CallToolResult {
  if (error instanceof errorCodes.FST_MCP_INTERNAL) throw error
  if (error instanceof errorCodes.FST_MCP_INPUT_INVALID) {
    if (!task.tellsInputErrorsToModel) throw error
    return collector.fail(error.message)
  }
  if (error instanceof ToolError) return collector.fail(String(error.message))
  if (error instanceof errorCodes.FST_MCP_TOOL_TIMEOUT) return collector.fail(error.message)
  if (error instanceof errorCodes.FST_MCP_RESULT_TOO_LARGE) return { content: [{ type: 'text', text: error.message }], isError: true }
  logFailure(options, task, error, 'tool failed')
  return collector.fail(`Tool "${options.name}" failed; the server's log says why under request ${task.request.id}`)
}

/** A logger reads what was thrown, and what was thrown may throw again. */
export function logFailure ({ name }: RunOptions, { request: { log } }: Task, error: unknown, message: string): void {
  try {
    log.error({ err: error, tool: name }, message)
  } catch {
    log.error({ tool: name }, `${message} with an error that cannot be logged`)
  }
}
