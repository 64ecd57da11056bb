// What Prometheus is told: each figure moves with what it counts, and labels stay few whatever clients send.
import Fastify, { type FastifyInstance } from 'fastify'
import mcp, { errorCodes, McpError, type McpOptions, ToolError } from 'fastify-mcp-sse'
import { metrics, type MetricsOptions } from 'fastify-mcp-sse/metrics'
import { redisStore } from 'fastify-mcp-sse/redis'
import { Registry } from 'prom-client'
import t, { type Test } from 'tap'
import { Client, createApp, listen, send, SseClient, until } from './client.ts'
import { connectors, startRedis, withRedis } from './redis-server.ts'
import { serve } from './sockets.ts'

let count = 0
const nextName = (): string => `measured-${++count}`

/** An app that serves its own figures. */
async function measured (t: Test, options: McpOptions = {}, given: MetricsOptions = {}) {
  const server = nextName()
  const app = await createApp(t, { name: server, ...options })
  await app.register(metrics, given)
  return { app, server, figure: figureOf(app, server) }
}

/** The value of one series, undefined where there is none. */
function figureOf (app: FastifyInstance, server: string) {
  return async (name: string, labels: Record<string, string> = {}): Promise<number | undefined> => {
    const { status, text } = await send(app, '/metrics')
    t.equal(status, 200)
    const wanted = Object.entries({ server, ...labels }).map(([label, value]) => `${label}="${value}"`)
    const line = text.split('\n').find(line => line.startsWith(`mcp_server_${name}{`) && wanted.every(pair => line.includes(pair)))
    return line === undefined ? undefined : Number(line.slice(line.lastIndexOf(' ') + 1))
  }
}

t.test('calls are counted by method, tool and outcome, with what they sent', async t => {
  const { app, figure } = await measured(t)
  app.mcp.tool('say', {}, async function * () {
    yield 'one '
    yield 'two'
  })
  app.mcp.tool('sorry', {}, () => { throw new ToolError('no') })
  const client = await Client.connect(app)
  await client.call('say', {}, 'p')
  await client.call('say', {}, 'p')
  await client.call('sorry')
  app.mcp.tool('bug', {}, () => { throw new TypeError('no') })
  app.mcp.tool('own', {}, () => { throw new McpError(4711, 'mine') })
  await client.call('bug')
  await client.call('own')
  await client.request('tools/list')
  await client.request('no/such')
  const calls = (labels: Record<string, string>) => figure('operation_duration_seconds_count', labels)
  t.equal(await calls({ method: 'tools/call', tool: 'say', outcome: 'ok' }), 2)
  t.equal(await calls({ method: 'tools/call', tool: 'sorry', outcome: 'tool_error' }), 1)
  t.equal(await calls({ method: 'tools/list', tool: '', outcome: 'ok' }), 1)
  t.equal(await calls({ method: 'other', outcome: 'error' }), 1)
  const errors = (labels: Record<string, string>) => figure('call_errors_total', labels)
  t.equal(await errors({ tool: 'bug', code: 'FST_MCP_INTERNAL' }), 1)
  t.equal(await errors({ tool: 'own', code: 'McpError' }), 1, 'numbers of the application are no labels')
  t.equal(await errors({ tool: '', code: 'FST_MCP_METHOD_NOT_FOUND' }), 1)
  t.equal(await errors({ tool: 'sorry' }), undefined, 'what a tool says on purpose is no fault')
  t.equal(await figure('time_to_first_chunk_seconds_count', { tool: 'say' }), 2)
  t.equal(await figure('time_to_first_chunk_seconds_count', { tool: 'sorry' }), undefined)
  t.equal(await figure('chunks_total', { tool: 'say' }), 4)
  t.ok((await figure('sent_bytes_total', { tool: 'say' }) ?? 0) > 300)
  t.equal(await figure('blocked_seconds_total', { tool: 'sorry' }), 0)
})

t.test('whatever clients call, only tools that are registered become labels, and no more than `maxTools`', async t => {
  const { app, figure } = await measured(t, {}, { maxTools: 2 })
  for (const name of ['a', 'b', 'c']) app.mcp.tool(name, {}, () => name)
  // Refuses before anybody has looked whether there is such a tool.
  app.mcp.use({ onCall ({ target }) { if (target?.startsWith('x')) throw new ToolError('no') } })
  const client = await Client.connect(app)
  for (const name of ['x1', 'x2', 'a', 'b', 'c', 'a', 'nobody']) await client.call(name)
  const calls = (tool: string, outcome: string) => figure('operation_duration_seconds_count', { method: 'tools/call', tool, outcome })
  t.equal(await calls('a', 'ok'), 2)
  t.equal(await calls('b', 'ok'), 1)
  t.equal(await calls('c', 'ok'), undefined)
  t.equal(await calls('other', 'ok'), 1)
  t.equal(await calls('other', 'tool_error'), 2)
  t.equal(await calls('other', 'error'), 1)
})

