import type { ToolContext } from 'fastify-mcp-sse'
import t from 'tap'
import { z } from 'zod'
import { nameStream, readEventId, requestsOf } from '../lib/eras/event-id.ts'
import type { LogLevel } from '../lib/store/store.ts'
import { Client, createApp, EventStream, listen, REVISIONS, type RpcMessage, send, SseClient, until } from './client.ts'
import { laterStore } from './stores.ts'

const LATEST = '2025-11-25'
const LEVELS: LogLevel[] = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency']
const ping = (id: string | number): object => ({ jsonrpc: '2.0', id, method: 'ping' })
const initialize = (protocolVersion: string): object => ({ jsonrpc: '2.0', id: 1, method: 'initialize', params: { protocolVersion, capabilities: {} } })

t.test('`initialize` agrees on the revision that was asked for, else on the latest', async t => {
  const app = await createApp(t)
  const base = await listen(app)
  for (const revision of REVISIONS) {
    t.equal((await Client.connect(app, { revision })).server.protocolVersion, revision)
    const sse = await SseClient.connect(base, { revision })
    t.equal(sse.stream.messages[0]?.result.protocolVersion, revision, 'over HTTP+SSE')
    await sse.close()
  }
  for (const revision of ['2024-10-07', '2026-07-28', '1999-01-01', '', 'latest', '__proto__']) {
    const { messages: [answer] } = await new Client(app).post(initialize(revision))
    t.equal(answer?.result.protocolVersion, LATEST, JSON.stringify(revision))
  }
})

t.test('`initialize` tells what the server is and can do, as far as the revision knows it', async t => {
  const app = await createApp(t, { name: 'docs', version: '1.2.3', title: 'Documents', instructions: 'Search first.' })
  for (const revision of REVISIONS) {
    const { server, sessionId } = await Client.connect(app, { revision })
    t.strictSame(server, {
      protocolVersion: revision,
      capabilities: { logging: {}, tools: { listChanged: true } },
      serverInfo: { name: 'docs', version: '1.2.3', ...(revision >= '2025-06-18' && { title: 'Documents' }) },
      instructions: 'Search first.'
    }, revision)
    t.match(sessionId, /^[\x21-\x7E]{24}$/, 'visible ASCII')
  }
  const plain = await Client.connect(await createApp(t))
  t.strictSame(plain.server.serverInfo, { name: 'test', version: '1.0.0' })
  t.notOk('instructions' in plain.server)
})

t.test('without sessions nothing is promised that could not be kept, and no id is given', async t => {
  const app = await createApp(t, { sessions: false })
  app.mcp.tool('who', {}, (_args, { session, revision }) => JSON.stringify({ session, revision }))
  const client = await Client.connect(app)
  t.strictSame(client.server.capabilities, { tools: {} })
  t.equal(client.sessionId, undefined)
  t.match(await client.call('who'), { result: { content: [{ text: `{"session":null,"revision":"${LATEST}"}` }] } })
  t.match(await client.request('logging/setLevel', { level: 'debug' }), { error: { code: -32601, data: { code: 'FST_MCP_METHOD_NOT_FOUND' } } })
  t.equal((await client.notify('notifications/cancelled', { requestId: 1 })).status, 202)
  const unversioned = await send(app, '/mcp', { method: 'POST', body: [ping(1), ping(2)] })
  t.strictSame(unversioned.messages.map(({ id }) => id), [1, 2], 'without the header a client is one of 2025-03-26')
  t.match(await send(app, '/mcp', { method: 'POST', body: ping(1), headers: { 'mcp-session-id': 'any' } }), { status: 200 }, 'a session id says nothing')
})

