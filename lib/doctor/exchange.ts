import { request as overHttp, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { request as overHttps } from 'node:https'
import type { Readable } from 'node:stream'
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib'
import { EventReader } from './event-reader.ts'

export interface Ask {
  readonly method: string
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | undefined
  /** Milliseconds until the head of the response. */
  readonly timeout: number
  readonly isInsecure: boolean
  readonly signal: AbortSignal | undefined
}

/** That no response came. */
export interface Silence {
  /** Of the system or of TLS; `TIMEOUT` when nothing came in time. */
  readonly silence: string
  readonly words: string
}

const MOST_CHARACTERS = 4_194_304
const decoders = new Map([['gzip', createGunzip], ['deflate', createInflate], ['br', createBrotliDecompress]])

/** A response, from its head on. */
export class Exchange {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly version: string
  /** By the clock of `performance.now()`: when the connection stood and the request went out. */
  readonly startedAt: number
  /** Milliseconds from then to the head. */
  readonly headMs: number
  /** Whether the request went out with `Authorization`. */
  readonly isAuthorized: boolean
  readonly #incoming: IncomingMessage
  readonly #body: Readable
  #reader: EventReader | undefined

  constructor (incoming: IncomingMessage, startedAt: number, isAuthorized: boolean) {
    this.#incoming = incoming
    this.status = Number(incoming.statusCode)
    this.headers = incoming.headers
    this.version = incoming.httpVersion
    this.startedAt = startedAt
    this.isAuthorized = isAuthorized
    this.headMs = performance.now() - startedAt
    this.#body = decode(incoming)
    this.#body.on('error', () => {})
  }

  header (name: string): string {
    return this.headers[name]?.toString() ?? ''
  }

  /** The media type alone. */
  get type (): string {
    return this.header('content-type').replace(/;.*$/, '').trim().toLowerCase()
  }

  get isStream (): boolean {
    return this.type === 'text/event-stream'
  }

  /** What comes of the body within `ms`; of a large one its beginning. */
  async text (ms: number): Promise<string> {
    const timer = setTimeout(() => this.close(), ms)
    let text = ''
    try {
      for await (const chunk of this.#body.setEncoding('utf8')) {
        text += chunk
        if (text.length > MOST_CHARACTERS) break
      }
    } catch {
      // A body that breaks off is judged by what there is of it.
    }
    clearTimeout(timer)
    return text
  }

  reader (): EventReader {
    this.#reader ??= new EventReader(this.#body)
    return this.#reader
  }

  close (): void {
    this.#incoming.destroy()
    this.#body.destroy()
  }
}

function decode (incoming: IncomingMessage): Readable {
  const decoder = decoders.get(incoming.headers['content-encoding']?.toLowerCase() ?? '')
  if (decoder === undefined) return incoming
  const decoded = decoder()
  incoming.on('error', error => decoded.destroy(error))
  return incoming.pipe(decoded)
}

/** Sends one request on a connection of its own. */
export async function exchange (ask: Ask): Promise<Exchange | Silence> {
  try {
    return await send(ask)
  } catch (error) {
    // What a server gave, an id or a name, may be more than a header holds.
    return { silence: 'UNSENT', words: `the request cannot be sent: ${wordsOf(error)}` }
  }
}

function send ({ method, url, headers, body, timeout, isInsecure, signal }: Ask): Promise<Exchange | Silence> {
  return new Promise(resolve => {
    const isSecure = url.protocol === 'https:'
    let startedAt = performance.now()
    // Node would ask for the end of the connection, and not see who else does.
    const all = { connection: 'keep-alive', ...headers }
    const outgoing = (isSecure ? overHttps : overHttp)(url, { method, headers: all, agent: false, rejectUnauthorized: !isInsecure, signal })
    const timer = setTimeout(() => {
      resolve({ silence: 'TIMEOUT', words: `nothing came within ${timeout / 1_000} s` })
      outgoing.destroy()
    }, timeout)
    outgoing.on('socket', socket => socket.once(isSecure ? 'secureConnect' : 'connect', () => { startedAt = performance.now() }))
    outgoing.on('error', error => {
      clearTimeout(timer)
      resolve(silenceOf(error))
    })
    outgoing.on('response', incoming => {
      clearTimeout(timer)
      resolve(new Exchange(incoming, startedAt, headers.authorization !== undefined))
    })
    outgoing.end(body)
  })
}

const PLAIN_WORDS: Record<string, string> = {
  ENOTFOUND: 'the name of the host is not known',
  EAI_AGAIN: 'the name of the host could not be looked up now',
  ECONNREFUSED: 'nothing listens there',
  ECONNRESET: 'the connection was reset before an answer',
  EHOSTUNREACH: 'there is no way to the host',
  ENETUNREACH: 'there is no way to its network',
  ETIMEDOUT: 'the host does not answer',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet, or the clock here is wrong',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is self-signed',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate comes from an authority that is not known here',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'an intermediate certificate is missing: the server sends its own alone',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its certificate comes from an authority that is not known here',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another host',
  EPROTO: 'it does not speak TLS on this port, or no version that is spoken here',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it speaks plain http on this port',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'it speaks plain http on this port'
}

function wordsOf (error: unknown): string {
  return String(Reflect.get(Object(error), 'message'))
}

const TLS = /CERT|SSL|TLS|EPROTO|SIGNATURE/

export function isTls ({ silence }: Silence): boolean {
  return TLS.test(silence)
}

function silenceOf (error: Error): Silence {
  const code = String(Reflect.get(error, 'code'))
  return { silence: code, words: PLAIN_WORDS[code] ?? error.message }
}

/** Whether no response came. */
export function isSilence<T extends object> (result: T | Silence): result is Silence {
  return 'silence' in result
}
