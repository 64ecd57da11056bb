// Threats that docs/security.md names and no other test shows.
import { once } from 'node:events'
import { connect } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { type McpOptions } from 'fastify-mcp-sse'
import t, { type Test } from 'tap'
import { ACCEPT, Client, createApp, listen, REVISIONS, send, SseClient } from './client.ts'

const CALL = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'act' } })
const tokens = [{ token: 'secret', principal: 'ci' }]

/** A server whose tool notes that it ran, without sessions: one request is all that a page or a smuggler would need. */
async function serve (t: Test, options: McpOptions = {}): Promise<{ app: FastifyInstance, url: string, ran: () => number }> {
  const app = await createApp(t, { sessions: false, ...options })
  let count = 0
  app.mcp.tool('act', {}, () => String(++count))
  return { app, url: await listen(app), ran: () => count }
}

t.test('a page can call nothing by a simple request, which no preflight comes before', async t => {
  const types = ['text/plain', 'text/plain;charset=UTF-8', 'text/plain; application/json', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=a', '']
  for (const auth of [undefined, false, { tokens }] as const) {
    const { url, ran } = await serve(t, { auth })
    // What a browser adds by itself.
    const cookie = 'session=alice; authorization=Bearer secret'
    const token = auth ? { authorization: 'Bearer secret' } : undefined
    for (const type of types) {
      for (const origin of ['https://evil.example', 'null', undefined]) {
        const headers = { accept: ACCEPT, cookie, 'content-type': type, ...(origin !== undefined && { origin }) }
        const { status } = await send(url, '/mcp', { method: 'POST', headers, body: CALL })
        const expected = origin !== undefined ? 403 : auth ? 401 : 415
        t.equal(status, expected, `${JSON.stringify(auth)} ${type} ${origin}`)
        t.equal((await send(url, '/mcp', { method: 'POST', headers: { ...headers, ...token }, body: CALL })).status, origin === undefined ? 415 : 403)
      }
    }
    for (const method of ['GET', 'HEAD', 'POST']) {
      const { status } = await send(url, `/mcp?body=${encodeURIComponent(CALL)}`, { method, headers: { ...token, accept: ACCEPT, 'content-type': 'text/plain' } })
      t.ok(status >= 400, `${method}: ${status}`)
    }
    t.equal(ran(), 0)
    const allowed = await send(url, '/mcp', { method: 'POST', headers: { ...token, accept: ACCEPT }, body: CALL })
    t.match(allowed.messages, [{ result: { content: [{ text: '1' }] } }], 'the request itself is good')
  }
})

/** Everything that comes back on one connection until the server ends it. */
async function exchange (url: string, bytes: string): Promise<string> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  let answer = ''
  socket.setEncoding('utf8').on('data', text => { answer += text }).on('error', () => {})
  socket.end(bytes)
  await once(socket, 'close')
  return answer
}

t.test('two lengths, or a length beside chunks, carry no second request in', async t => {
  const { app, url, ran } = await serve(t)
  const head = ['POST /mcp HTTP/1.1', 'host: localhost', `accept: ${ACCEPT}`, 'content-type: application/json']
  const requestOf = (lines: string[], body: string): string => [...head, ...lines, '', body].join('\r\n')
  const smuggled = requestOf([`content-length: ${CALL.length}`], CALL)
  const shapes: Record<string, string> = {
    'a length and chunks': requestOf(['content-length: 4', 'transfer-encoding: chunked'], `0\r\n\r\n${smuggled}`),
    'chunks and a length': requestOf(['transfer-encoding: chunked', `content-length: ${smuggled.length + 5}`], `0\r\n\r\n${smuggled}`),
    'two lengths': requestOf(['content-length: 2', `content-length: ${smuggled.length + 2}`], `{}${smuggled}`),
    'a list of lengths': requestOf([`content-length: 2, ${smuggled.length + 2}`], `{}${smuggled}`),
    'a length with a sign': requestOf(['content-length: +2'], `{}${smuggled}`),
    'a length that is hex': requestOf(['content-length: 0x2'], `{}${smuggled}`),
    'a negative length': requestOf(['content-length: -1'], smuggled),
    'a coding that is none': requestOf(['transfer-encoding: xchunked'], `0\r\n\r\n${smuggled}`),
    'chunked before another coding': requestOf(['transfer-encoding: chunked, identity'], `0\r\n\r\n${smuggled}`),
    'a space before the colon': requestOf(['transfer-encoding : chunked'], `0\r\n\r\n${smuggled}`),
    'a folded line': requestOf(['transfer-encoding:', ' chunked'], `0\r\n\r\n${smuggled}`),
    'a chunk whose size is none': requestOf(['transfer-encoding: chunked'], `x\r\n${smuggled}`),
    'a chunk whose size is too large': requestOf(['transfer-encoding: chunked'], `fffffffffffffffff\r\n${smuggled}`),
    'a chunk that ends without CR': requestOf(['transfer-encoding: chunked'], `2\r\n{}\n0\r\n\r\n${smuggled}`)
  }
  for (const [name, bytes] of Object.entries(shapes)) {
    const answer = await exchange(url, bytes)
    t.match(answer, /^HTTP\/1\.1 400 /, name)
    t.equal(answer.match(/HTTP\/1\.1 /g)?.length, 1, `${name}: one answer`)
    t.equal(ran(), 0, name)
  }
  t.match(await exchange(url, smuggled), /^HTTP\/1\.1 200 /, 'the request itself is good')
  t.match(app.mcp.stats(), { calls: 0, streams: 0 })
})

t.test('a session id is made by the server alone: one that somebody chose is never taken', async t => {
  const app = await createApp(t)
  const url = await listen(app)
  const chosen = 'chosen-by-an-attacker-000'
  const seen = new Set([chosen])
  for (const revision of REVISIONS) {
    const client = await Client.connect(url, { revision, headers: { 'mcp-session-id': chosen, cookie: `mcp-session-id=${chosen}` } })
    t.match(client.sessionId, /^[\w-]{24}$/, '144 random bits')
    seen.add(String(client.sessionId))
  }
  const sse = await SseClient.open(url, { path: `/sse?sessionId=${chosen}`, headers: { 'last-event-id': `${chosen}_0` } })
  const id = new URL(sse.endpoint, url).searchParams.get('sessionId') ?? ''
  t.match(id, /^[\w-]{24}$/)
  t.equal(seen.add(id).size, REVISIONS.length + 2, 'each another')
  await sse.close()
  const ping = { jsonrpc: '2.0', id: 1, method: 'ping' }
  t.equal((await send(url, '/mcp', { method: 'POST', headers: { accept: ACCEPT, 'mcp-session-id': chosen }, body: ping })).status, 404)
  t.equal((await send(url, `/messages?sessionId=${chosen}`, { method: 'POST', body: ping })).status, 404)
})

t.test('a session is no login: its id opens nothing without the token', async t => {
  const url = await listen(await createApp(t, { auth: { tokens } }))
  const headers = { authorization: 'Bearer secret' }
  const client = await Client.connect(url, { headers })
  const sse = await SseClient.connect(url, { headers })
  const session = { accept: ACCEPT, 'mcp-session-id': String(client.sessionId) }
  for (const method of ['POST', 'GET', 'DELETE']) t.equal((await send(url, '/mcp', { method, headers: session })).status, 401, method)
  t.equal((await send(url, sse.endpoint, { method: 'POST', body: { jsonrpc: '2.0', id: 1, method: 'ping' } })).status, 401)
  t.equal((await send(url, '/sse', { headers: { 'last-event-id': sse.stream.events[0]?.id ?? '' } })).status, 401)
  await sse.close()
})
