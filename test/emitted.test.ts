// Every message of every feature, at every revision and over every transport, against the official schemas.
import type { FastifyInstance } from 'fastify'
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { z } from 'zod'
import { content, ToolError } from '../lib/index.ts'
import type { Revision } from '../lib/index.ts'
import { ACCEPT, Client, createApp, EventStream, listen, open, read, type RequestInit, REVISIONS, type RpcMessage, SseClient, until } from './client.ts'
import { checkOf, type Definition, Judge } from './official.ts'

const STATELESS = '2026-07-28'
/** Everything that a client of a revision can be asked. */
const capabilitiesOf = (revision: string): object => ({
  roots: { listChanged: true },
  sampling: revision >= '2025-11-25' ? { tools: {} } : {},
  ...(revision >= '2025-06-18' && { elicitation: revision >= '2025-11-25' ? { form: {}, url: {} } : {} })
})
const ICONS = [{ src: 'https://example.org/icon.png', mimeType: 'image/png', sizes: ['48x48'] }]
const SHOWN = { title: 'A title', description: 'A description', icons: ICONS, _meta: { 'example.org/a': 1 } }
const ANNOTATIONS = { audience: ['user' as const], priority: 0.5, lastModified: '2026-07-28T00:00:00Z' }
const PNG = 'iVBORw0KGgo='

const form = {
  type: 'object',
  properties: {
    text: { type: 'string', title: 'Text', description: 'Any', minLength: 1, maxLength: 9, format: 'email', default: 'a@b.c' },
    number: { type: 'number', minimum: 0, maximum: 9, default: 1 },
    count: { type: 'integer' },
    agreed: { type: 'boolean', default: true },
    choice: { type: 'string', enum: ['a', 'b'], enumNames: ['A', 'B'] }
  },
  required: ['text']
}
const richForm = {
  ...form,
  properties: {
    ...form.properties,
    titled: { type: 'string', oneOf: [{ const: 'a', title: 'A' }] },
    several: { type: 'array', minItems: 0, maxItems: 2, items: { type: 'string', enum: ['a', 'b'] } },
    severalTitled: { type: 'array', items: { anyOf: [{ const: 'a', title: 'A' }] } }
  }
}

/** What a client answers. */
const answers = new Map<string | undefined, object>(Object.entries({
  'elicitation/create': { action: 'accept', content: { text: 'a@b.c' } },
  'sampling/createMessage': { role: 'assistant', content: { type: 'text', text: 'Hm' }, model: 'm' },
  'roots/list': { roots: [{ uri: 'file:///a', name: 'A' }] }
}))

async function serve (t: Test): Promise<FastifyInstance> {
  const app = await createApp(t, {
    title: 'A title', description: 'A description', websiteUrl: 'https://example.org', icons: ICONS, instructions: 'Read this first.', lists: { pageSize: 2 }
  })
  addTools(app)
  addReadables(app)
  return app
}

function addTools ({ mcp }: FastifyInstance): void {
  mcp.tool('everything', { ...SHOWN, input: z.object({ n: z.number().optional() }), output: z.object({ n: z.number() }) }, async function * (_args, { log }) {
    yield 'text'
    for (const tell of Object.values(log)) tell({ nested: [null, 1.5] })
    yield { progress: 5, total: 10, message: 'half' }
    yield content.text('a block', { annotations: ANNOTATIONS, _meta: { 'example.org/b': 2 } })
    yield content.image(PNG, 'image/png')
    yield content.audio(PNG, 'audio/wav')
    yield content.resource('test://a', 'A', 'text/plain')
    yield content.resource('test://b', Buffer.from('B'))
    yield content.link('test://c', 'c', { title: 'C', description: 'A link', mimeType: 'text/plain', size: 3 })
    return { n: 1 }
  })
  mcp.tool('list', { output: z.array(z.number()) }, () => [1, 2])
  mcp.tool('refuses', {}, () => { throw new ToolError('not today') })
  mcp.tool('form', {}, async (_args, { ask }) => JSON.stringify(await ask('form', 'Please', form)))
  mcp.tool('rich-form', {}, async (_args, { ask }) => JSON.stringify(await ask('form', 'Please', richForm)))
  mcp.tool('page', {}, async (_args, { ask }) => (await ask.url('page', 'Please', 'https://example.org/secret')).action)
  mcp.tool('model', {}, async (_args, { sample }) => {
    const messages = [{ role: 'user' as const, content: { type: 'text' as const, text: 'Well?' } }]
    const tools = [{ name: 'a', inputSchema: { type: 'object' as const } }]
    await sample('plain', { messages, maxTokens: 5, systemPrompt: 'Be brief', temperature: 0.5, stopSequences: ['.'], modelPreferences: { hints: [{ name: 'm' }] } })
    return (await sample('tools', { messages, maxTokens: 5, tools, toolChoice: { mode: 'auto' } })).model
  })
  mcp.tool('folders', {}, async (_args, { roots }) => (await roots('folders')).map(({ uri }) => uri).join())
  mcp.tool('all-at-once', {}, async function * (_args, { roots, sample }) {
    yield 'asking'
    yield JSON.stringify(await Promise.all([roots('folders'), sample('model', { messages: [], maxTokens: 1 })]))
  })
  mcp.tool('leaves', {}, async (_args, { roots }) => {
    roots('folders').catch(() => {})
    await turn()
    return 'without the answer'
  })
}

