// What an attacker tried, and what has to come of it.
import { once } from 'node:events'
import { connect as connectSocket, type Socket } from 'node:net'
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import mcp, { type CallToolResult, type StandardSchema } from 'fastify-mcp-sse'
import t from 'tap'
import { z } from 'zod'
import { compileSchema } from '../lib/tools/schema.ts'
import { ACCEPT, Client, createApp, EventStream, listen, type Reply, type RpcMessage, send, SseClient, StatelessClient, until, within } from './client.ts'
import { DeafClient, gate, isSessionless, serve, settles, type Transport, TRANSPORTS } from './sockets.ts'
import { overriding, storeWith } from './stores.ts'

// Whatever nobody waits for would end a process that runs without tap.
const unhandled: unknown[] = []
process.on('unhandledRejection', error => unhandled.push(error))

const callOf = (id: string | number, name: string, args: object = {}, progressToken?: string | number): object =>
  ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: args, ...(progressToken !== undefined && { _meta: { progressToken } }) } })
const pingOf = (id: string | number): object => ({ jsonrpc: '2.0', id, method: 'ping' })
const codeOf = ({ messages: [first] }: Reply): string | undefined => first?.error?.data.code

const broken = (): never => { throw new Error('a trap') }
/** An error that throws at whoever looks at it. */
const opaque = (): Error => new Proxy(new Error('proxy'), { get: broken, has: broken, getPrototypeOf: broken, ownKeys: broken })

/** Writes several requests on one connection without waiting for an answer. */
function pipeline (base: string, requests: string[]): Socket {
  const socket = connectSocket(Number(new URL(base).port), '127.0.0.1')
  socket.on('error', () => {}).resume()
  socket.write(requests.join(''))
  return socket
}

function rawOf (method: string, headers: Record<string, string>, body?: object): string {
  const text = body === undefined ? '' : JSON.stringify(body)
  const sent = { host: 'localhost', accept: ACCEPT, ...(text !== '' && { 'content-type': 'application/json', 'content-length': text.length }), ...headers }
  return `${method} /mcp HTTP/1.1\r\n${Object.entries(sent).map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${text}`
}

t.test('pipelined responses whose turn never came end with their connection', async t => {
  await t.test('streams of a session', async t => {
    const served = await serve(t, '2025-11-25')
    const { app } = served
    const { sessionId = '' } = await served.peer()
    const socket = pipeline(served.url, Array(8).fill(rawOf('GET', { 'mcp-session-id': sessionId })))
    await until(() => app.mcp.stats().streams === 8, 'all streams')
    socket.destroy()
    await until(() => app.mcp.stats().streams === 0, 'the end of all streams')
    t.match(await (await served.peer()).request('ping'), { result: {} })
  })
  for (const [name, token] of [['streams', 't'], ['waits for its answer', undefined]] as const) {
    for (const transport of ['stateless', '2025-11-25'] as const) {
      await t.test(`calls on ${transport}, of a tool that ${name}`, async t => {
        const served = await serve(t, transport, { sessions: { replay: { window: 50 } } })
        const { app } = served
        let [started, finished] = [0, 0]
        app.mcp.tool('hold', {}, async function * (_args, { signal }) {
          started++
          try {
            yield 'one'
            await new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
          } finally {
            finished++
          }
        })
        const { sessionId } = await served.peer()
        const headers: Record<string, string> = sessionId === undefined ? {} : { 'mcp-session-id': sessionId }
        const socket = pipeline(served.url, Array.from({ length: 6 }, (_, id) => rawOf('POST', headers, callOf(id, 'hold', {}, token))))
        await until(() => started === 6 && app.mcp.stats().calls === 6, 'all calls')
        socket.destroy()
        await until(() => finished === 6, 'every finally')
        await until(() => app.mcp.stats().calls === 0 && app.mcp.stats().streams === 0, 'the end of all calls')
      })
    }
  }
})

t.test('what a client says of its capabilities is kept as far as `limits.capabilities` allows', async t => {
  const app = await createApp(t, { limits: { capabilities: 64 } })
  const base = await listen(app)
  const sse = await SseClient.open(base)
  const initialize = (length: number): object => {
    const capabilities = { x: 'x'.repeat(length - '{"x":""}'.length) }
    return { jsonrpc: '2.0', id: 7, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities, clientInfo: {} } }
  }
  const refusal = { status: 400, messages: [{ id: 7, error: { code: -32602, message: /capabilities.*longer than 64 characters/, data: { code: 'FST_MCP_PARAMS_INVALID' } } }] }
  t.match(await new Client(base).post(initialize(65)), refusal)
  t.equal(app.mcp.stats().sessions, 1, 'no session was made')
  t.match(await new Client(base).post(initialize(64)), { status: 200, messages: [{ id: 7, result: {} }] })
  t.match(await sse.post(initialize(65)), refusal)
  t.equal((await sse.post(initialize(64))).status, 202, 'the session was not initialized by what was refused')
  t.match(await sse.stream.message(), { id: 7, result: {} })
  await sse.close()
})

