// What a principal must have been granted: by each era, for each kind of offer, before anything has begun.
import type { FastifyInstance } from 'fastify'
import Fastify from 'fastify'
import mcp, { type AuthOptions, errorCodes, type McpOptions, type Principal } from 'fastify-mcp-sse'
import t, { type Test } from 'tap'
import { type Client as AnyClient, Client, createApp, listen, type Reply, REVISIONS, SseClient, StatelessClient } from './client.ts'

const METADATA = 'https://mcp.example/.well-known/oauth-protected-resource/mcp'
const tokens = [
  { token: 'reader', principal: 'ada', scopes: ['mcp', 'docs:read'] },
  { token: 'writer', principal: 'ada', scopes: ['mcp', 'docs:read', 'docs:write'] },
  { token: 'admin', principal: 'root', scopes: ['mcp', 'docs:admin'] }
]
const auth = { tokens, scopes: ['mcp'], resource: 'https://mcp.example/mcp', authorizationServers: ['https://login.example'] } satisfies AuthOptions
const as = (token: string) => ({ headers: { authorization: `Bearer ${token}` } })

interface Served {
  app: FastifyInstance
  ran: string[]
}

async function serve (t: Test, options: McpOptions = {}): Promise<Served> {
  const app = await createApp(t, { auth, ...options })
  const ran: string[] = []
  const run = (what: string) => {
    ran.push(what)
    return what
  }
  const scopes = ['docs:read', 'docs:write']
  app.mcp.tool('free', {}, () => run('free'))
  app.mcp.tool('write', { scopes }, async function * () {
    yield run('write')
  })
  app.mcp.tool('hidden', { scopes, visible: () => false }, () => run('hidden'))
  app.mcp.tool('disabled', { scopes, enabled: false }, () => run('disabled'))
  const input = { type: 'object', properties: { about: { type: 'string' } } } as const
  app.mcp.prompt('draft', { scopes, input, complete: { about: () => [run('complete')] } }, () => run('draft'))
  app.mcp.resource('docs://secret', { scopes }, () => run('secret'))
  app.mcp.resource('docs://pages/{page}', { scopes, complete: { page: () => [run('complete')] } }, () => run('page'))
  app.mcp.resource('docs://free', {}, () => run('read'))
  return { app, ran }
}

const CHALLENGE = `Bearer error="insufficient_scope", scope="mcp docs:read docs:write", resource_metadata="${METADATA}"`
const REFUSED = { code: 'FST_MCP_SCOPE_INSUFFICIENT', scopes: ['mcp', 'docs:read', 'docs:write'] }

function refused (t: Test, { status, headers, messages }: Reply, id: unknown, name: string, code = -32000): void {
  t.equal(status, 403, name)
  t.equal(headers['www-authenticate'], CHALLENGE, name)
  t.match(headers['content-type'], /^application\/json/, name)
  t.strictSame(messages, [{ jsonrpc: '2.0', ...(id !== undefined && { id }), error: { code, message: 'The token lacks the scope docs:write', data: REFUSED } }], name)
}

/** Everything that needs the scopes. */
const needy: [method: string, params: object][] = [
  ['tools/call', { name: 'write', arguments: {} }],
  ['prompts/get', { name: 'draft' }],
  ['resources/read', { uri: 'docs://secret' }],
  ['resources/read', { uri: 'docs://pages/1' }],
  ['completion/complete', { ref: { type: 'ref/prompt', name: 'draft' }, argument: { name: 'about', value: '' } }],
  ['completion/complete', { ref: { type: 'ref/resource', uri: 'docs://pages/{page}' }, argument: { name: 'page', value: '' } }]
]
const subscribe: [method: string, params: object] = ['resources/subscribe', { uri: 'docs://secret' }]

type Connect = (app: FastifyInstance, token: string) => Promise<AnyClient>

const eras: Record<string, Connect> = {
  ...Object.fromEntries(REVISIONS.slice(1).map((revision): [string, Connect] => {
    return [revision, (app, token) => Client.connect(app, { revision, ...as(token) })]
  })),
  '2026-07-28': async (app, token) => new StatelessClient(app, as(token))
}

