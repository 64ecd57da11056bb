// Every era over TLS, on HTTP/1.1 and HTTP/2 of one port.
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect as connectHttp2 } from 'node:http2'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Fastify, { type FastifyInstance } from 'fastify'
import mcp from 'fastify-mcp-sse'
import t, { type Test } from 'tap'
import { ACCEPT, envelope, EventStream, mirrors, type Opened, read, within } from './client.ts'

const folder = mkdtempSync(join(tmpdir(), 'fastify-mcp-sse-tls-'))
t.after(() => rmSync(folder, { recursive: true }))
execFileSync('openssl', [
  'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1', '-subj', '/CN=localhost',
  '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', join(folder, 'key.pem'), '-out', join(folder, 'cert.pem')
], { stdio: 'ignore' })
const key = readFileSync(join(folder, 'key.pem'))
const cert = readFileSync(join(folder, 'cert.pem'))

const HSTS = 'max-age=31536000'
const HEADERS = {
  accept: ACCEPT,
  authorization: 'Bearer secret',
  'content-type': 'application/json',
  // Else nothing over plain http from this machine would be refused either.
  'x-forwarded-for': '203.0.113.9'
}
type Ask = (method: string, path: string, headers?: Record<string, string>, body?: object) => Promise<Opened>

const protocols: Record<string, (t: Test, url: string) => Ask> = {
  'HTTP/1.1': (_t, url) => async (method, path, headers, body) => {
    const outgoing = request(new URL(path, url), { method, ca: cert, agent: false, headers: { ...HEADERS, ...headers } })
    outgoing.on('error', () => {}).end(body === undefined ? undefined : JSON.stringify(body))
    const [response] = await within(once(outgoing, 'response'), `${method} ${path}`)
    t.equal(response.httpVersion, '1.1')
    return { status: response.statusCode, headers: response.headers, body: response }
  },
  'HTTP/2': (t, url) => {
    const session = connectHttp2(url, { ca: cert })
    t.teardown(() => session.destroy())
    return async (method, path, headers, body) => {
      const stream = session.request({ ':method': method, ':path': path, ...HEADERS, ...headers })
      stream.on('error', () => {}).end(body === undefined ? undefined : JSON.stringify(body))
      const [head] = await within(once(stream, 'response'), `${method} ${path}`)
      t.equal(session.alpnProtocol, 'h2')
      return { status: head[':status'], headers: head, body: stream }
    }
  }
}

const eras: Record<string, (t: Test, ask: Ask) => Promise<Opened['headers'][]>> = {
  'HTTP+SSE': async (t, ask) => {
    const stream = new EventStream(await ask('GET', '/sse'))
    const { data: endpoint } = await stream.next()
    const reply = await read(await ask('POST', endpoint, {}, callOf('count')))
    t.equal(reply.status, 202)
    t.match([await stream.message(), await stream.message()], [{ params: { message: 'one ' } }, { params: { message: 'two' } }])
    t.match(await stream.message(), { result: { content: [{ text: 'one two' }] } })
    await stream.close()
    return [stream.headers, reply.headers]
  },
  '2025-11-25': async (t, ask) => {
    const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'tls', version: '1.0.0' } }
    const hello = await read(await ask('POST', '/mcp', {}, { jsonrpc: '2.0', id: 0, method: 'initialize', params }))
    const session = { 'mcp-session-id': String(hello.headers['mcp-session-id']), 'mcp-protocol-version': '2025-11-25' }
    const reply = await read(await ask('POST', '/mcp', session, callOf('count')))
    t.match(reply, { status: 200, headers: { 'content-type': 'text/event-stream' } })
    t.match(reply.messages.at(-1), { result: { content: [{ text: 'one two' }] } })
    const stream = new EventStream(await ask('GET', '/mcp', session))
    t.equal(stream.status, 200)
    const gone = await read(await ask('DELETE', '/mcp', session))
    t.equal(gone.status, 200)
    await stream.closed
    return [hello.headers, reply.headers, stream.headers, gone.headers]
  },
  '2026-07-28': async (t, ask) => {
    const call = callOf('count')
    const body = { ...call, params: { ...call.params, _meta: { ...envelope({}), ...call.params._meta } } }
    const reply = await read(await ask('POST', '/mcp', mirrors(call), body))
    t.match(reply, { status: 200, headers: { 'content-type': 'text/event-stream' } })
    t.match(reply.messages.at(-1), { result: { content: [{ text: 'one two' }] } })
    return [reply.headers]
  }
}

function callOf (name: string) {
  return { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, _meta: { progressToken: 1 } } }
}

async function register (t: Test, app: FastifyInstance): Promise<string> {
  t.teardown(() => app.close())
  await app.register(mcp, { requireHttps: true, auth: { tokens: [{ token: 'secret', principal: 'ci' }] } })
  app.mcp.tool('count', {}, async function * () {
    yield 'one '
    yield 'two'
  })
  return app.listen({ port: 0, host: '127.0.0.1' })
}

for (const [protocol, connect] of Object.entries(protocols)) {
  for (const [era, speak] of Object.entries(eras)) {
    t.test(`${era} is served over TLS on ${protocol}, with Strict-Transport-Security`, async t => {
      // Fastify's type of a server knows HTTP/1.1 alone.
      const app = Fastify({ http2: true, https: { key, cert, allowHTTP1: true } }) as unknown as FastifyInstance
      const url = await register(t, app)
      t.match(url, /^https:/)
      const heads = await speak(t, connect(t, url))
      t.strictSame(heads.map(headers => headers['strict-transport-security']), heads.map(() => HSTS))
      const started = performance.now()
      await within(app.close(), 'the server')
      t.ok(performance.now() - started < 5_000, 'no connection keeps it')
    })
  }
}

t.test('over TLS a refusal says to come back over https as well', async t => {
  const app = Fastify({ https: { key, cert } }) as unknown as FastifyInstance
  const url = await register(t, app)
  const ask = protocols['HTTP/1.1']?.(t, url)
  const refused = await ask?.('POST', '/mcp', { authorization: 'Bearer wrong' })
  refused?.body.resume()
  t.match(refused, { status: 401, headers: { 'strict-transport-security': HSTS } })
})