t.test('the endpoint of HTTP+SSE names no host, also when the request does', async t => {
  const app = await createApp(t, { prefix: '/p' })
  const base = await listen(app)
  for (const target of ['/p/sse', 'http://evil.example/p/sse', 'HTTPS://evil.example:1/p/sse?a=http://b']) {
    const deaf = await DeafClient.ask(base, target)
    t.match(await deaf.readTo('\n\n'), /^data: \/p\/messages\?sessionId=[\w-]+$/m, target)
    deaf.close()
  }
})

t.test('a hundred thousand wrong items are answered with ten', async t => {
  const app = await createApp(t, { sessions: false, limits: { values: 200_000 } })
  const base = await listen(app)
  app.mcp.tool('ids', { input: z.object({ ids: z.array(z.string()) }) }, () => 'x')
  const [answer] = (await new Client(base, { headers: { 'mcp-protocol-version': '2025-11-25' } }).post(callOf(1, 'ids', { ids: Array(100_000).fill(0) }))).messages
  const text: string = answer?.result.content[0].text
  t.equal(answer?.result.isError, true)
  t.match(text, /^Invalid arguments for tool "ids": ids\.0: /)
  t.match(text, /; ids\.9: [^;]*; and 99990 more$/)
  t.notMatch(text, 'ids.10')

  const verdict = async (count: number, length: number): Promise<string> => {
    const issues = Array.from({ length: count }, () => ({ message: 'm'.repeat(length) }))
    const judged = await compileSchema(standard(() => ({ issues })), 'input', 'tool').validate({})
    return judged.ok ? '' : judged.message
  }
  t.equal(await verdict(1, 200), 'm'.repeat(200))
  t.equal(await verdict(1, 201), 'm'.repeat(200))
  t.equal(await verdict(10, 1), Array(10).fill('m').join('; '))
  t.equal(await verdict(11, 1), [...Array(10).fill('m'), 'and 1 more'].join('; '))
})

/** A schema that does what a test says. */
function standard (validate: (value: unknown) => unknown): StandardSchema<any> {
  const shown = () => ({ type: 'object' })
  return { '~standard': { version: 1, vendor: 'acme', validate: validate as StandardSchema['~standard']['validate'], jsonSchema: { input: shown, output: shown } } }
}

t.test('over HTTP+SSE a request waits for room in the stream of its answer', async t => {
  /** Whether a promise has settled. */
  const watch = (reply: Promise<Reply>) => {
    const seen = { reply, status: 0 }
    reply.then(({ status }) => { seen.status = status })
    return seen
  }
  const cancelled = (requestId: number): object => ({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId } })

  await t.test('of a client that does not read', async t => {
    const app = await createApp(t, { streams: { buffer: 1_024 } })
    const base = await listen(app)
    let [ran, produced, finished] = [0, 0, false]
    app.mcp.tool('big', {}, () => {
      ran++
      return 'x'.repeat(1_000_000)
    })
    app.mcp.tool('flood', { collect: false }, async function * () {
      try {
        for (;;) {
          produced++
          yield 'x'.repeat(100_000)
        }
      } finally {
        finished = true
      }
    })
    const deaf = await DeafClient.ask(base, '/sse')
    const [, endpoint = ''] = /^data: (.*)$/m.exec(await deaf.readTo('\n\n')) ?? []
    const post = (body: object): Promise<Reply> => send(base, endpoint, { method: 'POST', body })
    t.equal((await post(callOf('flood', 'flood', {}, 't'))).status, 202)
    await settles(() => produced)
    const waiting = Array.from({ length: 30 }, (_, id) => watch(post(callOf(id, 'big'))))
    const hello = watch(post({ jsonrpc: '2.0', id: 'hello', method: 'initialize', params: { protocolVersion: '2024-11-05' } }))
    t.equal((await post({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'flood' } })).status, 202, 'a cancellation does not wait')
    await until(() => finished, 'the end of the flood')
    t.equal((await post(cancelled(99))).status, 202)
    await settles(() => ran)
    t.ok(ran <= 1, `${ran} ran without room`)
    t.equal([...waiting, hello].filter(({ status }) => status !== 0).length, ran, 'none was accepted before')
    // From here on it reads.
    deaf.socket.resume()
    await Promise.all([...waiting, hello].map(({ reply }) => within(reply, 'a request that waited')))
    t.strictSame(waiting.map(({ status }) => status), Array(30).fill(202))
    t.equal(hello.status, 202)
    t.equal(ran, 30)
    deaf.close()
  })

  /** A client that left ten pings behind, of which three found room. */
  const leave = async (app: FastifyInstance, base: string) => {
    const client = await SseClient.connect(base)
    const { streams } = app.mcp.stats()
    await client.close()
    await until(() => app.mcp.stats().streams < streams, 'the server to notice')
    // What it had before counts for the budget as well.
    const pings = Array.from({ length: 10 }, (_, id) => watch(client.post(pingOf(`p${id}`))))
    await until(() => pings.filter(({ status }) => status === 202).length === 2, 'what there is room for')
    t.equal((await client.post(cancelled(1))).status, 202, 'a notification does not wait')
    t.equal((await client.post({ jsonrpc: '2.0', method: 'notifications/initialized' })).status, 202)
    t.equal(pings.filter(({ status }) => status !== 0).length, 2)
    return { client, pings }
  }
  const answersOf = (messages: RpcMessage[]): unknown[] => messages.map(({ id }) => id).filter(id => String(id).startsWith('p')).sort()
  const all = Array.from({ length: 10 }, (_, id) => `p${id}`)

  await t.test('of a client that is away, and goes on when it comes back', async t => {
    const app = await createApp(t, { sessions: { replay: { events: 3 } } })
    const base = await listen(app)
    const { client, pings } = await leave(app, base)
    const back = await EventStream.open(base, '/sse', { headers: { 'last-event-id': client.stream.events.at(-1)?.id ?? '' } })
    await Promise.all(pings.map(({ reply }) => within(reply, 'a request that waited')))
    t.strictSame(pings.map(({ status }) => status), Array(10).fill(202))
    await until(() => back.messages.length === 10, 'all answers')
    t.strictSame(answersOf(back.messages), all)
    await back.close()
  })

  await t.test('of a client that never comes back, and is then told that the session is over', async t => {
    const app = await createApp(t, { sessions: { replay: { events: 3, window: 400 } } })
    const { pings } = await leave(app, await listen(app))
    const replies = await Promise.all(pings.map(({ reply }) => within(reply, 'a request that waited')))
    t.equal(replies.filter(({ status }) => status === 202).length, 2)
    const refused = replies.filter(({ status }) => status === 404)
    t.equal(refused.length, 8)
    for (const reply of refused) t.equal(codeOf(reply), 'FST_MCP_SESSION_UNKNOWN')
    t.equal(app.mcp.stats().sessions, 0)
  })

  await t.test('as far as no more wait than may be in progress', async t => {
    const app = await createApp(t, { sessions: { replay: { events: 3 } }, limits: { callsPerSession: 8 } })
    const base = await listen(app)
    const { client, pings } = await leave(app, base)
    t.match(await client.post(pingOf('p11')), { status: 503, messages: [{ id: 'p11', error: { data: { code: 'FST_MCP_CALLS_FULL' } } }] })
    const back = await EventStream.open(base, '/sse', { headers: { 'last-event-id': client.stream.events.at(-1)?.id ?? '' } })
    await Promise.all(pings.map(({ reply }) => within(reply, 'a request that waited')))
    t.strictSame(pings.map(({ status }) => status), Array(10).fill(202))
    t.equal((await client.post(pingOf('p11'))).status, 202, 'there is room again')
    await back.close()
  })

  await t.test('which does not keep a server that closes', async t => {
    const app = await createApp(t, { sessions: { replay: { events: 3 } } })
    const { pings } = await leave(app, await listen(app))
    await within(app.close(), 'the server', 2_500)
    const replies = await Promise.all(pings.map(({ reply }) => reply))
    t.equal(replies.filter(({ status }) => status === 404).length, 8)
  })
})

