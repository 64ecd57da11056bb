// From a tool's `yield` to the client's hands, on every transport and real sockets.
import { once } from 'node:events'
import { request, type Server } from 'node:http'
import { PassThrough } from 'node:stream'
import { promisify } from 'node:util'
import t from 'tap'
import { z } from 'zod'
import { ToolError, type ToolContext } from 'fastify-mcp-sse'
import { Client, type EventStream, open, read, until } from './client.ts'
import { gate, serve, SESSIONS, told, TRANSPORTS } from './sockets.ts'

const sockets = (server: Server): Promise<number> => promisify(server.getConnections.bind(server))()

const PNG = { type: 'image', data: 'iVBORw0KGgo=', mimeType: 'image/png' } as const
const NOTE = { type: 'text' as const, text: 'noted', annotations: { audience: ['user' as const] } }
const STREAM_HEADERS = { 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform', 'x-accel-buffering': 'no' }

for (const transport of TRANSPORTS) {
  t.test(`on ${transport} each chunk reaches the client while the tool still runs, as its row of the table says`, async t => {
    const { app, peer } = await serve(t, transport)
    const received = Array.from({ length: 7 }, gate)
    app.mcp.tool('table', {}, async function * () {
      const chunks = [
        'first, ', 'second', NOTE, { progress: 3, total: 10, message: 'three of ten' }, { progress: 2 }, 'third', PNG
      ]
      for (const [index, chunk] of chunks.entries()) {
        yield chunk
        // Goes on only when the client has proved that it holds the chunk.
        await received[index]?.opened
      }
      return 'last'
    })
    const client = await peer()
    const call = await client.start('table', {}, 'token')
    const wanted = [
      { progress: 0, message: 'first, ' },
      { progress: 1, message: 'second' },
      { progress: 2, message: 'noted', _meta: { 'fastify-mcp-sse/content': NOTE } },
      { progress: 3, total: 10, message: 'three of ten' },
      { progress: 3.0000000000000004 },
      { progress: 3.000000000000001, message: 'third' },
      { progress: 3.0000000000000013, _meta: { 'fastify-mcp-sse/content': PNG } }
    ]
    for (const [index, params] of wanted.entries()) {
      t.strictSame(await call.progress(), { progressToken: 'token', ...params }, `chunk ${index}`)
      received[index]?.open()
    }
    t.match(await call.answer(), {
      result: {
        content: [{ type: 'text', text: 'first, second' }, NOTE, { type: 'text', text: 'third' }, PNG, { type: 'text', text: 'last' }],
        isError: undefined
      }
    }, 'the result is complete without the progress')
    t.match(call.stream.headers, STREAM_HEADERS)
  })

  t.test(`on ${transport} a caller without a progress token gets the whole result and nothing else`, async t => {
    const { app, peer } = await serve(t, transport)
    app.mcp.tool('quiet', {}, async function * () {
      yield 'one '
      yield { progress: 1 }
      yield PNG
      await new Promise(resolve => setImmediate(resolve))
      yield 'two'
    })
    const client = await peer()
    const { result } = await client.request('tools/call', { name: 'quiet' })
    t.strictSame(result, told(transport, { content: [{ type: 'text', text: 'one ' }, PNG, { type: 'text', text: 'two' }] }))
    const { stream, answer } = await client.start('quiet')
    if (transport === 'http+sse') {
      await answer()
      t.equal(stream.messages.filter(({ method }) => method !== undefined).length, 0)
    } else {
      t.equal(stream.headers['content-type'], 'application/json; charset=utf-8')
    }
  })

  t.test(`on ${transport} a handler that does not yield reports progress and logs while it runs`, async t => {
    const { app, peer } = await serve(t, transport)
    const seen = gate()
    const answers: unknown[] = []
    app.mcp.tool('plain', {}, async (_args, { progress, log }) => {
      answers.push(await progress(1, 2, 'half'))
      await seen.opened
      answers.push(await progress(1), await log.info({ half: true }), await log.debug('too quiet'))
      return 'whole'
    })
    const client = await peer()
    const call = await client.start('plain', {}, 7)
    t.strictSame(await call.progress(), { progressToken: 7, progress: 1, total: 2, message: 'half' })
    seen.open()
    t.strictSame(await call.progress(), { progressToken: 7, progress: 1.0000000000000002 })
    t.match(await call.answer(), { result: { content: [{ type: 'text', text: 'whole' }] } })
    t.strictSame(answers, [true, true, true, true])
    const logged = call.stream.messages.filter(({ method }) => method === 'notifications/message').map(({ params }) => params)
    t.strictSame(logged, transport === 'stateless' ? [] : [{ level: 'info', data: { half: true } }])
  })

  t.test(`on ${transport} the first chunk leaves and others are answered although a tool never waits`, async t => {
    const { app, peer } = await serve(t, transport)
    const seen = gate()
    let running = true
    const isOver = (): boolean => !running
    seen.opened.then(() => { running = false })
    app.mcp.tool('flat-out', {}, async function * () {
      while (!isOver()) yield '.'
    })
    app.mcp.tool('flat-out-quietly', {}, async function * () {
      while (!isOver()) yield { progress: 1 }
    })
    app.mcp.tool('flat-out-sync', {}, function * () {
      while (!isOver()) yield '.'
    })
    app.mcp.tool('flat-out-plain', {}, async (_args, { progress }) => {
      while (!isOver()) await progress(1)
    })
    app.mcp.tool('flat-out-log', {}, async (_args, { log }) => {
      while (!isOver()) await log.debug('nobody listens')
    })
    const other = await peer()
    const loud = async (tool: string) => (await peer()).start(tool, {}, tool)
    const calls = await Promise.all(['flat-out', 'flat-out-sync', 'flat-out-plain'].map(loud))
    // No header comes before the end: these must not be waited for.
    const quiet = Promise.all(['flat-out-quietly', 'flat-out-plain', 'flat-out-log'].map(async tool => (await peer()).start(tool)))
    for (const call of calls) t.match(await call.progress(), { progress: Number })
    await until(() => app.mcp.stats().calls === 6, 'all six to run')
    t.match((await other.request('tools/list')).result, { tools: Array }, 'others are answered while six tools run flat out')
    seen.open()
    for (const call of calls) t.notOk((await call.answer()).error)
    await quiet
    await until(() => app.mcp.stats().calls === 0, 'all six to end')
  })
}

for (const revision of SESSIONS) {
  t.test(`on ${revision} a wait that grows long opens the stream before anything is told`, async t => {
    const { app, peer } = await serve(t, revision, { streams: { openAfter: 20, retry: 77 } })
    const opened = gate()
    app.mcp.tool('long', {}, async () => {
      await opened.opened
      return 'done'
    })
    const client = await peer()
    const { stream, answer } = await client.start('long')
    t.match(stream.headers, STREAM_HEADERS)
    await until(() => stream.comments.length === 1, 'the comment')
    t.strictSame(stream.comments, ['open'])
    if (revision === '2025-11-25') {
      t.match(await stream.next(), { id: /^[\w.-]+_0$/, data: '', event: undefined }, 'primed')
    }
    opened.open()
    t.match(await answer(), { result: { content: [{ text: 'done' }] } })
    await stream.closed
    t.equal(stream.events.length, revision === '2025-11-25' ? 2 : 1, 'older clients would parse the priming event')
    t.equal(app.mcp.stats().streams, 0)
  })
}

t.test('a stateless wait that grows long opens the stream with a comment', async t => {
  const { app, peer } = await serve(t, 'stateless', { streams: { openAfter: 20 } })
  const opened = gate()
  app.mcp.tool('long', {}, async () => { await opened.opened })
  const { stream, answer } = await (await peer()).start('long')
  await until(() => stream.comments.length === 1, 'the comment')
  t.strictSame(stream.events, [])
  opened.open()
  t.strictSame((await answer()).result, { content: [] })
  t.equal(stream.events[0]?.id, undefined, 'nothing that could be resumed')
})

t.test('the form of an answer over Streamable HTTP', async t => {
  const served = await serve(t, '2025-11-25', { streams: { openAfter: 30 } })
  const { app, peer } = served
  const slow = gate()
  app.mcp.tool('sync', {}, () => 'at once')
  const held = gate()
  app.mcp.tool('held', {}, async () => {
    await held.opened
    return 'held'
  })
  app.mcp.tool('slow', {}, async (_args, { progress, closeStream }) => {
    await progress(1)
    closeStream()
    await slow.opened
    return 'later'
  })
  await peer()
  const url = served.url
  const client = await Client.connect(url)
  const call = (id: number, name: string, accept: string) => open(url, '/mcp', {
    method: 'POST',
    headers: { ...client.headers, accept },
    body: { jsonrpc: '2.0', id, method: 'tools/call', params: { name, _meta: { progressToken: 1 } } }
  })

  await t.test('is JSON when it is known at once', async t => {
    const { headers, messages } = await read(await call(1, 'sync', 'application/json, text/event-stream'))
    t.equal(headers['content-type'], 'application/json; charset=utf-8')
    t.match(messages, [{ id: 1, result: { content: [{ text: 'at once' }] } }])
  })

  await t.test('is a finished stream for a client that takes streams alone', async t => {
    const { headers, messages, events } = await read(await call(2, 'sync', 'text/event-stream'))
    t.match(headers, STREAM_HEADERS)
    t.match(messages, [{ id: 2, result: { content: [{ text: 'at once' }] } }])
    t.match(events[0], { data: '' }, 'primed like any other')
    const again = await client.get(events[0]?.id)
    t.match(await again.message(), messages[0], 'and can be had again')
    await again.closed
    t.equal(app.mcp.stats().streams, 0)
  })

  await t.test('is a stream for a batch too, which begins with the first answer', async t => {
    const old = await Client.connect(url, { revision: '2025-03-26' })
    const ids = [21, 22, 23]
    const stream = await old.stream(
      ids.map((id, index) => ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: index === 2 ? 'held' : 'sync' } })), { accept: 'text/event-stream' }
    )
    t.equal((await stream.message()).id, 21)
    t.equal((await stream.message()).id, 22)
    held.open()
    t.equal((await stream.message()).id, 23)
    await stream.closed
  })

  await t.test('stays JSON for a client that takes JSON alone, however long it takes', async t => {
    const answer = call(3, 'slow', 'application/json')
    await until(() => app.mcp.stats().calls === 1, 'the call')
    await new Promise(resolve => setTimeout(resolve, 60))
    t.equal(app.mcp.stats().streams, 0)
    slow.open()
    const { headers, messages } = await read(await answer)
    t.equal(headers['content-type'], 'application/json; charset=utf-8')
    t.match(messages, [{ id: 3, result: { content: [{ text: 'later' }] } }])
  })
})

