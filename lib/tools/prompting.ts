import type { GetPromptResultSchema } from '@modelcontextprotocol/core'
import type { z } from 'zod'
import { errorCodes } from '../errors.ts'
import type { Room } from '../sse/stream.ts'
import { type ContentBlock, isContentBlock, Progress } from './chunk.ts'
import { type Task, ToolContext } from './context.ts'
import { logFailure, whenChecked } from './outcome.ts'
import { tellFailure } from './read.ts'
import { type Job, run } from './run.ts'
import type { CompiledSchema, Verdict } from './schema.ts'
import { Pace } from './turn.ts'

export type GetPromptResult = z.infer<typeof GetPromptResultSchema>

/** One message of a prompt. */
export interface PromptMessage {
  role: 'user' | 'assistant'
  /** Plain text may be a string. */
  content: string | ContentBlock
}

/** How a prompt is made, fixed at its registration. */
export interface PromptOptions {
  readonly name: string
  readonly description: string | undefined
  readonly handler: (args: never, context: ToolContext) => unknown
  readonly input: CompiledSchema
  readonly timeout: number
  readonly grace: number
  /** The most bytes of its messages. */
  readonly maxResult: number
}

/**
 * Validates the arguments and makes the messages of one prompt. Rejects with the reason when the call is aborted.
 * Throws FST_MCP_PROMPT_INPUT_INVALID, FST_MCP_CHUNK_INVALID, FST_MCP_TOOL_TIMEOUT and FST_MCP_INTERNAL.
 */
export function runPrompt (options: PromptOptions, args: unknown, task: Task): GetPromptResult | Promise<GetPromptResult> {
  const pace = new Pace()
  return run(new Prompting(options, args, task, pace), options, task, pace)
}

class Prompting implements Job<GetPromptResult> {
  readonly #options: PromptOptions
  readonly #args: unknown
  readonly #task: Task
  readonly #pace: Pace
  readonly #messages: GetPromptResult['messages'] = []
  #bytes = 0

  constructor (options: PromptOptions, args: unknown, task: Task, pace: Pace) {
    this.#options = options
    this.#args = args
    this.#task = task
    this.#pace = pace
  }

  begin (): unknown {
    return whenChecked(this.#options.input, this.#args, this.#task, this.#start)
  }

  readonly #start = (verdict: Verdict): unknown => {
    if (!verdict.ok) throw new errorCodes.FST_MCP_PROMPT_INPUT_INVALID(this.#options.name, verdict.message)
    // The arguments have passed the schema that the handler's type was inferred from.
    return this.#options.handler(verdict.value as never, new ToolContext(this.#task, new Progress(), this.#pace))
  }

  take (message: unknown): Room {
    this.#add(message)
    return true
  }

  #add (message: unknown): void {
    const { role, content }: { role?: unknown, content?: unknown } = typeof message === 'string' || isContentBlock(message)
      ? { role: 'user', content: message }
      : Object(message)
    if (role !== 'user' && role !== 'assistant') throw new errorCodes.FST_MCP_CHUNK_INVALID('the `role` of a prompt message must be user or assistant')
    const block: unknown = typeof content === 'string' ? { type: 'text', text: content } : content
    if (!isContentBlock(block)) throw new errorCodes.FST_MCP_CHUNK_INVALID('the `content` of a prompt message must be text or a content block')
    const json = JSON.stringify(block)
    this.#bytes += Buffer.byteLength(json)
    if (this.#bytes > this.#options.maxResult) throw new errorCodes.FST_MCP_RESULT_TOO_LARGE(this.#options.maxResult)
    // A copy: what was yielded belongs to the handler, which may use it again.
    this.#messages.push({ role, content: JSON.parse(json) })
  }

  finish (returned: unknown): GetPromptResult {
    const { messages, description = this.#options.description, _meta }: Loose = isResult(returned) ? returned : { messages: returned }
    if (description !== undefined && typeof description !== 'string') throw new errorCodes.FST_MCP_CHUNK_INVALID('the `description` of a prompt must be a string')
    if (Array.isArray(messages)) messages.forEach(message => this.#add(message))
    else if (messages !== undefined && messages !== null) this.#add(messages)
    if (this.#messages.length === 0 && messages == null) throw new errorCodes.FST_MCP_CHUNK_INVALID('the prompt gave no message')
    return { ...(description !== undefined && { description }), messages: this.#messages, ...(_meta && { _meta }) }
  }

  fail (error: unknown): never {
    this.#task.failed(error)
    throw tellFailure(error, this.#task, { prompt: this.#options.name })
  }

  logLate (error: unknown): void {
    logFailure(this.#task, error, 'prompt failed while it was ended', { prompt: this.#options.name })
  }
}

interface Loose {
  messages: unknown
  description?: unknown
  _meta?: Record<string, unknown> | undefined
}

function isResult (value: unknown): value is Loose {
  return typeof value === 'object' && value !== null && 'messages' in value && Array.isArray(value.messages)
}
