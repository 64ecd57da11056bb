import { errorCodes } from '../errors.ts'
import type { Task } from './context.ts'
import { logFailure } from './outcome.ts'
import { tellFailure } from './read.ts'
import { type Bounds, type Job, run } from './run.ts'
import { Pace } from './turn.ts'

/** A function of the host that answers with one value, as completers and the `list` of a template do. */
export interface CallbackOptions<Result> extends Bounds {
  /** Names it in the log. */
  readonly what: Record<string, unknown>
  readonly call: () => unknown
  /** Makes the result of what it gave. Throws FST_MCP_CHUNK_INVALID for what it should not have given. */
  readonly read: (given: unknown) => Result
}

/**
 * Calls it as handlers are called: it ends with its call and when it takes too long.
 * Rejects with the reason when the call is aborted, with FST_MCP_TOOL_TIMEOUT and FST_MCP_HANDLER_FAILED.
 */
export function runCallback<Result> (options: CallbackOptions<Result>, task: Task): Result | Promise<Result> {
  const { what, call, read } = options
  const job: Job<Result> = {
    begin: call,
    take () {
      throw new errorCodes.FST_MCP_CHUNK_INVALID('a generator where one value is due')
    },
    finish: read,
    fail: error => {
      task.failed(error)
      throw tellFailure(error, task, what)
    },
    logLate: error => logFailure(task, error, 'handler failed while it was ended', what)
  }
  return run(job, options, task, new Pace())
}