t.test('gauges show what is going on now, and go with their server', async t => {
  const registry = new Registry()
  const watcher = Fastify()
  t.after(() => watcher.close())
  await watcher.register(metrics, { registry })
  const { app, peer } = await serve(t, '2025-11-25', { name: nextName(), sessions: { replay: { bytes: 1_000 } } })
  const server = `measured-${count}`
  const figure = figureOf(watcher, server)
  app.mcp.tool('flood', { collect: false }, async function * () {
    for (;;) yield 'x'.repeat(50_000)
  })
  t.equal(await figure('sessions'), 0)
  t.equal(await figure('ready'), 1)
  const { deaf, cancel } = await (await peer()).startDeaf('flood')
  await until(() => app.mcp.stats().queued > 50_000, 'a full stream')
  t.equal(await figure('sessions'), 1)
  t.equal(await figure('streams'), 1)
  t.equal(await figure('calls_in_progress'), 1)
  t.ok((await figure('queued_bytes') ?? 0) > 50_000)
  await cancel()
  deaf.close()
  await until(() => app.mcp.stats().calls === 0, 'the end of the call')
  await app.mcp.drain()
  t.equal(await figure('ready'), 0)
  t.equal(await figure('calls_in_progress'), 0)
  await app.close()
  t.equal(await figure('sessions'), undefined)
  await watcher.close()
  t.strictSame(registry.getMetricsAsArray(), [], 'and nothing stays in the registry of the application')
})

t.test('limits, refused tokens, resumed streams, gaps and broken connections are counted', async t => {
  const { app, figure } = await measured(t, {
    auth: { tokens: [{ token: 'of-ada', principal: 'ada' }] }, sessions: { maxPerPrincipal: 1, replay: { events: 2 } }
  })
  app.mcp.tool('long', {}, async function * () {
    for (let chunk = 0; chunk < 4; chunk++) yield `${chunk}`
  })
  const url = await listen(app)
  const headers = { authorization: 'Bearer of-ada' }
  const client = await Client.connect(url, { headers })
  await client.post({ jsonrpc: '2.0', id: 'again', method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'x', version: '1' } } })
  t.equal((await send(url, '/mcp', { method: 'POST', body: {}, headers: { authorization: 'Bearer of-eve' } })).status, 401)
  const { events } = await client.post({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'long', _meta: { progressToken: 'p' } } })
  await (await client.get(events.at(-2)?.id)).close()
  await (await client.get(events.at(0)?.id)).close()
  const first = await client.get()
  app.mcp.tool('new', {}, () => '')
  const { id } = await first.next()
  const second = await client.get(id)
  t.equal(await figure('limits_hit_total', { limit: 'sessions.maxPerPrincipal' }), undefined, 'an initialize within its own session is none')
  t.equal(await figure('auth_failures_total', { code: 'FST_MCP_TOKEN_INVALID' }), 1)
  t.equal(await figure('resumes_total'), 3)
  t.equal(await figure('replayed_events_total'), 2)
  t.equal(await figure('gaps_total'), 1)
  t.equal(await figure('kicks_total', { reason: 'replaced' }), 1)
  await second.close()
  await new Client(url, { headers }).post({ jsonrpc: '2.0', id: 1, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'x', version: '1' } } })
  t.equal(await figure('limits_hit_total', { limit: 'sessions.maxPerPrincipal' }), 1)
})

t.test('what Redis and other nodes take is measured', withRedis, async t => {
  const redis = await startRedis(t)
  const name = nextName()
  const start = async (): Promise<FastifyInstance> => {
    const { client, close } = await connectors.ioredis(redis.port)
    t.teardown(close)
    return createApp(t, { name, health: '/health', store: redisStore(client) })
  }
  const [a, b] = [await start(), await start()]
  await a.register(metrics)
  const sse = await SseClient.open(await listen(a))
  const posted = await send(await listen(b), sse.endpoint, { method: 'POST', body: { jsonrpc: '2.0', id: 7, method: 'ping' } })
  t.equal(posted.status, 202)
  t.match(await sse.stream.message(({ id }) => id === 7), { result: {} })
  t.match(JSON.parse((await send(a, '/health')).text).node, /^\w+$/, 'a probe names the node')
  const { text } = await send(a, '/metrics')
  t.match(text, /mcp_server_store_duration_seconds_count\{command="EVALSHA",failed="false"\} [1-9]/)
  t.match(text, /mcp_server_route_duration_seconds_count\{kind="\w+",outcome="ok"\} 1/)
  await sse.close()
})

