// What clients find out before they have a token: the metadata of RFC 9728, and the challenges that lead to them.
import type { FastifyServerOptions } from 'fastify'
import Fastify from 'fastify'
import mcp, { type AuthOptions, errorCodes, type McpOptions } from 'fastify-mcp-sse'
import t from 'tap'
import { createApp, send, StatelessClient } from './client.ts'
import { createChallenge } from '../lib/http/challenge.ts'

const WELL_KNOWN = '/.well-known/oauth-protected-resource'
const RESOURCE = 'https://mcp.example/mcp'
const METADATA = `https://mcp.example${WELL_KNOWN}/mcp`
const tokens = [{ token: 'reader', principal: 'ada', scopes: ['docs:read'] }, { token: 'stranger', principal: 'eve' }]
const served = { tokens, resource: RESOURCE, authorizationServers: ['https://login.example/'] } satisfies AuthOptions
const PING = { jsonrpc: '2.0', id: 1, method: 'ping' }
const doors = [['POST', '/mcp'], ['GET', '/mcp'], ['DELETE', '/mcp'], ['GET', '/sse'], ['POST', '/messages']] as const

t.test('the metadata stand below the path of the resource, whatever a request says of its host', async t => {
  const app = await createApp(t, { auth: { ...served, scopes: ['docs:read'] }, hosts: ['mcp.example'] })
  const headers = { host: 'evil.example', origin: 'https://page.example', 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'http' }
  const { status, headers: told, text } = await send(app, `${WELL_KNOWN}/mcp`, { headers })
  t.equal(status, 200)
  t.match(told, {
    'content-type': 'application/json; charset=utf-8',
    'access-control-allow-origin': '*',
    'cache-control': 'public, max-age=3600',
    'www-authenticate': undefined
  })
  t.strictSame(JSON.parse(text), {
    resource: RESOURCE,
    authorization_servers: ['https://login.example/'],
    scopes_supported: ['docs:read'],
    bearer_methods_supported: ['header']
  })
  t.equal((await send(app, WELL_KNOWN)).status, 404, 'the root is left to others')
  t.equal((await send(app, `${WELL_KNOWN}/mcp`, { method: 'HEAD' })).status, 404)
})

t.test('without scopes of the server the metadata name none', async t => {
  const app = await createApp(t, { auth: served })
  t.strictSame(Object.keys(JSON.parse((await send(app, `${WELL_KNOWN}/mcp`)).text)), ['resource', 'authorization_servers', 'bearer_methods_supported'])
})

t.test('without a resource there are no metadata', async t => {
  for (const auth of [undefined, false, { tokens }] as const) {
    const app = await createApp(t, { auth })
    t.equal((await send(app, `${WELL_KNOWN}/mcp`)).status, 404)
  }
})

t.test('a page may ask before it reads the metadata', async t => {
  const app = await createApp(t, { auth: served })
  const { status, headers, text } = await send(app, `${WELL_KNOWN}/mcp`, {
    method: 'OPTIONS',
    headers: { origin: 'https://page.example', 'access-control-request-method': 'GET', 'access-control-request-headers': 'mcp-protocol-version' }
  })
  t.match({ status, text }, { status: 204, text: '' })
  t.match(headers, { 'access-control-allow-origin': '*', 'access-control-allow-methods': 'GET', 'access-control-allow-headers': '*' })
})

t.test('the root well-known URI is answered where the options say so, or the resource is the root', async t => {
  const both = await createApp(t, { auth: { ...served, rootMetadata: true } })
  for (const path of [WELL_KNOWN, `${WELL_KNOWN}/mcp`]) t.match(JSON.parse((await send(both, path)).text), { resource: RESOURCE }, path)
  for (const resource of ['https://mcp.example', 'https://mcp.example/']) {
    const root = await createApp(t, { paths: { mcp: '/' }, auth: { ...served, resource, rootMetadata: true } })
    t.match(JSON.parse((await send(root, WELL_KNOWN)).text), { resource }, resource)
    const { headers } = await send(root, '/', { method: 'POST', body: PING })
    t.equal(headers['www-authenticate'], `Bearer resource_metadata="https://mcp.example${WELL_KNOWN}"`)
  }
})

