// The doctor at servers that are not ours, that are no MCP servers, or that are not there; and its command line.
import { execFileSync, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import { type AddressInfo, createServer as createSocketServer } from 'node:net'
import { join } from 'node:path'
import { readFileSync } from 'node:fs'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { SSEServerTransport } from '@modelcontextprotocol/sdk/server/sse.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import t, { type Test } from 'tap'
import { advice } from '../lib/doctor/advice.ts'
import { EventReader } from '../lib/doctor/event-reader.ts'
import { root } from './child.ts'
import { consult, examine, type Reply, startImpostor } from './consultation.ts'
import { freePort } from './free-port.ts'

/** The official server, as its examples put it together. */
async function startOfficial (t: Test): Promise<string> {
  const open = new Map<string, StreamableHTTPServerTransport | SSEServerTransport>()
  const build = (): McpServer => {
    const server = new McpServer({ name: 'official', version: '1.0.0' })
    server.registerTool('tick', { annotations: { readOnlyHint: true } }, async ({ _meta, sendNotification }) => {
      for (let progress = 0; progress < 4; progress++) {
        if (_meta?.progressToken !== undefined) await sendNotification({ method: 'notifications/progress', params: { progressToken: _meta.progressToken, progress } })
        await sleep(130)
      }
      return { content: [{ type: 'text', text: 'done' }] }
    })
    return server
  }
  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? '/', 'http://x')
    if (url.pathname === '/sse') {
      const transport = new SSEServerTransport('/messages', response)
      open.set(transport.sessionId, transport)
      return await build().connect(transport)
    }
    const known = open.get(url.searchParams.get('sessionId') ?? request.headers['mcp-session-id']?.toString() ?? '')
    if (known instanceof SSEServerTransport) return await known.handlePostMessage(request, response)
    if (url.pathname !== '/mcp') return response.writeHead(404).end()
    if (known !== undefined) return await known.handleRequest(request, response)
    if (request.headers['mcp-session-id'] !== undefined) return response.writeHead(404).end()
    const transport: StreamableHTTPServerTransport = new StreamableHTTPServerTransport({
      sessionIdGenerator: () => randomUUID(), onsessioninitialized: id => { open.set(id, transport) }
    })
    await build().connect(transport)
    await transport.handleRequest(request, response)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

t.test('the official server is well, but for what keeps proxies off and streams alive', async t => {
  const url = await startOfficial(t)
  const { code, probes, verdicts } = await examine(`${url}/mcp`, '--idle', '16')
  t.strictSame(probes.flatMap(({ findings }) => findings.filter(({ verdict }) => verdict === 'fail')), [])
  t.equal(code, 0)
  t.equal(verdicts['2026-07-28'], 'skipped')
  t.match(probes[2]?.measures, { chunks: 4, longestGapMs: Number })
  t.match(probes.at(-1)?.findings, [{ id: 'idle-silent' }])
  const ids = new Set(probes.flatMap(({ findings }) => findings.map(({ id }) => id)))
  t.comment([...ids].join(', '))
})

t.test('what is not there is told in plain words', async t => {
  const dead = await freePort()
  t.match(await examine(`http://127.0.0.1:${dead}/mcp`), { code: 3, found: { reach: ['unreachable'] } })
  const deaf = createSocketServer().listen(0, '127.0.0.1')
  await once(deaf, 'listening')
  deaf.on('connection', socket => t.teardown(() => socket.destroy()))
  t.teardown(() => deaf.close())
  t.match(await examine(`http://127.0.0.1:${(deaf.address() as AddressInfo).port}`, '--timeout', '0.1'), { code: 3, found: { reach: ['no-answer'] } })
})

t.test('TLS that cannot be trusted, and TLS that is none', async t => {
  const folder = t.testdir({})
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1', '-subj', '/CN=localhost',
    '-keyout', join(folder, 'key.pem'), '-out', join(folder, 'cert.pem')], { stdio: 'ignore' })
  const secure = createSecureServer({ key: readFileSync(join(folder, 'key.pem')), cert: readFileSync(join(folder, 'cert.pem')) }, (_request, response) => {
    response.writeHead(404).end()
  }).listen(0, '127.0.0.1')
  await once(secure, 'listening')
  t.teardown(() => secure.close())
  const url = `https://127.0.0.1:${(secure.address() as AddressInfo).port}/mcp`
  const { code, probes } = await examine(url)
  t.match([code, probes[0]?.findings], [3, [{ id: 'tls', said: /its certificate is self-signed \(DEPTH_ZERO_SELF_SIGNED_CERT\)/ }]])
  t.match(await examine(url, '--insecure'), { code: 1, found: { reach: ['not-mcp'] } })
  const plain = await startImpostor(t, () => undefined)
  t.match(await examine(plain.replace('http:', 'https:')), { code: 3, found: { reach: ['tls'] } })
})