t.test('every path answers a verb that it does not take with 405 and those that it does', async t => {
  const app = await createApp(t)
  const stateless = await createApp(t, { sessions: false })
  const cases: [server: typeof app, path: string, allowed: string[]][] = [
    [app, '/mcp', ['GET', 'POST', 'DELETE']], [app, '/sse', ['GET']], [app, '/messages', ['POST']], [stateless, '/mcp', ['POST']]
  ]
  for (const [server, path, allowed] of cases) {
    for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'].filter(method => !allowed.includes(method))) {
      const { status, headers, messages } = await send(server, path, { method })
      t.match({ status, headers }, { status: 405, headers: { allow: allowed.join(', ') } }, `${method} ${path}`)
      if (method !== 'HEAD') t.match(messages, [{ id: null, error: { code: -32000, data: { code: 'FST_MCP_METHOD_NOT_ALLOWED' } } }])
    }
  }
  for (const path of ['/sse', '/messages']) t.equal((await send(stateless, path)).status, 404, 'HTTP+SSE is off without sessions')
})

t.test('a request names its session: none is a 400, an unknown one a 404', async t => {
  const app = await createApp(t)
  for (const method of ['POST', 'GET', 'DELETE']) {
    const body = method === 'POST' ? ping(7) : undefined
    const none = await send(app, '/mcp', { method, body })
    t.match(none, { status: 400, messages: [{ id: body ? 7 : null, error: { code: -32000, data: { code: 'FST_MCP_SESSION_REQUIRED' } } }] }, method)
    const unknown = await send(app, '/mcp', { method, body, headers: { 'mcp-session-id': 'x' } })
    t.match(unknown, { status: 404, messages: [{ id: body ? 7 : null, error: { code: -32001, data: { code: 'FST_MCP_SESSION_UNKNOWN' } } }] }, method)
  }
})

t.test('DELETE ends a session with its streams; from then on it is unknown', async t => {
  const app = await createApp(t)
  const base = await listen(app)
  const [client, other] = [await Client.connect(base), await Client.connect(base)]
  const stream = await client.get()
  t.match(await client.delete(), { status: 200, text: '' })
  await stream.closed
  for (const reply of [await client.post(ping(1)), await client.delete(), await send(base, '/mcp', { headers: client.headers })]) t.equal(reply.status, 404)
  t.equal(app.mcp.stats().sessions, 1)
  t.match(await other.request('ping'), { result: {} })
  const again = await new Client(base, { headers: { 'mcp-session-id': client.sessionId ?? '' } }).post(initialize(LATEST))
  t.equal(again.status, 200, 'a client that starts anew with the old id')
  t.not(again.headers['mcp-session-id'], client.sessionId, 'gets a new one')
})

t.test('DELETE may name a media type and send nothing', async t => {
  const client = await Client.connect(await createApp(t))
  const reply = await send(client.target, '/mcp', { method: 'DELETE', headers: { ...client.headers, 'content-type': 'application/json' } })
  t.equal(reply.status, 200)
})

t.test('the version header is held against what was negotiated: the older of both counts', async t => {
  const app = await createApp(t)
  const seen: unknown[] = []
  app.mcp.tool('revision', {}, (_args, { revision, request }) => {
    seen.push({ ...request.mcp, session: request.mcp?.session?.id })
    return revision
  })
  const body = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'revision' } }
  for (const negotiated of REVISIONS) {
    const { sessionId = '' } = await Client.connect(app, { revision: negotiated })
    for (const header of [undefined, ...REVISIONS]) {
      const headers = { 'mcp-session-id': sessionId, ...(header && { 'mcp-protocol-version': header }) }
      const { messages: [answer] } = await send(app, '/mcp', { method: 'POST', headers, body })
      const served = header !== undefined && header < negotiated ? header : negotiated
      t.equal(answer?.result.content[0].text, served, `negotiated ${negotiated}, header ${header}`)
      t.strictSame(seen.pop(), { transport: 'streamable-http', principal: null, revision: served, session: sessionId }, 'request.mcp agrees')
    }
    for (const header of ['2024-10-07', 'x', '']) {
      for (const method of ['POST', 'GET', 'DELETE']) {
        const reply = await send(app, '/mcp', {
          method, headers: { 'mcp-session-id': sessionId, 'mcp-protocol-version': header }, body: method === 'POST' ? body : undefined
        })
        t.match(reply, { status: 400, messages: [{ error: { code: -32000, data: { code: 'FST_MCP_REVISION_UNSUPPORTED' } } }] }, `${method} ${header}`)
      }
    }
    const headers = { 'mcp-session-id': sessionId, 'mcp-protocol-version': '2026-07-28' }
    t.match(await send(app, '/mcp', { method: 'POST', headers, body }), { status: 400, messages: [{ id: 1, error: { code: -32602, data: { code: 'FST_MCP_ENVELOPE_INVALID' } } }] }, 'no revision of a session')
    for (const method of ['GET', 'DELETE']) {
      t.match(await send(app, '/mcp', { method, headers }), { status: 405, headers: { allow: 'POST' }, messages: [{ error: { data: { code: 'FST_MCP_METHOD_NOT_ALLOWED' } } }] }, method)
    }
    t.equal(app.mcp.stats().sessions, REVISIONS.indexOf(negotiated) + 1, 'the session is still there')
  }
})

