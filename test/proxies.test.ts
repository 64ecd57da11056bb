// Real proxies in front of real sockets. The configurations are those of docs/proxies.md.
import { Client as Official, discoverOAuthProtectedResourceMetadata, SSEClientTransport, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { EventSource } from 'eventsource'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import type { McpOptions } from 'fastify-mcp-sse'
import t, { type Test } from 'tap'
import { createApp, EventStream, listen, read, type RpcMessage, send, until, within } from './client.ts'
import { freePort } from './free-port.ts'
import { askerOf, type Protocol } from './proxy/asker.ts'
import { makeCertificate } from './proxy/certificate.ts'
import type { Proxy } from './proxy/daemon.ts'
import { eras, helloOf } from './proxy/eras.ts'
import { startHaproxy } from './proxy/haproxy.ts'
import { type ProxyOptions, startNginx } from './proxy/nginx.ts'
import { type Changes, recipe } from './proxy/recipe.ts'
import { gate } from './sockets.ts'

const INFO = { name: 'behind', version: '1.0.0' }
const FAST = { initialReconnectionDelay: 10, maxReconnectionDelay: 50, reconnectionDelayGrowFactor: 1.5, maxRetries: 20 }
const PROTOCOLS: Protocol[] = ['HTTP/1.1', 'HTTP/2']
const certificate = makeCertificate(t)
const ca = certificate.cert

const starts: Record<'nginx' | 'haproxy', (t: Test, options: ProxyOptions) => Promise<Proxy>> = { nginx: startNginx, haproxy: startHaproxy }

/** Registers a tool that yields `texts`, and waits for the test between them. */
function addSteps (app: FastifyInstance, name: string, texts: readonly string[]) {
  const doors = texts.slice(1).map(() => gate())
  const reasons: unknown[] = []
  app.mcp.tool(name, {}, async function * (_args, { signal }) {
    signal.addEventListener('abort', () => reasons.push(signal.reason.code))
    for (const [index, text] of texts.entries()) {
      yield text
      await doors[index]?.opened
    }
  })
  let next = 0
  return { reasons, go: () => doors[next++]?.open() }
}

const isProgress = ({ method }: RpcMessage): boolean => method === 'notifications/progress'
const textsOf = (stream: EventStream): unknown[] => stream.messages.filter(isProgress).map(({ params }) => params.message)

// ---- the first chunk ----

const READ = 'proxy_read_timeout 60s;'
const settings: [name: keyof typeof starts, how: string, changes: Changes, encoding?: string][] = [
  ['nginx', 'buffering', { [READ]: `${READ} proxy_buffering on;` }],
  ['nginx', 'not buffering', { [READ]: `${READ} proxy_buffering off;` }],
  ['nginx', 'compressing', { [READ]: `${READ} gzip on; gzip_proxied any; gzip_min_length 1; gzip_types text/event-stream;` }, 'gzip'],
  ['haproxy', 'as documented', {}],
  ['haproxy', 'that would compress', { 'default_backend node': 'compression algo gzip\n  compression type text/event-stream\n  default_backend node' }]
]

for (const [name, how, changes, encoding] of settings) {
  t.test(`through ${name}, ${how}, each chunk arrives while its tool still waits`, async t => {
    const app = await createApp(t)
    const proxy = await starts[name](t, { behind: await listen(app), certificate, changes })
    for (const protocol of PROTOCOLS) {
      for (const [era, connect] of Object.entries(eras)) {
        const tool = `${protocol} ${era}`.replaceAll(/[^\w.-]/g, '_')
        const { go } = addSteps(app, tool, ['first ', 'second'])
        const ask = askerOf(t, protocol, proxy.url, { ca })
        const client = await connect((method, path, headers, body) => ask(method, path, { 'accept-encoding': 'gzip', ...headers }, body))
        const { stream, id } = await client.call(tool)
        t.equal(stream.headers['content-encoding'], encoding, tool)
        await stream.message(isProgress)
        t.strictSame(textsOf(stream), ['first '])
        t.equal(app.mcp.stats().calls, 1, 'the tool waits')
        go()
        t.match(await stream.message(message => message.id === id), { result: { content: [{ text: 'first second' }] } })
        await stream.close()
        await until(() => app.mcp.stats().streams === 0, 'the server to notice')
      }
    }
  })

  t.test(`through ${name}, ${how}, a client that hangs up ends its call`, async t => {
    const app = await createApp(t)
    const proxy = await starts[name](t, { behind: await listen(app), certificate, changes })
    for (const protocol of PROTOCOLS) {
      const tool = `left_${protocol.replaceAll(/[^\w.-]/g, '_')}`
      const { reasons } = addSteps(app, tool, ['first ', 'second'])
      const client = await eras['2026-07-28'](askerOf(t, protocol, proxy.url, { ca }))
      const { stream } = await client.call(tool)
      await stream.message(isProgress)
      await stream.close()
      await until(() => reasons.length === 1, 'the tool to be told')
      t.strictSame(reasons, ['FST_MCP_CLIENT_GONE'])
    }
  })
}

// ---- quiet streams ----

const impatient: Record<keyof typeof starts, Changes> = {
  nginx: { [READ]: 'proxy_read_timeout 2s;' },
  haproxy: { 'timeout client 60s': 'timeout client 2s', 'timeout server 60s': 'timeout server 2s' }
}

for (const name of ['nginx', 'haproxy'] as const) {
  t.test(`comments keep a quiet stream open past the time-outs of ${name}`, async t => {
    const app = await createApp(t, { streams: { keepAlive: 500 } })
    const proxy = await starts[name](t, { behind: await listen(app), certificate, changes: impatient[name] })
    await Promise.all(PROTOCOLS.flatMap(protocol => Object.entries(eras).map(async ([era, connect]) => {
      const tool = `${protocol} ${era}`.replaceAll(/[^\w.-]/g, '_')
      const { go, reasons } = addSteps(app, tool, ['first ', 'second'])
      const client = await connect(askerOf(t, protocol, proxy.url, { ca }))
      const { stream, id } = await client.call(tool)
      await stream.message(isProgress)
      // Three seconds of silence, and a half at the least.
      await until(() => stream.comments.filter(text => text.trim() === 'keep-alive').length >= 7, `comments over ${tool}`)
      go()
      t.match(await stream.message(message => message.id === id), { result: { content: [{ text: 'first second' }] } }, tool)
      t.strictSame(reasons, [])
      await stream.close()
    })))
  })

  t.test(`${name} cuts a stream that is quiet for too long, and whoever comes back gets the rest once`, async t => {
    const app = await createApp(t, { streams: { keepAlive: 60_000 } })
    const proxy = await starts[name](t, { behind: await listen(app), certificate, changes: impatient[name] })
    await Promise.all(PROTOCOLS.flatMap(protocol => Object.entries(eras).map(async ([era, connect]) => {
      const tool = `${protocol} ${era}`.replaceAll(/[^\w.-]/g, '_')
      const { go, reasons } = addSteps(app, tool, ['first ', 'second'])
      const client = await connect(askerOf(t, protocol, proxy.url, { ca }))
      const { stream, id } = await client.call(tool)
      await within(stream.closed, `the end of ${tool}`)
      t.strictSame(textsOf(stream), ['first '], tool)
      if (client.resume === undefined) {
        await until(() => reasons.length > 0, 'the tool to be told')
        t.strictSame(reasons, ['FST_MCP_CLIENT_GONE'])
        return
      }
      go()
      const resumed = await client.resume(stream.events.at(-1)?.id ?? '')
      t.match(await resumed.message(message => message.id === id), { result: { content: [{ text: 'first second' }] } }, tool)
      t.strictSame(textsOf(resumed), ['second'])
      await resumed.close()
    })))
  })
}

// ---- a proxy that is reloaded ----

const STEPS = ['one ', 'two ', 'three ', 'four']

for (const name of ['nginx', 'haproxy'] as const) {
  t.test(`${name} is reloaded in the middle of a stream: the official client gets every chunk once`, async t => {
    const app = await createApp(t)
    const { go } = addSteps(app, 'steps', STEPS)
    const behind = await listen(app)
    const proxy = await starts[name](t, { behind })
    const client = new Official(INFO)
    await client.connect(new StreamableHTTPClientTransport(new URL('/mcp', proxy.url), { reconnectionOptions: FAST }))
    t.teardown(() => client.close())
    let resumed = 0
    app.server.on('request', ({ headers }) => { if ('last-event-id' in headers) resumed++ })
    const told: unknown[] = []
    const answer = client.callTool({ name: 'steps', arguments: {} }, { onprogress: ({ message }) => told.push(message) })
    for (const index of STEPS.keys()) {
      await until(() => told.length > index, `chunk ${index}`)
      if (index < 2) await proxy.reload()
      go()
    }
    t.match(await within(answer, 'the result'), { content: [{ text: STEPS.join('') }] })
    t.strictSame(told, STEPS)
    t.ok(resumed >= 2, 'it came back by Last-Event-ID')
    t.equal(app.mcp.stats().sessions, 1)
  })

  t.test(`${name} is reloaded in the middle of a stream: an EventSource gets every chunk once`, async t => {
    const app = await createApp(t, { streams: { retry: 10 } })
    const { go } = addSteps(app, 'steps', STEPS)
    const behind = await listen(app)
    const proxy = await starts[name](t, { behind })
    const source = new EventSource(new URL('/sse', proxy.url))
    t.teardown(() => source.close())
    const endpoints: string[] = []
    const messages: RpcMessage[] = []
    source.addEventListener('endpoint', ({ data }) => endpoints.push(data))
    source.addEventListener('message', ({ data }) => messages.push(JSON.parse(data)))
    await until(() => endpoints.length > 0, 'the endpoint')
    const { status } = await send(proxy.url, endpoints[0] ?? '', {
      method: 'POST', body: { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'steps', arguments: {}, _meta: { progressToken: 'p' } } }
    })
    t.equal(status, 202)
    for (const index of STEPS.keys()) {
      await until(() => messages.length > index, `chunk ${index}`)
      if (index < 2) await proxy.reload()
      go()
    }
    await until(() => messages.length > STEPS.length, 'the result')
    t.strictSame(messages.filter(isProgress).map(({ params }) => params.message), STEPS)
    t.match(messages.at(-1), { id: 1, result: { content: [{ text: STEPS.join('') }] } })
    t.equal(new Set(endpoints).size, 1, 'it is the same session')
    t.ok(endpoints.length >= 3, 'on several connections')
  })
}