t.test('the way there: redirects, old HTTP, closed connections and a wrong clock', async t => {
  const moved = await startImpostor(t, () => ({ status: 301, headers: { location: 'https://mcp.example/mcp' } }))
  t.match((await examine(moved)).probes[0]?.findings, [{ id: 'redirect', said: 'POST was answered 301, to https://mcp.example/mcp' }])
  const lost = await startImpostor(t, () => ({ status: 308 }))
  t.match((await examine(lost)).probes[0]?.findings, [{ said: 'POST was answered 308, to nowhere' }])
  const late = await startImpostor(t, () => ({ status: 404, headers: { connection: 'close', date: 'Fri, 20 Nov 2020 15:38:32 GMT' } }))
  t.match(await examine(late), { code: 1, found: { reach: ['connection-close', 'clock', 'not-mcp'] } })
  const early = await startImpostor(t, () => ({ status: 404, headers: { date: 'Fri, 20 Nov 2099 15:38:32 GMT' } }))
  t.match((await examine(early)).probes[0]?.findings, [{ id: 'clock', said: /ahead of/ }, { id: 'not-mcp' }])
  const old = createSocketServer(socket => socket.on('error', () => {}).on('data', () => socket.end('HTTP/1.0 404 Not Found\r\n\r\n'))).listen(0, '127.0.0.1')
  await once(old, 'listening')
  t.teardown(() => old.close())
  t.match(await examine(`http://127.0.0.1:${(old.address() as AddressInfo).port}/`), { found: { reach: ['http-1.0', 'not-mcp'] } })
})

