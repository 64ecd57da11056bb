// Every message about tools that the server emits, at every revision of the handshake, against the official schemas.
import { once } from 'node:events'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { z } from 'zod'
import { ToolError } from '../lib/index.ts'
import { Client, createApp, listen, REVISIONS, type RpcMessage, send, SseClient, until } from './client.ts'
import { checkOf, type Definition } from './official.ts'

type Revision = typeof REVISIONS[number]

const notifications: Record<string, Definition> = {
  'notifications/progress': 'ProgressNotification',
  'notifications/message': 'LoggingMessageNotification',
  'notifications/tools/list_changed': 'ToolListChangedNotification'
}

const nameOf = ({ id, method }: RpcMessage): string => method ?? `the answer to ${id}`

/** One client that keeps all it is told, over either transport. */
interface Peer {
  /** Everything up to the answer. */
  ask (method: string, params?: object): Promise<RpcMessage[]>
  /** POSTs anything; the text of the response. */
  post (body: unknown): Promise<string>
  /** What came unasked. */
  unasked (): RpcMessage[]
}

async function overHttp (url: string, revision: Revision): Promise<{ peer: Peer, hello: RpcMessage }> {
  const client = await Client.connect(url, { revision })
  const own = await client.get()
  return {
    hello: { jsonrpc: '2.0', id: 0, result: client.server },
    peer: {
      ask: async (method, params) => (await client.post({ jsonrpc: '2.0', id: client.nextId(), method, params })).messages,
      post: async body => (await client.post(body)).text,
      unasked: () => own.messages
    }
  }
}

async function overSse (url: string, revision: Revision): Promise<{ peer: Peer, hello: RpcMessage }> {
  const client = await SseClient.connect(url, { revision })
  const [hello] = client.stream.messages
  if (hello === undefined) throw new TypeError('nobody answered initialize')
  return {
    hello,
    peer: {
      ask: async (method, params) => {
        const before = client.stream.messages.length
        await client.request(method, params)
        return client.stream.messages.slice(before)
      },
      post: async body => (await client.post(body)).text,
      unasked: () => client.stream.messages.filter(({ method }) => method === 'notifications/tools/list_changed')
    }
  }
}

const transports = { 'Streamable HTTP': overHttp, 'HTTP+SSE': overSse }

const PNG = 'iVBORw0KGgo='
const WAV = 'UklGRiQAAAA='

async function serve (t: Test): Promise<FastifyInstance> {
  const app = await createApp(t, {
    title: 'A title', instructions: 'Read this first.', lists: { pageSize: 2 }, tools: { maxResult: 10_000 }, streams: { retry: 10 }
  })
  app.mcp.tool('blocks', {
    title: 'Blocks',
    description: 'Every kind of content',
    input: z.object({}),
    annotations: { title: 'All', readOnlyHint: true, destructiveHint: false, idempotentHint: true, openWorldHint: false },
    icons: [{ src: 'https://example.org/icon.png', mimeType: 'image/png', sizes: ['48x48'] }],
    _meta: { 'example.org/a': 1 }
  }, async function * () {
    yield 'text '
    yield { type: 'text', text: 'a block', annotations: { audience: ['user'], priority: 0.5 } }
    yield { progress: 7, total: 10, message: 'seven' }
    yield { type: 'image', data: PNG, mimeType: 'image/png' }
    yield { type: 'audio', data: WAV, mimeType: 'audio/wav' }
    yield { type: 'resource', resource: { uri: 'test://a', mimeType: 'text/plain', text: 'A' } }
    yield { type: 'resource', resource: { uri: 'test://b', mimeType: 'image/png', blob: PNG } }
    yield { type: 'resource_link', uri: 'test://c', name: 'c', title: 'C', mimeType: 'text/plain' }
  })
  app.mcp.tool('structured', { output: z.object({ count: z.number() }) }, () => ({ count: 3 }))
  app.mcp.tool('list', { output: z.array(z.number()) }, () => [1, 2])
  app.mcp.tool('raw', { input: { type: 'object', properties: { n: { type: 'integer' } }, required: ['n'] } }, ({ n }) => ({
    content: [{ type: 'text', text: String(n) }], structuredContent: { n }, _meta: { 'example.org/b': 2 }
  }))
  app.mcp.tool('nothing', {}, () => {})
  app.mcp.tool('refuses', {}, () => { throw new ToolError('not today') })
  app.mcp.tool('crashes', {}, () => { throw new TypeError('a secret') })
  app.mcp.tool('yields-badly', {}, function * () { yield 1 as never })
  app.mcp.tool('too-much', {}, function * () { yield 'x'.repeat(20_000) })
  app.mcp.tool('late', { timeout: 5 }, async (_args, { signal }) => { await once(signal, 'abort') })
  app.mcp.tool('parked', {}, async function * (_args, { signal }) {
    yield 'parked'
    await once(signal, 'abort')
  })
  app.mcp.tool('logs', {}, (_args, { log }) => {
    for (const tell of Object.values(log)) tell({ nested: ['\u2028', null, 1.5] })
    log.info('text')
  })
  return app
}