// ---- paths ----

const SITE = recipe('/etc/nginx/conf.d/mcp.conf')
const LOCATIONS = SITE.slice(SITE.indexOf('  location / {'), SITE.indexOf('  location @away'))
const TAKEN_OFF = recipe('in place of location / and location = /sse')

/** An app behind a path, with a token, and both official transports through the proxy. */
async function servePath (t: Test, location: string, options: McpOptions, server?: FastifyServerOptions) {
  const port = await freePort()
  const resource = `http://127.0.0.1:${port}/api/mcp`
  const auth = { tokens: [{ token: 'secret', principal: 'ci' }], resource, authorizationServers: ['https://login.example'] }
  const app = await createApp(t, { auth, ...options }, server)
  app.mcp.tool('hello', {}, () => 'hello')
  const proxy = await startNginx(t, { behind: await listen(app), port, changes: { [LOCATIONS]: location } })
  const headers = { authorization: 'Bearer secret' }
  const connect = async (transport: SSEClientTransport | StreamableHTTPClientTransport): Promise<unknown> => {
    const client = new Official(INFO)
    t.teardown(() => client.close())
    await within(client.connect(transport), 'the connection')
    return (await client.callTool({ name: 'hello', arguments: {} })).content
  }
  return {
    resource,
    url: proxy.url,
    headers,
    overHttp: () => connect(new StreamableHTTPClientTransport(new URL('/api/mcp', proxy.url), { requestInit: { headers } })),
    overSse: () => connect(new SSEClientTransport(new URL('/api/sse', proxy.url), { requestInit: { headers } }))
  }
}