t.test('a request that is cancelled while the store works on it gets no answer', async t => {
  let write = (): void => {}
  const app = await createApp(t, {
    store: storeWith(({ sessions }) => ({
      sessions: overriding(sessions, {
        update: () => new Promise(resolve => { write = resolve })
      })
    }))
  })
  const client = await Client.connect(await listen(app))
  const answer = client.post({ jsonrpc: '2.0', id: 'level', method: 'logging/setLevel', params: { level: 'error' } })
  await until(() => app.mcp.stats().calls === 1, 'the request')
  await client.cancel('level')
  write()
  t.match(await answer, { status: 202, text: '' })
  t.equal(app.mcp.stats().calls, 0)
})

t.test('a stream that never carried an event leaves nothing behind', async t => {
  const held: string[] = []
  const store = storeWith(({ events }) => ({
    events: overriding(events, {
      hold (session: string, stream: string) {
        held.push(stream)
        events.hold(session, stream)
      }
    })
  }))
  const app = await createApp(t, { store })
  const base = await listen(app)
  const client = await Client.connect(base)
  const stream = await client.get()
  const { id = '' } = await stream.next()
  t.match(id, /_0$/)
  await stream.close()
  await until(() => app.mcp.stats().streams === 0, 'the server to notice')
  t.strictSame(held, [], 'nothing is kept for it')
  const again = await client.get(id)
  t.equal(again.status, 200)
  const opening = await again.next()
  t.match(opening.id, /_0$/)
  t.not(opening.id, id, 'it is another stream')
  app.mcp.tool('new', {}, () => 'x')
  t.match(await again.message(), { method: 'notifications/tools/list_changed' }, 'which takes what belongs to no call')
  await again.close()
  await until(() => app.mcp.stats().streams === 0, 'the server to notice')
  t.equal(held.length, 1, 'one that carried something is kept')
  t.match((await client.delete()).status, 200)
})