t.test('an error without a readable id leaves it out from 2025-11-25 on, and says null before', async t => {
  const app = await createApp(t)
  for (const [version, id] of [['2025-11-25', undefined], ['2025-06-18', null], [undefined, null]] as const) {
    const { messages: [error] } = await send(app, '/mcp', { method: 'POST', body: '{', headers: version === undefined ? {} : { 'mcp-protocol-version': version } })
    t.ok(error?.error)
    t.equal(error?.id, id, version ?? 'no header')
  }
})

t.test('notifications are accepted without a word, known or not', async t => {
  const app = await createApp(t)
  const base = await listen(app)
  const client = await Client.connect(base)
  const sse = await SseClient.connect(base)
  for (const method of ['notifications/initialized', 'notifications/roots/list_changed', 'notifications/unheard_of', '__proto__', 'tools/list']) {
    for (const { status, text } of [await client.notify(method), await sse.notify(method)]) t.match({ status, text }, { status: 202, text: '' }, method)
  }
  for (const params of [{}, { requestId: 99 }, { requestId: 'x', reason: 7 }, { requestId: null }, { requestId: {} }, { requestId: '__proto__' }]) {
    for (const { status } of [await client.notify('notifications/cancelled', params), await sse.notify('notifications/cancelled', params)]) {
      t.equal(status, 202, JSON.stringify(params))
    }
  }
  await sse.request('ping')
  t.equal(sse.stream.messages.length, 2, 'the stream brought two answers and nothing else')
})

t.test('a cancelled call gets no answer, and its tool is told why', async t => {
  const app = await createApp(t)
  const base = await listen(app)
  const reasons: unknown[] = []
  app.mcp.tool('wait', {}, (_args, { signal }) => new Promise<void>(resolve => {
    signal.addEventListener('abort', () => {
      reasons.push({ code: signal.reason.code, message: signal.reason.message })
      resolve()
    })
  }))
  const wait = (id: string | number): object => ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'wait' } })
  const running = (count: number): Promise<void> => until(() => app.mcp.stats().calls === count, `${count} calls`)

  const client = await Client.connect(base)
  const stranger = await Client.connect(base)
  const answer = client.post(wait('a'))
  await running(1)
  await stranger.cancel('a')
  await client.cancel('b')
  t.equal(app.mcp.stats().calls, 1, 'another session and another id cancel nothing')
  await client.notify('notifications/cancelled', { requestId: 'a', reason: 'too slow' })
  t.match(await answer, { status: 202, text: '' })
  await running(0)

  const sse = await SseClient.connect(base)
  await sse.post(wait(7))
  await running(1)
  await sse.notify('notifications/cancelled', { requestId: 7, reason: 5 })
  await running(0)
  await sse.request('ping')
  t.strictSame(sse.stream.messages.map(({ id }) => id), [1, 2], 'the answers to `initialize` and `ping`')
  t.strictSame(reasons, [
    { code: 'FST_MCP_CANCELLED', message: 'The client cancelled the call: too slow' },
    { code: 'FST_MCP_CANCELLED', message: 'The client cancelled the call: no reason given' }
  ])
})

