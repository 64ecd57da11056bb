// What those who look on see of each call: how long it took, what was sent, how it ended; on channels and in the log.
import { AsyncLocalStorage } from 'node:async_hooks'
import { channel } from 'node:diagnostics_channel'
import { setImmediate as turn } from 'node:timers/promises'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import { type CallEndEvent, type CallStartEvent, errorCodes, type KickEvent, McpError, type McpOptions, type ResumeEvent, ToolError } from 'fastify-mcp-sse'
import t, { type Test } from 'tap'
import { z } from 'zod'
import { EVERYTHING } from './asking.ts'
import { Client, createApp, listen, StatelessClient, until } from './client.ts'
import { hear } from './observer.ts'
import { ERAS, offer, revisionOf } from './peers.ts'
import { gate, serve, TRANSPORTS } from './sockets.ts'

const token = { _meta: { progressToken: 'p' } }
let count = 0
const nextName = (): string => `watched-${++count}`

/** Tools that end in each way. */
function fill (app: FastifyInstance): void {
  app.mcp.tool('say', {}, async function * () {
    yield 'grüß '
    yield 'Gott'
  })
  app.mcp.tool('plain', {}, () => 'now')
  app.mcp.tool('sorry', {}, () => { throw new ToolError('not now') })
  app.mcp.tool('bug', {}, () => { throw new TypeError('on purpose') })
  app.mcp.tool('own', {}, () => { throw new McpError(4711, 'mine') })
  app.mcp.tool('slow', { timeout: 20 }, () => new Promise(() => {}))
  app.mcp.tool('strict', { input: z.object({ n: z.number() }) }, ({ n }) => String(n))
  app.mcp.tool('mute', {}, () => ({ content: [{ type: 'text', text: 'no' }], isError: true }))
  app.mcp.resource('doc://secret', {}, () => 'text')
  app.mcp.resource('doc://query{?key}', {}, () => 'text')
  app.mcp.prompt('greet', {}, () => 'hello')
}

const ends: [method: string, params: object, expected: object][] = [
  ['tools/call', { name: 'say', ...token }, { outcome: 'ok', code: undefined, error: undefined, chunks: 2 }],
  ['tools/call', { name: 'plain' }, { outcome: 'ok', chunks: 0, firstChunk: undefined, blocked: 0 }],
  ['tools/call', { name: 'sorry' }, { outcome: 'tool_error', code: undefined, error: { message: 'not now' } }],
  ['tools/call', { name: 'mute' }, { outcome: 'tool_error', code: undefined, error: undefined }],
  ['tools/call', { name: 'bug' }, { outcome: 'tool_error', code: 'FST_MCP_INTERNAL', rpcCode: undefined, error: { message: 'on purpose' } }],
  ['tools/call', { name: 'own' }, { outcome: 'error', code: '4711', rpcCode: 4711, error: { message: 'mine' } }],
  ['tools/call', { name: 'slow' }, { outcome: 'tool_error', code: 'FST_MCP_TOOL_TIMEOUT' }],
  ['tools/call', { name: 'nobody' }, { outcome: 'error', code: 'FST_MCP_TOOL_UNKNOWN', rpcCode: -32602 }],
  ['resources/read', { uri: 'doc://secret' }, { outcome: 'ok' }],
  ['resources/read', { uri: 'doc://query?key=secret' }, { outcome: 'ok' }],
  ['resources/read', {}, { outcome: 'error', code: 'FST_MCP_URI_INVALID' }],
  ['prompts/get', { name: 'greet' }, { outcome: 'ok' }]
]

for (const era of ERAS) {
  t.test(`on ${era} each call is told of once when it begins and once when it ends`, async t => {
    const server = nextName()
    const { app, peer } = await offer(t, era, { name: server })
    fill(app)
    const starts = hear<CallStartEvent>(t, 'fastify-mcp-sse:call:start', server)
    const ended = hear<CallEndEvent>(t, 'fastify-mcp-sse:call:end', server)
    const client = await peer()
    for (const [method, params, expected] of ends) {
      // What a client asks for to come in is a call too.
      starts.length = ended.length = 0
      const { id } = await client.request(method, params)
      const [end] = ended
      t.match(end, { ...expected, server, call: { id, method, revision: revisionOf(era), target: Object.values(params)[0] } }, JSON.stringify(params))
      t.equal(starts.length + ended.length, 2)
      t.equal(starts[0]?.call, end?.call, 'the same object')
      t.ok(end !== undefined && end.bytes > 0 && end.duration >= (end.firstChunk ?? 0))
    }
  })
}

/** An app whose log is kept. */
async function logged (t: Test, options: McpOptions = {}, server: FastifyServerOptions = {}) {
  const lines: Line[] = []
  const app = await createApp(t, options, { logger: { stream: { write: (line: string) => { lines.push(JSON.parse(line)) } } }, ...server })
  fill(app)
  return { app, ofCalls: () => lines.filter(({ msg }) => msg === 'call ended') }
}

interface Line { level: number, msg: string, reqId: string, call: Record<string, unknown> }