/** The fields of a listed tool, by the revision that brought them. */
const toolFields: Record<Revision, string[]> = {
  '2024-11-05': ['name', 'description', 'inputSchema'],
  '2025-03-26': ['name', 'description', 'inputSchema', 'annotations'],
  '2025-06-18': ['name', 'description', 'inputSchema', 'annotations', 'title', 'outputSchema', '_meta'],
  '2025-11-25': ['name', 'description', 'inputSchema', 'annotations', 'title', 'outputSchema', '_meta', 'icons']
}

/** The content of `blocks`, in the nearest kinds that a revision has. */
const kindsOf = (revision: Revision): string[] => [
  'text', 'text', 'image', revision === '2024-11-05' ? 'resource' : 'audio', 'resource', 'resource',
  revision < '2025-06-18' ? 'text' : 'resource_link'
]

/** Every call, with whether its answer is a result, an error of the tool, or a JSON-RPC error. */
const calls: [name: string, args: unknown, answer: 'result' | 'isError' | 'error'][] = [
  ['blocks', {}, 'result'],
  ['structured', {}, 'result'],
  ['list', {}, 'result'],
  ['raw', { n: 1 }, 'result'],
  ['nothing', {}, 'result'],
  ['refuses', {}, 'isError'],
  ['crashes', {}, 'isError'],
  ['yields-badly', {}, 'isError'],
  ['too-much', {}, 'isError'],
  ['late', {}, 'isError'],
  ['raw', { n: [] }, 'error'],
  ['raw', [], 'error'],
  ['unknown', {}, 'error']
]

for (const [transport, connect] of Object.entries(transports)) {
  for (const revision of REVISIONS) {
    t.test(`every message of ${revision} over ${transport} is one of its schema`, async t => {
      const check = checkOf(revision)
      const seen = new Set<string>()
      const judge = (messages: RpcMessage[], result: Definition): RpcMessage => {
        for (const message of messages) {
          t.equal(check('JSONRPCMessage', message), '', nameOf(message))
          if (message.method === undefined) continue
          seen.add(message.method)
          t.equal(check(notifications[message.method] ?? result, message), '', nameOf(message))
        }
        const answer = messages.at(-1)
        if (answer?.result !== undefined) t.equal(check(result, answer.result), '', `${nameOf(answer)}, a ${result}`)
        if (answer === undefined) throw new TypeError('no message at all')
        return answer
      }
      const app = await serve(t)
      const url = await listen(app)
      const { peer, hello } = await connect(url, revision)

      t.match(judge([hello], 'InitializeResult').result, { protocolVersion: revision, instructions: 'Read this first.' })
      t.strictSame(hello.result.serverInfo.title, revision >= '2025-06-18' ? 'A title' : undefined)
      judge(await peer.ask('ping'), 'EmptyResult')

      const listed: Record<string, unknown>[] = []
      let cursor: string | undefined
      do {
        const { result } = judge(await peer.ask('tools/list', { cursor }), 'ListToolsResult')
        listed.push(...result.tools)
        cursor = result.nextCursor
      } while (cursor !== undefined)
      t.ok(listed.length > 10, 'all pages came')
      t.strictSame(listed.flatMap(tool => Object.keys(tool)).filter(field => !toolFields[revision].includes(field)), [])

      for (const progressToken of [undefined, 'token', 0]) {
        for (const [name, args, expected] of calls) {
          const told = await peer.ask('tools/call', { name, arguments: args, _meta: { progressToken } })
          const { result, error } = judge(told, 'CallToolResult')
          if (name === 'blocks') {
            t.strictSame(result.content.map(({ type }: { type: string }) => type), kindsOf(revision))
            t.equal(told.length, progressToken === undefined ? 1 : 9, 'each chunk was told')
          }
          // Arguments that do not fit are told to the model from 2025-11-25 on.
          const toModel = revision === '2025-11-25' && !Array.isArray(args) && name === 'raw'
          t.equal(error ? 'error' : result.isError === true ? 'isError' : 'result', toModel && expected === 'error' ? 'isError' : expected, name)
        }
      }

      judge(await peer.ask('logging/setLevel', { level: 'debug' }), 'EmptyResult')
      const logged = await peer.ask('tools/call', { name: 'logs' })
      judge(logged, 'CallToolResult')
      t.equal(logged.length, 10, 'eight levels, one text, one result')

      t.match(judge(await peer.ask('tools/unknown'), 'EmptyResult'), { error: { code: -32601 } })
      t.match(judge(await peer.ask('tools/list', { cursor: 'nonsense' }), 'EmptyResult'), { error: { code: -32602 } })
      t.match(judge(await peer.ask('logging/setLevel', { level: 'loud' }), 'EmptyResult'), { error: { code: -32602 } })

      t.equal(await peer.post({ jsonrpc: '2.0', method: 'notifications/initialized' }), '', '202 has no body')
      t.match(judge([JSON.parse(await peer.post({ jsonrpc: '2.0', id: 'a', method: 5 }))], 'EmptyResult'), { id: 'a', error: { code: -32600 } })

      app.mcp.tool('new', {}, () => '')
      await until(() => peer.unasked().length > 0, 'the notification')
      judge(peer.unasked(), 'EmptyResult')

      const parked = peer.ask('tools/call', { name: 'parked', _meta: { progressToken: 1 } })
      await until(() => app.mcp.stats().calls === 1, 'the call to run')
      await app.close()
      t.match(judge(await parked, 'CallToolResult'), { error: { data: { code: 'FST_MCP_CLOSING' } } })
      t.strictSame([...seen].sort(), Object.keys(notifications).sort(), 'every notification was seen')
    })
  }
}

