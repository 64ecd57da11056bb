import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto'
import { errorCodes } from '../errors.ts'

const KEY_BYTES = 32
const TAG_BYTES = 16
const MAX_KEY = 65_536
// JSON spells one character with six at most, and puts two quotes around.
const MAX_CURSOR = Math.ceil((TAG_BYTES + MAX_KEY * 6 + 2) * 4 / 3)

/**
 * Cursors of the lists of one server. They stay good while the secret does and hold no state, so that any node reads them.
 * A client can see the key in a cursor, which it was shown anyway, but can make none for itself.
 * Specification: server/utilities/pagination.
 */
export class Cursors {
  readonly #key: Buffer
  readonly #keys: readonly Buffer[]

  /** `secrets`: the same on every node. The first writes, all read, so that they can be rotated. */
  constructor ([secret, ...others]: readonly [string | Uint8Array, ...(string | Uint8Array)[]]) {
    this.#key = keyOf(secret)
    this.#keys = [this.#key, ...others.map(keyOf)]
  }

  /**
   * A cursor for the page after the item with the key `last`; the key is any text of at most 65,536 characters, as a URI is.
   * `owner` is whose list it is, null without auth. Throws FST_MCP_INTERNAL for a longer key.
   */
  write (list: string, owner: string | null, last: string): string {
    if (last.length > MAX_KEY) throw new errorCodes.FST_MCP_INTERNAL({ cause: new RangeError(`No cursor can hold a key of more than ${MAX_KEY} characters`) })
    // JSON tells lone surrogates apart, which UTF-8 does not.
    const key = Buffer.from(JSON.stringify(last))
    return Buffer.concat([sign(this.#key, list, owner, key), key]).toString('base64url')
  }

  /** The key after which the page starts. Throws FST_MCP_CURSOR_INVALID for any text that `write` did not give for the same list and owner. */
  read (cursor: unknown, list: string, owner: string | null): string {
    if (typeof cursor !== 'string' || cursor.length > MAX_CURSOR) throw new errorCodes.FST_MCP_CURSOR_INVALID()
    const bytes = Buffer.from(cursor, 'base64url')
    if (bytes.length <= TAG_BYTES || bytes.toString('base64url') !== cursor) throw new errorCodes.FST_MCP_CURSOR_INVALID()
    const key = bytes.subarray(TAG_BYTES)
    const isOurs = this.#keys.some(secret => timingSafeEqual(bytes.subarray(0, TAG_BYTES), sign(secret, list, owner, key)))
    if (!isOurs) throw new errorCodes.FST_MCP_CURSOR_INVALID()
    return JSON.parse(key.toString())
  }
}

function keyOf (secret: string | Uint8Array): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, '', 'fastify-mcp-sse cursor 1', KEY_BYTES))
}

/** No text of JSON holds the line break that ends the first part, so that the parts cannot run into each other. */
function sign (secret: Buffer, list: string, owner: string | null, key: Buffer): Buffer {
  return createHmac('sha256', secret).update(`${JSON.stringify([list, owner])}\n`).update(key).digest().subarray(0, TAG_BYTES)
}
