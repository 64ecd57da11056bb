// Security headers and https, on our routes alone.
import { once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'
import helmet from '@fastify/helmet'
import Fastify, { type FastifyInstance } from 'fastify'
import mcp, { type McpOptions } from 'fastify-mcp-sse'
import t from 'tap'
import { Client, createApp, listen, send, SseClient, within } from './client.ts'

const PING = { jsonrpc: '2.0', id: 1, method: 'ping' }
const OURS = {
  'content-security-policy': "default-src 'none';frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff'
}
const HSTS = 'strict-transport-security'
const LEFT_OUT = [
  HSTS, 'cross-origin-opener-policy', 'cross-origin-embedder-policy', 'origin-agent-cluster', 'x-frame-options', 'x-dns-prefetch-control', 'x-download-options',
  'x-permitted-cross-domain-policies', 'x-xss-protection', 'upgrade'
]
const HTTPS = { host: 'mcp.example', 'x-forwarded-proto': 'https', 'x-forwarded-for': '203.0.113.9' }

/** The headers of a refused ping. */
async function headersOf (app: FastifyInstance, headers: Record<string, string> = {}): Promise<Record<string, unknown>> {
  return (await send(app, '/mcp', { method: 'POST', headers, body: PING })).headers
}

const given = (headers: Record<string, unknown>, names: string[]): string[] => names.filter(name => name in headers)

t.test('answers, streams and refusals carry the headers that suit an API, and none that speak to documents', async t => {
  const app = await createApp(t, { auth: { tokens: [{ token: 'secret', principal: 'ci' }] } })
  app.get('/own', () => 'own')
  app.mcp.tool('stream', {}, async function * () { yield 'one' })
  const url = await listen(app)
  const headers = { authorization: 'Bearer secret' }
  const client = await Client.connect(url, { headers })
  const sse = await SseClient.connect(url, { headers })
  const replies: [status: number, reply: { status: number, headers: Record<string, unknown> }][] = [
    [200, await client.post(PING)],
    [200, await client.post({ jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name: 'stream', _meta: { progressToken: 1 } } })],
    [200, sse.stream],
    [202, await sse.post(PING)],
    [401, await send(url, '/mcp', { method: 'POST', body: PING })],
    [403, await send(url, '/sse', { headers: { origin: 'https://evil.example' } })],
    [404, await client.post(PING, { 'mcp-session-id': 'gone' })],
    [405, await send(url, '/mcp', { method: 'PUT', headers })]
  ]
  for (const [status, reply] of replies) {
    t.match(reply, { status, headers: OURS })
    t.strictSame(given(reply.headers, LEFT_OUT), [])
  }
  await sse.close()
  t.strictSame(given((await send(url, '/own')).headers, [...Object.keys(OURS), ...LEFT_OUT]), [])
  t.strictSame(given((await send(url, '/mcp', { method: 'OPTIONS' })).headers, Object.keys(OURS)), [])
})

t.test('with `origins` other origins may read, preflights too', async t => {
  const app = await createApp(t, { origins: ['https://app.example'] })
  const open = { ...OURS, 'cross-origin-resource-policy': 'cross-origin' }
  t.match(await headersOf(app, { origin: 'https://app.example' }), open)
  const { headers } = await send(app, '/mcp', { method: 'OPTIONS', headers: { origin: 'https://app.example', 'access-control-request-method': 'POST' } })
  t.match(headers, open)
})

t.test('options of helmet go over the defaults, also by their older names', async t => {
  t.strictSame(given(await headersOf(await createApp(t, { helmet: false })), [...Object.keys(OURS), ...LEFT_OUT]), [])
  t.match(await headersOf(await createApp(t, { helmet: {} })), OURS)
  const { 'referrer-policy': policy, ...rest } = OURS
  const app = await createApp(t, { helmet: { frameguard: { action: 'deny' }, xssFilter: true, referrerPolicy: false, contentSecurityPolicy: false } })
  const headers = await headersOf(app)
  t.match(headers, { 'x-frame-options': 'DENY', 'x-xss-protection': '0', 'x-content-type-options': rest['x-content-type-options'] })
  t.strictSame(given(headers, ['referrer-policy', 'content-security-policy']), [])
})

