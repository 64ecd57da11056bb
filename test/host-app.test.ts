// The plugin inside an app that has routes, plugins and hooks of its own.
import { once } from 'node:events'
import { request } from 'node:http'
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2, constants } from 'node:http2'
import { connect } from 'node:net'
import { finished, PassThrough, Readable, Transform } from 'node:stream'
import cors from '@fastify/cors'
import helmet from '@fastify/helmet'
import rateLimit from '@fastify/rate-limit'
import { createParser } from 'eventsource-parser'
import Fastify, { type FastifyInstance, type FastifyRequest, type FastifyServerOptions } from 'fastify'
import mcp, { type McpOptions } from 'fastify-mcp-sse'
import t, { type Test } from 'tap'
import { Client, EventStream, listen, open, type RpcMessage, send, SseClient, until, within } from './client.ts'
import { gate } from './sockets.ts'

const PING = { jsonrpc: '2.0', id: 1, method: 'ping' }

/** A host that is closed with the test. */
function host (t: Test, options: FastifyServerOptions = {}): FastifyInstance {
  const app = Fastify(options)
  t.after(() => app.close())
  return app
}

/** Two tools: one that is known at once, one that streams. */
function addTools (app: FastifyInstance): void {
  app.mcp.tool('now', {}, (_args, { request }) => `now ${JSON.stringify(request.params)}`)
  app.mcp.tool('stream', {}, async function * () {
    yield 'one '
    yield 'two'
  })
}

const CALL_STREAM = { jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name: 'stream', arguments: {}, _meta: { progressToken: 1 } } }

// ---- nothing of the host changes ----

/** Each thing that a host may bring. The plugin goes before or after all of them. */
const parts: Record<string, (app: FastifyInstance) => unknown> = {
  cors: app => app.register(cors, { origin: ['https://app.example'], credentials: true, methods: ['GET', 'POST', 'DELETE'] }),
  helmet: app => app.register(helmet),
  'rate limit': app => app.register(rateLimit, { max: 1_000, timeWindow: '1 day' }),
  'an error handler': app => app.setErrorHandler((error: Error & { statusCode?: number, code?: string }, _request, reply) => {
    reply.code(error.statusCode ?? 500).header('x-error', error.code ?? 'none').send({ failed: error.message })
  }),
  'a not-found handler': app => app.setNotFoundHandler((request, reply) => {
    reply.code(404).send({ nothing: `${request.method} ${request.url}` })
  }),
  'a parser for csv and everything': app => {
    app.addContentTypeParser('text/csv', { parseAs: 'string' }, (_request, body, done) => done(null, String(body).split(',')))
    app.addContentTypeParser('*', (_request, payload, done) => {
      payload.resume()
      done(null, 'anything')
    })
  },
  'a JSON parser of its own': app => {
    app.removeContentTypeParser('application/json')
    app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, body, done) => {
      try {
        done(null, { mine: JSON.parse(String(body)) })
      } catch {
        done(Object.assign(new TypeError('not my JSON'), { statusCode: 422 }))
      }
    })
  },
  hooks: app => {
    app.addHook('onRequest', async (_request, reply) => { reply.header('x-on-request', 'seen') })
    app.addHook('preSerialization', async (_request, _reply, payload) => ({ wrapped: payload }))
    app.addHook('onSend', async (request, reply, payload) => {
      reply.header('x-on-send', typeof payload)
      return typeof payload === 'string' && request.url.startsWith('/loud') ? payload.toUpperCase() : payload
    })
  },
  'a serializer': app => app.setReplySerializer((payload, status) => JSON.stringify({ status, payload })),
  'a decorator': app => app.decorateRequest('tenant', 'none').decorateReply('shout', () => 'no')
}

function addRoutes (app: FastifyInstance): void {
  app.get('/', () => ({ hello: 'world' }))
  app.get('/items/:id', async ({ params }) => params)
  app.get('/text', (_request, reply) => reply.type('text/plain').send('text'))
  app.get('/loud', (_request, reply) => reply.type('text/plain').send('loud'))
  app.get('/stream', (_request, reply) => reply.type('text/event-stream').send(Readable.from(['data: 1\n\n', 'data: 2\n\n'])))
  app.get('/throws', async () => { throw Object.assign(new TypeError('on purpose'), { statusCode: 418 }) })
  app.get('/mcp-docs', ({ mcp }) => ({ mcp: mcp ?? null }))
  app.get('/files/*', ({ params }) => params)
  app.post('/echo', ({ body }) => ({ body }))
  app.post('/small', { bodyLimit: 10 }, ({ body }) => ({ body }))
  app.put('/items/:id', { schema: { body: { type: 'object', required: ['a'] } } }, () => 'put')
  app.delete('/items/:id', (_request, reply) => reply.code(204).send())
  app.options('/own', (_request, reply) => reply.header('allow', 'GET').send('own'))
  app.register(async child => {
    child.setErrorHandler((error: Error, _request, reply) => reply.code(400).send(`child: ${error.message}`))
    child.setNotFoundHandler((_request, reply) => reply.code(404).send('child: nothing'))
    child.get('/throws', async () => { throw new TypeError('in the child') })
  }, { prefix: '/child' })
}

const preflight = (path: string, origin = 'https://app.example', method = 'POST'): string =>
  `OPTIONS ${path} HTTP/1.1|Origin: ${origin}|Access-Control-Request-Method: ${method}|Access-Control-Request-Headers: x-a`