t.test('a challenge names the metadata, and what every request needs', async t => {
  const app = await createApp(t, { auth: { ...served, scopes: ['docs:read', 'docs:list'] } })
  const rest = `scope="docs:read docs:list", resource_metadata="${METADATA}"`
  for (const [method, path] of doors) {
    const ask = async (headers = {}): Promise<string[]> => {
      const { status, headers: told } = await send(app, path, { method, headers })
      return [String(status), String(told['www-authenticate'])]
    }
    t.strictSame(await ask(), ['401', `Bearer ${rest}`], `${method} ${path}`)
    t.strictSame(await ask({ authorization: 'Bearer wrong' }), ['401', `Bearer error="invalid_token", ${rest}`], `${method} ${path}`)
    t.strictSame(await ask({ authorization: 'Bearer stranger' }), ['403', `Bearer error="insufficient_scope", ${rest}`], `${method} ${path}`)
  }
})

t.test('a challenge names only what there is', async t => {
  const cases: [auth: AuthOptions, challenge: string][] = [
    [{ tokens }, 'Bearer'],
    [{ tokens, scopes: [] }, 'Bearer'],
    [{ tokens, scopes: ['docs:read'] }, 'Bearer scope="docs:read"'],
    [served, `Bearer resource_metadata="${METADATA}"`]
  ]
  for (const [auth, challenge] of cases) {
    const app = await createApp(t, { auth })
    t.equal((await send(app, '/mcp', { method: 'POST', body: PING })).headers['www-authenticate'], challenge)
  }
})

t.test('other refusals carry no challenge', async t => {
  const app = await createApp(t, { auth: served, hosts: ['mcp.example'] })
  const { status, headers } = await send(app, '/mcp', { headers: { host: 'evil.example' } })
  t.equal(status, 403)
  t.notOk('www-authenticate' in headers)
})

t.test('nothing breaks out of a challenge', async t => {
  const challenge = createChallenge({ metadata: 'https://mcp.example/"\\', scopes: ['docs:read'] })
  const insufficient = (data?: unknown): Error => Object.assign(new errorCodes.FST_MCP_SCOPE_INSUFFICIENT('x'), data === undefined ? {} : { data })
  const metadata = 'resource_metadata="https://mcp.example/\\"\\\\"'
  t.equal(challenge(undefined), `Bearer scope="docs:read", ${metadata}`)
  for (const data of [undefined, null, 7, {}, { scopes: 'a' }, { scopes: ['a"b'] }, { scopes: ['a\r\nb'] }, { scopes: ['a', 'b c'] }]) {
    t.equal(challenge(insufficient(data)), `Bearer error="insufficient_scope", scope="docs:read", ${metadata}`)
  }
  t.equal(challenge(insufficient({ scopes: ['a', 'b'] })), `Bearer error="insufficient_scope", scope="a b", ${metadata}`)
})

t.test('servers of one app have metadata of their own', async t => {
  const app = Fastify()
  t.after(() => app.close())
  const register = (prefix: string, auth: AuthOptions, options: McpOptions = {}) => app.register(async scope => {
    await scope.register(mcp, { prefix, auth, ...options })
  })
  await register('/a', { ...served, resource: 'https://mcp.example/a/mcp', scopes: ['a'], rootMetadata: true })
  await register('/b', { ...served, resource: 'https://mcp.example/b/mcp', scopes: ['b'] })
  for (const name of ['a', 'b']) {
    t.match(JSON.parse((await send(app, `${WELL_KNOWN}/${name}/mcp`)).text), { resource: `https://mcp.example/${name}/mcp`, scopes_supported: [name] })
    const { headers } = await send(app, `/${name}/mcp`, { method: 'POST', body: PING })
    t.equal(headers['www-authenticate'], `Bearer scope="${name}", resource_metadata="https://mcp.example${WELL_KNOWN}/${name}/mcp"`)
  }
  t.match(JSON.parse((await send(app, WELL_KNOWN)).text), { resource: 'https://mcp.example/a/mcp' })
})

t.test('two servers that would answer with different metadata at one place end the boot', async t => {
  const cases: [AuthOptions, AuthOptions][] = [
    [served, served],
    [{ ...served, rootMetadata: true }, { ...served, resource: 'https://mcp.example/b', rootMetadata: true }]
  ]
  for (const pair of cases) {
    const app = Fastify()
    t.after(() => app.close().catch(() => {}))
    for (const [index, auth] of pair.entries()) app.register(async scope => { await scope.register(mcp, { prefix: `/${index}`, auth }) })
    await t.rejects(Promise.resolve(app.ready()), { code: 'FST_MCP_OPTION_INVALID', message: /`auth\.resource` must differ between servers.*is taken$/ })
  }
})

