import { errorCodes } from '../errors.ts'

// Only a text with one of these can hold a key that pollutes; an escape can spell any of them.
const SUSPECT = /__proto__|constructor|\\u/i
const QUOTE = 34
const BACKSLASH = 92
const OPENS = new Set([91, 123])
const CLOSES = new Set([93, 125])

/**
 * Parses the JSON of a request. Throws FST_MCP_PARSE, FST_MCP_TOO_DEEP before anything recursive can run out of stack,
 * and FST_MCP_KEY_FORBIDDEN for `__proto__` and `constructor.prototype`.
 */
export function parseJson (text: string, maxDepth: number): unknown {
  if (isDeeper(text, maxDepth)) throw new errorCodes.FST_MCP_TOO_DEEP(maxDepth)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new errorCodes.FST_MCP_PARSE({ cause })
  }
  if (SUSPECT.test(text) && pollutes(value)) throw new errorCodes.FST_MCP_KEY_FORBIDDEN()
  return value
}

function isDeeper (text: string, maxDepth: number): boolean {
  let depth = 0
  let inString = false
  for (let index = 0; index < text.length; index++) {
    const char = text.charCodeAt(index)
    if (char === QUOTE) inString = !inString
    else if (inString) index += char === BACKSLASH ? 1 : 0
    else if (OPENS.has(char)) { if (++depth > maxDepth) return true } else if (CLOSES.has(char)) depth--
  }
  return false
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
