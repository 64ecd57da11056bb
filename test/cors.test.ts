// Pages of other origins: which are let in, what they may send, and what they may read.
import { connect as connectHttp2 } from 'node:http2'
import { once } from 'node:events'
import cors from '@fastify/cors'
import Fastify, { type FastifyInstance } from 'fastify'
import mcp, { type McpOptions, type OriginRule } from 'fastify-mcp-sse'
import t, { type Test } from 'tap'
import { ACCEPT, Client, createApp, EventStream, listen, type Reply, send, SseClient, type Target, within } from './client.ts'

const PAGE = 'https://app.example'
const ORIGIN = 'FST_MCP_ORIGIN_FORBIDDEN'
const PING = { jsonrpc: '2.0', id: 1, method: 'ping' }
const PATHS = ['/mcp', '/sse', '/messages']
const ALLOWED = 'authorization, content-type, accept, mcp-protocol-version, mcp-method, mcp-name, mcp-session-id, last-event-id'
const READABLE = { 'access-control-allow-origin': PAGE, vary: 'Origin', 'access-control-expose-headers': /mcp-session-id.*www-authenticate.*retry-after.*ratelimit/ }

const codeOf = ({ messages: [message] }: Reply): string | undefined => message?.error?.data.code
const corsOf = (headers: object): string[] => Object.keys(headers).filter(name => name.startsWith('access-control-'))

function preflight (target: Target, path: string, headers: Record<string, string> = {}): Promise<Reply> {
  return send(target, path, { method: 'OPTIONS', headers: { origin: PAGE, 'access-control-request-method': 'POST', ...headers } })
}

async function isLetIn (t: Test, target: Target, origin: string): Promise<boolean> {
  const asked = await preflight(target, '/mcp', { origin })
  const reply = await send(target, '/mcp', { method: 'POST', headers: { origin }, body: PING })
  const allowed = reply.headers['access-control-allow-origin']
  if (reply.status === 403) {
    t.match([asked, reply], [{ status: 403 }, {}], origin)
    t.strictSame([codeOf(asked), codeOf(reply), allowed], [ORIGIN, ORIGIN, undefined], origin)
    return false
  }
  t.strictSame([asked.status, allowed, asked.headers['access-control-allow-origin']], [204, origin, origin])
  return true
}

// ---- which origins ----

t.test('an origin is named as it is, by an expression, or by a function, for CORS and the guard alike', async t => {
  const rules: [rule: OriginRule, good: string[], bad: string[]][] = [
    ['https://App.example', [PAGE, 'HTTPS://APP.EXAMPLE'], ['http://app.example', 'https://app.example:444', 'https://b.app.example']],
    [/^https:\/\/[a-z]+\.app\.example$/, ['https://a.app.example', 'https://b.app.example'], [PAGE, 'https://a.app.example.evil.example']],
    [/^https:\/\/app\.example$/gy, [PAGE, PAGE], ['https://evil.example']],
    [origin => new URL(origin).port === '8443', ['https://any.example:8443'], [PAGE]],
    ['chrome-extension://abcdef', ['chrome-extension://abcdef'], ['chrome-extension://other', 'moz-extension://abcdef']],
    ['moz-extension://4f7c-11', ['moz-extension://4f7c-11'], ['moz-extension://4f7c-12']],
    ['vscode-webview://1a2b', ['vscode-webview://1a2b'], ['vscode-webview://1a2b3']],
    [/^chrome-extension:\/\/[a-p]{32}$/, [`chrome-extension://${'a'.repeat(32)}`], [`chrome-extension://${'z'.repeat(32)}`]]
  ]
  for (const [rule, good, bad] of rules) {
    for (const auth of [undefined, false] as const) {
      const app = await createApp(t, { origins: [rule], auth })
      for (const origin of good) t.ok(await isLetIn(t, app, origin), `${rule} takes ${origin}`)
      for (const origin of bad) t.notOk(await isLetIn(t, app, origin), `${rule} refuses ${origin}`)
    }
  }
})

t.test('`null`, what is no origin and what is too long are refused before an expression or a function sees them', async t => {
  const seen: string[] = []
  const slow = /^https:\/\/(?:a+)+$/
  const app = await createApp(t, { origins: [/.*/, slow, origin => seen.push(origin) > 0], auth: false })
  for (const origin of ['null', '', 'file://', 'https://a.example/path', 'a.example', 'https://a b', `https://${'a'.repeat(505)}`]) {
    t.notOk(await isLetIn(t, app, origin), origin)
  }
  t.strictSame(seen, [])
  t.ok(await isLetIn(t, app, `https://${'a'.repeat(504)}`))
})

