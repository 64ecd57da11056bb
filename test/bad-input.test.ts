import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { connect } from 'node:net'
import type { FastifyInstance } from 'fastify'
import type { McpOptions } from 'fastify-mcp-sse'
import t, { type Test } from 'tap'
import { z } from 'zod'
import { ACCEPT, Client, createApp, EventStream, listen, read, type Reply, type RpcMessage, send, SseClient, until, within } from './client.ts'

type Id = string | number | null | undefined

/** One way into the server: the same input must be understood the same on each. */
interface Way {
  name: string
  /** The id of an error that answers nothing readable: from 2025-11-25 on it is left out. */
  unreadable: null | undefined
  post (body: unknown, headers?: Record<string, string>): Promise<Reply>
  /** Sends a request that is let in and gives its answer. */
  ask (message: object): Promise<RpcMessage>
}

interface House {
  app: FastifyInstance
  base: string
  ways: Way[]
}

function wayOf (name: string, client: Client): Way {
  return {
    name,
    unreadable: name.includes('2025-11-25') ? undefined : null,
    post: (body, headers) => client.post(body, headers),
    async ask (message) {
      const { status, messages: [answer] } = await client.post(message)
      if (status !== 200 || answer === undefined) throw new Error(`${name}: ${status}`)
      return answer
    }
  }
}

/** A test on a server with every way in, and strangers with open streams: in the end all are still served, and the strangers have seen nothing. */
function attack (name: string, run: (t: Test, house: House) => Promise<void>, options: McpOptions = {}): void {
  t.test(name, async t => {
    const { isUnharmed, ...house } = await open(t, options)
    await run(t, house)
    await isUnharmed()
  })
}

async function open (t: Test, options: McpOptions): Promise<House & { isUnharmed: () => Promise<void> }> {
  const app = await createApp(t, options)
  const stateless = await createApp(t, { ...options, sessions: false })
  for (const server of [app, stateless]) {
    server.mcp.tool('add', { input: z.object({ a: z.number(), b: z.number() }) }, ({ a, b }) => String(a + b))
  }
  const base = await listen(app)
  const strangers = [await Client.connect(base), await Client.connect(base, { revision: '2025-03-26' })]
  const theirs = await Promise.all(strangers.map(stranger => stranger.get()))
  const sse = await SseClient.connect(base)
  const own = await SseClient.connect(base)

  const ways = [
    ...await Promise.all(['2025-11-25', '2025-06-18', '2025-03-26'].map(async revision => {
      return wayOf(`Streamable HTTP at ${revision}`, await Client.connect(app, { revision }))
    })),
    wayOf('stateless at 2025-11-25', await Client.connect(stateless)),
    {
      name: 'HTTP+SSE',
      unreadable: null,
      post: (body: unknown, headers?: Record<string, string>) => own.post(body, headers),
      async ask (message: object & { id?: Id }) {
        const { status } = await own.post(message)
        if (status !== 202) throw new Error(`HTTP+SSE: ${status}`)
        return own.stream.message(({ id }) => id === message.id)
      }
    }
  ]
  const isUnharmed = async (): Promise<void> => {
    for (const { name, ask } of ways) {
      const { result } = await ask({ jsonrpc: '2.0', id: 'after', method: 'tools/call', params: { name: 'add', arguments: { a: 1, b: 2 } } })
      t.match(result, { content: [{ text: '3' }] }, `${name} still serves`)
    }
    for (const stranger of [...strangers, sse]) t.match(await stranger.request('ping'), { result: {} }, 'a stranger is still served')
    const seen = (stream: EventStream) => stream.messages.filter(({ method }) => method !== 'notifications/tools/list_changed')
    t.strictSame(theirs.flatMap(seen), [], 'strangers saw nothing')
    t.equal(seen(sse.stream).length, 2, 'a stranger on HTTP+SSE saw its own two answers alone')
  }
  return { app, base, ways, isUnharmed }
}

function refused (t: Test, reply: Reply, status: number, rpc: number, code: string, id: Id, name: string): void {
  t.equal(reply.status, status, `${name}: status`)
  t.match(reply.headers['content-type'], /^application\/json/, `${name}: media type`)
  const [message] = reply.messages
  t.match(message, { jsonrpc: '2.0', error: { code: rpc, message: /\w/, data: { code } } }, `${name}: error`)
  t.equal(message?.id, id, `${name}: id`)
}

/** What a server answers to bytes that no HTTP client would send. */
async function raw (base: string, ...lines: string[]): Promise<string> {
  const socket = connect(Number(new URL(base).port), '127.0.0.1')
  socket.on('error', () => {})
  let answer = ''
  socket.setEncoding('utf8').on('data', chunk => { answer += chunk })
  socket.write([...lines, '', ''].join('\r\n'))
  await once(socket, 'close')
  return answer
}