t.test('`tools/list` gives pages in the order of names, and its cursors outlive what comes and goes', async t => {
  const app = await createApp(t, { lists: { pageSize: 3 } })
  const client = await Client.connect(app)
  t.strictSame(await client.request('tools/list').then(({ result }) => result), { tools: [] })
  const handles = new Map(['delta', 'b', 'a.1', 'Zeta', 'c', 'a_2', 'a-3'].map(name => [name, app.mcp.tool(name, {}, () => name)]))
  const page = async (cursor?: string) => {
    const { result } = await client.request('tools/list', { cursor })
    return { names: result.tools.map(({ name }: { name: string }) => name), cursor: result.nextCursor }
  }
  const first = await page()
  t.strictSame(first.names, ['Zeta', 'a-3', 'a.1'])
  const second = await page(first.cursor)
  t.strictSame(second.names, ['a_2', 'b', 'c'])
  t.strictSame(await page(second.cursor), { names: ['delta'], cursor: undefined })

  t.equal(handles.get('a.1')?.remove(), true)
  handles.get('a_2')?.remove()
  app.mcp.tool('aaa', {}, () => 'x')
  t.strictSame((await page(first.cursor)).names, ['aaa', 'b', 'c'], 'after the tool that the cursor names is gone')
  for (const name of ['b', 'c', 'delta', 'aaa']) (handles.get(name) ?? { remove () {} }).remove()
  t.strictSame(await page(second.cursor), { names: [], cursor: undefined }, 'when nothing is left after it')

  const bogus = ['', 'x', 'dDo', 'Zeta', first.cursor + 'A', first.cursor.slice(0, -1), '%', Buffer.from('t:a b').toString('base64url'),
    Buffer.from('x:aaa').toString('base64url'), 7, null, {}, 'A'.repeat(10_000)]
  for (const cursor of bogus) {
    t.match(await client.request('tools/list', { cursor }), { error: { code: -32602, data: { code: 'FST_MCP_CURSOR_INVALID' } } }, JSON.stringify(cursor)?.slice(0, 30))
  }
})

t.test('a page that ends with the last tool has no cursor', async t => {
  const app = await createApp(t, { lists: { pageSize: 2 } })
  app.mcp.tool('a', {}, () => 'x')
  app.mcp.tool('b', {}, () => 'x')
  const { result } = await (await Client.connect(app)).request('tools/list')
  t.equal(result.tools.length, 2)
  t.notOk('nextCursor' in result)
})

t.test('`tools/list` shows each revision the fields that it defines', async t => {
  const app = await createApp(t)
  const icons = [{ src: 'https://example.com/a.png' }]
  app.mcp.tool('full', {
    title: 'Full',
    description: 'Has it all',
    annotations: { readOnlyHint: true },
    icons,
    _meta: { a: 1 },
    input: z.object({ a: z.string() }),
    output: z.object({ b: z.number() })
  }, () => ({ b: 1 }))
  const fields: Record<string, string[]> = {
    '2024-11-05': ['description', 'inputSchema', 'name'],
    '2025-03-26': ['annotations', 'description', 'inputSchema', 'name'],
    '2025-06-18': ['_meta', 'annotations', 'description', 'inputSchema', 'name', 'outputSchema', 'title'],
    '2025-11-25': ['_meta', 'annotations', 'description', 'icons', 'inputSchema', 'name', 'outputSchema', 'title']
  }
  for (const revision of REVISIONS) {
    const client = await Client.connect(app, { revision })
    const { result: { tools: [tool] } } = await client.request('tools/list')
    t.strictSame(Object.keys(tool).sort(), fields[revision], revision)
    t.match(tool, { name: 'full', description: 'Has it all', inputSchema: { type: 'object', properties: { a: { type: 'string' } } } })
    t.match(await client.call('full', { a: 'x' }), { result: { content: [{ text: '{"b":1}' }] } })
  }
})

