// The official clients, and the `eventsource` package, against the plugin on a real socket.
import { once } from 'node:events'
import { Client as Client2, SSEClientTransport as Sse2, StreamableHTTPClientTransport as Http2, type VersionNegotiationMode } from '@modelcontextprotocol/client'
import { Client as Client1 } from '@modelcontextprotocol/sdk/client/index.js'
import { SSEClientTransport as Sse1 } from '@modelcontextprotocol/sdk/client/sse.js'
import { StreamableHTTPClientTransport as Http1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import * as sdk from '@modelcontextprotocol/sdk/types.js'
import { EventSource } from 'eventsource'
import type { FastifyInstance } from 'fastify'
import type { McpOptions, ToolContext } from 'fastify-mcp-sse'
import t, { type Test } from 'tap'
import { z } from 'zod'
import { createApp, listen, type RpcMessage, send, until, within } from './client.ts'
import { gate, wire } from './sockets.ts'

interface CallOptions {
  onprogress?: (progress: { message?: string }) => void
  signal?: AbortSignal
}

type List = 'tools' | 'prompts' | 'resources'

/** What both official clients can do, in one shape. */
interface Peer {
  sessionId (): string | undefined
  /** Where an HTTP+SSE client posts to. */
  endpoint (): string | undefined
  revision (): string | undefined
  list (): Promise<string[]>
  call (name: string, args?: Record<string, unknown>, options?: CallOptions): Promise<Record<string, unknown>>
  prompts (): Promise<{ prompts: unknown[] }>
  prompt (name: string, args?: Record<string, string>): Promise<{ messages: unknown[] }>
  resources (): Promise<{ resources: unknown[] }>
  templates (): Promise<{ resourceTemplates: unknown[] }>
  read (uri: string): Promise<{ contents: unknown[] }>
  /** Suggestions for an argument of a prompt. */
  complete (prompt: string, name: string, value: string): Promise<{ completion: { values: string[] } }>
  /** Undefined where the revision has none. */
  ping?: () => Promise<unknown>
  /** Hears of lists that change, and of one resource. Gives its undo. */
  watch (uri: string, onChanged: (list: List) => void, onUpdated: (uri: string) => void): Promise<() => Promise<unknown>>
  /** What it was asked, in order. */
  asked: string[]
  terminate (): Promise<void>
  close (): Promise<void>
}

type Connect = (url: string) => Promise<Peer>

const INFO = { name: 'referee', version: '1.0.0' }
const FAST = { initialReconnectionDelay: 10, maxReconnectionDelay: 50, reconnectionDelayGrowFactor: 1.5, maxRetries: 5 }
const CAPABILITIES = { elicitation: { form: {}, url: {} }, sampling: {}, roots: {} }

const endpointOf = (transport: object): string | undefined => {
  // Neither client says when it has come back, but for this private field.
  const endpoint: unknown = Reflect.get(transport, '_endpoint')
  return endpoint instanceof URL ? endpoint.href : undefined
}

/** What every client answers. */
function answersOf () {
  const asked: string[] = []
  return {
    asked,
    elicit ({ params }: { params: { mode?: string } }) {
      asked.push(params.mode === 'url' ? 'url' : 'form')
      return params.mode === 'url' ? { action: 'accept' as const } : { action: 'accept' as const, content: { size: 'L' } }
    },
    sample () {
      asked.push('sample')
      return { role: 'assistant' as const, content: { type: 'text' as const, text: 'A title' }, model: 'm' }
    },
    roots () {
      asked.push('roots')
      return { roots: [{ uri: 'file:///work', name: 'work' }] }
    }
  }
}

async function connect1 (transport: Http1 | Sse1): Promise<Peer> {
  const client = new Client1(INFO, { capabilities: CAPABILITIES })
  const { asked, elicit, sample, roots } = answersOf()
  client.setRequestHandler(sdk.ElicitRequestSchema, elicit)
  client.setRequestHandler(sdk.CreateMessageRequestSchema, sample)
  client.setRequestHandler(sdk.ListRootsRequestSchema, roots)
  await client.connect(transport)
  return {
    asked,
    sessionId: () => transport instanceof Http1 ? transport.sessionId : undefined,
    endpoint: () => endpointOf(transport),
    revision: () => transport instanceof Http1 ? transport.protocolVersion : undefined,
    list: async () => (await client.listTools()).tools.map(tool => tool.name),
    call: (name, args = {}, options) => client.callTool({ name, arguments: args }, undefined, options),
    prompts: () => client.listPrompts(),
    prompt: (name, args) => client.getPrompt({ name, arguments: args }),
    resources: () => client.listResources(),
    templates: () => client.listResourceTemplates(),
    read: uri => client.readResource({ uri }),
    complete: (prompt, name, value) => client.complete({ ref: { type: 'ref/prompt', name: prompt }, argument: { name, value } }),
    ping: () => client.ping(),
    async watch (uri, onChanged, onUpdated) {
      client.setNotificationHandler(sdk.ToolListChangedNotificationSchema, () => onChanged('tools'))
      client.setNotificationHandler(sdk.PromptListChangedNotificationSchema, () => onChanged('prompts'))
      client.setNotificationHandler(sdk.ResourceListChangedNotificationSchema, () => onChanged('resources'))
      client.setNotificationHandler(sdk.ResourceUpdatedNotificationSchema, ({ params }) => onUpdated(params.uri))
      await client.subscribeResource({ uri })
      return () => client.unsubscribeResource({ uri })
    },
    terminate: async () => { if (transport instanceof Http1) await transport.terminateSession() },
    close: () => client.close()
  }
}

async function connect2 (transport: Http2 | Sse2, mode: VersionNegotiationMode = 'legacy'): Promise<Peer> {
  const client = new Client2(INFO, { capabilities: CAPABILITIES, versionNegotiation: { mode } })
  const { asked, elicit, sample, roots } = answersOf()
  client.setRequestHandler('elicitation/create', elicit)
  client.setRequestHandler('sampling/createMessage', sample)
  client.setRequestHandler('roots/list', roots)
  await client.connect(transport)
  const isStandalone = client.getNegotiatedProtocolVersion() === STANDALONE
  return {
    asked,
    sessionId: () => transport instanceof Http2 ? transport.sessionId : undefined,
    endpoint: () => endpointOf(transport),
    revision: () => client.getNegotiatedProtocolVersion(),
    list: async () => (await client.listTools()).tools.map(tool => tool.name),
    call: (name, args = {}, options) => client.callTool({ name, arguments: args }, options),
    prompts: () => client.listPrompts(),
    prompt: (name, args) => client.getPrompt({ name, arguments: args }),
    resources: () => client.listResources(),
    templates: () => client.listResourceTemplates(),
    read: uri => client.readResource({ uri }),
    complete: (prompt, name, value) => client.complete({ ref: { type: 'ref/prompt', name: prompt }, argument: { name, value } }),
    ...(!isStandalone && { ping: () => client.ping() }),
    async watch (uri, onChanged, onUpdated) {
      client.setNotificationHandler('notifications/tools/list_changed', () => onChanged('tools'))
      client.setNotificationHandler('notifications/prompts/list_changed', () => onChanged('prompts'))
      client.setNotificationHandler('notifications/resources/list_changed', () => onChanged('resources'))
      client.setNotificationHandler('notifications/resources/updated', ({ params }) => onUpdated(params.uri))
      if (isStandalone) {
        const lists = { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true }
        const subscription = await client.listen({ ...lists, resourceSubscriptions: [uri] })
        return () => subscription.close()
      }
      await client.subscribeResource({ uri })
      return () => client.unsubscribeResource({ uri })
    },
    terminate: async () => { if (transport instanceof Http2) await transport.terminateSession() },
    close: () => client.close()
  }
}

const STANDALONE = '2026-07-28'
const http2 = (url: string): Http2 => new Http2(new URL(`${url}/mcp`), { reconnectionOptions: FAST })

const inSessions: Record<string, Connect> = {
  'client 2.4 over Streamable HTTP': url => connect2(http2(url)),
  'sdk 1.32 over Streamable HTTP': url => connect1(new Http1(new URL(`${url}/mcp`), { reconnectionOptions: FAST }))
}

const perRequest: Record<string, Connect> = {
  'client 2.4 over Streamable HTTP, probing the version': url => connect2(http2(url), 'auto'),
  'client 2.4 over Streamable HTTP, pinned to 2026-07-28': url => connect2(http2(url), { pin: STANDALONE })
}

const overSse: Record<string, Connect> = {
  'client 2.4 over HTTP+SSE': url => connect2(new Sse2(new URL(`${url}/sse`))),
  'client 2.4 over HTTP+SSE, probing the version': url => connect2(new Sse2(new URL(`${url}/sse`)), 'auto'),
  'sdk 1.32 over HTTP+SSE': url => connect1(new Sse1(new URL(`${url}/sse`)))
}

const overHttp = { ...inSessions, ...perRequest }
const everyone = { ...overHttp, ...overSse }

interface Served {
  app: FastifyInstance
  url: string
  /** Lets `steps` take its next step. */
  go: () => void
  /** Why `parked` was ended. */
  reasons: unknown[]
}

async function serve (t: Test, options: McpOptions = {}): Promise<Served> {
  const app = await createApp(t, { streams: { retry: 10 }, ...options })
  const gates = [gate(), gate()]
  const [first, second] = gates.map(({ opened }) => opened)
  const reasons: unknown[] = []
  app.mcp.tool('echo', { input: z.object({ text: z.string() }), output: z.object({ said: z.string() }) }, ({ text }) => ({ said: text }))
  app.mcp.tool('steps', {}, async function * () {
    yield 'one '
    await first
    yield 'two '
    await second
    return 'three'
  })
  app.mcp.tool('parked', {}, async function * (_args, { signal }) {
    yield 'parked'
    await once(signal, 'abort')
    reasons.push(signal.reason.code)
  })
  offerMore(app)
  return { app, url: await listen(app), go: () => gates.shift()?.open(), reasons }
}

/** What asks, and what is no tool. */
function offerMore (app: FastifyInstance): void {
  const size = z.object({ size: z.enum(['S', 'L']) })
  const ask = async ({ ask, sample, roots }: ToolContext): Promise<string> => {
    const [form, page] = await Promise.all([ask('size', 'Which size?', size), ask.url('page', 'Sign in', 'https://example.com/')])
    const { model } = await sample('title', { messages: [{ role: 'user', content: { type: 'text', text: 'Title?' } }], maxTokens: 10 })
    const [root] = await roots('roots')
    return [form.action === 'accept' && form.content.size, page.action, model, root?.name].join(' ')
  }
  app.mcp.tool('asks', {}, (_args, ctx) => ask(ctx))
  app.mcp.prompt('asks', {}, (_args, ctx) => ask(ctx))
  app.mcp.resource('asks://it', {}, (_variables, ctx) => ask(ctx))
  app.mcp.prompt('greet', { title: 'Greet', input: z.object({ name: z.string() }), complete: { name: () => ['Ann', 'Anton'] } }, ({ name }) => `Greet ${name}`)
  app.mcp.resource('docs://readme', { name: 'readme', mimeType: 'text/markdown' }, () => '# Read me')
  app.mcp.resource('docs://pages/{page}', { name: 'page' }, ({ page }) => new Uint8Array(Buffer.from(page)))
}

const TOOLS = ['asks', 'echo', 'parked', 'steps']

/** Connects a peer that is closed before the server is. */
async function meet (t: Test, connectPeer: Connect, url: string): Promise<Peer> {
  const peer = await within(connectPeer(url), 'a peer to connect')
  t.after(() => peer.close())
  return peer
}

const ALL_STEPS = [{ type: 'text', text: 'one two three' }]

for (const [name, connectPeer] of Object.entries(everyone)) {
  const isStandalone = name in perRequest

  t.test(`${name} lists tools, pings and calls`, async t => {
    const { app, url } = await serve(t)
    const peer = await meet(t, connectPeer, url)
    t.strictSame(await peer.list(), TOOLS)
    t.equal(peer.ping === undefined, isStandalone)
    await peer.ping?.()
    const { content, structuredContent } = await peer.call('echo', { text: 'h\u00e9 \u2028\r\n\u{1f600}' })
    t.strictSame(structuredContent, { said: 'h\u00e9 \u2028\r\n\u{1f600}' })
    t.match(content, [{ type: 'text' }])
    await t.rejects(peer.call('nobody'), { code: -32602, message: /nobody/ })
    t.equal(app.mcp.stats().sessions, isStandalone ? 0 : 1, 'all of it is one session, or none')
  })

  t.test(`${name} is told of progress while the tool still runs`, async t => {
    const { url, go } = await serve(t)
    const peer = await meet(t, connectPeer, url)
    const messages: unknown[] = []
    // The tool goes on only when its last chunk has reached the client. (The official clients lose progress that arrives
    // over HTTP+SSE in one packet with the result.)
    const { content } = await within(peer.call('steps', {}, {
      onprogress: ({ message }) => {
        messages.push(message)
        go()
      }
    }), 'the result')
    t.strictSame(messages, ['one ', 'two '])
    t.strictSame(content, ALL_STEPS)
  })

  t.test(`${name} cancels a call, and the tool knows`, async t => {
    const { app, url, reasons } = await serve(t)
    const peer = await meet(t, connectPeer, url)
    const controller = new AbortController()
    await t.rejects(peer.call('parked', {}, { signal: controller.signal, onprogress: () => controller.abort() }))
    await until(() => reasons.length > 0, 'the tool to be told')
    t.strictSame(reasons, [isStandalone ? 'FST_MCP_CLIENT_GONE' : 'FST_MCP_CANCELLED'])
    await until(() => app.mcp.stats().calls === 0, 'the call to end')
    t.strictSame(await peer.list(), TOOLS, 'the client goes on')
  })

  t.test(`${name} is asked for forms, pages, a model's words and folders`, async t => {
    const { app, url } = await serve(t)
    const peer = await meet(t, connectPeer, url)
    const answer = 'L accept m work'
    const all = ['form', 'url', 'sample', 'roots']
    t.match(await within(peer.call('asks'), 'the tool'), { content: [{ type: 'text', text: answer }] })
    // The two that are asked together may be answered in any order.
    t.strictSame(peer.asked.splice(0).sort(), [...all].sort())
    t.match(await within(peer.prompt('asks'), 'the prompt'), { messages: [{ role: 'user', content: { type: 'text', text: answer } }] })
    t.strictSame(peer.asked.splice(0).sort(), [...all].sort())
    t.match(await within(peer.read('asks://it'), 'the resource'), { contents: [{ uri: 'asks://it', text: answer }] })
    t.strictSame(peer.asked.splice(0).sort(), [...all].sort())
    await until(() => app.mcp.stats().calls === 0, 'the calls to end')
    t.equal(app.mcp.stats().questions, 0)
  })

  t.test(`${name} gets prompts, resources, templates and suggestions`, async t => {
    const { url } = await serve(t)
    const peer = await meet(t, connectPeer, url)
    t.match(await peer.prompts(), { prompts: [{ name: 'asks' }, { name: 'greet', title: 'Greet', arguments: [{ name: 'name', required: true }] }] })
    t.match(await peer.prompt('greet', { name: 'Ann' }), { messages: [{ role: 'user', content: { type: 'text', text: 'Greet Ann' } }] })
    await t.rejects(peer.prompt('greet', {}), { code: -32602 })
    t.strictSame((await peer.complete('greet', 'name', 'An')).completion.values, ['Ann', 'Anton'])
    t.match(await peer.resources(), { resources: [{ uri: 'asks://it' }, { uri: 'docs://readme', name: 'readme', mimeType: 'text/markdown' }] })
    t.match(await peer.templates(), { resourceTemplates: [{ uriTemplate: 'docs://pages/{page}', name: 'page' }] })
    t.match(await peer.read('docs://readme'), { contents: [{ uri: 'docs://readme', mimeType: 'text/markdown', text: '# Read me' }] })
    t.match(await peer.read('docs://pages/one'), { contents: [{ uri: 'docs://pages/one', blob: Buffer.from('one').toString('base64') }] })
    await t.rejects(peer.read('docs://nothing'), { message: /docs:\/\/nothing/ })
  })

  t.test(`${name} is told of lists that change and of the resource that it watches`, async t => {
    const { app, url } = await serve(t)
    const peer = await meet(t, connectPeer, url)
    const told: string[] = []
    const stop = await peer.watch('docs://readme', list => told.push(list), uri => told.push(uri))
    // Over Streamable HTTP the client opens its own stream after it was initialized.
    await until(() => app.mcp.stats().streams === 1, 'the stream of the session')
    const hears = async (what: string, change: () => unknown): Promise<void> => {
      change()
      await until(() => told.includes(what), what)
      t.strictSame(told.splice(0), [what])
    }
    await hears('tools', () => app.mcp.tool('late', {}, () => 'late'))
    await hears('prompts', () => app.mcp.prompt('late', {}, () => 'late'))
    await hears('resources', () => app.mcp.resource('docs://late', {}, () => 'late'))
    app.mcp.resourceUpdated('docs://late')
    await hears('docs://readme', () => app.mcp.resourceUpdated('docs://readme'))
    t.ok((await peer.list()).includes('late'))
    await stop()
    if (isStandalone) await until(() => app.mcp.stats().subscriptions === 0, 'the subscription to end')
    app.mcp.resourceUpdated('docs://readme')
    await peer.list()
    t.strictSame(told, [])
  })
}

for (const [name, connectPeer] of Object.entries(inSessions)) {
  t.test(`${name} comes back after its connection broke, and loses nothing of the call`, async t => {
    const { app, url, go } = await serve(t)
    const { url: wired, cut } = await wire(t, url)
    const peer = await meet(t, connectPeer, wired)
    const paths: string[] = []
    app.server.on('request', ({ method, headers }) => paths.push(`${method} ${'last-event-id' in headers ? 'resumed' : 'new'}`))
    const messages: unknown[] = []
    const { content } = await within(peer.call('steps', {}, {
      onprogress: ({ message }) => {
        messages.push(message)
        if (messages.length > 1) return
        cut()
        go()
        go()
      }
    }), 'the result')
    t.strictSame(messages, ['one ', 'two '], 'each chunk arrives once')
    t.strictSame(content, ALL_STEPS)
    t.ok(paths.includes('GET resumed'), 'the rest came by Last-Event-ID')
    t.equal(app.mcp.stats().sessions, 1)
  })

  t.test(`${name} ends its session, and its calls with it`, async t => {
    const { app, url, reasons } = await serve(t)
    const peer = await meet(t, connectPeer, url)
    const id = peer.sessionId() ?? ''
    t.match(id, /^[\w-]{24}$/)
    t.equal(peer.revision(), '2025-11-25')
    const { opened, open } = gate()
    peer.call('parked', {}, { onprogress: open }).catch(() => {})
    await within(opened, 'the call to run')
    await peer.terminate()
    await until(() => reasons.length > 0, 'the tool to be told')
    t.strictSame(reasons, ['FST_MCP_SESSION_ENDED'])
    t.match(app.mcp.stats(), { sessions: 0, calls: 0 })
    const { status } = await send(url, '/mcp', { method: 'DELETE', headers: { 'mcp-session-id': id } })
    t.equal(status, 404)
  })
}

for (const [name, connectPeer] of Object.entries(overHttp)) {
  t.test(`${name} works with a server that keeps no sessions`, async t => {
    const { url, go } = await serve(t, { sessions: false })
    const peer = await meet(t, connectPeer, url)
    t.equal(peer.sessionId(), undefined)
    t.strictSame(await peer.list(), TOOLS)
    const messages: unknown[] = []
    const { content } = await peer.call('steps', {}, {
      onprogress: ({ message }) => {
        messages.push(message)
        go()
      }
    })
    t.strictSame(messages, ['one ', 'two '])
    t.strictSame(content, ALL_STEPS)
  })
}

for (const [name, connectPeer] of Object.entries(perRequest)) {
  t.test(`${name} speaks 2026-07-28, and a connection that breaks ends its call`, async t => {
    const { app, url, reasons } = await serve(t)
    const { url: wired, cut } = await wire(t, url)
    const peer = await meet(t, connectPeer, wired)
    t.equal(peer.revision(), STANDALONE)
    t.equal(peer.sessionId(), undefined)
    // The client itself waits for its own time-out: no resuming, and no error either.
    peer.call('parked', {}, { onprogress: cut }).catch(() => {})
    await until(() => reasons.length > 0, 'the tool to be told')
    t.strictSame(reasons, ['FST_MCP_CLIENT_GONE'])
    await until(() => app.mcp.stats().calls === 0, 'the call to end')
    t.match((await peer.call('echo', { text: 'again' })).structuredContent, { said: 'again' }, 'the next call needs nothing of the last')
  })
}

for (const [name, connectPeer] of Object.entries(overSse)) {
  t.test(`${name} comes back without Last-Event-ID, and works on without a second initialize`, async t => {
    const { app, url } = await serve(t)
    const { url: wired, cut } = await wire(t, url)
    const peer = await meet(t, connectPeer, wired)
    const before = peer.endpoint()
    const methods: unknown[] = []
    app.server.on('request', ({ method, url }) => methods.push(`${method} ${url?.split('?')[0]}`))
    cut()
    await until(() => peer.endpoint() !== before, 'the client to come back')
    t.strictSame((await peer.call('echo', { text: 'again' })).content, [{ type: 'text', text: '{"said":"again"}' }])
    t.strictSame(methods, ['GET /sse', 'POST /messages'], 'nothing was initialized anew')
  })
}

t.test('an `eventsource` that lost its connection comes back to its session, and to the rest of its call', async t => {
  const { app, url, go } = await serve(t)
  const { url: wired, cut } = await wire(t, url)
  const source = new EventSource(`${wired}/sse`)
  t.after(() => source.close())
  const endpoints: string[] = []
  const messages: RpcMessage[] = []
  source.addEventListener('endpoint', ({ data }) => endpoints.push(data))
  source.addEventListener('message', ({ data }) => messages.push(JSON.parse(data)))
  const post = async (message: object): Promise<void> => {
    const { status } = await send(url, endpoints[0] ?? '', { method: 'POST', body: { jsonrpc: '2.0', ...message } })
    t.equal(status, 202)
  }
  const arrived = (count: number): Promise<void> => until(() => messages.length >= count, `message ${count}`)

  await until(() => endpoints.length === 1, 'the endpoint')
  await post({ id: 1, method: 'initialize', params: { protocolVersion: '2024-11-05', capabilities: {}, clientInfo: INFO } })
  await arrived(1)
  await post({ method: 'notifications/initialized' })
  await post({ id: 2, method: 'tools/call', params: { name: 'steps', arguments: {}, _meta: { progressToken: 'p' } } })
  await arrived(2)
  cut()
  // The rest is written while nobody is there.
  await until(() => app.mcp.stats().streams === 0, 'the server to notice')
  go()
  go()
  await arrived(4)
  t.equal(app.mcp.stats().sessions, 1)
  t.equal(new Set(endpoints).size, 1, 'the endpoint is told again, and is the same')
  t.match(messages, [
    { id: 1, result: { protocolVersion: '2024-11-05' } },
    { method: 'notifications/progress', params: { progressToken: 'p', message: 'one ' } },
    { method: 'notifications/progress', params: { progressToken: 'p', message: 'two ' } },
    { id: 2, result: { content: ALL_STEPS } }
  ])
  await post({ id: 3, method: 'ping' })
  await arrived(5)
  t.match(messages[4], { id: 3, result: {} })
  t.equal(messages.length, 5, 'nothing came twice')
})
