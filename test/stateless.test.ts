// Revision 2026-07-28: every request stands for itself. What it must bring, what it is answered, and what is never kept of it.
import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import Fastify, { type FastifyInstance } from 'fastify'
import mcp, { McpError, type McpOptions, ToolError } from 'fastify-mcp-sse'
import t, { type Test } from 'tap'
import { z } from 'zod'
import {
  ACCEPT, Client, createApp, envelope, EventStream, listen, mirrors, type Reply, REVISIONS, send, SseClient, STATELESS, StatelessClient,
  type Target, until
} from './client.ts'
import { gate } from './sockets.ts'

const PREFIX = 'io.modelcontextprotocol/'
const SERVER_INFO = { [`${PREFIX}serverInfo`]: { name: 'test', version: '1.0.0' } }

interface Ask {
  method?: string
  params?: Record<string, unknown>
  /** In place of the envelope. */
  meta?: unknown
  /** Beside what a good request has; an undefined one is left out. */
  headers?: Record<string, string | undefined>
  /** In place of the whole body. */
  body?: unknown
  id?: unknown
}

/** POSTs one request that is right but for what a test says. */
function ask (target: Target, { method = 'tools/list', params, meta = envelope(), headers, id = 1, body }: Ask, path = '/mcp'): Promise<Reply> {
  const all = { accept: ACCEPT, ...mirrors({ method, params }), ...headers }
  const sent = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as Record<string, string>
  return send(target, path, { method: 'POST', headers: sent, body: body ?? { jsonrpc: '2.0', id, method, params: { ...params, _meta: meta } } })
}

const callOf = (name: unknown, args?: object): Ask => ({ method: 'tools/call', params: { name, ...(args && { arguments: args }) } })

/** Everything that can go wrong, and what goes well. */
async function createFull (t: Test, options: McpOptions = {}): Promise<FastifyInstance> {
  const app = await createApp(t, options)
  app.mcp.tool('echo', { input: z.object({ text: z.string() }) }, ({ text }) => text)
  app.mcp.tool('fails', {}, () => { throw new ToolError('not today') })
  app.mcp.tool('breaks', {}, () => { throw new Error('secret') })
  app.mcp.tool('own', {}, () => { throw new McpError(7, 'mine', { more: true }) })
  app.mcp.tool('asks', {}, async (_args, { ask }) => String((await ask('size', 'Which?', z.object({ size: z.string() }))).action))
  app.mcp.tool('samples', {}, async (_args, { sample }) => String(await sample('x', { messages: [], maxTokens: 1 })))
  app.mcp.tool('roots', {}, async (_args, { roots }) => String(await roots('x')))
  app.mcp.resource('file:///a', {}, () => 'A')
  app.mcp.resource('file:///broken', {}, () => { throw new Error('secret') })
  app.mcp.resource('file:///größe', {}, () => 'G')
  app.mcp.prompt('greet', { input: z.object({ who: z.string() }) }, ({ who }) => `Hello ${who}`)
  app.mcp.prompt('broken', {}, () => { throw new Error('secret') })
  return app
}

const encoded = (text: string): string => `=?base64?${Buffer.from(text).toString('base64')}?=`

interface Row extends Ask {
  what: string
  status: number
  /** Undefined: there is a result. */
  code?: number
  data?: Record<string, unknown>
  /** Part of the result. */
  result?: Record<string, unknown>
  /** Null: the error names none. */
  echoes?: null
}

const MISMATCH = { status: 400, code: -32020, data: { code: 'FST_MCP_HEADER_MISMATCH' } }
const ENVELOPE = { status: 400, code: -32602, data: { code: 'FST_MCP_ENVELOPE_INVALID' } }
const NO_METHOD = { status: 404, code: -32601, data: { code: 'FST_MCP_METHOD_NOT_FOUND' } }
const READ = { method: 'resources/read', params: { uri: 'file:///a' } }
const GET = { method: 'prompts/get', params: { name: 'greet', arguments: { who: 'x' } } }

