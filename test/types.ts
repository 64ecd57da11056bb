// What the compiler must accept and refuse; `npm run types` reads it, nothing runs it.
import { toStandardJsonSchema } from '@valibot/to-json-schema'
import { type } from 'arktype'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type {
  Answer, CallToolResult, Created, EventLog, LoggedEvent, LogLevel, McpOptions, Principal, PromptHandle, Replay, ResourceHandle, Root, SampleResult,
  SessionRecord, Sessions, TemplateHandle, ToolHandle, UrlAnswer
} from 'fastify-mcp-sse'
import type { RedisClient } from 'fastify-mcp-sse/redis'
import { Cluster, Redis } from 'ioredis'
import { createClient, createClientPool, createCluster, createSentinel, RESP_TYPES } from 'redis'
import * as v from 'valibot'
import { z } from 'zod'
import type { Variables, VariablesOf } from '../lib/features/uri-template.ts'

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

/** Compiles only for `true`. */
function holds<T extends true> (_: T | void): void {}

export function inference ({ mcp }: FastifyInstance): void {
  mcp.tool('zod', { input: z.object({ n: z.string().transform(Number), m: z.number().default(1) }) }, async function * (args, context) {
    holds<Same<typeof args, { n: number, m: number }>>()
    holds<Same<typeof context.signal, AbortSignal>>()
    holds<Same<typeof context.request, FastifyRequest>>()
    holds<Same<typeof context.principal, Principal | null>>()
    yield 'text'
    yield { progress: 1, total: 2, message: 'half' }
    yield { type: 'image', data: '', mimeType: 'image/png' }
    return 'end'
  })
  mcp.tool('arktype', { input: type({ name: 'string', 'age?': 'number' }) }, args => {
    holds<Same<typeof args, { name: string, age?: number }>>()
  })
  mcp.tool('valibot', { input: toStandardJsonSchema(v.object({ name: v.string() })) }, args => {
    holds<Same<typeof args, { name: string }>>()
  })
  mcp.tool('json', { input: { type: 'object', properties: { name: { type: 'string' } } } }, args => {
    holds<Same<typeof args, Record<string, unknown>>>()
  })
  mcp.tool('none', {}, args => {
    holds<Same<typeof args, Record<string, unknown>>>()
  })
}

interface Shape { sides: number }

export function results ({ mcp }: FastifyInstance): void {
  const output = z.object({ n: z.number() })
  mcp.tool('value', { output }, () => ({ n: 1 }))
  mcp.tool('promise', { output }, async () => ({ n: 1 }))
  mcp.tool('generator', { output }, async function * () {
    yield 'text'
    return { n: 1 }
  })
  mcp.tool('sync generator', { output }, function * () {
    yield 'text'
    return { n: 1 }
  })
  mcp.tool('failure', { output }, () => ({ content: [], isError: true as const }))
  mcp.tool('typed failure', { output }, (): CallToolResult & { isError: true } => ({ content: [], isError: true }))
  mcp.tool('late failure', { output }, async ({ a }) => a === 1 ? { n: 1 } : { content: [], isError: true as const })
  mcp.tool('any JSON', { output: { type: 'number' } }, () => 7)
  mcp.tool('list', { output: z.array(z.number()) }, () => [1])
  mcp.tool('free list', {}, () => [1, { a: 2 }])
  mcp.tool('free object', {}, (): Shape => ({ sides: 3 }))
  mcp.tool('free promise', {}, async (): Promise<Shape> => ({ sides: 3 }))
  mcp.tool('free generator', {}, async function * (): AsyncGenerator<string, Shape> { return { sides: 3 } })
  mcp.tool('free block', {}, async () => ({ type: 'text', text: 'x' }))
  mcp.tool('sometimes', {}, async function * ({ a }) {
    yield 'text'
    if (a === 1) return
    return { a }
  })

  // @ts-expect-error the value has another type
  mcp.tool('wrong value', { output }, () => ({ n: 'one' }))
  mcp.tool('whole result', { output }, () => ({ content: [{ type: 'text', text: 'one' }], structuredContent: { n: 1 } }))
  mcp.tool('whole result', { output }, async () => ({ content: [{ type: 'text', text: 'x' }], isError: true }))
  mcp.tool('whole result', { output }, async function * () { return { content: [{ type: 'text', text: 'x' }], isError: true } })
  // @ts-expect-error the value has another type
  mcp.tool('whole result', { output }, () => ({ content: [], structuredContent: { n: 'one' } }))
  // @ts-expect-error it does not say so
  mcp.tool('whole result', { output }, (): CallToolResult => ({ content: [] }))
  // @ts-expect-error something must be returned
  mcp.tool('nothing', { output }, () => {})
  // @ts-expect-error a number is no chunk
  mcp.tool('wrong chunk', {}, async function * () { yield 7 })
  // @ts-expect-error an image has data
  mcp.tool('wrong block', {}, async function * () { yield { type: 'image', mimeType: 'image/png' } })
}