t.test('the log has one line for each call of a handler, and none for others', async t => {
  const { app, ofCalls } = await logged(t, { auth: { tokens: [{ token: 'of-ada', principal: 'ada' }] } })
  const client = await Client.connect(app, { headers: { authorization: 'Bearer of-ada' } })
  await client.request('tools/list')
  await client.request('ping')
  t.strictSame(ofCalls(), [])
  await client.call('say', {}, 'p')
  const [line] = ofCalls()
  const { duration, firstChunk, bytes, blocked, ...call } = line?.call ?? {}
  t.strictSame(call, { method: 'tools/call', target: 'say', revision: '2025-11-25', principal: 'ada', outcome: 'ok', chunks: 2 })
  for (const figure of [duration, firstChunk, bytes, blocked]) t.type(figure, 'number')
  t.match(line, { level: 30, reqId: /^req-/ })
})

t.test('the log tells no query and no password of a resource, and no name without end', async t => {
  const { app, ofCalls } = await logged(t)
  const client = await Client.connect(app)
  await client.request('resources/read', { uri: 'doc://query?key=secret' })
  await client.request('resources/read', { uri: 'doc://secret#anchor' })
  await client.request('resources/read', { uri: 'postgres://ada:secret@host/table' })
  await client.request('resources/read')
  await client.call('x'.repeat(300))
  t.strictSame(ofCalls().map(({ call }) => call.target), ['doc://query', 'doc://secret', 'postgres://host/table', undefined, 'x'.repeat(256)])
})

t.test('a log that is not read at `info` gets no line, and one that cannot say so gets them all', async t => {
  const quiet = await logged(t, {}, { logger: { level: 'warn', stream: { write () { t.fail('nothing is wrong') } } } })
  await (await Client.connect(quiet.app)).call('plain')
  await (await Client.connect((await logged(t, {}, { logger: false })).app)).call('plain')
  const lines: unknown[][] = []
  const nothing = (): void => {}
  const info = (...line: unknown[]): void => { lines.push(line) }
  const own = { level: 'info', info, error: nothing, debug: nothing, fatal: nothing, warn: nothing, trace: nothing, silent: nothing, child: () => own }
  const app = await createApp(t, {}, { loggerInstance: own })
  fill(app)
  await (await Client.connect(app)).call('plain')
  t.equal(lines.filter(([, message]) => message === 'call ended').length, 1)
})

t.test('an error that a client reads names the request in the log', async t => {
  const { app, ofCalls } = await logged(t, {}, { genReqId: () => 'request-7' })
  const client = await Client.connect(app)
  t.match((await client.call('nobody')).error, { data: { code: 'FST_MCP_TOOL_UNKNOWN', request: 'request-7' } })
  t.strictSame((await client.call('own')).error, { code: 4711, message: 'mine' }, 'what the application says is its own')
  t.equal(ofCalls()[0]?.reqId, 'request-7')
  const { messages: [refused] } = await client.post('{')
  t.match(refused?.error, { data: { code: 'FST_MCP_PARSE', request: 'request-7' } })
})

for (const transport of TRANSPORTS) {
  t.test(`on ${transport} a store that is bound to the start of calls holds for all that a handler does`, async t => {
    const server = nextName()
    const { app, peer } = await serve(t, transport, { name: server })
    const storage = new AsyncLocalStorage<unknown>()
    const start = channel('fastify-mcp-sse:call:start')
    start.bindStore(storage, message => {
      const { call, server: of } = message as CallStartEvent
      return of === server ? call.target : undefined
    })
    t.teardown(() => start.unbindStore(storage))
    const seen: unknown[] = []
    app.mcp.tool('chunks', {}, async function * (_args, { signal }) {
      signal.addEventListener('abort', () => seen.push('aborted'))
      for (let chunk = 0; chunk < 3; chunk++) {
        yield 'x'.repeat(30_000)
        await turn()
        seen.push(storage.getStore())
      }
      seen.push(storage.getStore())
    })
    app.mcp.use({ onCall ({ method }) { if (method === 'tools/call') seen.push(storage.getStore()) }, onResult () { seen.push(storage.getStore()) } })
    const call = await (await peer()).start('chunks', {}, 'p')
    await call.answer()
    t.strictSame(seen.slice(-6), Array(6).fill('chunks'))
    t.equal(storage.getStore(), undefined)
  })

  t.test(`on ${transport} the time in which a client reads nothing is told, and what waits for it`, async t => {
    const server = nextName()
    const { app, peer } = await serve(t, transport, { name: server, sessions: { replay: { bytes: 1_000 } } })
    const ended = hear<CallEndEvent>(t, 'fastify-mcp-sse:call:end', server)
    app.mcp.tool('flood', { collect: false }, async function * (_args, { progress }) {
      for (let count = 0; count < 200; count += 2) {
        // Two that wait at once are one wait.
        await Promise.all([progress(count + 1, undefined, 'x'.repeat(25_000)), progress(count + 2, undefined, 'x'.repeat(25_000))])
      }
    })
    const { id, deaf } = await (await peer()).startDeaf('flood')
    await until(() => app.mcp.stats().queued > 50_000, 'a full stream')
    await new Promise(resolve => setTimeout(resolve, 50))
    await deaf.readTo(`"id":${id},`)
    await until(() => ended.some(({ call }) => call.id === id), 'the end of the call')
    deaf.close()
    const end = ended.find(({ call }) => call.id === id)
    t.match(end, { outcome: 'ok', chunks: 200 })
    t.ok(end !== undefined && end.blocked >= 49 && end.blocked <= end.duration && end.bytes > 5_000_000, `blocked for ${end?.blocked} ms of ${end?.duration}`)
  })
}

