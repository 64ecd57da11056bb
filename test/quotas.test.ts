// What one principal may hold at once, and that it is given back however it ends.
import t, { type Test } from 'tap'
import { type McpOptions, memoryStore } from '../lib/index.ts'
import { StreamPool } from '../lib/sse/pool.ts'
import { Tally } from '../lib/sse/tally.ts'
import { EVERYTHING } from './asking.ts'
import { Client, createApp, EventStream, listen, open, read, type Reply, SseClient, StatelessClient, until } from './client.ts'
import { DeafClient, gate } from './sockets.ts'
import { overriding, storeWith } from './stores.ts'

const auth = { tokens: [{ token: 'ada', principal: 'ada' }, { token: 'bob', principal: 'bob' }] }
const as = (token: string) => ({ headers: { authorization: `Bearer ${token}` } })
const HELLO = { jsonrpc: '2.0', id: 'hello', method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'q', version: '1' } } }
const callOf = (id: string | number, name: string) => ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: {}, _meta: { progressToken: id } } })

async function serve (t: Test, options: McpOptions = {}) {
  const app = await createApp(t, { auth, ...options })
  const door = gate()
  app.mcp.tool('wait', {}, async (_args, { signal }) => {
    await Promise.race([door.opened, new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))])
    return 'waited'
  })
  app.mcp.tool('stream', {}, async function * (_args, { signal }) {
    yield 'on'
    await Promise.race([door.opened, new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))])
    return 'off'
  })
  return { app, door, url: await listen(app) }
}

function refused (t: Test, reply: Reply, message: string, id: unknown): void {
  t.match(reply, { status: 429, headers: { 'retry-after': '5' }, messages: [{ id, error: { message, data: { code: 'FST_MCP_QUOTA_EXCEEDED' } } }] }, message)
}

t.test('a tally forgets whoever holds nothing, and nobody holds nothing', async t => {
  const tally = new Tally()
  tally.add(null)
  tally.remove(null)
  t.equal(tally.of(null), 0)
  for (let index = 0; index < 3; index++) tally.add('__proto__')
  tally.remove('__proto__')
  t.strictSame([tally.of('__proto__'), tally.of('a'), tally.size], [2, 0, 1])
  tally.remove('__proto__')
  tally.remove('__proto__')
  t.equal(tally.size, 0)
})

t.test('a pool has room for each owner until its share is used, and again once a stream is closed', async t => {
  const pool = new StreamPool({ server: 'docs', buffer: 10, keepAlive: 1_000, stall: 1_000, max: 3, maxPerPrincipal: 2 })
  t.after(() => pool.close())
  const open = (owner: string) => pool.open({ owner, closed () {} })
  const streams = [open('a'), open('a')]
  t.throws(() => pool.admit('a'), { code: 'FST_MCP_QUOTA_EXCEEDED', message: 'One principal may hold 2 streams at once, and this one does' })
  t.strictSame([pool.hasRoom('a'), pool.hasRoom('b'), pool.hasRoom(null)], [false, true, true])
  open('b')
  t.throws(() => pool.admit('b'), { code: 'FST_MCP_STREAMS_FULL' })
  streams[0]?.destroy()
  await until(() => pool.hasRoom('a'), 'room')
  t.doesNotThrow(() => pool.admit('a'))
})

t.test('sessions are counted by principal, over both transports, and given back by DELETE, idle time and the loss of a stream', async t => {
  const { app, url } = await serve(t, { sessions: { maxPerPrincipal: 2, idle: 300, replay: { window: 10 } } })
  const full = 'One principal may hold 2 sessions at once, and this one does'
  const fresh = () => new Client(url, as('ada')).post(HELLO)
  const first = await Client.connect(url, as('ada'))
  const sse = await SseClient.connect(url, as('ada'))
  refused(t, await fresh(), full, 'hello')
  const denied = await EventStream.open(url, '/sse', as('ada'))
  t.equal(denied.status, 429, 'on /sse too')
  t.equal(app.mcp.stats().streams, 1)
  const other = await Client.connect(url, as('bob'))
  t.type(other.sessionId, 'string', 'another principal is not kept out')

  t.equal((await first.delete()).status, 200)
  t.equal((await fresh()).status, 200, 'DELETE makes room')
  refused(t, await fresh(), full, 'hello')
  await sse.close()
  await until(() => app.mcp.stats().sessions < 3, 'the end of the session of a lost stream')
  t.equal((await fresh()).status, 200, 'and so does a stream that is lost')
  refused(t, await fresh(), full, 'hello')
  await new Promise(resolve => setTimeout(resolve, 350))
  t.equal((await fresh()).status, 200, 'and so does idleness, before anything sweeps')
})