function addReadables ({ mcp }: FastifyInstance): void {
  mcp.resource('test://text', { ...SHOWN, name: 'Text', mimeType: 'text/plain', size: 4, annotations: ANNOTATIONS, cache: { ttl: 5, scope: 'public' } }, () => 'text')
  mcp.resource('test://bytes', {}, () => Buffer.from('bytes'))
  mcp.resource('test://parts', {}, () => [{ text: 'one', mimeType: 'text/plain', _meta: { 'example.org/c': 3 } }, { uri: 'test://parts/2', blob: PNG }])
  mcp.resource('test://asks', {}, async (_variables, { roots }) => JSON.stringify(await roots('folders')))
  mcp.resource('test://{name}/listed', {
    ...SHOWN,
    name: 'Template',
    mimeType: 'text/plain',
    annotations: ANNOTATIONS,
    list: () => ['a', 'b'].map(name => ({ ...SHOWN, uri: `test://${name}/listed`, name, size: 1, annotations: ANNOTATIONS })),
    complete: { name: ['a', 'b'] }
  }, ({ name }) => name)
  mcp.resource('test://second/{name}', {}, ({ name }) => name)
  mcp.resource('test://third/{name}', {}, ({ name }) => name)

  const input = z.object({ size: z.string().meta({ title: 'Size', description: 'How much' }), color: z.string().optional() })
  mcp.prompt('arguments', { ...SHOWN, input, complete: { size: () => ({ values: ['S', 'L'], total: 9, hasMore: true }) } }, ({ size }) => ({
    description: 'Of this size',
    messages: [
      size, { role: 'assistant', content: 'Yes' }, content.image(PNG, 'image/png'), content.audio(PNG, 'audio/wav'),
      content.resource('test://a', 'A'), content.link('test://c', 'c')
    ],
    _meta: { 'example.org/d': 4 }
  }))
  mcp.prompt('asks', {}, async (_args, { roots }) => JSON.stringify(await roots('folders')))
  mcp.prompt('plain', {}, () => 'plain')
}

/** A client of one transport, which answers what it is asked; everything that it is told is judged. */
interface Peer {
  /** The answer to a request, after however many rounds. */
  ask (method: string, params?: Record<string, unknown>): Promise<RpcMessage>
  /** Subscribes to everything; what comes is judged when it ends. */
  watch (): Promise<Watch>
}

interface Watch {
  readonly messages: readonly RpcMessage[]
}

const isQuestion = ({ id, method }: RpcMessage): boolean => id !== undefined && method !== undefined
const answerTo = ({ id, method }: RpcMessage): object => ({ jsonrpc: '2.0', id, result: answers.get(method) })

/** Sends one request and reads on to its answer, over JSON or a stream. */
async function converse (url: string, init: RequestInit, onMessage: (message: RpcMessage) => Promise<unknown>): Promise<RpcMessage> {
  const opened = await open(url, '/mcp', init)
  if (opened.headers['content-type'] !== 'text/event-stream') {
    const { messages: [answer], text } = await read(opened)
    if (answer === undefined) throw new TypeError(text)
    await onMessage(answer)
    return answer
  }
  const stream = new EventStream(opened)
  for (;;) {
    const message = await stream.message()
    await onMessage(message)
    if (message.method === undefined) return message
  }
}

