import { errorCodes } from '../errors.ts'
import { isRecord } from '../tools/chunk.ts'

/** Headers by their lower-case names, as `node:http` gives them. */
export interface MirrorHeaders { readonly [name: string]: string | string[] | undefined }

const TYPES = ['string', 'integer', 'boolean'] as const

/** One property of a tool's arguments that travels as a header too. */
export interface MirroredParam {
  /** Lower-case, with `mcp-param-`. */
  readonly header: string
  /** As the schema spells it. */
  readonly name: string
  /** The keys that lead to the value in the arguments. */
  readonly path: readonly string[]
  readonly type: typeof TYPES[number]
}

const PREFIX = '=?base64?'
const SUFFIX = '?='
const FIELD = /^[\t -~]*$/
const TOKEN = /^[!#$%&'*+.^_`|~\w-]+$/
// No exponent and no other fraction: what is rounded could say another number than the body.
const INTEGER = /^-?(?:0|[1-9]\d*)(?:\.0+)?$/

// A byte order mark is part of the value.
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export function mismatch (name: string, reason: string): Error {
  return new errorCodes.FST_MCP_HEADER_MISMATCH(name, reason)
}

function isBlank (char: string | undefined): boolean {
  return char === ' ' || char === '\t'
}

/** The value of a field without the whitespace around it. Throws FST_MCP_HEADER_MISMATCH for a character that no field may hold. */
export function readField (name: string, value: string): string {
  if (!FIELD.test(value)) throw mismatch(name, 'only visible ASCII, space and tab may be in it')
  let start = 0
  let end = value.length
  while (start < end && isBlank(value[start])) start++
  while (end > start && isBlank(value[end - 1])) end--
  return value.slice(start, end)
}

/**
 * The value that a mirrored header carries: without the whitespace around it, and decoded when it is `=?base64?…?=`
 * with exactly these markers; what lacks one of them is meant literally.
 * Throws FST_MCP_HEADER_MISMATCH for anything but padded canonical base64 of UTF-8, and for a character that no field may hold.
 * Specification (2026-07-28): basic/transports/streamable-http, "Custom Headers from Tool Parameters".
 */
export function readMirror (name: string, value: string): string {
  const field = readField(name, value)
  const isEncoded = field.length >= PREFIX.length + SUFFIX.length && field.startsWith(PREFIX) && field.endsWith(SUFFIX)
  return isEncoded ? decode(name, field.slice(PREFIX.length, -SUFFIX.length)) : field
}

function decode (name: string, base64: string): string {
  try {
    const binary = atob(base64)
    // atob forgives whitespace and missing padding.
    if (btoa(binary) === base64) return utf8.decode(Uint8Array.from(binary, char => char.charCodeAt(0)))
  } catch {
    // It is told below, like the rest.
  }
  throw mismatch(name, 'it is not padded base64 of UTF-8 between its markers')
}

/** The one value of a header. Throws FST_MCP_HEADER_MISMATCH when there is none, or several. */
export function need (headers: MirrorHeaders, key: string, name: string): string {
  const value = headers[key]
  if (value === undefined) throw mismatch(name, 'it is required')
  if (typeof value !== 'string') throw mismatch(name, 'it must come once')
  return value
}

const ANNOTATION = 'x-mcp-header'
// What is below these are values, not schemas.
const DATA = new Set(['const', 'default', 'enum', 'examples'])
// The keys below these are names, not keywords.
const NAMING = new Set(['properties', 'patternProperties', '$defs', 'definitions', 'dependentSchemas', 'dependentRequired', 'dependencies'])

/**
 * The properties of an input schema (JSON Schema) that are annotated with `x-mcp-header`, in the order of the schema.
 * Throws a TypeError that says why a client would drop the tool: the name is no token or is taken, the type is none of
 * string, integer and boolean, or the annotation is where `properties` alone do not lead.
 * Specification (2026-07-28): basic/transports/streamable-http, "Custom Headers from Tool Parameters".
 */
export function mirroredParams (schema: Readonly<Record<string, unknown>>): MirroredParam[] {
  const found = new Map<string, MirroredParam>()
  const visit = (node: unknown, path: readonly string[]): void => {
    if (!isRecord(node)) return
    for (const [keyword, value] of Object.entries(node)) {
      if (keyword === ANNOTATION) {
        const param = readAnnotation(value, node.type, path)
        if (found.has(param.header)) throw new TypeError(`\`${ANNOTATION}\` "${param.name}" is there twice (upper and lower case are the same)`)
        found.set(param.header, param)
      } else if (keyword === 'properties' && isRecord(value)) {
        for (const [name, property] of Object.entries(value)) visit(property, [...path, name])
      } else if (hidesAnnotation(keyword, value)) {
        const where = [...path, keyword].join('.')
        throw new TypeError(`\`${ANNOTATION}\` is somewhere under \`${where}\`, but only \`properties\` may lead to it`)
      }
    }
  }
  visit(schema, [])
  return [...found.values()]
}

function readAnnotation (name: unknown, type: unknown, path: readonly string[]): MirroredParam {
  const where = path.join('.')
  if (path.length === 0) throw new TypeError(`\`${ANNOTATION}\` is on the schema itself, but it belongs on a property`)
  if (typeof name !== 'string') throw new TypeError(`\`${ANNOTATION}\` of \`${where}\` must be a string`)
  if (!TOKEN.test(name)) throw new TypeError(`\`${ANNOTATION}\` of \`${where}\` must be a token of RFC 9110, not ${JSON.stringify(name)}`)
  const known = TYPES.find(known => known === type)
  if (known === undefined) throw new TypeError(`\`${ANNOTATION}\` of \`${where}\` needs \`type\` to be one of ${TYPES.join(', ')}`)
  return { header: `mcp-param-${name.toLowerCase()}`, name, path, type: known }
}

/** True when an annotation is anywhere below a keyword; below one that is not known, too, since a `$ref` may lead there. */
function hidesAnnotation (keyword: string, value: unknown): boolean {
  if (typeof value !== 'object' || value === null || DATA.has(keyword)) return false
  if (NAMING.has(keyword)) return Object.values(value).some(schema => hidesAnnotation('', schema))
  return Object.hasOwn(value, ANNOTATION) || Object.entries(value).some(([below, schema]) => hidesAnnotation(below, schema))
}

/** What the keys lead to through objects and their own properties; undefined when they lead nowhere. */
function valueAt (root: unknown, path: readonly string[]): unknown {
  let value = root
  for (const key of path) {
    if (!isRecord(value) || !Object.hasOwn(value, key)) return undefined
    value = value[key]
  }
  return value
}

/**
 * Compares the arguments of a call with the headers that mirror them: a value needs an equal header, null or no value needs that there is none.
 * A value of another type than declared equals no header; without one it is left to the schema.
 * Throws FST_MCP_HEADER_MISMATCH. Specification (2026-07-28): basic/transports/streamable-http, "Custom Headers from Tool Parameters".
 */
export function checkMirroredParams (headers: MirrorHeaders, params: readonly MirroredParam[], args: unknown): void {
  for (const { header, name, path, type } of params) {
    const shown = `Mcp-Param-${name}`
    const value = valueAt(args, path) ?? null
    if (value === null) {
      if (headers[header] !== undefined) throw mismatch(shown, `\`${path.join('.')}\` is not among the arguments`)
    } else if (isOfType(value, type)) {
      if (typeof value === 'number' && !Number.isSafeInteger(value)) throw mismatch(shown, 'no integer beyond ±(2^53−1) can be compared')
      const mirror = readMirror(shown, need(headers, header, shown))
      if (!isEqual(mirror, value)) throw mismatch(shown, `it must equal \`${path.join('.')}\` of the arguments`)
    } else if (headers[header] !== undefined) {
      // Somebody on the way may have trusted the header, and a schema may still make a value of this one.
      throw mismatch(shown, `\`${path.join('.')}\` of the arguments is not of the type that was declared`)
    }
  }
}

function isOfType (value: unknown, type: MirroredParam['type']): boolean {
  const actual = Number.isInteger(value) ? 'integer' : typeof value
  return actual === type
}

function isEqual (mirror: string, value: unknown): boolean {
  return typeof value === 'number' ? INTEGER.test(mirror) && Number(mirror) === value : mirror === String(value)
}
