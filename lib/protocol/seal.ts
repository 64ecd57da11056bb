import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from 'node:crypto'
import { errorCodes } from '../errors.ts'

export interface SealOptions {
  /** The first seals, all of them open, so that keys can be changed while tokens are out. Each a string or bytes of at least 32 bytes. */
  keys: readonly (string | Uint8Array)[]
  /** Milliseconds for which a token can be opened. */
  ttl: number
  /** Of the sealed token. */
  maxBytes: number
  /** The clock; `Date.now` by default. */
  now?: () => number
}

// A token is, in base64url: version, key id, nonce, ciphertext, tag.
const VERSION = 1
const CIPHER = 'aes-256-gcm'
const KEY_BYTES = 32
const ID_BYTES = 8
const NONCE_BYTES = 12
const TAG_BYTES = 16
const HEAD_BYTES = 1 + ID_BYTES
const FRAME_BYTES = HEAD_BYTES + NONCE_BYTES + TAG_BYTES

interface Key {
  /** The version and the id of the key, with which its tokens begin. */
  readonly head: Buffer
  readonly bytes: Buffer
}

/** Bytes that stand for the secret in one purpose alone, so that nothing done with it elsewhere helps here. */
function derive (secret: string | Uint8Array, purpose: string, length: number): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, '', `fastify-mcp-sse requestState ${VERSION} ${purpose}`, length))
}

function createKey (secret: string | Uint8Array): Key {
  if (Buffer.byteLength(secret) < KEY_BYTES) throw new errorCodes.FST_MCP_OPTION_INVALID(`a key that seals needs at least ${KEY_BYTES} bytes`)
  return { head: Buffer.from([VERSION, ...derive(secret, 'id', ID_BYTES)]), bytes: derive(secret, 'key', KEY_BYTES) }
}

function invalid (reason: string): Error {
  return new errorCodes.FST_MCP_STATE_INVALID({ cause: new TypeError(reason) })
}

/**
 * Seals what a client keeps for the server between two requests: it can neither read nor change it, nor use it for
 * another request or later than meant. It can use it twice. Specification (2026-07-28): basic/patterns/mrtr.
 */
export class Seal {
  readonly #first: Key
  readonly #keys: ReadonlyMap<string, Key>
  readonly #ttl: number
  readonly #maxBytes: number
  readonly #now: () => number

  /** Throws FST_MCP_OPTION_INVALID for a key that is too short, and when there is none. */
  constructor ({ keys, ttl, maxBytes, now = Date.now }: SealOptions) {
    const [first, ...others] = keys.map(createKey)
    if (first === undefined) throw new errorCodes.FST_MCP_OPTION_INVALID('sealing needs a key')
    this.#first = first
    this.#keys = new Map([first, ...others].map(key => [key.head.toString('hex'), key]))
    this.#ttl = ttl
    this.#maxBytes = maxBytes
    this.#now = now
  }

  /**
   * URL-safe text that `open` gives the value for. The value is what JSON can say; `binding` is what must be the same
   * then (the token does not contain it). Throws FST_MCP_STATE_TOO_LARGE.
   */
  seal (value: unknown, binding: string): string {
    const text = Buffer.from(JSON.stringify({ until: this.#now() + this.#ttl, value }))
    const length = Math.ceil((FRAME_BYTES + text.length) * 4 / 3)
    if (length > this.#maxBytes) throw new errorCodes.FST_MCP_STATE_TOO_LARGE(this.#maxBytes)
    const { head, bytes } = this.#first
    const nonce = randomBytes(NONCE_BYTES)
    const cipher = createCipheriv(CIPHER, bytes, nonce, { authTagLength: TAG_BYTES }).setAAD(authenticated(head, binding))
    return Buffer.concat([head, nonce, cipher.update(text), cipher.final(), cipher.getAuthTag()]).toString('base64url')
  }

  /**
   * The sealed value. Throws FST_MCP_STATE_INVALID for all that is not a token of one of the keys, for the same binding
   * and within its time. The client cannot tell why; `cause` tells the log.
   */
  open (token: unknown, binding: string): unknown {
    if (typeof token !== 'string') throw invalid('it is not a string')
    if (token.length > this.#maxBytes) throw invalid('it is too long')
    const bytes = Buffer.from(token, 'base64url')
    if (bytes.toString('base64url') !== token) throw invalid('it is not canonical base64url')
    if (bytes.length < FRAME_BYTES) throw invalid('it is too short')
    const key = this.#keys.get(bytes.toString('hex', 0, HEAD_BYTES))
    if (key === undefined) throw invalid(bytes[0] === VERSION ? 'no key has its id' : 'its version is not known')
    const text = decrypt(key, bytes, binding)
    if (text === undefined) throw invalid('it was changed, or sealed for something else')
    // Only this class seals under keys derived for it.
    const { until, value } = JSON.parse(text) as { until: number, value?: unknown }
    if (this.#now() >= until) throw invalid('it has expired')
    return value
  }
}

/** Hashed to one length, so that it cannot run into the head; as UTF-16, which keeps apart what UTF-8 would not. */
function authenticated (head: Buffer, binding: string): Buffer {
  return Buffer.concat([head, createHash('sha256').update(Buffer.from(binding, 'utf16le')).digest()])
}

/** Undefined when the tag does not fit. */
function decrypt (key: Key, bytes: Buffer, binding: string): string | undefined {
  const nonce = bytes.subarray(HEAD_BYTES, HEAD_BYTES + NONCE_BYTES)
  const decipher = createDecipheriv(CIPHER, key.bytes, nonce, { authTagLength: TAG_BYTES })
    .setAAD(authenticated(key.head, binding))
    .setAuthTag(bytes.subarray(-TAG_BYTES))
  const text = decipher.update(bytes.subarray(HEAD_BYTES + NONCE_BYTES, -TAG_BYTES))
  try {
    decipher.final()
  } catch {
    return undefined
  }
  return text.toString()
}

/** A key for a server that runs on one node and may forget its tokens when it restarts. */
export function randomKey (): Uint8Array {
  return randomBytes(KEY_BYTES)
}
