// Who may come in: by address, Host and Origin, by bearer token, and into whose session.
import { once } from 'node:events'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { FastifyInstance, FastifyRequest, FastifyServerOptions } from 'fastify'
import type { AuthOptions, McpOptions } from 'fastify-mcp-sse'
import t, { type Test } from 'tap'
import { Client, createApp, EventStream, listen, type Reply, type RequestInit, send, SseClient, within } from './client.ts'

const JSON_RPC = { 'content-type': 'application/json; charset=utf-8' }
const PING = { jsonrpc: '2.0', id: 1, method: 'ping' }

/** Every way in. None of them does anything for a stranger. */
const doors: [path: string, init: RequestInit][] = [
  ['/mcp', { method: 'POST', body: PING }],
  ['/mcp', { method: 'GET' }],
  ['/mcp', { method: 'DELETE' }],
  ['/mcp', { method: 'PUT', body: PING }],
  ['/sse', { method: 'GET' }],
  ['/sse', { method: 'HEAD' }],
  ['/messages?sessionId=unknown', { method: 'POST', body: PING }],
  ['/messages', { method: 'PATCH' }]
]

const codeOf = ({ messages: [message] }: Reply): string | undefined => message?.error?.data.code

async function serve (t: Test, options?: McpOptions, server?: FastifyServerOptions): Promise<{ app: FastifyInstance, url: string }> {
  const app = await createApp(t, options, server)
  app.mcp.tool('whoami', {}, (_args, { principal, session }) => ({ content: [], _meta: { principal, session: session?.id } }))
  return { app, url: await listen(app) }
}

/** The code of the refusal to a ping with these headers; what is let in is refused for its missing session. */
async function refusal (url: string, headers: Record<string, string>): Promise<string | undefined> {
  const reply = await send(url, '/mcp', { method: 'POST', headers, body: PING })
  const code = codeOf(reply)
  t.equal(reply.status, code === LET_IN ? 400 : 403)
  t.match(reply.headers, JSON_RPC)
  return code
}

const LET_IN = 'FST_MCP_SESSION_REQUIRED'
const HOST = 'FST_MCP_HOST_FORBIDDEN'
const ORIGIN = 'FST_MCP_ORIGIN_FORBIDDEN'
const PEER = 'FST_MCP_PEER_FORBIDDEN'

type Cases = Record<string, [headers: Record<string, string>, code: string][]>

async function judge (t: Test, url: string, cases: Cases): Promise<void> {
  for (const [name, rows] of Object.entries(cases)) {
    for (const [headers, code] of rows) t.equal(await refusal(url, headers), code, `${name}: ${JSON.stringify(headers)}`)
  }
}

t.test('without auth only a loopback Host and loopback pages are served', async t => {
  const { url } = await serve(t)
  await judge(t, url, {
    'a loopback host': ['localhost', 'localhost:1', '127.0.0.1', '127.9.9.9:65535', '[::1]', '[::1]:80', 'LocalHost'].map(host => [{ host }, LET_IN]),
    'another host': [
      'evil.example', 'evil.example:80', 'localhost.evil.example', '127.0.0.1.evil.example', 'evil-localhost', '::1', '10.0.0.1', '0.0.0.0', '128.0.0.1',
      'localhost:1:2', 'localhost@evil.example', 'localhost,evil.example'
    ].map(host => [{ host }, HOST]),
    'a loopback page': ['http://localhost:5173', 'http://127.0.0.1', 'https://[::1]:8443', 'http://LOCALHOST'].map(origin => [{ origin }, LET_IN]),
    'another page': [
      'http://evil.example', 'null', '', 'localhost', 'file://', 'http://localhost.evil.example', 'http://evil.example#localhost',
      'http://localhost@evil.example', 'http://127.0.0.1.evil.example', 'chrome-extension://localhost.a'
    ].map(origin => [{ origin }, ORIGIN]),
    'a rebound page': [[{ host: 'evil.example', origin: 'http://evil.example' }, HOST]],
    'claims that nobody trusts': [[{ 'x-forwarded-host': 'evil.example' }, LET_IN]]
  })
  const { status, headers, messages: [error] } = await send(url, '/mcp', { headers: { host: 'evil.example' } })
  t.equal(status, 403)
  t.notOk('www-authenticate' in headers)
  t.match(error, { id: null, error: { code: -32000, message: 'Host "evil.example" is not served here; name it in the option `hosts`' } })
})