t.test('a flood of sessions leaves no more than the quota, and nobody else notices', async t => {
  const { app, url } = await serve(t, { sessions: { maxPerPrincipal: 5 } })
  const replies = await Promise.all(Array.from({ length: 60 }, () => new Client(url, as('ada')).post(HELLO)))
  t.strictSame([200, 429].map(status => replies.filter(reply => reply.status === status).length), [5, 55])
  t.equal(app.mcp.stats().sessions, 5)
  t.type((await Client.connect(url, as('bob'))).sessionId, 'string')
})

t.test('without auth there is nobody to count for', async t => {
  const options: McpOptions = {
    auth: false, sessions: { maxPerPrincipal: 1 }, streams: { maxPerPrincipal: 1 }, limits: { callsPerPrincipal: 1 }, ask: { maxPerPrincipal: 1 }
  }
  const { app, url, door } = await serve(t, options)
  const clients = [await Client.connect(url), await Client.connect(url)]
  const streams = await Promise.all(clients.map(client => client.stream(callOf(1, 'stream'))))
  t.strictSame(streams.map(({ status }) => status), [200, 200])
  t.match(app.mcp.stats(), { sessions: 2, streams: 2, calls: 2 })
  door.open()
  await Promise.all(streams.map(({ closed }) => closed))
})

t.test('streams are counted by principal, and given back when either side ends them', async t => {
  const { app, url, door } = await serve(t, { streams: { maxPerPrincipal: 2 }, limits: { callsPerPrincipal: 10 } })
  const client = await Client.connect(url, as('ada'))
  const alone = new StatelessClient(url, as('ada'))
  const full = 'One principal may hold 2 streams at once, and this one does'
  const listening = await client.get()
  const streaming = await client.stream(callOf('s', 'stream'))
  refused(t, await client.post(callOf('one more', 'stream')), full, 'one more')
  refused(t, await alone.post(callOf('alone', 'stream')), full, 'alone')
  refused(t, await alone.post({ jsonrpc: '2.0', id: 'l', method: 'subscriptions/listen', params: { notifications: { toolsListChanged: true } } }), full, 'l')
  t.equal((await client.get()).status, 429)
  t.equal((await EventStream.open(url, '/sse', as('ada'))).status, 429)
  t.match(await client.request('ping'), { result: {} }, 'what needs no stream goes on')
  const other = await Client.connect(url, as('bob'))
  const his = await other.get()
  t.equal(his.status, 200, 'another principal has streams of its own')

  await listening.close()
  await until(() => app.mcp.stats().streams === 2, 'the loss of a stream')
  const again = await client.get()
  t.equal(again.status, 200, 'a disconnect makes room')
  await client.delete()
  await Promise.all([again.closed, streaming.closed])
  await until(() => app.mcp.stats().streams === 1, 'the end of the session')
  const standing = await alone.stream({ jsonrpc: '2.0', id: 'l', method: 'subscriptions/listen', params: { notifications: { toolsListChanged: true } } })
  const direct = await alone.stream(callOf('d', 'stream'))
  t.strictSame([standing.status, direct.status], [200, 200], 'DELETE makes room')
  refused(t, await alone.post(callOf('alone', 'stream')), full, 'alone')
  door.open()
  await direct.closed
  await until(() => app.mcp.stats().streams === 2, 'the end of the call')
  t.equal((await alone.post(callOf('now', 'stream'))).status, 200, 'and so does an answer')
  await Promise.all([standing.close(), his.close()])
})