t.test('a server of something else is no MCP server', async t => {
  const pages = await startImpostor(t, () => ({ headers: { 'content-type': 'text/html' }, text: '<h1>Welcome</h1>' }))
  const { code, found } = await examine(pages)
  t.match([code, found], [1, { '2025-11-25': ['content-type', 'initialize-failed'] }])
  const empty = await startImpostor(t, () => ({}))
  t.match((await examine(empty, '--only', '2025-11-25')).probes.at(-1)?.findings, [{ said: 'initialize was answered as nothing named' }, { id: 'initialize-failed' }])
  const sick = await startImpostor(t, () => ({ status: 500, text: 'Oh\u001b[2Jno' }))
  const ill = await consult(['doctor', sick, '--idle', '0'])
  t.match([ill.code, ill.out], [1, /500, no content-type: Oh\\u001b\[2Jno/])
  t.notMatch(ill.out, '\u001b')
  const json = await consult(['doctor', sick, '--idle', '0', '--json'])
  t.notMatch(json.out, '\u001b')
})

t.test('what a server says is shortened and made harmless', async t => {
  const rude = await startImpostor(t, () => ({ status: 403, json: { jsonrpc: '2.0', id: 0, error: { code: -1, message: `\u202e${'no '.repeat(200)}` } } }))
  const text = await consult(['doctor', rude, '--idle', '0'])
  t.match(text.out, /refused: initialize was answered 403, \\u202eno no .+…$/m)
  const { out } = await consult(['doctor', rude, '--idle', '0', '--json'])
  t.notMatch(out, '\u202e')
  t.match(JSON.parse(out).probes[1].findings, [{ said: /\u202eno .+\(-1\)$/ }])
})

t.test('a server of 2026-07-28 alone, one that refuses the first request, and one that wants a token at its root', async t => {
  const modern = await startImpostor(t, () => ({ status: 400, json: { jsonrpc: '2.0', id: 0, error: { code: -32022, message: 'served: 2026-07-28' } } }))
  t.match((await examine(modern, '--only', '2025-11-25')).verdicts, { '2025-11-25': 'skipped' })
  const tired = await startImpostor(t, () => ({ status: 429 }))
  t.match(await examine(tired), { code: 1, found: { reach: ['rate-limited', 'nothing-examined'] }, verdicts: { admission: 'skipped' } })
  const tiring = await startImpostor(t, (_request, message) => ({ status: message.method === 'ping' ? 404 : message.id === 0 && tries++ > 0 ? 429 : 404 }))
  let tries = 0
  t.match(await examine(tiring, '--only', '2025-11-25'), { code: 1, found: { reach: ['nothing-examined'], '2025-11-25': ['rate-limited'] } })
  const guarded = await startImpostor(t, () => ({ status: 401, headers: { 'www-authenticate': 'Bearer' } }))
  t.match(await examine(guarded), { code: 1, found: { admission: ['auth-required'] } })
  t.match(await examine(guarded, '--token', 'x'), { code: 1, found: { admission: ['token-dropped'] } })
  const strict = await startImpostor(t, () => ({ status: 401, headers: { 'www-authenticate': 'Bearer error="invalid_token"' } }))
  t.match(await examine(strict, '--token', 'x'), { code: 1, found: { admission: ['token-refused'] } })
  const mute = await startImpostor(t, () => ({ status: 401 }))
  t.match(await examine(mute, '--token', 'x'), { code: 1, found: { admission: ['challenge-missing', 'token-refused'] } })
})

const initialized = (message: any, more: object = {}): Reply => ({
  headers: { 'mcp-session-id': 'known' },
  json: { jsonrpc: '2.0', id: message.id, result: { protocolVersion: '2025-11-25', capabilities: {}, serverInfo: { name: 'i', version: '1' }, ...more } }
})
const resultTo = (message: any, result: object = {}): Reply => ({ json: { jsonrpc: '2.0', id: message.id, result } })
type Other = (request: IncomingMessage, message: any) => Reply | undefined

/** A server of 2025-11-25 that is well but for what `other` answers. */
const almostWell = (t: Test, other: Other): Promise<string> => startImpostor(t, (request, message) => {
  const own = other(request, message)
  if (own !== undefined) return own
  if (request.method === 'DELETE') return { status: 204 }
  if (request.method === 'GET') return { status: 405 }
  if (message.method === 'initialize') return initialized(message)
  if (message.id === undefined) return { status: 202 }
  if (request.headers['mcp-session-id'] === undefined) return { status: 400 }
  if (request.headers['mcp-session-id'] !== 'known') return { status: 404 }
  if (request.headers['mcp-protocol-version'] === '1999-01-01') return { status: 400 }
  if (message.method === 'ping') return resultTo(message)
  if (message.method === 'tools/list') return resultTo(message, { tools: [] })
  return { json: { jsonrpc: '2.0', id: message.id, error: { code: -32601, message: 'no' } } }
})

t.test('each wrong answer of a session is told', async t => {
  const of = async (other: Other, ...more: string[]) => {
    const { found, verdicts } = await examine(await almostWell(t, other), '--only', '2025-11-25,idle', ...more)
    return { ...found, verdict: verdicts['2025-11-25'] }
  }
  const only = (...ids: string[]) => ({ '2025-11-25': ids })
  t.match(await of(() => undefined, '--idle', '0.1'), { verdict: 'ok' })
  t.match(await of(({ method }) => method === 'DELETE' ? { status: 500 } : undefined), only('delete-status'))
  t.match(await of((_request, { id, method } = {}) => id === undefined && method !== undefined ? { status: 200 } : undefined), { ...only('notification-status'), verdict: 'warn' })
  t.match(await of((_request, { id, method } = {}) => id === undefined && method !== undefined ? { status: 500 } : undefined), { ...only('notification-status'), verdict: 'fail' })
  t.match(await of((_request, { method, id } = {}) => method === 'ping' && id !== 'reach' ? { status: 503 } : undefined), only('request-failed'))
  t.match(await of((_request, { method, id } = {}) => method === 'ping' && id === 3 ? { status: 200, json: { jsonrpc: '2.0', id, error: { code: 1, message: { toString: 1 } } } } : undefined), only('request-failed'))
  t.match(await of((_request, message) => message?.method === 'doctor/unknown' ? { json: { jsonrpc: '2.0', id: message.id, error: { code: { toString: 1 } } } } : undefined), only('method-unknown'))
  t.match(await of(({ headers }, { method } = {}) => method === 'ping' && headers['mcp-session-id'] !== 'known' ? { status: 200, json: {} } : undefined), only('session-unknown-status', 'session-missing-status'))
  t.match(await of(({ headers }, message) => headers['mcp-protocol-version'] === '1999-01-01' ? resultTo(message) : undefined), only('revision-status'))
  t.match(await of((_request, message) => message?.method === 'doctor/unknown' ? resultTo(message) : undefined), only('method-unknown'))
  t.match(await of(({ method }) => method === 'GET' ? { status: 200, headers: { 'content-type': 'text/html' } } : undefined, '--idle', '0.1'), only('accept-status', 'content-type'))
  t.match(await of(({ method }) => method === 'GET' ? { status: 200 } : undefined), only('accept-status', 'content-type'))
  t.match(await of(({ method }) => method === 'GET' ? { status: 500 } : undefined, '--idle', '0.1'), { ...only('accept-status', 'refused'), idle: ['refused'] })
  t.match(await of((_request, message) => message?.method === 'initialize' ? initialized(message, { protocolVersion: '2025-06-18' }) : undefined), only('revision-other'))
  t.match(await of((_request, message) => message?.method === 'initialize' ? { ...initialized(message), headers: { 'mcp-session-id': 'a b' } } : undefined), only('session-id-form'))
  t.match(await of((_request, message) => message?.method === 'initialize' ? { json: { jsonrpc: '2.0', id: 0, error: { code: 1, message: 'no' } } } : undefined), only('initialize-failed'))
  const tools = [{ name: 'a', annotations: { readOnlyHint: true }, inputSchema: { required: ['x'] } }, { name: 'b', annotations: { readOnlyHint: true }, inputSchema: { required: [] } }]
  t.match(await of((_request, message) => message?.method === 'tools/list' ? resultTo(message, { tools }) : message?.method === 'tools/call' && message.params.name === 'b' ? { status: 200 } : undefined), only('request-failed'))
  const calls = (tools: object[], answer: (message: any) => Reply, pages = 1): Other => (_request, message) => {
    if (message?.method === 'tools/call') return answer(message)
    if (message?.method !== 'tools/list') return undefined
    const page = Number(message.params.cursor ?? 1)
    return resultTo(message, { tools: page < pages ? [{ name: `other${page}` }] : tools, ...(page < pages && { nextCursor: String(page + 1) }) })
  }
  t.match(await of(calls([{ name: 'x' }], () => ({ status: 200 }), 3), '--tool', 'x'), { ...only('request-failed'), verdict: 'fail' }, 'on the last page')
  t.match(await of(calls([], () => ({ status: 200 }), 100), '--tool', 'x'), only('request-failed'), 'a list without end is no proof')
  t.match(await of((_request, message) => message?.method === 'tools/list' ? resultTo(message) : undefined, '--tool', 'x'), { ...only('request-failed'), verdict: 'fail' }, 'nor is none')
  t.match(await of(calls([], () => ({ status: 200 })), '--tool', 'x'), only('tool-unknown'))
  t.match(await of(calls([], () => ({ status: 200 }), 25), '--tool', 'x'), only('tool-unknown'))
  const read = [{ name: 'a', annotations: { readOnlyHint: true } }]
  t.match(await of(calls(read, message => resultTo(message, { isError: true, content: [] }))), { ...only('tool-failed'), verdict: 'warn' })
  t.match(await of(calls(read, message => resultTo(message, { isError: true }))), only('tool-failed'))
  t.match(await of(calls(read, message => ({ json: { jsonrpc: '2.0', id: message.id, error: { code: 1, message: 'no' } } }))), { ...only('request-failed'), verdict: 'warn' })
})

t.test('what a tool says of its failure is cut and made harmless, and a name that no header holds goes as base64', async t => {
  const text = `\u001b[2J${'no '.repeat(200)}`
  let name = ''
  const server = await startImpostor(t, (request, message) => {
    if (message?.method === 'server/discover') return resultTo(message, { supportedVersions: ['2026-07-28'] })
    if (message?.method === 'tools/list') return resultTo(message, { tools: [{ name: 'größe', annotations: { readOnlyHint: true } }] })
    if (message?.method !== 'tools/call') return { status: 404, json: { jsonrpc: '2.0', id: message?.id, error: { code: -32601, message: 'no' } } }
    name = String(request.headers['mcp-name'])
    return resultTo(message, { isError: true, content: [{ type: 'text', text }] })
  })
  const { out } = await consult(['doctor', server, '--only', '2026-07-28'])
  t.match(out, /tool-failed: größe answered that it failed: "\\u001b\[2Jno no .{100,160}": streaming was not judged$/m)
  t.equal(name, `=?base64?${Buffer.from('größe').toString('base64')}?=`)
})

t.test('what no header can hold is not sent, and the visit goes on', async t => {
  const server = await almostWell(t, ({ method, headers }) => method === 'GET' && headers.accept === 'text/event-stream'
    ? { headers: { 'content-type': 'text/event-stream' }, text: 'id: \u2603\ndata: x\n\n' }
    : undefined)
  const { found } = await examine(`${server}/%ff`, '--only', '2025-11-25,idle', '--idle', '1')
  t.match(found.idle, ['idle-cut', 'resume-failed'])
  t.match(await consult(['doctor', `${server}/%ff`, '--only', '2025-11-25']), { code: 0, out: /\/%ff\n/ })
})

t.test('who does not answer in time is told, wherever it happens', async t => {
  // A body that never comes: the request hangs before the head.
  const hang = async (fits: (request: IncomingMessage, message: any) => boolean, ...more: string[]) => {
    const inside = await almostWell(t, () => undefined)
    const server = createServer(async (request, response) => {
      let body = ''
      for await (const part of request.setEncoding('utf8')) body += part
      if (fits(request, body === '' ? {} : JSON.parse(body))) return
      const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)]))
      delete headers.connection
      delete headers['content-length']
      const answer = await fetch(new URL(request.url ?? '/', inside), { method: request.method ?? 'GET', headers, ...(body !== '' && { body }) })
      const id = answer.headers.get('mcp-session-id')
      const type = answer.headers.get('content-type')
      response.writeHead(answer.status, { ...(id !== null && { 'mcp-session-id': id }), ...(type !== null && { 'content-type': type }) }).end(await answer.text())
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.teardown(() => {
      server.closeAllConnections()
      server.close()
    })
    return (await examine(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, '--timeout', '0.3', ...more)).found
  }
  const session = ['--only', '2025-11-25']
  const methodIs = (name: string) => (_request: IncomingMessage, message: any) => message.method === name
  const nth = (name: string, n: number) => (_request: IncomingMessage, message: any) => message.method === name && --n < 0
  t.match(await hang(methodIs('initialize'), ...session), { admission: ['no-answer'] })
  t.match(await hang(nth('initialize', 1), ...session), { '2025-11-25': ['no-answer'] })
  t.match(await hang(nth('initialize', 1), '--token', 'x', ...session), { admission: ['no-answer'] })
  t.match(await hang(nth('initialize', 2), '--idle', '1', '--only', '2025-11-25,idle'), { idle: ['stream-held'] })
  t.match(await hang(methodIs('notifications/initialized'), ...session), { '2025-11-25': ['no-answer'] })
  t.match(await hang(({ method }, message) => method === 'POST' && message.method === 'ping' && message.id === 3, ...session), { '2025-11-25': ['no-answer'] })
  t.match(await hang(({ headers }) => headers['mcp-session-id']?.toString().startsWith('doctor') === true, ...session), { '2025-11-25': ['no-answer'] })
  t.match(await hang(methodIs('doctor/unknown'), ...session), { '2025-11-25': ['no-answer'] })
  t.match(await hang(methodIs('server/discover'), '--only', '2026-07-28'), { '2026-07-28': ['no-answer'] })
  t.match(await hang(methodIs('tools/list'), ...session), {})
  t.match(await hang(({ method }) => method === 'OPTIONS', '--only', 'browser', '--origin', 'https://a.example'), { browser: ['no-answer'] })
})