const body = (line: string, type: string, text: string): string =>
  `${line} HTTP/1.1|Content-Type: ${type}|Content-Length: ${Buffer.byteLength(text)}||${text}`

/** Requests, with `|` for a line end. */
const requests = [
  'GET / HTTP/1.1', 'HEAD / HTTP/1.1', 'GET /items/7?q=1 HTTP/1.1', 'GET /text HTTP/1.1', 'GET /loud HTTP/1.1', 'GET /stream HTTP/1.1', 'HEAD /text HTTP/1.1',
  'GET /throws HTTP/1.1', 'GET /mcp-docs HTTP/1.1', 'GET /files/a/b HTTP/1.1', 'DELETE /items/7 HTTP/1.1', 'GET / HTTP/1.1|Origin: https://app.example',
  'GET / HTTP/1.1|Origin: https://evil.example', 'GET / HTTP/1.1|Accept: text/event-stream', 'GET / HTTP/1.1|Authorization: Bearer x',
  // Nothing is there
  ...['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'].map(method => `${method} /nothing HTTP/1.1`),
  ...['/mcp/x', '/mcpx', '/sse/x', '/ssex', '/messages/x', '/messagesx', '/health', '/ready', '/.well-known/oauth-protected-resource', '/child/nothing', '//nothing']
    .map(path => `GET ${path} HTTP/1.1`),
  'POST / HTTP/1.1|Content-Length: 0', 'DELETE / HTTP/1.1', 'PUT /echo HTTP/1.1|Content-Length: 0', 'GET /child/throws HTTP/1.1', 'GET /%zz HTTP/1.1',
  // Bodies
  body('POST /echo', 'application/json', '{"a":1}'), body('POST /echo', 'application/json', '{'), body('POST /echo', 'application/json', ''),
  body('POST /echo', 'application/json', '{"__proto__":{"a":1}}'), body('POST /echo', 'text/csv', 'a,b'), body('POST /echo', 'text/plain', 'a'),
  body('POST /echo', 'application/xml', '<a/>'), body('POST /echo', 'nonsense', 'a'), body('POST /small', 'application/json', '{"a":"0123456789"}'),
  body('PUT /items/1', 'application/json', '{"b":1}'), body('PUT /items/1', 'application/json', '{"a":1}'), body('POST /nothing', 'application/json', '{'),
  body('POST /echo', 'application/json', JSON.stringify(PING)),
  // Preflights
  'OPTIONS / HTTP/1.1', 'OPTIONS /own HTTP/1.1', 'OPTIONS * HTTP/1.1', preflight('/own'), preflight('/'), preflight('/echo'), preflight('/items/7', undefined, 'DELETE'),
  preflight('/nothing'), preflight('/', 'https://evil.example'), preflight('/mcpx')
]

/** The bytes of each answer, but for the time. */
async function answers (app: FastifyInstance): Promise<string[]> {
  const port = Number(new URL(await listen(app)).port)
  const texts: string[] = []
  for (const request of requests) {
    const [head = '', content = ''] = request.split('||')
    const socket = connect(port, '127.0.0.1')
    socket.setEncoding('latin1').end(`${head.replaceAll('|', '\r\n')}\r\nHost: localhost\r\nConnection: close\r\n\r\n${content}`)
    let text = ''
    await within((async () => { for await (const chunk of socket) text += chunk })(), request)
    texts.push(text.replace(/^date: .*$/im, 'date: now').replace(/^x-ratelimit-reset: \d+/im, 'x-ratelimit-reset: soon'))
  }
  return texts
}

// All of it on: what goes with a route of ours must not go with the host's.
const everything: McpOptions = { origins: ['https://app.example', /^https:/], helmet: true, requireHttps: true }

type Place = 'absent' | 'first' | 'last' | 'after the routes'

async function hostOf (t: Test, names: string[], place: Place, options: FastifyServerOptions = {}): Promise<FastifyInstance> {
  const app = host(t, options)
  if (place === 'first') await app.register(mcp, everything)
  for (const name of names) await parts[name]?.(app)
  if (place === 'last') await app.register(mcp, everything)
  addRoutes(app)
  if (place === 'after the routes') await app.register(mcp, everything)
  if (place !== 'absent') addTools(app)
  return app
}

const hosts: [name: string, names: string[], options?: FastifyServerOptions][] = [
  ['that has nothing but routes', []],
  ...Object.keys(parts).map((name): [string, string[]] => [`with ${name}`, [name]]),
  ['with everything', Object.keys(parts)],
  ['with everything, in reverse', Object.keys(parts).reverse()],
  ['with options of its own', ['cors', 'hooks'], {
    bodyLimit: 100,
    exposeHeadRoutes: false,
    trustProxy: true,
    onProtoPoisoning: 'remove',
    routerOptions: { ignoreTrailingSlash: true, ignoreDuplicateSlashes: true, caseSensitive: false },
    allowErrorHandlerOverride: false
  }]
]

for (const [name, names, options] of hosts) {
  t.test(`a host ${name} answers byte for byte as before`, async t => {
    const before = await answers(await hostOf(t, names, 'absent', options))
    t.match(before[0], /^HTTP\/1.1 200 OK\r\n/)
    for (const place of ['first', 'last', 'after the routes'] as const) {
      const after = await answers(await hostOf(t, names, place, options))
      for (const [index, request] of requests.entries()) t.equal(after[index], before[index], `${request}, the plugin ${place}`)
    }
  })
}