export function registrations ({ mcp }: FastifyInstance): void {
  const removed: boolean = mcp.tool('handle', {}, () => 'x').remove()
  mcp.tool(removed ? 'a' : 'b', { timeout: 1, collect: false, annotations: { readOnlyHint: true }, _meta: {} }, () => 'x')
  // @ts-expect-error not a part of a definition
  mcp.tool('a', { descripton: 'x' }, () => 'x')
  // @ts-expect-error a name is a string
  mcp.tool(7, {}, () => 'x')
  // @ts-expect-error a handler is a function
  mcp.tool('a', {}, 'x')
  // @ts-expect-error not a schema
  mcp.tool('a', { input: 'object' }, () => 'x')
  // @ts-expect-error the argument has another name
  mcp.tool('a', { input: z.object({ name: z.string() }) }, ({ nmae }) => String(nmae))
}

export const options: McpOptions[] = [
  {},
  { auth: false, sessions: false, paths: { sse: false } },
  { auth: { verify: async token => token === 'x' ? { id: 'x' } : null } },
  // @ts-expect-error not an option
  { stream: {} },
  // @ts-expect-error milliseconds are a number
  { streams: { keepAlive: '15s' } },
  // @ts-expect-error a principal has an id
  { auth: { verify: () => ({ name: 'x' }) } }
]

export function uriVariables (): void {
  holds<Same<VariablesOf<'users://{id}/posts{?page,tags*}'>, { id: string, page?: string, tags?: string[] }>>()
  holds<Same<VariablesOf<'x:{a,b:3}/{+c}/{d*}'>, { a: string, b: string, c: string, d: string[] }>>()
  holds<Same<VariablesOf<'x:y{/a}/z{.b*}{;c}?f=1{&d}{#e}'>, { a?: string, b?: string[], c?: string, d?: string, e?: string }>>()
  holds<Same<VariablesOf<'config://main'>, {}>>()
  holds<Same<VariablesOf<string>, Variables>>()
  // @ts-expect-error a parameter of the query may be missing
  holds<Same<VariablesOf<'x:y{?a}'>, { a: string }>>()
}

export function resources ({ mcp }: FastifyInstance): void {
  const fixed = mcp.resource('config://app', { size: 3 }, (variables, { uri }) => {
    holds<Same<typeof variables, {}>>()
    holds<Same<typeof uri, string>>()
    return 'text'
  })
  holds<Same<typeof fixed, ResourceHandle>>()
  fixed.updated()
  const template = mcp.resource('notes://{name}{?page,tags*}', {
    list: () => [{ uri: 'notes://a', size: 1 }],
    complete: { name: ['a'], page: async (value, { arguments: { name } }) => name === undefined ? [] : [value] }
  }, variables => {
    holds<Same<typeof variables, { name: string, page?: string, tags?: string[] }>>()
    return new Uint8Array()
  })
  holds<Same<typeof template, TemplateHandle>>()
  template.updated('notes://a')
  mcp.resource('x://pieces', {}, async function * () { yield 'a'; yield Buffer.from('b') })
  mcp.resource('x://parts', {}, async () => [{ text: 'a' }, { blob: 'aGk=', mimeType: 'image/png' }])
  mcp.resource('x://whole', {}, () => ({ contents: [{ uri: 'x://whole', text: 'a' }] }))
  mcp.resource('x://{nothing}', {}, ({ nothing }) => nothing === 'a' ? null : undefined)
  // @ts-expect-error the template has no such variable
  mcp.resource('x://{a}', {}, ({ b }) => b)
  // @ts-expect-error no such variable could be completed
  mcp.resource('x://{a}', { complete: { b: ['c'] } }, () => 'x')
  // @ts-expect-error only templates list
  mcp.resource('x://a', { list: () => [] }, () => 'x')
  // @ts-expect-error a template has no size
  mcp.resource('x://{a}', { size: 1 }, () => 'x')
  // @ts-expect-error a number is no contents
  mcp.resource('x://a', {}, () => 7)
  // @ts-expect-error the URI of which of them
  template.updated()
}