t.test('every kind of handler gives its result', async t => {
  const served = await serve(t, '2025-11-25', { tools: { maxResult: 1_000 } })
  const { app, peer, logs } = served
  const text = (text: string) => [{ type: 'text', text }]
  const output = z.object({ n: z.number() })
  async function * numbers () {
    yield 'one '
    yield 'two'
    return 'three'
  }
  const failed = (name: string) => new RegExp(`^Tool "${name}" failed; the server's log says why under request req-`)
  const broken = (step: unknown) => ({ next: () => step })

  const wanted: [name: string, result: object][] = []
  const add = (name: string, handler: (args: object, context: ToolContext) => object | string, result: object, definition: object = {}) => {
    app.mcp.tool(name, definition, handler)
    wanted.push([name, result])
  }
  add('function', () => 'text', { content: text('text') })
  add('async-function', async () => ({ rows: 2 }), { content: text('{"rows":2}') })
  add('sync-generator', function * () {
    yield 'a'
    return 'b'
  }, { content: text('ab') })
  add('async-to-generator', async () => numbers(), { content: text('one twothree') })
  add('async-to-async-to-generator', async () => ({ then: (resolve: (value: unknown) => void) => resolve(numbers()) }), { content: text('one twothree') })
  add('iterable', () => ({ [Symbol.asyncIterator]: numbers }), { content: text('one twothree') })
  add('iterator-without-return', () => {
    let count = 0
    return { next: () => count++ < 2 ? { done: false, value: `${count} ` } : { done: true, value: 'end' } }
  }, { content: text('1 2 end') })
  add('page', () => ({ items: [], next: 'cursor' }), { content: text('{"items":[],"next":"cursor"}') })
  add('page-later', async () => ({ items: [], next: null, then: 'x' }), { content: text('{"items":[],"next":null,"then":"x"}') })
  add('watched-only', async function * () {
    yield 'token'
    yield { ...PNG }
    return 'kept'
  }, { content: text('kept') }, { collect: false })
  add('structured', async function * () {
    yield 'counting'
    return { n: 3 }
  }, { content: [...text('counting'), ...text('{"n":3}')], structuredContent: { n: 3 } }, { output })
  add('structured-at-once', () => ({ n: 1 }), { content: text('{"n":1}'), structuredContent: { n: 1 } }, { output })
  const later = z.object({ n: z.number().refine(async n => n < 5) })
  add('structured-later', async () => ({ n: 4 }), { structuredContent: { n: 4 } }, { output: later })
  add('structured-sync-later', () => ({ n: 4 }), { structuredContent: { n: 4 } }, { output: later })
  add('structured-wrong', async () => ({ n: 'x' }), { isError: true, content: [{ text: failed('structured-wrong') }] }, { output })
  add('structured-wrong-later', async () => ({ n: 6 }), { isError: true, content: [{ text: failed('structured-wrong-later') }] }, { output: later })
  add('structured-sync-wrong-later', () => ({ n: 6 }), { isError: true, content: [{ text: failed('structured-sync-wrong-later') }] }, { output: later })
  add('whole-result', async function * () {
    yield 'replaced'
    return { content: text('all'), isError: false }
  }, { content: text('all') })
  add('own-error', async () => ({ content: text('no'), isError: true }), { content: text('no'), isError: true }, { output })
  add('tool-error', async function * () {
    yield 'so far'
    throw new ToolError('the disk is full')
  }, { isError: true, content: [...text('so far'), ...text('the disk is full')] })
  add('tool-error-at-once', () => { throw new ToolError('no') }, { isError: true, content: text('no') })
  add('throws', async function * () {
    yield 'so far'
    throw new Error('secret of throws')
  }, { isError: true, content: [...text('so far'), { text: failed('throws') }] })
  add('throws-at-once', () => { throw new Error('secret of throws-at-once') }, { isError: true, content: [{ text: failed('throws-at-once') }] })
  add('rejects', async () => { throw new TypeError('secret of rejects') }, { isError: true, content: [{ text: failed('rejects') }] })
  // eslint-disable-next-line prefer-promise-reject-errors -- handlers may reject with anything
  add('rejects-oddly', () => Promise.reject('secret of rejects-oddly'), { isError: true, content: [{ text: failed('rejects-oddly') }] })
  add('next-throws', () => ({ next () { throw new Error('secret of next-throws') } }), { isError: true, content: [{ text: failed('next-throws') }] })
  add('then-throws', () => ({ then () { throw new Error('secret of then-throws') } }), { isError: true, content: [{ text: failed('then-throws') }] })
  add('iterator-throws', async () => ({ [Symbol.asyncIterator] () { throw new Error('secret of iterator-throws') } }),
    { isError: true, content: [{ text: failed('iterator-throws') }] })
  add('steps-are-undefined', () => broken(undefined), { isError: true, content: [{ text: failed('steps-are-undefined') }] })
  add('steps-are-null-later', () => broken(Promise.resolve(null)), { isError: true, content: [{ text: failed('steps-are-null-later') }] })
  add('yields-a-number', async function * () {
    yield 'so far'
    yield 5
  }, { isError: true, content: [...text('so far'), { text: failed('yields-a-number') }] })
  add('yields-no-json', async function * () {
    yield { ...PNG, size: 1n }
  }, { isError: true, content: [{ text: failed('yields-no-json') }] })
  add('returns-no-json', async () => ({ size: 1n }), { isError: true, content: [{ text: failed('returns-no-json') }] })
  add('too-large', async function * () {
    for (;;) yield 'x'.repeat(100)
  }, { isError: true, content: text('The result grew beyond 1000 bytes') })
  add('too-large-at-once', () => 'x'.repeat(1_001), { isError: true, content: text('The result grew beyond 1000 bytes') })

  const client = await peer()
  for (const [name, result] of wanted) {
    for (const token of [undefined, name]) {
      const { stream } = await client.start(name, {}, token)
      await stream.closed
      const answer = stream.messages.at(-1)
      if (token !== undefined && answer !== undefined) t.match(answer.result, result, name)
    }
    const { result: alone } = await callJson(name)
    t.match(alone, result, `${name} without a token`)
  }
  async function callJson (name: string) {
    return (await Client.connect(served.url)).call(name)
  }
  for (const secret of ['throws', 'throws-at-once', 'rejects', 'next-throws', 'then-throws', 'iterator-throws']) {
    t.match(logs.find(({ tool }) => tool === secret), { msg: 'tool failed', err: { message: `secret of ${secret}`, stack: /streaming\.test/ } },
      `${secret} is logged whole`)
  }
  t.notOk(logs.some(({ tool }) => tool === 'tool-error'), 'what is told to the model is no failure of the server')
})

