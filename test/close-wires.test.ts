// app.close() waits for no connection in vain, and cuts nothing that the host answers.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect as connect2 } from 'node:http2'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import mcp, { type McpOptions } from 'fastify-mcp-sse'
import t, { type Test } from 'tap'
import { until, within } from './client.ts'
import { makeCertificate } from './proxy/certificate.ts'
import { gate } from './sockets.ts'
import { overriding, storeWith } from './stores.ts'

const BOUND_MS = 1_000
const { certFile, keyFile } = makeCertificate(t)
const https = { key: readFileSync(keyFile), cert: readFileSync(certFile) }
const never = new Promise<never>(() => {})

const head = (method: string, path: string, length = 0): string =>
  `${method} ${path} HTTP/1.1\r\nhost: localhost\r\naccept: application/json, text/event-stream\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n\r\n`
const INITIALIZE = '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}'

interface Place {
  readonly app: FastifyInstance
  readonly port: number
  /** Opens what the host's slow answer waits for. */
  readonly open: () => void
}

async function serve (t: Test, options: McpOptions = {}, server: FastifyServerOptions = {}): Promise<Place> {
  // What HTTP/2 asks for is not in the type of HTTP/1.1.
  const app = Fastify({ return503OnClosing: false, ...server }) as FastifyInstance
  const door = gate()
  t.after(() => {
    door.open()
    return app.close()
  })
  await app.register(mcp, { drain: { timeout: 0 }, ...options })
  app.get('/slow', async () => {
    await door.opened
    return 'the whole answer'
  })
  const { port } = new URL(await app.listen({ port: 0, host: '127.0.0.1' }))
  return { app, port: Number(port), open: door.open }
}

function dial (t: Test, port: number) {
  const socket = connect(port, '127.0.0.1')
  return listen(t, socket)
}

function listen<S extends Socket> (t: Test, socket: S) {
  const heard = { text: '', isClosed: false }
  t.teardown(() => socket.destroy())
  socket.on('error', () => {}).on('close', () => { heard.isClosed = true }).setEncoding('utf8').on('data', text => { heard.text += text })
  return { socket, heard }
}

/** Closes the app, and holds it to its bound. */
async function closesSoon (t: Test, app: FastifyInstance): Promise<void> {
  const started = performance.now()
  await within(app.close(), 'the end of app.close()')
  const took = performance.now() - started
  t.ok(took < BOUND_MS, `closed after ${took} ms`)
}

type Way = [server: FastifyServerOptions, come: (t: Test, place: Place) => Promise<void>, options?: McpOptions]

