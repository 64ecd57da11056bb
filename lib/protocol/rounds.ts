import { createHash } from 'node:crypto'
import { errorCodes } from '../errors.ts'
import type { ProgressParams } from '../tools/chunk.ts'
import type { Question } from '../tools/context.ts'
import { asJson, type Inquiry } from './inquiry.ts'
import { isObject, type Params } from './message.ts'
import type { Seal } from './seal.ts'

/** What is sealed into a `requestState`: everything that the next run needs to know of those before it. */
interface State {
  /** Every question so far: its fingerprint and, once it was answered, the answer. */
  readonly asked: readonly (readonly [key: string, print: string, answer?: unknown])[]
  /** What was made once. */
  readonly made: readonly (readonly [key: string, value?: unknown])[]
  /** How many chunks and log messages were sent, and the fingerprint of the chunks. */
  readonly chunks: number
  readonly print: number
  readonly logs: number
}

const FRESH: State = { asked: [], made: [], chunks: 0, print: 0, logs: 0 }

/** The call, as far as its rounds need it. */
interface Ender {
  /** Ends the run of a handler that asks, when it does not end by itself. */
  abort (reason: Error): void
  onEnd (listener: (reason: Error) => void): void
  offEnd (listener: (reason: Error) => void): void
}

export interface RoundsOptions {
  readonly seal: Seal
  /** What a state belongs to. */
  readonly binding: string
  /** Milliseconds in which what `once` makes must be there when its run is over. */
  readonly timeout: number
}

/**
 * How a call of 2026-07-28 asks: it ends in `input_required`, and its handler runs again from the top with the answers. What was
 * yielded before is not sent twice, so every run must yield the same up to where it asks.
 * Specification: 2026-07-28, basic/patterns/mrtr.
 */
export class Rounds implements Inquiry {
  readonly #options: RoundsOptions
  readonly #before: State
  readonly #asked: Map<string, { print: string, answer: { value: unknown } | undefined }>
  readonly #made: Map<string, unknown>
  readonly #making = new Map<string, Promise<unknown>>()
  readonly #unfinished = new Set<Promise<unknown>>()
  /** Answers without a state: the client knows what will be asked. */
  readonly #early: ReadonlyMap<string, unknown>
  readonly #required = new Map<string, Question>()
  readonly #ender: Ender
  #chunks = 0
  #print = 0
  #logs = 0
  #isOver = false