const ping = (id: unknown): object => ({ jsonrpc: '2.0', id, method: 'ping' })
const call = (name: unknown, args?: unknown): object => ({ jsonrpc: '2.0', id: 5, method: 'tools/call', params: { name, arguments: args } })
const nested = (depth: number): string => '['.repeat(depth - 2) + ']'.repeat(depth - 2)
const deepPing = (depth: number): string => `{"jsonrpc":"2.0","id":5,"method":"ping","params":{"x":${nested(depth)}}}`

attack('a body that is not a JSON-RPC message is refused, and told which id it had', async (t, { ways }) => {
  const cases: [name: string, body: unknown, rpc: number, code: string, id?: Id][] = [
    ['cut off', '{"jsonrpc":"2.0","id":5,', -32700, 'FST_MCP_PARSE'],
    ['not JSON', 'hello', -32700, 'FST_MCP_PARSE'],
    ['a NUL', '\0', -32700, 'FST_MCP_PARSE'],
    ['two messages', `${JSON.stringify(ping(1))}\n${JSON.stringify(ping(2))}`, -32700, 'FST_MCP_PARSE'],
    ['empty', '', -32700, 'FST_MCP_PARSE'],
    ['nothing at all', undefined, -32700, 'FST_MCP_PARSE'],
    ['null', 'null', -32600, 'FST_MCP_MESSAGE_INVALID'],
    ['a number', '5', -32600, 'FST_MCP_MESSAGE_INVALID'],
    ['a string', '"ping"', -32600, 'FST_MCP_MESSAGE_INVALID'],
    ['an empty object', {}, -32600, 'FST_MCP_MESSAGE_INVALID'],
    ['no version', { id: 5, method: 'ping' }, -32600, 'FST_MCP_MESSAGE_INVALID', 5],
    ['another version', { jsonrpc: '1.0', id: 'a', method: 'ping' }, -32600, 'FST_MCP_MESSAGE_INVALID', 'a'],
    ['no method', { jsonrpc: '2.0', id: 5 }, -32600, 'FST_MCP_MESSAGE_INVALID', 5],
    ['a method that is no string', { jsonrpc: '2.0', id: 5, method: 7 }, -32600, 'FST_MCP_MESSAGE_INVALID', 5],
    ['params in an array', { jsonrpc: '2.0', id: 5, method: 'ping', params: [] }, -32600, 'FST_MCP_MESSAGE_INVALID', 5],
    ['params in a string', { jsonrpc: '2.0', id: 5, method: 'ping', params: 'x' }, -32600, 'FST_MCP_MESSAGE_INVALID', 5],
    ['result and error', { jsonrpc: '2.0', id: 5, result: {}, error: {} }, -32600, 'FST_MCP_MESSAGE_INVALID', 5],
    ['a result without id', { jsonrpc: '2.0', result: {} }, -32600, 'FST_MCP_MESSAGE_INVALID']
  ]
  for (const way of ways) {
    for (const [name, body, rpc, code, id = way.unreadable] of cases) {
      refused(t, await way.post(body), 400, rpc, code, id, `${way.name}: ${name}`)
    }
  }
})

attack('an id that MCP does not allow is refused, and every other comes back as it was', async (t, { ways }) => {
  const bad = ['null', '1.5', '9007199254740992', '-9007199254740992', '1e400', '{}', '{"toString":1}', '[]', '[1]', 'true', JSON.stringify('x'.repeat(257))]
  for (const way of ways) {
    for (const id of bad) {
      const reply = await way.post(`{"jsonrpc":"2.0","id":${id},"method":"ping"}`)
      refused(t, reply, 400, -32600, 'FST_MCP_ID_INVALID', way.unreadable, `${way.name}: ${id.slice(0, 20)}`)
      refused(t, await way.post(`{"jsonrpc":"2.0","id":${id},"result":{}}`), 400, -32600, 'FST_MCP_ID_INVALID', way.unreadable, 'in a response')
    }
    for (const id of [0, -1, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, '', '0', '\0\r\n', '__proto__', 'x'.repeat(256)]) {
      t.strictSame(await way.ask(ping(id)), { jsonrpc: '2.0', id, result: {} }, `${way.name}: ${JSON.stringify(id).slice(0, 20)}`)
    }
  }
})

t.test('the longest id is an option', async t => {
  const client = await Client.connect(await createApp(t, { limits: { id: 3 } }))
  t.equal((await client.post(ping('abc'))).status, 200)
  refused(t, await client.post(ping('abcd')), 400, -32600, 'FST_MCP_ID_INVALID', undefined, 'one character more')
})