t.test('Strict-Transport-Security is sent over https alone', async t => {
  const values: [options: McpOptions, value: string | undefined][] = [
    [{}, 'max-age=31536000'],
    [{ helmet: true, requireHttps: true }, 'max-age=31536000'],
    [{ helmet: false }, undefined],
    [{ helmet: false, requireHttps: true }, 'max-age=31536000'],
    [{ helmet: { hsts: false }, requireHttps: true }, undefined],
    [{ helmet: { strictTransportSecurity: true } }, 'max-age=31536000'],
    [{ helmet: { hsts: { maxAge: 60 } } }, 'max-age=60; includeSubDomains'],
    [{ helmet: { strictTransportSecurity: { includeSubDomains: false, preload: true } } }, 'max-age=31536000; preload']
  ]
  for (const [options, value] of values) {
    const app = await createApp(t, { ...options, auth: false }, { trustProxy: true })
    t.equal((await headersOf(app, HTTPS))[HSTS], value, JSON.stringify(options))
    t.notOk(HSTS in await headersOf(app), 'over http')
    t.notOk(HSTS in await headersOf(app, { ...HTTPS, 'x-forwarded-proto': 'http' }))
  }
})

t.test('where the host has helmet its headers are on our routes, with what `helmet` says of them', async t => {
  const lines: string[] = []
  const app = Fastify({ logger: { stream: { write: line => lines.push(line) } } })
  t.after(() => app.close())
  await app.register(helmet)
  app.get('/own', () => 'own')
  await app.register(mcp)
  await app.register(async scope => { await scope.register(mcp, { prefix: '/b', helmet: { xFrameOptions: { action: 'deny' } } }) })
  await app.register(async scope => { await scope.register(mcp, { prefix: '/c', helmet: false }) })
  t.equal(lines.filter(line => line.includes('the app has @fastify/helmet')).length, 2, 'one for each server that would have brought it')
  const own = { 'x-frame-options': 'SAMEORIGIN', 'cross-origin-resource-policy': 'same-origin', 'strict-transport-security': /includeSubDomains/ }
  t.match((await send(app, '/own')).headers, own)
  t.match(await headersOf(app), own)
  t.match((await send(app, '/b/mcp')).headers, { ...own, 'x-frame-options': 'DENY' })
  t.match((await send(app, '/c/mcp')).headers, own)
})

t.test('a host that brings helmet after us adds what we leave out', async t => {
  const app = await createApp(t)
  await app.register(helmet, { contentSecurityPolicy: false, xFrameOptions: { action: 'deny' } })
  app.get('/own', () => 'own')
  t.match(await headersOf(app), { ...OURS, 'x-frame-options': 'DENY' })
  t.notOk('content-security-policy' in (await send(app, '/own')).headers)
})

t.test('what helmet refuses is refused at boot', async t => {
  const helmet = { referrerPolicy: { policy: 'whatever' } } as unknown as true
  await t.rejects(createApp(t, { helmet }), { code: 'FST_MCP_OPTION_INVALID', message: /`helmet` is refused by @fastify\/helmet: .*whatever/ })
})

t.test('a policy that depends on the request is made for each', async t => {
  let count = 0
  const app = await createApp(t, { helmet: { contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: [() => `'nonce-${++count}'`] } } } })
  const first = await headersOf(app)
  t.match(first, { 'x-content-type-options': 'nosniff' })
  t.not(first['content-security-policy'], (await headersOf(app))['content-security-policy'])
  t.notOk(HSTS in first)
  const nonces = await createApp(t, { helmet: { enableCSPNonces: true, contentSecurityPolicy: true } })
  t.not((await headersOf(nonces))['content-security-policy'], (await headersOf(nonces))['content-security-policy'])
})

