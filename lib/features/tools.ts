import type { IconsSchema, ToolAnnotationsSchema } from '@modelcontextprotocol/core'
import type { z } from 'zod'
import { errorCodes } from '../errors.ts'
import type { CallToolResult, Chunk, ContentBlock } from '../tools/chunk.ts'
import type { Task, ToolContext } from '../tools/context.ts'
import { type RunOptions, runTool } from '../tools/run.ts'
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

/** What a tool gives in the end. With an output schema: its value. Without: text, content, a whole result, any JSON value or nothing. */
export type ToolReturn<Output> = Output extends Schema ? InferInput<Output> | CallToolResult : string | ContentBlock | CallToolResult | Value | void

/** Any object but a generator, whose own type says what it yields. */
type Value = object & { next?: never }

/** A plain function, an async function or a generator whose yielded chunks reach the client while it runs. */
export type ToolHandler<Input extends Schema | undefined, Output extends Schema | undefined> = (
  args: Input extends Schema ? InferOutput<Input> : Record<string, unknown>,
  context: ToolContext
) => ToolReturn<Output> | Promise<ToolReturn<Output>> | AsyncGenerator<Chunk, ToolReturn<Output>> | Generator<Chunk, ToolReturn<Output>>

/** What a registration gives back. */
export interface ToolHandle {
  readonly name: string
  /** Takes the tool off the server; false when it was gone already. Calls in progress go on. */
  remove (): boolean
}

/** The limits that the options set for all tools. */
export interface ToolLimits {
  timeout: number
  grace: number
  maxResult: number
  pageSize: number
}

/** A tool as `tools/list` shows it. */
type Listing = Readonly<Record<string, unknown>> & { readonly name: string }

interface Tool {
  readonly listing: Listing
  readonly input: CompiledSchema
  readonly run: RunOptions
}

const NAME = /^[A-Za-z0-9_.-]{1,128}$/
const NO_INPUT: JsonSchema = { type: 'object', additionalProperties: false }
const MAX_TIMEOUT = 2_147_483_647

/** The tools of one server, by name. */
export class Tools {
  readonly #tools = new Map<string, Tool>()
  readonly #limits: ToolLimits
  readonly #changed: () => void
  #sorted: Listing[] | undefined
  #isTelling = false

  constructor (limits: ToolLimits, changed: () => void) {
    this.#limits = limits
    this.#changed = changed
  }