const guards: [given: MetricsOptions, headers: Record<string, string>, status: number, code?: string][] = [
  [{}, {}, 200],
  [{}, { 'x-forwarded-for': '203.0.113.7' }, 403, 'FST_MCP_ADDRESS_FORBIDDEN'],
  [{ addresses: ['10.0.0.0/8'] }, {}, 403, 'FST_MCP_ADDRESS_FORBIDDEN'],
  [{ addresses: ['10.0.0.0/8', '127.0.0.1', '::1'] }, { 'x-forwarded-for': '10.2.3.4' }, 200],
  [{ addresses: ['10.0.0.0/8', '127.0.0.1'] }, { forwarded: 'for="[2001:db8::1]:47"' }, 403, 'FST_MCP_ADDRESS_FORBIDDEN'],
  [{ addresses: ['2001:db8::/32', '127.0.0.1'] }, { forwarded: 'for="[2001:db8::1]:47"' }, 200],
  [{ addresses: ['127.0.0.1'] }, { 'x-real-ip': '::ffff:127.0.0.1' }, 200],
  [{ addresses: ['127.0.0.1', '10.0.0.1'] }, { 'x-forwarded-for': '10.0.0.1:4711, [::ffff:10.0.0.1]:80' }, 200],
  [{ addresses: ['127.0.0.1'] }, { 'x-forwarded-for': 'unknown' }, 403, 'FST_MCP_ADDRESS_FORBIDDEN'],
  [{ token: 'secret' }, {}, 401, 'FST_MCP_UNAUTHORIZED'],
  [{ token: 'secret' }, { authorization: 'Bearer wrong' }, 401, 'FST_MCP_TOKEN_INVALID'],
  [{ token: 'secret' }, { authorization: 'Basic secret' }, 401, 'FST_MCP_TOKEN_INVALID'],
  [{ token: 'secret' }, { authorization: 'bearer secret', 'x-forwarded-for': '203.0.113.7' }, 200],
  [{ token: 'secret', addresses: ['10.0.0.0/8'] }, { authorization: 'Bearer secret' }, 403, 'FST_MCP_ADDRESS_FORBIDDEN']
]

for (const [given, headers, status, code] of guards) {
  t.test(`${JSON.stringify(given)} answers ${status} to ${JSON.stringify(headers)}`, async t => {
    const { app } = await measured(t, {}, given)
    const answer = await send(app, '/metrics', { headers })
    t.equal(answer.status, status)
    t.equal(answer.headers['www-authenticate'], status === 401 ? 'Bearer' : undefined)
    if (code !== undefined) t.equal(JSON.parse(answer.text).code, code)
    else t.match(answer.headers, { 'content-type': /^text\/plain; version=0\.0\.4/, 'cache-control': 'no-store' })
  })
}

t.test('a path, a prefix and a registry of your own', async t => {
  const registry = new Registry()
  const app = Fastify()
  t.after(() => app.close())
  await app.register(mcp, { name: nextName() })
  await app.register(metrics, { registry, prefix: '/ops', path: '/figures', logLevel: 'error' })
  t.match((await send(app, '/ops/figures')).text, /mcp_server_sessions/)
  const other = Fastify()
  t.after(() => other.close())
  const kept = new Registry()
  await other.register(metrics, { registry: kept, path: false })
  t.equal((await send(other, '/metrics')).status, 404)
  t.match(await kept.metrics(), /mcp_server_sessions/)
})

for (const [given, reason] of [
  [{ path: 'metrics' }, /`metrics.path`/],
  [{ path: false }, /needs a `registry`/],
  [{ token: 'two words' }, /`metrics.token` must be a token without spaces, got a secret$/],
  [{ addresses: ['nowhere'] }, /`metrics.addresses` must hold addresses and subnets such as 10.0.0.0\/8, got "nowhere"/],
  [{ addresses: ['10.0.0.0/99'] }, /got "10.0.0.0\/99"/],
  [{ addresses: [] }, /`metrics.addresses`/],
  [{ registry: {} }, /must be a Registry of prom-client/],
  [{ maxTools: -1 }, /`metrics.maxTools`/],
  [{ tokens: [] }, /`metrics.tokens` is not an option/]
] as const) {
  t.test(`${JSON.stringify(given)} is refused at boot`, async t => {
    const app = Fastify()
    t.after(() => app.close())
    await t.rejects(async () => app.register(metrics, given as never), { code: errorCodes.FST_MCP_OPTION_INVALID().code, message: reason })
  })
}
