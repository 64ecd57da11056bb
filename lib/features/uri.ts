import { errorCodes } from '../errors.ts'

/** One character of a URI, raw or percent-encoded. */
export interface Unit {
  /** What it stands for, decoded once. */
  readonly value: string
  /** What it is compared by: `a` and `%61` are the same, `/` and `%2F` are not. */
  readonly key: string
}

const RUNS = /(?:%[\da-fA-F]{2})+|[^]/gu
const LONE_SURROGATE = /\p{Cs}/u
const CONTROL = /\p{Cc}/u
const SCHEME = /^[a-z][a-z0-9+.-]*:/i
// ASCII that is not unreserved (RFC 3986, section 2.3): encoded, it is not the same as raw.
const RESERVED = /^[^\w.~\u0080-\u{10FFFF}-]$/u

/** The characters of a text in the alphabet of URIs, or the reason why it cannot be read. Takes time by its length. */
export function readUnits (text: string): Unit[] | string {
  if (LONE_SURROGATE.test(text)) return 'it holds a lone surrogate'
  const units: Unit[] = []
  for (const run of text.match(RUNS) ?? []) {
    if (run === '%') return 'its percent-encoding is malformed'
    const encoded = run.startsWith('%')
    const decoded = encoded ? decode(run) : run
    if (decoded === undefined) return 'its percent-encoded bytes are not UTF-8'
    if (CONTROL.test(decoded)) return 'it holds a control character'
    for (const value of decoded) units.push({ value, key: encoded && RESERVED.test(value) ? encodeChar(value) : value })
  }
  return units
}

function decode (encoded: string): string | undefined {
  try {
    return decodeURIComponent(encoded)
  } catch {
    return undefined
  }
}

/** `encodeURIComponent` leaves some reserved characters raw. */
function encodeChar (char: string): string {
  return char < '\u0080' ? `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}` : encodeURIComponent(char)
}

const NOT_UNRESERVED = /[^\w.~-]/gu
// A triplet of the value itself is let through, as RFC 6570 wants it (section 3.2.3).
const NOT_RESERVED = /%(?![\da-fA-F]{2})|[^\w.~:/?#[\]@!$&'()*+,;=%-]/gu

/** Percent-encodes a value (RFC 6570, section 3.2.1). `reserved` leaves reserved characters and triplets raw. Throws FST_MCP_URI_INVALID. */
export function encodeValue (value: string, reserved: boolean): string {
  if (LONE_SURROGATE.test(value)) throw new errorCodes.FST_MCP_URI_INVALID('it holds a lone surrogate')
  return value.replace(reserved ? NOT_RESERVED : NOT_UNRESERVED, encodeChar)
}

/** Whether a path part is `.` or `..`. */
export function isDots (segment: string): boolean {
  return segment === '.' || segment === '..'
}

/**
 * Gives back a URI that a client sent when it is safe to look at; `maxLength` is in UTF-16 units. Throws FST_MCP_URI_INVALID.
 * Dot segments are refused wherever they stand, in the query too.
 */
export function checkUri (uri: unknown, maxLength: number): string {
  const refuse = (reason: string): Error => new errorCodes.FST_MCP_URI_INVALID(reason)
  if (typeof uri !== 'string') throw refuse('it must be a string')
  if (uri === '') throw refuse('it is empty')
  if (uri.length > maxLength) throw refuse(`it is longer than ${maxLength} characters`)
  const units = readUnits(uri)
  if (typeof units === 'string') throw refuse(units)
  if (uri.includes(' ')) throw refuse('it holds a space')
  if (!SCHEME.test(uri)) throw refuse('it has no scheme')
  if (units.some(({ value }) => value === '\\')) throw refuse('it holds a backslash')
  // A query and a fragment begin a part as well; encoded, `?` and `#` belong to the segment.
  const parts = units.map(({ key, value }) => key === '?' || key === '#' ? '/' : value).join('').replace(SCHEME, '').split('/')
  if (parts.some(isDots)) throw refuse('it holds a dot segment')
  return uri
}