async function overHttp (url: string, revision: Revision, judge: Judge): Promise<Peer> {
  const client = await Client.connect(url, { revision, capabilities: capabilitiesOf(revision) })
  judge.message({ jsonrpc: '2.0', id: 0, result: client.server }, 'initialize')
  return {
    ask: (method, params) => converse(url, {
      method: 'POST', headers: client.headers, body: { jsonrpc: '2.0', id: client.nextId(), method, params }
    }, async message => {
      judge.message(message, method)
      if (isQuestion(message)) await client.post(answerTo(message))
    }),
    watch: () => client.get()
  }
}

async function overSse (url: string, revision: Revision, judge: Judge): Promise<Peer> {
  const client = await SseClient.connect(url, { revision, capabilities: capabilitiesOf(revision) })
  for (const message of client.stream.messages) judge.message(message, 'initialize')
  return {
    ask: async (method, params) => {
      const id = client.nextId()
      await client.post({ jsonrpc: '2.0', id, method, params })
      for (;;) {
        const message = await client.stream.message()
        judge.message(message, method)
        if (isQuestion(message)) await client.post(answerTo(message))
        else if (message.id === id) return message
      }
    },
    watch: async () => client.stream
  }
}

const META = 'io.modelcontextprotocol/'
const ENVELOPE = { [`${META}protocolVersion`]: STATELESS, [`${META}clientCapabilities`]: capabilitiesOf(STATELESS), [`${META}logLevel`]: 'debug' }

function standalone (method: string, params: Record<string, unknown> = {}, meta: object = ENVELOPE): RequestInit {
  const named = params.name ?? params.uri
  return {
    method: 'POST',
    headers: { accept: ACCEPT, 'mcp-protocol-version': STATELESS, 'mcp-method': method, ...(typeof named === 'string' && { 'mcp-name': named }) },
    body: { jsonrpc: '2.0', id: 'one', method, params: { ...params, _meta: { ...meta, ...Object(params._meta) } } }
  }
}

function withoutSession (url: string, judge: Judge): Peer {
  const ask: Peer['ask'] = async (method, params) => {
    const answer = await converse(url, standalone(method, params), async message => judge.message(message, method))
    if (answer.result?.resultType !== 'input_required') return answer
    const { inputRequests, requestState } = answer.result
    const inputResponses = Object.fromEntries(Object.entries<RpcMessage>(inputRequests).map(([key, { method }]) => [key, answers.get(method)]))
    return ask(method, { ...params, inputResponses, requestState })
  }
  const notifications = { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true, resourceSubscriptions: ['test://text'] }
  return { ask, watch: () => EventStream.open(url, '/mcp', standalone('subscriptions/listen', { notifications })) }
}

const transports = {
  'Streamable HTTP': overHttp,
  'HTTP+SSE': overSse
}

const LISTS: [method: string, field: string, count: number][] = [
  ['tools/list', 'tools', 10], ['prompts/list', 'prompts', 3], ['resources/list', 'resources', 6], ['resources/templates/list', 'resourceTemplates', 3]
]

async function readLists (t: Test, peer: Peer): Promise<void> {
  for (const [method, field, count] of LISTS) {
    const items = []
    let cursor: string | undefined
    do {
      const { result } = await peer.ask(method, { cursor })
      items.push(...result[field])
      cursor = result.nextCursor
    } while (cursor !== undefined)
    t.equal(items.length, count, method)
  }
}

/** Requests that end in a result at every revision. */
const USED: [method: string, params: Record<string, unknown>][] = [
  ['tools/call', { name: 'everything', _meta: { progressToken: 'token' } }],
  ['tools/call', { name: 'everything' }],
  ['tools/call', { name: 'list' }],
  ['tools/call', { name: 'refuses' }],
  ['tools/call', { name: 'model' }],
  ['tools/call', { name: 'folders' }],
  ['tools/call', { name: 'all-at-once', _meta: { progressToken: 0 } }],
  ['tools/call', { name: 'form' }],
  ['tools/call', { name: 'rich-form' }],
  ['tools/call', { name: 'page' }],
  ['prompts/get', { name: 'arguments', arguments: { size: 'S' } }],
  ['prompts/get', { name: 'asks' }],
  ['prompts/get', { name: 'plain' }],
  ['resources/read', { uri: 'test://text' }],
  ['resources/read', { uri: 'test://bytes' }],
  ['resources/read', { uri: 'test://parts' }],
  ['resources/read', { uri: 'test://asks' }],
  ['resources/read', { uri: 'test://a/listed' }],
  ['completion/complete', { ref: { type: 'ref/prompt', name: 'arguments' }, argument: { name: 'size', value: '' } }],
  ['completion/complete', { ref: { type: 'ref/prompt', name: 'arguments' }, argument: { name: 'color', value: 'r' } }],
  ['completion/complete', { ref: { type: 'ref/resource', uri: 'test://{name}/listed' }, argument: { name: 'name', value: 'a' } }]
]

