// The servers that are thrown at: every kind of offer, in the configurations that take different ways through the code.
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import mcp, { errorCodes, type McpOptions, McpError, ToolError } from 'fastify-mcp-sse'
import { z } from 'zod'
import { LIMITS } from './hostile.ts'

/** What handlers throw to be logged, and never to be told. */
export const SECRET = 'secret on purpose'

const broken = (): never => { throw new Error(SECRET) }

const auth = {
  tokens: [{ token: 'ada', principal: 'ada', scopes: ['use'] }, { token: 'bob', principal: 'bob', scopes: ['use', 'more'] }, { token: 'eve', principal: 'eve', scopes: ['use'] }],
  verify: async (token: string) => {
    if (token === 'boom') throw new Error(SECRET)
    if (token === 'down') throw new errorCodes.FST_MCP_AUTH_UNAVAILABLE()
    // What a user's function gives in spite of its type.
    if (token === 'shapeless') return { id: '' }
    return token === 'poor' ? { id: 'poor' } : null
  },
  resource: 'https://api.example/mcp',
  authorizationServers: ['https://login.example'],
  scopes: ['use'],
  rootMetadata: true
}

const origins = ['https://app.example', /^https:\/\/\w+\.app\.example$/]
const common = {
  name: 'test',
  version: '1.0.0',
  limits: LIMITS,
  tools: { timeout: 120, grace: 50, maxResult: 65_536 },
  ask: { timeout: 100, max: 40, maxPerPrincipal: 20 },
  streams: { keepAlive: 60, stall: 2_000, openAfter: 40, buffer: 4_096, retry: 10 },
  lists: { pageSize: 4 }
} as const satisfies McpOptions
const sessions = { idle: 600, max: 64, replay: { events: 40, bytes: 16_384, window: 150 } }

interface Configuration {
  readonly options: McpOptions
  readonly hooks?: true
}

export const CONFIGURATIONS: Readonly<Record<string, Configuration>> = {
  loopback: { options: { ...common, sessions } },
  guarded: { options: { ...common, sessions, auth, origins, rateLimit: { max: 150, timeWindow: 300, maxPerAddress: 1_000 } } },
  stateless: { options: { ...common, sessions: false, auth: false, origins } },
  guardedStateless: { options: { ...common, sessions: false, auth }, hooks: true },
  cramped: {
    options: {
      ...common,
      sessions: { ...sessions, max: 6, maxPerPrincipal: 4, replay: { events: 3, bytes: 512, window: 60 } },
      auth,
      streams: { ...common.streams, max: 6, maxPerPrincipal: 4, buffer: 512 },
      limits: { ...LIMITS, calls: 6, callsPerSession: 2, callsPerPrincipal: 4 },
      ask: { ...common.ask, max: 2, maxPerPrincipal: 1 },
      subscriptions: { maxPerPrincipal: 1, uris: 2 }
    },
    hooks: true
  }
}

function offerTools ({ mcp }: FastifyInstance): void {
  mcp.tool('add', { input: z.object({ a: z.number(), b: z.number() }) }, ({ a, b }) => String(a + b))
  mcp.tool('echo', {
    input: {
      type: 'object',
      properties: { code: { type: 'string', pattern: '^(a+)+\\d$' }, list: { type: 'array', items: { type: 'string' }, uniqueItems: true, maxItems: 20 }, deep: { type: 'object' } }
    }
  }, args => JSON.stringify(args))
  mcp.tool('shape', { input: z.object({ n: z.number().optional() }), output: z.object({ n: z.number() }) }, ({ n = 1 }) => ({ n }))
  mcp.tool('stream', { input: z.object({ n: z.int().min(0).max(50).default(3) }) }, async function * ({ n }, { log }) {
    for (let count = 0; count < n; count++) {
      log.info({ count })
      yield { type: 'text', text: `${count}` }
      if (count % 10 === 0) await sleep(1)
    }
  })
  mcp.tool('flood', { collect: false }, async function * () {
    for (let count = 0; count < 60; count++) yield 'x'.repeat(500)
  })
  mcp.tool('fails', {}, broken)
  mcp.tool('tells', {}, () => { throw new ToolError('no') })
  mcp.tool('codes', {}, () => { throw new McpError(-7, 'no', { why: 'because' }) })
  mcp.tool('ignores', {}, async () => {
    await sleep(200)
    return 'late'
  })
  mcp.tool('waits', {}, async function * (_args, { signal }) {
    yield 'one'
    await sleep(10_000, undefined, { signal })
  })
  mcp.tool('leaves', {}, async function * (_args, { closeStream }) {
    yield 'one'
    closeStream()
    yield 'two'
    return 'three'
  })
  mcp.tool('room', { input: z.object({ room: z.string().meta({ 'x-mcp-header': 'Room' }) }) }, ({ room }) => room)
  mcp.tool('hidden', { visible: principal => principal?.id === 'bob' }, () => 'seen')
}