attack('a method or tool that is not known is told inside the answer', async (t, { ways }) => {
  for (const way of ways) {
    for (const method of ['tools/fly', '', '__proto__', 'constructor', 'toString', 'resources/list', 'notifications/initialized']) {
      const answer = await way.ask({ jsonrpc: '2.0', id: 5, method })
      t.match(answer, { id: 5, error: { code: -32601, message: `Method "${method}" is not known`, data: { code: 'FST_MCP_METHOD_NOT_FOUND' } } }, way.name)
    }
    for (const name of ['subtract', '', '__proto__', 'constructor', 'x'.repeat(10_000)]) {
      t.match(await way.ask(call(name, {})), { id: 5, error: { code: -32602, data: { code: 'FST_MCP_TOOL_UNKNOWN' } } }, way.name)
    }
  }
})

attack('`tools/call` without a name or with arguments in another form is refused', async (t, { ways }) => {
  for (const way of ways) {
    for (const message of [call(undefined), call(7), call(null), call('add', []), call('add', null), call('add', 'a=1'), call('add', 3)]) {
      t.match(await way.ask(message), { id: 5, error: { code: -32602, data: { code: 'FST_MCP_PARAMS_INVALID' } } }, `${way.name} ${JSON.stringify(message)}`)
    }
  }
})

attack('arguments that do not fit are told to the model from 2025-11-25 on, to the client before', async (t, { ways }) => {
  for (const way of ways) {
    for (const args of [undefined, {}, { a: 1 }, { a: '1', b: 2 }, { a: null, b: 2 }]) {
      const answer = await way.ask(call('add', args))
      const text = /^Invalid arguments for tool "add": .*[ab]: /
      if (way.name.includes('2025-11-25')) t.match(answer, { id: 5, result: { isError: true, content: [{ type: 'text', text }] } }, way.name)
      else t.match(answer, { id: 5, error: { code: -32602, message: text, data: { code: 'FST_MCP_INPUT_INVALID' } } }, way.name)
    }
  }
})

attack('nesting is bounded before anything recursive reads it', async (t, { ways }) => {
  for (const way of ways) {
    t.equal((await way.post(deepPing(64))).status < 300, true, `${way.name}: 64 levels`)
    for (const body of [deepPing(65), '['.repeat(50_000), '{"a":'.repeat(50_000), '[{"a":'.repeat(500_000)]) {
      refused(t, await way.post(body), 400, -32600, 'FST_MCP_TOO_DEEP', way.unreadable, way.name)
    }
    t.equal((await way.post(JSON.stringify({ ...ping(6), params: { x: '[{"\\"'.repeat(1_000) } }))).status < 300, true, 'brackets in text do not count')
  }
  const client = await Client.connect(await createApp(t, { limits: { depth: 3 } }))
  t.equal((await client.post(deepPing(3))).status, 200)
  refused(t, await client.post(deepPing(4)), 400, -32600, 'FST_MCP_TOO_DEEP', undefined, 'depth 3')
})

attack('keys that could pollute a prototype are refused wherever they are and however they are spelled', async (t, { ways }) => {
  const params = [
    '{"__proto__":{"polluted":1}}', '{"__proto__":null}', '{"a":[{"b":{"__proto__":{}}}]}', '{"\\u005f\\u005fproto\\u005f_":{"polluted":1}}',
    '{"\\u005F_proto__":1}', '{"constructor":{"prototype":{"polluted":1}}}', '{"\\u0063onstructor":{"prototyp\\u0065":1}}',
    '{"a":{"constructor":{"prototype":null}}}'
  ]
  for (const way of ways) {
    for (const text of params) {
      const reply = await way.post(`{"jsonrpc":"2.0","id":5,"method":"ping","params":${text}}`)
      refused(t, reply, 400, -32600, 'FST_MCP_KEY_FORBIDDEN', way.unreadable, `${way.name} ${text}`)
    }
    refused(t, await way.post('{"__proto__":{"jsonrpc":"2.0","id":5,"method":"ping"}}'), 400, -32600, 'FST_MCP_KEY_FORBIDDEN', way.unreadable, way.name)
    for (const harmless of [{ constructor: 'Ferdinand Porsche' }, { constructor: null }, { constructor: { name: 'x' } }, { prototype: {} },
      { text: '__proto__ \u005f constructor.prototype' }, ['__proto__']]) {
      t.match(await way.ask({ jsonrpc: '2.0', id: 5, method: 'ping', params: { harmless } }), { result: {} }, `${way.name} ${JSON.stringify(harmless)}`)
    }
  }
  t.equal('polluted' in {}, false)
})

t.test('names of prototype members are names like others', async t => {
  const app = await createApp(t)
  for (const name of ['__proto__', 'constructor', 'toString']) app.mcp.tool(name, {}, () => name)
  const client = await Client.connect(app)
  for (const name of ['__proto__', 'constructor', 'toString']) t.match(await client.call(name), { result: { content: [{ text: name }] } })
  t.match(await client.request('tools/list'), { result: { tools: [{ name: '__proto__' }, { name: 'constructor' }, { name: 'toString' }] } })
})

