import { setMaxListeners } from 'node:events'
import { type Exchange, exchange, isSilence, type Silence } from './exchange.ts'
import type { Order } from './order.ts'

export interface Visit {
  /** POST unless given. */
  readonly method?: string
  /** That of the order unless given. */
  readonly url?: URL
  readonly headers?: Readonly<Record<string, string>>
  /** Sent as JSON. */
  readonly message?: object
  /** Without token and Authorization. */
  readonly isAnonymous?: boolean
  /** Milliseconds until the head; that of the order unless given. */
  readonly timeout?: number
}

/** A stream that may be held open for long. */
export interface IdleStream {
  readonly name: string
  /** Begins the names of its measures. */
  readonly key: string
  open (): Promise<Exchange | Silence>
  /** Comes back for what follows an event; undefined where the era has no such thing. */
  readonly resume?: ((lastId: string) => Promise<Exchange | Silence>) | undefined
}

// What ends a session is not waited for any longer.
const PARTING_MS = 2_000

/** The server that is examined, and everything that is open at it. */
export class Patient {
  readonly order: Order
  readonly signal: AbortSignal
  /** Its `Retry-After` when a rate limit was reached; then nothing more is asked. */
  limited: string | undefined
  /** What the eras offer to hold open. */
  readonly streams: IdleStream[] = []
  /** A tool that does no harm and needs no arguments. */
  harmless: string | undefined
  /** Where a stream of HTTP+SSE was found. */
  sse: URL | undefined
  readonly #open = new Set<Exchange>()
  readonly #partings: Visit[] = []

  constructor (order: Order, signal: AbortSignal) {
    this.order = order
    this.signal = signal
    // Everything that is open listens to it.
    setMaxListeners(0, signal)
  }

  /** Whether nothing more is asked. */
  get isDone (): boolean {
    return this.limited !== undefined || this.signal.aborted
  }

  async ask (visit: Visit): Promise<Exchange | Silence> {
    if (this.isDone) return { silence: 'DONE', words: 'nothing more is asked' }
    const answer = await this.#send(visit, visit.timeout ?? this.order.timeout, this.signal)
    if (isSilence(answer)) return answer
    this.#open.add(answer)
    if (answer.status === 429) this.limited = answer.header('retry-after') || 'none'
    return answer
  }

  #send ({ method = 'POST', url = this.order.url, headers = {}, message, isAnonymous = false }: Visit, timeout: number, signal: AbortSignal | undefined) {
    const { token, headers: own, isInsecure } = this.order
    const all: Record<string, string> = {
      'accept-encoding': 'gzip, deflate, br',
      'user-agent': 'fastify-mcp-sse-doctor',
      ...(message !== undefined && { 'content-type': 'application/json', accept: 'application/json, text/event-stream' })
    }
    // What is for this server is told to no other one.
    if (url.origin === this.order.url.origin) {
      Object.assign(all, own, token !== undefined && { authorization: `Bearer ${token}` })
      if (isAnonymous) delete all.authorization
    }
    Object.assign(all, headers)
    return exchange({ method, url, headers: all, body: message && JSON.stringify(message), timeout, isInsecure, signal })
  }

  /** Remembers what ends a session; gives what ends it now. */
  owe (parting: Visit): () => Promise<Exchange | Silence> {
    this.#partings.push(parting)
    return async () => {
      const answer = await this.ask(parting)
      if (!isSilence(answer)) this.#partings.splice(this.#partings.indexOf(parting), 1)
      return answer
    }
  }

  /** Breaks every connection and ends every session, also after an abort. */
  async close (): Promise<void> {
    for (const exchange of this.#open) exchange.close()
    await Promise.all(this.#partings.splice(0).map(async parting => {
      const answer = await this.#send(parting, PARTING_MS, undefined)
      if (!isSilence(answer)) answer.close()
    }))
  }
}