for (const [revision, connect] of Object.entries(eras)) {
  t.test(`at ${revision} a call without its scopes is refused with a challenge, before anything of it has begun`, async t => {
    const { app, ran } = await serve(t)
    const isStateless = revision === '2026-07-28'
    const [reader, writer] = [await connect(app, 'reader'), await connect(app, 'writer')]
    for (const [method, params] of isStateless ? needy : [...needy, subscribe]) {
      for (const id of [7, 'x']) {
        refused(t, await reader.post({ jsonrpc: '2.0', id, method, params }), id, method, isStateless ? -32600 : -32000)
      }
      t.notOk((await writer.request(method, params)).error, method)
    }
    t.strictSame(ran, ['write', 'draft', 'secret', 'page', 'complete', 'complete'])
    t.match(await reader.call('free'), { result: { content: [{ text: 'free' }] } })
    t.match(await reader.request('resources/read', { uri: 'docs://free' }), { result: {} })
    t.match(app.mcp.stats(), { calls: 0, streams: 0 })
  })

  t.test(`at ${revision} what needs scopes is listed, without them, and what is hidden does not tell by them`, async t => {
    const { app, ran } = await serve(t)
    const reader = await connect(app, 'reader')
    const { result } = await reader.request('tools/list')
    t.strictSame(result.tools.map(({ name }: { name: string }) => name), ['free', 'write'])
    t.notOk(result.tools.some((tool: object) => 'scopes' in tool))
    for (const name of ['hidden', 'disabled', 'missing']) {
      t.match(await reader.call(name), { error: { message: `Tool "${name}" is not known` } })
    }
    for (const [method, params] of [
      ['tools/call', {}],
      ['prompts/get', {}], ['prompts/get', { name: 'missing' }], ['resources/read', {}],
      ['resources/read', { uri: 'docs://missing' }],
      ['completion/complete', {}], ['completion/complete', { ref: { type: 'ref/resource' } }], ['completion/complete', { ref: { type: 'ref/prompt' } }]
    ] as const) {
      t.not((await reader.request(method, params)).error?.data.code, REFUSED.code, `${method} ${JSON.stringify(params)}`)
    }
    t.strictSame(ran, [])
  })
}

t.test('without sessions scopes hold too', async t => {
  const { app } = await serve(t, { sessions: false })
  for (const revision of REVISIONS.slice(1)) {
    const client = await Client.connect(app, { revision, ...as('reader') })
    refused(t, await client.post({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'write' } }), 1, revision)
  }
})

t.test('over HTTP+SSE the POST itself is refused, and nothing of it reaches the stream', async t => {
  const { app, ran } = await serve(t)
  const reader = await SseClient.connect(app, as('reader'))
  const seen = reader.stream.messages.length
  for (const [method, params] of [...needy, subscribe]) {
    refused(t, await reader.post({ jsonrpc: '2.0', id: 'x', method, params }), 'x', method)
  }
  t.match(await reader.call('hidden'), { error: { data: { code: 'FST_MCP_TOOL_UNKNOWN' } } })
  t.match(await reader.call('free'), { result: { content: [{ text: 'free' }] } })
  t.equal(reader.stream.messages.length, seen + 2)
  t.strictSame(ran, ['free'])
  const writer = await SseClient.connect(app, as('writer'))
  t.match(await writer.call('write'), { result: { content: [{ text: 'write' }] } })
  await Promise.all([reader.close(), writer.close()])
})

t.test('one call of a batch that lacks a scope refuses the whole batch', async t => {
  const { app, ran } = await serve(t)
  const reader = await Client.connect(app, { revision: '2025-03-26', ...as('reader') })
  const call = (id: number, name: string) => ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name } })
  refused(t, await reader.post([{ jsonrpc: '2.0', method: 'notifications/x' }, call(1, 'free'), call(2, 'write')]), null, 'a batch')
  t.strictSame(ran, [])
})

t.test('a subscription of 2026-07-28 needs the scopes of all that it names', async t => {
  const { app } = await serve(t, { subscriptions: { uris: 2 } })
  const listen = (id: number, notifications: unknown) => ({ jsonrpc: '2.0', id, method: 'subscriptions/listen', params: { notifications } })
  const reader = new StatelessClient(app, as('reader'))
  for (const uri of ['docs://secret', 'docs://pages/1']) {
    refused(t, await reader.post(listen(1, { resourceSubscriptions: ['docs://free', uri] })), 1, uri, -32600)
  }
  t.match(await reader.post(listen(1, { resourceSubscriptions: ['docs://secret', 'a:b', 'a:c'] })), { status: 429 }, 'too many are not looked at')
  for (const notifications of [undefined, { resourceSubscriptions: 'docs://secret' }, { resourceSubscriptions: [7] }]) {
    t.match((await reader.post(listen(1, notifications))).messages, [{ error: { data: { code: 'FST_MCP_PARAMS_INVALID' } } }])
  }
  for (const [client, uri] of [[reader, 'docs://free'], [new StatelessClient(app, as('writer')), 'docs://secret']] as const) {
    const stream = await client.stream(listen(1, { resourceSubscriptions: [uri] }))
    t.match(await stream.message(), { method: 'notifications/subscriptions/acknowledged', params: { notifications: { resourceSubscriptions: [uri] } } })
    await stream.close()
  }
})