t.test('the instance gets `mcp`, requests get `mcp`, and nothing else is added', async t => {
  const seen: string[][] = []
  const look = (app: FastifyInstance): void => {
    app.get('/look', (request, reply) => {
      seen.push([...keysOf(request), ...keysOf(reply)].sort())
      return ''
    })
  }
  const plain = host(t)
  look(plain)
  await plain.ready()
  const app = host(t)
  await app.register(mcp)
  look(app)
  await app.ready()
  t.strictSame(Object.keys(app).filter(key => !(key in plain)), ['mcp'])

  await plain.inject('/look')
  await app.inject('/look')
  const [without = [], withMcp = []] = seen
  t.strictSame(withMcp.filter(key => !without.includes(key)), ['mcp'])
})

/** Own and inherited names. */
function keysOf (object: object): string[] {
  const keys = Object.getOwnPropertyNames(object)
  const prototype = Object.getPrototypeOf(object)
  return prototype === Object.prototype || prototype === null ? keys : [...keys, ...keysOf(prototype)]
}

t.test('`request.mcp` is null on the host\'s routes and filled on ours, also for the host\'s own hooks', async t => {
  const app = host(t)
  const seen: [string, FastifyRequest['mcp']][] = []
  app.addHook('preHandler', async request => { seen.push([request.url, request.mcp === null ? null : { ...request.mcp }]) })
  await app.register(mcp)
  app.get('/', () => 'host')
  await app.inject('/')
  await app.inject('/nothing')
  await app.inject({ method: 'POST', url: '/mcp', payload: PING })
  t.strictSame(seen, [
    ['/', null],
    ['/nothing', null],
    ['/mcp', { transport: 'streamable-http', principal: null, revision: null, session: null }]
  ])
})

// ---- what the host adds reaches our answers ----

const OF_HOST = {
  'access-control-allow-origin': 'http://localhost:5173',
  'content-security-policy': /default-src/,
  'x-ratelimit-limit': '1000',
  'x-on-request': 'seen',
  'x-on-send': /^(?:string|object|undefined)$/
}

