// Whatever breaks, the client reads a JSON-RPC error without a stack, and the log has one with it.
import type { FastifyInstance } from 'fastify'
import type { McpOptions } from 'fastify-mcp-sse'
import t, { type Test } from 'tap'
import { Client, listen, createApp, type Reply, StatelessClient } from './client.ts'
import { overriding, storeWith } from './stores.ts'

const fault = (): never => { throw new TypeError('a fault of our own') }
const later = async (): Promise<never> => fault()
/** A Standard Schema that breaks. */
const broken = (validate: () => unknown) => ({ '~standard': { version: 1, vendor: 'test', validate, jsonSchema: { input: () => ({ type: 'object' }), output: () => ({ type: 'object' }) } } }) as never
const unspeakable = { content: [{ type: 'text', text: 'x', toJSON: fault }] } as never

type Ask = [method: string, params?: object]
const call: Ask = ['tools/call', { name: 'tool', arguments: {} }]

interface Fault {
  readonly options?: McpOptions
  readonly prepare?: (app: FastifyInstance) => void
  readonly ask?: Ask
  /** Where a tool fails the model is told. */
  readonly isToldToModel?: boolean
}

const faults: Record<string, Fault> = {
  'a tool': { prepare: app => { app.mcp.tool('tool', {}, fault) }, isToldToModel: true },
  'a tool after its first chunk': { prepare: app => { app.mcp.tool('tool', {}, async function * () { yield fault() }) }, isToldToModel: true },
  'a tool whose result no JSON can say': { prepare: app => { app.mcp.tool('tool', {}, () => unspeakable) }, isToldToModel: true },
  'a resource': { prepare: app => { app.mcp.resource('a://b', {}, later) }, ask: ['resources/read', { uri: 'a://b' }] },
  'a prompt': { prepare: app => { app.mcp.prompt('prompt', {}, fault) }, ask: ['prompts/get', { name: 'prompt' }] },
  'the hook before a call': { prepare: app => { app.mcp.tool('tool', {}, () => ''); app.mcp.use({ onCall: fault }) } },
  'the hook after a call': { prepare: app => { app.mcp.tool('tool', {}, () => ''); app.mcp.use({ onResult: later }) } },
  'the schema of the arguments': { prepare: app => { app.mcp.tool('tool', { input: broken(fault) }, () => '') } },
  'the schema of the arguments, later': { prepare: app => { app.mcp.tool('tool', { input: broken(later) }, () => '') } },
  'the schema of the result': { prepare: app => { app.mcp.tool('tool', { output: broken(fault) }, () => ({})) }, isToldToModel: true },
  'the completion of an argument': {
    prepare: app => { app.mcp.resource('a://{b}', { complete: { b: fault } }, () => '') },
    ask: ['completion/complete', { ref: { type: 'ref/resource', uri: 'a://{b}' }, argument: { name: 'b', value: '' } }]
  },
  'a hook of the host before our handler': { prepare: app => { app.mcp.tool('tool', {}, () => ''); app.addHook('preHandler', async request => { if (isCall(request.body)) fault() }) } },
  'a hook of the host before our answer': {
    prepare: app => {
      app.mcp.tool('tool', {}, () => '')
      // One that throws at the error too leaves Fastify to answer in its own words.
      app.addHook('onSend', async (request, reply) => { if (isCall(request.body) && reply.statusCode === 200) fault() })
    }
  }
}

const isCall = (body: unknown): boolean => Object(body).method === 'tools/call'

async function logged (t: Test, options: McpOptions = {}) {
  const lines: { level: number, err?: { message: string, stack: string } }[] = []
  const app = await createApp(t, options, { logger: { stream: { write: (line: string) => { lines.push(JSON.parse(line)) } } } })
  return { app, ofFault: () => lines.filter(({ level, err }) => level >= 50 && err !== undefined && /a fault of our own/.test(err.stack)) }
}

/** `isToldToModel`: in a result. */
function holds (t: Test, { text, messages: [message] }: Reply, isToldToModel = false): void {
  t.notMatch(text, /a fault of our own|\.ts:|node:internal|TypeError/, 'neither text nor stack')
  if (isToldToModel) t.equal(message?.result?.isError, true)
  else {
    t.match(message, { jsonrpc: '2.0', error: { code: -32603, data: { code: /^FST_MCP_(?:INTERNAL|HANDLER_FAILED)$/ } } })
    t.match(text, /"request":"req-\w+"/)
  }
}

for (const [what, { options, prepare, ask: [method, params] = call, isToldToModel }] of Object.entries(faults)) {
  for (const era of ['a session', '2026-07-28'] as const) {
    t.test(`when ${what} throws in ${era}, the client reads no stack and the log has one`, async t => {
      const { app, ofFault } = await logged(t, options)
      prepare?.(app)
      const client = era === 'a session' ? await Client.connect(app) : new StatelessClient(app)
      const reply = await client.post({ jsonrpc: '2.0', id: 1, method, params })
      holds(t, reply, isToldToModel)
      t.ok(ofFault().length >= 1)
    })
  }
}

for (const [name, change] of Object.entries({
  throws: storeWith(({ sessions }) => ({ sessions: overriding(sessions, { get: fault }) })),
  rejects: storeWith(({ sessions }) => ({ sessions: overriding(sessions, { get: later }) }))
})) {
  t.test(`when the store ${name}, the client reads no stack and the log has one`, async t => {
    const { app, ofFault } = await logged(t, { store: change })
    const client = new Client(app)
    const reply = await client.post({ jsonrpc: '2.0', id: 1, method: 'ping' }, { 'mcp-session-id': 'any' })
    t.equal(reply.status, 500)
    holds(t, reply)
    t.equal(ofFault().length, 1)
  })
}

t.test('when the store throws where it should keep an event, the connection breaks and the log says why', async t => {
  const { app, ofFault } = await logged(t, { store: storeWith(({ events }) => ({ events: overriding(events, { append: fault }) })) })
  app.mcp.tool('plain', {}, () => 'known at once')
  const client = await Client.connect(await listen(app))
  await t.rejects(client.post({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'plain' } }, { accept: 'text/event-stream' }), /socket hang up/)
  t.ok(ofFault().length >= 1)
  t.match(await client.call('plain'), { result: { content: [{ text: 'known at once' }] } }, 'as JSON nothing is kept')
})

t.test('when what tells who may see a tool throws, the tool is hidden and the log says why', async t => {
  const { app, ofFault } = await logged(t)
  app.mcp.tool('hidden', { visible: fault }, () => '')
  const client = await Client.connect(app)
  t.strictSame((await client.request('tools/list')).result.tools, [])
  t.ok(ofFault().length >= 1)
})

t.test('when `auth.verify` throws, the client reads no stack and the log has one', async t => {
  const { app, ofFault } = await logged(t, { auth: { verify: later } })
  const reply = await new Client(app, { headers: { authorization: 'Bearer of-ada' } }).post({ jsonrpc: '2.0', id: 1, method: 'ping' })
  t.equal(reply.status, 500)
  holds(t, reply)
  t.equal(ofFault().length, 1)
})
