// How often clients may come, and how slowly.
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import rateLimit from '@fastify/rate-limit'
import Fastify, { type FastifyInstance } from 'fastify'
import mcp, { type McpOptions } from 'fastify-mcp-sse'
import t, { type Test } from 'tap'
import { Client, createApp, EventStream, listen, type Reply, send, SseClient, StatelessClient, until, within } from './client.ts'
import { DeafClient } from './sockets.ts'

const auth = { tokens: [{ token: 'ada', principal: 'ada' }, { token: 'bob', principal: 'bob' }] }
const as = (token: string) => ({ headers: { authorization: `Bearer ${token}` } })
const PING = { jsonrpc: '2.0', id: 'p', method: 'ping' }
const callOf = (id: string | number, name: string) => ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: {} } })
const MINUTE = 60_000

function limited (t: Test, reply: Reply, what: string, max: number, id?: unknown): void {
  const { status, headers, messages: [message] } = reply
  t.match({ status, message }, { status: 429, message: { id, error: { data: { code: 'FST_MCP_RATE_LIMITED' } } } }, what)
  t.match(message?.error?.message, new RegExp(`^Too many requests for one ${what}: come back in \\d+ s$`))
  t.match(headers, { 'ratelimit-limit': `${max}`, 'ratelimit-remaining': '0' })
  t.ok(Number(headers['retry-after']) >= 1 && Number(headers['retry-after']) <= 60, 'it says when to come back')
  t.ok(Number(headers['ratelimit-reset']) >= 0)
}

t.test('without the option nobody is limited, and no header says so', async t => {
  const app = await createApp(t)
  for (let count = 0; count < 30; count++) t.equal((await new Client(app).post(PING)).status, 400)
  t.notOk(Object.keys((await new Client(app).post(PING)).headers).some(name => name.includes('ratelimit')))
})

t.test('wrong tokens are limited by address before they are looked at', async t => {
  let verified = 0
  const verify = (token: string) => {
    verified++
    return token === 'good' ? { id: 'ada' } : null
  }
  const app = await createApp(t, { auth: { verify }, rateLimit: { max: 100, maxPerAddress: 3, timeWindow: MINUTE } })
  for (let count = 0; count < 3; count++) {
    t.match(await new Client(app, as('bad')).post(PING), { status: 401, headers: { 'ratelimit-limit': '3', 'ratelimit-remaining': `${2 - count}` } })
  }
  limited(t, await new Client(app, as('bad')).post(PING), 'address', 3)
  limited(t, await new Client(app, as('good')).post(PING), 'address', 3)
  limited(t, await new Client(app).post(PING), 'address', 3)
  limited(t, await send(app, '/sse', { headers: { accept: 'text/event-stream' } }), 'address', 3)
  t.equal(verified, 3)
})

t.test('each principal has a bucket of its own, whatever its addresses, and it fills again', async t => {
  const app = await createApp(t, { auth, rateLimit: { max: 2, timeWindow: 400 } }, { trustProxy: true })
  const come = (token: string, ip: string) => new Client(app, { headers: { ...as(token).headers, 'x-forwarded-for': ip } }).post(PING)
  const first = await come('ada', '10.0.0.1')
  t.match(first, { status: 400, headers: { 'ratelimit-limit': '2', 'ratelimit-remaining': '1' } })
  t.equal((await come('ada', '10.0.0.2')).status, 400)
  limited(t, await come('ada', '10.0.0.3'), 'principal', 2)
  t.equal((await come('bob', '10.0.0.3')).status, 400)
  await new Promise(resolve => setTimeout(resolve, 450))
  t.equal((await come('ada', '10.0.0.3')).status, 400)
})

t.test('without auth addresses are counted: IPv6 by its /64, and as the proxy tells them', async t => {
  const app = await createApp(t, { auth: false, rateLimit: { max: 1, timeWindow: MINUTE } }, { trustProxy: true })
  const come = (ip: string) => send(app, '/mcp', { method: 'POST', headers: { accept: 'application/json', 'x-forwarded-for': ip }, body: PING })
  t.equal((await come('2001:db8:0:1::1')).status, 400)
  limited(t, await come('2001:db8:0:1:ffff::2'), 'address', 1)
  t.equal((await come('2001:db8:0:2::1')).status, 400)
  t.equal((await come('192.0.2.1')).status, 400)
  limited(t, await come('::ffff:192.0.2.1'), 'address', 1)
})

