import type { IconsSchema, ToolAnnotationsSchema } from '@modelcontextprotocol/core'
import { z } from 'zod'
import { errorCodes } from '../errors.ts'
import type { CallToolResult, Chunk, ContentBlock } from '../tools/chunk.ts'
import type { ToolContext } from '../tools/context.ts'
import type { RunOptions } from '../tools/outcome.ts'
import { type CompiledSchema, compileSchema, type InferInput, type InferOutput, type JsonSchema, type Schema, type Verdict } from '../tools/schema.ts'

/** What a tool is, beside what it does. */
export interface ToolDefinition<Input extends Schema | undefined = Schema | undefined, Output extends Schema | undefined = Schema | undefined> {
  /** For people. */
  title?: string
  /** For the model: when to call the tool and what it gives. */
  description?: string
  /** The schema of the arguments: any Standard Schema with JSON Schema (zod 4, ArkType, Valibot) or a JSON Schema. Its root is an object. */
  input?: Input
  /** The schema of the returned value, which becomes `structuredContent`. */
  output?: Output
  /** Hints about the tool's behaviour (schema.ts, `ToolAnnotations`). */
  annotations?: z.infer<typeof ToolAnnotationsSchema>
  icons?: z.infer<typeof IconsSchema>['icons']
  _meta?: Record<string, unknown>
  /** False keeps yielded chunks out of the result: for streams that are only watched. Default: true. */
  collect?: boolean
  /** Milliseconds of work before the tool is ended. Default: the option `tools.timeout`. */
  timeout?: number
}

/**
 * What a tool gives in the end. With an output schema: its value, or a result that says `isError`.
 * Without: text, content, a whole result, any JSON value or nothing.
 */
type ToolReturn<Output> = Output extends Schema
  ? InferInput<Output> | (CallToolResult & { isError: true })
  : string | ContentBlock | CallToolResult | Value | void

/** Any JSON value; of objects any but a generator, whose own type says what it yields. */
type Value = number | boolean | null | (object & { next?: never })

/** A plain function, an async function or a generator whose yielded chunks reach the client while it runs. */
export type ToolHandler<Input extends Schema | undefined, Output extends Schema | undefined> = (
  args: Input extends Schema ? InferOutput<Input> : Record<string, unknown>,
  context: ToolContext
) => ToolReturn<Output> | Promise<ToolReturn<Output>> | AsyncGenerator<Chunk, ToolReturn<Output>> | Generator<Chunk, ToolReturn<Output>>

/** The limits that the options set for all tools. */
export interface ToolLimits {
  timeout: number
  grace: number
  maxResult: number
  pageSize: number
}

/** A tool as `tools/list` shows it. */
export type Listing = Readonly<Record<string, unknown>> & { readonly name: string }

/** A tool as it is registered: what clients see, and what runs. */
export interface Tool {
  readonly listing: Listing
  readonly run: RunOptions
}

const NO_INPUT: JsonSchema = { type: 'object', additionalProperties: false }
const MAX_TIMEOUT = 2_147_483_647

/** What of a definition clients see, checked here so that no client refuses the whole list for one tool. */
const shownSchema = z.strictObject({
  title: z.string().optional(),
  description: z.string().optional(),
  annotations: z.strictObject({
    title: z.string().optional(),
    readOnlyHint: z.boolean().optional(),
    destructiveHint: z.boolean().optional(),
    idempotentHint: z.boolean().optional(),
    openWorldHint: z.boolean().optional()
  }).optional(),
  icons: z.array(z.looseObject({ src: z.string() })).optional(),
  _meta: z.record(z.string(), z.unknown()).optional()
})

const HINTS = new Map([['inputSchema', 'use `input`'], ['outputSchema', 'use `output`'], ['parameters', 'use `input`']])

/** Makes a tool ready. Throws FST_MCP_TOOL_INVALID and FST_MCP_SCHEMA_INVALID. */
export function buildTool (name: string, definition: ToolDefinition, handler: RunOptions['handler'], limits: ToolLimits): Tool {
  const refuse = (reason: string): Error => new errorCodes.FST_MCP_TOOL_INVALID(name, reason)
  if (typeof definition !== 'object' || definition === null) throw refuse('its definition must be an object')
  if (typeof handler !== 'function') throw refuse(`its handler must be a function, got ${typeof handler}`)
  const { input = NO_INPUT, output, collect = true, timeout = limits.timeout, ...rest } = definition
  if (typeof collect !== 'boolean') throw refuse(`\`collect\` must be a boolean, got ${String(collect)}`)
  if (!Number.isInteger(timeout) || timeout < 1 || timeout > MAX_TIMEOUT) {
    throw refuse(`\`timeout\` must be a whole number of milliseconds from 1 to ${MAX_TIMEOUT}, got ${String(timeout)}`)
  }
  const shown = shownSchema.safeParse(rest)
  if (!shown.success) throw refuse(shown.error.issues.map(describeIssue).join('; '))
  const compiled = compileSchema(input, 'input', name)
  if (compiled.json.type !== 'object') {
    throw new errorCodes.FST_MCP_SCHEMA_INVALID(name, 'input', 'its root must have type "object"; wrap fields in one, such as `z.object({ … })`')
  }
  const result = output === undefined ? undefined : rootedInObject(compileSchema(output, 'output', name))
  return {
    listing: Object.freeze({ name, ...shown.data, inputSchema: compiled.json, ...(result && { outputSchema: result.json }) }),
    run: { name, handler, input: compiled, output: result, collect, timeout, grace: limits.grace, maxResult: limits.maxResult }
  }
}

function describeIssue (issue: z.core.$ZodIssue): string {
  if (issue.code !== 'unrecognized_keys') return `\`${issue.path.join('.')}\`: ${issue.message}`
  return issue.keys.map(key => {
    const hint = HINTS.get(key)
    return `\`${[...issue.path, key].join('.')}\` is not part of a tool definition${hint === undefined ? '' : `; ${hint}`}`
  }).join('; ')
}

/** Session revisions only know structured content that is an object: any other value travels as its `result` member. */
function rootedInObject (schema: CompiledSchema): CompiledSchema {
  if (schema.json.type === 'object') return schema
  const wrap = (verdict: Verdict): Verdict => verdict.ok ? { ok: true, value: { result: verdict.value } } : verdict
  return {
    json: { type: 'object', properties: { result: schema.json }, required: ['result'] },
    validate (value) {
      const verdict = schema.validate(value)
      return verdict instanceof Promise ? verdict.then(wrap) : wrap(verdict)
    }
  }
}