attack('a batch is refused where the revision has none', async (t, { ways }) => {
  for (const way of ways.filter(({ name }) => !name.includes('2025-03-26'))) {
    refused(t, await way.post([ping(1), ping(2)]), 400, -32600, 'FST_MCP_BATCH_UNSUPPORTED', way.unreadable, way.name)
    refused(t, await way.post([ping(1)]), 400, -32600, 'FST_MCP_BATCH_UNSUPPORTED', way.unreadable, `${way.name}: one message`)
    const notifications = [{ jsonrpc: '2.0', method: 'notifications/initialized' }]
    refused(t, await way.post(notifications), 400, -32600, 'FST_MCP_BATCH_UNSUPPORTED', way.unreadable, `${way.name}: notifications`)
  }
})

attack('a batch that is none is refused whole', async (t, { ways }) => {
  const initialize = { jsonrpc: '2.0', id: 1, method: 'initialize', params: { protocolVersion: '2025-03-26' } }
  const cases: [name: string, body: unknown[], code: string][] = [
    ['empty', [], 'FST_MCP_BATCH_INVALID'],
    ['101 messages', Array.from({ length: 101 }, (_, id) => ping(id)), 'FST_MCP_BATCH_INVALID'],
    ['3,000 messages', Array.from({ length: 3_000 }, (_, id) => ping(id)), 'FST_MCP_BATCH_INVALID'],
    ['10,000 messages', Array.from({ length: 10_000 }, (_, id) => ping(id)), 'FST_MCP_BATCH_INVALID'],
    ['20,000 messages', Array.from({ length: 20_000 }, (_, id) => ping(id)), 'FST_MCP_TOO_MANY_KEYS'],
    ['`initialize` alone', [initialize], 'FST_MCP_BATCH_INVALID'],
    ['`initialize` among others', [ping(2), initialize], 'FST_MCP_BATCH_INVALID'],
    ['responses among requests', [ping(1), { jsonrpc: '2.0', id: 2, result: {} }], 'FST_MCP_BATCH_INVALID'],
    ['responses among notifications', [{ jsonrpc: '2.0', method: 'x' }, { jsonrpc: '2.0', id: 2, error: {} }], 'FST_MCP_BATCH_INVALID'],
    ['two equal ids', [ping(1), ping(2), ping(1)], 'FST_MCP_BATCH_INVALID'],
    ['a batch in a batch', [[ping(1)]], 'FST_MCP_MESSAGE_INVALID'],
    ['a message that is none', [ping(1), 7], 'FST_MCP_MESSAGE_INVALID'],
    ['null', [null], 'FST_MCP_MESSAGE_INVALID'],
    ['a bad id', [ping(1), ping({})], 'FST_MCP_ID_INVALID']
  ]
  for (const way of ways) {
    for (const [name, body, code] of cases) refused(t, await way.post(body), 400, -32600, code, way.unreadable, `${way.name}: ${name}`)
  }
  const [, , old] = ways
  t.equal((await old?.post(Array.from({ length: 100 }, (_, id) => ping(id))))?.messages.length, 100, '100 messages are let in')
  t.match(await old?.post([ping(1), ping('1')]), { status: 200 }, '1 and "1" are two ids')
})

attack('a response to a request that was never made is refused', async (t, { ways }) => {
  for (const way of ways) {
    for (const id of [99, 'ask']) {
      for (const body of [{ jsonrpc: '2.0', id, result: {} }, { jsonrpc: '2.0', id, error: { code: 1, message: 'x' } }]) {
        refused(t, await way.post(body), 400, -32600, 'FST_MCP_RESPONSE_UNEXPECTED', id, way.name)
      }
    }
  }
  const [, , old] = ways
  const responses = [{ jsonrpc: '2.0', id: 1, result: {} }, { jsonrpc: '2.0', id: 2, result: {} }]
  refused(t, await old!.post(responses), 400, -32600, 'FST_MCP_RESPONSE_UNEXPECTED', null, 'in a batch')
})

attack('a second `initialize` is refused and changes nothing', async (t, { ways }) => {
  const again = { jsonrpc: '2.0', id: 9, method: 'initialize', params: { protocolVersion: '2024-11-05', capabilities: {} } }
  for (const way of ways.filter(({ name }) => !name.startsWith('stateless'))) {
    refused(t, await way.post(again), 400, -32600, 'FST_MCP_SESSION_INITIALIZED', 9, way.name)
  }
  const [latest, , old, stateless] = ways
  t.match(await latest?.ask(call('add', {})), { result: { isError: true } }, 'the revision is what it was')
  t.equal((await old?.post([ping(1)]))?.status, 200, 'the revision is what it was')
  t.match(await stateless?.ask(again), { result: { protocolVersion: '2024-11-05' } }, 'without sessions each one stands alone')
})