t.test('a client hears what a tool logs from the level that it set, and from `info` before', async t => {
  const app = await createApp(t)
  app.mcp.tool('log', {}, async (_args, { log }) => {
    for (const level of LEVELS) await log[level]({ level })
    return 'logged'
  })
  const client = await Client.connect(app)
  const base = await listen(app)
  const sse = await SseClient.connect(base)
  const heard = async (): Promise<unknown[]> => {
    const { messages } = await client.post({ jsonrpc: '2.0', id: client.nextId(), method: 'tools/call', params: { name: 'log' } })
    t.match(messages.at(-1), { result: { content: [{ text: 'logged' }] } })
    return messages.slice(0, -1)
  }
  const notes = (from: number): unknown[] => LEVELS.slice(from).map(level => ({ jsonrpc: '2.0', method: 'notifications/message', params: { level, data: { level } } }))
  t.strictSame(await heard(), notes(1))
  for (const [index, level] of LEVELS.entries()) {
    t.match(await client.request('logging/setLevel', { level }), { result: {} })
    t.strictSame(await heard(), notes(index), level)
  }
  await sse.call('log')
  t.strictSame(sse.stream.messages.slice(1, -1), notes(1), 'another session has a level of its own')
  for (const level of ['loud', 'INFO', '', null, 3, undefined, '__proto__']) {
    t.match(await client.request('logging/setLevel', { level }), { error: { code: -32602, data: { code: 'FST_MCP_PARAMS_INVALID' } } }, String(level))
  }
  t.strictSame(await heard(), notes(7), 'a refused level changes nothing')
})

t.test('`log` costs nothing where there is nobody to tell', async t => {
  const app = await createApp(t, { sessions: false })
  app.mcp.tool('log', {}, (_args, { log }) => String(log.emergency('x')))
  t.match(await (await Client.connect(app)).call('log'), { result: { content: [{ text: 'true' }] } })
})

t.test('tools that come and go are told to listeners, once for all that changed together', async t => {
  const app = await createApp(t)
  const base = await listen(app)
  const client = await Client.connect(base)
  const stream = await client.get()
  const sse = await SseClient.connect(base)
  const changed = { jsonrpc: '2.0', method: 'notifications/tools/list_changed' }
  const isChange = ({ method }: RpcMessage): boolean => method === changed.method

  const [one, two] = ['one', 'two'].map(name => app.mcp.tool(name, {}, () => name))
  t.strictSame(await stream.message(), changed)
  t.strictSame(await sse.stream.message(), changed)
  t.equal(one?.remove(), true)
  t.strictSame(await stream.message(), changed)
  t.strictSame(await sse.stream.message(), changed)
  t.equal(one?.remove(), false, 'gone already')
  app.mcp.tool('one', {}, () => 'anew')
  await stream.message()
  t.equal(one?.remove(), false, 'the handle of a tool does not remove its namesake')
  t.match(await client.request('tools/list'), { result: { tools: [{ name: 'one' }, { name: 'two' }] } })
  two?.remove()
  await stream.message()
  await sse.request('ping')
  t.equal(stream.messages.filter(isChange).length, 4)
  t.equal(sse.stream.messages.filter(isChange).length, 4)
  await stream.close()
})

t.test('a listener that does not read is told of changes once, not of each', async t => {
  const app = await createApp(t, { streams: { buffer: 1_024 } })
  const base = await listen(app)
  const client = await SseClient.connect(base)
  let yielded = 0
  app.mcp.tool('flood', {}, async function * () {
    for (;;) {
      yielded++
      yield 'x'.repeat(65_536)
    }
  })
  t.match(await client.stream.message(), { method: 'notifications/tools/list_changed' })
  client.stream.body.pause()
  await client.post({ jsonrpc: '2.0', id: 'f', method: 'tools/call', params: { name: 'flood', _meta: { progressToken: 1 } } })
  // The kernel takes some megabytes before the stream is full, and the tool stops.
  let seen = { yielded: 0, at: 0 }
  await until(() => {
    if (yielded !== seen.yielded) seen = { yielded, at: Date.now() }
    return yielded > 0 && Date.now() - seen.at > 100
  }, 'a full connection')
  t.equal(app.mcp.stats().calls, 1)
  for (let index = 0; index < 50; index++) {
    app.mcp.tool(`tool-${index}`, {}, () => 'x')
    await new Promise(resolve => setImmediate(resolve))
  }
  client.stream.body.resume()
  await client.post({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'f' } })
  await client.request('ping')
  const told = client.stream.messages.filter(({ method }) => method === 'notifications/tools/list_changed').length
  t.equal(told, 2, 'one before, one after')
  await client.close()
})