t.test('a function must give exactly true, and what it throws is no leave', async t => {
  // As a caller without types may give it.
  const promises = (async () => true) as unknown as () => boolean
  t.notOk(await isLetIn(t, await createApp(t, { origins: [promises, () => false] }), PAGE))
  const app = await createApp(t, { origins: [() => { throw new TypeError('a secret') }] })
  for (const reply of [await preflight(app, '/mcp'), await send(app, '/sse', { headers: { origin: PAGE } })]) {
    t.match(reply, { status: 500, messages: [{ error: { code: -32603, message: 'Internal error' } }] })
    t.strictSame(corsOf(reply.headers), [])
  }
})

t.test('an option `origins` that holds something else is refused at boot', async t => {
  for (const origin of ['null', '*', 'app.example', `${PAGE}/`, 7, null, true, {}]) {
    const options = { origins: [origin] } as McpOptions
    await t.rejects(createApp(t, options), { code: 'FST_MCP_OPTION_INVALID', message: /`origins\.0` must be an origin/ })
  }
})

// ---- what a preflight is told ----

t.test('a preflight to each path needs no token, and says what may be sent', async t => {
  const app = await createApp(t, { origins: [PAGE], auth: { tokens: [{ token: 'secret', principal: 'ci' }] } })
  for (const target of [app, await listen(app)]) {
    for (const path of PATHS) {
      for (const method of ['POST', 'GET', 'DELETE', 'PUT']) {
        const { status, headers, text } = await preflight(target, path, { 'access-control-request-method': method, 'access-control-request-headers': 'authorization,x-evil' })
        t.strictSame([status, text], [204, ''], `${method} ${path}`)
        t.match(headers, {
          ...READABLE,
          'access-control-allow-methods': 'GET, POST, DELETE',
          'access-control-allow-headers': ALLOWED,
          'access-control-max-age': '7200'
        })
        t.notOk('access-control-allow-credentials' in headers)
      }
    }
  }
})

t.test('a preflight may ask for headers that repeat arguments, and for no others', async t => {
  const app = await createApp(t, { origins: [PAGE], cors: { maxAge: 90_500 } })
  const asked: [headers: string, told: string][] = [
    ['mcp-param-region', `${ALLOWED}, mcp-param-region`],
    ['authorization, Mcp-Param-Region ,mcp-param-a!b,x-evil', `${ALLOWED}, Mcp-Param-Region, mcp-param-a!b`],
    ['mcp-param-', ALLOWED], ['x-mcp-param-a', ALLOWED], ['mcp-param-a b', ALLOWED], ['*', ALLOWED], ['', ALLOWED],
    [`mcp-param-${'a'.repeat(4_090)}`, ALLOWED]
  ]
  for (const [headers, told] of asked) {
    const reply = await preflight(app, '/mcp', { 'access-control-request-headers': headers })
    t.equal(reply.headers['access-control-allow-headers'], told, headers)
    t.equal(reply.headers['access-control-max-age'], '90')
  }
})

t.test('a preflight of a page that is not named is refused, also of one that the guard knows', async t => {
  const app = await createApp(t, { origins: [PAGE] })
  for (const path of PATHS) {
    for (const origin of ['https://evil.example', 'null', 'http://localhost:5173', 'http://localhost']) {
      const reply = await preflight(app, path, { origin, host: 'localhost' })
      t.strictSame([reply.status, codeOf(reply)], [403, ORIGIN], `${path} ${origin}`)
      t.strictSame(corsOf(reply.headers), [])
      t.equal(reply.headers.vary, 'Origin')
    }
  }
  const foreign = await preflight(app, '/mcp', { host: 'evil.example' })
  t.match(foreign, { status: 403, headers: READABLE, messages: [{ error: { data: { code: 'FST_MCP_HOST_FORBIDDEN' } } }] })
})