const HELLO = [{ type: 'text', text: 'hello' }]
const mounts: [name: string, location: string, options: McpOptions, server?: FastifyServerOptions][] = [
  ['takes off a path, and `publicPath` names it', TAKEN_OFF, { publicPath: '/api' }],
  ['hands on the path, and `prefix` is the same', TAKEN_OFF.replaceAll(/http:\/\/node\/.*;/g, 'http://node;'), { prefix: '/api' }],
  ['leaves two slashes where it takes off a path', TAKEN_OFF.replace('location /api/ {', 'location /api {').replace('node/sse', 'node//sse'), { publicPath: '/api' }, { routerOptions: { ignoreDuplicateSlashes: true } }]
]

for (const [name, location, options, server] of mounts) {
  t.test(`nginx ${name}: every client finds its way`, async t => {
    const { url, resource, headers, overHttp, overSse } = await servePath(t, location, options, server)
    t.strictSame(await overHttp(), HELLO)
    t.strictSame(await overSse(), HELLO)
    t.match(await discoverOAuthProtectedResourceMetadata(resource), { resource, authorization_servers: ['https://login.example'] })
    const refused = await send(url, '/api/mcp', { method: 'POST', body: {} })
    const [, metadata = ''] = /resource_metadata="([^"]+)"/.exec(String(refused.headers['www-authenticate'])) ?? []
    t.equal(refused.status, 401)
    t.match(await (await fetch(metadata)).json(), { resource })

    const { text } = await send(url, '/api/sse/ticket', { method: 'POST', headers: { ...headers, accept: 'application/json' } })
    const stream = await EventStream.open(url, JSON.parse(text).url)
    t.match((await stream.next()).data, /^\/api\/messages\?sessionId=/)
    await stream.close()
  })
}

