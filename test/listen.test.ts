// Who subscribes is told of what it asked for, no more, and costs no more than it may: `subscriptions/listen` and the subscriptions of sessions.
import type { Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { McpOptions } from 'fastify-mcp-sse'
import { Mailbox } from '../lib/sse/mailbox.ts'
import { Client, createApp, envelope, type EventStream, listen, mirrors, type RpcMessage, send, SseClient, StatelessClient, until } from './client.ts'
import { DeafClient, messagesIn } from './sockets.ts'

const SUBSCRIPTION = 'io.modelcontextprotocol/subscriptionId'
const SERVER_INFO = { 'io.modelcontextprotocol/serverInfo': { name: 'test', version: '1.0.0' } }
const ALL = { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true }
const CHANGED = { tools: 'notifications/tools/list_changed', prompts: 'notifications/prompts/list_changed', resources: 'notifications/resources/list_changed' }
const UPDATED = 'notifications/resources/updated'

const listenOf = (notifications: unknown, id: unknown = 1): object => ({ jsonrpc: '2.0', id, method: 'subscriptions/listen', params: { notifications } })

/** Opens a subscription and reads its acknowledgement. */
async function subscribe (client: Client, notifications: object, id: unknown = 1): Promise<{ stream: EventStream, honoured: any }> {
  const stream = await client.stream(listenOf(notifications, id))
  const ack = await stream.message()
  return { stream, honoured: ack.params?.notifications }
}

/** What a subscription was told after its acknowledgement. */
const toldOf = ({ messages }: EventStream): (string | undefined)[] => messages.slice(1).map(({ method, params }) => params?.uri ?? method)

/** Something of every kind, so that every kind is declared. */
async function createOffering (t: Test, options: McpOptions = {}) {
  const app = await createApp(t, options)
  const tool = app.mcp.tool('tool', {}, () => 'x')
  const prompt = app.mcp.prompt('prompt', {}, () => 'x')
  const resource = app.mcp.resource('file:///a', {}, () => 'x')
  const template = app.mcp.resource('db://{table}', {}, () => 'x')
  await turn()
  return { app, tool, prompt, resource, template }
}

const AUTH = { tokens: [{ token: 'a', principal: 'a' }, { token: 'b', principal: 'b' }] }
const as = (token: string): { headers: Record<string, string> } => ({ headers: { authorization: `Bearer ${token}` } })

t.test('a subscription is acknowledged first, with what of it is honoured', async t => {
  const { app } = await createOffering(t)
  for (const target of [app, await listen(app)]) {
    const client = new StatelessClient(target)
    const cases: [asked: object, honoured: object][] = [
      [{}, {}], [{ toolsListChanged: true }, { toolsListChanged: true }], [ALL, ALL],
      [{ toolsListChanged: false, promptsListChanged: true }, { promptsListChanged: true }],
      [{ ...ALL, taskIds: ['x'], unknown: true, __proto: 1 }, ALL], [{ resourceSubscriptions: [] }, { resourceSubscriptions: [] }],
      [{ resourceSubscriptions: ['file:///a', 'db://users', 'file:///nope', 'garbage', '', 'file:///a'] }, { resourceSubscriptions: ['file:///a', 'db://users'] }],
      [{ resourceSubscriptions: [`db://${'x'.repeat(5_000)}`] }, { resourceSubscriptions: [] }]
    ]
    for (const [asked, honoured] of cases) {
      const stream = await client.stream(listenOf(asked, 'sub'))
      t.equal(stream.status, 200)
      t.match(stream.headers, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform', 'x-accel-buffering': 'no' })
      t.notOk('mcp-session-id' in stream.headers)
      t.strictSame(await stream.message(), {
        jsonrpc: '2.0', method: 'notifications/subscriptions/acknowledged', params: { notifications: honoured, _meta: { [SUBSCRIPTION]: 'sub' } }
      })
      t.strictSame(stream.comments, [], 'with nothing before it')
      t.equal(stream.events[0]?.id, undefined, 'and no event id')
      await stream.close()
    }
  }
})

t.test('lists of a kind that was never registered are not honoured', async t => {
  const app = await createApp(t)
  const { honoured } = await subscribe(new StatelessClient(app), { ...ALL, resourceSubscriptions: ['file:///a'] })
  t.strictSame(honoured, { toolsListChanged: true, resourceSubscriptions: [] })
})

t.test('everything on a subscription names it, as its request did', async t => {
  const { app, tool, resource } = await createOffering(t)
  const client = new StatelessClient(await listen(app))
  const ids = [1, '1', 0, '', -7, 'x'.repeat(256)]
  const streams = await Promise.all(ids.map(async id => (await subscribe(client, { ...ALL, resourceSubscriptions: ['file:///a'] }, id)).stream))
  t.match(app.mcp.stats(), { subscriptions: ids.length, streams: ids.length, calls: 0, sessions: 0 })
  tool.disable()
  resource.updated()
  await Promise.all(streams.map(stream => stream.message(({ method }) => method === CHANGED.tools)))
  const closing = app.close()
  await Promise.all(streams.map(stream => stream.closed))
  await closing
  for (const [index, id] of ids.entries()) {
    const messages = streams[index]?.messages ?? []
    t.equal(messages.length, 4, 'the acknowledgement, two changes and the end')
    for (const { params, result } of messages) t.equal((params ?? result)._meta[SUBSCRIPTION], id)
    t.strictSame(messages.at(-1), { jsonrpc: '2.0', id, result: { resultType: 'complete', _meta: { [SUBSCRIPTION]: id, ...SERVER_INFO } } }, 'its result comes last')
  }
  t.match(app.mcp.stats(), { subscriptions: 0, streams: 0 })
})

t.test('each change of a list is told once, to those who asked for that list', async t => {
  const { app, tool, prompt, resource, template } = await createOffering(t)
  const client = new StatelessClient(await listen(app))
  const [all, tools, none] = await Promise.all([ALL, { toolsListChanged: true }, { resourceSubscriptions: ['file:///a'] }].map(async filter => (await subscribe(client, filter)).stream))
  let added: { remove: () => boolean } | undefined
  const changes: [what: string, change: () => unknown, told: string][] = [
    ['disable', () => tool.disable(), CHANGED.tools], ['enable', () => tool.enable(), CHANGED.tools], ['update', () => tool.update({ title: 'T' }), CHANGED.tools],
    ['add', () => { added = app.mcp.tool('added', {}, () => 'x') }, CHANGED.tools], ['remove', () => added?.remove(), CHANGED.tools],
    ['prompt', () => prompt.update({ title: 'P' }), CHANGED.prompts], ['resource', () => resource.update({ title: 'R' }), CHANGED.resources],
    ['template', () => template.update({ title: 'T' }), CHANGED.resources],
    ['many at once', () => {
      for (let count = 0; count < 50; count++) {
        tool.disable()
        tool.enable()
      }
    }, CHANGED.tools]
  ]
  const wanted: string[] = []
  for (const [what, change, told] of changes) {
    change()
    wanted.push(told)
    await until(() => toldOf(all as EventStream).length >= wanted.length, what)
  }
  for (const nothing of [() => tool.enable(), () => app.mcp.tool('later', { enabled: false }, () => 'x'), () => added?.remove()]) nothing()
  resource.updated()
  await until(() => toldOf(none as EventStream).length > 0, 'the update')
  t.strictSame(toldOf(all as EventStream), wanted)
  t.strictSame(toldOf(tools as EventStream), wanted.filter(method => method === CHANGED.tools))
  t.strictSame(toldOf(none as EventStream), ['file:///a'])
})

t.test('updates of resources reach those who asked for that resource', async t => {
  const { app, resource, template } = await createOffering(t)
  app.mcp.resource('file:///b', {}, () => 'x')
  const client = new StatelessClient(await listen(app))
  const { stream } = await subscribe(client, { resourceSubscriptions: ['file:///a', 'db://users'] })
  resource.updated()
  template.updated('db://users')
  app.mcp.resourceUpdated('file:///b')
  template.updated('db://others')
  app.mcp.resourceUpdated('file:///a')
  t.throws(() => app.mcp.resourceUpdated('garbage'), { code: 'FST_MCP_URI_INVALID' })
  await until(() => toldOf(stream).length === 3, 'all three')
  t.strictSame(toldOf(stream), ['file:///a', 'db://users', 'file:///a'])
  t.strictSame(stream.messages[1], { jsonrpc: '2.0', method: UPDATED, params: { uri: 'file:///a', _meta: { [SUBSCRIPTION]: 1 } } })
  resource.disable()
  resource.updated()
  resource.enable()
  resource.updated()
  await until(() => toldOf(stream).length === 4, 'the one after it was enabled')
  await turn()
  t.equal(toldOf(stream).length, 4)
})

t.test('nobody hears of what is hidden from it', async t => {
  const app = await createApp(t, { auth: AUTH })
  const visible = (principal: { id: string } | null): boolean => principal?.id === 'b'
  const tool = app.mcp.tool('secret', { visible }, () => 'x')
  const resource = app.mcp.resource('file:///secret', { visible }, () => 'x')
  const open = app.mcp.resource('file:///open', {}, () => 'x')
  await turn()
  const url = await listen(app)
  const filter = { ...ALL, resourceSubscriptions: ['file:///secret', 'file:///open'] }
  const [a, b] = [await subscribe(new StatelessClient(url, as('a')), filter), await subscribe(new StatelessClient(url, as('b')), filter)]
  t.strictSame(a.honoured.resourceSubscriptions, ['file:///open'], 'nor whether it exists')
  t.strictSame(b.honoured.resourceSubscriptions, ['file:///secret', 'file:///open'])
  tool.disable()
  resource.updated()
  resource.update({ title: 'R' })
  await until(() => toldOf(b.stream).length === 3, 'what b may see')
  open.updated()
  await until(() => toldOf(a.stream).length > 0, 'what both may see')
  t.strictSame(toldOf(a.stream), ['file:///open'])
  t.strictSame(toldOf(b.stream).sort(), ['file:///open', 'file:///secret', CHANGED.resources, CHANGED.tools])
  // Seen when it was subscribed to, and not any more.
  open.update({ visible })
  await until(() => toldOf(a.stream).length === 2, 'that it is gone')
  open.updated()
  await until(() => toldOf(b.stream).length === 6, 'the last')
  t.strictSame(toldOf(a.stream), ['file:///open', CHANGED.resources])
})

t.test('progress and log messages of a call stay on its own stream', async t => {
  const { app } = await createOffering(t)
  app.mcp.tool('tells', {}, async (_args, { progress, log }) => {
    await progress(1)
    await log.error('x')
  })
  const client = new StatelessClient(await listen(app), { logLevel: 'debug' })
  const { stream } = await subscribe(client, { promptsListChanged: true })
  const call = await client.post({ jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name: 'tells', _meta: { progressToken: 1 } } })
  t.equal(call.messages.length, 3)
  await turn()
  t.equal(stream.messages.length, 1)
})

t.test('a filter that is none is refused', async t => {
  const { app } = await createOffering(t)
  const client = new StatelessClient(app)
  const bad = [undefined, null, 'x', 7, [], ...['toolsListChanged', 'promptsListChanged', 'resourcesListChanged'].flatMap(field => ['yes', 1, null, {}].map(value => ({ [field]: value }))),
    ...['x', 7, null, {}, [7], [null], [['file:///a']], ['file:///a', {}]].map(resourceSubscriptions => ({ resourceSubscriptions }))]
  for (const notifications of bad) {
    const reply = await client.post(listenOf(notifications, 'sub'))
    t.match(reply, { status: 400, messages: [{ id: 'sub', error: { code: -32602, data: { code: 'FST_MCP_PARAMS_INVALID' } } }] }, JSON.stringify(notifications) ?? 'undefined')
  }
  t.match(await client.post({ jsonrpc: '2.0', id: 1, method: 'subscriptions/listen' }), { status: 400, messages: [{ id: 1, error: { code: -32602 } }] })
  const polluted = `{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"__proto__":{"toolsListChanged":true}},"_meta":${JSON.stringify(envelope())}}}`
  const headers = { ...client.headers, ...mirrors({ method: 'subscriptions/listen' }) }
  t.match(await send(app, '/mcp', { method: 'POST', headers, body: polluted }), { status: 400, messages: [{ error: { data: { code: 'FST_MCP_KEY_FORBIDDEN' } } }] })
  t.match(await client.post(listenOf({}), { 'mcp-method': 'tools/list' }), { status: 400, messages: [{ error: { code: -32020 } }] })
  t.match(app.mcp.stats(), { subscriptions: 0, streams: 0 })
})

t.test('a client that takes no stream cannot listen', async t => {
  const { app } = await createOffering(t)
  const client = new StatelessClient(app)
  for (const accept of ['application/json', 'text/html', 'application/json, text/event-stream;q=0']) {
    const reply = await client.post(listenOf(ALL), { accept })
    t.match(reply, { status: 406, messages: [{ id: 1, error: { code: -32600, data: { code: 'FST_MCP_NOT_ACCEPTABLE' } } }] }, accept)
  }
  t.equal(app.mcp.stats().subscriptions, 0)
  for (const accept of ['text/event-stream', '*/*', 'text/*']) {
    const stream = await client.stream(listenOf(ALL), { accept })
    t.match(await stream.message(), { params: { notifications: ALL } }, accept)
  }
})

t.test('a session has no such method, and a subscription no session', async t => {
  const { app } = await createOffering(t)
  const session = await Client.connect(app)
  t.match(await session.request('subscriptions/listen', { notifications: ALL }), { error: { code: -32601 } })
  const client = new StatelessClient(app)
  t.match(await client.request('resources/subscribe', { uri: 'file:///a' }), { error: { code: -32601 } })
})

t.test('a client that leaves leaves nothing behind', async t => {
  const { app, tool } = await createOffering(t)
  const client = new StatelessClient(await listen(app))
  const opened = await Promise.all(Array.from({ length: 20 }, (_, id) => subscribe(client, ALL, id)))
  t.match(app.mcp.stats(), { subscriptions: 20, streams: 20 })
  await Promise.all(opened.map(({ stream }) => stream.close()))
  await until(() => app.mcp.stats().subscriptions === 0, 'the end of all')
  t.strictSame(app.mcp.stats(), { sessions: 0, streams: 0, queued: 0, calls: 0, subscriptions: 0, questions: 0, abandoned: 0 })
  t.doesNotThrow(() => tool.disable())
})

t.test('a quiet subscription is kept alive', async t => {
  const { app } = await createOffering(t, { streams: { keepAlive: 20 } })
  const { stream } = await subscribe(new StatelessClient(await listen(app)), ALL)
  await until(() => stream.comments.length >= 2, 'two comments')
  t.equal(stream.messages.length, 1)
})

t.test('a principal has as many subscriptions as it may, and takes none from others', async t => {
  const { app } = await createOffering(t, { auth: AUTH, subscriptions: { maxPerPrincipal: 2 } })
  const url = await listen(app)
  const [a, b] = [new StatelessClient(url, as('a')), new StatelessClient(url, as('b'))]
  const first = await subscribe(a, ALL, 1)
  await subscribe(a, ALL, 2)
  const full = { status: 429, headers: { 'retry-after': /^\d+$/ }, messages: [{ id: 3, error: { code: -32600, data: { code: 'FST_MCP_SUBSCRIPTIONS_FULL' } } }] }
  for (let count = 0; count < 3; count++) t.match(await a.post(listenOf(ALL, 3)), full)
  await subscribe(b, ALL)
  await subscribe(b, ALL)
  t.match(await b.post(listenOf(ALL, 3)), full)
  t.match(await a.request('tools/list'), { result: { tools: Array } }, 'nothing else is refused')
  await first.stream.close()
  await until(() => app.mcp.stats().subscriptions === 3, 'one that left')
  t.match((await subscribe(a, ALL)).honoured, ALL)
  t.match(await a.post(listenOf(ALL, 3)), full)
  t.equal(app.mcp.stats().subscriptions, 4)
})

t.test('without auth only the streams of the whole server are counted', async t => {
  const { app } = await createOffering(t, { streams: { max: 20 }, subscriptions: { maxPerPrincipal: 1 } })
  const client = new StatelessClient(await listen(app))
  const opened = await Promise.all(Array.from({ length: 20 }, (_, id) => subscribe(client, ALL, id)))
  t.match(await client.post(listenOf(ALL, 'more')), { status: 503, messages: [{ id: 'more', error: { code: -32603, data: { code: 'FST_MCP_STREAMS_FULL' } } }] })
  await opened[0]?.stream.close()
  await until(() => app.mcp.stats().streams === 19, 'one that left')
  t.match((await subscribe(client, ALL)).honoured, ALL)
})

t.test('one subscription names no more resources than it may', async t => {
  const { app } = await createOffering(t, { subscriptions: { uris: 2 } })
  const client = new StatelessClient(app)
  const three = ['db://a', 'db://b', 'garbage']
  t.match(await client.post(listenOf({ resourceSubscriptions: three })), { status: 429, messages: [{ id: 1, error: { code: -32600, data: { code: 'FST_MCP_SUBSCRIPTIONS_FULL' } } }] })
  t.equal(app.mcp.stats().subscriptions, 0)
  t.strictSame((await subscribe(client, { resourceSubscriptions: three.slice(0, 2) })).honoured, { resourceSubscriptions: three.slice(0, 2) })
})

t.test('the URIs of one subscription together are no longer than what may wait in its stream', async t => {
  const { app } = await createOffering(t, { streams: { buffer: 1_000 } })
  const client = new StatelessClient(app)
  const uris = (length: number): string[] => ['x'.repeat(500), 'y'.repeat(length - 500)]
  t.match((await subscribe(client, { resourceSubscriptions: uris(1_000) })).honoured, { resourceSubscriptions: [] })
  t.match(await client.post(listenOf({ resourceSubscriptions: uris(1_001) })), { status: 429, messages: [{ error: { data: { code: 'FST_MCP_SUBSCRIPTIONS_FULL' } } }] })
})

t.test('a flood of subscriptions that leave at once leaves nothing', async t => {
  const { app, tool } = await createOffering(t, { streams: { max: 30 } })
  const url = await listen(app)
  const client = new StatelessClient(url)
  let refused = 0
  for (let round = 0; round < 10; round++) {
    const flood = await Promise.all(Array.from({ length: 40 }, async (_, id) => {
      const { headers = {}, body } = client.init('POST', {}, listenOf({ ...ALL, resourceSubscriptions: ['file:///a'] }, id))
      return DeafClient.ask(url, '/mcp', { method: 'POST', headers, body })
    }))
    if (round % 2 === 0) await turn()
    else await until(() => app.mcp.stats().subscriptions === 30, 'as many as may be')
    tool.update({ title: String(round) })
    refused += 40 - app.mcp.stats().subscriptions
    for (const deaf of flood) deaf.close()
    await until(() => app.mcp.stats().subscriptions === 0, 'the end of the flood')
  }
  t.ok(refused >= 50, `${refused} were refused`)
  t.match(app.mcp.stats(), { streams: 0, queued: 0, calls: 0, sessions: 0 })
  t.match((await subscribe(client, ALL)).honoured, ALL, 'and others come in')
})

// The longest URI that a subscription may hold, so that notifications fill a socket soon.
const long = (name: string | number): string => `db://${String(name).padEnd(4_000, 'x')}`

/** A subscriber over a real socket that reads its acknowledgement and then nothing, and the server's end of that socket. */
async function deafTo (t: Test, uris: string[], options: McpOptions = {}) {
  const { app } = await createOffering(t, options)
  const handles = uris.map(uri => app.mcp.resource(uri, {}, () => 'x'))
  await turn()
  const url = await listen(app)
  const sockets = new Map<number | undefined, Socket>()
  app.server.on('connection', socket => sockets.set(socket.remotePort, socket))
  const client = new StatelessClient(url)
  const { headers = {}, body } = client.init('POST', {}, listenOf({ resourceSubscriptions: uris }))
  const deaf = await DeafClient.ask(url, '/mcp', { method: 'POST', headers, body })
  await until(() => app.mcp.stats().subscriptions === 1, 'the subscription')
  const socket = sockets.get(deaf.socket.localPort) as Socket
  return { app, deaf, socket, client, handles }
}

t.test('what is put for somebody who is gone goes nowhere', async t => {
  const sent: string[] = []
  const mailbox = new Mailbox({ budget: 10, send: json => sent.push(json), room: () => false, onOverflow: () => t.fail('nothing waits') })
  for (let count = 0; count < 10; count++) mailbox.put(String(count), 'x'.repeat(100))
  t.strictSame(sent, [])
})

t.test('a client that reads slowly is told of each resource once, however often it changed', async t => {
  const uris = ['a', 'b', 'c', 'd'].map(long)
  const ROUNDS = 1_000
  const { app, deaf, socket, handles } = await deafTo(t, uris)
  let held = 0
  for (let round = 0; round < ROUNDS; round++) {
    for (const handle of handles) handle.updated()
    held = Math.max(held, socket.writableLength)
    if (round % 10 === 0) await turn()
  }
  t.ok(held < 262_144, `${held} bytes waited in the process`)
  t.equal(app.mcp.stats().subscriptions, 1, 'and it is still subscribed')
  const done = deaf.readAll()
  await until(() => socket.writableLength === 0, 'it to catch up')
  await new Promise(resolve => setTimeout(resolve, 50))
  await app.close()
  const messages = messagesIn(await done)
  const told = messages.slice(1, -1)
  t.ok(told.length < ROUNDS * uris.length / 2, `${told.length} notifications stand for ${ROUNDS * uris.length}`)
  t.strictSame(new Set(told.slice(-4).map(({ params }) => params.uri)), new Set(uris), 'the last of each is not lost')
  t.match(messages.at(-1), { id: 1, result: { resultType: 'complete' } })
})

t.test('a client that reads nothing is dropped when more waits than may', async t => {
  const uris = Array.from({ length: 400 }, (_, index) => `db://${String(index).padEnd(120, 'x')}`)
  const { app, deaf, socket, client, handles } = await deafTo(t, uris)
  let held = 0
  let rounds = 0
  const other = await subscribe(client, { toolsListChanged: true })
  while (app.mcp.stats().subscriptions === 2 && rounds < 100) {
    rounds++
    for (const handle of handles) {
      handle.updated()
      held = Math.max(held, socket.writableLength)
    }
    await turn()
  }
  t.equal(app.mcp.stats().subscriptions, 1, `it was dropped after ${rounds} rounds`)
  t.ok(held < 2_097_152, `${held} bytes waited in the process`)
  await until(() => app.mcp.stats().streams === 1, 'the end of its stream')
  t.ok(socket.destroyed)
  app.mcp.tool('another', {}, () => 'x')
  await other.stream.message(({ method }: RpcMessage) => method === CHANGED.tools)
  deaf.close()
})

t.test('a subscriber that stopped reading does not keep the server from closing', async t => {
  const uris = Array.from({ length: 4 }, (_, index) => long(index))
  const { app, deaf, handles } = await deafTo(t, uris)
  for (let round = 0; round < 800; round++) {
    for (const handle of handles) handle.updated()
    if (round % 10 === 0) await turn()
  }
  const start = performance.now()
  await app.close()
  t.ok(performance.now() - start < 3_000)
  await until(() => app.mcp.stats().subscriptions === 0, 'the end of the subscription')
  deaf.close()
})

for (const transport of ['2025-03-26', '2025-06-18', '2025-11-25', 'http+sse'] as const) {
  t.test(`on ${transport} a session is told of the resources that it subscribed to, until it unsubscribes`, async t => {
    const { app, resource, template } = await createOffering(t)
    const url = await listen(app)
    const client = transport === 'http+sse' ? await SseClient.connect(url) : await Client.connect(url, { revision: transport })
    t.strictSame((await client.request('resources/subscribe', { uri: 'file:///a' })).result, {}, 'before there is a stream')
    const stream = client instanceof SseClient ? client.stream : await client.get()
    t.strictSame((await client.request('resources/subscribe', { uri: 'db://users' })).result, {})
    t.strictSame((await client.request('resources/subscribe', { uri: 'db://users' })).result, {}, 'twice is once')
    const told = (): unknown[] => stream.messages.filter(({ method }) => method === UPDATED).map(({ params }) => params)
    resource.updated()
    template.updated('db://users')
    template.updated('db://others')
    await until(() => told().length === 2, 'both')
    t.strictSame(told(), [{ uri: 'file:///a' }, { uri: 'db://users' }], 'with nothing of later revisions')
    t.strictSame((await client.request('resources/unsubscribe', { uri: 'db://users' })).result, {})
    t.strictSame((await client.request('resources/unsubscribe', { uri: 'db://users' })).result, {}, 'once more is nothing')
    template.updated('db://users')
    resource.updated()
    await until(() => told().length === 3, 'the one that is left')
    t.strictSame(told().at(-1), { uri: 'file:///a' })

    t.match(await client.request('resources/subscribe', { uri: 'file:///nope' }), { error: { code: -32002, data: { code: 'FST_MCP_RESOURCE_UNKNOWN' } } })
    for (const uri of ['garbage', 7, undefined]) t.match(await client.request('resources/subscribe', { uri }), { error: { code: -32602, data: { code: 'FST_MCP_URI_INVALID' } } })
    t.match(await client.request('resources/unsubscribe', {}), { error: { code: -32602, data: { code: 'FST_MCP_PARAMS_INVALID' } } })
    if (client instanceof Client) t.equal((await client.delete()).status, 200)
    else await client.close()
    await until(() => app.mcp.stats().streams === 0, 'the end of the session')
    resource.updated()
    t.equal(told().length, 3)
  })

  t.test(`on ${transport} a session subscribes to as many resources as it may`, async t => {
    const { app } = await createOffering(t, { subscriptions: { uris: 2 } })
    const url = await listen(app)
    const connect = () => transport === 'http+sse' ? SseClient.connect(url) : Client.connect(url, { revision: transport })
    const [client, other] = [await connect(), await connect()]
    const ask = (uri: string, who = client) => who.request('resources/subscribe', { uri })
    for (const uri of ['db://a', 'db://b', 'db://a']) t.strictSame((await ask(uri)).result, {})
    const full = { error: { code: -32000, data: { code: 'FST_MCP_SUBSCRIPTIONS_FULL' } } }
    t.match(await ask('db://c'), full)
    t.strictSame((await ask('db://c', other)).result, {}, 'others have their own')
    await client.request('resources/unsubscribe', { uri: 'db://a' })
    t.strictSame((await ask('db://c')).result, {})
    t.match(await ask('db://d'), full)
    for (const peer of [client, other]) if (peer instanceof SseClient) await peer.close()
  })
}

t.test('a session is not told of a resource that is hidden from it', async t => {
  const app = await createApp(t, { auth: AUTH })
  const resource = app.mcp.resource('file:///secret', { visible: principal => principal?.id === 'b' }, () => 'x')
  const open = app.mcp.resource('file:///open', {}, () => 'x')
  await turn()
  const url = await listen(app)
  const [a, b] = [await Client.connect(url, as('a')), await Client.connect(url, as('b'))]
  const streams = await Promise.all([a.get(), b.get()])
  t.match(await a.request('resources/subscribe', { uri: 'file:///secret' }), { error: { code: -32002 } })
  for (const client of [a, b]) t.strictSame((await client.request('resources/subscribe', { uri: 'file:///open' })).result, {})
  t.strictSame((await b.request('resources/subscribe', { uri: 'file:///secret' })).result, {})
  resource.updated()
  open.updated()
  const told = (index: number): unknown[] => streams[index]?.messages.filter(({ method }) => method === UPDATED).map(({ params }) => params.uri) ?? []
  await until(() => told(1).length === 2 && told(0).length === 1, 'both')
  t.strictSame([told(0), told(1)], [['file:///open'], ['file:///secret', 'file:///open']])
  open.update({ visible: principal => principal?.id === 'b' })
  open.updated()
  await until(() => told(1).length === 3, 'the last')
  t.equal(told(0).length, 1)
})

t.test('where there are no sessions nothing can be subscribed to', async t => {
  const { app } = await createOffering(t, { sessions: false })
  const client = await Client.connect(app)
  t.notOk('subscribe' in client.server.capabilities.resources)
  for (const method of ['resources/subscribe', 'resources/unsubscribe']) t.match(await client.request(method, { uri: 'file:///a' }), { error: { code: -32601 } })
  const { stream } = await subscribe(new StatelessClient(app), { resourceSubscriptions: ['file:///a'] })
  app.mcp.resourceUpdated('file:///a')
  t.match(await stream.message(), { method: UPDATED }, 'but by whoever listens')
})

t.test('without a resource there is no method to subscribe with', async t => {
  const app = await createApp(t)
  const client = await Client.connect(app)
  t.match(await client.request('resources/subscribe', { uri: 'file:///a' }), { error: { code: -32601 } })
})

t.test('who sees a resource is asked once for each principal, however many of them listen', async t => {
  const app = await createApp(t, { auth: AUTH })
  const asked: unknown[] = []
  const resource = app.mcp.resource('file:///a', {
    visible: principal => {
      asked.push(principal?.id)
      return true
    }
  }, () => 'x')
  await turn()
  const url = await listen(app)
  const opened = await Promise.all(['a', 'a', 'a', 'b'].map((token, id) => subscribe(new StatelessClient(url, as(token)), { resourceSubscriptions: ['file:///a'] }, id)))
  asked.splice(0)
  resource.updated()
  await Promise.all(opened.map(({ stream }) => stream.message(({ method }) => method === UPDATED)))
  t.strictSame(asked.sort(), ['a', 'b'])
})

t.test('a session that reads nothing of its stream loses the connection and no more', async t => {
  const uris = Array.from({ length: 400 }, (_, index) => `db://${String(index).padEnd(120, 'x')}`)
  const { app } = await createOffering(t)
  const handles = uris.map(uri => app.mcp.resource(uri, {}, () => 'x'))
  const url = await listen(app)
  const client = await Client.connect(url)
  for (const uri of uris) await client.request('resources/subscribe', { uri })
  const deaf = await DeafClient.ask(url, '/mcp', { headers: client.headers })
  await until(() => app.mcp.stats().streams === 1, 'the stream')
  let rounds = 0
  while (app.mcp.stats().streams === 1 && rounds++ < 100) {
    for (const handle of handles) handle.updated()
    await turn()
  }
  t.match(app.mcp.stats(), { streams: 0, sessions: 1 }, `after ${rounds} rounds`)
  t.match(await client.request('ping'), { result: {} })
  const stream = await client.get()
  handles[0]?.updated()
  t.match(await stream.message(({ method }) => method === UPDATED), { params: { uri: uris[0] } }, 'and is told again when it comes back')
  deaf.close()
})