const table: Row[] = [
  // Headers
  { what: 'no version header', headers: { 'mcp-protocol-version': undefined }, ...MISMATCH },
  { what: 'another version header', headers: { 'mcp-protocol-version': '2025-11-25' }, ...MISMATCH },
  { what: 'no Mcp-Method', headers: { 'mcp-method': undefined }, ...MISMATCH },
  { what: 'another Mcp-Method', headers: { 'mcp-method': 'tools/call' }, ...MISMATCH },
  { what: 'Mcp-Method in other case', headers: { 'mcp-method': 'Tools/List' }, ...MISMATCH },
  { what: 'Mcp-Method with a character that no field may hold', headers: { 'mcp-method': 'tools/list\u00e9' }, ...MISMATCH },
  { what: 'Mcp-Method with whitespace around it', headers: { 'mcp-method': ' tools/list\t' }, status: 200, result: { tools: Array } },
  { what: 'Mcp-Method in base64', headers: { 'mcp-method': encoded('tools/list') }, ...MISMATCH },
  { what: 'no Mcp-Name of a tool', ...callOf('echo', { text: 'x' }), headers: { 'mcp-name': undefined }, ...MISMATCH },
  { what: 'another Mcp-Name of a tool', ...callOf('echo', { text: 'x' }), headers: { 'mcp-name': 'fails' }, ...MISMATCH },
  { what: 'no Mcp-Name of a resource', ...READ, headers: { 'mcp-name': undefined }, ...MISMATCH },
  { what: 'another Mcp-Name of a resource', ...READ, headers: { 'mcp-name': 'file:///A' }, ...MISMATCH },
  { what: 'no Mcp-Name of a prompt', ...GET, headers: { 'mcp-name': undefined }, ...MISMATCH },
  { what: 'another Mcp-Name of a prompt', ...GET, headers: { 'mcp-name': 'x' }, ...MISMATCH },
  { what: 'Mcp-Name in bad base64', ...callOf('echo', { text: 'x' }), headers: { 'mcp-name': '=?base64?ZWNobw?=' }, ...MISMATCH },
  { what: 'Mcp-Name in base64', ...callOf('echo', { text: 'x' }), headers: { 'mcp-name': encoded('echo') }, status: 200, result: { content: [{ text: 'x' }] } },
  { what: 'Mcp-Name that only base64 can say', method: 'resources/read', params: { uri: 'file:///größe' }, headers: { 'mcp-name': encoded('file:///größe') }, status: 200, result: { contents: [{ text: 'G' }] } },
  { what: 'Mcp-Name where none is needed', headers: { 'mcp-name': 'whatever' }, status: 200, result: { tools: Array } },

  // The envelope
  { what: 'no `_meta`', meta: undefined, body: { jsonrpc: '2.0', id: 1, method: 'tools/list' }, ...ENVELOPE },
  { what: 'no version in `_meta`', meta: { [`${PREFIX}clientCapabilities`]: {} }, ...ENVELOPE },
  { what: 'no capabilities in `_meta`', meta: { [`${PREFIX}protocolVersion`]: STATELESS }, ...ENVELOPE },
  { what: 'capabilities that are none', meta: envelope({ clientCapabilities: [] }), ...ENVELOPE },
  { what: 'a log level that is none', meta: envelope({ logLevel: 'loud' }), ...ENVELOPE },
  { what: 'client info that is none', meta: envelope({ clientInfo: 'me' }), ...ENVELOPE },
  { what: 'no client info', meta: envelope(), status: 200, result: { tools: Array } },
  { what: 'a version that is not served yet', meta: envelope({ protocolVersion: '2027-01-01' }), headers: { 'mcp-protocol-version': '2027-01-01' }, status: 400, code: -32022, data: { code: 'FST_MCP_ENVELOPE_REVISION', supported: [STATELESS], requested: '2027-01-01' } },
  { what: 'a version of sessions', meta: envelope({ protocolVersion: '2025-11-25' }), headers: { 'mcp-protocol-version': '2025-11-25' }, status: 400, code: -32022, data: { supported: [STATELESS], requested: '2025-11-25' } },
  { what: '`initialize` with the header alone', method: 'initialize', meta: {}, ...MISMATCH },

  // Capabilities that the client did not declare
  { what: 'a form for a client that shows none', ...callOf('asks'), status: 400, code: -32021, data: { code: 'FST_MCP_CAPABILITY_REQUIRED', requiredCapabilities: { elicitation: { form: {} } } } },
  { what: 'a form for a client that shows pages alone', ...callOf('asks'), meta: envelope({ clientCapabilities: { elicitation: { url: {} } } }), status: 400, code: -32021, data: { requiredCapabilities: { elicitation: { form: {} } } } },
  { what: 'a model of a client that has none', ...callOf('samples'), status: 400, code: -32021, data: { requiredCapabilities: { sampling: {} } } },
  { what: 'folders of a client that has none', ...callOf('roots'), status: 400, code: -32021, data: { requiredCapabilities: { roots: {} } } },

  // Methods
  ...['nope', '', '__proto__', 'initialize', 'ping', 'logging/setLevel', 'resources/subscribe', 'resources/unsubscribe', 'tasks/result', 'tasks/list', 'tools/List',
    'notifications/cancelled', 'sampling/createMessage'
  ].map((method): Row => ({ what: `the method ${method}`, method, ...NO_METHOD })),

  // Params: told inside of the response
  { what: 'a tool that is unknown', ...callOf('nope'), status: 200, code: -32602, data: { code: 'FST_MCP_TOOL_UNKNOWN' } },
  { what: 'a tool without a name', ...callOf(7), status: 200, code: -32602, data: { code: 'FST_MCP_PARAMS_INVALID' } },
  { what: 'arguments that are none', method: 'tools/call', params: { name: 'echo', arguments: 'x' }, status: 200, code: -32602, data: { code: 'FST_MCP_PARAMS_INVALID' } },
  { what: 'a prompt that is unknown', method: 'prompts/get', params: { name: 'nope' }, status: 200, code: -32602, data: { code: 'FST_MCP_PROMPT_UNKNOWN' } },
  { what: 'a prompt without its argument', method: 'prompts/get', params: { name: 'greet' }, status: 200, code: -32602, data: { code: 'FST_MCP_PROMPT_INPUT_INVALID' } },
  { what: 'a resource that is unknown', method: 'resources/read', params: { uri: 'file:///nope' }, status: 200, code: -32602, data: { code: 'FST_MCP_RESOURCE_UNKNOWN', uri: 'file:///nope' } },
  { what: 'a URI that is none', method: 'resources/read', params: { uri: 'nope' }, status: 200, code: -32602, data: { code: 'FST_MCP_URI_INVALID' } },
  ...['tools/list', 'prompts/list', 'resources/list', 'resources/templates/list'].map((method): Row =>
    ({ what: `a cursor that ${method} never issued`, method, params: { cursor: 'x' }, status: 200, code: -32602, data: { code: 'FST_MCP_CURSOR_INVALID' } })),

  // What handlers do
  { what: 'a tool that works', ...callOf('echo', { text: 'hi' }), status: 200, result: { resultType: 'complete', content: [{ type: 'text', text: 'hi' }], _meta: SERVER_INFO } },
  { what: 'arguments that do not fit', ...callOf('echo', { text: 7 }), status: 200, result: { resultType: 'complete', isError: true } },
  { what: 'a tool that fails', ...callOf('fails'), status: 200, result: { isError: true, content: [{ text: 'not today' }] } },
  { what: 'a tool that breaks', ...callOf('breaks'), status: 200, result: { isError: true, content: [{ text: /^Tool "breaks" failed/ }] } },
  { what: 'an error of the tool\'s own', ...callOf('own'), status: 200, code: 7, data: { more: true } },
  { what: 'a reader that breaks', method: 'resources/read', params: { uri: 'file:///broken' }, status: 200, code: -32603, data: { code: 'FST_MCP_HANDLER_FAILED' } },
  { what: 'a prompt that breaks', method: 'prompts/get', params: { name: 'broken' }, status: 200, code: -32603, data: { code: 'FST_MCP_HANDLER_FAILED' } },

  // What is no request at all
  { what: 'half a body', body: '{"jsonrpc":"2.0","id":1,', status: 400, code: -32700, echoes: null, data: { code: 'FST_MCP_PARSE' } },
  { what: 'a batch', body: [{ jsonrpc: '2.0', id: 1, method: 'tools/list', params: { _meta: envelope() } }], status: 400, code: -32600, echoes: null, data: { code: 'FST_MCP_BATCH_UNSUPPORTED' } },
  { what: 'an id null', id: null, status: 400, code: -32600, echoes: null, data: { code: 'FST_MCP_ID_INVALID' } },
  { what: 'an id 1.5', id: 1.5, status: 400, code: -32600, echoes: null, data: { code: 'FST_MCP_ID_INVALID' } },
  { what: 'an id without end', id: 'x'.repeat(257), status: 400, code: -32600, echoes: null, data: { code: 'FST_MCP_ID_INVALID' } },
  { what: 'the prototype of everything', body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"__proto__":{"text":"x"}},"_meta":${JSON.stringify(envelope())}}}`, echoes: null, status: 400, code: -32600, data: { code: 'FST_MCP_KEY_FORBIDDEN' } },
  { what: 'a prototype in the envelope', body: `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"__proto__":${JSON.stringify(envelope())}}}}`, echoes: null, status: 400, code: -32600, data: { code: 'FST_MCP_KEY_FORBIDDEN' } },
  { what: 'a body without a floor', body: `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":${'['.repeat(70)}${']'.repeat(70)}}}`, echoes: null, status: 400, code: -32600, data: { code: 'FST_MCP_TOO_DEEP' } },
  { what: 'a media type that is not JSON', headers: { 'content-type': 'text/plain' }, echoes: null, status: 415, code: -32600, data: { code: 'FST_MCP_MEDIA_TYPE_UNSUPPORTED' } },
  { what: 'a body without end', body: `"${'x'.repeat(70_000)}"`, echoes: null, status: 413, code: -32600, data: { code: 'FST_MCP_BODY_TOO_LARGE' } },
  { what: 'a page of another origin', headers: { origin: 'https://evil.example' }, echoes: null, status: 403, code: -32600, data: { code: 'FST_MCP_ORIGIN_FORBIDDEN' } },
  { what: 'an Accept that takes neither form', headers: { accept: 'text/html' }, status: 406, code: -32600, data: { code: 'FST_MCP_NOT_ACCEPTABLE' } }
]