t.test('the headers of the host\'s plugins and hooks are on our answers, our streams and our refusals', async t => {
  const app = host(t)
  await app.register(cors, { origin: 'http://localhost:5173' })
  for (const name of Object.keys(parts).filter(name => name !== 'cors')) await parts[name]?.(app)
  await app.register(mcp)
  addTools(app)
  const url = await listen(app)
  const headers = { origin: 'http://localhost:5173' }

  const client = await Client.connect(url, { headers })
  const json = await client.post(PING)
  t.match(json, { status: 200, headers: { ...OF_HOST, 'content-type': 'application/json; charset=utf-8' }, messages: [{ id: 1, result: {} }] })
  t.equal(json.text, '{"jsonrpc":"2.0","id":1,"result":{}}', 'no serializer and no preSerialization hook touches it')

  const streamed = await client.post(CALL_STREAM)
  t.match(streamed, {
    status: 200,
    headers: { ...OF_HOST, 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform', 'x-accel-buffering': 'no' }
  })
  t.match(streamed.messages.at(-1), { id: 2, result: { content: [{ type: 'text', text: 'one two' }] } })

  const own = await client.get()
  t.match(own, { status: 200, headers: { ...OF_HOST, 'content-type': 'text/event-stream' } })
  await own.close()

  const sse = await SseClient.connect(url, { headers })
  t.match(sse.stream, { status: 200, headers: { ...OF_HOST, 'content-type': 'text/event-stream' } })
  t.match(await sse.post(PING), { status: 202, headers: OF_HOST, text: '' })
  await sse.close()

  t.match(await client.notify('notifications/initialized'), { status: 202, headers: OF_HOST })
  t.match(await client.post('{'), { status: 400, headers: OF_HOST })
  t.match(await send(url, '/mcp', { method: 'PUT', headers }), { status: 405, headers: { ...OF_HOST, allow: 'GET, POST, DELETE' } })
  t.match(await client.delete(), { status: 200, headers: OF_HOST })
})

t.test('our bodies are parsed by us alone', async t => {
  const app = host(t, { bodyLimit: 10 })
  parts['a parser for csv and everything']?.(app)
  parts['a JSON parser of its own']?.(app)
  await app.register(mcp)
  addTools(app)
  const client = await Client.connect(app)
  t.match((await client.call('now')).result, { content: [{ text: 'now {}' }] })
  for (const type of ['text/csv', 'text/plain', 'application/x-www-form-urlencoded']) {
    t.match(await client.post('a,b', { 'content-type': type }), { status: 415, messages: [{ error: { data: { code: 'FST_MCP_MEDIA_TYPE_UNSUPPORTED' } } }] })
  }
  t.match(await client.post('{'), { status: 400, messages: [{ error: { code: -32700 } }] })
})

t.test('what a hook of the host throws on our routes is a JSON-RPC error with the host\'s status', async t => {
  const thrown: [name: string, thrown: unknown, status: number, error: { code: number, message: string, data: { code: string } }][] = [
    ['an error with a status', Object.assign(new TypeError('payment first'), { statusCode: 402 }), 402,
      { code: -32000, message: 'payment first', data: { code: 'FST_MCP_REFUSED_BY_HOST' } }],
    ['a status of its own', Object.assign(new TypeError('later'), { statusCode: 503 }), 503,
      { code: -32603, message: 'Internal error', data: { code: 'FST_MCP_INTERNAL' } }],
    ['an error without one', new TypeError('a secret'), 500, { code: -32603, message: 'Internal error', data: { code: 'FST_MCP_INTERNAL' } }],
    ['a status that is none', Object.assign(new TypeError('a secret'), { statusCode: 200 }), 500,
      { code: -32603, message: 'Internal error', data: { code: 'FST_MCP_INTERNAL' } }]
  ]
  for (const [name, error, status, told] of thrown) {
    for (const hook of ['onRequest', 'preParsing', 'preValidation', 'preHandler'] as const) {
      const app = host(t)
      parts['an error handler']?.(app)
      app.addHook(hook as 'onRequest', async () => { throw error })
      await app.register(mcp)
      for (const [method, path] of [['POST', '/mcp'], ['GET', '/mcp'], ['GET', '/sse'], ['POST', '/messages?sessionId=a']]) {
        const reply = await send(app, path ?? '', { method, ...(method === 'POST' && { body: PING }) })
        t.match(reply, { status, messages: [{ jsonrpc: '2.0', error: told }] }, `${name} in ${hook} on ${method} ${path}`)
      }
    }
  }
})

t.test('a hook of the host may answer in our stead', async t => {
  const app = host(t)
  app.addHook('onRequest', async (_request, reply) => reply.code(402).send({ pay: 'first' }))
  await app.register(mcp)
  t.match(await send(app, '/mcp', { method: 'POST', body: PING }), { status: 402, text: '{"pay":"first"}' })
})

t.test('the host\'s rate limit on our routes is a JSON-RPC error that says when to come back', async t => {
  const app = host(t)
  await app.register(rateLimit, { max: 1, timeWindow: '1 hour' })
  await app.register(mcp)
  t.equal((await send(app, '/mcp', { method: 'POST', body: PING })).status, 400)
  const { status, headers, messages } = await send(app, '/mcp', { method: 'POST', body: PING })
  t.equal(status, 429)
  t.match(headers, { 'retry-after': /^\d+$/, 'x-ratelimit-remaining': '0' })
  t.match(messages, [{ error: { code: -32000, message: /rate limit/i, data: { code: 'FST_MCP_REFUSED_BY_HOST' } } }])
})

t.test('the host\'s cors answers preflights to our routes', async t => {
  const app = host(t)
  await app.register(cors, { origin: 'http://localhost:5173' })
  await app.register(mcp)
  const { status, headers } = await send(app, '/mcp', {
    method: 'OPTIONS', headers: { origin: 'http://localhost:5173', 'access-control-request-method': 'POST' }
  })
  t.match({ status, headers }, { status: 204, headers: { 'access-control-allow-origin': 'http://localhost:5173' } })
})

t.test('the host\'s `handlerTimeout` does not end our streams', async t => {
  const app = host(t, { handlerTimeout: 40 })
  await app.register(mcp)
  const { opened, open } = gate()
  app.mcp.tool('slow', {}, async () => {
    await opened
    return 'slow'
  })
  app.get('/slow', async () => opened)
  const url = await listen(app)
  const client = await SseClient.connect(url)
  const call = client.call('slow')
  // The host's own route is ended, and was called after our stream was opened.
  t.equal((await send(url, '/slow')).status, 503)
  open()
  t.match((await call).result, { content: [{ text: 'slow' }] })
  await client.close()
})

// ---- where it may be mounted ----

/** Calls over both transports below a path, and gives what the tool said. */
async function callBoth (target: FastifyInstance | string, base: string): Promise<{ endpoint: string, texts: string[] }> {
  const client = await Client.connect(target, { path: `${base}/mcp` })
  const sse = await SseClient.connect(target, { path: `${base}/sse` })
  const answers = [await client.call('now'), await sse.call('now')]
  await sse.close()
  return { endpoint: sse.endpoint.replace(/[\w-]{24}$/, 'ID'), texts: answers.map(({ result }) => result.content[0].text) }
}

const mounts: [name: string, base: string, mount: (app: FastifyInstance) => unknown, endpoint: string, params?: object][] = [
  ['at the root', '', app => app.register(scope => add(scope)), '/messages?sessionId=ID'],
  ['under its own prefix', '/api', app => app.register(scope => add(scope, { prefix: '/api' })), '/api/messages?sessionId=ID'],
  ['in a scope with a prefix', '/v1', app => app.register(scope => add(scope), { prefix: '/v1' }), '/v1/messages?sessionId=ID'],
  ['in both', '/v1/api', app => app.register(scope => add(scope, { prefix: '/api' }), { prefix: '/v1' }),
    '/v1/api/messages?sessionId=ID'],
  ['in nested scopes', '/a/b', app => app.register(async outer => {
    await outer.register(inner => add(inner), { prefix: '/b' })
  }, { prefix: '/a' }), '/a/b/messages?sessionId=ID'],
  ['under a prefix with a parameter', '/t/acme', app => app.register(scope => add(scope), { prefix: '/t/:tenant' }),
    '/t/acme/messages?sessionId=ID', { tenant: 'acme' }],
  ['on paths of its own', '/x', app => app.register(scope => add(scope, { paths: { mcp: '/x/mcp', sse: '/x/sse', messages: '/y/post' } })),
    '/y/post?sessionId=ID']
]

async function add (scope: FastifyInstance, options: McpOptions = {}): Promise<void> {
  await scope.register(mcp, options)
  addTools(scope)
}

for (const [name, base, mount, endpoint, params = {}] of mounts) {
  t.test(`mounted ${name} both transports work, and the endpoint is right`, async t => {
    const app = host(t)
    await mount(app)
    const url = await listen(app)
    const text = `now ${JSON.stringify(params)}`
    t.strictSame(await callBoth(url, base), { endpoint, texts: [text, text] })
  })
}

t.test('paths that the router reads generously still name the right endpoint', async t => {
  const app = host(t, { routerOptions: { ignoreTrailingSlash: true, ignoreDuplicateSlashes: true, caseSensitive: false } })
  await app.register(scope => add(scope), { prefix: '/t/:tenant' })
  const url = await listen(app)
  for (const [path, endpoint] of [
    ['/t/acme/sse', '/t/acme/messages'], ['/t/acme/sse/', '/t/acme/messages'], ['/T/Acme/SSE', '/T/Acme/messages'], ['/t/acme//sse', '/t/acme//messages'],
    ['/t/acme/sse?a=/sse', '/t/acme/messages'],
    // Two slashes would name a host.
    ['//t/acme/sse', '/t/acme/messages'], ['///t/acme/sse', '/t/acme/messages']
  ] as const) {
    const client = await SseClient.connect(url, { path: `${url}${path}` })
    t.equal(client.endpoint.split('?')[0], endpoint, path)
    t.strictSame((await client.request('ping')).result, {})
    await client.close()
  }
  const client = await Client.connect(url, { path: '/t/acme/mcp/' })
  t.match((await client.call('now')).result, { content: [{ text: 'now {"tenant":"acme"}' }] })
})

t.test('with `publicPath` clients are told what a proxy takes off, before every prefix', async t => {
  for (const [publicPath, prefix, base] of [['/api/v1', '', '/api/v1'], ['/api', '/a', '/api/a']] as const) {
    const app = host(t)
    await app.register(scope => add(scope, { publicPath, prefix }))
    const url = await listen(app)
    const { stream, endpoint } = await SseClient.open(url, { path: `${prefix}/sse` })
    t.match(endpoint, new RegExp(`^${base}/messages\\?sessionId=[\\w-]{24}$`))
    t.equal((await send(url, endpoint, { method: 'POST', body: PING })).status, 404, 'it is nothing that the app itself would answer')
    t.equal((await send(url, endpoint.slice(publicPath.length), { method: 'POST', body: PING })).status, 202)
    t.match(await stream.message(), { id: 1, result: {} })
    await stream.close()
    const { text } = await send(url, `${prefix}/sse/ticket`, { method: 'POST', headers: { accept: 'application/json' } })
    t.ok(JSON.parse(text).url.startsWith(`${base}/sse?ticket=`), text)
  }
})

t.test('a path that a URL reads as a host names none', async t => {
  const app = host(t)
  await app.register(scope => add(scope), { prefix: '/:tenant' })
  const url = await listen(app)
  const asked = request({ host: '127.0.0.1', port: new URL(url).port, path: '/\\evil.example/sse', headers: { accept: 'text/event-stream' } }).end()
  const [response] = await within(once(asked, 'response'), 'the stream')
  const stream = new EventStream({ status: response.statusCode, headers: response.headers, body: response })
  const { data } = await stream.next()
  t.match(data, /^\/evil\.example\/messages\?sessionId=/)
  t.equal(new URL(data, url).origin, url)
  await stream.close()
})

t.test('behind `rewriteUrl` the endpoint is where the client can reach it', async t => {
  const app = host(t, {
    rewriteUrl: ({ url = '' }) => url.startsWith('/public/') ? url.slice('/public'.length) : url.replace(/^\/events/, '/sse')
  })
  await app.register(mcp)
  addTools(app)
  const url = await listen(app)
  t.strictSame(await callBoth(url, '/public'), { endpoint: '/public/messages?sessionId=ID', texts: ['now {}', 'now {}'] })
  const renamed = await SseClient.connect(url, { path: '/events' })
  t.match(renamed.endpoint, /^\/messages\?/)
  t.match((await renamed.call('now')).result, { content: [{ text: 'now {}' }] })
  await renamed.close()
})

t.test('behind `trustProxy` a tool sees the client, and the forwarded host counts', async t => {
  const app = host(t, { trustProxy: true })
  await app.register(mcp, { hosts: ['mcp.example'], auth: { tokens: [{ token: 'a', principal: 'a' }] } })
  app.mcp.tool('ip', {}, (_args, { request }) => request.ip)
  const headers = {
    authorization: 'Bearer a', 'x-forwarded-for': '203.0.113.9', 'x-forwarded-host': 'mcp.example', 'x-forwarded-proto': 'https', origin: 'https://mcp.example'
  }
  const url = await listen(app)
  const client = await Client.connect(url, { headers })
  t.match((await client.call('ip')).result, { content: [{ text: '203.0.113.9' }] })
  const sse = await SseClient.connect(url, { headers })
  t.match((await sse.call('ip')).result, { content: [{ text: '203.0.113.9' }] })
  await sse.close()
})

t.test('two servers in two scopes share nothing', async t => {
  const app = host(t)
  for (const name of ['a', 'b']) {
    app.register(async scope => {
      await scope.register(mcp, { name, prefix: `/${name}` })
      scope.mcp.tool(`only-${name}`, {}, () => name)
    })
  }
  const url = await listen(app)
  t.notOk('mcp' in app, 'the root has none')
  const [a, b] = [await Client.connect(url, { path: '/a/mcp' }), await Client.connect(url, { path: '/b/mcp' })]
  t.strictSame([a.server.serverInfo.name, b.server.serverInfo.name], ['a', 'b'])
  for (const [client, name] of [[a, 'a'], [b, 'b']] as const) {
    t.match((await client.request('tools/list')).result.tools, [{ name: `only-${name}` }])
    t.match((await client.call(`only-${name}`)).result, { content: [{ text: name }] })
  }
  const { status } = await send(url, '/b/mcp', { method: 'POST', headers: a.headers, body: PING })
  t.equal(status, 404, 'a session of one is unknown to the other')

  const sse = await SseClient.connect(url, { path: '/a/sse' })
  t.equal((await send(url, sse.endpoint.replace('/a/', '/b/'), { method: 'POST', body: PING })).status, 404)
  await sse.close()
})

t.test('a server may be inside the scope of another', async t => {
  const app = host(t)
  await app.register(mcp, { name: 'outer' })
  await app.register(async scope => {
    await scope.register(mcp, { name: 'inner', prefix: '/inner' })
    t.not(scope.mcp, app.mcp)
    scope.mcp.tool('inside', {}, () => '')
  })
  app.mcp.tool('outside', {}, () => '')
  for (const [path, name, tool] of [['/mcp', 'outer', 'outside'], ['/inner/mcp', 'inner', 'inside']] as const) {
    const client = await Client.connect(app, { path })
    t.equal(client.server.serverInfo.name, name)
    t.match((await client.request('tools/list')).result.tools, [{ name: tool }])
  }
})

t.test('two servers in one scope are refused at boot', async t => {
  const app = host(t)
  await app.register(mcp)
  await t.rejects(async () => { await app.register(mcp, { prefix: '/b' }) }, { code: 'FST_MCP_ALREADY_REGISTERED' })
})

t.test('`paths.sse: false` leaves those paths to the host', async t => {
  const app = host(t)
  await app.register(mcp, { paths: { sse: false } })
  app.get('/sse', () => 'host')
  app.post('/messages', () => 'host')
  t.equal((await send(app, '/sse')).text, 'host')
  t.equal((await send(app, '/messages', { method: 'POST', body: PING })).text, 'host')
  t.equal((await Client.connect(app)).server.serverInfo.name, 'mcp-server')
})

// ---- HTTP/2 ----

interface H2Reply {
  status: number
  headers: Record<string, unknown>
  messages: RpcMessage[]
  /** Of its events. */
  ids: string[]
  stream: ClientHttp2Stream
}

/** The least client of HTTP/2. */
class H2 {
  readonly session: ClientHttp2Session
  readonly #common: Record<string, string> = { accept: 'application/json, text/event-stream' }

  constructor (t: Test, url: string) {
    this.session = connectHttp2(url).on('error', () => {})
    t.after(() => this.session.destroy())
  }

  async open (method: string, path: string, body?: object, headers: Record<string, string> = {}): Promise<H2Reply> {
    const stream = this.session.request({
      ':method': method, ':path': path, ...this.#common, ...(body && { 'content-type': 'application/json' }), ...headers
    }).on('error', () => {})
    stream.end(body && JSON.stringify(body))
    const messages: RpcMessage[] = []
    const [received] = await within(once(stream, 'response'), `${method} ${path}`)
    const isStream = received['content-type'] === 'text/event-stream'
    const ids: string[] = []
    const parser = createParser({
      onEvent ({ event, data, id = '' }) {
        ids.push(id)
        if (event === 'message' && data !== '') messages.push(JSON.parse(data))
      }
    })
    let text = ''
    stream.setEncoding('utf8').on('data', chunk => {
      if (isStream) parser.feed(chunk)
      text += chunk
    })
    const reply = { status: received[':status'], headers: received, messages, ids, stream }
    if (isStream) return reply
    await within(once(stream, 'close'), 'the end of a response')
    if (text !== '') messages.push(JSON.parse(text))
    return reply
  }

  async initialize (): Promise<void> {
    const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'h2', version: '1.0.0' } }
    const { status, headers } = await this.open('POST', '/mcp', { jsonrpc: '2.0', id: 0, method: 'initialize', params })
    if (status !== 200) throw new TypeError(`initialize was answered ${status}`)
    if (typeof headers['mcp-session-id'] === 'string') this.#common['mcp-session-id'] = headers['mcp-session-id']
    this.#common['mcp-protocol-version'] = '2025-11-25'
  }
}