t.test('headers that a hook of the host has set stay', async t => {
  const app = Fastify({ trustProxy: true })
  t.after(() => app.close())
  app.addHook('onRequest', async (_request, reply) => { reply.headers({ 'referrer-policy': 'origin', [HSTS]: 'max-age=1' }) })
  await app.register(mcp, { auth: false })
  t.match(await headersOf(app, HTTPS), { ...OURS, 'referrer-policy': 'origin', [HSTS]: 'max-age=1' })
})

// ---- https ----

t.test('`requireHttps` refuses plain http before a token is looked at, and says to what to upgrade', async t => {
  const app = await createApp(t, { requireHttps: true, auth: { tokens: [{ token: 'secret', principal: 'ci' }] }, origins: ['https://app.example'] })
  for (const [method, url] of [['POST', '/mcp'], ['GET', '/mcp'], ['DELETE', '/mcp'], ['PUT', '/mcp'], ['GET', '/sse'], ['POST', '/messages'], ['OPTIONS', '/mcp']]) {
    for (const authorization of ['Bearer secret', 'Bearer wrong']) {
      const { statusCode, headers, body } = await app.inject({
        method: method as 'GET', url: url ?? '', remoteAddress: '203.0.113.9', headers: { authorization, origin: 'https://app.example' }
      })
      t.match({ statusCode, headers }, {
        statusCode: 426, headers: { upgrade: 'TLS/1.2', connection: 'upgrade', 'access-control-allow-origin': 'https://app.example', 'x-content-type-options': 'nosniff' }
      })
      t.match(JSON.parse(body), { error: { code: -32000, message: 'Use https', data: { code: 'FST_MCP_HTTPS_REQUIRED' } } })
      t.notOk(HSTS in headers)
    }
  }
})

t.test('`requireHttps` believes a proxy that is trusted, and lets loopback clients be', async t => {
  const options: McpOptions = { requireHttps: true, auth: { tokens: [{ token: 'secret', principal: 'ci' }] } }
  const cases: [trustProxy: boolean, headers: Record<string, string>, status: number][] = [
    [true, HTTPS, 400],
    [true, { ...HTTPS, 'x-forwarded-proto': 'http' }, 426],
    [true, { 'x-forwarded-for': '203.0.113.9' }, 426],
    [true, {}, 400],
    [false, HTTPS, 426],
    [false, {}, 400],
    [false, { host: 'mcp.example' }, 400]
  ]
  for (const [trustProxy, headers, status] of cases) {
    const url = await listen(await createApp(t, options, { trustProxy }))
    const reply = await send(url, '/mcp', { method: 'POST', headers: { ...headers, authorization: 'Bearer secret' }, body: PING })
    t.equal(reply.status, status, JSON.stringify([trustProxy, headers]))
    if (status === 426) t.match(reply.headers, { upgrade: 'TLS/1.2', connection: 'upgrade' })
  }
})

t.test('fetch reads the refusal of plain http, and HTTP/2 gets it without headers that it forbids', async t => {
  const options: McpOptions = { requireHttps: true, auth: false }
  const url = await listen(await createApp(t, options))
  for (const turn of [1, 2]) {
    const response = await fetch(`${url}/mcp`, { method: 'POST', headers: { 'x-forwarded-for': '203.0.113.9' }, body: '{}' })
    t.equal(response.status, 426, `${turn}`)
    t.match(await response.json(), { error: { data: { code: 'FST_MCP_HTTPS_REQUIRED' } } })
  }

  const app = Fastify({ http2: true })
  t.after(() => app.close())
  await app.register(mcp, options)
  const session = connectHttp2(await app.listen({ port: 0, host: '127.0.0.1' }))
  t.after(() => session.destroy())
  const stream = session.request({ ':path': '/mcp', 'x-forwarded-for': '203.0.113.9' })
  const [headers] = await within(once(stream, 'response'), 'an answer')
  t.match(headers, { ':status': 426, ...OURS })
  t.notOk('upgrade' in headers || 'connection' in headers)
  stream.destroy()
})