t.test('a batch of 2025-03-26 is answered as an array when it is known at once, as a stream otherwise', async t => {
  const app = await createApp(t)
  app.mcp.tool('talk', {}, async function * () { yield 'a'; yield 'b' })
  const client = await Client.connect(app, { revision: '2025-03-26' })
  const notification = { jsonrpc: '2.0', method: 'notifications/initialized' }
  const call = { jsonrpc: '2.0', id: 'c', method: 'tools/call', params: { name: 'talk', _meta: { progressToken: 't' } } }

  const json = await client.post([ping(1), notification, { jsonrpc: '2.0', id: 2, method: 'nothing' }])
  t.match(json.headers['content-type'], /^application\/json/)
  t.match(JSON.parse(json.text), [{ id: 1, result: {} }, { id: 2, error: { code: -32601 } }], 'an error answers its own request alone')
  t.match(await client.post([ping(1)]), { status: 200, text: '[{"jsonrpc":"2.0","id":1,"result":{}}]' }, 'one request in an array')
  t.match(await client.post([notification, notification]), { status: 202, text: '' })

  const stream = await client.post([ping(1), call, ping(2)])
  t.match(stream.headers['content-type'], /^text\/event-stream/)
  t.strictSame(stream.messages.map(({ id, method }) => id ?? method), [1, 2, 'notifications/progress', 'notifications/progress', 'c'])
  t.equal(new Set(stream.events.map(({ id }) => id)).size, 5, 'each event has an id of its own')

  const slow = await client.post([call, ping(1)], { accept: 'application/json' })
  t.strictSame(JSON.parse(slow.text).map(({ id }: RpcMessage) => id), [1, 'c'], 'a client that takes JSON alone waits for all')

  const sse = await SseClient.connect(await listen(app), { revision: '2025-03-26' })
  t.equal((await sse.post([ping('x'), ping('y')])).status, 202)
  t.match([await sse.stream.message(), await sse.stream.message()], [{ id: 'x' }, { id: 'y' }], 'over HTTP+SSE each answer is a message')
})

t.test('a stream of 2025-11-25 begins with an event that can be resumed, an older one does not', async t => {
  const app = await createApp(t)
  app.mcp.tool('talk', {}, async function * () { yield 'a' })
  const body = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'talk', _meta: { progressToken: 't' } } }
  for (const revision of REVISIONS) {
    const { events, text } = await (await Client.connect(app, { revision })).post(body)
    t.equal(events[0]?.data === '', revision === LATEST, revision)
    t.equal(/^retry: 1000$/m.test(text), revision === LATEST, revision)
    t.ok(events.every(({ id }) => id !== undefined))
  }
  const { events } = await (await Client.connect(await statelessApp(), { revision: LATEST })).post(body)
  t.ok(events.every(({ id }) => id === undefined), 'without sessions nothing can be resumed')

  async function statelessApp () {
    const stateless = await createApp(t, { sessions: false })
    stateless.mcp.tool('talk', {}, async function * () { yield 'a' })
    return stateless
  }
})