t.test('a call that its client gives up ends as cancelled, with the wait that it was in', async t => {
  const server = nextName()
  const { app, peer } = await serve(t, '2025-11-25', { name: server, sessions: { replay: { bytes: 1_000 } } })
  const ended = hear<CallEndEvent>(t, 'fastify-mcp-sse:call:end', server)
  app.mcp.tool('flood', { collect: false }, async function * () {
    for (;;) yield 'x'.repeat(50_000)
  })
  const { deaf, cancel } = await (await peer()).startDeaf('flood')
  await until(() => app.mcp.stats().queued > 50_000, 'a full stream')
  await new Promise(resolve => setTimeout(resolve, 20))
  await cancel()
  await until(() => ended.length > 0, 'the end of the call')
  deaf.close()
  const end = ended.find(({ call }) => call.target === 'flood')
  t.match(end, { outcome: 'cancelled', code: 'FST_MCP_CANCELLED', error: errorCodes.FST_MCP_CANCELLED })
  t.ok(end !== undefined && end.blocked >= 19, `blocked for ${end?.blocked} ms`)
})

t.test('a client that hangs up on 2026-07-28 ends its call as cancelled', async t => {
  const server = nextName()
  const { app, peer } = await serve(t, '2026-07-28', { name: server })
  const ended = hear<CallEndEvent>(t, 'fastify-mcp-sse:call:end', server)
  app.mcp.tool('wait', {}, async function * (_args, { signal }) {
    yield 'here'
    await new Promise(resolve => signal.addEventListener('abort', resolve))
  })
  const call = await (await peer()).start('wait', {}, 'p')
  await call.stream.close()
  await until(() => ended.length > 0, 'the end of the call')
  t.match(ended, [{ outcome: 'cancelled', code: 'FST_MCP_CLIENT_GONE', chunks: 1 }])
})

t.test('a call that asks its client on 2026-07-28 ends in what it asks', async t => {
  const server = nextName()
  const app = await createApp(t, { name: server })
  const ended = hear<CallEndEvent>(t, 'fastify-mcp-sse:call:end', server)
  app.mcp.tool('ask', {}, async (_args, { ask }) => {
    await ask('name', 'Who?', z.object({ name: z.string() }))
  })
  const { result } = await new StatelessClient(app, { capabilities: EVERYTHING }).call('ask')
  t.equal(result.resultType, 'input_required')
  t.match(ended, [{ outcome: 'input_required', code: undefined, error: undefined }])
})

t.test('who comes back is told of: with all that it missed, or with less', async t => {
  const server = nextName()
  const app = await createApp(t, { name: server, sessions: { replay: { events: 3 } } })
  const resumed = hear<ResumeEvent>(t, 'fastify-mcp-sse:resume', server)
  app.mcp.tool('long', {}, async function * () {
    for (let chunk = 0; chunk < 6; chunk++) yield `${chunk}`
  })
  const door = gate()
  app.mcp.tool('wait', {}, async function * () {
    yield 'here'
    await door.opened
  })
  const url = await listen(app)
  const client = await Client.connect(url)
  const long = await client.post({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'long', ...token } })
  const ids = long.events.map(({ id }) => id ?? '')
  await (await client.get(ids.at(-3))).close()
  await (await client.get(ids.at(1))).close()
  const wait = await client.stream({ jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name: 'wait', ...token } })
  const { id = '' } = await wait.next()
  await (await client.get(id)).message()
  door.open()
  t.strictSame(resumed, [
    { server, replayed: 2, isComplete: true, isLive: false },
    { server, replayed: 0, isComplete: false, isLive: false },
    { server, replayed: 1, isComplete: true, isLive: true }
  ])
})

t.test('connections that the server breaks are told of, each with its reason', async t => {
  const server = nextName()
  const served = await serve(t, '2025-11-25', { name: server, streams: { stall: 60, buffer: 1_000 } })
  const { app, peer } = served
  const kicks = hear<KickEvent>(t, 'fastify-mcp-sse:kick', server)
  app.mcp.tool('flood', { collect: false }, async function * () {
    for (;;) yield 'x'.repeat(50_000)
  })
  const { deaf } = await (await peer()).startDeaf('flood')
  await until(() => kicks.length > 0, 'the stalled stream')
  deaf.close()
  const client = await Client.connect(served.url)
  const first = await client.get()
  app.mcp.tool('new', {}, () => '')
  const { id = '' } = await first.next()
  const second = await client.get(id)
  t.strictSame(kicks, [{ server, reason: 'stalled' }, { server, reason: 'replaced' }])
  await second.close()
})