t.test('each thing that a request can be is answered with its status and its code', async t => {
  const app = await createFull(t, { limits: { body: 65_536 } })
  const url = await listen(app)
  for (const { what, status, code, data, result, echoes, ...asked } of table) {
    const ids = 'id' in asked || 'body' in asked ? [asked.id === undefined ? 1 : asked.id] : [1, 'one', 0, '']
    for (const [way, target] of [['inject', app], ['socket', url]] as const) {
      for (const id of ids) {
        const { status: got, messages, headers } = await ask(target, { ...asked, id })
        const name = `${what}, id ${JSON.stringify(id)?.slice(0, 20)}, over ${way}`
        t.equal(got, status, name)
        t.equal(messages.length, 1, 'one answer')
        const [answer] = messages
        t.equal(answer?.id, echoes === null ? undefined : id, 'its id')
        if (code === undefined) t.match(answer?.result, { resultType: 'complete', ...result, _meta: SERVER_INFO }, name)
        else t.match(answer?.error, { code, ...(data && { data }) }, name)
        t.notOk(JSON.stringify(messages).includes('secret'), 'what broke is for the log alone')
        t.notOk('mcp-session-id' in headers, 'no session')
      }
    }
  }
  t.match(app.mcp.stats(), { sessions: 0, streams: 0, queued: 0, calls: 0, subscriptions: 0, questions: 0, abandoned: 0 })
})

t.test('whoever does not say who it is learns how to', async t => {
  const app = await createApp(t, { auth: { tokens: [{ token: 'good', principal: 'p' }] } })
  t.match(await ask(app, {}), { status: 401, headers: { 'www-authenticate': 'Bearer' }, messages: [{ id: undefined, error: { code: -32600, data: { code: 'FST_MCP_UNAUTHORIZED' } } }] })
  t.match(await ask(app, { headers: { authorization: 'Bearer bad' } }), { status: 401, headers: { 'www-authenticate': /invalid_token/ }, messages: [{ error: { data: { code: 'FST_MCP_TOKEN_INVALID' } } }] })
  t.match(await ask(app, { headers: { authorization: 'Bearer good' } }), { status: 200, messages: [{ result: { tools: [] } }] })
})

t.test('an error of a host\'s hook keeps its code', async t => {
  const app = await createApp(t)
  app.addHook('preHandler', async () => { throw new McpError(5, 'not on Sundays') })
  t.match(await ask(app, { id: 'x' }), { status: 400, messages: [{ error: { code: 5, message: 'not on Sundays' } }] })
})