t.test('no more calls are in progress than may be', async t => {
  type Post = (body: unknown) => Promise<Reply>
  const posterOf = async (url: string, transport: Transport): Promise<Post> => {
    if (transport === 'http+sse') {
      const client = await SseClient.connect(url)
      t.teardown(() => client.close())
      return body => client.post(body)
    }
    const client = transport === '2026-07-28'
      ? new StatelessClient(url)
      : await Client.connect(url, { revision: transport === 'stateless' ? '2025-03-26' : transport })
    return body => client.post(body)
  }
  const fullOn = (transport: Transport): object => ({
    status: 503,
    headers: { 'retry-after': /^\d+$/ },
    messages: [{ id: 3, error: { code: transport === '2026-07-28' ? -32603 : -32000, data: { code: 'FST_MCP_CALLS_FULL' } } }]
  })
  const setUp = async (transport: Transport, limits: { calls?: number, callsPerSession?: number }) => {
    const served = await serve(t, transport, { limits })
    const door = gate()
    served.app.mcp.tool('parked', {}, async () => {
      await door.opened
      return 'done'
    })
    await served.peer()
    return { app: served.app, url: served.url, door }
  }
  for (const transport of TRANSPORTS) {
    await t.test(`on ${transport}, of the whole server`, async t => {
      const { app, url, door } = await setUp(transport, { calls: 2 })
      const [post, other] = [await posterOf(url, transport), await posterOf(url, transport)]
      const going = [post(callOf(1, 'parked')), other(callOf(2, 'parked'))]
      await until(() => app.mcp.stats().calls === 2, 'as many as may be')
      t.match(await post(callOf(3, 'parked')), fullOn(transport))
      t.equal((await post({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 9 } })).status, 202, 'a notification is no call')
      door.open()
      await Promise.all(going)
      await until(() => app.mcp.stats().calls === 0, 'the end of both')
      t.ok([200, 202].includes((await post(callOf(3, 'parked'))).status))
      await until(() => app.mcp.stats().calls === 0, 'the end')
    })
    await t.test(`on ${transport}, of each session`, async t => {
      const { app, url, door } = await setUp(transport, { callsPerSession: 2 })
      const [post, other] = [await posterOf(url, transport), await posterOf(url, transport)]
      const going = [post(callOf(1, 'parked')), post(callOf(2, 'parked'))]
      await until(() => app.mcp.stats().calls === 2, 'as many as may be')
      if (isSessionless(transport)) going.push(post(callOf(3, 'parked')))
      else t.match(await post(callOf(3, 'parked')), fullOn(transport))
      going.push(other(callOf(3, 'parked')))
      await until(() => app.mcp.stats().calls === (isSessionless(transport) ? 4 : 3), 'another session')
      door.open()
      t.strictSame([...new Set((await Promise.all(going)).map(({ status }) => status))], [transport === 'http+sse' ? 202 : 200])
      await until(() => app.mcp.stats().calls === 0, 'the end of all')
    })
  }
  for (const transport of ['2025-03-26', 'stateless'] as const) {
    await t.test(`on ${transport}, where each request of a batch counts`, async t => {
      const { app, url, door } = await setUp(transport, { calls: 3 })
      const post = await posterOf(url, transport)
      const refused = { status: 503, headers: { 'retry-after': /^\d+$/ }, messages: [{ error: { data: { code: 'FST_MCP_CALLS_FULL' } } }] }
      t.match(await post([1, 2, 3, 4].map(pingOf)), refused)
      t.equal((await post([1, 2, 3].map(pingOf))).messages.length, 3)
      const going = post([1, 2].map(id => callOf(id, 'parked')))
      await until(() => app.mcp.stats().calls === 2, 'a batch')
      t.match(await post([3, 4].map(pingOf)), refused)
      t.equal((await post([pingOf(3), { jsonrpc: '2.0', method: 'notifications/x' }])).status, 200)
      door.open()
      t.equal((await going).messages.length, 2)
    })
  }
})

t.test('what a tool throws or gives may break whoever looks at it', async t => {
  const lazy = (): Error => Object.defineProperty(new Error('lazy'), 'field', { enumerable: true, get: broken })
  const handlers: Record<string, () => any> = {
    'rejects with a getter that throws': async () => { throw lazy() },
    'throws a getter that throws': () => { throw lazy() },
    'yields, then throws a getter that throws': async function * () {
      yield 'one'
      throw lazy()
    },
    'rejects with a Proxy that throws': async () => { throw new Proxy(new Error('proxy'), { get: broken }) },
    'rejects with a Proxy that throws whatever is asked': async () => { throw opaque() },
    'throws a Proxy that throws whatever is asked': () => { throw opaque() },
    'gives a step whose `value` throws a Proxy': () => ({ next: () => ({ done: false, get value () { throw opaque() } }) }),
    'gives a step whose `done` throws': () => ({ next: () => ({ get done () { return broken() } }) }),
    'gives a last step whose `value` throws': () => ({ next: () => ({ done: true, get value () { return broken() } }) }),
    'gives a step whose `value` throws': () => ({ next: () => ({ done: false, get value () { return broken() } }) }),
    'gives a step later whose `value` throws': () => ({ next: async () => ({ done: false, get value () { return broken() } }) }),
    'gives a value that throws': opaque,
    'gives a thenable that throws': () => ({ then: broken }),
    'gives a thenable that gives itself': () => {
      const self = { then (resolve: (value: unknown) => void) { resolve(self) } }
      return self
    }
  }
  for (const transport of ['2025-11-25', 'stateless', 'http+sse'] as const) {
    const { app, logs, peer } = await serve(t, transport)
    const client = await peer()
    for (const [index, [name, handler]] of Object.entries(handlers).entries()) {
      app.mcp.tool(`t${index}`, {}, handler)
      for (const progressToken of [undefined, `token-${index}`]) {
        const answer = await client.request('tools/call', { name: `t${index}`, _meta: { progressToken } })
        t.match(answer, answer.error === undefined ? { result: { isError: true } } : { error: { code: -32603 } }, `${transport}: a tool that ${name}`)
        t.ok(logs.length > 0, 'and the log says so')
        logs.length = 0
      }
    }
    await until(() => app.mcp.stats().calls === 0, 'the end of all calls')
    app.mcp.tool('next', {}, () => 'fine')
    t.match(await client.request('tools/call', { name: 'next' }), { result: { content: [{ text: 'fine' }] } })
  }
})

