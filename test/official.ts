// The official schemas of every revision: the JSON Schema files `<revision>.json` in the folder of the environment variable MCP_SCHEMAS,
// or, without it, the zod schemas of `@modelcontextprotocol/core`, which are of no one revision.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as core from '@modelcontextprotocol/core'
import { Ajv, type Options } from 'ajv'
import { Ajv2020 } from 'ajv/dist/2020.js'
import type { Test } from 'tap'
import { z } from 'zod'
import type { Revision } from '../lib/index.ts'
import type { RpcMessage } from './client.ts'

const schemas = {
  JSONRPCMessage: core.JSONRPCMessageSchema,
  InitializeResult: core.InitializeResultSchema,
  DiscoverResult: core.DiscoverResultSchema,
  EmptyResult: core.EmptyResultSchema,
  ListToolsResult: core.ListToolsResultSchema,
  // Its structured content is that of the older revisions.
  CallToolResult: z.union([core.CallToolResultSchema, core.CallToolResultSchema.extend({ structuredContent: z.json() })]),
  ListPromptsResult: core.ListPromptsResultSchema,
  GetPromptResult: core.GetPromptResultSchema,
  ListResourcesResult: core.ListResourcesResultSchema,
  ListResourceTemplatesResult: core.ListResourceTemplatesResultSchema,
  ReadResourceResult: core.ReadResourceResultSchema,
  CompleteResult: core.CompleteResultSchema,
  InputRequiredResult: z.looseObject({ resultType: z.literal('input_required'), inputRequests: z.object({}), requestState: z.string() }),
  SubscriptionsListenResult: core.SubscriptionsListenResultSchema,
  // The id of a URL is one of 2025-11-25 alone.
  ElicitRequest: z.union([core.ElicitRequestSchema, z.looseObject({ params: z.looseObject({ mode: z.literal('url'), message: z.string(), url: z.url() }) })]),
  CreateMessageRequest: core.CreateMessageRequestSchema,
  ListRootsRequest: core.ListRootsRequestSchema,
  ProgressNotification: core.ProgressNotificationSchema,
  LoggingMessageNotification: core.LoggingMessageNotificationSchema,
  CancelledNotification: core.CancelledNotificationSchema,
  ToolListChangedNotification: core.ToolListChangedNotificationSchema,
  PromptListChangedNotification: core.PromptListChangedNotificationSchema,
  ResourceListChangedNotification: core.ResourceListChangedNotificationSchema,
  ResourceUpdatedNotification: core.ResourceUpdatedNotificationSchema,
  SubscriptionsAcknowledgedNotification: core.SubscriptionsAcknowledgedNotificationSchema,
  HeaderMismatchError: core.JSONRPCErrorResponseSchema,
  MissingRequiredClientCapabilityError: core.JSONRPCErrorResponseSchema,
  UnsupportedProtocolVersionError: core.JSONRPCErrorResponseSchema,
  ParseError: z.looseObject({ code: z.literal(-32700), message: z.string() }),
  InvalidRequestError: z.looseObject({ code: z.literal(-32600), message: z.string() }),
  MethodNotFoundError: z.looseObject({ code: z.literal(-32601), message: z.string() }),
  InvalidParamsError: z.looseObject({ code: z.literal(-32602), message: z.string() }),
  InternalError: z.looseObject({ code: z.literal(-32603), message: z.string() })
}

export type Definition = keyof typeof schemas

const results = new Map<string, Definition>(Object.entries({
  initialize: 'InitializeResult',
  ping: 'EmptyResult',
  'server/discover': 'DiscoverResult',
  'tools/list': 'ListToolsResult',
  'tools/call': 'CallToolResult',
  'prompts/list': 'ListPromptsResult',
  'prompts/get': 'GetPromptResult',
  'resources/list': 'ListResourcesResult',
  'resources/templates/list': 'ListResourceTemplatesResult',
  'resources/read': 'ReadResourceResult',
  'resources/subscribe': 'EmptyResult',
  'resources/unsubscribe': 'EmptyResult',
  'completion/complete': 'CompleteResult',
  'logging/setLevel': 'EmptyResult',
  'subscriptions/listen': 'SubscriptionsListenResult'
}))

const told = new Map<string, Definition>(Object.entries({
  'elicitation/create': 'ElicitRequest',
  'sampling/createMessage': 'CreateMessageRequest',
  'roots/list': 'ListRootsRequest',
  'notifications/progress': 'ProgressNotification',
  'notifications/message': 'LoggingMessageNotification',
  'notifications/cancelled': 'CancelledNotification',
  'notifications/tools/list_changed': 'ToolListChangedNotification',
  'notifications/prompts/list_changed': 'PromptListChangedNotification',
  'notifications/resources/list_changed': 'ResourceListChangedNotification',
  'notifications/resources/updated': 'ResourceUpdatedNotification',
  'notifications/subscriptions/acknowledged': 'SubscriptionsAcknowledgedNotification'
}))

/** The errors that 2026-07-28 defines: some as a message, some as the `error` of one. */
const errors = new Map<number, { of: 'message' | 'error', definition: Definition }>([
  [-32020, { of: 'message', definition: 'HeaderMismatchError' }],
  [-32021, { of: 'message', definition: 'MissingRequiredClientCapabilityError' }],
  [-32022, { of: 'message', definition: 'UnsupportedProtocolVersionError' }],
  [-32700, { of: 'error', definition: 'ParseError' }],
  [-32600, { of: 'error', definition: 'InvalidRequestError' }],
  [-32601, { of: 'error', definition: 'MethodNotFoundError' }],
  [-32602, { of: 'error', definition: 'InvalidParamsError' }],
  [-32603, { of: 'error', definition: 'InternalError' }]
])