t.test('the context of a handler', async t => {
  const { app, peer } = await serve(t, 'http+sse')
  let context: ToolContext | undefined
  app.mcp.tool('look', {}, (_args, given) => {
    context = given
    return JSON.stringify([given.closeStream(), given.revision, given.principal, given.session?.transport, given.request.method])
  })
  const client = await peer()
  const { answer } = await client.start('look')
  t.match((await answer()).result, { content: [{ text: '[false,"2024-11-05",null,"http+sse","POST"]' }] })
  t.equal(context?.progress(1), false, 'after the answer nothing is sent')
  t.equal(context?.log.emergency('?'), false)
  t.equal(context?.closeStream(), false)
  t.equal(context?.signal.aborted, false)
})

t.test('a log comes at every level', async t => {
  const { app, peer } = await serve(t, '2025-06-18')
  const levels = ['notice', 'warning', 'error', 'critical', 'alert', 'emergency'] as const
  app.mcp.tool('levels', {}, async (_args, { log }) => {
    for (const level of levels) await log[level](level)
  })
  const { stream } = await (await peer()).start('levels')
  await stream.closed
  t.strictSame(stream.messages.flatMap(({ params }) => params?.level ?? []), levels)
})

t.test('the host on the way of a stream', async t => {
  const two = async function * () {
    yield 'one'
    yield 'two'
  }

  await t.test('its reply headers reach the stream', async t => {
    const { app, peer } = await serve(t, '2025-11-25')
    app.addHook('onRequest', async (_request, reply) => { reply.header('x-host', 'mine') })
    app.mcp.tool('two', {}, two)
    const { stream } = await (await peer()).start('two', {}, 1)
    t.match(stream.headers, { ...STREAM_HEADERS, 'x-host': 'mine' })
  })

  await t.test('its onSend hook may put a stream of its own between, which ends with the connection', async t => {
    const { app, peer } = await serve(t, 'stateless')
    app.addHook('onSend', async (_request, _reply, payload) => payload !== null && typeof payload === 'object'
      ? (payload as PassThrough).pipe(new PassThrough())
      : payload)
    const reasons: unknown[] = []
    app.mcp.tool('parked', {}, async function * (_args, { signal }) {
      yield 'one'
      await once(signal, 'abort')
      reasons.push(signal.reason.code)
    })
    const call = await (await peer()).start('parked', {}, 1)
    t.match(await call.progress(), { message: 'one' })
    await call.stream.close()
    await until(() => reasons.length === 1, 'the tool to be told')
    t.strictSame(reasons, ['FST_MCP_CLIENT_GONE'])
    t.equal(app.mcp.stats().streams, 0)
  })

  await t.test('its onSend hook may fail, which ends the call', async t => {
    const { app, peer } = await serve(t, 'stateless')
    app.addHook('onSend', async (_request, _reply, payload) => {
      if (payload !== null && typeof payload === 'object') throw new Error('no streams here')
      return payload
    })
    const reasons: unknown[] = []
    app.mcp.tool('parked', {}, async function * (_args, { signal }) {
      try {
        yield 'one'
        await once(signal, 'abort')
      } finally {
        reasons.push(signal.reason.code)
      }
    })
    const { stream } = await (await peer()).start('parked', {}, 1)
    t.equal(stream.status, 500)
    await until(() => reasons.length === 1, 'the tool to be told')
    t.strictSame(reasons, ['FST_MCP_CLIENT_GONE'])
    t.strictSame(app.mcp.stats(), { sessions: 0, streams: 0, queued: 0, calls: 0, subscriptions: 0, questions: 0, abandoned: 0 })
  })

  await t.test('a client that leaves while a hook of it still waits ends its call as any other does', async t => {
    for (const transport of ['stateless', '2025-11-25'] as const) {
      const served = await serve(t, transport, { sessions: { replay: { window: 50 } } })
      const { app, peer } = served
      const left = gate()
      let arrived = 0
      app.addHook('preHandler', async ({ headers }) => {
        if (headers['x-slow'] === undefined) return
        arrived++
        await left.opened
      })
      const reasons: unknown[] = []
      app.mcp.tool('parked', {}, async function * (_args, { signal }) {
        try {
          yield 'one'
          await once(signal, 'abort')
        } finally {
          reasons.push(signal.reason.code)
        }
      })
      app.mcp.tool('parked-quietly', {}, async (_args, { signal }) => {
        await once(signal, 'abort')
        reasons.push(signal.reason.code)
      })
      await peer()
      const url = served.url
      const client = await Client.connect(url)
      const ask = (method: string, body?: object) => {
        const asked = request(`${url}/mcp`, {
          method, agent: false, headers: { ...client.headers, 'content-type': 'application/json', 'x-slow': 'yes' }
        })
        asked.on('error', () => {}).end(JSON.stringify(body))
        return asked
      }
      const asked = ['parked', 'parked-quietly'].map((name, id) => ask('POST', {
        jsonrpc: '2.0', id, method: 'tools/call', params: { name, _meta: { progressToken: id } }
      }))
      if (transport !== 'stateless') asked.push(ask('GET'))
      await until(() => arrived === asked.length, 'all requests')
      asked.forEach(request => request.destroy())
      while (await sockets(app.server) > 0) await new Promise(resolve => setImmediate(resolve))
      // The requests are told of it in the turn after.
      for (let turns = 0; turns < 3; turns++) await new Promise(resolve => setImmediate(resolve))
      left.open()
      await until(() => reasons.length === 2, 'both tools to be told')
      t.strictSame(reasons, ['FST_MCP_CLIENT_GONE', 'FST_MCP_CLIENT_GONE'], transport)
      t.equal(app.mcp.stats().streams, 0)
      const started = Date.now()
      await app.close()
      t.ok(Date.now() - started < 900, 'and nothing is waited for when the server closes')
    }
  })
})

t.test('no more streams are open than may be, however many calls came while there was room', async t => {
  const { app, peer } = await serve(t, '2025-11-25', { streams: { max: 2 } })
  const going = gate()
  app.mcp.tool('late', {}, async function * () {
    await going.opened
    yield 'told'
    await new Promise(resolve => setImmediate(resolve))
    return '!'
  })
  const clients = await Promise.all(Array.from({ length: 5 }, peer))
  const calls = clients.map(async client => client.start('late', {}, 1))
  await until(() => app.mcp.stats().calls === 5, 'all calls')
  going.open()
  const streams: EventStream[] = (await Promise.all(calls)).map(({ stream }) => stream)
  const types = streams.map(({ headers }) => headers['content-type']).sort()
  t.strictSame(types, [...Array(3).fill('application/json; charset=utf-8'), ...Array(2).fill('text/event-stream')])
})