t.test('a kind of offer that was never registered has no methods', async t => {
  const app = await createApp(t)
  for (const method of ['prompts/list', 'prompts/get', 'resources/list', 'resources/templates/list', 'resources/read', 'completion/complete']) {
    t.match(await ask(app, { method, params: { name: 'x', uri: 'x' }, headers: { 'mcp-name': 'x' } }), { status: 404, messages: [{ id: 1, error: { code: -32601 } }] }, method)
  }
  t.match(await ask(app, {}), { status: 200, messages: [{ result: { tools: [] } }] }, 'tools are always there')
})

t.test('there is nothing to GET and nothing to DELETE, even for the id of a session', async t => {
  for (const sessions of [undefined, false] as const) {
    const app = await createApp(t, { sessions })
    const headers = { accept: ACCEPT, 'mcp-protocol-version': STATELESS }
    const sessionId = sessions === false ? 'x' : (await Client.connect(app)).sessionId ?? ''
    for (const target of [app, await listen(app)]) {
      for (const method of ['GET', 'DELETE', 'PUT', 'PATCH', 'HEAD']) {
        for (const extra of [[], [['mcp-session-id', sessionId]], [['last-event-id', `${sessionId}_1`]]]) {
          const { status, headers: got } = await send(target, '/mcp', { method, headers: { ...headers, ...Object.fromEntries(extra) } })
          t.equal(status, 405, method)
          t.match(got.allow, ['GET', 'DELETE'].includes(method) ? /^POST$/ : /\bPOST\b/, 'Allow')
        }
      }
    }
    t.equal(app.mcp.stats().sessions, sessions === false ? 0 : 1, 'the session is untouched')
  }
})

t.test('session and event ids mean nothing to a request that stands for itself', async t => {
  const app = await createFull(t)
  const { sessionId = '' } = await Client.connect(app)
  const seen: unknown[] = []
  app.mcp.tool('who', {}, async function * (_args, { session, revision, request }) {
    yield 'streamed'
    seen.push(session, revision, request.mcp)
  })
  for (const extra of [{ 'mcp-session-id': sessionId }, { 'mcp-session-id': 'unknown' }, { 'last-event-id': `${sessionId}_1` }, { 'last-event-id': 'garbage' }]) {
    const reply = await ask(app, { method: 'tools/call', params: { name: 'who' }, meta: { ...envelope(), progressToken: 1 }, headers: extra })
    t.match(reply, { status: 200, headers: { 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' } })
    t.notOk('mcp-session-id' in reply.headers)
    t.strictSame(reply.events.map(({ id }) => id), [undefined, undefined], 'no event has an id')
    t.notMatch(reply.text, /^(?:id|retry):/m, 'and none tells when to come back')
    t.strictSame(seen.splice(0), [null, STATELESS, { transport: 'streamable-http', principal: null, revision: STATELESS, session: null }])
  }
  t.equal(app.mcp.stats().sessions, 1)
})

t.test('a notification is accepted and does nothing', async t => {
  const app = await createApp(t)
  const door = gate()
  app.mcp.tool('parked', {}, async (_args, { signal }) => {
    await door.opened
    return String(signal.aborted)
  })
  const call = ask(app, { ...callOf('parked'), id: 7 })
  await until(() => app.mcp.stats().calls === 1, 'the call')
  const good = { accept: ACCEPT, ...mirrors({ method: 'notifications/cancelled' }) }
  for (const [headers, params] of [
    [good, { requestId: 7, _meta: envelope() }], [good, { requestId: 7 }], [good, undefined], [{ 'mcp-protocol-version': STATELESS }, {}],
    [{}, { requestId: 7, _meta: envelope() }], [good, { _meta: { [`${PREFIX}protocolVersion`]: 7 } }]
  ] as const) {
    const { status, text } = await send(app, '/mcp', { method: 'POST', headers, body: { jsonrpc: '2.0', method: 'notifications/cancelled', params } })
    t.equal(status, 202)
    t.equal(text, '')
  }
  door.open()
  t.match(await call, { messages: [{ id: 7, result: { content: [{ text: 'false' }] } }] }, 'only a disconnect cancels')
})

t.test('a response of a client is one of no session', async t => {
  const app = await createApp(t)
  const { status, messages } = await send(app, '/mcp', { method: 'POST', headers: { 'mcp-protocol-version': STATELESS }, body: { jsonrpc: '2.0', id: 1, result: {} } })
  t.equal(status, 400)
  t.match(messages, [{ id: 1, error: { code: -32600, data: { code: 'FST_MCP_SESSION_REQUIRED' } } }])
})

t.test('Accept decides the form of the answer', async t => {
  const app = await createApp(t)
  app.mcp.tool('tells', {}, async function * () {
    yield 'one'
    yield 'two'
  })
  const url = await listen(app)
  const forms: [accept: string | undefined, streams: boolean, json: boolean][] = [
    [ACCEPT, true, true], [undefined, true, true], ['*/*', true, true], ['application/json', false, true], ['application/*', false, true], ['text/event-stream', true, false],
    ['text/*', true, false], ['application/json, text/event-stream;q=0', false, true], ['application/json;q=0, text/event-stream', true, false], ['text/event-stream, application/json;q=0.5', true, true]
  ]
  for (const target of [app, url]) {
    for (const [accept, streams, json] of forms) {
      const told = await ask(target, { ...callOf('tells'), meta: { ...envelope(), progressToken: 1 }, headers: { accept } })
      t.equal(told.status, 200)
      t.match(told.headers['content-type'], streams ? 'text/event-stream' : 'application/json', `${accept} with something to tell`)
      t.equal(told.messages.length, streams ? 3 : 1)
      t.match(told.messages.at(-1), { id: 1, result: { resultType: 'complete', content: [{ text: 'onetwo' }] } })
      const quiet = await ask(target, { headers: { accept } })
      t.match(quiet.headers['content-type'], json ? 'application/json' : 'text/event-stream', `${accept} with nothing but an answer`)
      t.match(quiet.messages, [{ id: 1, result: { tools: Array } }])
      // Known before anything was sent, so that the status can still tell it.
      t.match(await ask(target, { method: 'nope', headers: { accept } }), { status: 404, messages: [{ id: 1, error: { code: -32601 } }] })
    }
    for (const accept of ['text/html', 'application/xml, image/*', '', 'application/json;q=0']) {
      t.match(await ask(target, { headers: { accept } }), { status: 406, messages: [{ id: 1, error: { code: -32600 } }] }, accept)
    }
  }
})

t.test('an error after the first chunk travels on the stream', async t => {
  const app = await createApp(t)
  app.mcp.tool('asks-late', {}, async function * (_args, { ask }) {
    yield 'started'
    await ask('x', 'Which?', z.object({ a: z.string() }))
  })
  const { status, messages } = await ask(app, { ...callOf('asks-late'), meta: { ...envelope(), progressToken: 1 } })
  t.equal(status, 200)
  t.match(messages, [{ method: 'notifications/progress' }, { id: 1, error: { code: -32021, data: { requiredCapabilities: { elicitation: { form: {} } } } } }])
})

t.test('a client that leaves before or during the stream ends its call', async t => {
  const app = await createApp(t, { streams: { openAfter: 100_000 } })
  const log: string[] = []
  app.mcp.tool('silent', {}, async (_args, { signal }) => {
    await once(signal, 'abort')
    log.push(signal.reason.code)
  })
  app.mcp.tool('telling', {}, async function * (_args, { signal }) {
    try {
      yield 'one'
      await once(signal, 'abort')
      yield 'never'
    } finally {
      log.push(`finished after ${signal.reason.code}`)
    }
  })
  const url = await listen(app)
  for (const accept of [ACCEPT, 'application/json', 'text/event-stream']) {
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'silent', _meta: envelope() } })
    const headers = { accept, 'content-type': 'application/json', ...mirrors({ method: 'tools/call', params: { name: 'silent' } }) }
    const outgoing = httpRequest(`${url}/mcp`, { method: 'POST', agent: false, headers }).on('error', () => {})
    outgoing.end(body)
    await until(() => app.mcp.stats().calls === 1, 'the call')
    outgoing.destroy()
    await until(() => app.mcp.stats().calls === 0, 'its end')
    t.strictSame(log.splice(0), ['FST_MCP_CLIENT_GONE'], accept)
  }
  const client = new StatelessClient(url)
  const stream = await client.stream({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'telling', _meta: { progressToken: 1 } } })
  t.match(await stream.message(), { params: { message: 'one' } })
  t.match(app.mcp.stats(), { calls: 1, streams: 1 })
  await stream.close()
  await until(() => app.mcp.stats().calls === 0 && app.mcp.stats().streams === 0, 'its end')
  t.strictSame(log, ['finished after FST_MCP_CLIENT_GONE'])
})

