// A server that drains still serves, and lets nobody down who can come back.
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'
import mcp, { memoryStore } from 'fastify-mcp-sse'
import t from 'tap'
import { ACCEPT, Client, createApp, EventStream, listen, read, open, send, SseClient, until, within } from './client.ts'
import { gate, serve, TRANSPORTS } from './sockets.ts'
import { overriding, storeWith } from './stores.ts'

const PATIENT = { drain: { timeout: 20_000 } }
const initialize = { jsonrpc: '2.0', id: 1, method: 'initialize', params: { protocolVersion: '2025-11-25' } }
const post = (url: string, body: unknown, headers = {}) => send(url, '/mcp', { method: 'POST', body, headers })

for (const transport of TRANSPORTS) {
  t.test(`on ${transport} a call in progress comes to its end while the server drains`, async t => {
    const { app, peer } = await serve(t, transport, PATIENT)
    const door = gate()
    app.mcp.tool('late', {}, async function * () {
      yield 'one'
      await door.opened
      yield ' two'
    })
    const call = await (await peer()).start('late', {}, 1)
    await call.progress()
    let isDrained = false
    const drained = app.mcp.drain().then(() => { isDrained = true })
    await turn()
    t.notOk(isDrained)
    door.open()
    t.match(await call.answer(), { result: { content: [{ text: 'one two' }] } })
    await within(drained, 'the drain')
    await call.stream.closed
    t.match(app.mcp.stats(), { streams: 0, calls: 0 })
  })

  t.test(`on ${transport} a call that outlasts the drain is answered with an error`, async t => {
    const { app, peer } = await serve(t, transport, { drain: { timeout: 50 } })
    let reason: unknown
    app.mcp.tool('hangs', {}, async function * (_args, { signal }) {
      yield 'one'
      await new Promise<void>(resolve => signal.addEventListener('abort', () => {
        reason = signal.reason.code
        resolve()
      }))
    })
    const call = await (await peer()).start('hangs', {}, 1)
    await call.progress()
    await within(app.mcp.drain(), 'the drain')
    t.match(await call.answer(), { error: { data: { code: 'FST_MCP_CLOSING' } } })
    t.equal(reason, 'FST_MCP_CLOSING')
    t.match(app.mcp.stats(), { calls: 0 })
  })
}

t.test('`app.close()` drains where nobody did, and one drain is enough', async t => {
  const { app, peer } = await serve(t, '2025-11-25', PATIENT)
  const door = gate()
  app.mcp.tool('late', {}, async function * () {
    yield 'one'
    await door.opened
  })
  const call = await (await peer()).start('late', {}, 1)
  await call.progress()
  const closed = app.close()
  t.equal(app.mcp.drain(), app.mcp.drain())
  door.open()
  t.match(await call.answer(), { result: { content: [{ text: 'one' }] } })
  await within(closed, 'the end of app.close()')
})

t.test('as long as Fastify waits for its plugins calls may go on, and with `pluginTimeout: 0` for the whole drain', async t => {
  for (const { pluginTimeout, text, code } of [{ pluginTimeout: 0, text: 'late' }, { pluginTimeout: 2_200, code: 'FST_MCP_CLOSING' }]) {
    const app = Fastify({ pluginTimeout })
    t.after(() => app.close())
    await app.register(mcp, PATIENT)
    const door = gate()
    app.mcp.tool('late', {}, async (_args, { signal }) => {
      signal.addEventListener('abort', () => door.open())
      await door.opened
      return 'late'
    })
    const client = await Client.connect(await listen(app))
    const call = client.call('late')
    await until(() => app.mcp.stats().calls === 1, 'the call')
    const closed = app.close()
    // Longer than the other has.
    const timer = setTimeout(() => door.open(), 600)
    const { result, error } = await call
    clearTimeout(timer)
    t.equal(result?.content[0].text, text, `${pluginTimeout}`)
    t.equal(error?.data.code, code, `${pluginTimeout}`)
    await within(closed, 'the end of app.close()')
  }
})

t.test('a stream that opens late in a drain ends with the server, and its store is asked nothing after that', async t => {
  const [door, asked]: [ReturnType<typeof gate>, string[]] = [gate(), []]
  let isClosed = false
  let isCreating = false
  const store = storeWith(({ sessions, close }) => ({
    sessions: overriding(sessions, {
      async create (record, maxPerPrincipal) {
        isCreating = true
        await door.opened
        return sessions.create(record, maxPerPrincipal)
      },
      delete (id) {
        if (isClosed) asked.push(id)
        return sessions.delete(id)
      }
    }),
    close () {
      isClosed = true
      return close()
    }
  }))
  // Its client has no longer than this to come back.
  const app = await createApp(t, { store, sessions: { replay: { window: 50 } } })
  const url = await listen(app)
  const opening = SseClient.open(url)
  await until(() => isCreating, 'the store')
  await within(app.mcp.drain(), 'the drain')
  door.open()
  const { stream } = await opening
  await within(Promise.resolve(app.close()), 'the end of app.close()')
  await stream.closed
  t.ok(isClosed)
  await sleep(150)
  t.strictSame(asked, [])
})