attack('an `initialize` that cannot be read is refused', async (t, { app, base }) => {
  const bad = [undefined, {}, { protocolVersion: 7 }, { protocolVersion: '2025-11-25', capabilities: [] }, { protocolVersion: '2025-11-25', capabilities: 'all' },
    { protocolVersion: '2025-11-25', clientInfo: 'me' }, { protocolVersion: null }]
  const before = app.mcp.stats().sessions
  const fresh = new Client(app)
  const sse = await SseClient.open(base)
  for (const params of bad) {
    const message = { jsonrpc: '2.0', id: 'i', method: 'initialize', params }
    refused(t, await fresh.post(message), 400, -32602, 'FST_MCP_PARAMS_INVALID', 'i', JSON.stringify(params))
    refused(t, await sse.post(message), 400, -32602, 'FST_MCP_PARAMS_INVALID', 'i', `HTTP+SSE: ${JSON.stringify(params)}`)
  }
  t.equal(app.mcp.stats().sessions, before + 1, 'no session was made but the one of the stream')
})

attack('an id that is in use is refused while its request is in progress', async (t, { app, base }) => {
  let free = (): void => {}
  app.mcp.tool('wait', {}, () => new Promise(resolve => { free = () => resolve('done') }))
  const wait = { jsonrpc: '2.0', id: 5, method: 'tools/call', params: { name: 'wait' } }

  const client = await Client.connect(base, { revision: '2025-03-26' })
  const first = client.post(wait)
  await until(() => app.mcp.stats().calls === 1, 'the call')
  refused(t, await client.post(ping(5)), 400, -32600, 'FST_MCP_ID_IN_USE', 5, 'Streamable HTTP')
  refused(t, await client.post([ping(6), ping(5)]), 400, -32600, 'FST_MCP_ID_IN_USE', null, 'in a batch')
  t.match(await client.post(ping('5')), { status: 200 }, 'the same digits in a string are another id')
  t.match(await (await Client.connect(base)).post(ping(5)), { status: 200 }, 'another session has ids of its own')
  free()
  t.match((await first).messages, [{ id: 5, result: { content: [{ text: 'done' }] } }])
  t.match(await client.post(ping(5)), { status: 200 }, 'free again')

  const sse = await SseClient.connect(base)
  await sse.post(wait)
  await until(() => app.mcp.stats().calls === 1, 'the call')
  refused(t, await sse.post(ping(5)), 400, -32600, 'FST_MCP_ID_IN_USE', 5, 'HTTP+SSE')
  free()
  t.match(await sse.stream.message(({ id }) => id === 5), { result: {} })
})

attack('an Accept header decides the form of the answer, or is refused', async (t, { app, base }) => {
  app.mcp.tool('talk', {}, async function * () { yield 'a'; yield 'b' })
  const client = await Client.connect(app)
  const body = { jsonrpc: '2.0', id: 5, method: 'tools/call', params: { name: 'talk', _meta: { progressToken: 1 } } }
  const content = [{ type: 'text', text: 'ab' }]
  const accepts: [accept: string | undefined, type: RegExp, messages: number][] = [
    [undefined, /^text\/event-stream/, 3],
    [ACCEPT, /^text\/event-stream/, 3],
    ['*/*', /^text\/event-stream/, 3],
    ['TEXT/*;q=0.5, application/*', /^text\/event-stream/, 3],
    ['application/json', /^application\/json/, 1],
    ['application/json, text/event-stream;q=0', /^application\/json/, 1],
    ['application/json, text/event-stream; q=0.000', /^application\/json/, 1],
    ['application/*', /^application\/json/, 1],
    ['text/event-stream', /^text\/event-stream/, 3]
  ]
  for (const [accept, type, count] of accepts) {
    const headers: Record<string, string> = { 'mcp-session-id': client.sessionId ?? '' }
    if (accept !== undefined) headers.accept = accept
    const reply = await send(app, '/mcp', { method: 'POST', headers, body })
    t.match(reply.headers['content-type'], type, String(accept))
    t.equal(reply.messages.length, count, String(accept))
    t.strictSame(reply.messages.at(-1), { jsonrpc: '2.0', id: 5, result: { content } }, 'the result is whole in each form')
  }
  for (const accept of ['text/html', '', 'application/json;q=0', 'application/jsonp', 'text/event-stream;q=0.0, image/*']) {
    refused(t, await client.post(body, { accept }), 406, -32000, 'FST_MCP_NOT_ACCEPTABLE', 5, `POST ${accept}`)
    refused(t, await send(app, '/mcp', { headers: { accept } }), 406, -32000, 'FST_MCP_NOT_ACCEPTABLE', null, `GET ${accept}`)
    refused(t, await send(app, '/sse', { headers: { accept } }), 406, -32000, 'FST_MCP_NOT_ACCEPTABLE', null, `GET /sse ${accept}`)
  }
  refused(t, await send(base, '/mcp', { headers: { accept: 'application/json' } }), 406, -32000, 'FST_MCP_NOT_ACCEPTABLE', null, 'a GET is a stream or nothing')
})