t.test('over HTTP+SSE a client is served before and without `initialize`, as one of 2024-11-05', async t => {
  const app = await createApp(t)
  app.mcp.tool('who', {}, (_args, { session, revision }) => JSON.stringify({ revision, capabilities: session?.capabilities, transport: session?.transport }))
  const base = await listen(app)
  const sse = await SseClient.open(base)
  t.match(await sse.call('who'), { result: { content: [{ text: '{"revision":"2024-11-05","capabilities":null,"transport":"http+sse"}' }] } })
  await sse.request('initialize', { protocolVersion: LATEST, capabilities: { roots: {} } })
  t.match(await sse.call('who'), { result: { content: [{ text: `{"revision":"${LATEST}","capabilities":{"roots":{}},"transport":"http+sse"}` }] } })
  await sse.close()
})

t.test('a server that is full says so, and when to come back', async t => {
  const app = await createApp(t, { sessions: { max: 2 }, streams: { max: 1 } })
  const base = await listen(app)
  app.mcp.tool('one', {}, () => 'x')
  const client = await Client.connect(base)
  const stream = await client.get()
  await stream.next()
  const full = { status: 503, headers: { 'retry-after': '5' }, messages: [{ error: { code: -32000, data: { code: 'FST_MCP_STREAMS_FULL' } } }] }
  t.match(await send(base, '/mcp', { headers: client.headers }), full, 'a second stream')
  t.match(await send(base, '/sse'), full, 'a stream of HTTP+SSE')
  const body = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'one' } }
  t.match(await client.post(body), { ...full, messages: [{ id: 1 }] }, 'a call that could become one')
  t.match(await client.post(ping(1)), { status: 200 }, 'what is answered at once needs none')
  await Client.connect(base)
  t.match(await new Client(base).post(initialize(LATEST)), {
    status: 503, headers: { 'retry-after': '5' }, messages: [{ id: 1, error: { data: { code: 'FST_MCP_SESSIONS_FULL' } } }]
  })
  await stream.close()
  await until(() => app.mcp.stats().streams === 0, 'the server to notice')
  const again = await EventStream.open(base, '/mcp', { headers: client.headers })
  t.equal(again.status, 200)
  await again.close()
})

t.test('the name of a stream tells the requests that it answers', async t => {
  for (const ids of [[0], [-7], [Number.MAX_SAFE_INTEGER], [''], ['7'], ['a.b_c'], ['\0é😀'], ['x'.repeat(256)], [], [1, '1', -1]]) {
    const name = nameStream('node1', ids)
    t.strictSame(readEventId(`${name}_12`), { stream: name, seq: 12 }, JSON.stringify(ids).slice(0, 20))
    t.strictSame(requestsOf(name), ids)
  }
  const name = nameStream('node1', [1, '😀'.repeat(128), 2])
  t.strictSame(readEventId(`${name}_12`), { stream: name, seq: 12 }, 'an id that is too long does not cost the stream its event ids')
  t.strictSame(requestsOf(name), [1, 2])
})

t.test('a tool that goes on after its call is told that nobody listens', async t => {
  const app = await createApp(t)
  let later: ToolContext | undefined
  app.mcp.tool('leak', {}, (_args, context) => {
    later = context
    return 'done'
  })
  await (await Client.connect(app)).call('leak', {}, 'token')
  t.strictSame([later?.progress(1), later?.log.emergency('x'), later?.closeStream()], [false, false, false])
})

t.test('a call that is cancelled while its arguments are validated gets no answer, and its tool does not start', async t => {
  const app = await createApp(t)
  const base = await listen(app)
  let check = (): void => {}
  const input = z.object({}).refine(() => new Promise<boolean>(resolve => { check = () => resolve(true) }))
  const started: string[] = []
  app.mcp.tool('plain', { input }, () => { started.push('plain') })
  app.mcp.tool('later', { input }, async () => { started.push('later') })
  const client = await Client.connect(base)
  for (const name of ['plain', 'later']) {
    const answer = client.post({ jsonrpc: '2.0', id: name, method: 'tools/call', params: { name, arguments: {} } })
    await until(() => app.mcp.stats().calls === 1, 'the call')
    await client.cancel(name)
    check()
    t.match(await answer, { status: 202, text: '' }, name)
  }
  app.mcp.tool('ping', {}, () => 'pong')
  await client.call('ping')
  t.strictSame(started, [])
})

