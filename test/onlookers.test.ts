// What an attack on those who look on broke once: they see what they see, and no call waits for them, fails by them or grows them.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import Fastify from 'fastify'
import { McpError, ToolError } from 'fastify-mcp-sse'
import { metrics } from 'fastify-mcp-sse/metrics'
import { collectDefaultMetrics, Counter, type OpenMetricsContentType, Registry } from 'prom-client'
import t from 'tap'
import { root } from './child.ts'
import { Client, createApp, send, StatelessClient } from './client.ts'
import { ERAS, offer } from './peers.ts'
import { hear } from './observer.ts'
import { serve, TRANSPORTS } from './sockets.ts'

let count = 0
const nextName = (): string => `looked-at-${++count}`

const throwing = { toString () { throw new Error('on purpose') } }

for (const era of ERAS) {
  t.test(`on ${era} a code that is no text is answered`, async t => {
    const server = nextName()
    const { app, peer } = await offer(t, era, { name: server })
    const ended = hear<{ code: string }>(t, 'fastify-mcp-sse:call:end', server)
    const codes = [throwing, Object.create(null), Symbol('x'), 7]
    codes.forEach((code, index) => app.mcp.tool(`t${index}`, {}, () => { throw new McpError(4711, 'mine', { code }) }))
    const client = await peer()
    for (const index of codes.keys()) t.match((await client.request('tools/call', { name: `t${index}` })).error, { code: 4711, message: 'mine' })
    t.strictSame(ended.filter(({ code }) => code !== undefined).map(({ code }) => code), ['4711', '4711', '4711', '4711'])
  })

  t.test(`on ${era} an error that its application has spoilt is answered, also while refusals are counted`, async t => {
    const server = nextName()
    const { app, peer } = await offer(t, era, { name: server })
    hear(t, 'fastify-mcp-sse:limit', server)
    hear(t, 'fastify-mcp-sse:auth', server)
    const no = (): never => { throw new Error('on purpose') }
    const spoilt = {
      data: new McpError(4711, 'mine', { code: { toString: 1, valueOf: 1 } }),
      getter: Object.assign(new McpError(4711, 'mine'), { rpc: { code: 4711, message: 'mine', data: Object.defineProperty({}, 'code', { get: no }) } }),
      trap: Object.assign(new McpError(4711, 'mine'), { rpc: { code: 4711, get message () { return no() } } }),
      number: Object.assign(new McpError(4711, 'mine'), { rpc: { code: {}, message: 'mine' } })
    }
    for (const [name, error] of Object.entries(spoilt)) app.mcp.tool(name, {}, () => { throw error })
    const client = await peer()
    for (const name of ['data', 'getter']) t.match((await client.request('tools/call', { name })).error, { code: 4711, message: 'mine' }, name)
    for (const name of ['trap', 'number']) t.match((await client.request('tools/call', { name })).error, { code: -32603, message: 'Internal error' }, name)
  })

  t.test(`on ${era} what was thrown and cannot be read is told of`, async t => {
    const server = nextName()
    const { app, peer } = await offer(t, era, { name: server })
    hear(t, 'fastify-mcp-sse:call:end', server)
    const no = (): never => { throw new Error('on purpose') }
    app.mcp.tool('proxy', {}, () => { throw new Proxy(new ToolError('x'), { get: no, has: no, getPrototypeOf: no }) })
    app.mcp.tool('fickle', {}, () => { throw Object.defineProperty(new Error('x'), 'code', { get: no }) })
    const client = await peer()
    for (const name of ['proxy', 'fickle']) t.match(await client.request('tools/call', { name }), { result: { isError: true } }, name)
  })
}

for (const transport of TRANSPORTS) {
  t.test(`on ${transport} a log that throws loses its line alone`, async t => {
    for (const logger of [
      { level: 'trace', serializers: { call: () => { throw new Error('on purpose') } }, stream: { write () {} } },
      { level: 'info', stream: { write (line: string) { if (line.includes('call ended')) throw new Error('on purpose') } } }
    ]) {
      const { app, peer } = await serve(t, transport, {}, { logger })
      app.mcp.tool('say', {}, async function * () { yield 'here' })
      t.match(await (await (await peer()).start('say', {}, 'p')).answer(), { result: { content: [{ text: 'here' }] } })
      t.equal(app.mcp.stats().calls, 0)
    }
  })
}