attack('a client that takes streams alone gets even what is known at once as one', async (t, { app }) => {
  const accept = 'text/event-stream'
  const client = await Client.connect(app, { headers: { accept } })
  t.match(client.server, { protocolVersion: '2025-11-25' })
  const { headers, messages, status } = await client.post(ping(1))
  t.match({ status, headers }, { status: 200, headers: { 'content-type': accept, 'cache-control': 'no-cache, no-transform' } })
  t.strictSame(messages, [{ jsonrpc: '2.0', id: 1, result: {} }])
})

attack('a body of another media type is refused', async (t, { ways }) => {
  for (const way of ways) {
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/json-patch+json', 'json', '']) {
      const reply = await way.post(JSON.stringify(ping(5)), { 'content-type': type })
      refused(t, reply, 415, -32000, 'FST_MCP_MEDIA_TYPE_UNSUPPORTED', way.unreadable, `${way.name}: ${type}`)
    }
    for (const type of ['application/json; charset=utf-8', 'Application/JSON', 'application/json;charset="utf-8"']) {
      t.equal((await way.post(ping(5), { 'content-type': type })).status < 300, true, `${way.name}: ${type}`)
    }
  }
})

const limit = 1_000

attack('a body may be as large as the limit and no larger, with or without a length', async (t, { app, base, ways }) => {
  const sized = (bytes: number): string => JSON.stringify(ping(5)) + ' '.repeat(bytes - JSON.stringify(ping(5)).length)
  for (const way of ways) {
    t.equal((await way.post(sized(limit))).status < 300, true, `${way.name}: ${limit} bytes`)
    refused(t, await way.post(sized(limit + 1)), 413, -32000, 'FST_MCP_BODY_TOO_LARGE', way.unreadable, `${way.name}: ${limit + 1} bytes`)
  }
  const client = await Client.connect(app)
  const lines = Object.entries(client.headers).map(([name, value]) => `${name}: ${value}`)
  const chunked = (text: string): Promise<string> => raw(base,
    'POST /mcp HTTP/1.1', 'host: localhost', 'connection: close', 'content-type: application/json', 'transfer-encoding: chunked', ...lines, '',
    text.length.toString(16), text, '0')
  t.match(await chunked(sized(limit)), /^HTTP\/1.1 200 /)
  const large = await chunked(sized(limit + 1))
  t.match(large, /^HTTP\/1.1 413 /)
  t.match(large, 'FST_MCP_BODY_TOO_LARGE')
}, { limits: { body: limit } })

attack('the connection outlives a body that is too large, so that its reset cannot overtake the answer', async (t, { base }) => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  for (const isReused of [false, true]) {
    const headers = { 'content-type': 'application/json', 'content-length': String(limit + 1) }
    const outgoing = request(new URL('/mcp', base), { method: 'POST', agent, headers })
    outgoing.end(' '.repeat(limit + 1))
    const [response] = await within(once(outgoing, 'response'), 'the refusal')
    const { status } = await read({ status: response.statusCode, headers: response.headers, body: response })
    t.equal(status, 413)
    t.equal(outgoing.reusedSocket, isReused)
  }
}, { limits: { body: limit } })

attack('a header that is longer than the limit is refused', async (t, { app }) => {
  const client = await Client.connect(app)
  for (const name of ['mcp-session-id', 'mcp-protocol-version', 'last-event-id']) {
    const reply = await client.post(ping(5), { [name]: 'x'.repeat(1_025) })
    refused(t, reply, 400, -32000, 'FST_MCP_HEADER_INVALID', 5, name)
    t.match(reply.messages[0]?.error?.message, new RegExp(name))
  }
  refused(t, await client.post(ping(5), { 'mcp-session-id': 'x'.repeat(1_024) }), 404, -32001, 'FST_MCP_SESSION_UNKNOWN', 5, 'as long as may be')
})