async function serveH2 (t: Test, options: McpOptions = {}) {
  const app = Fastify({ http2: true })
  t.after(() => app.close())
  app.addHook('onSend', async (_request, reply) => { reply.header('x-on-send', 'seen') })
  await app.register(mcp, options)
  app.get('/', () => 'host')
  const reasons: string[] = []
  const { opened, open: go } = gate()
  app.mcp.tool('stream', {}, async function * () {
    yield 'one '
    await opened
    yield 'two'
  })
  app.mcp.tool('parked', {}, async function * (_args, { signal }) {
    yield 'parked'
    await once(signal, 'abort')
    reasons.push(signal.reason.code)
  })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  return { app, client: new H2(t, url), reasons, go }
}

const CALL_PARKED = { jsonrpc: '2.0', id: 3, method: 'tools/call', params: { name: 'parked', _meta: { progressToken: 1 } } }

t.test('over HTTP/2 a call streams before it ends, with the host\'s headers and none that HTTP/2 forbids', async t => {
  const { client, go } = await serveH2(t)
  await client.initialize()
  t.match(await client.open('POST', '/mcp', PING), { status: 200, messages: [{ id: 1, result: {} }] })
  const { status, headers, messages, stream } = await client.open('POST', '/mcp', CALL_STREAM)
  t.match({ status, headers }, { status: 200, headers: { 'content-type': 'text/event-stream', 'x-on-send': 'seen' } })
  t.notOk('connection' in headers || 'transfer-encoding' in headers)
  await until(() => messages.length > 0, 'the first chunk')
  t.match(messages, [{ method: 'notifications/progress', params: { message: 'one ' } }])
  go()
  await within(once(stream, 'close'), 'the end')
  t.match(messages.at(-1), { id: 2, result: { content: [{ text: 'one two' }] } })
})

