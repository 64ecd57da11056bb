// Three nodes of one server: what a client does at one is known at the others.
import { setTimeout as sleep } from 'node:timers/promises'
import type { SessionRecord, StoreEvent } from 'fastify-mcp-sse'
import type { Redis } from 'ioredis'
import t from 'tap'
import { Client, EventStream, type RpcMessage, send, SseClient, StatelessClient, until, within } from './client.ts'
import { at, lastId, LEASE, type Node, startTown, Turnstile } from './neighbours.ts'
import { hear } from './observer.ts'

const auth = { tokens: [{ token: 'ada', principal: 'ada', scopes: ['read'] }, { token: 'bob', principal: 'bob' }] }
const as = (token: string) => ({ headers: { authorization: `Bearer ${token}` } })
const methods = (stream: EventStream): string[] => stream.messages.flatMap(({ method }) => method ?? [])
/** The key of the one session that there is. */
const keyOf = async (admin: Redis): Promise<string> => String((await admin.keys('*:session:*'))[0])
/** Changes a record of which nobody is told. */
async function rewrite (admin: Redis, change: Partial<SessionRecord>): Promise<void> {
  const key = await keyOf(admin)
  await admin.set(key, JSON.stringify({ ...JSON.parse(String(await admin.get(key))), ...change }), 'KEEPTTL')
}
const updateOf = (uri: string) => ({ method, params }: RpcMessage): boolean => method === 'notifications/resources/updated' && params.uri === uri
const callOf = (id: string | number, name: string, args: object = {}) =>
  ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: args, _meta: { progressToken: id } } })

for (const driver of ['ioredis', 'redis'] as const) {
  t.test(`a session that began at one node is served by all, with ${driver}`, async t => {
    const { nodes: [a, b, c] } = await startTown(t, {
      driver,
      offer: ({ mcp }) => {
        mcp.tool('hang', {}, (_args, { signal }) => new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))))
        mcp.resource('doc:1', {}, () => 'one')
      }
    })
    const client = await Client.connect(a.url)
    t.match(await at(client, b).request('ping'), { result: {} })
    const listening = await at(client, c).get()
    t.match(await at(client, b).request('resources/subscribe', { uri: 'doc:1' }), { result: {} })
    t.match(await at(client, a).request('tools/list'), { result: { tools: [{ name: 'hang' }] } })
    a.app.mcp.resourceUpdated('doc:1')
    t.match(await listening.message(), { method: 'notifications/resources/updated', params: { uri: 'doc:1' } })
    b.app.mcp.tool('more', {}, () => '')
    t.match(await listening.message(), { method: 'notifications/tools/list_changed' })
    const call = at(client, a).post(callOf('h', 'hang'))
    await until(() => a.app.mcp.stats().calls === 1, 'the call')
    t.match(await send(b.url, '/mcp', { method: 'DELETE', headers: { 'mcp-session-id': 'unknown' } }), { status: 404 })
    t.equal((await at(client, b).delete()).status, 200)
    t.equal((await call).status, 202, 'its call has ended')
    t.equal(a.app.mcp.stats().calls, 0)
    await listening.closed
    for (const node of [a, b, c]) t.equal((await at(client, node).notify('x')).status, 404)
    t.equal(listening.messages.length, 2, 'each was told once')
  })
}

t.test('calls go by what their session says at other nodes while they run', async t => {
  const turnstile = new Turnstile()
  const { nodes: [a, b, c] } = await startTown(t, {
    offer: ({ mcp }) => {
      mcp.tool('speak', {}, async (_args, { log, signal }) => {
        await turnstile.through(signal)
        log.debug('said')
        return 'done'
      })
    }
  })
  const client = await Client.connect(c.url)
  await client.request('logging/setLevel', { level: 'error' })
  const calls = Array.from({ length: 6 }, (_, id) => at(client, a).post(callOf(`s${id}`, 'speak')))
  await until(() => a.app.mcp.stats().calls === 6, 'the calls')
  const listening = await at(client, a).get()
  await at(client, b).request('logging/setLevel', { level: 'debug' })
  // What is told to all comes after what was told before.
  b.app.mcp.tool('more', {}, () => '')
  await listening.message(({ method }) => method === 'notifications/tools/list_changed')
  await sleep(50)
  turnstile.let(6)
  for (const { messages } of await Promise.all(calls)) t.match(messages[0], { method: 'notifications/message', params: { data: 'said' } })
})

