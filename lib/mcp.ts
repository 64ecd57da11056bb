import type { Schema } from './tools/schema.ts'
import type { ToolDefinition, ToolHandler } from './feature./tool.ts'
import type { ToolHandle, Tools } from './features/tools.ts'

/** What is going on at a server right now. */
export interface Stats {
  /** Sessions in the store. */
  sessions: number
  /** Open SSE streams. */
  streams: number
  /** Calls in progress. */
  calls: number
  /** Tools that ignored the end of their call for `tools.grace` ms, since the start. */
  abandoned: number
}

/** `app.mcp`: what one MCP server offers. */
export class Mcp {
  readonly #tools: Tools
  readonly #stats: () => Stats

  constructor (tools: Tools, stats: () => Stats) {
    this.#tools = tools
    this.#stats = stats
  }

  /**
   * Registers a tool. It may be called before or after the server listens; clients that are connected are told.
   * Throws FST_MCP_TOOL_NAME_INVALID, FST_MCP_TOOL_DUPLICATE, FST_MCP_TOOL_INVALID and FST_MCP_SCHEMA_INVALID.
   * Specification: server/tools.
   */
  tool<const Input extends Schema | undefined = undefined, const Output extends Schema | undefined = undefined> (
    name: string,
    definition: ToolDefinition<Input, Output>,
    handler: ToolHandler<Input, Output>
  ): ToolHandle {
    return this.#tools.add(name, definition, handler)
  }

  /** Counts of this server on this node. */
  stats (): Stats {
    return this.#stats()
  }
}