t.test('without `trustProxy` nobody can take another address', async t => {
  const app = await createApp(t, { auth: false, rateLimit: { max: 1 } })
  const come = (ip: string) => send(app, '/mcp', { method: 'POST', headers: { accept: 'application/json', 'x-forwarded-for': ip }, body: PING })
  t.equal((await come('192.0.2.1')).status, 400)
  limited(t, await come('192.0.2.2'), 'address', 1)
})

t.test('clients of a local socket, which have no address, are counted together', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'mcp-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const app = await createApp(t, { auth: false, rateLimit: { max: 2, timeWindow: MINUTE } })
  const path = join(folder, 'socket')
  await app.listen({ path })
  const statuses = []
  for (let count = 0; count < 3; count++) {
    const client = await DeafClient.ask(path, '/mcp', { method: 'POST', body: PING })
    statuses.push((await client.readAll()).split(' ')[1])
  }
  t.strictSame(statuses, ['400', '400', '429'])
})

t.test('a tool has a limit of its own in every era, checked before it runs and told with the id of the request', async t => {
  const app = await createApp(t, { auth })
  let ran = 0
  const handle = app.mcp.tool('dear', { rateLimit: { max: 2, timeWindow: MINUTE } }, async function * () {
    ran++
    yield 'a'
  })
  app.mcp.tool('cheap', {}, () => 'b')
  const url = await listen(app)
  const client = await Client.connect(url, as('ada'))
  const alone = new StatelessClient(url, as('ada'))
  const older = await Client.connect(url, { ...as('ada'), revision: '2025-03-26' })
  const sse = await SseClient.connect(url, as('ada'))
  t.match(await client.post(callOf(1, 'dear')), { status: 200, headers: { 'ratelimit-limit': '2', 'ratelimit-remaining': '1' } })
  t.equal((await alone.post(callOf(2, 'dear'))).status, 200)
  limited(t, await client.post(callOf('c', 'dear')), 'principal with tool "dear"', 2, 'c')
  limited(t, await alone.post(callOf('a', 'dear')), 'principal with tool "dear"', 2, 'a')
  limited(t, await sse.post(callOf('s', 'dear')), 'principal with tool "dear"', 2, 's')
  t.equal((await older.post([callOf('x', 'cheap'), callOf('y', 'dear')])).status, 429, 'a batch is refused as a whole')
  t.equal(ran, 2)
  t.match(await client.call('cheap'), { result: {} })
  t.match(await client.request('ping'), { result: {} })
  t.match(await client.call('none'), { error: { data: { code: 'FST_MCP_TOOL_UNKNOWN' } } })
  t.match((await client.post({ ...callOf(3, 'dear'), params: { name: 7 } })).messages, [{ error: { data: { code: 'FST_MCP_PARAMS_INVALID' } } }])
  const other = await Client.connect(url, as('bob'))
  t.match(await other.call('dear'), { result: {} }, 'another principal has calls of its own')
  handle.update({ rateLimit: undefined })
  t.match(await client.call('dear'), { result: {} })
  const { result } = await client.request('tools/list')
  t.notOk('rateLimit' in result.tools[0], 'and clients are not told of it')
  await sse.close()
})

t.test('without auth a tool is limited by address', async t => {
  const app = await createApp(t, { auth: false, sessions: false })
  app.mcp.tool('dear', { rateLimit: { max: 1, timeWindow: MINUTE } }, () => 'a')
  const headers = { accept: 'application/json, text/event-stream' }
  const come = (remoteAddress: string) => app.inject({ method: 'POST', url: '/mcp', remoteAddress, headers, payload: callOf(1, 'dear') })
  t.strictSame([(await come('192.0.2.1')).statusCode, (await come('192.0.2.1')).statusCode, (await come('192.0.2.2')).statusCode], [200, 429, 200])
})

t.test('two servers of one app count apart', async t => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(rateLimit, { global: false })
  for (const prefix of ['/a', '/b']) {
    await app.register(async scope => { await scope.register(mcp, { prefix, auth: false, rateLimit: { max: 1 } }) })
  }
  const come = async (path: string) => (await new Client(app, { path }).post(PING)).status
  t.strictSame([await come('/a/mcp'), await come('/a/mcp'), await come('/b/mcp'), await come('/b/mcp')], [400, 429, 400, 429])
})

type Register = (app: FastifyInstance) => unknown

