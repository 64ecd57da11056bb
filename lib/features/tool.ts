import type { ToolAnnotationsSchema } from '@modelcontextprotocol/core'
import { z } from 'zod'
import { errorCodes } from '../errors.ts'
import type { CallToolResult, Chunk, ContentBlock } from '../tools/chunk.ts'
import type { ToolContext } from '../tools/context.ts'
import type { RunOptions } from '../tools/outcome.ts'
import { type CompiledSchema, compileSchema, type InferInput, type InferOutput, type JsonSchema, type Schema } from '../tools/schema.ts'
import { quote } from '../wording.ts'
import { type MirroredParam, mirroredParams } from './mirrors.ts'
import type { Offer } from './registry.ts'
import { checkTimeout, readShown, type Shown, shownFields } from './shown.ts'

type Given = Schema | undefined

/** The most calls in each `timeWindow` of milliseconds. */
export interface RateLimit {
  readonly max: number
  readonly timeWindow: number
}

/** What a tool is, beside what it does. */
export interface ToolDefinition<Input extends Given = Given, Output extends Given = Given> extends Shown {
  /** The schema of the arguments: any Standard Schema with JSON Schema (zod 4, ArkType, Valibot) or a JSON Schema. Its root is an object. */
  input?: Input
  /** The schema of the returned value, which becomes `structuredContent`. */
  output?: Output
  /** Hints about the tool's behaviour (schema.ts, `ToolAnnotations`). */
  annotations?: z.infer<typeof ToolAnnotationsSchema>
  /** False keeps yielded chunks out of the result: for streams that are only watched. Default: true. */
  collect?: boolean
  /** How often one principal, or without auth one address, may call it. Default: as often as the option `rateLimit` allows. */
  rateLimit?: RateLimit
  /** Milliseconds of work before the tool is ended. Default: the option `tools.timeout`. */
  timeout?: number
}

/**
 * What a tool gives in the end. With an output schema: its value, a whole result with it as `structuredContent`, or one that says `isError`.
 * Without: text, content, a whole result, any JSON value or nothing.
 */
// The whole result stands outside of the conditions, so that TypeScript reads what is written as one.
type ToolReturn<Output> = ReturnedValue<Output> | (CallToolResult & Whole<Output>)
type ReturnedValue<Output> = Output extends Schema ? InferInput<Output> : string | ContentBlock | Value | void
type Whole<Output> = Output extends Schema ? { isError: true } | { structuredContent: InferInput<Output> } : unknown

/** Any JSON value; of objects any but a generator, whose own type says what it yields. */
type Value = number | boolean | null | (object & { next?: never })

/** A plain function, an async function or a generator whose yielded chunks reach the client while it runs. */
export type ToolHandler<Input extends Schema | undefined, Output extends Schema | undefined> = (
  args: Input extends Schema ? InferOutput<Input> : Record<string, unknown>,
  context: ToolContext
) => ToolReturn<Output> | Promise<ToolReturn<Output>> | AsyncGenerator<Chunk, ToolReturn<Output>> | Generator<Chunk, ToolReturn<Output>>

/** The limits that the options set for all handlers. */
export interface HandlerLimits {
  timeout: number
  grace: number
  maxResult: number
}

/** A tool as it is registered: what clients see, and what runs. */
export interface Tool extends Offer {
  readonly run: RunOptions
  readonly rateLimit: RateLimit | undefined
  /** Whether its structured content is not an object, which revisions before 2026-07-28 need. */
  readonly isWrapped: boolean
  /** The arguments that clients of 2026-07-28 repeat in headers. */
  readonly mirrored: readonly MirroredParam[]
}

const NO_INPUT: JsonSchema = { type: 'object', additionalProperties: false }
let noInput: CompiledSchema | undefined

/** The same for all tools that take none. */
function compiledNoInput (name: string): CompiledSchema {
  noInput ??= compileSchema(NO_INPUT, 'input', name)
  return noInput
}

const shownSchema = z.strictObject({
  ...shownFields,
  annotations: z.strictObject({
    title: z.string().optional(),
    readOnlyHint: z.boolean().optional(),
    destructiveHint: z.boolean().optional(),
    idempotentHint: z.boolean().optional(),
    openWorldHint: z.boolean().optional()
  }).optional()
})

const HINTS = new Map([['inputSchema', 'use `input`'], ['outputSchema', 'use `output`'], ['parameters', 'use `input`']])

/** Makes a tool ready. Throws FST_MCP_TOOL_INVALID and FST_MCP_SCHEMA_INVALID. */
export function buildTool (name: string, definition: ToolDefinition, handler: RunOptions['handler'], limits: HandlerLimits): Tool {
  const refuse = (reason: string): Error => new errorCodes.FST_MCP_TOOL_INVALID(name, reason)
  if (typeof handler !== 'function') throw refuse(`its handler must be a function, got ${typeof handler}`)
  const { input, output, collect = true, timeout = limits.timeout, rateLimit, ...rest } = definition
  if (typeof collect !== 'boolean') throw refuse(`\`collect\` must be a boolean, got ${String(collect)}`)
  checkTimeout(timeout, refuse)
  if (rateLimit !== undefined) checkRateLimit(rateLimit, refuse)
  const { visible, scopes, shown } = readShown(rest, shownSchema, HINTS, refuse)
  const compiled = input === undefined ? compiledNoInput(name) : compileSchema(input, 'input', name)
  if (compiled.json.type !== 'object') {
    throw new errorCodes.FST_MCP_SCHEMA_INVALID(name, 'input', 'its root must have type "object"; wrap fields in one, such as `z.object({ … })`')
  }
  const result = output === undefined ? undefined : compileSchema(output, 'output', name)
  return {
    key: name,
    visible,
    scopes,
    listing: Object.freeze({ name, ...shown, inputSchema: compiled.json, ...(result && { outputSchema: result.json }) }),
    rateLimit: rateLimit && { max: rateLimit.max, timeWindow: rateLimit.timeWindow },
    isWrapped: result !== undefined && result.json.type !== 'object',
    mirrored: mirroredIn(compiled, name),
    run: { name, handler, input: compiled, output: result, collect, timeout, grace: limits.grace, maxResult: limits.maxResult }
  }
}

const MAX_WINDOW = 2_147_483_647

function checkRateLimit (given: RateLimit, refuse: (reason: string) => Error): void {
  if (typeof given !== 'object' || given === null) throw refuse(`\`rateLimit\` must be an object of \`max\` and \`timeWindow\`, got ${quote(given, false)}`)
  const { max, timeWindow, ...rest }: Partial<RateLimit> = given
  if (!Number.isInteger(max) || Number(max) < 1) throw refuse(`\`rateLimit.max\` must be a whole number from 1 on, got ${String(max)}`)
  if (!Number.isInteger(timeWindow) || Number(timeWindow) < 1 || Number(timeWindow) > MAX_WINDOW) {
    throw refuse(`\`rateLimit.timeWindow\` must be a whole number of milliseconds from 1 to ${MAX_WINDOW}, got ${String(timeWindow)}`)
  }
  const [name] = Object.keys(rest)
  if (name !== undefined) throw refuse(`\`rateLimit.${name}\` is not part of a definition`)
}

function mirroredIn ({ json }: CompiledSchema, name: string): MirroredParam[] {
  try {
    return mirroredParams(json)
  } catch (cause) {
    throw new errorCodes.FST_MCP_SCHEMA_INVALID(name, 'input', String(Object(cause).message), { cause })
  }
}