const ways: Record<string, Way> = {
  'has not shaken hands': [{ https } as object, async (t, { app, port }) => {
    const accepted = once(app.server, 'connection')
    dial(t, port)
    await accepted
  }],
  'has sent half of a head over TLS': [{ https } as object, async (t, { app, port }) => {
    const accepted = once(app.server, 'secureConnection')
    const { socket } = listen(t, connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false }))
    socket.write('POST /mcp HT')
    await accepted
  }],
  'has sent half of a second head': [{}, async (t, { port }) => {
    const { socket, heard } = dial(t, port)
    socket.write(head('POST', '/mcp', INITIALIZE.length) + INITIALIZE)
    await until(() => heard.text.includes('"result"'), 'the first answer')
    socket.write('POST /mcp HT')
    await sleep(20)
  }],
  'has sent half of a body that no route takes': [{}, async (t, { app, port }) => {
    const seen = once(app.server, 'request')
    dial(t, port).socket.write(`${head('PUT', '/mcp', 100)}{"j`)
    await seen
  }],
  'has said nothing over HTTP/2': [{ http2: true } as object, async (t, { app, port }) => {
    const met = once(app.server, 'session')
    const session = connect2(`http://127.0.0.1:${port}`)
    session.on('error', () => {})
    t.teardown(() => session.destroy())
    await met
  }],
  'has sent half of a head to a server of HTTP/2 too': [{ http2: true, https: { ...https, allowHTTP1: true } } as object, async (t, { app, port }) => {
    const accepted = once(app.server, 'secureConnection')
    listen(t, connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] })).socket.write('POST /mcp HT')
    await accepted
  }],
  'speaks HTTP/2 to a server of both': [{ http2: true, https: { ...https, allowHTTP1: true } } as object, async (t, { port }) => {
    const session = connect2(`https://127.0.0.1:${port}`, { rejectUnauthorized: false })
    session.on('error', () => {})
    t.teardown(() => session.destroy())
    const stream = session.request({ ':method': 'POST', ':path': '/mcp', accept: 'application/json, text/event-stream', 'content-type': 'application/json' })
    stream.setEncoding('utf8').end(INITIALIZE)
    let text = ''
    for await (const chunk of stream) text += chunk
    t.match(text, /"result"/)
  }],
  'waits for `auth.verify`, which never says anything': [{}, async (t, { app, port }) => {
    const seen = once(app.server, 'request')
    dial(t, port).socket.write(head('GET', '/mcp').replace('accept', 'authorization: Bearer of-ada\r\naccept'))
    await seen
  }, { auth: { verify: () => never } }],
  'waits for a store that hangs': [{}, async (t, { app, port }) => {
    const seen = once(app.server, 'request')
    dial(t, port).socket.write(head('POST', '/mcp', INITIALIZE.length) + INITIALIZE)
    await seen
  }, { store: storeWith(({ sessions }) => ({ sessions: overriding(sessions, { create: () => never }), close: () => never })) }]
}

for (const [what, [server, come, options]] of Object.entries(ways)) {
  t.test(`a client that ${what} is not waited for`, async t => {
    const place = await serve(t, options, server)
    await come(t, place)
    await closesSoon(t, place.app)
  })
}

t.test('an answer that a store takes a while for is waited for', async t => {
  const { app, port } = await serve(t, {
    store: storeWith(({ sessions }) => ({
      sessions: overriding(sessions, {
        async get (id) {
          await sleep(100)
          return sessions.get(id)
        }
      })
    }))
  })
  const { socket, heard } = dial(t, port)
  const ping = '{"jsonrpc":"2.0","id":1,"method":"ping"}'
  const seen = once(app.server, 'request')
  socket.write(head('POST', '/mcp', ping.length).replace('accept', 'mcp-session-id: nobody\r\naccept') + ping)
  await seen
  await closesSoon(t, app)
  await until(() => heard.isClosed, 'the end of the connection')
  t.match(heard.text, /^HTTP\/1.1 404/)
})

t.test('an answer of the host before half a request of ours is whole', async t => {
  const { app, port, open } = await serve(t)
  const { socket, heard } = dial(t, port)
  const seen = once(app.server, 'request')
  socket.write(`${head('GET', '/slow')}${head('POST', '/mcp', 100)}{"j`)
  await seen
  const closing = app.close()
  await sleep(700)
  t.notOk(heard.isClosed)
  open()
  await until(() => heard.text.includes('the whole answer'), 'the answer of the host')
  socket.destroy()
  await closing
})

t.test('an answer of the host beside ours over HTTP/2 is whole', async t => {
  const { app, port, open } = await serve(t, {}, { http2: true } as object)
  const session = connect2(`http://127.0.0.1:${port}`)
  session.on('error', () => {})
  t.teardown(() => session.destroy())
  const ask = async (headers: object, body = '') => {
    const stream = session.request({ accept: 'application/json, text/event-stream', 'content-type': 'application/json', ...headers })
    stream.setEncoding('utf8')
    if (body !== '') stream.end(body)
    let text = ''
    for await (const chunk of stream) text += chunk
    return text
  }
  t.match(await ask({ ':method': 'POST', ':path': '/mcp' }, INITIALIZE), /"result"/)
  const seen = once(app.server, 'request')
  const slow = ask({ ':path': '/slow' })
  await seen
  const closing = app.close()
  await sleep(700)
  open()
  t.equal(await slow, 'the whole answer')
  await closing
})