/** What a hook or a handler may throw by itself. */
function lacking (...scopes: string[]): Error {
  return Object.assign(new errorCodes.FST_MCP_SCOPE_INSUFFICIENT(scopes.join(' ')), { data: { scopes } })
}

for (const [revision, connect] of Object.entries(eras)) {
  t.test(`at ${revision} a hook or a reader that finds a scope missing challenges too, as long as nothing was sent`, async t => {
    const { app } = await serve(t)
    app.mcp.resource('docs://own', {}, () => { throw lacking('docs:own') })
    app.mcp.tool('late', {}, async function * () {
      yield 'one'
      yield 'two'
    })
    const client = await connect(app, 'writer')
    const post = (method: string, params: object) => client.post({ jsonrpc: '2.0', id: 7, method, params })
    const challenge = (scope: string) => ({
      status: 403,
      headers: { 'www-authenticate': `Bearer error="insufficient_scope", scope="${scope}", resource_metadata="${METADATA}"`, 'content-type': /^application\/json/ },
      messages: [{ id: 7, error: { message: `The token lacks the scope ${scope}`, data: { code: 'FST_MCP_SCOPE_INSUFFICIENT', scopes: [scope] } } }]
    })
    t.match(await post('resources/read', { uri: 'docs://own' }), challenge('docs:own'))

    const undo = app.mcp.use({ async onCall ({ target }) { if (target === 'free') throw lacking('docs:free') } })
    t.match(await post('tools/call', { name: 'free' }), challenge('docs:free'))
    t.match(await post('tools/call', { name: 'write' }), { status: 200 })
    undo()

    app.mcp.use({ onResult () { throw lacking('docs:late') } })
    const streamed = await post('tools/call', { name: 'late', _meta: { progressToken: 1 } })
    t.match(streamed, { status: 200, headers: { 'content-type': 'text/event-stream', 'www-authenticate': undefined } })
    t.match(streamed.messages.at(-1), { id: 7, error: { data: { code: 'FST_MCP_SCOPE_INSUFFICIENT' } } }, 'what has begun tells it inside')
  })
}

t.test('in a batch, and over HTTP+SSE, a hook that finds a scope missing is told inside the response', async t => {
  const { app } = await serve(t)
  app.mcp.use({ onCall ({ target }) { if (target === 'free') throw lacking('docs:free') } })
  const batch = await Client.connect(app, { revision: '2025-03-26', ...as('writer') })
  const call = (id: number, name: string) => ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name } })
  const reply = await batch.post([call(1, 'free'), call(2, 'write')])
  t.match(reply, { status: 200, headers: { 'www-authenticate': undefined } })
  t.match(reply.messages.find(({ id }) => id === 1), { error: { data: { code: 'FST_MCP_SCOPE_INSUFFICIENT' } } })
  t.match(reply.messages.find(({ id }) => id === 2), { result: {} })
  const sse = await SseClient.connect(await listen(app), as('writer'))
  t.match(await sse.call('free'), { error: { data: { code: 'FST_MCP_SCOPE_INSUFFICIENT', scopes: ['docs:free'] } } })
  await sse.close()
})

t.test('each request is judged by the token that it brings, in one session too', async t => {
  const { app } = await serve(t)
  const client = await Client.connect(app, as('writer'))
  const call = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'write' } }
  t.equal((await client.post(call)).status, 200)
  refused(t, await client.post(call, as('reader').headers), 1, 'the same principal with less')
  t.equal((await client.post(call)).status, 200)
})