for (const revision of REVISIONS) {
  t.test(`an error of ${revision} that answers no readable id is as that revision has it`, async t => {
    const check = checkOf(revision)
    const client = await Client.connect(await serve(t), { revision })
    for (const body of ['{', '[]', '{}', { jsonrpc: '2.0', id: null, method: 'ping' }, { jsonrpc: '2.0', id: 1.5, method: 'ping' }]) {
      const { messages: [error], status } = await client.post(body)
      t.equal(status, 400)
      if (revision === '2025-11-25') {
        t.notOk(error !== undefined && 'id' in error)
        t.equal(check('JSONRPCMessage', error), '')
      } else {
        // The older schemas demand an id and JSON-RPC has null for it: no form fits both.
        t.equal(error?.id, null)
        t.equal(check('JSONRPCMessage', { ...error, id: 0 }), '')
      }
    }
  })
}

t.test('the answer to a batch of 2025-03-26 is one message of its schema', async t => {
  const check = checkOf('2025-03-26')
  const client = await Client.connect(await serve(t), { revision: '2025-03-26' })
  const { text, messages } = await client.post([
    { jsonrpc: '2.0', id: 1, method: 'ping' },
    { jsonrpc: '2.0', method: 'notifications/initialized' },
    { jsonrpc: '2.0', id: 'b', method: 'tools/unknown' },
    { jsonrpc: '2.0', id: 3, method: 'tools/call', params: { name: 'structured' } }
  ])
  t.strictSame(messages.map(({ id }) => id), [1, 'b', 3])
  t.match(text, /^\[/)
  // The zod schemas are of one message.
  for (const message of process.env.MCP_SCHEMAS === undefined ? messages : [JSON.parse(text)]) t.equal(check('JSONRPCMessage', message), '')
  t.equal(check('CallToolResult', messages[2]?.result), '')
})

for (const revision of REVISIONS.slice(1)) {
  t.test(`the error that ${revision} gets for a call whose events are lost is one of its schema`, async t => {
    const check = checkOf(revision)
    const url = await listen(await serve(t))
    const { sessionId = '', headers } = await Client.connect(url, { revision })
    for (const [name, id] of [['i5', 5], [`s${Buffer.from('five').toString('base64url')}`, 'five']]) {
      const { messages } = await send(url, '/mcp', { headers: { ...headers, 'mcp-session-id': sessionId, 'last-event-id': `unknown.${name}_3` } })
      t.match(messages, [{ id, error: { data: { code: 'FST_MCP_REPLAY_GAP' } } }])
      t.equal(check('JSONRPCMessage', messages[0]), '')
    }
  })
}

t.test('the schemas say no to what is wrong', async t => {
  const wrong: [Definition, unknown][] = [
    ['JSONRPCMessage', { jsonrpc: '1.0', id: 1, result: {} }],
    ['JSONRPCMessage', { jsonrpc: '2.0', id: 1, error: { code: '1', message: '' } }],
    ['InitializeResult', { protocolVersion: '2025-03-26', capabilities: {} }],
    ['ListToolsResult', { tools: [{ name: 'a', inputSchema: { type: 'array' } }] }],
    ['CallToolResult', { content: [{ type: 'image', data: PNG }] }],
    ['ProgressNotification', { method: 'notifications/progress', params: { progressToken: 1 } }],
    ['LoggingMessageNotification', { method: 'notifications/message', params: { level: 'loud', data: '' } }],
    ['ToolListChangedNotification', { method: 'notifications/progress' }]
  ]
  for (const revision of REVISIONS) {
    const check = checkOf(revision)
    for (const [definition, value] of wrong) t.not(check(definition, value), '', `${revision} ${definition}`)
    t.equal(check('EmptyResult', {}), '')
  }
})