/** Requests that end in an error at every revision. */
const REFUSED: [method: string, params: Record<string, unknown>, code: number][] = [
  ['tools/unknown', {}, -32601],
  ['tools/call', { name: 'unknown' }, -32602],
  ['tools/list', { cursor: 'nonsense' }, -32602],
  ['prompts/get', { name: 'unknown' }, -32602],
  ['prompts/get', { name: 'arguments', arguments: {} }, -32602],
  ['completion/complete', { ref: { type: 'ref/none' }, argument: { name: 'a', value: '' } }, -32602]
]

const ALWAYS: Definition[] = [
  'ListToolsResult', 'CallToolResult', 'ListPromptsResult', 'GetPromptResult', 'ListResourcesResult', 'ListResourceTemplatesResult',
  'ReadResourceResult', 'CompleteResult', 'CreateMessageRequest', 'ListRootsRequest', 'ProgressNotification', 'LoggingMessageNotification',
  'ToolListChangedNotification', 'PromptListChangedNotification', 'ResourceListChangedNotification', 'ResourceUpdatedNotification'
]

/** Changes everything and waits until the client was told. */
async function change (app: FastifyInstance, watch: Watch): Promise<void> {
  const { messages: { length } } = watch
  app.mcp.tool('new', {}, () => '')
  app.mcp.prompt('new', {}, () => '')
  app.mcp.resource('test://new', {}, () => '')
  app.mcp.resourceUpdated('test://text')
  await until(() => watch.messages.length >= length + 4, 'four notifications')
}

for (const [transport, connect] of Object.entries(transports)) {
  for (const revision of REVISIONS) {
    t.test(`whatever a server of every feature tells a client of ${revision} over ${transport} is in its schema`, async t => {
      const judge = new Judge(t, revision)
      const app = await serve(t)
      const peer = await connect(await listen(app), revision, judge)
      await peer.ask('ping')
      await peer.ask('logging/setLevel', { level: 'debug' })
      await readLists(t, peer)
      for (const [method, params] of USED) t.notOk((await peer.ask(method, params)).error, JSON.stringify(params))
      for (const [method, params, code] of REFUSED) t.equal((await peer.ask(method, params)).error?.code, code, method)
      t.equal((await peer.ask('resources/read', { uri: 'test://unknown' })).error?.code, -32002)
      t.match((await peer.ask('tools/call', { name: 'leaves' })).result, { content: [{ text: 'without the answer' }] })

      await peer.ask('resources/subscribe', { uri: 'test://text' })
      const watch = await peer.watch()
      const before = watch.messages.length
      await change(app, watch)
      for (const message of watch.messages.slice(before)) judge.message(message, 'nothing')
      await peer.ask('resources/unsubscribe', { uri: 'test://text' })

      const asks: Definition[] = revision >= '2025-06-18' ? ['ElicitRequest'] : []
      t.strictSame([...judge.seen].sort(), [...ALWAYS, ...asks, 'InitializeResult', 'EmptyResult', 'CancelledNotification'].sort(), 'all of it was seen')
    })
  }
}

t.test(`whatever a server of every feature tells a client of ${STATELESS} is in its schema`, async t => {
  const judge = new Judge(t, STATELESS)
  const app = await serve(t)
  const url = await listen(app)
  const peer = withoutSession(url, judge)
  await peer.ask('server/discover')
  await readLists(t, peer)
  for (const [method, params] of USED) t.equal((await peer.ask(method, params)).result?.resultType, 'complete', JSON.stringify(params))
  for (const [method, params, code] of REFUSED) t.equal((await peer.ask(method, params)).error?.code, code, method)
  t.equal((await peer.ask('resources/read', { uri: 'test://unknown' })).error?.code, -32602)
  t.match((await peer.ask('tools/call', { name: 'folders', requestState: 'forged', inputResponses: {} })).error, { data: { code: 'FST_MCP_STATE_INVALID' } })

  const watch = await peer.watch()
  await change(app, watch)
  await app.close()
  await until(() => watch.messages.at(-1)?.result !== undefined, 'the end of the subscription')
  for (const message of watch.messages) judge.message(message, 'subscriptions/listen')

  t.strictSame([...judge.seen].sort(), [
    ...ALWAYS, 'DiscoverResult', 'ElicitRequest', 'InputRequiredResult', 'SubscriptionsAcknowledgedNotification', 'SubscriptionsListenResult',
    'MethodNotFoundError', 'InvalidParamsError'
  ].sort(), 'all of it was seen')
})

