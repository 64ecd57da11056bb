import { errorCodes } from '../errors.ts'
import type { Awaitable } from '../store/store.ts'
import type { Task } from '../tools/context.ts'
import { type GetPromptResult, type PromptOptions, runPrompt } from '../tools/prompting.ts'
import { quote } from '../wording.ts'
import { complete, type CompletionRequest } from './completion.ts'
import { buildPrompt, type Prompt, type PromptDefinition } from './prompt.ts'
import { type Handle, Registry, type RegistryOptions } from './registry.ts'
import type { HandlerLimits } from './tool.ts'
import { argumentsOf, isName } from './tools.ts'

/** What the registration of a prompt gives back. */
export interface PromptHandle extends Handle<PromptDefinition, PromptOptions['handler']> {
  readonly name: string
}

/** The prompts of one server. */
export class Prompts {
  readonly registry: Registry<Prompt>
  readonly #limits: HandlerLimits

  constructor (limits: HandlerLimits, options: Omit<RegistryOptions, 'list' | 'duplicate' | 'invalid'>) {
    this.registry = new Registry({ ...options, list: 'prompts', duplicate: 'FST_MCP_PROMPT_DUPLICATE', invalid: 'FST_MCP_PROMPT_INVALID' })
    this.#limits = limits
  }

  add (name: string, definition: PromptDefinition, handler: PromptOptions['handler']): PromptHandle {
    if (!isName(name)) throw new errorCodes.FST_MCP_PROMPT_NAME_INVALID(JSON.stringify(name) ?? 'undefined')
    if (typeof definition !== 'object' || definition === null) throw new errorCodes.FST_MCP_PROMPT_INVALID(name, `its definition must be an object, got ${quote(definition, false)}`)
    const handle = this.registry.register(name, definition, handler, (changed, run) => buildPrompt(name, changed, run, this.#limits))
    return Object.assign(handle, { name })
  }

  /** Throws FST_MCP_PARAMS_INVALID, FST_MCP_PROMPT_UNKNOWN and FST_MCP_PROMPT_INPUT_INVALID. */
  get (params: Readonly<Record<string, unknown>>, task: Task): GetPromptResult | Promise<GetPromptResult> {
    const { name } = params
    if (typeof name !== 'string') throw new errorCodes.FST_MCP_PARAMS_INVALID('`name` must be a string')
    const prompt = this.registry.find(name, task.principal)
    if (prompt === undefined) throw new errorCodes.FST_MCP_PROMPT_UNKNOWN(name)
    const args = argumentsOf(params)
    const wrong = Object.keys(args).find(key => typeof args[key] !== 'string')
    if (wrong !== undefined) throw new errorCodes.FST_MCP_PROMPT_INPUT_INVALID(name, `${wrong} must be a string`)
    return runPrompt(prompt.run, args, task)
  }

  /** Suggests values for an argument. Throws FST_MCP_PARAMS_INVALID. */
  complete (request: CompletionRequest, task: Task): Awaitable<object> {
    const { name } = request.ref
    const prompt = typeof name === 'string' ? this.registry.find(name, task.principal) : undefined
    if (prompt === undefined) throw new errorCodes.FST_MCP_PARAMS_INVALID('`ref.name` must be the name of a prompt')
    const { names, completers, run: { timeout, grace } } = prompt
    return complete({ names, completers, timeout, grace, what: { prompt: prompt.key } }, request, task)
  }
}