t.test('in a scope with a prefix the boot warns, and challenges name the URL that is served', async t => {
  const logs: { level: number, msg: string, url?: string }[] = []
  const logger: FastifyServerOptions['logger'] = { level: 'warn', stream: { write: (line: string) => { logs.push(JSON.parse(line)) } } }
  const app = Fastify({ logger })
  t.after(() => app.close())
  await app.register(async scope => { await scope.register(mcp, { auth: { ...served, resource: 'https://mcp.example/api/mcp' } }) }, { prefix: '/api' })
  const path = `/api${WELL_KNOWN}/api/mcp`
  t.match(logs, [{ level: 40, msg: /out of reach/, url: `https://mcp.example${path}` }])
  t.equal(logs.length, 1)
  const { headers } = await send(app, '/api/mcp', { method: 'POST', body: PING })
  t.equal(headers['www-authenticate'], `Bearer resource_metadata="https://mcp.example${path}"`)
  t.match(JSON.parse((await send(app, path)).text), { resource: 'https://mcp.example/api/mcp' })
})

t.test('a host that has CORS of its own leaves the metadata open', async t => {
  const { default: cors } = await import('@fastify/cors')
  const app = Fastify()
  t.after(() => app.close())
  await app.register(cors, { origin: ['https://app.example'] })
  await app.register(mcp, { auth: served })
  const page = { origin: 'https://page.example' }
  t.equal((await send(app, `${WELL_KNOWN}/mcp`, { headers: page })).headers['access-control-allow-origin'], '*')
  const asked = await send(app, `${WELL_KNOWN}/mcp`, { method: 'OPTIONS', headers: { ...page, 'access-control-request-method': 'GET' } })
  t.match(asked, { status: 204, headers: { 'access-control-allow-origin': '*' } })
})

t.test('the metadata carry the security headers of the server, and give none to the routes of the app', async t => {
  const ours = { 'x-content-type-options': 'nosniff', 'content-security-policy': "default-src 'none';frame-ancestors 'none'" }
  const app = await createApp(t, { auth: served, prefix: '/api' }, { trustProxy: true })
  app.get('/own', () => 'own')
  const https = { headers: { 'x-forwarded-proto': 'https' } }
  const told = { ...ours, 'access-control-allow-origin': '*' }
  for (const method of ['GET', 'OPTIONS']) t.match((await send(app, `${WELL_KNOWN}/mcp`, { method, ...https })).headers, { ...told, 'strict-transport-security': 'max-age=31536000' })
  t.notOk('strict-transport-security' in (await send(app, `${WELL_KNOWN}/mcp`)).headers, 'over http')
  const { headers } = await send(app, '/own', https)
  for (const name of [...Object.keys(told), 'strict-transport-security']) t.notOk(name in headers, name)
  const bare = await createApp(t, { auth: served, helmet: false })
  for (const name of Object.keys(ours)) t.notOk(name in (await send(bare, `${WELL_KNOWN}/mcp`)).headers, name)
})

t.test('where the host has helmet the metadata follow what `helmet` says of it', async t => {
  const { default: helmet } = await import('@fastify/helmet')
  const app = Fastify()
  t.after(() => app.close())
  await app.register(helmet)
  await app.register(mcp, { auth: served, helmet: { xFrameOptions: { action: 'deny' } } })
  t.match((await send(app, `${WELL_KNOWN}/mcp`)).headers, { 'x-frame-options': 'DENY', 'access-control-allow-origin': '*' })
})

t.test('options that do not fit together are refused', async t => {
  const bad: [auth: object, message: RegExp][] = [
    [{ tokens, resource: RESOURCE }, /`resource` and `authorizationServers` together/],
    [{ tokens, authorizationServers: ['https://login.example'] }, /`resource` and `authorizationServers` together/],
    [{ tokens, rootMetadata: true }, /needs `resource` for `rootMetadata`/],
    [{ ...served, resource: 'https://user:hunter2@mcp.example/' }, /`auth\.resource` .*got a text that may hold a secret$/],
    [{ ...served, tokens: undefined }, /needs `tokens` or `verify`/]
  ]
  for (const [auth, message] of bad) {
    await t.rejects(createApp(t, { auth: auth as AuthOptions }), { code: 'FST_MCP_OPTION_INVALID', message })
  }
})

t.test('who was granted what every request needs is served', async t => {
  const app = await createApp(t, { auth: { ...served, scopes: ['docs:read'] } })
  const client = new StatelessClient(app, { headers: { authorization: 'Bearer reader' } })
  t.match(await client.request('tools/list'), { result: { tools: [] } })
})