/** What is wrong with a value, an empty text when nothing is. */
export type Check = (definition: Definition, value: unknown) => string

const ajvOptions: Options = {
  strict: false,
  formats: { uri: URL.canParse, 'uri-template': true, byte: /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/ }
}

/** Validates by the schema of a revision; fields that it does not define are wrong too, where its own text lets them pass. */
export function checkOf (revision: Revision): Check {
  const folder = process.env.MCP_SCHEMAS
  if (folder === undefined) {
    return (definition, value) => {
      const parsed = schemas[definition].safeParse(value)
      return parsed.success ? '' : z.prettifyError(parsed.error)
    }
  }
  const schema = JSON.parse(readFileSync(join(folder, `${revision}.json`), 'utf8'))
  const definitions = '$defs' in schema ? '$defs' : 'definitions'
  // The files before 2025-11-25 are of draft-07.
  const ajv = '$defs' in schema ? new Ajv2020(ajvOptions) : new Ajv(ajvOptions)
  ajv.addSchema(schema, 'open')
  ajv.addSchema({ ...schema, [definitions]: closeAll(schema[definitions]) }, 'closed')
  return (definition, value) => {
    const faults = ['open', 'closed'].map(kind => {
      const validate = ajv.getSchema(`${kind}#/${definitions}/${definition}`)
      if (validate === undefined) return `${revision} has no ${definition}`
      return validate(value) === true ? '' : `${kind}: ${ajv.errorsText(validate.errors)} ${JSON.stringify(validate.errors?.at(-1)?.params)}`
    })
    return faults.find(fault => fault !== '') ?? ''
  }
}

// Messages are described in part only, and what is allOf is described in two.
const LEFT_OPEN = /^JSONRPC|Error$|^Error|Meta|Request$|Notification$/
// What tools and `_meta` say is theirs.
const FREE = ['inputSchema', 'outputSchema', '_meta']
// Fields that came later and that clients of older revisions get all the same, since none of their schemas is closed. By definition or
// by field: in `params` of a progress notification a chunk travels.
const LATER: ReadonlyMap<string, readonly string[]> = new Map(Object.entries({
  params: ['message', '_meta'],
  annotations: ['lastModified'],
  Annotations: ['lastModified'],
  PromptArgument: ['title'],
  TextContent: ['_meta'],
  TextResourceContents: ['_meta'],
  StringSchema: ['default'],
  NumberSchema: ['default']
}))

type Part = Record<string, unknown>

function closeAll (definitions: Record<string, Part>): Part {
  return Object.fromEntries(Object.entries(definitions).map(([name, definition]) => {
    const closed = closeParts(definition)
    return [name, LEFT_OPEN.test(name) ? { ...closed, additionalProperties: true } : close(closed, name)]
  }))
}

function close (schema: Part, name: string): Part {
  if (schema.type !== 'object' || schema.properties === undefined || schema.additionalProperties !== undefined) return schema
  const later = Object.fromEntries((LATER.get(name) ?? []).map(field => [field, true]))
  return { ...schema, properties: { ...later, ...Object(schema.properties) }, additionalProperties: false }
}

function closeParts (schema: Part): Part {
  if (schema.properties === undefined) return schema
  const properties = Object.entries<Part>(Object(schema.properties)).map(([name, part]) => {
    return [name, FREE.includes(name) ? part : close(closeParts(part), name)]
  })
  return { ...schema, properties: Object.fromEntries(properties) }
}

/** Holds every message of a server to the schema of a revision. */
export class Judge {
  /** The definitions that were seen. */
  readonly seen = new Set<Definition>()
  readonly #t: Test
  readonly #check: Check
  readonly #isStateless: boolean

  constructor (t: Test, revision: Revision) {
    this.#t = t
    this.#check = checkOf(revision)
    this.#isStateless = revision === '2026-07-28'
  }

  #hold (definition: Definition | undefined, value: unknown, what: string): void {
    if (definition === undefined) throw new TypeError(`${what} is not known`)
    this.seen.add(definition)
    this.#t.equal(this.#check(definition, value), '', `${what} is a ${definition}`)
  }

  /** `method`: of the request that the message may answer. */
  message (message: RpcMessage, method: string): void {
    this.#t.equal(this.#check('JSONRPCMessage', message), '', `one to ${method}`)
    if (message.method !== undefined) return this.#hold(told.get(message.method), message, message.method)
    if (message.error !== undefined) return this.#error(message, method)
    const { result } = message
    if (!this.#isStateless) return this.#hold(results.get(method), result, `the answer to ${method}`)
    this.#t.ok(result._meta['io.modelcontextprotocol/serverInfo'].name)
    if (result.resultType !== 'input_required') return this.#hold(results.get(method), result, `the answer to ${method}`)
    this.#hold('InputRequiredResult', result, `the answer to ${method}`)
    for (const question of Object.values<RpcMessage>(result.inputRequests)) this.#hold(told.get(question.method ?? ''), question, 'a question')
  }

  #error (message: RpcMessage, method: string): void {
    if (!this.#isStateless) return
    const known = errors.get(message.error?.code ?? 0)
    this.#hold(known?.definition, known?.of === 'error' ? message.error : message, `the error for ${method}`)
  }
}