t.test('log messages come only when the request asks for them, and from its level on', async t => {
  const app = await createApp(t)
  const levels = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'] as const
  app.mcp.tool('logs', {}, async (_args, { log }) => {
    for (const level of levels) await log[level]({ level })
    return 'done'
  })
  for (const [from, logLevel] of [undefined, ...levels].entries()) {
    const { messages, headers } = await ask(app, { ...callOf('logs'), meta: envelope({ logLevel }) })
    const wanted = logLevel === undefined ? [] : levels.slice(from - 1)
    t.match(messages.at(-1), { id: 1, result: { content: [{ text: 'done' }] } })
    t.strictSame(messages.slice(0, -1).map(({ method, params }) => [method, params]), wanted.map(level => ['notifications/message', { level, data: { level } }]), logLevel ?? 'none')
    t.match(headers['content-type'], logLevel === undefined ? 'application/json' : 'text/event-stream')
  }
})

t.test('progress is told only to whoever gave a token, rising, and before the answer', async t => {
  const app = await createApp(t)
  app.mcp.tool('steps', {}, async (_args, { progress }) => {
    for (const step of [1, 2, 2, 1]) await progress(step, 4)
    return 'done'
  })
  for (const progressToken of [undefined, 0, 'token', '']) {
    const { messages } = await ask(app, { ...callOf('steps'), meta: { ...envelope(), progressToken } })
    const told = messages.slice(0, -1)
    t.equal(told.length, progressToken === undefined ? 0 : 4)
    t.ok(told.every(({ params }, index) => params.progressToken === progressToken && params.progress > (told[index - 1]?.params.progress ?? 0)))
    t.match(messages.at(-1), { id: 1, result: { content: [{ text: 'done' }] } })
  }
})