t.test('without auth only loopback peers are served, and the refusal says what to set', async t => {
  const { app } = await serve(t)
  const peers: Record<string, string | undefined> = {
    '127.0.0.1': undefined,
    '127.255.0.3': undefined,
    '::1': undefined,
    '::ffff:127.0.0.1': undefined,
    '10.0.0.1': PEER,
    '192.168.0.1': PEER,
    '::ffff:10.0.0.1': PEER,
    'fe80::1': PEER,
    '2001:db8::127.0.0.1': PEER
  }
  for (const [remoteAddress, code] of Object.entries(peers)) {
    for (const [url, { method }] of doors) {
      const response = await app.inject({ method: method as 'GET', url, remoteAddress, headers: { host: 'localhost', accept: 'text/html' } })
      if (code === undefined) t.not(response.statusCode, 403, `${remoteAddress} ${method} ${url}`)
      else t.match(response, { statusCode: 403, body: method === 'HEAD' ? '' : code }, `${remoteAddress} ${method} ${url}`)
    }
  }
  const { body } = await app.inject({ url: '/mcp', remoteAddress: '10.0.0.1', headers: { host: 'localhost' } })
  t.match(JSON.parse(body).error.message, /until the option `auth` is set \(`auth: false` opens the server to everyone\)/)
})

t.test('a peer without an address is no loopback peer', async t => {
  const app = await createApp(t)
  const path = join(tmpdir(), `fastify-mcp-sse-${process.pid}.sock`)
  await app.listen({ path })
  t.match(await raw(path, 'GET /mcp HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'), new RegExp(PEER))
})

t.test('with and without trustProxy everybody on the way must be local, whatever the first address claims', async t => {
  for (const trustProxy of [false, true, '127.0.0.1']) {
    const { url } = await serve(t, {}, { trustProxy })
    await judge(t, url, {
      'a local client': [
        [{}, LET_IN],
        [{ 'x-forwarded-for': '127.0.0.1' }, LET_IN],
        [{ forwarded: 'by=10.0.0.1;for=127.0.0.1:80, for="[::1]:4711"' }, LET_IN],
        [{ 'x-forwarded-for': '::1', 'x-forwarded-host': 'localhost' }, LET_IN]
      ],
      'a client from outside': [
        [{ 'x-forwarded-for': '203.0.113.9' }, PEER],
        [{ 'x-forwarded-for': '127.0.0.1, 203.0.113.9' }, PEER],
        [{ 'x-forwarded-for': '::1,127.0.0.1, 203.0.113.9' }, PEER],
        [{ 'x-forwarded-for': 'unknown' }, PEER],
        [{ 'x-real-ip': '203.0.113.9' }, PEER],
        [{ forwarded: 'for=203.0.113.9;proto=https' }, PEER],
        [{ forwarded: 'for=127.0.0.1, for="[2001:db8::1]:4711"' }, PEER],
        [{ forwarded: 'for=unknown' }, PEER]
      ]
    })
    // Without trust these headers are nobody's word, and Host is what the socket brought.
    if (trustProxy === false) continue
    await judge(t, url, {
      'a foreign host': [
        [{ 'x-forwarded-host': 'evil.example' }, HOST],
        [{ 'x-forwarded-host': 'localhost, evil.example' }, HOST],
        [{ 'x-forwarded-host': 'localhost', host: 'evil.example' }, HOST]
      ]
    })
  }
})