t.test('who subscribed to what needs scopes hears of it as long as the token that came last has them', async t => {
  const { app } = await serve(t)
  const url = await listen(app)
  const client = await Client.connect(url, as('writer'))
  for (const uri of ['docs://secret', 'docs://pages/1', 'docs://free']) t.match(await client.request('resources/subscribe', { uri }), { result: {} })
  const stream = await client.get()
  const sse = await SseClient.connect(url, as('writer'))
  t.match(await sse.request('resources/subscribe', { uri: 'docs://secret' }), { result: {} })
  const ping = { jsonrpc: '2.0', id: 'ping', method: 'ping' }
  const tell = (...uris: string[]) => uris.forEach(uri => app.mcp.resourceUpdated(uri))

  tell('docs://secret')
  for (const heard of [stream, sse.stream]) t.match(await heard.message(({ method }) => method !== undefined), { params: { uri: 'docs://secret' } })
  await client.post(ping, as('reader').headers)
  await sse.post(ping, as('reader').headers)
  tell('docs://secret', 'docs://pages/1', 'docs://free')
  t.match(await stream.message(), { params: { uri: 'docs://free' } }, 'what needs no scopes is still told')
  await client.post(ping)
  tell('docs://pages/1')
  t.match(await stream.message(), { params: { uri: 'docs://pages/1' } }, 'and the scopes came back')
  t.equal(sse.stream.messages.filter(({ method }) => method === 'notifications/resources/updated').length, 1)
  await stream.close()
  await sse.close()
})

t.test('a hierarchy that fails lets nobody hear, and breaks nothing for who tells', async t => {
  let isBroken = false
  const hierarchy = (): boolean => {
    if (isBroken) throw new TypeError('the hierarchy')
    return true
  }
  const logs: { level: number, msg: string }[] = []
  const app = await createApp(t, { auth: { ...auth, hierarchy } }, { logger: { level: 'error', stream: { write: line => { logs.push(JSON.parse(line)) } } } })
  for (const uri of ['docs://secret', 'docs://free']) app.mcp.resource(uri, uri === 'docs://free' ? {} : { scopes: ['docs:other'] }, () => uri)
  const client = await Client.connect(await listen(app), as('reader'))
  for (const uri of ['docs://secret', 'docs://free']) t.match(await client.request('resources/subscribe', { uri }), { result: {} })
  const stream = await client.get()
  isBroken = true
  app.mcp.resourceUpdated('docs://secret')
  app.mcp.resourceUpdated('docs://free')
  t.match(await stream.message(), { params: { uri: 'docs://free' } })
  t.match(logs, [{ level: 50, msg: '`auth.hierarchy` failed, and so nobody was told of an update' }])
  await stream.close()
})

t.test('a granted scope covers what the hierarchy says, for the server and for its tools', async t => {
  const asked: string[] = []
  const hierarchy = (granted: string, needed: string): boolean => {
    asked.push(`${granted} ${needed}`)
    return granted === 'docs:admin' && needed.startsWith('docs:')
  }
  const { app, ran } = await serve(t, { auth: { ...auth, hierarchy } })
  t.match(await new StatelessClient(app, as('admin')).call('write'), { result: { content: [{ text: 'write' }] } })
  t.ok(asked.includes('docs:admin docs:write'))
  t.notOk(asked.includes('mcp mcp'), 'each covers itself')
  refused(t, await new StatelessClient(app, as('reader')).post({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'write' } }), 1, 'reader', -32600)
  t.strictSame(ran, ['write'])
  const flat = await serve(t)
  t.match((await new StatelessClient(flat.app, as('admin')).call('write')).error, { message: 'The token lacks the scope docs:read docs:write' })
  const above = await createApp(t, { auth: { ...auth, scopes: ['docs:list'], hierarchy } })
  t.ok((await new StatelessClient(above, as('admin')).request('tools/list')).result)
  t.equal((await new StatelessClient(above, as('reader')).post({})).status, 403)
})

t.test('a hierarchy that fails lets nobody in', async t => {
  const wrong: unknown[] = [() => { throw new TypeError('no') }, () => 'yes', async () => true, async () => { throw new TypeError('no') }]
  for (const hierarchy of wrong) {
    const { app, ran } = await serve(t, { auth: { ...auth, hierarchy: hierarchy as () => boolean } })
    const reader = new StatelessClient(app, as('reader'))
    t.match(await reader.post({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'write' } }), {
      status: 500, messages: [{ id: 1, error: { message: 'Internal error', data: { code: 'FST_MCP_INTERNAL' } } }]
    })
    t.strictSame(ran, [])
  }
})

t.test('scopes that are no list are none, and a verifier may take its time', async t => {
  for (const scopes of [undefined, 'mcp docs:read docs:write', null]) {
    const verify = async () => ({ id: 'ada', scopes }) as Principal
    const { app } = await serve(t, { auth: { ...auth, verify } })
    t.match(await new StatelessClient(app, as('other')).post({}), { status: 403, headers: { 'www-authenticate': /error="insufficient_scope", scope="mcp"/ } })
  }
  const { app } = await serve(t, { auth: { verify: async () => ({ id: 'ada', scopes: ['docs:read', 'docs:write'] }) } })
  t.ok((await new StatelessClient(app, as('other')).call('write')).result)
})