attack('a session id that names nothing is a 404, whatever it is made of', async (t, { app, base }) => {
  const sse = await SseClient.open(base)
  const client = await Client.connect(app)
  const ofSse = sse.endpoint.split('=')[1] ?? ''
  for (const id of ['__proto__', 'constructor', 'toString', '%00', '..', ' ', ofSse, `${client.sessionId}x`, client.sessionId?.toLowerCase() ?? '']) {
    const headers = { 'mcp-session-id': id }
    refused(t, await new Client(app, { headers }).post(ping(5)), 404, -32001, 'FST_MCP_SESSION_UNKNOWN', 5, `POST ${id}`)
    refused(t, await send(app, '/mcp', { headers }), 404, -32001, 'FST_MCP_SESSION_UNKNOWN', null, `GET ${id}`)
    refused(t, await send(app, '/mcp', { method: 'DELETE', headers }), 404, -32001, 'FST_MCP_SESSION_UNKNOWN', null, `DELETE ${id}`)
  }
  for (const id of ['__proto__', 'constructor', '', client.sessionId ?? '']) {
    const reply = await send(app, `/messages?sessionId=${id}`, { method: 'POST', body: ping(5) })
    refused(t, reply, 404, -32001, 'FST_MCP_SESSION_UNKNOWN', 5, `/messages ${id}`)
  }
  for (const query of ['', '?', '?sessionid=x', `?sessionId=${ofSse}&sessionId=${ofSse}`, '?sessionId[]=x']) {
    const reply = await send(app, `/messages${query}`, { method: 'POST', body: ping(5) })
    refused(t, reply, 400, -32000, 'FST_MCP_SESSION_REQUIRED', 5, `/messages${query}`)
  }
})

attack('a hostile Last-Event-ID opens nothing that is not the client\'s own', async (t, { app, base }) => {
  app.mcp.tool('secret', {}, async function * () { yield 'a'; yield 'b' })
  const other = await Client.connect(base)
  const { events } = await other.post({ jsonrpc: '2.0', id: 5, method: 'tools/call', params: { name: 'secret', _meta: { progressToken: 1 } } })
  const [priming, firstEvent] = events
  const listening = await other.get()
  const { id: listeningId } = await listening.next()

  const client = await Client.connect(base)
  const call5 = priming?.id?.split('_')[0] ?? ''
  t.match(call5, /\.i5$/)

  // A name that tells its request is answered for that request; nothing else is known of it here.
  for (const id of [priming?.id, firstEvent?.id, `${call5}_999999999999999`, 'forged.i5_1', 'x.s_0', 'x.sNQ_7']) {
    const stream = await client.get(id)
    await stream.closed
    t.equal(stream.status, 200)
    t.match(stream.messages, [{ error: { code: -32000, data: { code: 'FST_MCP_REPLAY_GAP' } } }], `${id}: one error, nothing of the call`)
  }
  const malformed = ['x', '', '_1', 'x_', 'x_-1', 'x_1.5', 'x_0x1', 'x_9999999999999999', `${'x'.repeat(600)}_1`, '__proto___1', 'constructor_1', 'a b_1',
    '../x_1', 'x.i1.5_1', 'x.i_1e400', 'x.ix_1', 'x.q5_1', `${listeningId}`, `${listeningId?.split('_')[0]}_0`]
  for (const id of malformed) {
    const stream = await client.get(id)
    t.equal(stream.status, 200, id)
    await stream.next()
    t.strictSame(stream.messages, [], `${id}: a fresh stream`)
    await stream.close()
  }
  const own = await client.get()
  const { id: ownId = '' } = await own.next()
  await own.close()
  const ahead = await client.get(`${ownId.split('_')[0]}_999999999`)
  await until(() => ahead.comments.length > 0, 'the stream')
  app.mcp.tool('late', {}, () => 'x')
  t.match(await ahead.message(), { method: 'notifications/tools/list_changed' }, 'an id from the future misses nothing that is still to come')
  await ahead.close()
  await listening.close()
  refused(t, await send(base, '/mcp', { headers: { ...client.headers, 'last-event-id': 'x'.repeat(1_025) } }),
    400, -32000, 'FST_MCP_HEADER_INVALID', undefined, 'too long')
})

attack('two GET streams of one session live side by side, and each message goes to one of them', async (t, { app, base }) => {
  const client = await Client.connect(base)
  const [older, newer] = [await client.get(), await client.get()]
  const opened = [await older.next(), await newer.next()].map(({ id }) => id?.split('_')[0])
  t.not(opened[0], opened[1], 'each has ids of its own')

  const tool = app.mcp.tool('one', {}, () => 'x')
  t.match(await newer.message(), { method: 'notifications/tools/list_changed' }, 'the newest hears it')
  const { streams } = app.mcp.stats()
  await newer.close()
  await until(() => app.mcp.stats().streams < streams, 'the server to notice')
  tool.remove()
  t.match(await older.message(), { method: 'notifications/tools/list_changed' }, 'then the one that is left')
  t.equal(older.messages.length + newer.messages.length, 2, 'neither was told twice')
  await older.close()
})

