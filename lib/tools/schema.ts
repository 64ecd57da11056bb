import { errorCodes, readable } from '../errors.ts'
import { copyJson } from './json-copy.ts'
import { compileJson } from './json-schema.ts'

/** A JSON Schema document. Without `$schema` it is read as 2020-12; draft-07 is served when it names itself. */
export type JsonSchema = Record<string, unknown>

interface Issue {
  readonly message: string
  readonly path?: ReadonlyArray<PropertyKey | { readonly key: PropertyKey }> | undefined
}

type Validated = { readonly value: unknown, readonly issues?: undefined } | { readonly issues: ReadonlyArray<Issue> }

interface JsonSchemaOptions {
  readonly target: 'draft-2020-12'
}

/** The part of the Standard Schema interface that is used here; zod 4, ArkType and Valibot's `toStandardJsonSchema` have it. */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => Validated | Promise<Validated>
    readonly types?: { readonly input: Input, readonly output: Output } | undefined
    readonly jsonSchema?: {
      readonly input: (options: JsonSchemaOptions) => Record<string, unknown>
      readonly output: (options: JsonSchemaOptions) => Record<string, unknown>
    }
  }
}

/** Any Standard Schema with JSON Schema, or a plain JSON Schema. */
export type Schema = StandardSchema | JsonSchema

/** What the handler receives for an `input` schema. A plain JSON Schema promises an object and no more. */
export type InferOutput<S> = S extends { readonly '~standard': { readonly types?: { readonly output: infer Output } | undefined } }
  ? Output
  : Record<string, unknown>

/** What the handler returns for an `output` schema. */
export type InferInput<S> = S extends { readonly '~standard': { readonly types?: { readonly input: infer Input } | undefined } }
  ? Input
  : unknown

export type Verdict =
  | { readonly ok: true, readonly value: unknown }
  | { readonly ok: false, readonly message: string }

/** A schema made ready once, at registration. */
export interface CompiledSchema {
  /** As `tools/list` shows it: a frozen copy of what was given. */
  readonly json: JsonSchema & { readonly type?: unknown }
  readonly validate: (value: unknown) => Verdict | Promise<Verdict>
}

// An argument of a million wrong items must not become an answer of a million sentences.
const MAX_ISSUES = 10
const MAX_ISSUE_LENGTH = 200
const MAX_REASON_LENGTH = 500

function isStandard (schema: Schema): schema is StandardSchema {
  return '~standard' in schema
}

/**
 * Makes a schema ready. `side` says which side of a transforming schema is shown to clients.
 * Throws FST_MCP_SCHEMA_INVALID when it has no JSON Schema form, is not valid itself or is beyond bounds (64 levels, 10,000 values, 256 KiB).
 */
export function compileSchema (schema: Schema, side: 'input' | 'output', tool: string): CompiledSchema {
  try {
    if ((typeof schema !== 'object' && typeof schema !== 'function') || schema === null || Array.isArray(schema)) {
      throw new TypeError(`it is ${schema === null ? 'null' : typeof schema}`)
    }
    if (isStandard(schema)) return compileStandard(schema, side, tool)
    const [field] = Object.entries(schema).find(([, value]) => '~standard' in Object(value)) ?? []
    if (field !== undefined) throw new TypeError(`its field "${field}" is a schema by itself: wrap the fields in one, such as \`z.object({ … })\``)
    return compileJson(schema)
  } catch (thrown) {
    const cause = readable(thrown)
    const reason = String(cause instanceof Error ? cause.message : cause).slice(0, MAX_REASON_LENGTH)
    throw new errorCodes.FST_MCP_SCHEMA_INVALID(tool, side, cause instanceof RangeError ? `it is too wide, or its references nest too deep (${reason})` : reason, { cause })
  }
}

function compileStandard (schema: StandardSchema, side: 'input' | 'output', tool: string): CompiledSchema {
  const standard = schema['~standard']
  if (standard.jsonSchema === undefined) {
    const how = standard.vendor === 'zod' ? 'use zod 4.2 or later (neither zod 3 nor zod/mini)' : 'wrap it (Valibot: toStandardJsonSchema)'
    throw new TypeError(`${standard.vendor} gives no JSON Schema here; ${how}, or pass a JSON Schema`)
  }
  const json = copyJson(standard.jsonSchema[side]({ target: 'draft-2020-12' }))
  const read = (validated: Validated): Verdict => {
    if (typeof validated !== 'object' || validated === null || !('value' in validated || Array.isArray(validated.issues))) {
      throw new errorCodes.FST_MCP_SCHEMA_INVALID(tool, side, 'it gave neither a value nor issues')
    }
    return readValidated(validated)
  }
  return {
    json,
    validate (value) {
      const validated = standard.validate(value)
      return 'then' in Object(validated) ? Promise.resolve(validated).then(read) : read(validated as Validated)
    }
  }
}

function readValidated (validated: Validated): Verdict {
  if (validated.issues === undefined) return { ok: true, value: validated.value }
  const { issues } = validated
  const told = issues.slice(0, MAX_ISSUES).map(issue => describeIssue(issue).slice(0, MAX_ISSUE_LENGTH))
  if (issues.length > MAX_ISSUES) told.push(`and ${issues.length - MAX_ISSUES} more`)
  return { ok: false, message: told.join('; ') }
}

function describeIssue ({ message, path }: Issue): string {
  if (path === undefined || path.length === 0) return message
  return `${path.map(part => String(typeof part === 'object' ? part.key : part)).join('.')}: ${message}`
}