t.test('a proxy takes off a path and nobody says so: HTTP+SSE cannot post, the rest works', async t => {
  const { overHttp, overSse } = await servePath(t, TAKEN_OFF, {})
  t.strictSame(await overHttp(), HELLO)
  await t.rejects(overSse(), /404/)
})

// ---- who asks, and for which host ----

const OUTSIDE = { 'x-forwarded-for': '203.0.113.9', authorization: 'Bearer secret' }
const PING = { jsonrpc: '2.0', id: 1, method: 'ping' }

for (const name of ['nginx', 'haproxy'] as const) {
  t.test(`behind ${name} with \`trustProxy\` scheme, host and page are those of the client`, async t => {
    const app = await createApp(t, {
      requireHttps: true, hosts: ['mcp.example'], sessions: false, auth: { tokens: [{ token: 'secret', principal: 'ci' }] }
    }, { trustProxy: '127.0.0.1' })
    const behind = await listen(app)
    const [secure, open] = [await starts[name](t, { behind, certificate }), await starts[name](t, { behind })]
    for (const protocol of PROTOCOLS) {
      const ask = askerOf(t, protocol, secure.url, { ca })
      const post = async (headers: Record<string, string>): Promise<number> => {
        const authority: Record<string, string> = protocol === 'HTTP/2' ? { ':authority': headers.host ?? '' } : { host: headers.host ?? '' }
        const { host: _host, ...others } = headers
        return (await read(await ask('POST', '/mcp', { ...OUTSIDE, ...others, ...authority }, PING))).status
      }
      t.equal(await post({ host: 'mcp.example' }), 200, protocol)
      t.equal(await post({ host: 'mcp.example', 'x-forwarded-proto': 'http' }), 200, 'the scheme is what the proxy says')
      t.equal(await post({ host: 'mcp.example', origin: 'https://mcp.example' }), 200, 'its own page')
      t.equal(await post({ host: 'mcp.example:8443', origin: 'https://mcp.example:8443' }), 200, 'its own page on another port')
      t.equal(await post({ host: 'mcp.example', origin: 'https://evil.example' }), 403, 'a foreign page')
      t.equal(await post({ host: 'evil.example' }), 403, 'a foreign host')
      t.equal(await post({ host: 'evil.example', 'x-forwarded-host': 'mcp.example' }), 403, 'the host is what the proxy says')
    }
    const plain = askerOf(t, 'HTTP/1.1', open.url)
    t.equal((await read(await plain('POST', '/mcp', { ...OUTSIDE, host: 'mcp.example' }, PING))).status, 426)
    const claimed = { ...OUTSIDE, host: 'mcp.example', 'x-forwarded-proto': 'https' }
    t.equal((await read(await plain('POST', '/mcp', claimed, PING))).status, 426, 'nobody can claim https')
  })

  t.test(`behind ${name} rate limits count the client with \`trustProxy\`, and the proxy without`, async t => {
    const statuses = async (server: FastifyServerOptions): Promise<number[]> => {
      const app = await createApp(t, { auth: false, sessions: false, rateLimit: { max: 2, timeWindow: 600_000 } }, server)
      const proxy = await starts[name](t, { behind: await listen(app) })
      const from = async (localAddress: string, claim: Record<string, string> = {}): Promise<number> =>
        (await read(await askerOf(t, 'HTTP/1.1', proxy.url, { localAddress })('POST', '/mcp', claim, PING))).status
      return [
        await from('127.0.0.2'), await from('127.0.0.2'), await from('127.0.0.2', { 'x-forwarded-for': '203.0.113.7' }), await from('127.0.0.3')
      ]
    }
    t.strictSame(await statuses({ trustProxy: '127.0.0.1' }), [200, 200, 429, 200], 'and nobody can take another address')
    t.strictSame(await statuses({}), [200, 200, 429, 429])
  })
}

