import { z } from 'zod'
import { errorCodes } from '../errors.ts'
import type { ContentBlock } from '../tools/chunk.ts'
import type { ToolContext } from '../tools/context.ts'
import type { PromptMessage, PromptOptions } from '../tools/prompting.ts'
import { compileSchema, type InferOutput, type JsonSchema, type Schema } from '../tools/schema.ts'
import { type Completer, type Completers, readCompleters } from './completion.ts'
import type { Offer } from './registry.ts'
import { checkTimeout, readShown, type Shown, shownFields } from './shown.ts'
import type { HandlerLimits } from './tool.ts'

/** What a prompt is, beside its messages. */
export interface PromptDefinition<Input extends Schema | undefined = Schema | undefined> extends Shown {
  /**
   * The schema of the arguments, whose root is an object. Arguments arrive as strings: `z.coerce.number()` makes more of them.
   * Titles, descriptions and what is required are told to clients.
   */
  input?: Input
  /** Suggestions for the arguments. */
  complete?: { [name in NamesOf<Input>]?: Completer }
  /** Milliseconds of work before it is ended. Default: the option `tools.timeout`. */
  timeout?: number
}

type NamesOf<Input> = Input extends Schema ? Extract<keyof InferOutput<Input>, string> : never

/** One message; text and content blocks are what the user says. */
type Said = string | ContentBlock | PromptMessage

type PromptReturn = Said | readonly Said[] | {
  description?: string
  messages: readonly Said[]
  _meta?: Record<string, unknown>
}

/** Makes the messages of a prompt: text and content blocks are what the user says. */
export type GetPrompt<Input extends Schema | undefined> = (
  args: Input extends Schema ? InferOutput<Input> : Record<string, never>,
  context: ToolContext
) => PromptReturn | Promise<PromptReturn> | AsyncGenerator<Said, PromptReturn | void> | Generator<Said, PromptReturn | void>

/** A prompt as it is registered. */
export interface Prompt extends Offer {
  readonly run: PromptOptions
  readonly names: readonly string[]
  readonly completers: Completers
}

const NO_INPUT: JsonSchema = { type: 'object' }
const shownSchema = z.strictObject(shownFields)
const HINTS = new Map([['arguments', 'use `input`'], ['argsSchema', 'use `input`']])

/** Makes a prompt ready. Throws FST_MCP_PROMPT_INVALID and FST_MCP_SCHEMA_INVALID. */
export function buildPrompt (name: string, definition: PromptDefinition, handler: PromptOptions['handler'], limits: HandlerLimits): Prompt {
  const refuse = (reason: string): Error => new errorCodes.FST_MCP_PROMPT_INVALID(name, reason)
  if (typeof handler !== 'function') throw refuse(`its handler must be a function, got ${typeof handler}`)
  const { input = NO_INPUT, complete, timeout = limits.timeout, ...rest } = definition
  const { visible, scopes, shown } = readShown(rest, shownSchema, HINTS, refuse)
  const compiled = compileSchema(input, 'input', name)
  if (compiled.json.type !== 'object') throw new errorCodes.FST_MCP_SCHEMA_INVALID(name, 'input', 'its root must have type "object"')
  const args = argumentsIn(compiled.json)
  return {
    key: name,
    visible,
    scopes,
    listing: Object.freeze({ name, ...shown, ...(args.length > 0 && { arguments: args }) }),
    names: args.map(argument => argument.name),
    completers: readCompleters(complete, args.map(argument => argument.name), refuse),
    run: {
      name,
      handler,
      input: compiled,
      description: shown.description,
      timeout: checkTimeout(timeout, refuse),
      grace: limits.grace,
      maxResult: limits.maxResult
    }
  }
}

interface PromptArgument {
  name: string
  title?: string
  description?: string
  required: boolean
}

function argumentsIn ({ properties, required }: JsonSchema): PromptArgument[] {
  return Object.entries(Object(properties)).map(([name, property]) => {
    const { title, description }: { title?: unknown, description?: unknown } = Object(property)
    return {
      name,
      ...(typeof title === 'string' && { title }),
      ...(typeof description === 'string' && { description }),
      required: Array.isArray(required) && required.includes(name)
    }
  })
}
