import { errorCodes, readable } from '../errors.ts'
import { type CallToolResult, Collector } from './chunk.ts'
import { type Task, ToolContext } from './context.ts'
import { failure, finish, logFailure, type RunOptions } from './outcome.ts'
import type { Verdict } from './schema.ts'
import { giveWay, Pace } from './turn.ts'

type AnyIterator = Iterator<unknown, unknown> | AsyncIterator<unknown, unknown>

/**
 * Validates the arguments and runs one call of a tool. A value that is known at once comes back as it is, everything else
 * as a promise. Rejects with the reason when the call is aborted; what the tool throws becomes a result with `isError`.
 * Throws FST_MCP_INPUT_INVALID where the revision tells that to the client.
 */
export function runTool (options: RunOptions, args: unknown, task: Task): CallToolResult | Promise<CallToolResult> {
  const collector = new Collector(options.collect, options.maxResult)
  const pace = new Pace()
  const start = (verdict: Verdict): unknown => {
    if (!verdict.ok) throw new errorCodes.FST_MCP_INPUT_INVALID(options.name, verdict.message)
    // The arguments have passed the schema that the handler's type was inferred from.
    return options.handler(verdict.value as never, new ToolContext(task, collector.progress, pace))
  }
  // Validation may take its time: a call that was ended meanwhile does not start.
  const startLate = (verdict: Verdict): unknown => {
    task.signal.throwIfAborted()
    return start(verdict)
  }
  try {
    const verdict = validate(options, args)
    const returned = verdict instanceof Promise ? verdict.then(startLate, breakDown) : start(verdict)
    if (isPending(returned)) return new Run(options, collector, task, pace).start(returned)
    const result = finish(options, collector, returned)
    return result instanceof Promise ? new Run(options, collector, task, pace).finishing(result) : result
  } catch (error) {
    return failure(options, collector, task, readable(error))
  }
}

function validate ({ input }: RunOptions, args: unknown): Verdict | Promise<Verdict> {
  try {
    return input.validate(args)
  } catch (error) {
    return breakDown(error)
  }
}

/** A schema that breaks is a fault of the server: nobody's arguments are wrong. */
function breakDown (error: unknown): never {
  throw new errorCodes.FST_MCP_INTERNAL({ cause: readable(error) })
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
  #reject!: (reason: unknown) => void
  readonly #startedAt = performance.now()
  #timer: NodeJS.Timeout | undefined

  constructor (options: RunOptions, collector: Collector, task: Task, pace: Pace) {
    this.#options = options
    this.#collector = collector
    this.#task = task
    this.#pace = pace
  }

  start (returned: unknown): Promise<CallToolResult> {
    return this.#begin(() => this.#accept(returned))
  }

  /** The tool is done, and its result is still being validated. */
  finishing (result: Promise<CallToolResult>): Promise<CallToolResult> {
    return this.#begin(() => { result.then(value => this.#settle(value), this.#fail) })
  }

  #begin (work: () => void): Promise<CallToolResult> {
    const promise = new Promise<CallToolResult>((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.#arm(this.#options.timeout)
    this.#pace.onResume = () => { if (this.#timer === undefined) this.#arm(this.#remaining()) }
    work()
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
    try {
      if (step?.done === true) return this.#finish(step.value)
      const room = this.#pace.of(this.#task.sendProgress(this.#collector.add(step?.value)))
      if (room instanceof Promise) room.then(this.#proceed)
      else this.#proceed(room)
    } catch (thrown) {
      const error = readable(thrown)
      this.#task.abort(isToldToModel(error) ? error : new errorCodes.FST_MCP_CHUNK_INVALID('what JSON cannot say', { cause: error }))
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

  readonly #fail = (thrown: unknown): void => {
    const error = readable(thrown)
    if (this.#settled) {
      if (!isEcho(error, this.#reason)) logFailure(this.#options, this.#task, error, 'tool failed while it was ended')
      return
    }
    try {
      this.#settle(failure(this.#options, this.#collector, this.#task, error))
    } catch (told) {
      this.#reject(told)
      this.#stop()
    }
  }

  #settle (result: CallToolResult): void {
    if (this.#settled) return
    // First: a thenable that gives itself without end leaves no stack for more.
    this.#resolve(result)
    this.#stop()
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

function isToldToModel (reason: unknown): reason is Error {
  return reason instanceof errorCodes.FST_MCP_TOOL_TIMEOUT || reason instanceof errorCodes.FST_MCP_RESULT_TOO_LARGE ||
    reason instanceof errorCodes.FST_MCP_CHUNK_INVALID
}