t.test('answers and cancellations find the call that waits for them', async t => {
  const { nodes: [a, b, c] } = await startTown(t, {
    offer: ({ mcp }) => {
      mcp.tool('asks', {}, async (_args, { roots }) => JSON.stringify(await roots('r')))
      mcp.tool('hang', {}, (_args, { signal }) => new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))))
    }
  })
  const client = await Client.connect(a.url, { capabilities: { roots: {} } })
  const asked = await client.stream(callOf('q', 'asks'))
  const { id } = await asked.message(({ method }) => method === 'roots/list')
  const unexpected = { status: 400, messages: [{ error: { data: { code: 'FST_MCP_RESPONSE_UNEXPECTED' } } }] }
  const answer = (id: unknown) => ({ jsonrpc: '2.0', id, result: { roots: [{ uri: 'file:///a' }] } })
  for (const other of [`${a.name}-999`, `${b.name}-1`, '00000000-1', 'x', 7]) t.match(await at(client, b).post(answer(other)), unexpected, String(other))
  const stranger = await Client.connect(b.url)
  t.match(await stranger.post(answer(id)), unexpected, 'of another session')
  t.equal((await at(client, c).post(answer(id))).status, 202)
  t.match(await asked.message(({ id }) => id === 'q'), { result: { content: [{ text: '[{"uri":"file:///a"}]' }] } })
  t.match(await at(client, c).post(answer(id)), unexpected, 'twice')

  const hanging = client.post(callOf('h', 'hang'))
  await until(() => a.app.mcp.stats().calls === 1, 'the call')
  t.equal((await at(client, b).cancel('nothing')).status, 202)
  t.equal((await stranger.cancel('h')).status, 202, 'of another session')
  t.equal(a.app.mcp.stats().calls, 1)
  t.equal((await at(client, c).notify('notifications/cancelled', { requestId: 'h', reason: 'enough' })).status, 202)
  t.equal((await hanging).status, 202)
})

t.test('what belongs to no call goes to one stream, the newest, at whatever node', async t => {
  const { nodes, nodes: [a, b, c], forge, admin, prefix } = await startTown(t, { options: { sessions: { replay: { window: 100 } } } })
  const client = await Client.connect(a.url)
  let count = 0
  /** Changes a list and tells which of the streams hear of it. */
  const heardBy = async (...streams: EventStream[]): Promise<boolean[]> => {
    const before = streams.map(stream => methods(stream).length)
    nodes[count % 3]?.app.mcp.tool(`tool${++count}`, {}, () => '')
    await until(() => streams.some((stream, index) => methods(stream).length > (before[index] ?? 0)), 'a stream that hears')
    await sleep(60)
    return streams.map((stream, index) => methods(stream).length > (before[index] ?? 0))
  }
  const first = await at(client, a).get()
  t.strictSame(await heardBy(first), [true])
  const second = await at(client, b).get()
  await sleep(30)
  t.strictSame(await heardBy(first, second), [false, true])
  const third = await at(client, c).get()
  await sleep(30)
  t.strictSame(await heardBy(first, second, third), [false, false, true])
  await second.close()
  await until(() => b.app.mcp.stats().streams === 0, 'the end of the second')
  await sleep(30)
  t.strictSame(await heardBy(first, third), [false, true], 'one that heard nothing leaves nobody anything')
  // As if the first had not known of the third.
  const { sessionId: session } = client
  await admin.publish(`${prefix}:all`, JSON.stringify({ kind: 'listening', session, isClaim: true, from: a.name }))
  await sleep(60)
  t.strictSame(await heardBy(first, third), [false, true], 'whoever hears says so to one that claims')
  await third.close()
  await until(() => c.app.mcp.stats().streams === 0, 'the end of the third')
  await sleep(160)
  t.strictSame(await heardBy(first), [true], 'the older hears again')

  for (let round = 0; round < 5; round++) {
    const both = await Promise.all([at(client, b).get(), at(client, c).get()])
    await sleep(30)
    t.strictSame((await heardBy(first, ...both)).filter(Boolean), [true], 'of two that came at once one hears')
    await Promise.all(both.map(stream => stream.close()))
    await until(() => b.app.mcp.stats().streams + c.app.mcp.stats().streams === 0, 'their end')
    await sleep(160)
    t.strictSame(await heardBy(first), [true])
  }

  // The node of the newest stream went without a word, and then the bus was broken.
  await forge(a, { kind: 'listening', session, from: '00000000' })
  await forge(a, { kind: 'deaf', session: 'unknown', from: '00000000' })
  await forge(a, { kind: 'listening', session: 'unknown', from: '00000000' })
  await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
  await sleep(LEASE)
  t.ok(methods(first).length > 0)
  t.strictSame(await heardBy(first), [true], 'after a gap somebody hears')
})

