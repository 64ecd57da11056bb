import type { EventReader, Heard } from './event-reader.ts'
import { type Exchange, isSilence, type Silence } from './exchange.ts'
import type { Patient } from './patient.ts'
import { type Fields, readRpc, type Rpc } from './rpc.ts'

/** How a request was answered. */
export interface Told {
  readonly exchange: Exchange
  /** Undefined when none came. */
  readonly answer: Rpc | undefined
  /** The body, when it was no stream. */
  readonly text: string
  /** Events up to the answer. */
  readonly heard: readonly Heard[]
  /** By the clock of `performance.now()`. */
  readonly answeredAt: number
}

/** Says requests in the way of one era. */
export interface Line {
  request (method: string, params?: Fields): Promise<Told | Silence>
}

/** Reads the answer to a request on its own response. */
export async function readTold (exchange: Exchange, id: unknown, ms: number): Promise<Told> {
  if (!exchange.isStream) {
    const text = await exchange.text(ms)
    return { exchange, answer: readRpc(text), text, heard: [], answeredAt: performance.now() }
  }
  const told = await readFrom(exchange.reader(), 0, exchange, id, ms)
  exchange.close()
  return told
}

/** Reads the answer among the events of a stream, from one of them on. */
async function readFrom (reader: EventReader, first: number, exchange: Exchange, id: unknown, ms: number): Promise<Told> {
  const found = await reader.find(({ data }) => {
    const rpc = readRpc(data)
    return rpc?.id === id && rpc?.method === undefined
  }, ms)
  const heard = reader.events.slice(first)
  return { exchange, answer: found && readRpc(found.data), text: '', heard, answeredAt: found?.at ?? performance.now() }
}

// Tools may take their time.
const CALL_MS = 30_000
const patience = ({ order }: Patient, method: string): number => method === 'tools/call' ? Math.max(order.timeout, CALL_MS) : order.timeout

/** Each request on a POST of its own, which answers it. */
export class PostLine implements Line {
  readonly #patient: Patient
  readonly #headersOf: (method: string, params: Fields) => Readonly<Record<string, string>>
  readonly #meta: Fields | undefined
  #ids = 0

  constructor (patient: Patient, headersOf: (method: string, params: Fields) => Readonly<Record<string, string>>, meta?: Fields) {
    this.#patient = patient
    this.#headersOf = headersOf
    this.#meta = meta
  }

  async request (method: string, params: Fields = {}): Promise<Told | Silence> {
    const id = ++this.#ids
    const { _meta, ...rest } = params
    const meta = { ...this.#meta, ...Object(_meta) }
    const full = Object.keys(meta).length > 0 ? { ...rest, _meta: meta } : rest
    const timeout = patience(this.#patient, method)
    const answer = await this.#patient.ask({ headers: this.#headersOf(method, params), message: { jsonrpc: '2.0', id, method, params: full }, timeout })
    return isSilence(answer) ? answer : readTold(answer, id, timeout)
  }
}

/** Requests go to the endpoint, answers come on the stream. */
export class SseLine implements Line {
  readonly #patient: Patient
  readonly #endpoint: URL
  readonly #reader: EventReader
  #ids = 0

  constructor (patient: Patient, endpoint: URL, reader: EventReader) {
    this.#patient = patient
    this.#endpoint = endpoint
    this.#reader = reader
  }

  async request (method: string, params: Fields = {}): Promise<Told | Silence> {
    const id = ++this.#ids
    const first = this.#reader.events.length
    const posted = await this.#patient.ask({ url: this.#endpoint, message: { jsonrpc: '2.0', id, method, params } })
    if (isSilence(posted)) return posted
    const timeout = patience(this.#patient, method)
    // A stream whose POST was refused says nothing to it.
    if (posted.status >= 400) return readTold(posted, id, timeout)
    posted.close()
    return readFrom(this.#reader, first, posted, id, timeout)
  }
}
