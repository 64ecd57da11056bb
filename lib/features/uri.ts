import { errorCodes } from '../errors.ts'

/** A URI (or a part of one) that was percent-decoded once, and can be looked at many times. */
export interface DecodedUri {
  /** As it was given. */
  readonly uri: string
  /**
   * One character for each of its own. `a` and `%61` are the same, `/` and `%2F` are not: for an encoded character that is
   * not unreserved stands one of `ENCODED`. Empty when it cannot be read.
   */
  readonly text: string
  /** Why it cannot be read. */
  readonly fault: string | undefined
}

// ASCII that is not unreserved (RFC 3986, section 2.3): encoded, it is not the same as raw.
const RESERVED = ' !"#$%&\'()*+,/:;<=>?@[\\]^`{|}'
/** What stands for encoded reserved characters: control characters, of which no URI may hold any. */
export const ENCODED = String.fromCharCode(...Array.from(RESERVED, (_, index) => index))

const TRIPLETS = /%[0-7][\da-f]|(?:%[89a-f][\da-f])+|%/gi
const LONE_SURROGATE = /\p{Cs}/u
const CONTROL = /\p{Cc}/u
const CONTROLS = /\p{Cc}/gu
const SCHEME = /^[a-z][a-z0-9+.-]*:/i

const HAS_CONTROL = 'it holds a control character'
const NOT_UTF8 = 'its percent-encoded bytes are not UTF-8'

// By its code, what an encoded character of ASCII is read as; undefined for a control character.
const ascii = Array.from({ length: 128 }, (_, code) => {
  const char = String.fromCharCode(code)
  return CONTROL.test(char) ? undefined : ENCODED[RESERVED.indexOf(char)] ?? char
})

/** Decodes a URI or a part of one. Takes time by its length. */
export function readUri (uri: string): DecodedUri {
  let fault: string | undefined
  const refuse = (reason: string): string => {
    fault ??= reason
    return ''
  }
  if (LONE_SURROGATE.test(uri)) refuse('it holds a lone surrogate')
  else if (CONTROL.test(uri)) refuse(HAS_CONTROL)
  const text = uri.replace(TRIPLETS, triplets => {
    if (triplets === '%') return refuse('its percent-encoding is malformed')
    if (triplets.length === 3) return ascii[parseInt(triplets.slice(1), 16)] ?? refuse(triplets < '%8' ? HAS_CONTROL : NOT_UTF8)
    const decoded = decode(triplets)
    if (decoded === undefined) return refuse(NOT_UTF8)
    return CONTROL.test(decoded) ? refuse(HAS_CONTROL) : decoded
  })
  return { uri, text: fault === undefined ? text : '', fault }
}

function decode (encoded: string): string | undefined {
  try {
    return decodeURIComponent(encoded)
  } catch {
    return undefined
  }
}

/** What (a part of) the text of a decoded URI says. */
export function valueOf (text: string): string {
  return text.replace(CONTROLS, char => RESERVED.charAt(char.charCodeAt(0)))
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
  const { text, fault } = readUri(uri)
  if (fault !== undefined) throw refuse(fault)
  if (uri.includes(' ')) throw refuse('it holds a space')
  if (!SCHEME.test(uri)) throw refuse('it has no scheme')
  // A query and a fragment begin a part as well; encoded, `?` and `#` belong to the segment.
  const path = valueOf(text.replace(/[?#]/g, '/'))
  if (path.includes('\\')) throw refuse('it holds a backslash')
  if (path.replace(SCHEME, '').split('/').some(isDots)) throw refuse('it holds a dot segment')
  return uri
}
