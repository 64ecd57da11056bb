import { errorCodes, ToolError } from '../errors.ts'
import { type CallToolResult, Collector } from './chunk.ts'
import { type Task, ToolContext } from './context.ts'
import type { CompiledSchema } from './schema.ts'
import { giveWay, Pace } from './turn.ts'

/** How a tool runs, fixed at its registration. */
export interface RunOptions {
  readonly name: string
  readonly handler: (args: never, context: ToolContext) => unknown
  readonly output: CompiledSchema | undefined
  /** Whether yielded chunks become part of the result. */
  readonly collect: boolean
  /** Milliseconds of work, not counting the time in which the client keeps the tool waiting. */
  readonly timeout: number
  /** Milliseconds after an abort before a tool that ignores it counts as abandoned. */
  readonly grace: number
  readonly maxResult: number
}

type AnyIterator = Iterator<unknown, unknown> | AsyncIterator<unknown, unknown>

/**
 * Runs one call of a tool. A value that is known at once comes back as it is, everything else as a promise.
 * Rejects with the reason when the call is aborted; what the tool throws becomes a result with `isError`.
 */
export function runTool (options: RunOptions, args: unknown, task: Task): CallToolResult | Promise<CallToolResult> {
  const collector = new Collector(options.collect, options.maxResult)
  const pace = new Pace()
  let returned: unknown
  try {
    // The arguments have passed the schema that the handler's type was inferred from.
    returned = options.handler(args as never, new ToolContext(task, collector.progress, pace))
    if (!isPending(returned)) {
      const result = finish(options, collector, returned)
      return result instanceof Promise ? result.catch(error => failure(options, collector, task, error)) : result
    }
  } catch (error) {
    return failure(options, collector, task, error)
  }
  return new Run(options, collector, task, pace).start(returned)
}

function isThenable (value: object): value is PromiseLike<unknown> {
  return 'then' in value && typeof value.then === 'function'
}

// The iterator protocols are structural: whoever has these methods has them with these meanings.
function isAsyncIterable (value: object): value is AsyncIterable<unknown, unknown> {
  return Symbol.asyncIterator in value
}

function isIterator (value: object): value is Iterator<unknown, unknown> {
  return 'next' in value && typeof value.next === 'function'
}

/** Whether a handler gave something that is still at work. */
function isPending (value: unknown): value is object {
  return typeof value === 'object' && value !== null && (isThenable(value) || isAsyncIterable(value) || isIterator(value))
}