t.test('what a tool throws when its call is over already may break whoever looks at it', async t => {
  const { app, logs, peer } = await serve(t, '2025-11-25')
  const failing = gate()
  app.mcp.tool('late', {}, async (_args, { signal }) => {
    await new Promise(resolve => signal.addEventListener('abort', resolve))
    failing.open()
    throw opaque()
  })
  const client = await peer()
  const started = client.start('late')
  await until(() => app.mcp.stats().calls === 1, 'the call')
  await client.cancel(1)
  await started
  await failing.opened
  await until(() => logs.length > 0, 'a line in the log')
  t.match(logs, [{ tool: 'late', msg: 'tool failed while it was ended' }])
})

t.test('what `auth.verify` throws may break whoever looks at it', async t => {
  for (const verify of [async () => { throw opaque() }, () => { throw opaque() }]) {
    const app = await createApp(t, { auth: { verify } }, { logger: { level: 'error', stream: { write: () => {} } } })
    const reply = await new Client(await listen(app), { headers: { authorization: 'Bearer x' } }).post(pingOf(1))
    t.match(reply, { status: 500, messages: [{ error: { data: { code: 'FST_MCP_INTERNAL' } } }] })
  }
})

t.test('`$async` is not part of JSON Schema', async t => {
  const app = await createApp(t)
  for (const side of ['input', 'output']) {
    for (const $schema of ['https://json-schema.org/draft/2020-12/schema', 'http://json-schema.org/draft-07/schema#']) {
      t.throws(() => app.mcp.tool('bad', { [side]: { $schema, $async: true, type: 'object' } }, () => 'x'), { code: 'FST_MCP_SCHEMA_INVALID', message: /\$async/ })
    }
  }
})

t.test('a host that ends the response by itself loses neither the call nor the process', async t => {
  const ways: Record<string, (reply: FastifyReply) => void> = {
    'ends the response': reply => reply.raw.end('mine'),
    'writes to the response': reply => reply.raw.writeHead(200).write('mine'),
    'takes the response': reply => {
      reply.hijack()
      reply.raw.end('mine')
    },
    'breaks the response': reply => reply.raw.destroy(),
    'sends an answer': reply => { reply.send('mine') }
  }
  for (const transport of ['stateless', '2025-11-25'] as const) {
    for (const [name, way] of Object.entries(ways)) {
      for (const token of [undefined, 't']) {
        await t.test(`${transport}: it ${name} of a call ${token === undefined ? 'without' : 'with'} progress`, async t => {
          const app = Fastify({ logger: { level: 'warn', stream: { write: () => {} } } })
          t.teardown(() => app.close())
          let held: FastifyReply | undefined
          app.addHook('preHandler', async ({ headers }, reply) => { if (headers['x-mine'] !== undefined) held = reply })
          await app.register(mcp, { sessions: transport === 'stateless' ? false : { replay: { window: 50 } } })
          const door = gate()
          let finished = false
          app.mcp.tool('late', {}, async function * () {
            try {
              await door.opened
              yield 'one'
              yield 'two'
            } finally {
              finished = true
            }
          })
          const base = await listen(app)
          const client = await Client.connect(base)
          const reply = client.post(callOf(1, 'late', {}, token), { 'x-mine': '1' }).catch(() => {})
          await until(() => app.mcp.stats().calls === 1, 'the call')
          if (held !== undefined) way(held)
          door.open()
          await until(() => finished && app.mcp.stats().calls === 0, 'the end of the call')
          if (name === 'writes to the response') held?.raw.destroy()
          await reply
          await until(() => app.mcp.stats().streams === 0, 'the end of the stream')
          t.match(await client.request('ping'), { result: {} })
          await within(app.close(), 'the server', 2_500)
        })
      }
    }
  }
})

