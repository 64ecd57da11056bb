import { errorCodes, readable } from '../errors.ts'
import type { Task } from './context.ts'
import type { Room } from '../sse/stream.ts'
import { type AnyIterator, type Destroyable, isAsyncIterable, isDestroyable, isPending, isThenable } from './pending.ts'
import { giveWay, type Pace } from './turn.ts'

/** One piece of work for a handler, and what becomes of what it yields, returns and throws. */
export interface Job<Result> {
  /** Calls the handler. */
  begin (): unknown
  /** What the handler yielded. Says when there is room for more. */
  take (chunk: unknown): Room
  /** What the handler returned. */
  finish (returned: unknown): Result | Promise<Result>
  /** The result for what the handler threw, or for the limit that ended it. Throws what is told to the client instead. */
  fail (error: unknown): Result
  /** Something went wrong when the call was over already. */
  logLate (error: unknown): void
}

/** How long a handler may take. */
export interface Bounds {
  /** Milliseconds of work, not counting the time in which the client keeps the handler waiting. */
  readonly timeout: number
  /** Milliseconds after an abort before a handler that ignores it counts as abandoned. */
  readonly grace: number
}

/**
 * Runs one call of a handler. A value that is known at once comes back as it is, everything else as a promise, which rejects
 * with the reason when the call is aborted.
 */
export function run<Result> (job: Job<Result>, bounds: Bounds, task: Task, pace: Pace): Result | Promise<Result> {
  try {
    const returned = job.begin()
    if (isPending(returned)) return new Run(job, bounds, task, pace).start(returned)
    const result = job.finish(returned)
    return result instanceof Promise ? new Run(job, bounds, task, pace).finishing(result) : result
  } catch (error) {
    return job.fail(readable(error))
  }
}

/** One call of a tool in progress: pulls its generator only while there is room, and lets go of it at once when the call is aborted. */
class Run<Result> {
  readonly #job: Job<Result>
  readonly #bounds: Bounds
  readonly #task: Task
  readonly #pace: Pace
  #iterator: AnyIterator | undefined
  /** A Node stream, whose iterator would wait for the next chunk before it ends. */
  #source: Destroyable | undefined
  /** What the tool is at: its promise, or the step of its generator. */
  #work: unknown
  #settled = false
  #reason: Error | undefined
  #isAbandoned = false
  #resolve!: (result: Result) => void
  #reject!: (reason: unknown) => void
  readonly #startedAt = performance.now()
  #timer: NodeJS.Timeout | undefined

  constructor (job: Job<Result>, bounds: Bounds, task: Task, pace: Pace) {
    this.#job = job
    this.#bounds = bounds
    this.#task = task
    this.#pace = pace
  }

  start (returned: unknown): Promise<Result> {
    return this.#begin(() => this.#accept(returned))
  }

  /** The tool is done, and its result is still being validated. */
  finishing (result: Promise<Result>): Promise<Result> {
    return this.#begin(() => { result.then(value => this.#settle(value), this.#fail) })
  }

  #begin (work: () => void): Promise<Result> {
    const promise = new Promise<Result>((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.#arm(this.#bounds.timeout)
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
      if (isDestroyable(returned)) this.#source = returned
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
      const room = this.#pace.of(this.#job.take(step?.value))
      if (room instanceof Promise) room.then(this.#proceed)
      else this.#proceed(room)
    } catch (thrown) {
      const error = readable(thrown)
      this.#task.abort(isOutcome(error) ? error : new errorCodes.FST_MCP_CHUNK_INVALID('what JSON cannot say', { cause: error }))
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
      const result = this.#job.finish(returned)
      if (result instanceof Promise) result.then(value => this.#settle(value), this.#fail)
      else this.#settle(result)
    } catch (error) {
      this.#fail(error)
    }
  }

  readonly #fail = (thrown: unknown): void => {
    const error = readable(thrown)
    if (this.#settled) {
      if (!isEcho(error, this.#reason) && !this.#isCut(error)) this.#job.logLate(error)
      return
    }
    try {
      this.#settle(this.#job.fail(error))
    } catch (told) {
      this.#reject(told)
      this.#stop()
    }
  }

  /** Whether a stream says that it was destroyed, which it was from here. */
  #isCut (error: unknown): boolean {
    return this.#source !== undefined && error instanceof Error && 'code' in error && error.code === 'ERR_STREAM_PREMATURE_CLOSE'
  }

  #settle (result: Result): void {
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
    return this.#bounds.timeout - (performance.now() - this.#startedAt - this.#pace.waited)
  }

  #arm (ms: number): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      // The clock stands while the client keeps the tool waiting: `streams.stall` and the replay window end that.
      if (this.#pace.isWaiting) return
      const left = this.#remaining()
      if (left > 1) this.#arm(left)
      else this.#task.abort(new errorCodes.FST_MCP_TOOL_TIMEOUT(this.#bounds.timeout))
    }, ms).unref()
  }

  #abort (reason: Error): void {
    if (this.#settled) return
    this.#reason = reason
    this.#stop()
    try {
      if (isOutcome(reason)) this.#resolve(this.#job.fail(reason))
      else this.#reject(reason)
    } catch (told) {
      this.#reject(told)
    }
    const timer = setTimeout(() => {
      this.#isAbandoned = true
      this.#task.abandon()
    }, this.#bounds.grace).unref()
    this.#leave().then(() => clearTimeout(timer))
  }

  /** Has the generator run its `finally`, which JavaScript does once its pending `await` has settled. Never rejects. */
  async #leave (): Promise<void> {
    try {
      if (this.#source !== undefined) cut(this.#source)
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

/** A stream that opens late may fail late, when nobody reads it any more: an error without a listener would end the process. */
function cut (source: Destroyable): void {
  source.on?.('error', () => {})
  source.destroy()
}

/** Whether a tool throws what ended its call, as whoever honours a signal does. */
function isEcho (error: unknown, reason: Error | undefined): boolean {
  return error instanceof Error && (error === reason || error.name === 'AbortError' || error.cause === reason)
}

/** Whether a call ended by something that its own result tells. */
function isOutcome (reason: unknown): reason is Error {
  return reason instanceof errorCodes.FST_MCP_TOOL_TIMEOUT || reason instanceof errorCodes.FST_MCP_RESULT_TOO_LARGE ||
    reason instanceof errorCodes.FST_MCP_CHUNK_INVALID
}