t.test('methods that clients make up are one label, whoever refuses them', async t => {
  const app = await createApp(t, { name: nextName() })
  await app.register(metrics)
  app.mcp.tool('say', {}, () => 'x')
  app.mcp.use({ onCall ({ method }) { if (method !== 'tools/list') throw new McpError(1, 'no') } })
  const clients = [await Client.connect(app), new StatelessClient(app)]
  for (const client of clients) {
    for (let index = 0; index < 5; index++) await client.request(`made/up-${index}`)
    for (const method of ['__proto__', 'constructor', 'tools/call', 'tools/list']) await client.request(method, { name: 'say' })
  }
  const { text } = await send(app, '/metrics')
  const methods = new Set(Array.from(text.matchAll(/duration_seconds_count\{.*server="looked-at-\d+".*method="([^"]*)"|method="([^"]*)"/g), ([, a, b]) => a ?? b))
  t.strictSame([...methods].sort(), ['other', 'tools/call', 'tools/list'])
})

t.test('a registry takes one registration, and is as it was when there is another', async t => {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const first = Fastify()
  await first.register(metrics, { registry })
  const before = registry.getMetricsAsArray().map(({ name }) => name)
  const second = Fastify()
  t.teardown(() => second.close())
  await t.rejects(async () => second.register(metrics, { registry }), { code: 'FST_MCP_OPTION_INVALID', message: /`metrics.registry` holds `mcp_server_sessions` already/ })
  await second.close()
  t.strictSame(registry.getMetricsAsArray().map(({ name }) => name), before)
  t.match(await registry.metrics(), /process_cpu_seconds_total/)
  await first.close()
  t.notMatch(await registry.metrics(), /mcp_server_/)
  t.match(await registry.metrics(), /process_cpu_seconds_total/)

  const theirs = new Registry()
  const gaps = new Counter({ name: 'mcp_server_gaps_total', help: 'Ours.', registers: [theirs] })
  const third = Fastify()
  await t.rejects(async () => third.register(metrics, { registry: theirs }), { message: /`mcp_server_gaps_total`/ })
  await third.close()
  t.strictSame(theirs.getMetricsAsArray(), [gaps], 'what was there stays, and nothing of ours')
})

t.test('a registration that fails, and two servers of one name', async t => {
  const registry = new Registry()
  const app = Fastify()
  app.get('/metrics', async () => '')
  await t.rejects(async () => app.register(metrics, { registry }), { code: 'FST_ERR_DUPLICATED_ROUTE' })
  await app.close()
  t.strictSame(registry.getMetricsAsArray(), [])

  const name = nextName()
  const [one, two] = [await createApp(t, { name }), await createApp(t, { name })]
  await one.register(metrics)
  await Client.connect(one)
  await Client.connect(two)
  const figure = async (metric: string) => new RegExp(`^mcp_server_${metric}\\{server="${name}"\\} (\\d+)`, 'm').exec((await send(one, '/metrics')).text)?.[1]
  t.equal(await figure('sessions'), '2')
  t.equal(await figure('ready'), '2')
  await two.close()
  t.equal(await figure('sessions'), '1')
  t.equal(await figure('ready'), '1')
})

t.test('a registry with default labels, and one that speaks OpenMetrics', async t => {
  const registry = new Registry<OpenMetricsContentType>()
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE)
  registry.setDefaultLabels({ server: 'theirs', region: 'eu' })
  const server = nextName()
  const app = await createApp(t, { name: server })
  await app.register(metrics, { registry })
  app.mcp.tool('say', {}, () => 'x')
  await (await Client.connect(app)).call('say')
  const { text, headers } = await send(app, '/metrics')
  t.match(headers['content-type'], 'application/openmetrics-text')
  const line = text.split('\n').find(line => line.startsWith('mcp_server_sent_bytes_total{') && line.includes('tool="say"'))
  t.match(line, `server="${server}"`)
  t.match(line, 'region="eu"')
  t.match(text, /# EOF\n$/)
})

// Node makes an uncaught exception of what a subscriber throws, which would be this test's own.
const PROGRAM = `
import { AsyncLocalStorage } from 'node:async_hooks'
import { channel } from 'node:diagnostics_channel'
import Fastify from 'fastify'
import mcp from 'fastify-mcp-sse'
let uncaught = 0
process.on('uncaughtException', error => { if (error.message === 'on purpose') uncaught++ })
const no = () => { throw new Error('on purpose') }
channel('fastify-mcp-sse:call:start').subscribe(no)
channel('fastify-mcp-sse:call:start').bindStore(new AsyncLocalStorage(), no)
channel('fastify-mcp-sse:call:end').subscribe(no)
channel('fastify-mcp-sse:limit').subscribe(no)
const app = Fastify()
await app.register(mcp, { name: 'thrown-at', sessions: false, limits: { batch: 1 } })
app.mcp.tool('say', {}, async function * () { yield 'here' })
const post = payload => app.inject({ method: 'POST', url: '/mcp', headers: { accept: 'application/json' }, payload })
const call = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'say' } }
const said = (await post(call)).json().result.content[0].text
const { code } = (await post([call, call])).json().error.data
await app.close()
await new Promise(resolve => setImmediate(resolve))
console.log(JSON.stringify({ said, code, uncaught, calls: app.mcp.stats().calls }))
`

t.test('what a subscriber throws is an uncaught exception, and the call is answered', async t => {
  const { stdout } = await promisify(execFile)('env', [
    '-i', process.execPath, '--import', 'tsx', '--conditions=fastify-mcp-sse/source', '--input-type=module', '--eval', PROGRAM
  ], { cwd: root })
  t.strictSame(JSON.parse(stdout), { said: 'here', code: 'FST_MCP_BATCH_INVALID', uncaught: 4, calls: 0 })
})

t.test('HEAD asks for the token too, and a name of a server breaks out of no label', async t => {
  const server = `"}\n${nextName()}`
  const app = await createApp(t, { name: server })
  await app.register(metrics, { token: 'secret' })
  t.equal((await send(app, '/metrics', { method: 'HEAD' })).status, 401)
  const { text } = await send(app, '/metrics', { headers: { authorization: 'Bearer secret' } })
  t.match(text, `mcp_server_ready{server=${JSON.stringify(server)}} 1`)
})