t.test('a store that fails in the background is told to the log', async t => {
  const down = new Error('the store is down')
  const failures: Record<string, () => any> = {
    'that rejects': () => Promise.reject(down),
    'that throws': () => { throw down }
  }
  for (const [name, fail] of Object.entries(failures)) {
    for (const method of ['touch', 'delete'] as const) {
      await t.test(`${method} ${name}`, async t => {
        let isDown = false
        const store = storeWith(({ sessions }) => ({
          sessions: overriding(sessions, {
            touch: record => isDown && method === 'touch' ? fail() : sessions.touch(record),
            delete: id => isDown && method === 'delete' ? fail() : sessions.delete(id)
          })
        }))
        const { app, logs } = await serve(t, 'http+sse', { store, sessions: { idle: 60, replay: { window: 20 } } })
        const client = await SseClient.open(await listen(app))
        isDown = true
        if (method === 'delete') await client.close()
        await until(() => logs.length > 0, 'a line in the log')
        t.match(logs[0], { level: 50, msg: 'the store failed', err: { message: down.message } })
        isDown = false
        if (method === 'delete') await until(() => app.mcp.stats().streams === 0, 'the end of the stream')
        else t.match(await client.request('ping'), { result: {} }, 'the session goes on')
        await client.close()
      })
    }
  }
})

t.test('a stream is resumed whatever the id of its request is', async t => {
  const app = await createApp(t)
  const base = await listen(app)
  const client = await Client.connect(base)
  const told = [gate(), gate(), gate(), gate(), gate()]
  app.mcp.tool('late', { input: z.object({ n: z.number() }) }, async function * ({ n }) {
    yield 'one'
    await told[n]?.opened
    return '!'
  })
  const ids = ['a'.repeat(256), 'é'.repeat(190), '€'.repeat(256), '\ud800', 'x\udfff']
  for (const [n, id] of ids.entries()) {
    const stream = await client.stream(callOf(id, 'late', { n }, n))
    const events = [await stream.next(), await stream.next()]
    const last = events[1]?.id ?? ''
    t.equal(/\.s/.test(last), n === 0, 'the stream names the request as far as it can')
    await stream.close()
    await until(() => app.mcp.stats().streams === 0, 'the server to notice')
    const back = await client.get(last)
    t.equal(back.status, 200)
    told[n]?.open()
    t.match(await back.message(), { id, result: { content: [{ text: 'one!' }] } })
    await back.closed
    const again = await client.get(last)
    t.match(await again.message(), { id, result: {} }, 'also when the call is over')
    await again.close()
    await until(() => app.mcp.stats().streams === 0, 'the server to notice')
  }
})

t.test('over HTTP+SSE a client that lost more answers than can be named gets a fresh session', async t => {
  const app = await createApp(t, { sessions: { replay: { events: 10 } } })
  const base = await listen(app)
  for (const [answers, isFresh] of [[1_000, false], [1_200, true]] as const) {
    const client = await SseClient.connect(base, { revision: '2025-03-26' })
    for (let first = 0; first < answers; first += 100) {
      t.equal((await client.post(Array.from({ length: 100 }, (_, index) => pingOf(first + index)))).status, 202)
    }
    await until(() => client.stream.messages.length >= answers, 'all answers')
    const { streams } = app.mcp.stats()
    await client.close()
    await until(() => app.mcp.stats().streams < streams, 'the server to notice')
    const back = await EventStream.open(base, '/sse', { headers: { 'last-event-id': client.stream.events[1]?.id ?? '' } })
    const { event, data } = await back.next()
    t.equal(event, 'endpoint')
    t.equal(data !== client.endpoint, isFresh)
    t.match(back.comments.join(), isFresh ? 'this is a new one' : 'some events are lost')
    if (isFresh) {
      t.equal((await client.post(pingOf(1))).status, 404, 'the old session is over')
    } else {
      await until(() => back.messages.length >= answers, 'a word on each answer')
      t.equal(new Set(back.messages.map(({ id }) => id)).size, answers, 'none is passed over in silence')
    }
    await back.close()
    await until(() => app.mcp.stats().streams === 0, 'the server to notice')
  }
})