/** An app whose host may have a rate limit, and a route of its own. */
async function withHost (t: Test, before: Register, after: Register, options: McpOptions): Promise<FastifyInstance> {
  const app = Fastify()
  t.after(() => app.close())
  await before(app)
  await app.register(mcp, options)
  await after(app)
  app.get('/own', async () => 'own')
  await app.ready()
  return app
}

const nothing: Register = () => {}
const hosts: Record<string, [before: Register, after: Register, own: number[]]> = {
  'no plugin': [nothing, nothing, [200, 200, 200, 200, 200]],
  'the plugin for all, before': [app => app.register(rateLimit, { max: 4, timeWindow: MINUTE, allowList: ['127.0.0.1x'], ban: 0 }), nothing, [200, 200, 200, 200, 403]],
  'the plugin for all, after': [nothing, app => app.register(rateLimit, { max: 4, timeWindow: MINUTE }), [200, 200, 200, 200, 429]],
  'the plugin for some, before': [app => app.register(rateLimit, {
    global: false, max: 1, timeWindow: 1, allowList: () => true, keyGenerator: () => 'everyone', skipOnError: true
  }), nothing, [200, 200, 200, 200, 200]],
  'the plugin for some, after': [nothing, app => app.register(rateLimit, { global: false, max: 1 }), [200, 200, 200, 200, 200]]
}

for (const [name, [before, after, own]] of Object.entries(hosts)) {
  t.test(`our limits hold on our routes, and only there, when the host has ${name}`, async t => {
    const app = await withHost(t, before, after, { auth, rateLimit: { max: 2, timeWindow: MINUTE } })
    app.mcp.tool('dear', { rateLimit: { max: 1, timeWindow: MINUTE } }, () => 'a')
    const statuses = []
    for (let count = 0; count < 5; count++) statuses.push((await app.inject({ url: '/own', remoteAddress: '192.0.2.9' })).statusCode)
    t.strictSame(statuses, own, 'the routes of the host are the host\'s')
    const come = (token: string) => new Client(app, as(token)).post(PING)
    t.strictSame([(await come('ada')).status, (await come('ada')).status], [400, 400])
    limited(t, await come('ada'), 'principal', 2)
    t.equal((await come('bob')).status, 400)
  })
}

t.test('a host whose limiter lets somebody in has its way, and one whose store fails is told so', async t => {
  const lenient = await withHost(t, app => {
    app.decorate('createRateLimit', () => async () => ({ isAllowed: true as const, key: 'x' }))
  }, nothing, { auth: false, rateLimit: { max: 1 } })
  for (let count = 0; count < 3; count++) t.equal((await new Client(lenient).post(PING)).status, 400)

  const broken = await withHost(t, app => {
    app.decorate('createRateLimit', () => async () => { throw new Error('password') })
  }, nothing, { auth: false, rateLimit: { max: 1 } })
  const { status, text } = await new Client(broken).post(PING)
  t.equal(status, 500)
  t.notMatch(text, 'password')
})

t.test('a client that is slow with its request is ended by `requestTimeout` of the host, and a stream is not', async t => {
  // Node swaps the two when the one for headers is the longer.
  const server = { requestTimeout: 300, http: { headersTimeout: 200, connectionsCheckingInterval: 50 } } as const
  const app = await createApp(t, { streams: { keepAlive: 100 } }, server)
  const url = await listen(app)
  const client = await Client.connect(url)
  const stream = await client.get()
  const sse = await EventStream.open(url, '/sse')
  const slow = async (text: string): Promise<string> => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1').setEncoding('latin1')
    t.teardown(() => socket.destroy())
    let told = ''
    socket.on('data', data => { told += data }).on('error', () => {})
    socket.write(text)
    const drip = setInterval(() => { if (socket.writable) socket.write('x') }, 60)
    await within(once(socket, 'close'), 'the end of a slow client')
    clearInterval(drip)
    return told
  }
  t.match(await slow('POST /mcp HTTP/1.1\r\nHost: localhost\r\nX-A: '), /^HTTP\/1\.1 408 /, 'headers that never end')
  t.match(await slow('POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"a":"'), /^HTTP\/1\.1 408 /, 'a body that never ends')
  t.match(app.mcp.stats(), { calls: 0, streams: 2 })
  await until(() => stream.comments.includes('keep-alive') && sse.comments.includes('keep-alive'), 'the streams to live on')
  await Promise.all([stream.close(), sse.close()])
})