t.test('`hosts` names what is served, with or without a port', async t => {
  const hosts = ['mcp.example', 'Other.Example:8080', '[2001:DB8::1]']
  const named = ['mcp.example', 'MCP.example:8443', 'other.example:8080', '[2001:db8::1]', '[2001:db8::1]:3000']
  const others = ['other.example', 'other.example:80', 'evil.example', 'mcp.example.evil.example', 'a.mcp.example']
  const local = ['localhost', '127.0.0.1:3000']

  const { url } = await serve(t, { hosts, auth: false })
  await judge(t, url, {
    named: named.map(host => [{ host }, LET_IN]),
    'not named': [...others, ...local].map(host => [{ host }, HOST]),
    'a page of the host': [
      [{ host: 'mcp.example', origin: 'https://mcp.example' }, LET_IN],
      [{ host: 'mcp.example:443', origin: 'https://mcp.example' }, LET_IN],
      [{ host: 'MCP.example:80', origin: 'http://mcp.example' }, LET_IN],
      [{ host: 'mcp.example:8443', origin: 'https://mcp.example:8443' }, LET_IN],
      [{ host: '[2001:db8::1]:3000', origin: 'http://[2001:db8::1]:3000' }, LET_IN]
    ],
    'another page': [
      [{ host: 'mcp.example', origin: 'https://mcp.example:8443' }, ORIGIN],
      [{ host: 'mcp.example:8443', origin: 'https://mcp.example' }, ORIGIN],
      [{ host: 'mcp.example', origin: 'https://evil.example' }, ORIGIN],
      [{ host: 'mcp.example', origin: 'http://localhost' }, ORIGIN],
      [{ host: 'mcp.example', origin: 'null' }, ORIGIN]
    ]
  })
  const { url: closed } = await serve(t, { hosts })
  await judge(t, closed, {
    'named, or loopback': [...named, ...local].map(host => [{ host }, LET_IN]),
    'not named': others.map(host => [{ host }, HOST])
  })
})

t.test('`origins` names the pages that are served beside the own ones', async t => {
  for (const auth of [undefined, false] as const) {
    const { url } = await serve(t, { auth, origins: ['https://App.example', 'http://localhost:5173', 'chrome-extension://abcdef'] })
    await judge(t, url, {
      named: ['https://app.example', 'HTTPS://APP.EXAMPLE', 'http://localhost:5173', 'chrome-extension://abcdef'].map(origin => [{ origin }, LET_IN]),
      'not named': ['http://app.example', 'https://app.example:444', 'https://evil.example', 'https://app.example.evil.example', 'null', '']
        .map(origin => [{ origin }, ORIGIN]),
      'named, but to a foreign host': [[{ host: 'evil.example', origin: 'https://app.example' }, auth === undefined ? HOST : LET_IN]]
    })
  }
})

t.test('an origin that no page could send is refused at boot', async t => {
  for (const origin of ['https://app.example/', 'https://app.example/a', 'https://app.example?a', 'https://me@app.example', 'app.example', 'null', '*', '']) {
    await t.rejects(createApp(t, { origins: [origin] }), { code: 'FST_MCP_OPTION_INVALID', message: /`origins\.0` must be an origin/ }, origin)
  }
})

t.test('`auth: false` serves everybody, but no page of a host name that may be rebound', async t => {
  const { app, url } = await serve(t, { auth: false })
  await judge(t, url, {
    anybody: ['evil.example', 'localhost', '10.0.0.1:80'].map(host => [{ host }, LET_IN]),
    'a page of this machine': [
      [{ host: 'localhost:3000', origin: 'http://localhost:3000' }, LET_IN],
      [{ host: '127.0.0.1', origin: 'http://127.0.0.1' }, LET_IN]
    ],
    'another page': [
      [{ host: 'evil.example', origin: 'http://evil.example' }, ORIGIN],
      [{ host: 'localhost:3000', origin: 'http://localhost:5173' }, ORIGIN],
      [{ host: 'localhost', origin: 'null' }, ORIGIN]
    ]
  })
  const { body } = await app.inject({ method: 'POST', url: '/mcp', remoteAddress: '203.0.113.9', payload: PING })
  t.match(body, LET_IN)
})

t.test('with auth any host is served, and only foreign pages are refused', async t => {
  const { url } = await serve(t, { auth: { tokens: [{ token: 'secret', principal: 'ci' }] }, origins: ['https://app.example'] })
  const authorization = 'Bearer secret'
  await judge(t, url, {
    'let in': [
      [{ authorization, host: 'evil.example' }, LET_IN],
      [{ authorization, host: 'mcp.example', origin: 'https://mcp.example' }, LET_IN],
      [{ authorization, origin: 'https://app.example' }, LET_IN]
    ],
    'a foreign page, with and without a token': [
      [{ authorization, origin: 'https://evil.example' }, ORIGIN],
      [{ origin: 'https://evil.example' }, ORIGIN],
      [{ authorization, origin: 'null' }, ORIGIN]
    ]
  })
})