t.test('a schema', async t => {
  const never = standard(() => new Promise(() => {}))
  // A thenable that is no Promise, as some libraries have.
  const deferred = standard(() => ({ then: () => {} }))
  type Tool = [name: string, input: StandardSchema<any> | undefined, output: StandardSchema<any> | undefined, handler: () => any]
  const hanging: Tool[] = [
    ['input', never, undefined, () => 'x'],
    ['deferred', deferred, undefined, () => 'x'],
    ['output', undefined, never, () => ({ a: 1 })],
    ['late-output', undefined, never, async () => ({ a: 1 })],
    ['streamed-output', undefined, never, async function * () { return { a: 1 } }]
  ]
  const register = (app: FastifyInstance, tools: Tool[]): void => {
    for (const [name, input, output, handler] of tools) {
      if (output === undefined) app.mcp.tool(name, { ...(input && { input }) }, handler)
      else app.mcp.tool(name, { ...(input && { input }), output }, handler)
    }
  }

  await t.test('that never settles ends with the time of its tool', async t => {
    for (const transport of ['2025-11-25', 'stateless', 'http+sse'] as const) {
      const { app, peer } = await serve(t, transport, { tools: { timeout: 30, grace: 10 } })
      register(app, hanging)
      const client = await peer()
      for (const [name] of hanging) {
        t.match(await client.request('tools/call', { name }), { result: { isError: true, content: [{ text: 'The tool ran longer than 30 ms' }] } }, `${transport}: ${name}`)
      }
      t.equal(app.mcp.stats().calls, 0)
    }
  })

  await t.test('that never settles ends with a cancellation, its session and its server', async t => {
    const app = await createApp(t)
    register(app, hanging)
    const base = await listen(app)
    const client = await Client.connect(base)
    const startAll = async (): Promise<Promise<Reply>[]> => {
      const replies = hanging.map(([name], id) => client.post(callOf(id, name)))
      await until(() => app.mcp.stats().calls === hanging.length, 'all calls')
      return replies
    }
    let replies = await startAll()
    for (const id of hanging.keys()) t.equal((await client.cancel(id)).status, 202)
    t.strictSame((await Promise.all(replies)).map(({ status }) => status), hanging.map(() => 202))
    t.equal(app.mcp.stats().calls, 0)

    replies = await startAll()
    t.equal((await client.delete()).status, 200)
    await Promise.all(replies)
    t.match(app.mcp.stats(), { calls: 0, sessions: 0 })

    const other = await Client.connect(base)
    replies = hanging.map(([name], id) => other.post(callOf(id, name)))
    await until(() => app.mcp.stats().calls === hanging.length, 'all calls')
    await within(app.close(), 'the server', 2_500)
    for (const { messages } of await Promise.all(replies)) t.match(messages, [{ error: { data: { code: 'FST_MCP_CLOSING' } } }])
    t.equal(app.mcp.stats().calls, 0)
  })

  await t.test('that gives neither a value nor issues is a failure of the server', async t => {
    const { app, logs, peer } = await serve(t, '2025-11-25')
    const client = await peer()
    const outcomes: [name: string, validate: () => unknown][] = [
      ['nothing', () => undefined], ['null', () => null], ['number', () => 5], ['empty', () => ({})], ['text', () => 'x'],
      ['no-issues', () => ({ issues: null })], ['issues-of-text', () => ({ issues: 'abc' })], ['issue-null', () => ({ issues: [null] })],
      ['getter', () => ({ get issues () { return broken() } })],
      ['throws', broken], ['throws-proxy', () => { throw opaque() }],
      ['throws-nothing', () => { throw undefined }] // eslint-disable-line no-throw-literal -- handlers may throw anything
    ]
    for (const [name, validate] of outcomes) {
      for (const [form, wrapped] of [['now', validate], ['later', async () => validate()], ['thenable', () => ({
        then (resolve: (value: unknown) => void, reject: (error: unknown) => void) {
          try {
            resolve(validate())
          } catch (error) {
            reject(error)
          }
        }
      })]] as const) {
        let ran = false
        app.mcp.tool(`in-${name}-${form}`, { input: standard(wrapped) }, () => {
          ran = true
          return 'x'
        })
        app.mcp.tool(`out-${name}-${form}`, { output: standard(wrapped) }, () => ({ a: 1 }))
        t.match(await client.request('tools/call', { name: `in-${name}-${form}` }), { error: { code: -32603 } }, `in ${name} ${form}`)
        t.equal(ran, false, 'no handler ran')
        t.ok(logs.length > 0, 'the log says why')
        logs.length = 0
        t.match(await client.request('tools/call', { name: `out-${name}-${form}` }), { result: { isError: true } }, `out ${name} ${form}`)
        t.ok(logs.length > 0, 'the log says why')
        logs.length = 0
      }
    }
    t.equal(app.mcp.stats().calls, 0)
  })

  await t.test('that gives a thenable which is no Promise is waited for', async t => {
    const app = await createApp(t)
    const later = (outcome: object): StandardSchema<any> =>
      standard(() => ({ then (resolve: (value: unknown) => void) { setImmediate(() => resolve(outcome)) } }))
    app.mcp.tool('good', { input: later({ value: { n: 7 } }), output: later({ value: { n: 8 } }) }, () => ({ n: 1 }))
    app.mcp.tool('bad', { input: later({ issues: [{ message: 'no' }] }) }, () => 'x')
    app.mcp.tool('wrong', { output: later({ issues: [{ message: 'no' }] }) }, () => ({}))
    const client = await Client.connect(await listen(app))
    t.match(await client.call('good'), { result: { structuredContent: { n: 8 } } })
    t.match(await client.call('bad'), { result: { isError: true, content: [{ text: 'Invalid arguments for tool "bad": no' }] } })
    t.match(await client.call('wrong'), { result: { isError: true } })
  })
})

