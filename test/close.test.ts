// app.close() comes to its end soon, whatever clients and tools do, and leaves nobody without an answer.
import { once } from 'node:events'
import { createServer } from 'node:https'
import { connect } from 'node:net'
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connect2, constants } from 'node:http2'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import mcp from 'fastify-mcp-sse'
import Fastify from 'fastify'
import { Connections } from '../lib/ops/connections.ts'
import { Handshakes } from '../lib/ops/handshakes.ts'
import { Http2Connections } from '../lib/ops/http2-connections.ts'
import { ACCEPT, Client, open, read, SseClient, until, within } from './client.ts'
import { DeafClient, gate, serve, settles, TRANSPORTS } from './sockets.ts'

// What does not read is broken after half a second; nothing else takes any time.
const SOON_MS = 450
const BOUND_MS = 1_000

async function close (app: { close (): PromiseLike<unknown> }): Promise<number> {
  const started = performance.now()
  await within(Promise.resolve(app.close()), 'the end of app.close()')
  return performance.now() - started
}

t.test('connections on which no request has come are not waited for, and others are answered on', async t => {
  const app = Fastify({ forceCloseConnections: 'idle' })
  t.after(() => app.close())
  await app.register(mcp)
  app.get('/', async () => 'hello')
  const base = await app.listen({ port: 0, host: '127.0.0.1' })
  const fresh = [0, 1].map(() => connect(Number(new URL(base).port), '127.0.0.1'))
  await Promise.all(fresh.map(socket => once(socket, 'connect')))
  t.equal((await read(await open(base, '/'))).text, 'hello')
  const ended = Promise.all(fresh.map(socket => once(socket, 'close')))
  const took = await close(app)
  t.ok(took < SOON_MS, `closed after ${took} ms`)
  await ended
})

t.test('a connection that the host has upgraded is the host\'s', async t => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(mcp)
  app.server.on('upgrade', (_request, socket) => {
    t.after(() => socket.destroy())
    socket.on('error', () => {})
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n')
  })
  const base = await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = connect(Number(new URL(base).port), '127.0.0.1')
  t.after(() => socket.destroy())
  socket.write('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n')
  await once(socket, 'data')
  await Connections.of(app.server)?.close(0)
  await turn()
  t.notOk(socket.destroyed || socket.readableEnded)
})

t.test('an upgrade that nobody takes any more is a request like any other', async t => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(mcp)
  app.get('/', async () => 'hello')
  const base = await app.listen({ port: 0, host: '127.0.0.1' })
  const [before, take] = [app.server.listenerCount('upgrade'), (): void => {}]
  app.server.on('upgrade', take)
  app.server.on('upgrade', take)
  t.equal(app.server.listenerCount('upgrade'), before + 3)
  app.server.off('upgrade', take)
  t.equal(app.server.listenerCount('upgrade'), before + 2)
  app.server.off('upgrade', take)
  t.equal(app.server.listenerCount('upgrade'), before)
  const { status } = await read(await open(base, '/', { headers: { connection: 'upgrade', upgrade: 'test' } }))
  t.equal(status, 200)
})

