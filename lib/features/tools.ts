import { errorCodes } from '../errors.ts'
import type { CallToolResult } from '../tools/chunk.ts'
import type { Task } from '../tools/context.ts'
import { type RunOptions, runTool } from '../tools/outcome.ts'
import { quote } from '../wording.ts'
import { buildTool, type HandlerLimits, type Tool, type ToolDefinition } from './tool.ts'
import { type Handle, Registry, type RegistryOptions } from './registry.ts'

/** What the registration of a tool gives back. */
export interface ToolHandle extends Handle<ToolDefinition, RunOptions['handler']> {
  readonly name: string
}

const NAME = /^[A-Za-z0-9_.-]{1,128}$/

/** Whether a tool or a prompt may be called so. */
export function isName (name: unknown): name is string {
  return typeof name === 'string' && NAME.test(name)
}

/** The tools of one server. */
export class Tools {
  readonly registry: Registry<Tool>
  readonly #limits: HandlerLimits
  #isLimited = false

  constructor (limits: HandlerLimits, options: Omit<RegistryOptions, 'list' | 'duplicate' | 'invalid'>) {
    this.registry = new Registry({ ...options, list: 'tools', duplicate: 'FST_MCP_TOOL_DUPLICATE', invalid: 'FST_MCP_TOOL_INVALID' })
    this.#limits = limits
  }

  add (name: string, definition: ToolDefinition, handler: RunOptions['handler']): ToolHandle {
    if (!isName(name)) throw new errorCodes.FST_MCP_TOOL_NAME_INVALID(JSON.stringify(name) ?? 'undefined')
    if (typeof definition !== 'object' || definition === null) throw new errorCodes.FST_MCP_TOOL_INVALID(name, `its definition must be an object, got ${quote(definition, false)}: \`tool(name, definition, handler)\``)
    const handle = this.registry.register(name, definition, handler, (changed, run) => {
      const tool = buildTool(name, changed, run, this.#limits)
      this.#isLimited ||= tool.rateLimit !== undefined
      return tool
    })
    return Object.assign(handle, { name })
  }

  /** Whether any tool ever named a rate limit: without one no call is looked up to be counted. */
  get isLimited (): boolean {
    return this.#isLimited
  }

  /** Throws FST_MCP_PARAMS_INVALID and FST_MCP_TOOL_UNKNOWN. */
  find ({ name }: Readonly<Record<string, unknown>>, { principal }: Task): Tool {
    if (typeof name !== 'string') throw new errorCodes.FST_MCP_PARAMS_INVALID('`name` must be a string')
    const tool = this.registry.find(name, principal)
    if (tool === undefined) throw new errorCodes.FST_MCP_TOOL_UNKNOWN(name)
    return tool
  }

  /**
   * Calls a tool. Arguments that do not fit are told to the model from 2025-11-25 on, to the client before.
   * Throws FST_MCP_PARAMS_INVALID and FST_MCP_INPUT_INVALID.
   */
  call ({ run }: Tool, params: Readonly<Record<string, unknown>>, task: Task): CallToolResult | Promise<CallToolResult> {
    return runTool(run, argumentsOf(params), task)
  }
}

/** Throws FST_MCP_PARAMS_INVALID. */
export function argumentsOf ({ arguments: args = {} }: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  if (typeof args !== 'object' || args === null || Array.isArray(args)) throw new errorCodes.FST_MCP_PARAMS_INVALID('`arguments` must be an object')
  return { ...args }
}