// ---- a server that stops and starts ----

const AWAY: Record<keyof typeof starts, Changes> = {
  nginx: { 'error_page 502 503 504 = @away;': '' },
  haproxy: { 'use_backend sse if { path /sse }': '' }
}

// haproxy tries four times, and waits as long as this or a second between.
const SOON: Record<keyof typeof starts, Changes> = { nginx: {}, haproxy: { 'timeout connect 5s': 'timeout connect 50ms' } }

/** Whether an EventSource comes back to a server that was away. */
async function comesBack (t: Test, name: keyof typeof starts, changes: Changes): Promise<boolean> {
  const port = await freePort()
  const serve = async (): Promise<FastifyInstance> => {
    const app = await createApp(t, { streams: { retry: 50 } })
    app.mcp.tool('hello', {}, () => 'hello')
    await app.listen({ port, host: '127.0.0.1' })
    return app
  }
  const app = await serve()
  const proxy = await starts[name](t, { behind: `http://127.0.0.1:${port}`, changes: { ...changes, ...SOON[name] } })
  const source = new EventSource(new URL('/sse', proxy.url))
  t.teardown(() => source.close())
  const endpoints: string[] = []
  let failures = 0
  source.addEventListener('endpoint', ({ data }) => endpoints.push(data))
  source.addEventListener('error', () => { failures++ })
  await until(() => endpoints.length === 1, 'the endpoint')
  const client = new Official(INFO, { versionNegotiation: { mode: { pin: '2026-07-28' } } })
  t.teardown(() => client.close())
  await client.connect(new StreamableHTTPClientTransport(new URL('/mcp', proxy.url)))

  await app.mcp.drain()
  await until(() => failures >= 2, 'the server to send it away')
  await app.close()
  const more = failures
  await until(() => failures > more + 1 || source.readyState === EventSource.CLOSED, 'the proxy to find nobody')
  await t.rejects(client.callTool({ name: 'hello', arguments: {} }))
  await serve()
  t.strictSame((await client.callTool({ name: 'hello', arguments: {} })).content, HELLO, 'the official client needs nothing but its next call')
  await until(() => endpoints.length === 2 || source.readyState === EventSource.CLOSED, 'the end')
  if (source.readyState === EventSource.CLOSED) return false
  const { status } = await send(proxy.url, endpoints[1] ?? '', { method: 'POST', body: helloOf('2024-11-05') })
  t.equal(status, 202)
  return true
}

for (const name of ['nginx', 'haproxy'] as const) {
  t.test(`behind ${name} an EventSource comes back to a server that was away`, async t => {
    t.ok(await comesBack(t, name, {}))
  })

  t.test(`an EventSource gives up for good when ${name} answers that nobody is there`, async t => {
    t.notOk(await comesBack(t, name, AWAY[name]))
  })
}
