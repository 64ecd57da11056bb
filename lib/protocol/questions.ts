import { randomBytes } from 'node:crypto'
import { atLimit, errorCodes } from '../errors.ts'
import type { TellRefusal } from '../ops/events.ts'
import { Tally } from '../sse/tally.ts'
import type { Question } from '../tools/context.ts'
import type { Call } from './call.ts'
import { type Inquiry, Once } from './inquiry.ts'
import { isObject, notificationOf, requestOf, type Response } from './message.ts'
import { ownerOf } from './owner.ts'

interface Pending {
  readonly session: string
  answer (response: Response): void
}

export interface QuestionsOptions {
  /** Milliseconds that a client has for each answer. */
  readonly timeout: number
  /** The most that wait at once, in all and to one principal. */
  readonly max: number
  readonly maxPerPrincipal: number
  /** The node, which the ids name, so that an answer that arrives at another finds its way. */
  readonly node?: string
  /** A handler may keep what refuses it to itself. */
  readonly tell: TellRefusal
}

/** The requests of one server to its clients that wait for an answer. */
export class Questions {
  readonly #node: string
  readonly #pending = new Map<string, Pending>()
  readonly #owners = new Tally()
  readonly #options: QuestionsOptions
  #count = 0

  constructor (options: QuestionsOptions) {
    this.#options = options
    this.#node = options.node ?? randomBytes(4).toString('hex')
  }

  get size (): number {
    return this.#pending.size
  }

  /** Hands an answer to whoever waits for it; false when nobody of that session does. */
  answer (session: string, response: Response): boolean {
    const pending = typeof response.id === 'string' ? this.#pending.get(response.id) : undefined
    if (pending?.session !== session) return false
    pending.answer(response)
    return true
  }

  /**
   * Sends a request on the stream of a call and waits for its answer. Rejects with the reason when the call ends before, and with
   * FST_MCP_ASK_TIMEOUT, FST_MCP_ASK_REFUSED and FST_MCP_CLIENT_GONE; with FST_MCP_ASK_UNAVAILABLE and FST_MCP_QUOTA_EXCEEDED when
   * too many wait. Whoever stops waiting tells the client (basic/utilities/cancellation).
   */
  async ask (call: Call, session: string, key: string, { method, params }: Question): Promise<unknown> {
    const { timeout, max, maxPerPrincipal, tell } = this.#options
    const owner = ownerOf(call.principal)
    const refuse = (error: Error): never => {
      tell(error, owner)
      throw error
    }
    if (this.size >= max) refuse(atLimit('ask.max', new errorCodes.FST_MCP_ASK_UNAVAILABLE('as many questions wait for an answer as may')))
    if (this.#owners.of(owner) >= maxPerPrincipal) refuse(atLimit('ask.maxPerPrincipal', new errorCodes.FST_MCP_QUOTA_EXCEEDED(maxPerPrincipal, 'questions')))
    const id = `${this.#node}-${++this.#count}`
    return new Promise((resolve, reject) => {
      const end = (): void => {
        this.#pending.delete(id)
        this.#owners.remove(owner)
        clearTimeout(timer)
        call.offEnd(give)
      }
      const give = (reason: Error): void => {
        end()
        call.outbox.send(notificationOf('notifications/cancelled', { requestId: id, reason: reason.message }))
        reject(reason)
      }
      const timer = setTimeout(() => give(new errorCodes.FST_MCP_ASK_TIMEOUT(key, timeout)), timeout).unref()
      const answer = ({ result, error }: Response): void => {
        end()
        if (error === undefined) resolve(result)
        else reject(new errorCodes.FST_MCP_ASK_REFUSED(key, isObject(error) && typeof error.message === 'string' ? error.message : 'without a message'))
      }
      this.#pending.set(id, { session, answer })
      this.#owners.add(owner)
      call.onEnd(give)
      if (call.outbox.send(requestOf(id, method, params)) === false) give(new errorCodes.FST_MCP_CLIENT_GONE())
    })
  }
}

/** How a call of a session asks: by requests on its own stream. Its handler waits. */
export class SessionInquiry implements Inquiry {
  readonly #questions: Questions
  readonly #call: Call
  readonly #session: string
  #once: Once | undefined

  constructor (questions: Questions, call: Call, session: string) {
    this.#questions = questions
    this.#call = call
    this.#session = session
  }

  ask (key: string, question: Question): Promise<unknown> {
    if (!this.#call.outbox.canAsk()) return Promise.reject(new errorCodes.FST_MCP_ASK_UNAVAILABLE('there is no stream to ask on'))
    return this.#questions.ask(this.#call, this.#session, key, question)
  }

  once (key: string, make: () => unknown): Promise<unknown> {
    this.#once ??= new Once()
    return this.#once.once(key, make)
  }

  repeats (): boolean {
    return false
  }

  repeatsLog (): boolean {
    return false
  }
}