t.test('each wrong answer of HTTP+SSE is told', async t => {
  interface Ways {
    first?: string
    get?: Reply
    post?: (message: any, n: number) => Reply | undefined
    more?: string[]
  }
  const stream = { 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform', 'x-accel-buffering': 'no' }
  const of = async ({ first = '/messages?id=1', get, post, more = [] }: Ways) => {
    let posts = 0
    const url = await startImpostor(t, (request, message) => {
      if (request.method === 'GET') return get ?? { headers: stream, text: `event: endpoint\r\ndata: ${first}\r\n\r\n`, hangs: true }
      return request.url?.startsWith('/messages') ? (post?.(message, ++posts) ?? { status: 202 }) : { status: 404 }
    })
    return (await examine(`${url}/sse`, '--only', '2024-11-05', '--timeout', '0.3', ...more)).found['2024-11-05']
  }
  t.strictSame(await of({}), ['request-failed'], 'initialize is answered nowhere')
  t.strictSame(await of({ first: 'https://evil.example/messages' }), ['endpoint-origin'])
  t.strictSame(await of({ first: 'http://[/' }), ['endpoint-origin'])
  t.strictSame(await of({ get: { headers: stream, text: ': nothing\n\n', hangs: true } }), ['endpoint-missing'])
  t.strictSame(await of({ get: { status: 500 } }), ['refused'])
  t.strictSame(await of({ post: () => ({ status: 403 }) }), ['refused'])
  t.strictSame(await of({ post: () => ({ status: 405 }) }), ['endpoint-unreachable'])
  t.strictSame(await of({ post: (_message, n) => n % 2 === 0 ? { status: 404 } : undefined }), ['sessions-scattered'])
  t.strictSame(await of({ post: message => message.method === 'initialize' ? { status: 400, json: { jsonrpc: '2.0', id: 1, error: { code: 1, message: 'no' } } } : undefined }), ['request-failed'])
  t.strictSame(await of({ post: () => ({ status: 200 }) }), ['notification-status', 'request-failed'])
  // The session that asks which tool does no harm is another one.
  const answering = async (second: 'hangs' | 'elsewhere' | 'well') => {
    let streams = 0
    let say = (_text: string): void => {}
    const server = createServer(async (request, response) => {
      if (request.method === 'GET') {
        if (++streams > 1 && second === 'hangs') return
        response.writeHead(200, stream).write(`event: endpoint\ndata: ${streams > 1 && second === 'elsewhere' ? 'https://evil.example' : ''}/messages?id=${streams}\n\n`)
        say = text => response.write(`data: ${text}\n\n`)
        return
      }
      let body = ''
      for await (const part of request.setEncoding('utf8')) body += part
      const { id, method } = JSON.parse(body)
      response.writeHead(request.url?.includes('0000') ? 404 : 202).end()
      if (method === 'doctor/unknown') say(JSON.stringify({ jsonrpc: '2.0', id, error: { code: -32601, message: 'no' } }))
      else if (id !== undefined) say(JSON.stringify({ jsonrpc: '2.0', id, result: { protocolVersion: '2024-11-05', tools: [{ name: 7 }] } }))
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.teardown(() => {
      server.closeAllConnections()
      server.close()
    })
    const { port } = server.address() as AddressInfo
    return await examine(`http://127.0.0.1:${port}/sse`, '--only', '2024-11-05', '--timeout', '0.3', ...(second === 'well' ? ['--tool', 'x'] : []))
  }
  for (const second of ['hangs', 'elsewhere'] as const) {
    const { code, probes } = await answering(second)
    t.match([code, probes[2]?.notes], [0, [/no tool was called/]], second)
  }
  t.match((await answering('well')).probes[2]?.findings, [{ id: 'tool-unknown', said: 'there is no tool x; there are: none' }])
  // A GET on the url itself is a stream, but one of sessions.
  const sessions = await startImpostor(t, request => request.method === 'GET' && request.url === '/mcp' ? { headers: stream, hangs: true } : undefined)
  t.match((await examine(`${sessions}/mcp`, '--only', '2024-11-05', '--timeout', '0.2')).verdicts, { '2024-11-05': 'skipped' })
})

t.test('2026-07-28: an older server is left out, a broken one is told', async t => {
  const broken = await startImpostor(t, () => ({ status: 502, text: 'Bad Gateway' }))
  t.match((await examine(broken, '--only', '2026-07-28')).found, { reach: ['app-unreachable'] })
  const sick = await startImpostor(t, (_request, message) => ({ status: message.method === 'server/discover' ? 500 : 400 }))
  t.match((await examine(sick, '--only', '2026-07-28')).found, { '2026-07-28': ['refused'] })
  const careless = await startImpostor(t, ({ method }, message) => method === 'GET' ? {} : message?.id === undefined ? {} : resultTo(message, { supportedVersions: ['2026-07-28'] }))
  t.match((await examine(careless, '--only', '2026-07-28,idle', '--idle', '0.1')).found, {
    '2026-07-28': ['notification-status', 'revision-status', 'mismatch-status', 'method-unknown', 'get-status']
  })
})

t.test('metadata that do not fit are told', async t => {
  const of = async (metadata: (base: string) => Record<string, Reply>, header = (base: string) => `Bearer resource_metadata="${base}/meta"`) => {
    const url: string = await startImpostor(t, ({ url: path = '/' }) =>
      metadata(url)[path] ?? (path === '/mcp' ? { status: 401, headers: { 'www-authenticate': header(url) } } : undefined))
    return (await examine(`${url}/mcp`)).found.admission?.filter(id => id !== 'auth-required')
  }
  const wellKnown = '/.well-known/oauth-protected-resource/mcp'
  const right = (base: string) => ({ resource: `${base}/mcp`, authorization_servers: [base] })
  const issuer = '/.well-known/oauth-authorization-server'
  t.strictSame(await of(base => ({ '/meta': { json: right(base) }, [wellKnown]: { json: right(base) }, [issuer]: { json: { issuer: base } } })), [])
  t.strictSame(await of(base => ({ '/meta': { json: right(base) }, [issuer]: { json: { issuer: 'https://other.example' } } })), ['metadata-well-known', 'authorization-server'])
  t.strictSame(await of(() => ({ '/meta': { json: { resource: 'https://other.example' } }, [wellKnown]: { json: { a: 1 } } })), ['metadata-resource', 'authorization-server'])
  t.strictSame(await of(base => ({ [wellKnown]: { json: { resource: `${base}/mcp`, authorization_servers: ['ftp://x', 'http://127.0.0.1:1/'] } } }), () => 'Bearer'), ['challenge-metadata', 'authorization-server'])
  t.strictSame(await of(() => ({ '/meta': { text: 'no' } })), ['metadata-unreachable'])
  t.strictSame(await of(() => ({}), () => 'Bearer resource_metadata="http://["'), ['metadata-unreachable'])
  t.strictSame(await of(() => ({}), () => 'Bearer resource_metadata="ftp://x/y"'), ['metadata-unreachable'])
})

t.test('a body without end, and one that breaks off, end the question and not the visit', async t => {
  const endless = await startImpostor(t, () => ({ headers: { 'content-type': 'application/json' }, text: '{'.repeat(100), hangs: true }))
  t.match(await examine(endless, '--only', '2025-11-25', '--timeout', '0.2'), { found: { '2025-11-25': ['initialize-failed'] } })
  const huge = await startImpostor(t, () => ({ headers: { 'content-type': 'application/json' }, text: ' '.repeat(5_000_000) }))
  t.match(await examine(huge, '--only', '2025-11-25'), { found: { '2025-11-25': ['initialize-failed'] } })
  const mangled = await startImpostor(t, () => ({ headers: { 'content-type': 'application/json', 'content-encoding': 'gzip' }, text: 'not gzip' }))
  t.match(await examine(mangled, '--only', '2025-11-25'), { found: { '2025-11-25': ['initialize-failed'] } })
})

t.test('an event stream is read whatever its line ends are, and bounded', async t => {
  const source = new Readable({ read () {} })
  const reader = new EventReader(source)
  source.push('id: 1\r\nevent: a\rdata: x\ndata\n\nretry: 5\nfoo: bar\n: kept\n\n')
  t.match(await reader.find(({ event }) => event === 'a', 1_000), { id: '1', data: 'x\n' })
  t.equal(reader.comments.length, 1)
  t.equal(await reader.find(({ event }) => event === 'b', 5), undefined)
  source.push('data: late\n\n')
  t.match(await reader.find(({ event }) => event === 'message', 1_000), { data: 'late' })
  const flood = new Readable({ read () {} })
  const flooded = new EventReader(flood)
  flood.push('data\n\n'.repeat(110_000))
  await flooded.over(1_000, new AbortController().signal)
  t.equal(flooded.ended?.kind, 'reset')
  source.push('x'.repeat(17_000_000))
  await reader.over(1_000, new AbortController().signal)
  t.equal(reader.ended?.kind, 'reset')
})

t.test('a command line that is wrong is told so', async t => {
  const url = 'http://127.0.0.1:1/mcp'
  const wrong: [argv: string[], words: RegExp][] = [
    [[], /a command is missing/],
    [['nurse'], /^"nurse" is no command, "doctor" is\ntry --help\n$/],
    [['doctor'], /the url is missing/],
    [['doctor', url, '--header', 'authorization: Bearer', 'b'], /^one url is enough, and 1 more words were given: quote what holds spaces\n/],
    [['doctor', 'ftp://x'], /a url begins with/],
    [['doctor', 'x'], /a url begins with/],
    [['doctor', url, '--sse', 'x'], /a url begins with/],
    [['doctor', url, '--sse', 'http://127.0.0.1:2/'], /--sse must be of the origin/],
    [['doctor', url, '--args', '['], /--args/],
    [['doctor', url, '--args', '[]'], /--args/],
    [['doctor', url, '--only', 'idle,x'], /--only: "x" is none of/],
    [['doctor', url, '--idle', 'long'], /seconds/],
    [['doctor', url, '--idle', ''], /seconds/],
    [['doctor', url, '--timeout', '0'], /seconds/],
    [['doctor', url, '--token', 'a b'], /the token holds/],
    [['doctor', url, '--header', 'a'], /--header/],
    [['doctor', url, '--origin', 'app.example'], /--origin/],
    [['doctor', url, '--origin', 'https://app.example/x'], /--origin/],
    [['doctor', url, '--what', '--json'], /^Unknown option '--what'\ntry --help\n$/]
  ]
  for (const [argv, words] of wrong) {
    const { code, out, err } = await consult(argv)
    t.match([code, out, err], [2, '', words], argv.join(' '))
  }
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  t.match(await consult(['--version']), { code: 0, out: `${version}\n`, err: '' })
  t.match(await consult(['doctor', '--help']), { code: 0, out: /^fastify-mcp-sse doctor <url>/ })
})

t.test('the program itself', async t => {
  const program = async (...argv: string[]) => {
    const child = spawn(process.execPath, [...process.execArgv, join(root, 'lib/command.ts'), ...argv], { stdio: ['ignore', 'pipe', 'pipe'] })
    let out = ''
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', text => { out += text })
    return { child, closed: once(child, 'close'), said: () => out }
  }
  const help = await program('--help')
  t.strictSame(await help.closed, [0, null], help.said())
  t.match(help.said(), /Exit codes/)
  const none = await program()
  t.strictSame(await none.closed, [2, null])
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    let hit = () => {}
    const isHit = new Promise<void>(resolve => { hit = resolve })
    const silent = createServer(() => hit()).listen(0, '127.0.0.1')
    await once(silent, 'listening')
    t.teardown(() => {
      silent.closeAllConnections()
      silent.close()
    })
    const { child, closed, said } = await program('doctor', `http://127.0.0.1:${(silent.address() as AddressInfo).port}/`)
    await isHit
    child.kill(signal)
    t.strictSame([await closed, said()], [[130, null], 'interrupted\n'])
  }
})

t.test('docs/doctor.md has a row for each finding', async t => {
  const rows = [...readFileSync(join(root, 'docs/doctor.md'), 'utf8').matchAll(/^\| `([\w.-]+)` \| (?:fail|warn|fail, warn) \|/gm)]
  t.strictSame(rows.map(([, id]) => id), Object.keys(advice))
})