attack('a POST for a session whose stream is gone is answered while the client may come back, and is a 404 after that', async (t, { app, base }) => {
  const client = await Client.connect(base)
  const listener = await client.get()
  await listener.next()
  await listener.close()
  t.match(await client.post(ping(5)), { status: 200 }, 'Streamable HTTP needs no stream')

  const sse = await SseClient.connect(base)
  const { streams } = app.mcp.stats()
  await sse.close()
  await until(() => app.mcp.stats().streams < streams, 'the server to notice')
  t.equal((await sse.post(ping(5))).status, 202)
  const back = await EventStream.open(base, '/sse', { headers: { 'last-event-id': sse.stream.events.at(-1)?.id ?? '' } })
  t.match(await back.message(), { id: 5, result: {} }, 'what was answered while it was away waits for it')
  await back.close()
})

t.test('the session of a stream that nobody came back for is unknown', async t => {
  const app = await createApp(t, { sessions: { replay: { window: 20 } } })
  const base = await listen(app)
  const [sse, other] = [await SseClient.connect(base), await SseClient.connect(base)]
  await sse.close()
  await until(() => app.mcp.stats().sessions === 1, 'the end of the session')
  refused(t, await sse.post(ping(5)), 404, -32001, 'FST_MCP_SESSION_UNKNOWN', 5, 'gone')
  const id = sse.stream.events.at(-1)?.id ?? ''
  const back = await EventStream.open(base, '/sse', { headers: { 'last-event-id': id } })
  t.match(await back.next(), { event: 'endpoint' })
  t.match(back.comments.join(), 'gone', 'the client is told that this session is another')
  t.equal(app.mcp.stats().sessions, 2)
  t.match(await other.request('ping'), { result: {} })
})

attack('a Last-Event-ID on /sse that is unknown or foreign opens a session of its own', async (t, { base }) => {
  const victim = await SseClient.connect(base)
  const { id: theirs = '' } = victim.stream.events.at(-1) ?? {}
  const streamable = await Client.connect(base)
  for (const id of ['x', `${theirs.split('_')[0]}x_1`, '__proto___0', 'constructor_0', `${streamable.sessionId}_0`]) {
    const stream = await EventStream.open(base, '/sse', { headers: { 'last-event-id': id } })
    const { event, data } = await stream.next()
    t.equal(stream.status, 200, id)
    t.match({ event, data }, { event: 'endpoint', data: /^\/messages\?sessionId=/ })
    t.not(data, victim.endpoint, id)
    await stream.close()
  }
  t.match(await victim.request('ping'), { result: {} }, 'the stream of the other goes on')
  await victim.close()
})

attack('a line break in a header ends the request, not the server', async (t, { app, base }) => {
  const client = await Client.connect(app)
  const body = JSON.stringify(ping(5))
  const post = (...headers: string[]): Promise<string> => raw(base, 'POST /mcp HTTP/1.1', 'host: localhost', 'connection: close',
    'content-type: application/json', `accept: ${ACCEPT}`, `content-length: ${body.length}`, ...headers, '', body)
  t.match(await post(`mcp-session-id: ${client.sessionId}`), /^HTTP\/1.1 200 /, 'the request itself is good')
  for (const value of ['a\rb', 'a\nb', 'a\0b', 'a\r\n folded', 'a\n\tfolded', '\x01']) {
    const answer = await post(`mcp-session-id: ${client.sessionId}`, `last-event-id: ${value}`)
    t.match(answer, /^HTTP\/1.1 400 Bad Request/, JSON.stringify(value))
    t.notMatch(answer, 'result', JSON.stringify(value))
  }
  t.match(await post(`mcp-session-id: ${client.sessionId}\r\nx-injected: 1`), /^HTTP\/1.1 200 /, 'CR LF begins the next header')
  t.match(await post(`mcp-session-id: ${'x'.repeat(20_000)}`), /^HTTP\/1.1 431 /, 'headers beyond what Node reads')
})

attack('a header that is repeated is read as one list, which names nothing', async (t, { app, base }) => {
  const client = await Client.connect(app)
  const body = JSON.stringify(ping(5))
  const post = (...headers: string[]): Promise<string> => raw(base, 'POST /mcp HTTP/1.1', 'host: localhost', 'connection: close',
    'content-type: application/json', `content-length: ${body.length}`, ...headers, '', body)
  const session = `mcp-session-id: ${client.sessionId}`
  t.match(await post(session, session), /^HTTP\/1.1 404 .*FST_MCP_SESSION_UNKNOWN/s)
  t.match(await post(session, 'mcp-protocol-version: 2025-06-18', 'mcp-protocol-version: 2025-11-25'), /^HTTP\/1.1 400 .*FST_MCP_REVISION_UNSUPPORTED/s)
  t.match(await post(session, 'accept: application/json', 'accept: text/event-stream'), /^HTTP\/1.1 200 /, 'Accept may be a list')
})