function finish (options: RunOptions, collector: Collector, returned: unknown): CallToolResult | Promise<CallToolResult> {
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

function failure (options: RunOptions, collector: Collector, task: Task, error: unknown): CallToolResult {
  if (error instanceof ToolError) return collector.fail(error.message)
  if (error instanceof errorCodes.FST_MCP_TOOL_TIMEOUT) return collector.fail(error.message)
  if (error instanceof errorCodes.FST_MCP_RESULT_TOO_LARGE) return { content: [{ type: 'text', text: error.message }], isError: true }
  task.request.log.error({ err: error, tool: options.name }, 'tool failed')
  return collector.fail(`Tool "${options.name}" failed; the server's log says why under request ${task.request.id}`)
}

/** One call of a tool in progress: pulls its generator only while there is room, and lets go of it at once when the call is aborted. */
class Run {
  readonly #options: RunOptions
  readonly #collector: Collector
  readonly #task: Task
  readonly #pace: Pace
  #iterator: AnyIterator | undefined
  /** What the tool is at: its promise, or the step of its generator. */
  #work: unknown
  #settled = false
  #reason: Error | undefined
  #isAbandoned = false
  #resolve!: (result: CallToolResult) => void
  #reject!: (reason: Error) => void
  readonly #startedAt = performance.now()
  #timer: NodeJS.Timeout | undefined

  constructor (options: RunOptions, collector: Collector, task: Task, pace: Pace) {
    this.#options = options
    this.#collector = collector
    this.#task = task
    this.#pace = pace
  }

  start (returned: unknown): Promise<CallToolResult> {
    const promise = new Promise<CallToolResult>((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.#arm(this.#options.timeout)
    this.#pace.onResume = () => { if (this.#timer === undefined) this.#arm(this.#remaining()) }
    this.#accept(returned)
    this.#task.onAbort(reason => this.#abort(reason))
    return promise
  }

  readonly #accept = (returned: unknown): void => {
    try {
      if (!isPending(returned)) return this.#finish(returned)
      if (isThenable(returned)) {
        this.#work = returned
        returned.then(this.#accept, this.#fail)
        return
      }
      // Whatever is pending and neither of the others is an iterator.
      this.#iterator = isAsyncIterable(returned) ? returned[Symbol.asyncIterator]() : returned as Iterator<unknown, unknown>
      if (this.#settled) this.#leave()
      else this.#pull()
    } catch (error) {
      this.#fail(error)
    }
  }

  #pull (): void {
    try {
      const step = this.#work = this.#iterator?.next()
      if (step instanceof Promise) step.then(this.#take, this.#fail)
      else Promise.resolve(step).then(this.#take, this.#fail)
    } catch (error) {
      this.#fail(error)
    }
  }

  readonly #take = (step: IteratorResult<unknown, unknown> | undefined): void => {
    if (this.#settled) return
    if (step?.done === true) return this.#finish(step.value)
    try {
      const room = this.#pace.of(this.#task.sendProgress(this.#collector.add(step?.value)))
      if (room instanceof Promise) room.then(this.#proceed)
      else this.#proceed(room)
    } catch (error) {
      this.#task.abort(error instanceof Error && 'code' in error ? error : new errorCodes.FST_MCP_CHUNK_INVALID('no JSON', { cause: error }))
    }
  }

  readonly #proceed = (open: boolean): void => {
    if (this.#settled) return
    if (open) this.#pull()
    else this.#task.abort(new errorCodes.FST_MCP_CLIENT_GONE())
  }

  #finish (returned: unknown): void {
    if (this.#settled) return
    try {
      const result = finish(this.#options, this.#collector, returned)
      if (result instanceof Promise) result.then(value => this.#settle(value), this.#fail)
      else this.#settle(result)
    } catch (error) {
      this.#fail(error)
    }
  }

  readonly #fail = (error: unknown): void => {
    if (!this.#settled) this.#settle(failure(this.#options, this.#collector, this.#task, error))
    else if (!isEcho(error, this.#reason)) {
      this.#task.request.log.error({ err: error, tool: this.#options.name }, 'tool failed while it was ended')
    }
  }

  #settle (result: CallToolResult): void {
    if (this.#settled) return
    this.#stop()
    this.#resolve(result)
  }

  #stop (): void {
    this.#settled = true
    clearTimeout(this.#timer)
    this.#pace.leave()
  }

  #remaining (): number {
    return this.#options.timeout - (performance.now() - this.#startedAt - this.#pace.waited)
  }

  #arm (ms: number): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      // The clock stands while the client keeps the tool waiting: `streams.stall` and the replay window end that.
      if (this.#pace.isWaiting) return
      const left = this.#remaining()
      if (left > 1) this.#arm(left)
      else this.#task.abort(new errorCodes.FST_MCP_TOOL_TIMEOUT(this.#options.timeout))
    }, ms).unref()
  }

  #abort (reason: Error): void {
    if (this.#settled) return
    this.#reason = reason
    this.#stop()
    if (isToldToModel(reason)) this.#resolve(failure(this.#options, this.#collector, this.#task, reason))
    else this.#reject(reason)
    const timer = setTimeout(() => {
      this.#isAbandoned = true
      this.#task.abandon()
    }, this.#options.grace).unref()
    this.#leave().then(() => clearTimeout(timer))
  }

  /** Has the generator run its `finally`, which JavaScript does once its pending `await` has settled. Never rejects. */
  async #leave (): Promise<void> {
    try {
      const [left] = await Promise.allSettled([this.#iterator?.return?.(), this.#work])
      if (left.status === 'rejected') return this.#fail(left.reason)
      let step = left.value
      // A `finally` that yields is not over yet; nobody reads what it yields.
      while (step?.done === false && !this.#isAbandoned) {
        await giveWay()
        step = await this.#iterator?.next()
      }
    } catch (error) {
      this.#fail(error)
    }
  }
}

/** Whether a tool throws what ended its call, as whoever honours a signal does. */
function isEcho (error: unknown, reason: Error | undefined): boolean {
  return error instanceof Error && (error === reason || error.name === 'AbortError' || error.cause === reason)
}

function isToldToModel (reason: Error): boolean {
  return reason instanceof errorCodes.FST_MCP_TOOL_TIMEOUT || reason instanceof errorCodes.FST_MCP_RESULT_TOO_LARGE ||
    reason instanceof errorCodes.FST_MCP_CHUNK_INVALID
}