t.test('over HTTP/2 a call whose stream was reset goes on in its session, and is resumed', async t => {
  const { app, client, go } = await serveH2(t)
  await client.initialize()
  const { stream, messages, ids } = await client.open('POST', '/mcp', CALL_STREAM)
  await until(() => messages.length > 0, 'the first chunk')
  stream.close(constants.NGHTTP2_CANCEL)
  await until(() => app.mcp.stats().streams === 0, 'the server to notice')
  t.equal(app.mcp.stats().calls, 1)
  go()
  await until(() => app.mcp.stats().calls === 0, 'the call to end while nobody listens')

  const rest = await client.open('GET', '/mcp', undefined, { 'last-event-id': ids.at(-1) ?? '' })
  await within(once(rest.stream, 'close'), 'the rest')
  t.match(rest.messages, [
    { method: 'notifications/progress', params: { message: 'two' } },
    { id: 2, result: { content: [{ text: 'one two' }] } }
  ])
})

t.test('over HTTP/2 without sessions a reset cancels the call', async t => {
  const { app, client, reasons } = await serveH2(t, { sessions: false })
  await client.initialize()
  const { stream, messages } = await client.open('POST', '/mcp', CALL_PARKED)
  await until(() => messages.length > 0, 'the first chunk')
  stream.close(constants.NGHTTP2_CANCEL)
  await until(() => reasons.length > 0, 'the tool to be told')
  t.strictSame(reasons, ['FST_MCP_CLIENT_GONE'])
  await until(() => app.mcp.stats().streams === 0, 'the stream to be gone')
  t.equal(app.mcp.stats().calls, 0)
  t.notOk(client.session.closed, 'the connection is still good')
  t.match(await client.open('POST', '/mcp', PING), { messages: [{ id: 1, result: {} }] })
})