t.test('every door is guarded', async t => {
  const { url } = await serve(t)
  for (const [path, init] of doors) {
    const reply = await send(url, path, { ...init, headers: { origin: 'http://evil.example' } })
    t.equal(reply.status, 403, `${init.method} ${path}`)
    if (init.method !== 'HEAD') t.equal(codeOf(reply), ORIGIN)
  }
})

// ---- bearer tokens ----

const tokens = [
  { token: 'alice-1', principal: 'alice', scopes: ['read'] },
  { token: 'alice~2.+/-_==', principal: 'alice' },
  { token: 'bob-1', principal: 'bob' }
]
const as = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` })
const BARE = 'Bearer'
const INVALID = 'Bearer error="invalid_token"'

t.test('every door asks for a token, and says exactly what was wrong with the one it got', async t => {
  const { url } = await serve(t, { auth: { tokens } })
  const challenges: [headers: Record<string, string>, challenge: string][] = [
    [{}, BARE],
    ...[
      'Bearer wrong', 'Bearer alice', 'Bearer alice-1x', 'Bearer ALICE-1', 'Bearer', 'Bearer ', 'Bearer alice-1 bob-1', 'Bearer alice-1,', 'Bearer\talice-1',
      'Bearer "alice-1"', 'Bearer =', 'Beareralice-1', 'alice-1', 'Basic YWxpY2U6MQ==', 'Token alice-1', ''
    ].map((authorization): [Record<string, string>, string] => [{ authorization }, INVALID])
  ]
  for (const [path, init] of doors) {
    for (const [headers, challenge] of challenges) {
      const reply = await send(url, path, { ...init, headers })
      const name = `${init.method} ${path} ${JSON.stringify(headers)}`
      t.match(reply, { status: 401, headers: { ...JSON_RPC, 'www-authenticate': challenge } }, name)
      if (init.method === 'HEAD') continue
      t.equal(codeOf(reply), challenge === BARE ? 'FST_MCP_UNAUTHORIZED' : 'FST_MCP_TOKEN_INVALID', name)
      t.notMatch(reply.text, /alice/, 'the token is not repeated')
    }
  }
})

t.test('each of several tokens stands for its principal', async t => {
  const { url } = await serve(t, { auth: { tokens } })
  for (const [authorization, principal] of [
    ['Bearer alice-1', { id: 'alice', scopes: ['read'] }],
    ['Bearer alice~2.+/-_==', { id: 'alice', scopes: [] }],
    ['bearer  bob-1', { id: 'bob', scopes: [] }]
  ] as const) {
    const client = await Client.connect(url, { headers: { authorization } })
    t.strictSame((await client.call('whoami')).result._meta.principal, principal)
    const sse = await SseClient.connect(url, { headers: { authorization } })
    t.strictSame((await sse.call('whoami')).result._meta.principal, principal)
    await sse.close()
  }
})

t.test('a token is read from the Authorization header alone', async t => {
  const { url } = await serve(t, { auth: { tokens } })
  for (const path of ['/mcp?access_token=alice-1', '/mcp?token=alice-1', '/sse?access_token=alice-1', '/sse?ticket=alice-1']) {
    t.equal((await send(url, path, { headers: { 'x-api-key': 'alice-1', cookie: 'authorization=Bearer alice-1' } })).status, 401, path)
  }
})

/** Sends bytes and reads until the server says something. */
async function raw (to: string | number, bytes: string): Promise<string> {
  const socket = typeof to === 'number' ? connect(to, '127.0.0.1') : connect(to)
  try {
    socket.setEncoding('utf8').write(bytes)
    const [text] = await within(once(socket, 'data'), 'an answer')
    return text
  } finally {
    socket.destroy()
  }
}

t.test('who may not come in is told before the body is read', async t => {
  for (const [auth, status] of [[undefined, 403], [{ tokens }, 401]] as const) {
    const { url } = await serve(t, { auth })
    for (const path of ['/mcp', '/messages?sessionId=x']) {
      // The body never comes, and would be too long and no JSON.
      const head = `POST ${path} HTTP/1.1\r\nHost: evil.example\r\nContent-Type: text/html\r\nContent-Length: 999999999\r\n\r\n`
      t.match(await raw(Number(new URL(url).port), head), new RegExp(`^HTTP/1.1 ${status} `), `${path} ${status}`)
    }
  }
})

t.test('a request without any Host, or an empty one, is refused', async t => {
  const { url } = await serve(t)
  for (const head of ['GET /mcp HTTP/1.0\r\n\r\n', 'GET /mcp HTTP/1.1\r\nHost:\r\n\r\n']) {
    t.match(await raw(Number(new URL(url).port), head), new RegExp(HOST))
  }
})

t.test('`auth.verify` says who comes, at once or later', async t => {
  const principal = { id: 'carol', issuer: 'https://issuer.example', scopes: ['a'] }
  const asked: unknown[] = []
  const verifies: AuthOptions['verify'][] = [
    (token, request) => {
      asked.push([token, request.method, request.url])
      return principal
    },
    async () => principal
  ]
  for (const verify of verifies) {
    const { url } = await serve(t, { auth: { verify } })
    const client = await Client.connect(url, { headers: as('t0ken') })
    t.strictSame((await client.call('whoami')).result._meta.principal, principal)
    t.equal((await send(url, '/sse')).headers['www-authenticate'], BARE, 'without a token it is not asked')
  }
  t.strictSame(asked, Array(3).fill(['t0ken', 'POST', '/mcp']))
})

t.test('`auth.verify` is asked for what `auth.tokens` does not know', async t => {
  const asked: string[] = []
  const verify = (token: string): { id: string } => {
    asked.push(token)
    return { id: 'carol' }
  }
  const { url } = await serve(t, { auth: { tokens, verify } })
  const known = await Client.connect(url, { headers: as('alice-1') })
  t.equal((await known.call('whoami')).result._meta.principal.id, 'alice')
  t.strictSame(asked, [])
  const other = await Client.connect(url, { headers: as('else') })
  t.equal((await other.call('whoami')).result._meta.principal.id, 'carol')
})

t.test('whatever else `auth.verify` does keeps everybody out', async t => {
  const token = { status: 401, code: 'FST_MCP_TOKEN_INVALID' }
  const shape = { status: 500, code: 'FST_MCP_PRINCIPAL_INVALID' }
  const crash = { status: 500, code: 'FST_MCP_INTERNAL' }
  const outcomes: [name: string, verify: () => any, expected: { status: number, code: string }][] = [
    ['null', () => null, token],
    ['undefined', () => undefined, token],
    ['false', () => false, token],
    ['the promise of null', async () => null, token],
    ['true', () => true, shape],
    ['a text', () => 'alice', shape],
    ['an empty object', () => ({}), shape],
    ['an empty id', () => ({ id: '' }), shape],
    ['a number as id', async () => ({ id: 7 }), shape],
    ['an array', async () => ['alice'], shape],
    ['a throw', () => { throw new TypeError('secret reason') }, crash],
    ['a throw of no error', () => { throw 'secret reason' }, crash], // eslint-disable-line no-throw-literal -- handlers may throw anything
    ['a throw of nothing', () => { throw undefined }, crash], // eslint-disable-line no-throw-literal -- handlers may throw anything
    ['a rejection', async () => { throw new TypeError('secret reason') }, crash],
    ['a rejection with no error', () => Promise.reject('secret reason'), crash], // eslint-disable-line prefer-promise-reject-errors -- handlers may reject with anything
    ['a rejection with nothing', () => Promise.reject(), crash], // eslint-disable-line prefer-promise-reject-errors -- handlers may reject with anything
    ['a throw with a status', () => { throw Object.assign(new TypeError('secret reason'), { statusCode: 401 }) }, crash]
  ]
  for (const [name, verify, { status, code }] of outcomes) {
    const { url } = await serve(t, { auth: { verify } })
    for (const [path, init] of doors.filter(([, { method }]) => method !== 'HEAD')) {
      const reply = await send(url, path, { ...init, headers: as('x') })
      t.match({ ...reply, code: codeOf(reply) }, { status, code }, `${name}: ${init.method} ${path}`)
      t.equal(reply.headers['www-authenticate'], status === 401 ? INVALID : undefined)
      t.notMatch(reply.text, /secret reason/)
    }
  }
})

t.test('`request.mcp` tells who came, and how', async t => {
  const { app, url } = await serve(t, { auth: { tokens } })
  const seen: FastifyRequest['mcp'][] = []
  app.mcp.tool('see', {}, (_args, { request }) => { seen.push(request.mcp) })
  const client = await Client.connect(url, { headers: as('alice-1'), revision: '2025-06-18' })
  await client.call('see')
  const sse = await SseClient.connect(url, { headers: as('bob-1') })
  await sse.call('see')
  await sse.close()
  t.match(seen, [
    { transport: 'streamable-http', revision: '2025-06-18', principal: { id: 'alice' }, session: { id: client.sessionId, transport: 'streamable-http' } },
    { transport: 'http+sse', revision: '2024-11-05', principal: { id: 'bob' }, session: { transport: 'http+sse' } }
  ])
})

// ---- sessions belong to principals ----

/** All of a response that could tell two refusals apart. */
// Every request has another id, and the length of that is no secret.
const shown = ({ status, headers: { date, 'content-length': _, ...headers }, text }: Reply): object =>
  ({ status, headers, text: text.replace(/"request":"req-\w+"/, '') })

t.test('the session of another principal cannot be told from an unknown one', async t => {
  const { app, url } = await serve(t, { auth: { tokens } })
  const alice = await Client.connect(url, { headers: as('alice-1') })
  const { sessionId = '' } = alice
  const attempts: [name: string, init: RequestInit][] = [
    ['a request', { method: 'POST', body: PING }],
    ['a notification', { method: 'POST', body: { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } } }],
    ['a response', { method: 'POST', body: { jsonrpc: '2.0', id: 1, result: {} } }],
    ['a GET', { method: 'GET' }],
    ['a resumption', { method: 'GET', headers: { 'last-event-id': 'a.i1_0' } }],
    ['a DELETE', { method: 'DELETE' }]
  ]
  for (const [name, init] of attempts) {
    const attempt = (token: string, id: string): Promise<Reply> =>
      send(url, '/mcp', { ...init, headers: { accept: 'application/json, text/event-stream', ...as(token), ...init.headers, 'mcp-session-id': id } })
    const foreign = await attempt('bob-1', sessionId)
    t.match({ ...foreign, code: codeOf(foreign) }, { status: 404, code: 'FST_MCP_SESSION_UNKNOWN' }, name)
    t.strictSame(shown(foreign), shown(await attempt('bob-1', 'A'.repeat(sessionId.length))), `${name} of an unknown one`)
    t.equal((await attempt('wrong', sessionId)).status, 401)
  }
  const again = await send(url, '/mcp', { method: 'POST', headers: { ...as('bob-1'), 'mcp-session-id': sessionId }, body: initialize })
  t.equal(again.status, 200, 'who initializes with it gets a session of his own')
  t.not(again.headers['mcp-session-id'], sessionId)

  t.equal(app.mcp.stats().sessions, 2)
  t.equal((await alice.request('ping')).error, undefined, 'nothing of it touched the session')
})

const initialize = {
  jsonrpc: '2.0', id: 0, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'a', version: '1' } }
}

t.test('a second token of the same principal uses the session like the first', async t => {
  const { app, url } = await serve(t, { auth: { tokens } })
  const client = await Client.connect(url, { headers: as('alice-1') })
  Object.assign(client.headers, as('alice~2.+/-_=='))
  t.match((await client.call('whoami')).result._meta, { principal: { id: 'alice' }, session: client.sessionId })
  const own = await client.get()
  t.equal(own.status, 200)
  await own.close()
  t.equal((await client.delete()).status, 200)
  t.equal(app.mcp.stats().sessions, 0)
})

t.test('the same id from another issuer is another principal', async t => {
  const verify = (issuer: string): { id: string, issuer: string } => ({ id: 'alice', issuer })
  const { url } = await serve(t, { auth: { verify } })
  const client = await Client.connect(url, { headers: as('one') })
  t.equal((await client.post(PING, as('two'))).status, 404)
  t.equal((await client.post(PING)).status, 200)
})

t.test('an event id of another session gives nothing of that session', async t => {
  const { app, url } = await serve(t, { auth: { tokens } })
  app.mcp.tool('secret', {}, function * () { yield 'the secret of alice' })
  const alice = await Client.connect(url, { headers: as('alice-1') })
  const { events } = await alice.post({
    jsonrpc: '2.0', id: 5, method: 'tools/call', params: { name: 'secret', arguments: {}, _meta: { progressToken: 1 } }
  })
  const [{ id = '' } = {}] = events
  t.match((await (await alice.get(id)).message()).params?.message, 'the secret of alice', 'she herself gets it')

  const bob = await Client.connect(url, { headers: as('bob-1') })
  const stream = await bob.get(id)
  await stream.closed
  t.match(stream.messages, [{ id: 5, error: { data: { code: 'FST_MCP_REPLAY_GAP' } } }])
  t.notMatch(JSON.stringify(stream.messages), /secret/)
})

t.test('over HTTP+SSE the session of another principal cannot be told from an unknown one', async t => {
  const { app, url } = await serve(t, { auth: { tokens } })
  const alice = await SseClient.connect(url, { headers: as('alice-1') })
  const sessionId = new URL(alice.endpoint, url).searchParams.get('sessionId') ?? ''

  const unknown = 'A'.repeat(sessionId.length)
  for (const body of [PING, initialize, { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } }]) {
    const attempt = (id: string): Promise<Reply> => send(url, `/messages?sessionId=${id}`, { method: 'POST', headers: as('bob-1'), body })
    const foreign = await attempt(sessionId)
    t.match({ ...foreign, code: codeOf(foreign) }, { status: 404, code: 'FST_MCP_SESSION_UNKNOWN' })
    t.strictSame(shown(foreign), shown(await attempt(unknown)))
  }
  t.equal((await send(url, alice.endpoint, { method: 'POST', headers: as('wrong'), body: PING })).status, 401)

  const shownOf = async (lastEventId: string): Promise<object> => {
    const stream = await EventStream.open(url, '/sse', { headers: { ...as('bob-1'), 'last-event-id': lastEventId } })
    const { event, data, id = '' } = await stream.next()
    t.notMatch(data, sessionId, 'a session of his own')
    await stream.close()
    const own = id.replace(/_0$/, '')
    const { status, headers: { date, ...headers }, comments } = stream
    return { status, headers, comments, event, data: data.replace(own, 'ID') }
  }
  t.strictSame(await shownOf(`${sessionId}_0`), await shownOf(`${unknown}_0`))

  const { status } = await send(url, '/mcp', { method: 'POST', headers: { ...as('alice-1'), 'mcp-session-id': sessionId }, body: PING })
  t.equal(status, 404, 'a session of one transport is none of the other')
  t.strictSame((await alice.request('ping')).result, {}, 'nothing of it touched the session')
  t.equal(app.mcp.stats().sessions, 3)
  await alice.close()
})

t.test('a message that names no session, or more than one, is refused', async t => {
  const { url } = await serve(t)
  const { endpoint, close } = await SseClient.connect(url).then(client => ({ endpoint: client.endpoint, close: () => client.close() }))
  for (const path of ['/messages', '/messages?sessionid=a', `${endpoint}&sessionId=a`]) {
    const reply = await send(url, path, { method: 'POST', body: PING })
    t.match({ ...reply, code: codeOf(reply) }, { status: 400, code: 'FST_MCP_SESSION_REQUIRED' }, path)
  }
  await close()
})

t.test('over HTTP+SSE a second token of the same principal posts and resumes like the first', async t => {
  const { app, url } = await serve(t, { auth: { tokens } })
  const alice = await SseClient.connect(url, { headers: as('alice-1') })
  const sessionId = new URL(alice.endpoint, url).searchParams.get('sessionId') ?? ''
  Object.assign(alice.headers, as('alice~2.+/-_=='))
  t.strictSame((await alice.request('ping')).result, {})
  const stream = await EventStream.open(url, '/sse', { headers: { ...as('alice~2.+/-_=='), 'last-event-id': `${sessionId}_1` } })
  t.match(await stream.next(), { event: 'endpoint', data: alice.endpoint })
  t.match(await stream.message(), { id: 2, result: {} }, 'what came after the event that it names')
  t.equal(app.mcp.stats().sessions, 1)
  await stream.close()
})
