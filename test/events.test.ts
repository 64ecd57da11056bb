// What those who count refusals are told: each limit by its option, once, and auth by its code.
import type { AuthEvent, LimitEvent, LimitName, McpOptions } from 'fastify-mcp-sse'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { EVERYTHING } from './asking.ts'
import { Client, createApp, listen, send, SseClient, StatelessClient, until } from './client.ts'
import { hear } from './observer.ts'

const TOKEN = 'token-of-ada'
const auth = { tokens: [{ token: TOKEN, principal: 'ada' }] }
const AS = { headers: { authorization: `Bearer ${TOKEN}` } }
const ADA = '0:ada'
const PING = { jsonrpc: '2.0', id: 1, method: 'ping' }
const HELLO = { jsonrpc: '2.0', id: 'hello', method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'q', version: '1' } } }
const callOf = (id: string | number, name: string) => ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: {}, _meta: { progressToken: id } } })
const listenTo = (...resourceSubscriptions: string[]) => ({ jsonrpc: '2.0', id: 'l', method: 'subscriptions/listen', params: { notifications: { resourceSubscriptions } } })

interface Place { app: FastifyInstance, url: string }
type Come = (place: Place) => Promise<unknown>

async function subscribeTo (client: Client, ...uris: string[]): Promise<void> {
  for (const uri of uris) await client.request('resources/subscribe', { uri })
}

const post = (body: unknown): Come => ({ url }) => new Client(url, AS).post(body)
const wait: Come = async ({ app, url }) => {
  new StatelessClient(url, AS).post(callOf(1, 'wait')).catch(() => {})
  await until(() => app.mcp.stats().calls === 1, 'the call')
}
const ask: Come = async ({ url }) => {
  const client = await Client.connect(url, { ...AS, capabilities: EVERYTHING })
  const first = await client.stream(callOf(1, 'ask'))
  await first.message(({ method }) => method === 'roots/list')
  await client.post(callOf(2, 'ask'))
  await client.delete()
}
const session: Come = async ({ url }) => {
  const client = await Client.connect(url, AS)
  await subscribeTo(client, 'a:1')
  return client
}
const ticket: Come = ({ url }) => send(url, '/sse/ticket', { method: 'POST', ...AS })

/** `first` is within the limit, `then` is beyond it. */
const limits: [limit: LimitName, code: string, options: McpOptions, first: Come, then: Come, principal?: null][] = [
  ['sessions.max', 'FST_MCP_SESSIONS_FULL', { sessions: { max: 1 } }, post(HELLO), post(HELLO)],
  ['sessions.maxPerPrincipal', 'FST_MCP_QUOTA_EXCEEDED', { sessions: { maxPerPrincipal: 1 } }, post(HELLO), post(HELLO)],
  ['tickets.max', 'FST_MCP_TICKETS_FULL', { tickets: { max: 1 } }, ticket, ticket],
  ['tickets.maxPerPrincipal', 'FST_MCP_QUOTA_EXCEEDED', { tickets: { maxPerPrincipal: 1 } }, ticket, ticket],
  ['streams.max', 'FST_MCP_STREAMS_FULL', { streams: { max: 1 } }, ({ url }) => SseClient.connect(url, AS), ({ url }) => send(url, '/sse', AS)],
  ['streams.maxPerPrincipal', 'FST_MCP_QUOTA_EXCEEDED', { streams: { maxPerPrincipal: 1 } }, ({ url }) => SseClient.connect(url, AS), ({ url }) => send(url, '/sse', AS)],
  ['streams.buffer', 'FST_MCP_SUBSCRIPTIONS_FULL', { streams: { buffer: 3 } }, session, async ({ url }) => subscribeTo(await Client.connect(url, AS), 'a:1', 'a:2')],
  ['streams.buffer', 'FST_MCP_SUBSCRIPTIONS_FULL', { streams: { buffer: 3 } }, session, ({ url }) => new StatelessClient(url, AS).post(listenTo('a:1', 'a:2'))],
  ['limits.calls', 'FST_MCP_CALLS_FULL', { limits: { calls: 1 } }, wait, ({ url }) => new StatelessClient(url, AS).post(callOf(2, 'wait'))],
  ['limits.callsPerPrincipal', 'FST_MCP_QUOTA_EXCEEDED', { limits: { callsPerPrincipal: 1 } }, wait, ({ url }) => new StatelessClient(url, AS).post(callOf(2, 'wait'))],
  ['limits.callsPerSession', 'FST_MCP_CALLS_FULL', { limits: { callsPerSession: 1 } }, session, async ({ url }) => {
    const client = await Client.connect(url, { ...AS, revision: '2025-03-26' })
    await client.post([PING, { ...PING, id: 2 }])
  }],
  ['ask.max', 'FST_MCP_ASK_UNAVAILABLE', { ask: { max: 1 } }, session, ask],
  ['ask.maxPerPrincipal', 'FST_MCP_QUOTA_EXCEEDED', { ask: { maxPerPrincipal: 1 } }, session, ask],
  ['subscriptions.maxPerPrincipal', 'FST_MCP_SUBSCRIPTIONS_FULL', { subscriptions: { maxPerPrincipal: 1 } },
    ({ url }) => new StatelessClient(url, AS).stream(listenTo()), ({ url }) => new StatelessClient(url, AS).post(listenTo())],
  ['subscriptions.uris', 'FST_MCP_SUBSCRIPTIONS_FULL', { subscriptions: { uris: 1 } }, session, async ({ url }) => subscribeTo(await Client.connect(url, AS), 'a:1', 'a:2')],
  ['subscriptions.uris', 'FST_MCP_SUBSCRIPTIONS_FULL', { subscriptions: { uris: 1 } }, session, ({ url }) => new StatelessClient(url, AS).post(listenTo('a:1', 'a:2'))],
  ['rateLimit.max', 'FST_MCP_RATE_LIMITED', { rateLimit: { max: 1 } }, post(PING), post(PING)],
  ['rateLimit.max', 'FST_MCP_RATE_LIMITED', { rateLimit: { max: 1 }, auth: false }, post(PING), post(PING), null],
  ['rateLimit.maxPerAddress', 'FST_MCP_RATE_LIMITED', { rateLimit: { maxPerAddress: 1 } }, post(PING), post(PING), null],
  ['tool.rateLimit', 'FST_MCP_RATE_LIMITED', {}, ({ url }) => new StatelessClient(url, AS).call('dear'), ({ url }) => new StatelessClient(url, AS).post(callOf(2, 'dear'))],
  ['limits.body', 'FST_MCP_BODY_TOO_LARGE', { limits: { body: 100 } }, post(PING), post(' '.repeat(101))],
  ['limits.batch', 'FST_MCP_BATCH_INVALID', { limits: { batch: 1 } }, post([]), post([PING, PING])],
  ['limits.depth', 'FST_MCP_TOO_DEEP', { limits: { depth: 3 } }, post({ ...PING, params: { a: {} } }), post({ ...PING, params: { a: { b: {} } } })],
  ['limits.keys', 'FST_MCP_TOO_MANY_KEYS', { limits: { keys: 3 } }, post(PING), post({ ...PING, a: 1 })],
  ['limits.values', 'FST_MCP_TOO_MANY_VALUES', { limits: { values: 3 } }, post(PING), post({ ...PING, a: 1 })],
  ['limits.id', 'FST_MCP_ID_INVALID', { limits: { id: 3 } }, post({ ...PING, id: null }), post({ ...PING, id: 'four' })],
  ['limits.header', 'FST_MCP_HEADER_INVALID', { limits: { header: 512 } }, post(PING),
    ({ url }) => new Client(url, AS).post(PING, { 'mcp-session-id': 'x'.repeat(513) })]
]