t.test('over HTTP/2 a call is cancelled by its notification', async t => {
  const { client, reasons } = await serveH2(t)
  await client.initialize()
  const { stream, messages } = await client.open('POST', '/mcp', CALL_PARKED)
  await until(() => messages.length > 0, 'the first chunk')
  const closed = once(stream, 'close')
  await client.open('POST', '/mcp', { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 3 } })
  await within(closed, 'the end of the stream')
  t.strictSame(reasons, ['FST_MCP_CANCELLED'])
  t.equal(messages.length, 1, 'a cancelled call gets no response')
})

t.test('over HTTP/2 the 2024-11-05 transport works, and a reset ends its session after the window', async t => {
  const { app, client, reasons } = await serveH2(t, { sessions: { replay: { window: 20 } } })
  const { status, stream, messages } = await client.open('GET', '/sse')
  t.equal(status, 200)
  const [endpoint] = await within(once(stream, 'data'), 'the endpoint')
  const path = /^data: (\S+)$/m.exec(endpoint)?.[1] ?? ''
  t.match(path, /^\/messages\?sessionId=[\w-]{24}$/)
  t.equal((await client.open('POST', path, PING)).status, 202)
  t.equal((await client.open('POST', path, CALL_PARKED)).status, 202)
  await until(() => messages.length === 2, 'both messages')
  t.match(messages, [{ id: 1, result: {} }, { method: 'notifications/progress' }])
  stream.close(constants.NGHTTP2_CANCEL)
  await until(() => reasons.length > 0, 'the tool to be told')
  t.strictSame(reasons, ['FST_MCP_CLIENT_GONE'])
  await until(() => app.mcp.stats().sessions === 0, 'the session to end')
})

t.test('over HTTP/2 `app.close()` answers what is open and ends the connections', async t => {
  const { app, client, reasons } = await serveH2(t)
  await client.initialize()
  const call = await client.open('POST', '/mcp', CALL_PARKED)
  const own = await client.open('GET', '/mcp')
  const sse = await client.open('GET', '/sse')
  await until(() => call.messages.length > 0, 'the first chunk')
  const ended = [call, own, sse].map(({ stream }) => once(stream, 'close'))
  const closed = once(client.session, 'close')
  await within(app.close(), 'the server to close')
  await within(Promise.all([...ended, closed]), 'everything to end')
  t.match(call.messages.at(-1), { id: 3, error: { data: { code: 'FST_MCP_CLOSING' } } })
  t.strictSame(reasons, ['FST_MCP_CLOSING'])
  t.match(app.mcp.stats(), { calls: 0, streams: 0 })
})

