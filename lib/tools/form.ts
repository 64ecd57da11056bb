import { errorCodes } from '../errors.ts'
import { type CompiledSchema, compileSchema, type Schema } from './schema.ts'

/** The schema of a form as clients get it, and the check of what they answer. */
export interface Form {
  readonly requestedSchema: Readonly<Record<string, unknown>>
  readonly validate: CompiledSchema['validate']
  /** Whether it needs what only came with 2025-11-25: several choices, or choices with titles. */
  readonly isRich: boolean
}

type Fields = Readonly<Record<string, unknown>>

// What forms may say of a field; `pattern`, for one, is in no revision's schema.
const KEPT: ReadonlyMap<string, readonly string[]> = new Map([
  ['string', ['minLength', 'maxLength', 'format', 'enum', 'enumNames', 'oneOf']],
  ['number', ['minimum', 'maximum']],
  ['integer', ['minimum', 'maximum']],
  ['boolean', []],
  ['array', ['minItems', 'maxItems', 'items']]
])
const COMMON = ['type', 'title', 'description', 'default']
const FORMATS = new Set<unknown>(['email', 'uri', 'date', 'date-time'])

// A schema that stands outside of the handler is made ready once.
const known = new WeakMap<object, Form>()

/** The form for a schema: a flat object of primitive fields (client/elicitation). Throws FST_MCP_ASK_INVALID and FST_MCP_SCHEMA_INVALID. */
export function formOf (schema: Schema, key: string): Form {
  const found = known.get(schema)
  if (found !== undefined) return found
  const { json, validate } = compileSchema(schema, 'input', key)
  const refuse = (reason: string): Error => new errorCodes.FST_MCP_ASK_INVALID(key, reason)
  if (json.type !== 'object') throw refuse('its schema must describe an object')
  const given = Object.entries(Object(json.properties))
  const fields = given.map(([name, field]) => [name, fieldOf(name, Object(field), refuse)] as const)
  const requestedSchema = {
    type: 'object',
    properties: Object.fromEntries(fields),
    ...(Array.isArray(json.required) && { required: json.required })
  }
  const form = { requestedSchema, validate, isRich: fields.some(([, field]) => field.type === 'array' || 'oneOf' in field) }
  known.set(schema, form)
  return form
}

function fieldOf (name: string, field: Fields, refuse: (reason: string) => Error): Fields {
  const kept = typeof field.type === 'string' ? KEPT.get(field.type) : undefined
  if (kept === undefined) throw refuse(`field "${name}" must be a string, number, integer, boolean or a choice of strings`)
  const shown = Object.fromEntries(Object.entries(field).filter(([keyword, value]) => {
    return COMMON.includes(keyword) || (kept.includes(keyword) && (keyword !== 'format' || FORMATS.has(value)))
  }))
  if (field.type !== 'array') return shown
  const items: Fields = Object(field.items)
  if (Array.isArray(items.enum)) return { ...shown, items: { type: 'string', enum: items.enum } }
  if (Array.isArray(items.anyOf)) return { ...shown, items: { anyOf: items.anyOf } }
  throw refuse(`field "${name}" is an array, and its items must be a choice of strings`)
}