t.test(`every refusal of ${STATELESS} is in its schema`, async t => {
  const judge = new Judge(t, STATELESS)
  const app = await serve(t)
  app.mcp.use({ onCall: ({ method }) => { if (method === 'prompts/list') throw new TypeError('a secret') } })
  const url = await listen(app)
  const list = standalone('tools/list')
  const { headers = {} } = list
  const refusals: [init: RequestInit, status: number, code: number][] = [
    [{ ...list, headers: { ...headers, 'mcp-method': 'tools/call' } }, 400, -32020],
    [{ ...list, headers: { accept: ACCEPT, 'mcp-method': 'tools/list' } }, 400, -32020],
    [standalone('tools/call', { name: 'folders' }, { ...ENVELOPE, [`${META}clientCapabilities`]: {} }), 400, -32021],
    [standalone('tools/call', { name: 'form' }, { ...ENVELOPE, [`${META}clientCapabilities`]: {} }), 400, -32021],
    [standalone('tools/call', { name: 'page' }, { ...ENVELOPE, [`${META}clientCapabilities`]: {} }), 400, -32021],
    [standalone('tools/call', { name: 'model' }, { ...ENVELOPE, [`${META}clientCapabilities`]: {} }), 400, -32021],
    [{ ...standalone('tools/list', {}, { ...ENVELOPE, [`${META}protocolVersion`]: '2099-01-01' }), headers: { ...headers, 'mcp-protocol-version': '2099-01-01' } }, 400, -32022],
    [standalone('tools/list', {}, {}), 400, -32602],
    [standalone('initialize'), 404, -32601],
    [standalone('ping'), 404, -32601],
    [{ ...list, body: '{' }, 400, -32700],
    [{ ...list, body: [] }, 400, -32600],
    [{ ...list, body: { jsonrpc: '2.0', id: null, method: 'tools/list' } }, 400, -32600],
    [{ ...list, headers: { ...headers, accept: 'text/html' } }, 406, -32600],
    [{ ...list, method: 'GET', body: undefined }, 405, -32600],
    [standalone('subscriptions/listen', {}), 400, -32602],
    [standalone('prompts/list'), 200, -32603]
  ]
  for (const [init, status, code] of refusals) {
    const { messages: [message], status: given, text } = await read(await open(url, '/mcp', init))
    const what = JSON.stringify(init)
    t.equal(given, status, what)
    if (message === undefined) throw new TypeError(text)
    t.equal(message.error?.code, code, what)
    judge.message(message, what)
  }
})

t.test('a field that a revision does not define is no part of its schema', async t => {
  if (process.env.MCP_SCHEMAS === undefined) return t.pass('the zod schemas are of no one revision')
  const tool = { name: 'a', inputSchema: { type: 'object' } }
  const wrong: [definition: Definition, value: unknown, until: string][] = [
    ['ListToolsResult', { tools: [{ ...tool, annotations: {} }] }, '2024-11-05'],
    ['ListToolsResult', { tools: [{ ...tool, outputSchema: { type: 'object' } }] }, '2025-03-26'],
    ['ListToolsResult', { tools: [{ ...tool, icons: [] }] }, '2025-06-18'],
    ['ListPromptsResult', { prompts: [{ name: 'a', title: 'A' }] }, '2025-03-26'],
    ['ListResourceTemplatesResult', { resourceTemplates: [{ name: 'a', uriTemplate: 'test://{a}', _meta: {} }] }, '2025-03-26'],
    ['CallToolResult', { content: [], structuredContent: {} }, '2025-03-26'],
    ['ReadResourceResult', { contents: [{ uri: 'test://a', text: '', name: 'a' }] }, '2025-11-25'],
    ['CallToolResult', { content: [], more: 1 }, '2025-11-25'],
    ['InitializeResult', { protocolVersion: '', capabilities: {}, serverInfo: { name: '', version: '', icons: [] } }, '2025-06-18'],
    ['ResourceUpdatedNotification', { jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: 'test://a', title: 'A' } }, '2025-11-25']
  ]
  for (const revision of REVISIONS) {
    const check = checkOf(revision)
    for (const [definition, value, last] of wrong) t.equal(check(definition, value) !== '', revision <= last, `${revision} ${definition} ${JSON.stringify(value)}`)
  }
})