t.test('one app serves HTTP+SSE, sessions and requests that stand for themselves side by side', async t => {
  const app = await createApp(t)
  const url = await listen(app)
  const door = gate()
  let running = 0
  app.mcp.tool('which', { output: z.array(z.number()) }, async function * (_args, { revision, session }) {
    yield `${revision} ${session?.transport ?? 'none'}`
    running++
    await door.opened
    return [1, 2]
  })
  const expected = ['2024-11-05 http+sse', ...REVISIONS.map(revision => `${revision} streamable-http`), '2026-07-28 none']
  const clients = [
    await SseClient.connect(url), ...await Promise.all(REVISIONS.map(revision => Client.connect(url, { revision }))), new StatelessClient(url)
  ] as const
  const answers = clients.map(async client => {
    const body = { jsonrpc: '2.0', id: 99, method: 'tools/call', params: { name: 'which', _meta: { progressToken: 1 } } }
    const stream = client instanceof SseClient ? client.stream : await client.stream(body)
    if (client instanceof SseClient) await client.post(body)
    const progress = await stream.message(({ method }) => method === 'notifications/progress')
    return { told: progress.params.message, answer: await stream.message(({ id }) => id === 99) }
  })
  await until(() => running === clients.length, 'all calls at once')
  t.match(app.mcp.stats(), { calls: 6, sessions: 5 })
  door.open()
  const results = await Promise.all(answers)
  t.strictSame(results.map(({ told }) => told), expected)
  for (const [index, { answer }] of results.entries()) {
    const { resultType, _meta, structuredContent, content } = answer.result
    const name = expected[index] ?? ''
    if (name.startsWith(STATELESS)) {
      t.strictSame({ resultType, _meta, structuredContent }, { resultType: 'complete', _meta: SERVER_INFO, structuredContent: [1, 2] }, 'any JSON value')
    } else {
      t.strictSame({ resultType, _meta }, { resultType: undefined, _meta: undefined }, `nothing of that at ${name}`)
      t.strictSame(structuredContent, name >= '2025-06-18' ? { result: [1, 2] } : undefined, 'an object, where there is structured content')
    }
    t.equal(content.at(-1).text, name >= '2025-06-18' && name < STATELESS ? '{"result":[1,2]}' : '[1,2]', 'and a text that says the same')
  }
  const [sse] = clients
  await sse.close()
})

t.test('every result says that it is one and who gave it, and none of a session does', async t => {
  const app = await createFull(t)
  const now = new StatelessClient(app)
  const sessions = await Promise.all(REVISIONS.map(revision => Client.connect(app, { revision })))
  const shared: [method: string, params?: object][] = [
    ['tools/list'], ['tools/call', { name: 'echo', arguments: { text: 'x' } }], ['tools/call', { name: 'fails' }], ['prompts/list'], ['prompts/get', { name: 'greet', arguments: { who: 'x' } }],
    ['resources/list'], ['resources/templates/list'], ['resources/read', { uri: 'file:///a' }],
    ['completion/complete', { ref: { type: 'ref/prompt', name: 'greet' }, argument: { name: 'who', value: '' } }]
  ]
  const CACHED = ['tools/list', 'prompts/list', 'resources/list', 'resources/templates/list', 'resources/read', 'server/discover']
  for (const [method, params] of [...shared, ['server/discover'] as [string]]) {
    const { result } = await now.request(method, params)
    t.match(result, { resultType: 'complete', _meta: SERVER_INFO }, method)
    t.strictSame({ ttlMs: result.ttlMs, cacheScope: result.cacheScope }, CACHED.includes(method) ? { ttlMs: 0, cacheScope: 'private' } : { ttlMs: undefined, cacheScope: undefined }, method)
  }
  for (const session of sessions) {
    for (const [method, params] of [...shared, ['ping'] as [string]]) {
      const { result } = await session.request(method, params)
      for (const key of ['resultType', '_meta', 'ttlMs', 'cacheScope', 'serverInfo']) t.notOk(key in result, `${key} of ${method}`)
    }
    t.match(await session.request('server/discover'), { error: { code: -32601 } })
  }
})

t.test('what a handler puts into `_meta` stays beside what the server says', async t => {
  const app = await createApp(t)
  app.mcp.tool('own', {}, () => ({ content: [{ type: 'text' as const, text: 'x' }], _meta: { 'acme/x': 1, [`${PREFIX}serverInfo`]: { name: 'forged' } }, resultType: 'mine' }))
  const { result } = await new StatelessClient(app).call('own')
  t.strictSame(result, { resultType: 'complete', content: [{ type: 'text', text: 'x' }], _meta: { 'acme/x': 1, ...SERVER_INFO } })
})

t.test('the server says all it is, and a client of sessions what its revision knows', async t => {
  const icons = [{ src: 'https://a.example/i.png', mimeType: 'image/png' }]
  const identity = { title: 'T', description: 'D', websiteUrl: 'https://a.example/', icons }
  const app = await createApp(t, { ...identity, instructions: 'Read.' })
  const { result } = await new StatelessClient(app).request('server/discover')
  t.strictSame(result._meta, { [`${PREFIX}serverInfo`]: { name: 'test', version: '1.0.0', ...identity } })
  t.equal(result.instructions, 'Read.')
  t.notOk('serverInfo' in result)
})

t.test('server/discover tells what is registered, and that works', async t => {
  const LISTS = { prompts: 'prompts/list', resources: 'resources/list', completions: 'completion/complete' } as const
  const app = await createApp(t)
  const client = new StatelessClient(app)
  const base = { logging: {}, tools: { listChanged: true } }
  const check = async (capabilities: object): Promise<void> => {
    const { result } = await client.request('server/discover')
    t.strictSame(result, { resultType: 'complete', supportedVersions: [STATELESS], capabilities, ttlMs: 0, cacheScope: 'private', _meta: SERVER_INFO })
    for (const [name, method] of Object.entries(LISTS)) {
      const { error } = await client.request(method)
      t.equal(error?.code === -32601, !(name in capabilities), `${method} is there when ${name} are declared`)
    }
  }
  await check(base)
  const prompt = app.mcp.prompt('p', {}, () => 'x')
  await check({ ...base, prompts: { listChanged: true }, completions: {} })
  app.mcp.resource('file:///{path}', {}, () => 'x')
  await check({ ...base, prompts: { listChanged: true }, resources: { listChanged: true, subscribe: true }, completions: {} })
  prompt.remove()
  await check({ ...base, prompts: { listChanged: true }, resources: { listChanged: true, subscribe: true }, completions: {} })
})