t.test('OPTIONS that is no preflight says which methods there are', async t => {
  const app = await createApp(t, { origins: [PAGE] })
  const plain = await send(app, '/mcp', { method: 'OPTIONS' })
  t.match(plain, { status: 204, headers: { allow: 'GET, POST, DELETE' } })
  t.notOk('access-control-allow-origin' in plain.headers)
  const params = await send(app, '/mcp', { method: 'OPTIONS', headers: { 'access-control-request-headers': 'mcp-param-a' } })
  t.notOk('access-control-allow-headers' in params.headers)
  t.match(await send(app, '/sse', { method: 'OPTIONS', headers: { origin: 'http://localhost' } }), { status: 204, headers: { allow: 'GET' } })
  t.match(await send(app, '/messages', { method: 'OPTIONS', headers: { origin: PAGE } }), { status: 204, headers: { allow: 'POST' } })
  t.match(await send(app, '/mcp', { method: 'OPTIONS', headers: { origin: 'https://evil.example' } }), { status: 403 })
})

// ---- what a page may read ----

const tokens = [{ token: 'secret', principal: 'ci' }]
const headers = { origin: PAGE, authorization: 'Bearer secret' }

t.test('answers, streams and refusals can be read by a page that is named, in every era', async t => {
  const app = await createApp(t, { origins: [PAGE], auth: { tokens }, streams: { max: 1 } })
  app.mcp.tool('stream', {}, async function * () {
    yield 'one '
    yield 'two'
  })
  const call = { jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name: 'stream', _meta: { progressToken: 1 } } }
  const url = await listen(app)
  const client = await Client.connect(url, { headers })
  t.match(await client.post(PING), { status: 200, headers: READABLE })
  const streamed = await client.post(call)
  t.match(streamed, { status: 200, headers: { ...READABLE, 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform' } })
  t.match(streamed.messages.at(-1), { result: { content: [{ text: 'one two' }] } })

  const stateless = await send(url, '/mcp', {
    method: 'POST',
    headers: { ...headers, accept: ACCEPT, 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'server/discover' },
    body: {
      jsonrpc: '2.0',
      id: 1,
      method: 'server/discover',
      params: { _meta: { 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientCapabilities': {} } }
    }
  })
  t.match(stateless, { status: 200, headers: READABLE })

  const sse = await SseClient.connect(url, { headers })
  t.match(sse.stream, { status: 200, headers: { ...READABLE, 'content-type': 'text/event-stream' } })
  t.match(await sse.post(PING), { status: 202, headers: READABLE })
  const full = await send(url, '/sse', { headers })
  t.match(full, { status: 503, headers: { ...READABLE, 'retry-after': '5' } })
  await sse.close()

  t.match(await send(url, '/mcp', { method: 'POST', headers: { origin: PAGE }, body: PING }), { status: 401, headers: { ...READABLE, 'www-authenticate': 'Bearer' } })
  t.match(await client.post(PING, { 'mcp-session-id': 'gone' }), { status: 404, headers: READABLE })
  t.match(await client.post('{'), { status: 400, headers: READABLE })
  t.match(await send(url, '/mcp', { method: 'PUT', headers }), { status: 405, headers: { ...READABLE, allow: 'GET, POST, DELETE' } })
  t.match(await client.delete(), { status: 200, headers: READABLE })

  for (const [method, path] of [['POST', '/mcp'], ['GET', '/mcp'], ['DELETE', '/mcp'], ['GET', '/sse'], ['HEAD', '/sse'], ['POST', '/messages']]) {
    const reply = await send(url, path ?? '', { method, headers: { ...headers, origin: 'https://evil.example' } })
    t.equal(reply.status, 403)
    t.strictSame(corsOf(reply.headers), [], `${method} ${path}`)
    t.equal(reply.headers.vary, 'Origin')
  }
})

t.test('over HTTP/2 a page that is named is let in as over HTTP/1.1', async t => {
  const app = Fastify({ http2: true })
  t.after(() => app.close())
  await app.register(mcp, { origins: [PAGE] })
  const session = connectHttp2(await app.listen({ port: 0, host: '127.0.0.1' }))
  t.after(() => session.destroy())
  const ask = async (headers: Record<string, string>): Promise<Record<string, unknown>> => {
    const stream = session.request({ origin: PAGE, ...headers })
    const [answer] = await within(once(stream, 'response'), 'an answer')
    stream.destroy()
    return answer
  }
  t.match(await ask({ ':method': 'OPTIONS', ':path': '/mcp', 'access-control-request-method': 'POST' }), {
    ':status': 204, 'access-control-allow-origin': PAGE, 'access-control-allow-headers': ALLOWED
  })
  t.match(await ask({ ':path': '/sse', accept: 'text/event-stream' }), {
    ':status': 200, ...READABLE, 'content-type': 'text/event-stream', 'x-content-type-options': 'nosniff'
  })
  t.match(await ask({ ':method': 'OPTIONS', ':path': '/mcp', 'access-control-request-method': 'POST', origin: 'https://evil.example' }), { ':status': 403 })
})

t.test('without `origins` there is no CORS and no OPTIONS', async t => {
  const url = await listen(await createApp(t))
  for (const origin of ['http://localhost:5173', 'http://127.0.0.1']) {
    const client = await Client.connect(url, { headers: { origin } })
    const reply = await client.post(PING)
    t.equal(reply.status, 200)
    t.strictSame([...corsOf(reply.headers), reply.headers.vary], [undefined])
    const stream = await EventStream.open(url, '/sse', { headers: { origin } })
    t.strictSame([...corsOf(stream.headers), stream.headers.vary], [undefined])
    await stream.close()
    t.match(await preflight(url, '/mcp', { origin }), { status: 404 })
  }
})

// ---- beside the host's own ----

const OTHER = 'https://other.example'

/** An app with routes of its own, and the lines of its log. */
function hostApp (t: Test): { app: FastifyInstance, lines: string[] } {
  const lines: string[] = []
  const app = Fastify({ logger: { stream: { write: line => lines.push(line) } } })
  t.after(() => app.close())
  app.get('/own', () => 'own')
  return { app, lines }
}

const hostCors = { origin: OTHER, credentials: true }

const places: Record<string, (app: FastifyInstance) => unknown> = {
  before: async app => {
    await app.register(cors, hostCors)
    await app.register(mcp, { origins: [PAGE] })
  },
  after: async app => {
    await app.register(mcp, { origins: [PAGE] })
    await app.register(cors, hostCors)
  },
  'before, by a function for each request': async app => {
    await app.register(cors, { delegator: (_request, done) => done(null, hostCors) })
    await app.register(mcp, { origins: [PAGE] })
  },
  absent: app => app.register(mcp, { origins: [PAGE] })
}

for (const [place, register] of Object.entries(places)) {
  t.test(`with the host's cors ${place}, our routes follow \`origins\` and the host's follow the host`, async t => {
    const { app, lines } = hostApp(t)
    await register(app)
    for (const target of [app, await listen(app)]) {
      const reply = await preflight(target, '/mcp', { 'access-control-request-headers': 'mcp-param-a' })
      t.match(reply, { status: 204, headers: { ...READABLE, 'access-control-allow-headers': `${ALLOWED}, mcp-param-a`, 'access-control-allow-methods': 'GET, POST, DELETE' } })
      t.match(await send(target, '/mcp', { method: 'POST', headers: { origin: PAGE }, body: PING }), { status: 400, headers: READABLE })
      for (const refused of [await preflight(target, '/mcp', { origin: OTHER }), await send(target, '/sse', { headers: { origin: OTHER } })]) {
        t.match(refused, { status: 403, messages: [{ error: { data: { code: ORIGIN } } }] })
        t.strictSame(corsOf(refused.headers), [])
      }
      const own = await preflight(target, '/own', { origin: OTHER })
      t.match(own, place === 'absent'
        ? { status: 404 }
        : { status: 204, headers: { 'access-control-allow-origin': OTHER, 'access-control-allow-credentials': 'true' } })
      t.notMatch(own.headers, { 'access-control-max-age': '7200' })
    }
    t.equal(lines.filter(line => line.includes('the app has @fastify/cors')).length, place.startsWith('before') ? 1 : 0)
  })
}

t.test('two servers of ours, each with origins of its own, with and without the host\'s cors', async t => {
  for (const isThere of [true, false]) {
    const { app } = hostApp(t)
    if (isThere) await app.register(cors, hostCors)
    await app.register(async scope => { await scope.register(mcp, { prefix: '/a', origins: [PAGE] }) })
    await app.register(async scope => { await scope.register(mcp, { prefix: '/b', origins: [OTHER] }) })
    t.match(await preflight(app, '/a/mcp'), { status: 204, headers: READABLE })
    t.match(await preflight(app, '/b/mcp', { origin: OTHER }), { status: 204, headers: { 'access-control-allow-origin': OTHER } })
    t.match(await preflight(app, '/a/mcp', { origin: OTHER }), { status: 403 })
    t.match(await preflight(app, '/b/mcp'), { status: 403 })
    t.match(await preflight(app, '/own'), { status: isThere ? 204 : 404 })
  }
})