  /** Throws FST_MCP_STATE_INVALID, FST_MCP_PARAMS_INVALID and FST_MCP_ANSWER_INVALID. */
  constructor (options: RoundsOptions, { requestState, inputResponses }: Params, ender: Ender) {
    this.#options = options
    this.#ender = ender
    if (inputResponses !== undefined && !isObject(inputResponses)) throw new errorCodes.FST_MCP_PARAMS_INVALID('`inputResponses` must be an object')
    // What `open` gives was sealed below.
    this.#before = requestState === undefined ? FRESH : options.seal.open(requestState, options.binding) as State
    const responses = new Map(Object.entries(inputResponses ?? {}))
    this.#early = requestState === undefined ? responses : new Map()
    this.#asked = new Map(this.#before.asked.map(([key, print, ...known]) => {
      const [value] = known.length > 0 ? known : [responses.get(key)]
      return [key, { print, answer: answerOf(key, value) }]
    }))
    this.#made = new Map(this.#before.made.map(([key, value]) => [key, value]))
  }

  async ask (key: string, question: Question): Promise<unknown> {
    const print = fingerprint(question)
    const known = this.#asked.get(key)
    if (known !== undefined && known.print !== print) throw this.#differs(`it asks something else under the key "${key}"`)
    const answer = known === undefined ? answerOf(key, this.#early.get(key)) : known.answer
    this.#asked.set(key, { print, answer })
    if (answer !== undefined) return answer.value
    this.#required.set(key, question)
    const required = new errorCodes.FST_MCP_INPUT_REQUIRED()
    // Whoever catches this goes on for nothing. Questions that are asked together have a turn to come.
    if (this.#required.size === 1) setImmediate(() => { if (!this.#isOver) this.#ender.abort(required) })
    throw required
  }

  once (key: string, make: () => unknown): Promise<unknown> {
    let making = this.#making.get(key)
    if (making === undefined) {
      this.#making.set(key, making = this.#make(key, make))
      const unfinished = making
      this.#unfinished.add(unfinished)
      const done = (): void => { this.#unfinished.delete(unfinished) }
      unfinished.then(done, done)
    }
    return making
  }

  async #make (key: string, make: () => unknown): Promise<unknown> {
    if (this.#made.has(key)) return this.#made.get(key)
    const value = asJson(await make())
    this.#made.set(key, value)
    return value
  }

  repeats (params: ProgressParams): boolean {
    // What a run sends after it asked would be sent again by the next.
    if (this.#required.size > 0) return true
    const isRepeated = this.#chunks++ < this.#before.chunks
    this.#print = mix(this.#print, params.message === undefined || params._meta !== undefined ? JSON.stringify(params) : params.message)
    if (this.#chunks === this.#before.chunks && this.#print !== this.#before.print) throw this.#differs('it yields something else')
    return isRepeated
  }

  repeatsLog (): boolean {
    return this.#required.size > 0 || this.#logs++ < this.#before.logs
  }

  settle (work: () => object | Promise<object>): object | Promise<object> {
    try {
      const result = work()
      if (result instanceof Promise) return result.then(value => this.#end(value), error => this.#endFailed(error))
      return this.#end(result)
    } catch (error) {
      return this.#endFailed(error)
    }
  }

  #endFailed (error: unknown): object | Promise<object> {
    this.#isOver = true
    // What the handler made of the end of its run is of no interest, but for what the client or its author must mend.
    if (this.#required.size === 0 || isFinal(error)) throw error
    return this.#end({})
  }

  #end (result: object): object | Promise<object> {
    this.#isOver = true
    if (this.#chunks < this.#before.chunks) throw this.#differs('it yields less')
    if (this.#required.size === 0) return result
    return this.#unfinished.size === 0 ? this.#require() : this.#whenMade().then(() => this.#require())
  }

  /** What `once` still makes when its run is over would be made again: it may be a charge. */
  #whenMade (): Promise<unknown> {
    const { timeout } = this.#options
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        clearTimeout(timer)
        this.#ender.offEnd(end)
      }
      const end = (reason: Error): void => {
        leave()
        reject(reason)
      }
      const timer = setTimeout(() => end(new errorCodes.FST_MCP_TOOL_TIMEOUT(timeout)), timeout).unref()
      this.#ender.onEnd(end)
      Promise.allSettled(this.#unfinished).then(resolve).finally(leave)
    })
  }

  #require (): object {
    const state: State = {
      asked: [...this.#asked].map(([key, { print, answer }]) => answer === undefined ? [key, print] : [key, print, answer.value]),
      // What is undefined would come back as null.
      made: [...this.#made].map(([key, value]) => value === undefined ? [key] : [key, value]),
      chunks: this.#chunks,
      print: this.#print,
      logs: this.#logs
    }
    return {
      resultType: 'input_required',
      inputRequests: Object.fromEntries(this.#required),
      requestState: this.#options.seal.seal(state, this.#options.binding)
    }
  }

  #differs (what: string): Error {
    return new errorCodes.FST_MCP_RERUN_DIFFERS(what)
  }
}

/** Throws FST_MCP_ANSWER_INVALID. */
function answerOf (key: string, value: unknown): { value: unknown } | undefined {
  if (value !== undefined && !isObject(value)) throw new errorCodes.FST_MCP_ANSWER_INVALID(key, 'it must be an object')
  return value === undefined ? undefined : { value }
}

/** Whether nobody waits for the next run. */
function isFinal (error: unknown): boolean {
  return error instanceof errorCodes.FST_MCP_RERUN_DIFFERS || error instanceof errorCodes.FST_MCP_CLIENT_GONE ||
    error instanceof errorCodes.FST_MCP_CLOSING
}

/** What a state belongs to: nobody else, no other method and no other arguments may use it. */
export function bindingOf (server: string, owner: string | null, method: string, params: Params): string {
  const { _meta, requestState, inputResponses, ...salient } = params
  return JSON.stringify([server, owner, method, canonical(salient)])
}

/** The same for the same value, in whatever order its keys come. Depth is bounded where bodies are parsed. */
function canonical (value: unknown): unknown {
  if (Array.isArray(value)) return ['list', ...value.map(canonical)]
  if (!isObject(value)) return value
  return ['object', ...Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1).map(([key, member]) => [key, canonical(member)])]
}

function fingerprint (question: Question): string {
  return createHash('sha256').update(JSON.stringify(canonical(question))).digest('base64url').slice(0, 16)
}

const FNV_PRIME = 16_777_619

/** Tells runs apart that differ by accident (FNV-1a); nobody gains by a run that differs on purpose. */
function mix (print: number, text: string): number {
  let hash = print ^ text.length
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), FNV_PRIME)
  return hash | 0
}