t.test('the loss of messages between nodes is made up for', async t => {
  const { nodes: [a], admin } = await startTown(t, {
    offer: ({ mcp }) => {
      mcp.resource('doc:1', {}, () => 'one')
      mcp.resource('doc:2', {}, () => 'two')
    }
  })
  const client = await Client.connect(a.url)
  const listening = await client.get()
  await client.request('resources/subscribe', { uri: 'doc:1' })
  const notifications = { resourcesListChanged: true, resourceSubscriptions: ['doc:2'] }
  const alone = await new StatelessClient(a.url).stream({ jsonrpc: '2.0', id: 'l', method: 'subscriptions/listen', params: { notifications } })
  await alone.message(({ method }) => method === 'notifications/subscriptions/acknowledged')
  await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
  for (const [stream, uri] of [[listening, 'doc:1'], [alone, 'doc:2']] as const) {
    await stream.message(({ method }) => method === 'notifications/resources/list_changed')
    await stream.message(({ method, params }) => method === 'notifications/resources/updated' && params.uri === uri)
    const told = stream.messages.flatMap(({ params }) => params?.uri ?? [])
    t.strictSame(told, [uri], 'of what nobody named nothing is told')
  }
  t.notOk(methods(listening).includes('notifications/tools/list_changed'), 'of a list that was never used nothing is told')
  await alone.close()
})

t.test('what was lost of a session itself is read again: what it subscribed to, and its end', async t => {
  const { nodes: [a], admin } = await startTown(t, {
    offer: ({ mcp }) => { mcp.resource('doc:1', {}, () => 'one') }
  })
  const client = await Client.connect(a.url)
  const listening = await client.get()
  const updates = (): number => listening.messages.filter(updateOf('doc:1')).length
  // As if another node had said so while nobody heard.
  await rewrite(admin, { subscriptions: ['doc:1'] })
  await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
  for (let tries = 0; tries < 400 && updates() === 0; tries++) {
    a.app.mcp.resourceUpdated('doc:1')
    await sleep(10)
  }
  t.ok(updates() > 0)
  await admin.del(await keyOf(admin))
  await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
  await within(listening.closed, 'its end')
  t.match(a.app.mcp.stats(), { streams: 0 })
})

t.test('sessions at work go on when Redis comes back with nothing', async t => {
  const { nodes: [a, b], admin } = await startTown(t)
  const client = await Client.connect(a.url)
  const listening = await client.get()
  const key = await keyOf(admin)
  await admin.flushall()
  t.equal((await at(client, b).notify('x')).status, 404)
  for (let tries = 0; tries < 400 && await admin.exists(key) === 0; tries++) await sleep(10)
  t.match(await at(client, b).request('ping'), { result: {} })
  b.app.mcp.tool('more', {}, () => '')
  await listening.message(({ method }) => method === 'notifications/tools/list_changed')
})

