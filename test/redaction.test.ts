// What is in the logs: no token, no ticket and no session id, whatever comes and whatever the host logs of it.
import { once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import mcp, { errorCodes, type McpOptions } from 'fastify-mcp-sse'
import t, { type Test } from 'tap'
import { Client, EventStream, listen, REVISIONS, send, SseClient, StatelessClient, until } from './client.ts'

interface Line { level: number, msg: string, req?: any, res?: any, err?: any, refusal?: any }

const TOKEN = 'token-of-ada'
const WRONG = 'token-of-nobody'
const AUTH = { authorization: `Bearer ${TOKEN}` }
const ACCEPT = { accept: 'application/json, text/event-stream' }
const PING = { jsonrpc: '2.0', id: 1, method: 'ping' }
const TICKETS = ['ticket-1', 'ticket-2', 'ticket-3']

type Serializers = Record<string, (value: any) => unknown>

/** All that a host could think of. */
const curious: Serializers = {
  req: request => ({
    ...request,
    path: `${request.method} ${request.url}`,
    original: request.originalUrl,
    headers: request.headers,
    query: request.query,
    type: request.headers['content-type'],
    remote: request.ip,
    raw: { url: request.raw.url, headers: request.raw.headers, rawHeaders: request.raw.rawHeaders },
    socket: undefined,
    log: undefined,
    server: undefined
  }),
  res: reply => ({
    status: reply.statusCode,
    headers: { ...reply.getHeaders() },
    session: reply.getHeader('Mcp-Session-Id'),
    type: reply.getHeader('content-type'),
    url: reply.request.url,
    raw: reply.raw.getHeaders()
  })
}

/** An app whose every log line is kept. */
async function logged (t: Test, options: McpOptions = {}, serializers?: Serializers, server: FastifyServerOptions = {}) {
  const lines: string[] = []
  const app = Fastify({ logger: { level: 'trace', stream: { write: line => { lines.push(line) } }, ...(serializers && { serializers }) }, ...server })
  t.after(() => app.close())
  await app.register(mcp, { auth: { tokens: [{ token: TOKEN, principal: 'ada' }] }, ...options })
  return { app, lines, read: (): Line[] => lines.map(line => JSON.parse(line)) }
}

function addTools (app: FastifyInstance): void {
  app.mcp.tool('stream', {}, async function * () {
    yield 'one '
    yield 'two'
  })
  app.mcp.tool('fail', {}, () => { throw new TypeError('on purpose') })
}

/** Good and bad requests in every era. Gives the secrets that they carried. */
async function visit (app: FastifyInstance, url: string): Promise<string[]> {
  const secrets = [TOKEN, WRONG, ...TICKETS]
  const calls = async (client: Client | SseClient): Promise<void> => {
    await client.call('stream', {}, 'p')
    await client.call('fail')
    await client.call('nothing')
    await client.request('no/such')
  }
  for (const revision of REVISIONS.slice(1)) {
    const client = await Client.connect(url, { headers: AUTH, revision })
    secrets.push(String(client.sessionId))
    await calls(client)
    const stream = await client.get()
    await stream.close()
    await client.get(`${client.sessionId}_1`)
    await client.post('{"a":')
    await client.post(PING, { authorization: `Bearer ${WRONG}` })
    await client.post([])
    await client.delete()
    await client.post(PING)
  }
  await calls(new StatelessClient(url, { headers: AUTH }))
  await send(url, '/mcp', { method: 'POST', headers: { ...ACCEPT, 'mcp-session-id': WRONG }, body: PING })
  await send(url, '/mcp', { method: 'PUT', headers: AUTH })

  const sse = await SseClient.connect(url, { headers: AUTH })
  secrets.push(sse.endpoint.split('=')[1] ?? '')
  await calls(sse)
  const [path, id] = sse.endpoint.split('?')
  await send(url, `${path}/?${id}`, { method: 'POST', headers: { ...AUTH, ...ACCEPT }, body: PING })
  await send(url, sse.endpoint, { method: 'POST', headers: { ...ACCEPT, authorization: `Bearer ${WRONG}` }, body: PING })
  await send(url, `${path}?sessionId=${WRONG}`, { method: 'POST', headers: { ...AUTH, ...ACCEPT }, body: PING })
  await send(url, `${path}?${id}`, { method: 'POST', headers: { ...AUTH, ...ACCEPT }, body: '{'.repeat(5_000) })
  await sse.close()
  const back = await EventStream.open(url, '/sse', { headers: { ...AUTH, 'last-event-id': sse.stream.events[0]?.id ?? '' } })
  await back.close()
  for (const [index, where] of ['/sse', '/sse/', '/mcp/'].entries()) {
    const { status } = await send(url, `${where}?ticket=${TICKETS[index]}`, { headers: { ...ACCEPT, origin: 'https://evil.example' } })
    if (status !== 403) throw new TypeError(`${where} was answered ${status}`)
  }
  await until(() => app.mcp.stats().streams === 0, 'the end of all streams')
  return secrets
}

function holds (t: Test, lines: string[], secrets: string[]): void {
  t.ok(secrets.every(secret => secret.length >= 8), 'there is something to find')
  for (const secret of secrets) t.strictSame(lines.filter(line => line.includes(secret)), [], `no line holds ${secret}`)
}

t.test('no token, ticket or session id is in any line, and each request is still told apart', async t => {
  const { app, lines, read } = await logged(t)
  addTools(app)
  const secrets = await visit(app, await listen(app))
  await app.close()
  holds(t, lines, secrets)
  const urls = new Set(read().flatMap(({ req }) => req === undefined ? [] : [req.url]))
  t.strictSame(urls, new Set(['/mcp', '/sse', '/messages?[redacted]', '/messages/?[redacted]', '/sse?[redacted]', '/sse/?[redacted]', '/mcp/?[redacted]']))
  t.match(read().find(({ req }) => req?.url === '/sse/?[redacted]'), { msg: 'incoming request', req: { method: 'GET', host: /^127/, remoteAddress: '127.0.0.1' } })
  t.match(read().find(({ msg }) => msg === 'tool failed'), { err: { message: 'on purpose' } }, 'errors are whole')
})

t.test('nor when the host logs headers, queries and all the rest', async t => {
  const { app, lines, read } = await logged(t, {}, curious)
  addTools(app)
  const secrets = await visit(app, await listen(app))
  await app.close()
  holds(t, lines, secrets)
  const { req } = read().find(({ req }) => req?.path === 'POST /messages?[redacted]') ?? {}
  t.match(req, { headers: { authorization: '[redacted]', 'content-type': 'application/json' }, query: {}, remote: '127.0.0.1', raw: { url: '/messages?[redacted]' } })
  t.ok(req.raw.rawHeaders.includes('[redacted]') && req.raw.rawHeaders.includes('application/json'))
  const opened = read().find(({ res }) => res?.session !== undefined)
  t.match(opened, { res: { status: 200, session: '[redacted]', headers: { 'mcp-session-id': '[redacted]' }, type: /json|event-stream/ } })
})

t.test('what was sent begins no line of its own', async t => {
  const { app, lines } = await logged(t, { auth: undefined })
  const id = 'a\r\n{"level":60,"msg":"forged"}\u2028\u001B[2J\u0000'
  const client = await Client.connect(app)
  t.match(await client.post({ jsonrpc: '2.0', id, result: {} }), { status: 400, messages: [{ error: { data: { code: 'FST_MCP_RESPONSE_UNEXPECTED' } } }] })
  t.equal(lines.filter(line => line.includes('forged')).length, 1)
  t.ok(lines.every(line => [...line.trimEnd()].every(char => char >= ' ')))
})

// ---- the host's own ----

const seen = (read: () => Line[]): unknown[] => read().filter(({ req }) => req !== undefined).map(({ req }) => req)

t.test('the routes of the host are logged as ever', async t => {
  for (const serializers of [undefined, curious]) {
    const { app, read } = await logged(t, {}, serializers)
    app.get('/own', () => 'own')
    await app.inject({ url: '/own?sessionId=1', headers: AUTH })
    await app.inject({ url: '/nothing?ticket=1', headers: AUTH })
    t.match(seen(read), serializers === undefined
      ? [{ url: '/own?sessionId=1' }, { url: '/nothing?ticket=1' }]
      : [{ query: { sessionId: '1' }, headers: AUTH }, { query: { ticket: '1' }, headers: AUTH }])
  }
})

t.test('serializers of a scope, of its parents and of the app go on, each in its place', async t => {
  const { app, read } = await logged(t, { paths: { mcp: '/app' } }, { req: ({ url }) => ({ app: url }), tag: value => `app ${value}` })
  const tag = (request: { log: { info (what: object): void } }, _reply: unknown, done: () => void): void => {
    request.log.info({ tag: 1 })
    done()
  }
  app.addHook('preHandler', tag)
  await app.register(async outer => {
    await outer.register(async inner => { await inner.register(mcp, { auth: false, prefix: '/inner' }) }, { logSerializers: { tag: (value: unknown) => `inner ${value}` } })
  }, { logSerializers: { req: ({ url }: { url: string }) => `outer ${url}`, res: () => 'outer' } })
  await send(app, '/app?a', { method: 'POST', headers: AUTH, body: PING })
  await send(app, '/inner/mcp?a', { method: 'POST', headers: AUTH, body: PING })
  t.strictSame(seen(read), [{ app: '/app?[redacted]' }, 'outer /inner/mcp?[redacted]'])
  t.strictSame(read().flatMap(line => 'tag' in line ? [line.tag] : []), ['app 1', 'inner 1'])
  t.strictSame(read().filter(({ msg }) => msg === 'request completed').map(({ res }) => res), [{ statusCode: 400 }, 'outer'])
})

t.test('a handler that logs its request does not tell what is secret either, and may call anything else `req`', async t => {
  const { app, lines, read } = await logged(t, {}, { res: value => [value.rawHeaders, value.getHeader, value.getHeaders, value.url, value.request] })
  app.mcp.tool('log', {}, (_args, { request }) => {
    request.log.info({ req: request }, 'mine')
    request.log.info({ req: 'text' }, 'none')
    request.log.info({ res: { request: 'text', getHeader: 1, getHeaders: 1, rawHeaders: 1, url: 1 } }, 'odd')
    return 'logged'
  })
  await new StatelessClient(app, { headers: AUTH, path: `/mcp;token=${TOKEN}#x` }).call('log').catch(() => {})
  await new StatelessClient(app, { headers: AUTH, path: `/mcp?token=${TOKEN}` }).call('log')
  holds(t, lines.filter(line => line.includes('/mcp?')), [TOKEN])
  t.match(read().filter(({ msg }) => msg === 'mine'), [{ req: { url: '/mcp?[redacted]' } }])
  t.strictSame(read().find(({ msg }) => msg === 'odd')?.res, [1, 1, 1, 1, 'text'])
})

t.test('a logger that is none of pino is left alone', async t => {
  const lines: unknown[] = []
  const log = (...args: unknown[]): void => { lines.push(args) }
  const loggerInstance: any = { info: log, error: log, debug: log, fatal: log, warn: log, trace: log, level: 'info', child: () => loggerInstance }
  const app = Fastify({ loggerInstance })
  t.after(() => app.close())
  await app.register(mcp)
  t.equal((await send(app, '/mcp', { method: 'POST', body: PING })).status, 400)
  t.ok(lines.length > 0)
})

t.test('`disableRequestLogging` silences the requests, and what we say holds no secret', async t => {
  const { app, lines, read } = await logged(t, {}, undefined, { disableRequestLogging: true })
  addTools(app)
  const secrets = await visit(app, await listen(app))
  await app.close()
  holds(t, lines, secrets)
  t.strictSame(seen(read), [])
  t.ok(read().some(({ msg }) => msg === 'request refused'))
})

t.test('over HTTP/2 the path among the headers is redacted too', async t => {
  const { app, lines } = await logged(t, {}, curious, { http2: true } as object)
  const session = connectHttp2(await listen(app))
  t.teardown(() => session.destroy())
  const stream = session.request({ ':path': '/sse?ticket=ticket-1', accept: 'application/json', ...AUTH })
  await once(stream.resume(), 'close')
  holds(t, lines, ['ticket-1', TOKEN])
  t.ok(lines.some(line => line.includes('"/sse?[redacted]"')))
})

// ---- errors ----

const circular = new TypeError('round')
circular.cause = new TypeError('and round', { cause: circular })

const failures: Record<string, [thrown: (token: string) => unknown, status: number, isWhole: boolean]> = {
  'a message': [token => new TypeError(`no ${token}`), 500, false],
  'a cause': [token => new TypeError('no', { cause: new TypeError(`of ${token}`) }), 500, false],
  'a stack': [token => Object.assign(new TypeError('no'), { stack: token }), 500, false],
  'a server that is down': [token => new errorCodes.FST_MCP_AUTH_UNAVAILABLE({ cause: new TypeError(`GET /${token}`) }), 503, false],
  'a cause that cannot be read': [() => new TypeError('no', { cause: new Proxy({}, { get () { throw new TypeError('unreadable') } }) }), 500, false],
  'nothing, and is down': [() => new errorCodes.FST_MCP_AUTH_UNAVAILABLE({ cause: new TypeError('whole') }), 503, true],
  'nothing, in a circle': [() => circular, 500, true],
  nothing: [() => new TypeError('whole'), 500, true],
  'text alone': [token => token, 500, false],
  'what is no error': [token => ({ config: { headers: [token] } }), 500, false],
  'nothing, in text': [() => 'text', 500, true]
}

for (const [name, [thrown, status, isWhole]] of Object.entries(failures)) {
  t.test(`what \`auth.verify\` throws is logged unless it quotes the token: it quotes it in ${name}`, async t => {
    for (const verify of [(token: string) => { throw thrown(token) }, async (token: string) => { throw thrown(token) }]) {
      const { app, lines, read } = await logged(t, { auth: { verify } })
      const reply = await send(app, '/mcp', { method: 'POST', headers: AUTH, body: PING })
      t.equal(reply.status, status)
      t.notMatch(reply.text, TOKEN)
      holds(t, lines, [TOKEN])
      const [failed] = read().filter(({ msg }) => msg === 'request failed')
      t.equal(/left out of the log/.test(failed?.err.message), !isWhole)
    }
  })
}

// ---- paths with a slash at the end ----

t.test('each path answers with a slash at its end too, unless it is somebody else\'s', async t => {
  const { app } = await logged(t, { auth: undefined })
  addTools(app)
  const url = await listen(app)
  t.match(await (await Client.connect(url, { path: '/mcp/' })).call('stream'), { result: { content: [{ text: 'one two' }] } })
  const sse = await SseClient.connect(url, { path: '/sse/' })
  t.match(sse.endpoint, /^\/messages\?sessionId=/)
  await sse.close()
  t.match(await send(url, '/messages/', { headers: ACCEPT }), { status: 405, headers: { allow: 'POST' } })
  t.equal((await send(url, '/mcp//', { headers: ACCEPT })).status, 404)
})

t.test('a route of the host with such a path stays the host\'s, and no option collides with it', async t => {
  const own = Fastify()
  t.after(() => own.close())
  own.post('/mcp/', () => 'own')
  await own.register(mcp, { auth: false })
  t.equal((await own.inject({ method: 'POST', url: '/mcp/', payload: {} })).body, 'own')
  t.equal((await own.inject({ method: 'GET', url: '/sse/', headers: { accept: 'application/json' } })).statusCode, 406)
  for (const server of [{ ignoreTrailingSlash: true }, { routerOptions: { ignoreTrailingSlash: true } }]) {
    const app = Fastify(server)
    t.after(() => app.close())
    await app.register(mcp, { auth: false })
    t.equal((await app.inject({ method: 'GET', url: '/sse/', headers: { accept: 'application/json' } })).statusCode, 406)
  }
  for (const options of [{ paths: { mcp: '/a', sse: '/a/' } }, { paths: { mcp: '/' } }, { prefix: '/a', paths: { mcp: '/' } }, { paths: { mcp: '/a/' } }]) {
    const app = Fastify()
    t.after(() => app.close())
    await app.register(mcp, options)
    t.equal((await app.inject({ method: 'PUT', url: `${options.prefix ?? ''}${options.paths.mcp}` })).statusCode, 405, JSON.stringify(options))
  }
})

// ---- what is said at boot ----

t.test('a server that is open to all says so once, and no other does', async t => {
  const auths: [options: McpOptions, warnings: number][] = [
    [{ auth: false }, 1], [{ auth: false, sessions: false }, 1], [{ auth: undefined }, 0], [{}, 0], [{ auth: { verify: () => null } }, 0]
  ]
  for (const [options, warnings] of auths) {
    const { app, read } = await logged(t, options)
    await app.ready()
    await app.inject({ method: 'POST', url: '/mcp', payload: PING })
    const warned = read().filter(({ level }) => level === 40)
    t.equal(warned.length, warnings, JSON.stringify(options))
    t.ok(warned.every(({ msg }) => /^`auth: false` lets in everybody .* set `auth\.tokens` or `auth\.verify`/.test(msg)))
  }
})