t.test('lists and resources say how long they hold, as the most special option does', async t => {
  const auth = { tokens: [{ token: 'a', principal: 'a' }, { token: 'b', principal: 'b' }] }
  const app = await createApp(t, {
    auth,
    lists: { pageSize: 1 },
    cache: { ttl: 1_000, scope: 'public', lists: { tools: { ttl: 2_000 }, prompts: { scope: 'private' }, discover: { ttl: 3_000, scope: 'private' }, read: { ttl: 4_000 } } }
  })
  for (const name of ['a', 'b']) app.mcp.tool(name, {}, () => 'x')
  app.mcp.prompt('p', {}, () => 'x')
  app.mcp.resource('file:///plain', {}, () => 'x')
  app.mcp.resource('file:///own', { cache: { ttl: 5_000, scope: 'private' } }, () => 'x')
  app.mcp.resource('file:///half', { cache: { scope: 'private' } }, () => 'x')
  app.mcp.resource('file:///hidden', { visible: () => true, cache: { scope: 'public' } }, () => 'x')
  const client = new StatelessClient(app, { headers: { authorization: 'Bearer a' } })
  const hintOf = async (method: string, params?: object) => {
    const { result: { ttlMs, cacheScope } } = await client.request(method, params)
    return [ttlMs, cacheScope]
  }
  t.strictSame(await hintOf('tools/list'), [2_000, 'public'])
  const { result: { nextCursor: cursor } } = await client.request('tools/list')
  t.strictSame(await hintOf('tools/list', { cursor }), [2_000, 'public'], 'the same on every page')
  t.strictSame(await hintOf('prompts/list'), [1_000, 'private'])
  t.strictSame(await hintOf('server/discover'), [3_000, 'private'])
  t.strictSame(await hintOf('resources/templates/list'), [1_000, 'public'])
  t.strictSame(await hintOf('resources/list'), [1_000, 'private'], 'something in it is hidden from somebody')
  t.strictSame(await hintOf('resources/read', { uri: 'file:///plain' }), [4_000, 'public'])
  t.strictSame(await hintOf('resources/read', { uri: 'file:///own' }), [5_000, 'private'])
  t.strictSame(await hintOf('resources/read', { uri: 'file:///half' }), [4_000, 'private'])
  t.strictSame(await hintOf('resources/read', { uri: 'file:///hidden' }), [4_000, 'private'], 'whatever it says itself')
  const hidden = app.mcp.tool('hidden', { visible: principal => principal?.id === 'b' }, () => 'x')
  t.strictSame(await hintOf('tools/list'), [2_000, 'private'], 'although this client does not see it')
  hidden.disable()
  t.strictSame(await hintOf('tools/list'), [2_000, 'public'])
  app.mcp.resource('file:///{path}', { visible: () => true }, () => 'x')
  t.strictSame(await hintOf('resources/templates/list'), [1_000, 'private'])
})

t.test('an argument that a tool wants in a header must be there, and be the same', async t => {
  const app = await createApp(t)
  const echo = (args: object): string => JSON.stringify(args)
  const where = { zone: { type: 'integer', 'x-mcp-header': 'Zone' }, dry: { type: 'boolean', 'x-mcp-header': 'Dry-Run' } }
  const shared = { region: { type: 'string', 'x-mcp-header': 'Region' }, where: { type: 'object', properties: where } }
  app.mcp.tool('zod', {
    input: z.object({
      region: z.string().meta({ 'x-mcp-header': 'Region' }),
      where: z.object({ zone: z.int().optional().meta({ 'x-mcp-header': 'Zone' }), dry: z.boolean().nullish().meta({ title: 'Dry' }) }).optional()
    })
  }, echo)
  app.mcp.tool('plain', { input: { type: 'object', properties: shared, required: ['region'] } }, echo)
  const call = (tool: string, args: object, headers: Record<string, string | undefined>) => ask(app, { ...callOf(tool, args), headers })
  const refused = { status: 400, messages: [{ id: 1, error: { code: -32020, data: { code: 'FST_MCP_HEADER_MISMATCH' } } }] }
  for (const tool of ['zod', 'plain']) {
    const { result: { tools } } = await new StatelessClient(app).request('tools/list')
    t.equal(tools.find(({ name }: { name: string }) => name === tool).inputSchema.properties.region['x-mcp-header'], 'Region', 'clients are told which')
    const good: [args: object, headers: Record<string, string>][] = [
      [{ region: 'eu' }, { 'mcp-param-region': 'eu' }], [{ region: 'eu' }, { 'MCP-Param-REGION': ' eu ' }], [{ region: 'größe' }, { 'mcp-param-region': encoded('größe') }],
      [{ region: '' }, { 'mcp-param-region': '' }], [{ region: 'eu', where: { zone: 42 } }, { 'mcp-param-region': 'eu', 'mcp-param-zone': '42.0' }],
      [{ region: 'eu', where: {} }, { 'mcp-param-region': 'eu', 'mcp-param-other': 'x' }]
    ]
    for (const [args, headers] of good) {
      const answered = { status: 200, messages: [{ result: { content: [{ text: JSON.stringify(args) }] } }] }
      t.match(await call(tool, args, headers), answered, JSON.stringify(headers))
    }
    const bad: [args: object, headers: Record<string, string>][] = [
      [{ region: 'eu' }, {}], [{ region: 'eu' }, { 'mcp-param-region': 'EU' }], [{ region: 'eu' }, { 'mcp-param-region': 'us' }], [{ region: 'eu' }, { 'mcp-param-region': '' }],
      [{ region: 'eu' }, { 'mcp-param-region': '=?base64?ZXU?=' }], [{ region: 'eu', where: { zone: 42 } }, { 'mcp-param-region': 'eu' }],
      [{ region: 'eu', where: { zone: 42 } }, { 'mcp-param-region': 'eu', 'mcp-param-zone': '43' }], [{ region: 'eu', where: { zone: 42 } }, { 'mcp-param-region': 'eu', 'mcp-param-zone': '4.2e1' }],
      [{ region: 'eu' }, { 'mcp-param-region': 'eu', 'mcp-param-zone': '42' }]
    ]
    for (const [args, headers] of bad) t.match(await call(tool, args, headers), refused, `${JSON.stringify(args)} ${JSON.stringify(headers)}`)
  }
  t.match(await call('plain', { region: 'eu', where: { dry: true } }, { 'mcp-param-region': 'eu', 'mcp-param-dry-run': 'true' }), { status: 200 })
  t.match(await call('plain', { region: 'eu', where: { dry: true } }, { 'mcp-param-region': 'eu', 'mcp-param-dry-run': 'True' }), refused)
  t.match(await call('plain', { region: 7 }, { 'mcp-param-region': '7' }), refused, 'a value of another type equals no header')
  t.match(await call('plain', { region: 7 }, {}), { status: 200, messages: [{ result: { isError: true } }] }, 'and is else the schema\'s to refuse')
  const session = await Client.connect(app)
  t.match(await session.call('plain', { region: 'eu' }), { result: { content: [{ text: '{"region":"eu"}' }] } }, 'a session needs no such header')
})

