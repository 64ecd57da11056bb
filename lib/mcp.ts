import type { GetPrompt, PromptDefinition } from './features/prompt.ts'
import type { PromptHandle, Prompts } from './features/prompts.ts'
import type { Read, ResourceDefinition, TemplateDefinition } from './features/resource.ts'
import type { ResourceHandle, Resources, TemplateHandle } from './features/resources.ts'
import type { ToolDefinition, ToolHandler } from './features/tool.ts'
import type { ToolHandle, Tools } from './features/tools.ts'
import type { VariablesOf } from './features/uri-template.ts'
import type { Hooks, McpHooks } from './protocol/hooks.ts'
import type { ToolContext } from './tools/context.ts'
import type { Schema } from './tools/schema.ts'

/** What is going on at a server right now. */
export interface Stats {
  /** Sessions in the store. */
  sessions: number
  /** Open SSE streams. */
  streams: number
  /** Bytes that wait in them, because their clients read slowly. */
  queued: number
  /** Calls in progress. */
  calls: number
  /** Streams of `subscriptions/listen`. */
  subscriptions: number
  /** Questions to clients that wait for an answer. */
  questions: number
  /** Tools that ignored the end of their call for `tools.grace` ms, since the start. */
  abandoned: number
}

export interface McpParts {
  readonly tools: Tools
  readonly prompts: Prompts
  readonly resources: Resources
  readonly hooks: Hooks
  readonly stats: () => Stats
  readonly drain: () => Promise<void>
}

type IsTemplate<Uri extends string> = Uri extends `${string}{${string}` ? true : false

/** `app.mcp`: what one MCP server offers. Everything may be registered before or after the server listens; clients that are connected are told. */
export class Mcp {
  readonly #parts: McpParts

  constructor (parts: McpParts) {
    this.#parts = parts
  }

  /**
   * Registers a tool.
   * Throws FST_MCP_TOOL_NAME_INVALID, FST_MCP_TOOL_DUPLICATE, FST_MCP_TOOL_INVALID and FST_MCP_SCHEMA_INVALID.
   * Specification: server/tools.
   */
  tool<const Input extends Schema | undefined = undefined> (
    name: string,
    definition: ToolDefinition<Input, undefined>,
    handler: ToolHandler<Input, undefined>
  ): ToolHandle
  tool<const Output extends Schema, const Input extends Schema | undefined = undefined> (
    name: string,
    definition: ToolDefinition<Input, Output> & { output: Output },
    handler: ToolHandler<Input, Output>
  ): ToolHandle
  tool (name: string, definition: ToolDefinition, handler: (args: never, context: ToolContext) => unknown): ToolHandle {
    return this.#parts.tools.add(name, definition, handler)
  }

  /**
   * Registers a resource by its URI, or, where that has `{variables}` (RFC 6570), every resource that fits.
   * Variables reach the reader decoded; those of the path hold nothing that could leave a folder, those of a query may: see docs/resources.md.
   * Throws FST_MCP_RESOURCE_DUPLICATE, FST_MCP_RESOURCE_INVALID, FST_MCP_TEMPLATE_INVALID and FST_MCP_URI_INVALID.
   * Specification: server/resources.
   */
  resource<const Uri extends string> (
    uri: Uri,
    definition: IsTemplate<Uri> extends true ? TemplateDefinition<Extract<keyof VariablesOf<Uri>, string>> : ResourceDefinition,
    read: Read<Uri>
  ): IsTemplate<Uri> extends true ? TemplateHandle : ResourceHandle
  resource (uri: string, definition: ResourceDefinition & TemplateDefinition, read: unknown): ResourceHandle | TemplateHandle {
    return this.#parts.resources.add(uri, definition, read)
  }

  /**
   * Registers a prompt.
   * Throws FST_MCP_PROMPT_NAME_INVALID, FST_MCP_PROMPT_DUPLICATE, FST_MCP_PROMPT_INVALID and FST_MCP_SCHEMA_INVALID.
   * Specification: server/prompts.
   */
  prompt<const Input extends Schema | undefined = undefined> (
    name: string,
    definition: PromptDefinition<Input>,
    get: GetPrompt<Input>
  ): PromptHandle {
    return this.#parts.prompts.add(name, definition, get)
  }

  /**
   * Tells whoever subscribed to a resource that its contents have changed. Throws FST_MCP_URI_INVALID.
   * Specification: server/resources, "Subscriptions".
   */
  resourceUpdated (uri: string): void {
    this.#parts.resources.updated(uri)
  }

  /** Runs hooks around every call. What it gives back takes them off again. Throws FST_MCP_HOOK_INVALID. */
  use (hooks: McpHooks): () => void {
    return this.#parts.hooks.add(hooks)
  }

  /**
   * Comes to rest while the server still serves: no new sessions, calls in progress get `drain.timeout` milliseconds, then streams end and
   * their clients are told to come back. Resolves when it is done; `app.close()` does it if nobody did.
   */
  drain (): Promise<void> {
    return this.#parts.drain()
  }

  /** Counts of this server on this node. */
  stats (): Stats {
    return this.#parts.stats()
  }
}
