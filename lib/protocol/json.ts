import { atLimit, errorCodes } from '../errors.ts'

// Only a text with one of these can hold a key that pollutes; an escape can spell any of them.
const SUSPECT = /__proto__|constructor|\\u/i
const QUOTE = 34
const BACKSLASH = 92
const COMMA = 44
const COLON = 58
const OPEN_BRACKET = 91
const OPEN_BRACE = 123
const CLOSE_BRACKET = 93
const CLOSE_BRACE = 125

export interface JsonLimits {
  /** The deepest nesting. */
  readonly depth: number
  /** The most values in all arrays and objects together. */
  readonly values: number
  /** The most keys of all objects together. */
  readonly keys: number
}

/**
 * Parses the JSON of a request. Throws FST_MCP_PARSE, FST_MCP_TOO_DEEP before anything recursive can run out of stack, FST_MCP_TOO_MANY_VALUES,
 * FST_MCP_TOO_MANY_KEYS, and FST_MCP_KEY_FORBIDDEN for `__proto__` and `constructor.prototype`.
 */
export function parseJson (text: string, limits: JsonLimits): unknown {
  measure(text, limits)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new errorCodes.FST_MCP_PARSE({ cause })
  }
  if (SUSPECT.test(text) && pollutes(value)) throw new errorCodes.FST_MCP_KEY_FORBIDDEN()
  return value
}

/** Every value but the first of its array or object stands behind a comma, and every key before a colon, so counting needs no parser. */
function measure (text: string, { depth: maxDepth, values: maxValues, keys: maxKeys }: JsonLimits): void {
  let depth = 0
  let values = 0
  let keys = 0
  let inString = false
  for (let index = 0; index < text.length; index++) {
    const char = text.charCodeAt(index)
    if (char === QUOTE) inString = !inString
    else if (inString) index += char === BACKSLASH ? 1 : 0
    else if (char === COMMA) values++
    else if (char === COLON) keys++
    else if (char === OPEN_BRACE || char === OPEN_BRACKET) {
      values++
      if (++depth > maxDepth) throw atLimit('limits.depth', new errorCodes.FST_MCP_TOO_DEEP(maxDepth))
    } else if (char === CLOSE_BRACE || char === CLOSE_BRACKET) depth--
  }
  if (values > maxValues) throw atLimit('limits.values', new errorCodes.FST_MCP_TOO_MANY_VALUES(maxValues))
  if (keys > maxKeys) throw atLimit('limits.keys', new errorCodes.FST_MCP_TOO_MANY_KEYS(maxKeys))
}

function pollutes (value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (Object.hasOwn(value, '__proto__')) return true
  if (Object.hasOwn(value, 'constructor')) {
    const { constructor } = value
    if (typeof constructor === 'object' && constructor !== null && Object.hasOwn(constructor, 'prototype')) return true
  }
  return Object.values(value).some(pollutes)
}