t.test('a tool whose arguments cannot travel in headers is refused at registration', async t => {
  const app = await createApp(t)
  const mark = (name: unknown, type = 'string'): object => ({ type, 'x-mcp-header': name })
  const bad: [what: string, properties: Record<string, unknown>, rest?: object][] = [
    ['no token', { a: mark('a b') }], ['empty', { a: mark('') }], ['no text', { a: mark(7) }], ['a number', { a: mark('A', 'number') }], ['an object', { a: mark('A', 'object') }],
    ['twice', { a: mark('A'), b: mark('a') }], ['in a list', { a: { type: 'array', items: mark('A') } }], ['in a choice', { a: { anyOf: [mark('A')] } }],
    ['at the root', {}, { 'x-mcp-header': 'A' }], ['under a reference', { a: { $ref: '#/$defs/a' } }, { $defs: { a: mark('A') } }]
  ]
  for (const [what, properties, rest] of bad) {
    t.throws(() => app.mcp.tool('bad', { input: { type: 'object', properties, ...rest } as never }, () => 'x'), { code: 'FST_MCP_SCHEMA_INVALID', message: /x-mcp-header/ }, what)
  }
  t.throws(() => app.mcp.tool('bad', { input: z.object({ a: z.array(z.string().meta({ 'x-mcp-header': 'A' })) }) }, () => 'x'), { code: 'FST_MCP_SCHEMA_INVALID', message: /x-mcp-header/ })
  t.match(await new StatelessClient(app).request('tools/list'), { result: { tools: [] } }, 'nothing of them is left')
})

t.test('two servers in one app share nothing', async t => {
  const app = Fastify()
  t.after(() => app.close())
  for (const name of ['one', 'two']) {
    app.register(async scope => {
      await scope.register(mcp, { name, prefix: `/${name}`, subscriptions: { uris: 1 } })
      scope.mcp.tool(`only-${name}`, {}, (_args, { revision }) => `${name} ${revision}`)
    })
  }
  await app.ready()
  for (const [name, other] of [['one', 'two'], ['two', 'one']] as const) {
    const client = new StatelessClient(app, { path: `/${name}/mcp` })
    t.match(await client.request('server/discover'), { result: { _meta: { [`${PREFIX}serverInfo`]: { name, version: '0.0.0' } } } })
    t.match((await client.request('tools/list')).result.tools, [{ name: `only-${name}` }])
    t.match(await client.call(`only-${name}`), { result: { content: [{ text: `${name} ${STATELESS}` }] } })
    t.match(await client.call(`only-${other}`), { error: { code: -32602, data: { code: 'FST_MCP_TOOL_UNKNOWN' } } })
  }
})

t.test('without sessions the revision is served all the same', async t => {
  const app = await createApp(t, { sessions: false })
  app.mcp.tool('echo', {}, async function * () {
    yield 'one'
  })
  const client = new StatelessClient(await listen(app))
  t.match(await client.call('echo', {}, 1), { result: { content: [{ text: 'one' }] } })
  t.match((await client.request('server/discover')).result.capabilities, { logging: {}, tools: { listChanged: true } }, 'it needs no session to be told')
})

t.test('no answer names a code that the revision has given up', async t => {
  const app = await createApp(t, { limits: { calls: 1 }, streams: { max: 1 } })
  const door = gate()
  app.mcp.tool('parked', {}, async function * () {
    yield 'one'
    await door.opened
  })
  const url = await listen(app)
  const stream = await EventStream.open(url, '/mcp', {
    method: 'POST',
    headers: mirrors(callOf('parked') as { method: string }),
    body: { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'parked', _meta: { ...envelope(), progressToken: 1 } } }
  })
  await stream.message()
  const full = await ask(url, { ...callOf('parked') })
  t.match(full, { status: 503, headers: { 'retry-after': /^\d+$/ }, messages: [{ id: 1, error: { code: -32603, data: { code: 'FST_MCP_CALLS_FULL' } } }] })
  t.match(await ask(url, { method: 'subscriptions/listen', params: { notifications: {} } }), { status: 503, messages: [{ id: 1, error: { code: -32603, data: { code: 'FST_MCP_STREAMS_FULL' } } }] })
  door.open()
  await stream.closed
})

t.test('headers that name a session are not looked at, however long they are', async t => {
  const app = await createApp(t)
  for (const name of ['mcp-session-id', 'last-event-id']) {
    const { status, messages } = await ask(app, { headers: { [name]: 'x'.repeat(5_000) } })
    t.equal(status, 200, name)
    t.match(messages, [{ result: { resultType: 'complete' } }])
  }
})