t.test('what is said right after a subscription at another node is heard', async t => {
  const { nodes: [a, b], admin, prefix } = await startTown(t, {
    offer: ({ mcp }) => { mcp.resource('doc:1', {}, () => 'one') }
  })
  const client = await Client.connect(a.url)
  const listening = await client.get()
  const { sessionId: session } = client
  const commands = hear<StoreEvent>(t, 'fastify-mcp-sse:store')
  const updates = (): number => listening.messages.filter(updateOf('doc:1')).length
  let count = 0
  /** What comes before this is heard when this is heard. */
  const heard = async (): Promise<number> => {
    const changes = (): number => methods(listening).filter(method => method === 'notifications/tools/list_changed').length
    const before = changes()
    b.app.mcp.tool(`tool${++count}`, {}, () => '')
    await until(() => changes() > before, 'the mark')
    return updates()
  }
  const forged = [{ kind: 'changed', session, uri: 'doc:1', from: '00000000' }, { kind: 'updated', uri: 'doc:1', from: '00000000' }]
  /** As if a node had said all this at once. */
  const sayAll = async (letters: object[]): Promise<unknown> => {
    const pipeline = admin.pipeline()
    for (const letter of letters) pipeline.publish(`${prefix}:all`, JSON.stringify(letter))
    return pipeline.exec()
  }
  /** What this node has asked of Redis before is answered before this is. */
  const ping = () => at(client, a).request('ping')

  // The record does not say so yet: it is believed until it was read.
  await sayAll(forged)
  await until(() => updates() === 1, 'the update')
  await ping()
  await sayAll(forged.slice(1))
  t.equal(await heard(), 1, 'the record was read, and says otherwise')

  // What cannot be read is believed for no longer.
  const key = await keyOf(admin)
  await admin.rename(key, 'aside')
  await admin.lpush(key, 'no record')
  const failed = (): number => commands.filter(({ command, failed }) => command === 'GET' && failed).length
  t.equal(failed(), 0)
  await sayAll(forged)
  await until(() => failed() === 1, 'the reading')
  t.equal(await heard(), 2)
  await sayAll(forged.slice(1))
  t.equal(await heard(), 2)
  await admin.rename('aside', key)

  await at(client, b).request('resources/subscribe', { uri: 'doc:1' })
  b.app.mcp.resourceUpdated('doc:1')
  await until(() => updates() === 3, 'the update')
  await at(client, b).request('resources/unsubscribe', { uri: 'doc:1' })
  await heard()
  await ping()
  b.app.mcp.resourceUpdated('doc:1')
  t.equal(await heard(), 3)
})

t.test('what other nodes change is told to those who may see it', async t => {
  const turn: { visible: boolean }[] = []
  const { nodes: [a, b] } = await startTown(t, {
    options: { auth },
    offer: ({ mcp }) => {
      turn.push({ visible: true })
      mcp.resource('doc:1', { scopes: ['read'] }, () => 'one')
      mcp.tool('secret', { visible: principal => principal?.id === 'ada' }, () => '')
    }
  })
  const [ada, bob] = await Promise.all([Client.connect(b.url, as('ada')), Client.connect(b.url, as('bob'))])
  const [hers, his] = await Promise.all([ada.get(), bob.get()])
  await ada.request('resources/subscribe', { uri: 'doc:1' })
  a.app.mcp.resourceUpdated('doc:1')
  await hers.message(({ method }) => method === 'notifications/resources/updated')
  a.app.mcp.tool('public', {}, () => '')
  b.app.mcp.tool('public', {}, () => '')
  for (const { app } of [b, a]) app.mcp.resource('doc:secret', { visible: principal => principal?.id === 'ada' }, () => '')
  await until(() => methods(hers).filter(method => method === 'notifications/resources/list_changed').length === 2, 'what both nodes said')
  await his.message(({ method }) => method === 'notifications/tools/list_changed')
  t.strictSame([...new Set(methods(his))], ['notifications/tools/list_changed'])
})

const sseAt = (client: SseClient, node: Node, body: unknown) => send(node.url, client.endpoint, { method: 'POST', headers: client.headers, body })
const hello = { protocolVersion: '2024-11-05', capabilities: {}, clientInfo: { name: 'raw', version: '1.0.0' } }
const answerTo = (id: unknown) => (message: RpcMessage) => message.id === id && message.method === undefined

