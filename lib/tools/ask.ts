import type { CreateMessageRequestParamsSchema, CreateMessageResultSchema, ListRootsResultSchema } from '@modelcontextprotocol/core'
import { randomUUID } from 'node:crypto'
import type { z } from 'zod'
import { errorCodes } from '../errors.ts'
import { isRecord } from './chunk.ts'
import type { Question, Task } from './context.ts'
import { formOf } from './form.ts'
import type { InferOutput, Schema } from './schema.ts'
import type { Pace } from './turn.ts'

/** What a user did with a question. `content` fits the schema of the form. */
export type Answer<Content> =
  | { readonly action: 'accept', readonly content: Content }
  | { readonly action: 'decline' }
  | { readonly action: 'cancel' }

/** What a user did with a page: accepting means to open it, not that anything was done there. */
export interface UrlAnswer {
  readonly action: 'accept' | 'decline' | 'cancel'
}

/** Asks the user of the client. */
export interface Ask {
  /** For a form. Its schema is a flat object of strings, numbers, booleans and choices. Never ask for secrets here. */
  <S extends Schema>(key: string, message: string, schema: S): Promise<Answer<InferOutput<S>>>
  /** To open a page, where secrets may be entered. Since 2025-11-25. */
  url: (key: string, message: string, url: string) => Promise<UrlAnswer>
}

export type SampleParams = Omit<z.input<typeof CreateMessageRequestParamsSchema>, '_meta' | 'task'>
export type SampleResult = z.infer<typeof CreateMessageResultSchema>
export type Root = z.infer<typeof ListRootsResultSchema>['roots'][number]

export type Sample = (key: string, params: SampleParams) => Promise<SampleResult>
export type Roots = (key: string) => Promise<Root[]>

const ACTIONS = new Set<unknown>(['accept', 'decline', 'cancel'])

function invalid (key: string, reason: string): Error {
  return new errorCodes.FST_MCP_ANSWER_INVALID(key, reason)
}

function actionOf (key: string, answer: unknown): UrlAnswer['action'] {
  if (!isRecord(answer) || !ACTIONS.has(answer.action)) throw invalid(key, '`action` must be accept, decline or cancel')
  // The set holds exactly these.
  return answer.action as UrlAnswer['action']
}

/** While a client is asked, the clock of the tool stands. */
function inquire (task: Task, pace: Pace, key: string, question: Question): Promise<unknown> {
  if (typeof key !== 'string' || key === '') throw new errorCodes.FST_MCP_ASK_INVALID(String(key), 'its key must be a non-empty string')
  return pace.during(task.inquire(key, question))
}

/** A question may outlive its call: whoever did not wait for the answer must not bring the process down. */
export function quiet<T> (answer: Promise<T>): Promise<T> {
  answer.catch(() => {})
  return answer
}

export function createAsk (task: Task, pace: Pace): Ask {
  const askForm = async <S extends Schema>(key: string, message: string, schema: S): Promise<Answer<InferOutput<S>>> => {
    const form = formOf(schema, key)
    if (form.isRich && !task.hasRichAsks) throw new errorCodes.FST_MCP_ASK_UNAVAILABLE('its revision knows no choice of several, and none with titles')
    const mode = task.hasRichAsks ? { mode: 'form' } : {}
    const answer = await inquire(task, pace, key, {
      method: 'elicitation/create', params: { ...mode, message: String(message), requestedSchema: form.requestedSchema }
    })
    const action = actionOf(key, answer)
    if (action !== 'accept') return { action }
    const verdict = await form.validate(Object(answer).content)
    if (!verdict.ok) throw invalid(key, verdict.message)
    // The content has passed the schema that its type was inferred from.
    return { action, content: verdict.value as InferOutput<S> }
  }
  // Whoever asks again under a key asks the same, and so by the same id.
  const ids = new Map<string, string>()
  const idOf = (key: string): string => {
    const id = ids.get(key) ?? randomUUID()
    ids.set(key, id)
    return id
  }
  const askUrl: Ask['url'] = async (key, message, target) => {
    if (!URL.canParse(target)) throw new errorCodes.FST_MCP_ASK_INVALID(key, 'it needs a URL')
    const params = { mode: 'url', message: String(message), url: target, ...(task.session !== null && { elicitationId: idOf(key) }) }
    return { action: actionOf(key, await inquire(task, pace, key, { method: 'elicitation/create', params })) }
  }
  const ask = <S extends Schema>(key: string, message: string, schema: S): Promise<Answer<InferOutput<S>>> => quiet(askForm(key, message, schema))
  const url: Ask['url'] = (key, message, target) => quiet(askUrl(key, message, target))
  return Object.assign(ask, { url })
}

export function createSample (task: Task, pace: Pace): Sample {
  const sample: Sample = async (key, params) => {
    if (!isRecord(params) || !Array.isArray(params.messages) || !Number.isInteger(params.maxTokens)) {
      throw new errorCodes.FST_MCP_ASK_INVALID(key, 'sampling needs `messages` and a whole number of `maxTokens`')
    }
    const answer = await inquire(task, pace, key, { method: 'sampling/createMessage', params })
    const isResult = isRecord(answer) && typeof answer.model === 'string' && typeof answer.role === 'string' &&
      (Array.isArray(answer.content) || isRecord(answer.content))
    if (!isResult) throw invalid(key, '`role`, `content` and `model` are needed')
    // Its parts were just looked at; what they hold is the model's.
    return answer as SampleResult
  }
  return (key, params) => quiet(sample(key, params))
}

export function createRoots (task: Task, pace: Pace): Roots {
  const roots: Roots = async key => {
    const answer = await inquire(task, pace, key, { method: 'roots/list', params: {} })
    const given = isRecord(answer) ? answer.roots : undefined
    if (!Array.isArray(given) || !given.every(root => isRecord(root) && typeof root.uri === 'string')) throw invalid(key, '`roots` must be an array of objects with a `uri`')
    return given
  }
  return key => quiet(roots(key))
}