export function prompts ({ mcp }: FastifyInstance): void {
  const handle = mcp.prompt('typed', { input: z.object({ days: z.coerce.number(), tone: z.string().optional() }), complete: { tone: ['kind'] } }, args => {
    holds<Same<typeof args, { days: number, tone?: string | undefined }>>()
    return [{ role: 'assistant', content: 'text' }, 'text', { type: 'text', text: 'x' }]
  })
  holds<Same<typeof handle, PromptHandle>>()
  handle.update({ title: 'x' }, () => 'x')
  mcp.prompt('none', {}, args => {
    holds<Same<typeof args, Record<string, never>>>()
    return { description: 'x', messages: ['text'] }
  })
  mcp.prompt('generator', {}, async function * () { yield 'text' })
  // @ts-expect-error there is no such role
  mcp.prompt('role', {}, () => ({ role: 'system', content: 'x' }))
  // @ts-expect-error there is no such argument
  mcp.prompt('complete', { input: z.object({ a: z.string() }), complete: { b: ['c'] } }, () => 'x')
  // @ts-expect-error something must be said
  mcp.prompt('nothing', {}, () => {})
}

export function asking ({ mcp }: FastifyInstance): void {
  mcp.tool('asks', {}, async (_args, { ask, sample, roots, once }) => {
    const answer = await ask('form', 'x', z.object({ size: z.enum(['S', 'L']), count: z.int().default(1) }))
    holds<Same<typeof answer, Answer<{ size: 'S' | 'L', count: number }>>>()
    // @ts-expect-error nobody has accepted yet
    const early: unknown = answer.content
    if (answer.action === 'accept') holds<Same<typeof answer.content, { size: 'S' | 'L', count: number }>>()
    const plain = await ask('plain', 'x', { type: 'object' })
    holds<Same<typeof plain, Answer<Record<string, unknown>>>>()
    const page = await ask.url('page', 'x', 'https://example.com')
    holds<Same<typeof page, UrlAnswer>>()
    const sampled = await sample('sampled', { messages: [], maxTokens: 1 })
    holds<Same<typeof sampled, SampleResult>>()
    const folders = await roots('folders')
    holds<Same<typeof folders, Root[]>>()
    const made = [await once('number', () => 1), await once('promise', async () => 1)]
    holds<Same<typeof made, number[]>>()
    // @ts-expect-error a key comes first
    await ask('x', z.object({}))
    // @ts-expect-error how long may it be
    await sample('x', { messages: [] })
    return [typeof early, plain.action, page.action, sampled.model, folders.length, made.length]
  })
}

export function handles ({ mcp }: FastifyInstance): void {
  const handle = mcp.tool('handle', { enabled: false, visible: principal => principal?.id === 'ada' }, () => 'x')
  holds<Same<typeof handle, ToolHandle>>()
  handle.update({ description: 'x', timeout: 1, visible: () => true }, () => 'y')
  handle.update({})
  handle.enable()
  handle.disable()
  const state: [string, boolean] = [handle.name, handle.enabled]
  const undo: () => void = mcp.use({ onCall: async ({ target }) => { state[0] = target ?? '' }, onResult: () => ({ content: [] }) })
  undo()
  // @ts-expect-error not a part of a definition
  handle.update({ descripton: 'x' })
  // @ts-expect-error it is only read
  handle.enabled = true
  // @ts-expect-error there is no such hook
  mcp.use({ onStart: () => {} })
}

/** Whoever writes a store can name each of its types. */
export function store (sessions: Sessions, events: EventLog, record: SessionRecord): void {
  holds<Same<Awaited<ReturnType<typeof sessions.create>>, Created>>()
  holds<Same<typeof record.logLevel, LogLevel | null>>()
  holds<Same<Parameters<typeof events.append>[1], LoggedEvent>>()
  holds<Same<Awaited<ReturnType<typeof events.after>>, Replay | undefined>>()
}

export function redisClients (): RedisClient[] {
  const sentinel = { name: 'mcp', sentinelRootNodes: [{ host: '127.0.0.1', port: 26379 }] }
  // @ts-expect-error: the connections of a pool keep no order
  const pool: RedisClient = createClientPool()
  return [
    pool,
    new Redis(),
    new Redis({ sentinels: [{ port: 26379 }], name: 'mcp' }),
    new Redis({ protocol: 2 }),
    new Redis({ replyMapping: 'resp3' }),
    new Cluster([6379]),
    createClient(),
    createClient({ RESP: 2 }),
    createClient({ RESP: 3, commandOptions: { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } } }),
    createCluster({ rootNodes: [] }),
    createCluster({ rootNodes: [], RESP: 2 }),
    createSentinel(sentinel),
    createSentinel({ ...sentinel, RESP: 2 })
  ]
}