t.test('a POST of HTTP+SSE may land at any node', async t => {
  const turnstile = new Turnstile()
  const { nodes: [a, b, c] } = await startTown(t, {
    options: { auth, limits: { callsPerSession: 2 } },
    offer: ({ mcp }) => {
      mcp.tool('wait', {}, async (_args, { signal }) => {
        await turnstile.through(signal)
        return 'done'
      })
      mcp.tool('who', {}, (_args, { principal, request }) => `${principal?.id} ${request.url}`)
      mcp.tool('asks', {}, async (_args, { roots }) => JSON.stringify(await roots('r')))
      mcp.tool('guarded', { scopes: ['write'] }, () => '')
    }
  })
  const client = await SseClient.open(a.url, as('ada'))
  t.equal((await sseAt(client, b, { jsonrpc: '2.0', id: 'i', method: 'initialize', params: { ...hello, capabilities: { roots: {} } } })).status, 202)
  t.match(await client.stream.message(answerTo('i')), { result: { protocolVersion: '2024-11-05' } })
  t.match(await sseAt(client, c, { jsonrpc: '2.0', id: 'j', method: 'initialize', params: hello }), {
    messages: [{ error: { data: { code: 'FST_MCP_SESSION_INITIALIZED' } } }]
  })
  const here = await sseAt(client, a, callOf('g', 'guarded'))
  const there = await sseAt(client, b, callOf('g', 'guarded'))
  t.match(there, { status: 403, messages: here.messages }, 'refusals are the same')
  t.equal(there.headers['www-authenticate'], here.headers['www-authenticate'])
  t.equal((await sseAt(client, b, callOf('w', 'who'))).status, 202)
  t.match(await client.stream.message(answerTo('w')), { result: { content: [{ text: 'ada /sse' }] } })
  t.equal((await sseAt(client, b, callOf('q', 'asks'))).status, 202)
  const { id } = await client.stream.message(({ method }) => method === 'roots/list')
  t.equal((await sseAt(client, c, { jsonrpc: '2.0', id, result: { roots: [] } })).status, 202)
  t.match(await client.stream.message(answerTo('q')), { result: { content: [{ text: '[]' }] } })

  t.equal((await sseAt(client, b, callOf(1, 'wait'))).status, 202)
  t.equal(a.app.mcp.stats().calls, 1, 'it runs where the stream is')
  t.match(await sseAt(client, c, callOf(1, 'wait')), { messages: [{ error: { data: { code: 'FST_MCP_ID_IN_USE' } } }] })
  t.equal((await sseAt(client, c, callOf(2, 'wait'))).status, 202)
  t.match(await sseAt(client, b, callOf(3, 'wait')), { status: 503, messages: [{ error: { data: { code: 'FST_MCP_CALLS_FULL' } } }] })
  t.equal((await sseAt(client, b, { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } })).status, 202)
  turnstile.let(1)
  t.match(await client.stream.message(answerTo(2)), { result: { content: [{ text: 'done' }] } })
  t.match(await send(b.url, client.endpoint, { method: 'POST', ...as('bob'), body: callOf(4, 'who') }), { status: 404 })
  await client.close()
})

t.test('a POST at another node waits until the stream has room', async t => {
  const { nodes: [a, b] } = await startTown(t, {
    options: { streams: { buffer: 20_000 } },
    offer: ({ mcp }) => {
      mcp.tool('flood', {}, async function * () { for (;;) yield 'x'.repeat(10_000) })
    }
  })
  const client = await SseClient.connect(a.url)
  client.stream.body.pause()
  t.equal((await sseAt(client, b, callOf('f', 'flood'))).status, 202)
  await sleep(200)
  let isAccepted = false
  const ping = sseAt(client, b, { jsonrpc: '2.0', id: 'p', method: 'ping' }).then(({ status }) => {
    isAccepted = true
    return status
  })
  await sleep(400)
  t.equal(isAccepted, false)
  t.equal((await sseAt(client, b, { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'f' } })).status, 202, 'a cancellation waits for nothing')
  client.stream.body.resume()
  t.equal(await ping, 202)
  await client.stream.message(answerTo('p'))
  await client.close()
})

t.test('a client of HTTP+SSE whose node is gone begins anew', async t => {
  const { nodes: [a, b, c] } = await startTown(t)
  const client = await SseClient.connect(a.url)
  const [session] = lastId(client.stream).split('_')
  a.lose()
  await sleep(LEASE + 50)
  const asked = Date.now()
  t.match(await sseAt(client, b, { jsonrpc: '2.0', id: 'p', method: 'ping' }), { status: 404 })
  t.ok(Date.now() - asked < 1_000, 'it learns within a second')
  const back = await EventStream.open(c.url, '/sse', { headers: { 'last-event-id': lastId(client.stream) } })
  const { event, data } = await back.next()
  t.equal(event, 'endpoint')
  t.notMatch(data, session ?? '')
  t.match(back.comments, [/this is a new one/])
  await back.close()
})

t.test('a client of HTTP+SSE whose stream is nowhere begins anew', async t => {
  const { nodes: [a, b, c], admin } = await startTown(t)
  const client = await SseClient.connect(a.url)
  const [session] = lastId(client.stream).split('_')
  // That node is there, and knows nothing of it.
  await rewrite(admin, { home: c.name })
  const back = await EventStream.open(b.url, '/sse', { headers: { 'last-event-id': lastId(client.stream) } })
  const { event, data } = await back.next()
  t.equal(event, 'endpoint')
  t.notMatch(data, session ?? '')
  await until(() => back.comments.length > 0, 'the reason')
  t.match(back.comments, [/this is a new one/])
  await within(client.stream.closed, 'the end of the old one, at all nodes')
  t.match(await sseAt(client, b, { jsonrpc: '2.0', id: 'p', method: 'ping' }), { status: 404 })
  await back.close()
})