t.test('`streams.max` holds for clients that take streams alone, and their answer is a finished event', async t => {
  for (const transport of ['2025-11-25', '2025-03-26', 'stateless'] as const) {
    const { app } = await serve(t, transport, { streams: { max: 2, openAfter: 500 } })
    const base = await listen(app)
    const door = gate()
    const open: number[] = []
    app.mcp.tool('late', {}, async function * () {
      await door.opened
      yield 'told'
      open.push(app.mcp.stats().streams)
      return '!'
    })
    const clients = await Promise.all(Array.from({ length: 8 }, () => Client.connect(base, { revision: transport === 'stateless' ? '2025-11-25' : transport })))
    const replies = clients.map((client, id) => client.post(callOf(id, 'late', {}, id), { accept: 'text/event-stream' }))
    await until(() => app.mcp.stats().calls === 8 && app.mcp.stats().streams === 2, 'all calls')
    door.open()
    const answers = await Promise.all(replies)
    t.strictSame(open, Array(8).fill(2), transport)
    for (const [id, { status, headers, messages }] of answers.entries()) {
      t.equal(status, 200)
      t.equal(headers['content-type'], 'text/event-stream')
      t.match(messages.at(-1), { id, result: { content: [{ text: 'told!' }] } })
    }
    t.equal(answers.filter(({ messages }) => messages.length === 1).length, 6, 'where there was no room the answer came alone')
    t.equal(answers.filter(({ messages }) => messages.length === 2).length, 2)
  }
})

t.test('no two principals share a session', async t => {
  const principals: Record<string, any> = {
    a: { issuer: 'i', id: 'x\ny' },
    b: { issuer: 'i\nx', id: 'y' },
    c: { id: '1:ax' },
    d: { issuer: 'a', id: 'x' },
    e: { issuer: '', id: '1:ax' },
    f: { issuer: '1', id: ':ax' },
    object: { issuer: { a: 1 }, id: 'z' },
    array: { issuer: ['i'], id: 'z' },
    number: { issuer: 5, id: 'z' },
    null: { issuer: null, id: 'z' }
  }
  const url = await listen(await createApp(t, { auth: { verify: token => principals[token] } }))
  const as = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` })
  const known = ['a', 'b', 'c', 'd', 'f']
  for (const owner of known) {
    const client = await Client.connect(url, { headers: as(owner) })
    const sse = await SseClient.open(url, { headers: as(owner) })
    for (const other of known) {
      t.equal((await client.post(pingOf(1), as(other))).status, other === owner ? 200 : 404, `${owner}, ${other}`)
      t.equal((await sse.post(pingOf(1), as(other))).status, other === owner ? 202 : 404, `${owner}, ${other} over HTTP+SSE`)
    }
    await sse.close()
  }
  const none = await Client.connect(url, { headers: as('c') })
  t.equal((await none.post(pingOf(1), as('e'))).status, 200, 'an empty issuer is none')
  for (const token of ['object', 'array', 'number', 'null']) {
    const reply = await new Client(url, { headers: as(token) }).post(pingOf(1))
    t.equal(reply.status, 500)
    t.equal(codeOf(reply), 'FST_MCP_PRINCIPAL_INVALID', token)
  }
})

t.test('a log entry always has data', async t => {
  const app = await createApp(t)
  app.mcp.tool('log', {}, (_args, { log }) => { log.info(undefined) })
  const client = await Client.connect(await listen(app))
  const { messages } = await client.post(callOf(1, 'log'))
  t.strictSame(messages[0]?.params, { level: 'info', data: null })
})

t.test('with an output schema a whole result has the value as its structured content, unless it says that it failed', async t => {
  const app = await createApp(t)
  const output = { type: 'object', properties: { a: { type: 'number' } }, required: ['a'] }
  const whole = (isError?: boolean, a: unknown = 1): CallToolResult => ({ content: [{ type: 'text', text: 'mine' }], structuredContent: { a }, isError })
  app.mcp.tool('whole', { output }, () => whole())
  app.mcp.tool('wrong', { output }, () => whole(false, 'one'))
  app.mcp.tool('bare', { output }, () => ({ content: [{ type: 'text', text: 'mine' }] }))
  app.mcp.tool('not-failed', { output }, () => whole(false))
  app.mcp.tool('failed', { output }, () => whole(true))
  const client = await Client.connect(await listen(app))
  for (const name of ['whole', 'not-failed']) t.match(await client.call(name), { result: { content: [{ text: 'mine' }], structuredContent: { a: 1 } } }, name)
  for (const name of ['wrong', 'bare']) t.match(await client.call(name), { result: { isError: true, content: [{ text: /failed; the server's log/ }] } }, name)
  t.match(await client.call('failed'), { result: { isError: true, content: [{ text: 'mine' }] } })
})

t.test('whatever was tried, no rejection was left to nobody', async t => {
  await new Promise(resolve => setImmediate(resolve))
  t.strictSame(unhandled, [])
})

t.test('who sends on and on after a 413 is cut off after a while', async t => {
  const app = await createApp(t, { limits: { body: 1_000 } })
  const base = await listen(app)
  const socket = connectSocket(Number(new URL(base).port), '127.0.0.1')
  t.teardown(() => socket.destroy())
  let text = ''
  socket.on('error', () => {}).setEncoding('utf8').on('data', chunk => { text += chunk })
  const closed = once(socket, 'close')
  socket.write(rawOf('POST', { 'content-type': 'application/json', 'content-length': '100000000' }) + 'x'.repeat(2_000))
  await until(() => text.includes('FST_MCP_BODY_TOO_LARGE'), 'the refusal')
  const drip = setInterval(() => socket.write('x'), 100)
  await within(closed, 'the end of the connection')
  clearInterval(drip)
  t.match(text, /^HTTP\/1.1 413/)
})