t.test('a call that was admitted while there was room answers in JSON when there is none left', async t => {
  const { app, url, door } = await serve(t, { streams: { maxPerPrincipal: 1, openAfter: 60_000 } })
  const client = await Client.connect(url, as('ada'))
  app.mcp.tool('later', {}, async function * () {
    await door.opened
    yield 'told'
  })
  const answer = client.post(callOf(1, 'later'))
  await until(() => app.mcp.stats().calls === 1, 'the call')
  const listening = await client.get()
  door.open()
  const { headers, messages } = await answer
  t.match(headers['content-type'], 'application/json')
  t.match(messages, [{ id: 1, result: { content: [{ text: 'told' }] } }])
  await listening.close()
})

t.test('calls in progress are counted by principal over sessions and eras, and given back by answers, cancelling, disconnects and the end of sessions', async t => {
  const { app, url, door } = await serve(t, { limits: { callsPerPrincipal: 2 }, sessions: { replay: { window: 10 } } })
  const full = 'One principal may hold 2 calls at once, and this one does'
  const one = await Client.connect(url, as('ada'))
  const two = await Client.connect(url, { ...as('ada'), revision: '2025-03-26' })
  const alone = new StatelessClient(url, as('ada'))
  const sse = await SseClient.connect(url, as('ada'))
  const other = await Client.connect(url, as('bob'))
  const busy = (calls: number) => until(() => app.mcp.stats().calls === calls, `${calls} calls`)

  const first = one.post(callOf(1, 'wait'))
  const second = await DeafClient.ask(url, '/mcp', alone.init('POST', {}, callOf(2, 'wait')))
  await busy(2)
  refused(t, await one.post(callOf('a', 'wait')), full, 'a')
  refused(t, await alone.post(callOf('b', 'wait')), full, 'b')
  refused(t, await sse.post(callOf('c', 'wait')), full, 'c')
  refused(t, await one.post({ jsonrpc: '2.0', id: 'd', method: 'ping' }), full, 'd')
  t.equal((await one.notify('notifications/initialized')).status, 202, 'what is no request is no call')
  const his = other.post(callOf('his', 'wait'))
  await busy(3)

  await one.cancel(1)
  t.equal((await first).messages.length, 0)
  await busy(2)
  t.equal((await two.post([callOf('x', 'wait'), callOf('y', 'wait')])).status, 429, 'a batch counts as what is in it')
  const ended = two.post(callOf('x', 'wait'))
  await busy(3)
  second.close()
  await busy(2)
  t.equal((await sse.post(callOf('e', 'wait'))).status, 202, 'a disconnect makes room')
  await busy(3)
  await two.delete()
  await ended
  await busy(2)
  await sse.close()
  await busy(1)
  t.match((await Promise.all(['f', 'g'].map(async id => (await one.post(callOf(id, 'nothing'))).status))), [200, 200], 'and calls that fail at once hold nothing')
  door.open()
  await his
  t.match(await Promise.all([one.post(callOf('h', 'wait')), one.post(callOf('i', 'wait'))]), [{ status: 200 }, { status: 200 }])
  t.equal(app.mcp.stats().calls, 0)
})

t.test('POSTs that wait for room on a stream of HTTP+SSE count as calls', async t => {
  const { app, url } = await serve(t, { limits: { callsPerPrincipal: 2 }, streams: { buffer: 1_000 } })
  app.mcp.tool('flood', {}, async function * () {
    for (;;) yield 'x'.repeat(50_000)
  })
  const client = await SseClient.connect(url, as('ada'))
  client.stream.body.pause()
  await client.post(callOf('flood', 'flood'))
  await new Promise(resolve => setTimeout(resolve, 300))
  let answered = 0
  const waiting = client.post({ jsonrpc: '2.0', id: 'waits', method: 'ping' }).finally(() => { answered++ })
  await new Promise(resolve => setTimeout(resolve, 100))
  t.equal(answered, 0)
  refused(t, await client.post({ jsonrpc: '2.0', id: 'too many', method: 'ping' }), 'One principal may hold 2 calls at once, and this one does', 'too many')
  await client.notify('notifications/cancelled', { requestId: 'flood' })
  client.stream.body.resume()
  t.equal((await waiting).status, 202)
  t.equal((await client.post({ jsonrpc: '2.0', id: 'now', method: 'ping' })).status, 202)
  await client.close()
})

