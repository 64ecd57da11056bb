import { errorCodes } from '../errors.ts'
import type { CallToolResult } from '../tools/chunk.ts'
import type { Task } from '../tools/context.ts'
import type { RunOptions } from '../tools/outcome.ts'
import { runTool } from '../tools/run.ts'
import { buildTool, type Listing, type Tool, type ToolDefinition, type ToolLimits } from './definition.ts'

/** What a registration gives back. */
export interface ToolHandle {
  readonly name: string
  /** Takes the tool off the server; false when it was gone already. Calls in progress go on. */
  remove (): boolean
}

const NAME = /^[A-Za-z0-9_.-]{1,128}$/

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
    const tool = buildTool(name, definition, handler, this.#limits)
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
   * Calls a tool. Arguments that do not fit are told to the model from 2025-11-25 on, to the client before.
   * Throws FST_MCP_TOOL_UNKNOWN, FST_MCP_PARAMS_INVALID and FST_MCP_INPUT_INVALID.
   */
  call (params: Readonly<Record<string, unknown>>, task: Task): CallToolResult | Promise<CallToolResult> {
    const { name, arguments: args = {} } = params
    if (typeof name !== 'string') throw new errorCodes.FST_MCP_PARAMS_INVALID('`name` must be a string')
    const tool = this.#tools.get(name)
    if (tool === undefined) throw new errorCodes.FST_MCP_TOOL_UNKNOWN(name)
    if (typeof args !== 'object' || args === null || Array.isArray(args)) {
      throw new errorCodes.FST_MCP_PARAMS_INVALID('`arguments` must be an object')
    }
    return runTool(tool.run, args, task)
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