function offerQuestions ({ mcp }: FastifyInstance): void {
  const size = z.object({ size: z.enum(['S', 'L']) })
  mcp.tool('asks', {}, async function * (_args, { ask, once }) {
    yield 'one'
    const made = await once('made', () => 7)
    const { action } = await ask('size', 'Which size?', size)
    return `${action} ${made}`
  })
  mcp.tool('asks-all', {}, async (_args, { ask, sample, roots }) => {
    const all = await Promise.all([
      ask.url('page', 'Open it', 'https://a.example'), roots('roots'), sample('title', { messages: [{ role: 'user', content: { type: 'text', text: 'x' } }], maxTokens: 5 })
    ])
    return all.length
  })
  mcp.resource('test://asks', {}, async (_variables, { ask }) => (await ask('size', 'Which size?', size)).action)
  mcp.prompt('asks', {}, async (_args, { ask }) => (await ask('size', 'Which size?', size)).action)
}

function offerResources ({ mcp }: FastifyInstance): void {
  mcp.resource('test://text', { mimeType: 'text/plain' }, () => 'text')
  mcp.resource('test://bytes', {}, () => Buffer.from([0, 255]))
  mcp.resource('test://stream', { mimeType: 'text/plain' }, () => Readable.from(['a', 'b']))
  mcp.resource('test://fails', {}, broken)
  mcp.resource('file:///{+path}', {}, ({ path }) => String(path))
  mcp.resource('db://{table}/{id}{?q*}', {
    complete: { table: ['users', 'orders'], id: value => [value, `${value}1`] },
    list: () => [{ uri: 'db://users/1', name: 'one' }, { uri: 'db://users/2', name: 'two' }]
  }, ({ id }) => id === 'none' ? null : JSON.stringify({ id }))
}

function offerPrompts ({ mcp }: FastifyInstance): void {
  mcp.prompt('greet', { input: z.object({ name: z.string(), count: z.coerce.number().optional() }), complete: { name: async value => [value] } }, ({ name }) => `Greet ${name}`)
  mcp.prompt('fails', {}, broken)
}

/** What one line of the log says. */
export interface LogLine {
  readonly level: number
  readonly msg: string
  readonly reqId?: string
  readonly err?: { readonly code?: string, readonly message: string, readonly stack: string }
}

/** Starts a server. `onError` gets the lines at level error that are not on purpose. */
export async function startSubject (name: string, onError: (line: LogLine) => void): Promise<FastifyInstance> {
  const stream = {
    write: (text: string): void => {
      if (!text.includes(SECRET)) onError(JSON.parse(text))
    }
  }
  const app = Fastify({ logger: { level: 'error', stream }, requestIdHeader: 'x-case', trustProxy: name === 'guarded' })
  const { options, hooks } = CONFIGURATIONS[name] ?? { options: {} }
  await app.register(mcp, options)
  if (options.auth) app.mcp.tool('scoped', { scopes: ['more'] }, () => 'more')
  for (const offer of [offerTools, offerQuestions, offerResources, offerPrompts]) offer(app)
  if (hooks === true) {
    app.mcp.use({
      onCall: async ({ method }) => { if (method === 'logging/setLevel') throw new McpError(-8, 'not now') },
      onResult: () => {},
      onError: async () => {}
    })
  }
  await app.listen({ port: 0, host: '127.0.0.1' })
  return app
}