t.test('a result that JSON cannot say is an error of the server, not of the connection', async t => {
  const app = await createApp(t)
  app.mcp.use({ onResult: ({ method }) => method === 'tools/list' ? { tools: [], n: 1n } : undefined })
  const client = await Client.connect(app)
  t.match(await client.request('tools/list'), { error: { code: -32603, message: 'Internal error', data: { code: 'FST_MCP_INTERNAL' } } })
  t.match(await client.request('ping'), { result: {} })
})

t.test('a tool knows its principal', async t => {
  const app = await createApp(t, { auth: { tokens: [{ token: 'secret', principal: 'me', scopes: ['s'] }] } })
  app.mcp.tool('who', {}, (_args, { principal }) => JSON.stringify(principal))
  const client = await Client.connect(app, { headers: { authorization: 'Bearer secret' } })
  t.match(await client.call('who'), { result: { content: [{ text: '{"id":"me","scopes":["s"]}' }] } })
})

t.test('what a hook of the host refuses keeps its status and becomes a JSON-RPC error', async t => {
  const app = await createApp(t)
  const thrown = new Map<string, unknown>()
  app.addHook('preHandler', async ({ headers }) => { throw thrown.get(String(headers['x-case'])) })
  const refusal = (statusCode: unknown) => Object.assign(new Error('said the host'), { statusCode })
  const cases: [error: unknown, status: number, code: string][] = [
    [refusal(429), 429, 'FST_MCP_REFUSED_BY_HOST'], [refusal(400), 400, 'FST_MCP_REFUSED_BY_HOST'], [refusal(499), 499, 'FST_MCP_REFUSED_BY_HOST'],
    [refusal(500), 500, 'FST_MCP_INTERNAL'], [refusal(200), 500, 'FST_MCP_INTERNAL'], [refusal('429'), 500, 'FST_MCP_INTERNAL'],
    [new Error('said the host'), 500, 'FST_MCP_INTERNAL'], ['text', 500, 'FST_MCP_INTERNAL']
  ]
  for (const [index, [error, status, code]] of cases.entries()) {
    thrown.set(String(index), error)
    const reply = await send(app, '/mcp', { method: 'POST', body: ping(1), headers: { 'x-case': String(index) } })
    const message = code === 'FST_MCP_INTERNAL' ? 'Internal error' : 'said the host'
    t.match(reply, { status, messages: [{ error: { message, data: { code } } }] }, String(index))
  }
})

t.test('a store that answers later serves the same', async t => {
  const app = await createApp(t, { store: laterStore() })
  app.mcp.tool('log', {}, async function * (_args, { log }) {
    log.debug('quiet')
    yield 'a'
  })
  const base = await listen(app)
  const client = await Client.connect(base)
  t.match(await client.request('logging/setLevel', { level: 'debug' }), { result: {} })
  const { messages, events } = await client.post({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'log', _meta: { progressToken: 't' } } })
  t.match(messages, [{ params: { data: 'quiet' } }, { params: { message: 'a' } }, { id: 1 }])
  const rest = await client.get(events[1]?.id)
  t.match([await rest.message(), await rest.message()], messages.slice(1), 'replayed')
  await rest.closed

  const sse = await SseClient.connect(base)
  await sse.call('log')
  await sse.close()
  const back = await EventStream.open(base, '/sse', { headers: { 'last-event-id': sse.stream.events[1]?.id ?? '' } })
  t.match(await back.next(), { event: 'endpoint', data: sse.endpoint })
  t.match(await back.message(), sse.stream.messages.at(-1))
  await back.close()

  t.match(await client.post({ jsonrpc: '2.0', id: 9, method: 'initialize', params: { protocolVersion: LATEST } }), { status: 400 })
  t.equal((await client.delete()).status, 200)
  t.equal((await client.post(ping(1))).status, 404)
})