t.test('a stream goes through whatever the hooks of the host make of it', async t => {
  const app = Fastify()
  t.after(() => app.close())
  app.addHook('onRoute', route => {
    if (!route.url.startsWith('/loud')) return
    route.onSend = async (_request, _reply, payload) => payload instanceof Readable
      ? payload.pipe(new Transform({ transform: (chunk, _encoding, done) => { done(null, String(chunk).toUpperCase()) } }))
      : payload
  })
  app.addHook('onSend', async (request, reply, payload) => {
    if (request.url.startsWith('/trailing') && payload instanceof Readable) reply.trailer('x-count', (_reply, _payload, done) => { done(null, '3') })
    return payload
  })
  for (const prefix of ['/plain', '/loud', '/trailing']) {
    await app.register(async scope => {
      await scope.register(mcp, { name: prefix })
      scope.mcp.tool('stream', {}, async function * () {
        yield 'one '
        yield 'two'
      })
    }, { prefix })
  }
  const url = await listen(app)
  const call = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'stream', _meta: { progressToken: 1 } } }
  const texts: Record<string, string> = {}
  for (const prefix of ['/plain', '/loud', '/trailing']) {
    const client = await Client.connect(url, { path: `${prefix}/mcp` })
    const { headers, body } = await open(url, `${prefix}/mcp`, { method: 'POST', headers: client.headers, body: call })
    t.equal(headers['content-type'], 'text/event-stream')
    texts[prefix] = ''
    for await (const chunk of body) texts[prefix] += String(chunk).replace(/id: .*/gi, '')
    t.strictSame(Reflect.get(body, 'trailers'), prefix === '/trailing' ? { 'x-count': '3' } : {})
  }
  t.match(texts['/plain'], /one[^]*two[^]*one two/)
  t.equal(texts['/trailing'], texts['/plain'])
  t.equal(texts['/loud'], texts['/plain']?.toUpperCase())
})

for (const [what, look] of Object.entries<(payload: Readable, seen: (text: string) => void) => unknown>({
  'pipes it elsewhere too': (payload, seen) => payload.pipe(new PassThrough()).on('data', seen),
  'listens to its data': (payload, seen) => payload.on('data', seen),
  'waits for its end': (payload, seen) => payload.on('end', () => seen('end')),
  'waits until it is finished': (payload, seen) => finished(payload, error => seen(error === undefined || error === null ? 'end' : String(error)))
})) {
  t.test(`a stream is whole for its client and for a hook that ${what}`, async t => {
    const CHUNKS = 200
    const app = Fastify()
    t.after(() => app.close())
    let heard = ''
    app.addHook('onSend', (_request, _reply, payload, done) => {
      if (payload instanceof Readable) look(payload, text => { heard += String(text) })
      done(null, payload)
    })
    await app.register(mcp, {})
    app.mcp.tool('stream', {}, async function * () {
      for (let i = 0; i < CHUNKS; i++) yield `${i} `
    })
    const client = await Client.connect(await listen(app))
    const { text, messages } = await client.post({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'stream', _meta: { progressToken: 1 } } })
    t.strictSame(messages.slice(0, -1).map(({ params }) => params.message), Array.from({ length: CHUNKS }, (_, i) => `${i} `))
    t.equal(messages.at(-1)?.id, 1)
    await until(() => heard === (what.startsWith('waits') ? 'end' : text), 'all of it')
  })
}

t.test('a hook that breaks a stream or gives it a header that is none is answered 500', async t => {
  const app = Fastify()
  t.after(() => app.close())
  app.addHook('onSend', (request, reply, payload, done) => {
    if (payload instanceof Readable && request.headers['x-do'] === 'break') payload.destroy()
    if (payload instanceof Readable && request.headers['x-do'] === 'spoil') reply.header('x-bad', 'a\nb')
    else reply.removeHeader('x-bad')
    done(null, payload)
  })
  await app.register(mcp, {})
  app.mcp.tool('stream', {}, async function * () { yield 'one' })
  const url = await listen(app)
  for (const what of ['break', 'spoil']) {
    const client = await Client.connect(url)
    const reply = await client.post({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'stream', _meta: { progressToken: 1 } } }, { 'x-do': what })
    t.match(reply, { status: 500, messages: [{ error: { data: { code: 'FST_MCP_INTERNAL' } } }] }, what)
  }
  await until(() => app.mcp.stats().streams === 0, 'their end')
})

t.test('a host that answers in the place of a call is told of in the log, and the call is over', async t => {
  const lines: { msg: string }[] = []
  const app = Fastify({ logger: { level: 'error', stream: { write: (line: string) => lines.push(JSON.parse(line)) } } })
  t.after(() => app.close())
  app.addHook('onSend', (request, reply, payload, done) => {
    if (Reflect.get(Object(request.body), 'method') === 'tools/call') reply.raw.writeHead(200).end('mine')
    done(null, payload)
  })
  await app.register(mcp, {})
  app.mcp.tool('echo', {}, () => 'ours')
  const client = await Client.connect(await listen(app))
  t.match(await client.post({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo' } }), { status: 200, text: 'mine' })
  t.match(lines.map(({ msg }) => msg), ['request failed'])
  t.equal(app.mcp.stats().calls, 0)
})

t.test('a stream of the host and one of ours go side by side', async t => {
  const app = host(t)
  await app.register(mcp)
  addTools(app)
  const body = new Readable({ read () {} })
  app.get('/feed', (_request, reply) => reply.type('text/event-stream').send(body))
  const url = await listen(app)
  const feed = EventStream.open(url, '/feed')
  body.push('data: host\n\n')
  const sse = await SseClient.connect(url)
  t.match(await (await feed).next(), { data: 'host' })
  t.match((await sse.call('stream', {}, 1)).result, { content: [{ text: 'one two' }] })
  body.push(null)
  await (await feed).closed
  t.strictSame((await sse.request('ping')).result, {}, 'ours goes on')
  await sse.close()
})