t.test('questions that wait for an answer are counted, in all and by principal', async t => {
  const { app, url } = await serve(t, { ask: { max: 2, maxPerPrincipal: 1 } })
  app.mcp.tool('ask', {}, async (_args, { roots }) => JSON.stringify(await roots('where').catch((error: Error & { code: string }) => error.code)))
  const connect = (token: string) => Client.connect(url, { ...as(token), capabilities: EVERYTHING })
  const [ada, bob] = [await connect('ada'), await connect('bob')]
  const hers = await ada.stream(callOf(1, 'ask'))
  const { id } = await hers.message(({ method }) => method === 'roots/list')
  t.match((await ada.post(callOf(2, 'ask'))).messages.at(-1), { id: 2, result: { content: [{ text: '"FST_MCP_QUOTA_EXCEEDED"' }] } })
  const his = await bob.stream(callOf(1, 'ask'))
  await his.message(({ method }) => method === 'roots/list')
  t.match((await bob.post(callOf(2, 'ask'))).messages.at(-1), { id: 2, result: { content: [{ text: '"FST_MCP_ASK_UNAVAILABLE"' }] } })
  await bob.cancel(1)
  await until(() => app.mcp.stats().questions === 1, 'the end of a question')
  await ada.post({ jsonrpc: '2.0', id, result: { roots: [] } })
  t.match(await hers.message(message => message.id === 1), { result: { content: [{ text: '[]' }] } })
  const again = await ada.stream(callOf(3, 'ask'))
  t.ok(await again.message(({ method }) => method === 'roots/list'), 'an answer makes room')
  await ada.delete()
  await until(() => app.mcp.stats().questions === 0, 'the end of the session')
})

t.test('the memory store forgets principals without sessions', async t => {
  const store = memoryStore().open({ server: 'a', idle: 1_000, max: 10, replay: { events: 1, bytes: 1, window: 1 }, tickets: { ttl: 1_000, max: 1 } })
  t.after(() => store.close())
  const record = { transport: 'streamable-http', revision: '2025-11-25', initialized: true, capabilities: {}, logLevel: null, subscriptions: [], ticket: null, home: null } as const
  for (let index = 0; index < 50; index++) {
    t.equal(await store.sessions.create({ ...record, id: `${index}`, principal: 'p' }, 1), 'created')
    t.equal(await store.sessions.create({ ...record, id: 'more', principal: 'p' }, 1), 'quota')
    t.equal(await store.sessions.delete(`${index}`), true)
    t.equal(await store.sessions.delete(`${index}`), false)
  }
  t.equal(store.sessions.size, 0)
})

t.test('those who come while the store is asked are counted too', async t => {
  let asked = 0
  const door = gate()
  const store = storeWith(({ sessions }) => ({
    sessions: overriding(sessions, {
      async create (record, maxPerPrincipal) {
        asked++
        await door.opened
        return sessions.create(record, maxPerPrincipal)
      }
    })
  }))
  const { app, url } = await serve(t, { streams: { maxPerPrincipal: 2 }, store })
  const opening = Promise.all(Array.from({ length: 5 }, () => open(url, '/sse', as('ada'))))
  await until(() => asked === 5, 'all of them')
  door.open()
  const opened = await opening
  t.strictSame(opened.map(({ status }) => status).sort(), [200, 200, 429, 429, 429])
  for (const late of opened.filter(({ status }) => status === 429)) refused(t, await read(late), 'One principal may hold 2 streams at once, and this one does', null)
  await until(() => app.mcp.stats().sessions === 2, 'the end of the others')
  t.equal(app.mcp.stats().streams, 2)
})