  add (name: string, definition: ToolDefinition, handler: RunOptions['handler']): ToolHandle {
    if (typeof name !== 'string' || !NAME.test(name)) throw new errorCodes.FST_MCP_TOOL_NAME_INVALID(JSON.stringify(name) ?? 'undefined')
    if (this.#tools.has(name)) throw new errorCodes.FST_MCP_TOOL_DUPLICATE(name)
    const tool = build(name, definition, handler, this.#limits)
    this.#tools.set(name, tool)
    this.#change()
    return { name, remove: () => this.#remove(name, tool) }
  }

  #remove (name: string, tool: Tool): boolean {
    if (this.#tools.get(name) !== tool) return false
    this.#tools.delete(name)
    this.#change()
    return true
  }

  #change (): void {
    this.#sorted = undefined
    if (this.#isTelling) return
    // Tools that come together are told of once.
    this.#isTelling = true
    queueMicrotask(() => {
      this.#isTelling = false
      this.#changed()
    })
  }

  /** One page in the order of names, which stays put while tools come and go. Throws FST_MCP_CURSOR_INVALID. */
  list (cursor: unknown): { tools: Listing[], nextCursor?: string } {
    const sorted = this.#sorted ??= [...this.#tools.values()].map(({ listing }) => listing).sort((a, b) => a.name < b.name ? -1 : 1)
    const after = cursor === undefined ? undefined : readCursor(cursor)
    const found = after === undefined ? 0 : sorted.findIndex(({ name }) => name > after)
    const start = found < 0 ? sorted.length : found
    const tools = sorted.slice(start, start + this.#limits.pageSize)
    const last = tools.at(-1)
    return start + tools.length < sorted.length && last !== undefined ? { tools, nextCursor: writeCursor(last.name) } : { tools }
  }

  /**
   * Calls a tool. Arguments that do not fit are told to the model from 2025-11-25 on, to the client before (`inputErrorsToModel`).
   * Throws FST_MCP_TOOL_UNKNOWN, FST_MCP_PARAMS_INVALID and FST_MCP_INPUT_INVALID.
   */
  call (params: Readonly<Record<string, unknown>>, task: Task, inputErrorsToModel: boolean): CallToolResult | Promise<CallToolResult> {
    const { name, arguments: args = {} } = params
    if (typeof name !== 'string') throw new errorCodes.FST_MCP_PARAMS_INVALID('`name` must be a string')
    const tool = this.#tools.get(name)
    if (tool === undefined) throw new errorCodes.FST_MCP_TOOL_UNKNOWN(name)
    if (typeof args !== 'object' || args === null || Array.isArray(args)) {
      throw new errorCodes.FST_MCP_PARAMS_INVALID('`arguments` must be an object')
    }
    const proceed = (verdict: Verdict): CallToolResult | Promise<CallToolResult> => {
      if (verdict.ok) return runTool(tool.run, verdict.value, task)
      const error = new errorCodes.FST_MCP_INPUT_INVALID(name, verdict.message)
      if (!inputErrorsToModel) throw error
      return { content: [{ type: 'text', text: error.message }], isError: true }
    }
    const verdict = tool.input.validate(args)
    return verdict instanceof Promise ? verdict.then(proceed) : proceed(verdict)
  }
}

function build (name: string, definition: ToolDefinition, handler: RunOptions['handler'], limits: ToolLimits): Tool {
  const refuse = (reason: string): Error => new errorCodes.FST_MCP_TOOL_INVALID(name, reason)
  if (typeof definition !== 'object' || definition === null) throw refuse('its definition must be an object')
  if (typeof handler !== 'function') throw refuse(`its handler must be a function, got ${typeof handler}`)
  const { input = NO_INPUT, output, collect = true, timeout = limits.timeout, ...shown } = definition
  if (typeof collect !== 'boolean') throw refuse(`\`collect\` must be a boolean, got ${String(collect)}`)
  if (!Number.isInteger(timeout) || timeout < 1 || timeout > MAX_TIMEOUT) {
    throw refuse(`\`timeout\` must be a whole number of milliseconds from 1 to ${MAX_TIMEOUT}, got ${String(timeout)}`)
  }
  const unknown = Object.keys(shown).find(key => !SHOWN.has(key))
  if (unknown !== undefined) throw refuse(`\`${unknown}\` is not part of a tool definition`)
  const compiled = compileSchema(input, 'input', name)
  if (compiled.json.type !== 'object') throw new errorCodes.FST_MCP_SCHEMA_INVALID(name, 'input', 'its root must have type "object"')
  const result = output === undefined ? undefined : rootedInObject(compileSchema(output, 'output', name))
  return {
    listing: Object.freeze({ name, ...shown, inputSchema: compiled.json, ...(result && { outputSchema: result.json }) }),
    input: compiled,
    run: { name, handler, output: result, collect, timeout, grace: limits.grace, maxResult: limits.maxResult }
  }
}

const SHOWN = new Set(['title', 'description', 'annotations', 'icons', '_meta'])

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

function writeCursor (name: string): string {
  return Buffer.from(`t:${name}`).toString('base64url')
}

function readCursor (cursor: unknown): string {
  const text = typeof cursor === 'string' ? Buffer.from(cursor, 'base64url').toString() : ''
  const name = text.slice(2)
  if (!NAME.test(name) || writeCursor(name) !== cursor) throw new errorCodes.FST_MCP_CURSOR_INVALID()
  return name
}
