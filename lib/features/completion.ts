import type { FastifyRequest } from 'fastify'
import { errorCodes } from '../errors.ts'
import type { Principal } from '../http/auth.ts'
import type { Awaitable } from '../store/store.ts'
import { type CallbackOptions, runCallback } from '../tools/callback.ts'
import { isRecord } from '../tools/chunk.ts'
import type { Task } from '../tools/context.ts'

/** What a completer knows beside the value that is being typed. */
export interface CompletionContext {
  /** The other arguments, as far as they are chosen (since 2025-06-18). */
  readonly arguments: Readonly<Record<string, string>>
  readonly principal: Principal | null
  readonly request: FastifyRequest
  readonly signal: AbortSignal
}

/** The suggestions for a value, best first; at most 100 are sent. */
export type Completions = readonly string[] | { values: readonly string[], total?: number, hasMore?: boolean }

/** A fixed choice, of which those that begin with the value are suggested, or a function, which has the `timeout` of what it completes. */
export type Completer = readonly string[] | ((value: string, context: CompletionContext) => Awaitable<Completions>)

export type Completers = ReadonlyMap<string, Completer>

const MAX_VALUES = 100

/** Checks at registration that every completer belongs to an argument. */
export function readCompleters (given: unknown, names: readonly string[], refuse: (reason: string) => Error): Completers {
  if (given === undefined) return new Map()
  if (typeof given !== 'object' || given === null) throw refuse('`complete` must be an object')
  const entries = Object.entries(given)
  for (const [name, completer] of entries) {
    if (!names.includes(name)) throw refuse(`\`complete.${name}\` belongs to no argument; there ${names.length === 0 ? 'is none' : `are ${names.join(', ')}`}`)
    if (typeof completer !== 'function' && !isStrings(completer)) throw refuse(`\`complete.${name}\` must be a function or an array of strings`)
  }
  return new Map(entries)
}

function isStrings (value: unknown): value is string[] {
  return Array.isArray(value) && value.every(item => typeof item === 'string')
}

/** What `completion/complete` asks for. */
export interface CompletionRequest {
  readonly ref: Readonly<Record<string, unknown>>
  readonly name: string
  readonly value: string
  readonly others: Readonly<Record<string, string>>
}

/** Throws FST_MCP_PARAMS_INVALID. */
export function readCompletion ({ ref, argument, context }: Readonly<Record<string, unknown>>): CompletionRequest {
  if (!isRecord(ref)) throw new errorCodes.FST_MCP_PARAMS_INVALID('`ref` must be an object')
  if (!isRecord(argument) || typeof argument.name !== 'string' || typeof argument.value !== 'string') {
    throw new errorCodes.FST_MCP_PARAMS_INVALID('`argument` must have the strings `name` and `value`')
  }
  const others = isRecord(context) && isRecord(context.arguments) ? Object.entries(context.arguments) : []
  const strings = others.filter((entry): entry is [string, string] => typeof entry[1] === 'string')
  return { ref, name: argument.name, value: argument.value, others: Object.fromEntries(strings) }
}

/** What can be completed: the arguments of one prompt, or the variables of one template. */
export interface Completable extends Pick<CallbackOptions<object>, 'timeout' | 'grace' | 'what'> {
  readonly names: readonly string[]
  readonly completers: Completers
}

/**
 * Answers `completion/complete` (server/utilities/completion). Throws FST_MCP_PARAMS_INVALID for an argument that does not exist,
 * FST_MCP_TOOL_TIMEOUT and FST_MCP_HANDLER_FAILED.
 */
export function complete (completable: Completable, { name, value, others }: CompletionRequest, task: Task): Awaitable<object> {
  const { names, completers, timeout, grace, what } = completable
  if (!names.includes(name)) throw new errorCodes.FST_MCP_PARAMS_INVALID(`there is no argument "${name}"`)
  const completer = completers.get(name) ?? []
  if (typeof completer !== 'function') return readCompletions(completer.filter(choice => choice.startsWith(value)))
  const context = { arguments: others, principal: task.principal, request: task.request, signal: task.signal }
  return runCallback({ timeout, grace, what: { ...what, argument: name }, call: () => completer(value, context), read: readCompletions }, task)
}

interface Loose {
  values?: unknown
  total?: unknown
  hasMore?: unknown
}

function readCompletions (found: unknown): object {
  const { values, total, hasMore }: Loose = Array.isArray(found) ? { values: found, total: found.length } : Object(found)
  if (!isStrings(values)) throw new errorCodes.FST_MCP_CHUNK_INVALID('a completer must give an array of strings')
  return {
    completion: {
      values: values.slice(0, MAX_VALUES),
      ...(Number.isInteger(total) && { total }),
      hasMore: values.length > MAX_VALUES || hasMore === true
    }
  }
}
