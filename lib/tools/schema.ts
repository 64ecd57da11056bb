import { Ajv, type ValidateFunction } from 'ajv'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { errorCodes } from '../errors.ts'

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
  /** As `tools/list` shows it. */
  readonly json: JsonSchema & { readonly type?: unknown }
  readonly validate: (value: unknown) => Verdict | Promise<Verdict>
}

const ajvOptions = { strict: false, allErrors: false, validateFormats: false, coerceTypes: false, useDefaults: false, addUsedSchema: false }
const DRAFT_07 = /^https?:\/\/json-schema\.org\/draft-07\/schema#?$/

// An argument of a million wrong items must not become an answer of a million sentences.
const MAX_ISSUES = 10
const MAX_ISSUE_LENGTH = 200

function isStandard (schema: Schema): schema is StandardSchema {
  return '~standard' in schema
}

/**
 * Makes a schema ready. `side` says which side of a transforming schema is shown to clients.
 * Throws FST_MCP_SCHEMA_INVALID when it has no JSON Schema form or is not valid itself.
 */
export function compileSchema (schema: Schema, side: 'input' | 'output', tool: string): CompiledSchema {
  if ((typeof schema !== 'object' && typeof schema !== 'function') || schema === null || Array.isArray(schema)) {
    throw new errorCodes.FST_MCP_SCHEMA_INVALID(tool, side, `it is ${schema === null ? 'null' : typeof schema}`)
  }
  try {
    return isStandard(schema) ? compileStandard(schema, side, tool) : compileJson(schema)
  } catch (cause) {
    throw new errorCodes.FST_MCP_SCHEMA_INVALID(tool, side, cause instanceof Error ? cause.message : String(cause), { cause })
  }
}

function compileStandard (schema: StandardSchema, side: 'input' | 'output', tool: string): CompiledSchema {
  const standard = schema['~standard']
  if (standard.jsonSchema === undefined) {
    throw new TypeError(`${standard.vendor} gives no JSON Schema here; wrap it (Valibot: toStandardJsonSchema) or pass a JSON Schema`)
  }
  const json = standard.jsonSchema[side]({ target: 'draft-2020-12' })
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

let ajv2020: Ajv2020 | undefined
let ajv07: Ajv | undefined

function compileJson (schema: JsonSchema): CompiledSchema {
  if (schema.$async === true) throw new TypeError('`$async` is not part of JSON Schema')
  const isDraft07 = typeof schema.$schema === 'string' && DRAFT_07.test(schema.$schema)
  // One compiler for all tools, which forgets each schema at once: two may carry the same $id, and a bad one stays bad when it comes again.
  const ajv = isDraft07 ? (ajv07 ??= new Ajv(ajvOptions)) : (ajv2020 ??= new Ajv2020(ajvOptions))
  let check: ValidateFunction
  try {
    check = ajv.compile(schema)
  } finally {
    ajv.removeSchema(schema)
  }
  return {
    json: schema,
    validate (value) {
      if (check(value) === true) return { ok: true, value }
      return { ok: false, message: ajv.errorsText(check.errors, { dataVar: 'arguments' }) }
    }
  }
}