t.test('who upgraded before the plugin came is left alone too', async t => {
  const app = Fastify()
  t.after(() => app.close())
  const base = await app.register(async scope => {
    scope.server.on('upgrade', (_request, socket) => { socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\n') })
    await scope.register(mcp)
  }).listen({ port: 0, host: '127.0.0.1' })
  const socket = connect(Number(new URL(base).port), '127.0.0.1')
  socket.write('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n')
  const [first] = await once(socket, 'data')
  t.match(String(first), /^HTTP\/1.1 101/)
})

const HEAD = 'POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\n'
for (const [what, text] of [
  ['the head of a request', 'POST /mcp HTTP/1.1\r\nhost: local'],
  ['its body', `${HEAD}content-length: 100\r\n\r\n{"jsonrpc"`],
  ['a body in chunks', `${HEAD}transfer-encoding: chunked\r\n\r\n5\r\n{"jso`],
  ['the body of a request that was refused', `${HEAD.replace('json', 'xml')}content-length: 100\r\n\r\n<`]
] as const) {
  t.test(`a client that has sent half of ${what} is not waited for`, async t => {
    const app = Fastify()
    t.after(() => app.close())
    await app.register(mcp)
    const base = await app.listen({ port: 0, host: '127.0.0.1' })
    const accepted = once(app.server, 'connection')
    const socket = connect(Number(new URL(base).port), '127.0.0.1')
    socket.on('error', () => {}).resume()
    socket.write(text)
    const [there] = await accepted
    await until(() => there.bytesRead >= text.length, 'the half')
    await turn()
    const ended = once(socket, 'close')
    const took = await close(app)
    t.ok(took < BOUND_MS, `closed after ${took} ms`)
    await ended
  })
}

t.test('a request of the host that comes on a connection of ours is not cut', async t => {
  const app = Fastify({ return503OnClosing: false })
  t.after(() => app.close())
  await app.register(mcp)
  const door = gate()
  app.post('/own', async () => {
    await door.opened
    return 'done'
  })
  const base = await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = connect(Number(new URL(base).port), '127.0.0.1')
  let text = ''
  socket.setEncoding('utf8').on('data', chunk => { text += chunk })
  const body = '{"jsonrpc":"2.0","method":"notifications/x"}'
  // The first is refused before its body is read.
  socket.write(`${HEAD.replace('json', 'xml')}content-length: ${body.length}\r\n\r\n${body}`)
  await until(() => text.includes('FST_MCP'), 'the refusal')
  socket.write(`POST /own HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
  await turn()
  const closing = close(app)
  await new Promise(resolve => setTimeout(resolve, 50))
  door.open()
  await until(() => text.endsWith('done'), 'the answer of the host')
  // Fastify waits for a connection that could have another request.
  socket.destroy()
  await closing
})

t.test('a request that was injected and refused keeps nothing', async t => {
  const app = Fastify()
  await app.register(mcp, { auth: { tokens: [{ token: 'ada', principal: 'ada' }] } })
  t.equal((await app.inject({ method: 'POST', url: '/mcp', payload: {} })).statusCode, 401)
  const took = await close(app)
  t.ok(took < SOON_MS, `closed after ${took} ms`)
})

t.test('one watch serves all scopes of a server, and HTTP/2 needs none', async t => {
  const app = Fastify()
  t.after(() => app.close())
  for (const prefix of ['/a', '/b', '/c']) await app.register(async scope => { await scope.register(mcp, { prefix }) })
  await app.ready()
  t.equal(Connections.of(app.server), Connections.of(app.server))
  t.equal(app.server.listenerCount('connection'), Fastify().server.listenerCount('connection') + 1)
  t.equal(Http2Connections.of(app.server), Http2Connections.of(app.server))
  t.equal(app.server.listenerCount('session'), 1)
  t.equal(Handshakes.of(app.server), null)
  t.equal(Connections.of(Fastify({ http2: true }).server), null)
  const secure = createServer()
  t.ok(Connections.of(secure))
  t.equal(secure.listenerCount('secureConnection'), createServer().listenerCount('secureConnection') + 1)
})

for (const transport of TRANSPORTS) {
  t.test(`on ${transport} a call in progress is answered and its stream ended`, async t => {
    const { app, peer } = await serve(t, transport)
    const reasons: unknown[] = []
    app.mcp.tool('streams', {}, async function * (_args, { signal }) {
      try {
        yield 'one'
        await once(signal, 'abort')
      } finally {
        reasons.push(signal.reason.code)
      }
    })
    const client = await peer()
    const call = await client.start('streams', {}, 1)
    t.match(await call.progress(), { message: 'one' })
    const took = await close(app)
    t.ok(took < SOON_MS, `closed after ${took} ms`)
    t.match(await call.answer(), { error: { data: { code: 'FST_MCP_CLOSING' }, message: 'The server is closing' } })
    await call.stream.closed
    t.strictSame(reasons, ['FST_MCP_CLOSING'])
    t.match(app.mcp.stats(), { streams: 0, queued: 0, calls: 0, abandoned: 0 })
  })

  t.test(`on ${transport} a tool that ignores its signal does not keep the server`, async t => {
    const { app, peer } = await serve(t, transport)
    app.mcp.tool('ignores', {}, async (_args, { progress }) => {
      await progress(1)
      await new Promise(() => {})
    })
    const call = await (await peer()).start('ignores', {}, 1)
    const took = await close(app)
    t.ok(took < SOON_MS, `closed after ${took} ms`)
    t.match(await call.answer(), { error: { data: { code: 'FST_MCP_CLOSING' } } })
  })

  t.test(`on ${transport} a client that reads nothing is given up after a while`, async t => {
    const { app, peer } = await serve(t, transport)
    let count = 0
    let isFinished = false
    app.mcp.tool('flood', { collect: false }, async function * () {
      try {
        for (;;) {
          count++
          yield 'x'.repeat(50_000)
        }
      } finally {
        isFinished = true
      }
    })
    const { deaf } = await (await peer()).startDeaf('flood')
    await settles(() => count, 30)
    const took = await close(app)
    t.ok(took < BOUND_MS, `closed after ${took} ms`)
    t.ok(isFinished)
    await until(() => app.mcp.stats().streams === 0, 'the end of the stream')
    deaf.close()
  })
}

t.test('a request that waits for its answer as JSON is answered', async t => {
  const served = await serve(t, '2025-06-18')
  const { app } = served
  app.mcp.tool('waits', {}, async (_args, { signal }) => { await once(signal, 'abort') })
  await served.peer()
  const client = await Client.connect(served.url, { revision: '2025-06-18' })
  const answer = client.call('waits')
  await until(() => app.mcp.stats().calls === 1, 'the call')
  const took = await close(app)
  t.ok(took < SOON_MS, `closed after ${took} ms`)
  t.match(await answer, { error: { data: { code: 'FST_MCP_CLOSING' } } })
})

t.test('idle streams end, and those that broke before are not waited for', async t => {
  const served = await serve(t, '2025-11-25')
  const { app } = served
  await served.peer()
  const client = await Client.connect(served.url)
  const [stream, gone, sse] = [await client.get(), await client.get(), await SseClient.connect(served.url)]
  await gone.close()
  const took = await close(app)
  t.ok(took < SOON_MS, `closed after ${took} ms`)
  await Promise.all([stream.closed, sse.stream.closed])
  t.equal(stream.body.errored, null, 'they end, they do not break')
  t.equal(sse.stream.body.errored, null)
  t.equal(app.mcp.stats().streams, 0)
})

t.test('a server where nothing happens closes at once', async t => {
  const { app, peer } = await serve(t, 'stateless')
  await peer()
  t.ok(await close(app) < SOON_MS)
})

t.test('whoever still gets in while the server closes is refused', async t => {
  const served = await serve(t, '2025-11-25', {}, { return503OnClosing: false })
  const { app } = served
  app.mcp.tool('any', {}, async () => 'never')
  let count = 0
  app.mcp.tool('flood', { collect: false }, async function * () {
    for (;;) {
      count++
      yield 'x'.repeat(50_000)
    }
  })
  // The hook of the plugin waits for the client that reads nothing: meanwhile others come.
  await served.peer()
  const client = await Client.connect(served.url)
  const sse = await SseClient.connect(served.url)
  t.ok(sse)
  const body = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'flood', _meta: { progressToken: 1 } } }
  const deaf = await DeafClient.ask(served.url, '/mcp', { method: 'POST', headers: client.headers, body })
  await until(() => app.mcp.stats().calls === 1, 'the call')
  await until(() => count > 10, 'the flood')
  await settles(() => count)
  const closing = close(app)
  await until(() => app.mcp.stats().calls === 0, 'the server to begin')
  const refused = await Promise.all([
    client.post({ ...body, params: { name: 'any' } }),
    open(served.url, '/mcp', { headers: client.headers }).then(read)
  ])
  for (const { status, messages } of refused) {
    t.equal(status, 503)
    t.match(messages, [{ error: { data: { code: 'FST_MCP_CLOSING' } } }])
  }
  await t.rejects(open(served.url, '/sse').then(read), 'what a refusal would end for good')
  t.ok(await closing < BOUND_MS)
  deaf.close()
})

t.test('over HTTP/2', async t => {
  const serve2 = async (beforeSse = async (): Promise<void> => {}) => {
    const app = Fastify({ http2: true })
    app.addHook('preHandler', async ({ url }) => { if (url === '/sse') await beforeSse() })
    await app.register(mcp, { drain: { timeout: 0 } })
    const url = await app.listen({ port: 0, host: '127.0.0.1' })
    const session = connect2(url)
    session.on('error', () => {})
    t.teardown(() => session.destroy())
    return { app, session }
  }
  const ask = async (session: ClientHttp2Session, method: string, path: string, headers: object = {}, body?: object) => {
    const stream = session.request({ ':method': method, ':path': path, accept: ACCEPT, 'content-type': 'application/json', ...headers })
    stream.setEncoding('utf8').on('error', () => {})
    stream.end(body === undefined ? undefined : JSON.stringify(body))
    const [head] = await within(once(stream, 'response'), `${method} ${path}`)
    return { stream, head }
  }
  const textOf = async (stream: ClientHttp2Stream): Promise<string> => {
    let text = ''
    for await (const chunk of stream) text += chunk
    return text
  }
  const call = (name: string) => ({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, _meta: { progressToken: 1 } } })

  const initialize = async (session: ClientHttp2Session) => {
    const { stream, head } = await ask(session, 'POST', '/mcp', {}, {
      jsonrpc: '2.0', id: 0, method: 'initialize', params: { protocolVersion: '2025-11-25' }
    })
    await textOf(stream)
    return { 'mcp-session-id': head['mcp-session-id'] }
  }

  await t.test('streams end with an answer, and so does the connection', async t => {
    const { app, session } = await serve2()
    const reasons: unknown[] = []
    app.mcp.tool('streams', {}, async function * (_args, { signal }) {
      try {
        yield 'one'
        await once(signal, 'abort')
      } finally {
        reasons.push(signal.reason.code)
      }
    })
    const idle = await ask(session, 'GET', '/sse')
    t.match(idle.head, { ':status': 200, 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' })
    t.equal(idle.head.connection, undefined)
    idle.stream.resume()
    const { stream } = await ask(session, 'POST', '/mcp', await initialize(session), call('streams'))
    const text = textOf(stream)
    const took = await close(app)
    t.ok(took < SOON_MS, `closed after ${took} ms`)
    t.match(await text, /"message":"one"[^]*FST_MCP_CLOSING/)
    t.strictSame(reasons, ['FST_MCP_CLOSING'])
  })

  await t.test('a connection whose streams have all ended does not keep the server', async t => {
    const { app, session } = await serve2()
    app.mcp.tool('quick', {}, async function * () { yield 'one' })
    const { stream } = await ask(session, 'POST', '/mcp', await initialize(session), call('quick'))
    t.match(await textOf(stream), /"text":"one"/)
    const took = await close(app)
    t.ok(took < SOON_MS, `closed after ${took} ms`)
  })

  await t.test('a client that has sent half of a body is not waited for', async t => {
    const { app, session } = await serve2()
    const seen = once(app.server, 'request')
    const half = session.request({ ':path': '/mcp', ':method': 'POST', 'content-type': 'application/json', accept: ACCEPT })
    half.on('error', () => {})
    half.write('{"json')
    await seen
    const took = await close(app)
    t.ok(took < BOUND_MS, `closed after ${took} ms`)
    await until(() => session.destroyed, 'the end of the connection')
  })

  await t.test('a client that resets its stream is a client that is gone', async t => {
    const { app, session } = await serve2()
    const reasons: unknown[] = []
    app.mcp.tool('parked', {}, async function * (_args, { signal }) {
      try {
        yield 'one'
        await once(signal, 'abort')
      } finally {
        reasons.push(signal.reason.code)
      }
    })
    const sse = await ask(session, 'GET', '/sse')
    const [first] = await within(once(sse.stream, 'data'), 'the endpoint')
    const endpoint = /data: (.*)/.exec(first)?.[1] ?? ''
    await ask(session, 'POST', endpoint, {}, call('parked'))
    await until(() => app.mcp.stats().calls === 1, 'the call')
    sse.stream.close()
    await until(() => app.mcp.stats().streams === 0, 'the server to notice')
    t.equal(app.mcp.stats().calls, 1, 'the call is detached')
    await turn()
    t.ok(await close(app) < SOON_MS)
    t.strictSame(reasons, ['FST_MCP_CLOSING'])
  })

  await t.test('a client that resets its stream while a hook of the host still waits is gone as well', async t => {
    const [arrived, left] = [gate(), gate()]
    const { app, session } = await serve2(async () => {
      arrived.open()
      await left.opened
    })
    const stream = session.request({ ':path': '/sse', accept: ACCEPT })
    stream.on('error', () => {})
    await arrived.opened
    stream.close(constants.NGHTTP2_CANCEL)
    await once(stream, 'close')
    // An answer on the same connection comes after the reset.
    await initialize(session)
    left.open()
    await until(() => app.mcp.stats().sessions === 2, 'the session')
    t.equal(app.mcp.stats().streams, 0)
    t.ok(await close(app) < SOON_MS)
  })

  await t.test('a client that reads nothing is given up after a while', async t => {
    const { app, session } = await serve2()
    let count = 0
    app.mcp.tool('flood', { collect: false }, async function * () {
      for (;;) {
        count++
        yield 'x'.repeat(50_000)
      }
    })
    const deaf = await ask(session, 'POST', '/mcp', await initialize(session), call('flood'))
    deaf.stream.pause()
    t.ok(await settles(() => count) < 100, 'the windows of HTTP/2 are small')
    t.ok(await close(app) < BOUND_MS)
  })
})