t.test('the streams of a node that closes go on at the one that its clients come back to first', async t => {
  const { nodes: [a, b, c] } = await startTown(t, {
    options: { auth },
    offer: ({ mcp }) => { mcp.tool('secret', { visible: principal => principal?.id === 'ada' }, () => 'told') }
  })
  const client = await SseClient.connect(a.url, as('ada'))
  t.match(await client.call('secret'), { result: {} })
  const last = lastId(client.stream)
  await a.app.close()
  await client.stream.closed
  t.match(await sseAt(client, b, callOf('n', 'secret')), { status: 503 }, 'nobody has its stream yet')
  const headers = { 'last-event-id': last, ...as('ada').headers }
  const both = await Promise.all([b, c].map(node => EventStream.open(node.url, '/sse', { headers })))
  for (const stream of both) t.match(await stream.next(), { event: 'endpoint', data: client.endpoint })
  // Of two connections to one stream the newer stays.
  await Promise.race(both.map(({ closed }) => closed))
  await sleep(100)
  const stays = both.filter(({ body }) => !body.destroyed)
  t.equal(stays.length, 1)
  const [stream] = stays
  if (stream === undefined) return
  t.equal((await sseAt(client, b, callOf('m', 'secret'))).status, 202)
  t.match(await stream.message(answerTo('m')), { result: { content: [{ text: 'told' }] } })
  c.app.mcp.tool('other', { visible: principal => principal?.id === 'ada' }, () => '')
  b.app.mcp.tool('other', { visible: principal => principal?.id === 'ada' }, () => '')
  await stream.message(({ method }) => method === 'notifications/tools/list_changed')
  await stream.close()
})

for (const driver of ['ioredis', 'redis'] as const) {
  t.test(`tickets and limits hold for all nodes, with ${driver}`, async t => {
    const { nodes: [a, b, c] } = await startTown(t, { driver, options: { auth, rateLimit: { max: 8, timeWindow: 60_000 }, sessions: { max: 2 } } })
    const { text } = await send(a.url, '/sse/ticket', { method: 'POST', ...as('ada') })
    const { url }: { url: string } = JSON.parse(text)
    const stream = await EventStream.open(b.url, url)
    t.match(await stream.next(), { event: 'endpoint' })
    t.match(await send(c.url, url, { headers: { accept: 'text/event-stream' } }), { status: 401 }, 'once, at whatever node')
    const last = lastId(stream)
    await stream.close()
    const back = await EventStream.open(c.url, url, { headers: { 'last-event-id': last } })
    t.match(await back.next(), { event: 'endpoint' }, 'and back at any to its session')
    await back.close()

    const statuses: number[] = []
    for (const node of [a, b, c, a, b, c, a, b, c]) statuses.push((await send(node.url, '/mcp', { method: 'POST', ...as('bob'), body: { jsonrpc: '2.0', id: 1, method: 'ping' } })).status)
    t.strictSame(statuses.map(status => status === 429), [...Array(8).fill(false), true])
  })
}

t.test('questions and pages that begin at one node go on at another', async t => {
  const { nodes: [a, b, c] } = await startTown(t, {
    options: { ask: { keys: ['a key that is long enough for anybody'] }, lists: { pageSize: 1 } },
    offer: ({ mcp }) => {
      mcp.tool('asks', {}, async (_args, { roots }) => JSON.stringify(await roots('r')))
      mcp.tool('other', {}, () => '')
    }
  })
  const first = await new StatelessClient(a.url, { capabilities: { roots: {} } }).call('asks')
  t.match(first.result, { resultType: 'input_required', requestState: String })
  const next = new StatelessClient(b.url, { capabilities: { roots: {} } })
  t.match(await next.request('tools/call', { name: 'asks', arguments: {}, requestState: first.result.requestState, inputResponses: { r: { roots: [] } } }), {
    result: { content: [{ text: '[]' }] }
  })
  const { result: { nextCursor: cursor } } = await new StatelessClient(a.url).request('tools/list')
  t.match(await new StatelessClient(c.url).request('tools/list', { cursor }), { result: { tools: [{ name: 'other' }] } })
})