for (const [index, [limit, code, options, first, then, principal = ADA]] of limits.entries()) {
  t.test(`${limit} is told with ${code}, once, and not before (${index})`, async t => {
    const server = `${limit} ${index}`
    const heard = hear<LimitEvent>(t, 'fastify-mcp-sse:limit', server)
    const app = await createApp(t, { auth, name: server, ...options })
    app.mcp.tool('wait', {}, (_args, { signal }) => new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))))
    app.mcp.tool('ask', {}, async (_args, { roots }) => { await roots('where') })
    app.mcp.tool('dear', { rateLimit: { max: 1, timeWindow: 60_000 } }, () => 'a')
    app.mcp.resource('a:1', {}, () => 'one')
    app.mcp.resource('a:2', {}, () => 'two')
    const place = { app, url: await listen(app) }
    await first(place)
    t.strictSame(heard, [])
    await then(place)
    t.strictSame(heard, [{ limit, code, principal, server }])
    await app.close()
  })
}

t.test('POSTs that wait for room on their stream are counted for their session', async t => {
  const heard = hear<LimitEvent>(t, 'fastify-mcp-sse:limit', 'waiting')
  const app = await createApp(t, { auth, name: 'waiting', limits: { callsPerSession: 1 }, streams: { buffer: 1_000 } })
  app.mcp.tool('flood', {}, async function * () {
    for (;;) yield 'x'.repeat(10_000)
  })
  const client = await SseClient.connect(await listen(app), AS)
  client.stream.body.pause()
  await client.post(callOf('flood', 'flood'))
  const replies = Array.from({ length: 4 }, (_, id) => client.post({ ...PING, id }))
  await until(() => heard.length >= 1, 'a refusal')
  t.match(heard[0], { limit: 'limits.callsPerSession', code: 'FST_MCP_CALLS_FULL', principal: ADA })
  await app.close()
  await Promise.allSettled(replies)
})

t.test('a refused auth is told by its code, without the token, and nothing else is', async t => {
  const heard = hear<AuthEvent>(t, 'fastify-mcp-sse:auth', 'door')
  const limited = hear<LimitEvent>(t, 'fastify-mcp-sse:limit', 'door')
  const verify = (token: string) => {
    if (token === 'down') throw new TypeError('down')
    return token === 'poor' ? { id: 'poor' } : null
  }
  const app = await createApp(t, { name: 'door', auth: { tokens: [{ token: TOKEN, principal: 'ada', scopes: ['mcp'] }], verify, scopes: ['mcp'] } })
  const come = async (authorization?: string) => (await send(app, '/mcp', { method: 'POST', headers: { ...(authorization !== undefined && { authorization }) }, body: PING })).status
  t.strictSame([await come(), await come('Bearer wrong'), await come('Bearer poor'), await come('Bearer down'), await come(`Bearer ${TOKEN}`)], [401, 401, 403, 500, 400])
  t.strictSame(heard.map(({ code }) => code), ['FST_MCP_UNAUTHORIZED', 'FST_MCP_TOKEN_INVALID', 'FST_MCP_SCOPE_INSUFFICIENT'])
  t.strictSame(Object.keys(heard[0] ?? {}).sort(), ['code', 'server'])
  t.strictSame(limited, [])
})