t.test('a server that drains takes answers and cancellations, and refuses new sessions and streams', async t => {
  const app = await createApp(t, PATIENT)
  app.mcp.tool('asks', {}, async (_args, { roots }) => JSON.stringify(await roots('where')))
  app.mcp.tool('waits', {}, (_args, { signal }) => new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))))
  const url = await listen(app)
  const client = await Client.connect(url, { capabilities: { roots: {} } })
  const stream = await client.stream({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'asks' } })
  const question = await stream.message(({ method }) => method === 'roots/list')
  const waits = client.post({ jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name: 'waits' } })
  await until(() => app.mcp.stats().calls === 2, 'both calls')
  const drained = app.mcp.drain()

  const refused = await post(url, initialize)
  t.match(refused, { status: 503, headers: { 'retry-after': /\d/ }, messages: [{ error: { data: { code: 'FST_MCP_CLOSING' } } }] })
  const get = await send(url, '/mcp', { headers: { accept: ACCEPT, 'mcp-session-id': client.sessionId ?? '' } })
  t.match(get, { status: 503, messages: [{ error: { data: { code: 'FST_MCP_CLOSING' } } }] })
  await t.rejects(open(url, '/sse').then(read), 'an EventSource comes back after a connection that broke, not after a refusal')

  t.equal((await client.post({ jsonrpc: '2.0', id: question.id, result: { roots: [] } })).status, 202)
  t.match(await stream.message(), { id: 1, result: { content: [{ text: '[]' }] } })
  t.equal((await client.post({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 2 } })).status, 202)
  await within(drained, 'the drain')
  t.equal((await waits).status, 202)
  t.match(await client.post({ jsonrpc: '2.0', id: 3, method: 'ping' }), { status: 200 }, 'it serves until it is closed')
})

t.test('idle streams end last, and are told when to come back', async t => {
  const app = await createApp(t, { ...PATIENT, streams: { retry: 1_234 } })
  const door = gate()
  app.mcp.tool('late', {}, () => door.opened)
  const url = await listen(app)
  const client = await Client.connect(url)
  const idle = await EventStream.open(url, '/mcp', { headers: { 'mcp-session-id': client.sessionId ?? '', 'mcp-protocol-version': '2025-11-25' } })
  const sse = await SseClient.connect(url)
  const call = client.post({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'late' } })
  await until(() => app.mcp.stats().calls === 1, 'the call')
  for (const stream of [idle, sse.stream]) stream.retry = undefined
  const drained = app.mcp.drain()
  app.mcp.tool('news', {}, () => '')
  t.match(await idle.message(), { method: 'notifications/tools/list_changed' }, 'what is told meanwhile arrives')
  t.equal(app.mcp.stats().streams, 2)
  door.open()
  t.equal((await call).status, 200)
  await within(drained, 'the drain')
  await Promise.all([idle.closed, sse.stream.closed])
  for (const { retry } of [idle, sse.stream]) t.equal(retry, 1_234)
})

t.test('a server that has drained opens no subscription', async t => {
  const app = await createApp(t, PATIENT)
  await app.mcp.drain()
  const _meta = {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1.0.0' },
    'io.modelcontextprotocol/clientCapabilities': {}
  }
  const body = { jsonrpc: '2.0', id: 1, method: 'subscriptions/listen', params: { notifications: { toolsListChanged: true }, _meta } }
  const headers = { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'subscriptions/listen', accept: ACCEPT }
  t.match(await send(app, '/mcp', { method: 'POST', body, headers }), { messages: [{ error: { data: { code: 'FST_MCP_CLOSING' } } }] })
})

t.test('without sessions there are only calls to wait for', async t => {
  const app = await createApp(t, { ...PATIENT, sessions: false })
  const door = gate()
  app.mcp.tool('late', {}, () => door.opened)
  const url = await listen(app)
  const call = post(url, { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'late' } })
  await until(() => app.mcp.stats().calls === 1, 'the call')
  const drained = app.mcp.drain()
  door.open()
  t.equal((await call).status, 200)
  await within(drained, 'the drain')
})

t.test('probes are answered with counts, and a server that drains is not ready', async t => {
  const lines: string[] = []
  const app = Fastify({ logger: { level: 'info', stream: { write: line => lines.push(line) } } })
  t.after(() => app.close())
  await app.register(mcp, { health: '/health', ready: '/ready', auth: { tokens: [{ token: 't', principal: 'p' }] }, ...PATIENT })
  const url = await listen(app)
  const well = { status: 'ok', timestamp: /^20.*Z$/, uptime: Number, sessions: 0, streams: 0, calls: 0 }
  for (const path of ['/health', '/ready']) {
    const reply = await send(url, path)
    t.match(reply, { status: 200, headers: { 'cache-control': 'no-store' } }, path)
    t.match(JSON.parse(reply.text), well, path)
  }
  t.notOk(lines.some(line => line.includes('/health')), 'probes do not fill the log')
  await app.mcp.drain()
  t.equal((await send(url, '/health')).status, 200)
  const reply = await send(url, '/ready')
  t.equal(reply.status, 503)
  t.match(JSON.parse(reply.text), { ...well, status: 'draining' })
})

t.test('a server whose store is away is well, but not ready', async t => {
  let problem: string | null = null
  const store = memoryStore()
  const app = await createApp(t, { health: '/health', ready: '/ready', store: { open: limits => ({ ...store.open(limits), problem: () => problem }) } })
  const status = async (path: string) => JSON.parse((await send(app, path)).text).status
  t.equal(await status('/ready'), 'ok')
  problem = 'Redis is not connected'
  t.equal(await status('/ready'), problem)
  t.equal(await status('/health'), 'ok')
})

t.test('paths that nobody named are nobody\'s', async t => {
  const app = await createApp(t)
  for (const path of ['/health', '/ready']) t.equal((await send(app, path)).status, 404)
})