t.test('what needs scopes is never shared between users', async t => {
  const { app } = await serve(t, { cache: { ttl: 5, scope: 'public' } })
  const writer = new StatelessClient(app, as('writer'))
  t.match(await writer.request('resources/read', { uri: 'docs://free' }), { result: { cacheScope: 'public' } })
  for (const uri of ['docs://secret', 'docs://pages/1']) t.match(await writer.request('resources/read', { uri }), { result: { cacheScope: 'private' } }, uri)
  t.match(await writer.request('resources/templates/list'), { result: { cacheScope: 'public' } }, 'everybody is listed the same')
})

t.test('servers of one app ask for their own scopes', async t => {
  const app = Fastify()
  t.after(() => app.close())
  for (const [name, scope] of [['a', 'docs:read'], ['b', 'docs:write']] as const) {
    await app.register(async server => {
      await server.register(mcp, { prefix: `/${name}`, auth: { tokens } })
      server.mcp.tool('same', { scopes: [scope] }, () => name)
    })
  }
  const reader = (name: string): StatelessClient => new StatelessClient(app, { path: `/${name}/mcp`, ...as('reader') })
  t.match(await reader('a').call('same'), { result: { content: [{ text: 'a' }] } })
  const { headers } = await reader('b').post({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'same' } })
  t.equal(headers['www-authenticate'], 'Bearer error="insufficient_scope", scope="docs:write"')
})

t.test('scopes change with the definition', async t => {
  const app = await createApp(t, { auth: { tokens } })
  const client = new StatelessClient(app, as('reader'))
  const tool = app.mcp.tool('late', {}, () => 'done')
  t.ok((await client.call('late')).result)
  tool.update({ scopes: ['docs:write'] })
  t.match(await client.call('late'), { error: { data: { code: REFUSED.code, scopes: ['docs:write'] } } })
  t.throws(() => tool.update({ scopes: ['two words'] }), { code: 'FST_MCP_TOOL_INVALID' })
  t.match(await client.call('late'), { error: { data: { scopes: ['docs:write'] } } })
  tool.update({ scopes: [] })
  t.ok((await client.call('late')).result)
})

t.test('a list of scopes belongs to whoever gave it', async t => {
  const scopes = ['docs:write']
  const app = await createApp(t, { auth: { tokens } })
  app.mcp.tool('own', { scopes }, () => 'done')
  scopes.pop()
  t.match(await new StatelessClient(app, as('reader')).call('own'), { error: { data: { scopes: ['docs:write'] } } })
})

t.test('on an open server nothing may need scopes', async t => {
  for (const open of [undefined, false] as const) {
    const app = await createApp(t, { auth: open })
    const message = /`scopes` needs the option `auth`: without it nobody has any$/
    t.throws(() => app.mcp.tool('a', { scopes: ['x'] }, () => 'a'), { code: 'FST_MCP_TOOL_INVALID', message })
    t.throws(() => app.mcp.prompt('a', { scopes: ['x'] }, () => 'a'), { code: 'FST_MCP_PROMPT_INVALID', message })
    t.throws(() => app.mcp.resource('a:b', { scopes: ['x'] }, () => 'a'), { code: 'FST_MCP_RESOURCE_INVALID', message })
    t.throws(() => app.mcp.resource('a:{b}', { scopes: ['x'] }, () => 'a'), { code: 'FST_MCP_RESOURCE_INVALID', message })
    const tool = app.mcp.tool('a', { scopes: [] }, () => 'a')
    t.throws(() => tool.update({ scopes: ['x'] }), { message })
    t.match(await new StatelessClient(app).call('a'), { result: { content: [{ text: 'a' }] } })
  }
})

t.test('scopes that a challenge could not name are refused with the definition', async t => {
  const app = await createApp(t, { auth: { tokens } })
  for (const scopes of ['docs', [''], ['a b'], ['a"'], ['a\\'], ['a\r\n'], ['é'], [7], ['offline_access'], {}, null]) {
    const register = (): unknown => app.mcp.tool('wrong', { scopes: scopes as string[] }, () => '')
    t.throws(register, { code: 'FST_MCP_TOOL_INVALID', message: /`scopes` must be an array of scopes \(RFC 6749\)/ }, JSON.stringify(scopes))
  }
})
