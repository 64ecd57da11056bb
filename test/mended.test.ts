// What an attack on resources, prompts, questions, subscriptions and hooks broke once.
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { content, errorCodes, McpError, ToolError } from 'fastify-mcp-sse'
import t from 'tap'
import { z } from 'zod'
import { Client, createApp, listen, StatelessClient, until } from './client.ts'
import { connectAsker, ERAS as ASKED, EVERYTHING } from './asking.ts'
import { ERAS, offer } from './peers.ts'
import { gate } from './sockets.ts'

const unhandled: unknown[] = []
process.on('unhandledRejection', reason => unhandled.push(reason))

const circle: Record<string, unknown> = {}
circle.circle = circle

for (const era of ERAS) {
  t.test(`on ${era} an error is told without the data that JSON cannot say`, async t => {
    const { app, peer } = await offer(t, era)
    for (const [name, data] of Object.entries({ bigint: { missing: 12n }, circle })) {
      app.mcp.resource(`x://${name}`, {}, () => { throw new McpError(4002, 'Pay', data) })
      app.mcp.tool(name, {}, async () => { throw new McpError(4002, 'Pay', data) })
      const client = await peer()
      t.strictSame((await client.request('resources/read', { uri: `x://${name}` })).error, { code: 4002, message: 'Pay' }, name)
      t.strictSame((await client.request('tools/call', { name })).error, { code: 4002, message: 'Pay' }, name)
    }
    t.equal(app.mcp.stats().calls, 0)
  })

  t.test(`on ${era} whoever throws another's cancellation is answered`, async t => {
    const { app, peer } = await offer(t, era)
    app.mcp.resource('x://gone', {}, () => { throw new errorCodes.FST_MCP_CANCELLED('by somebody else') })
    t.match((await (await peer()).request('resources/read', { uri: 'x://gone' })).error, { data: { code: 'FST_MCP_CANCELLED' } })
  })

  t.test(`on ${era} errors that no logger can read are answered and logged`, async t => {
    const { app, peer, logs } = await offer(t, era)
    const client = await peer()
    const odd = [
      Object.defineProperty(new Error('a'), 'more', { enumerable: true, get () { throw new Error('b') } }),
      new Proxy({}, { ownKeys () { throw new Error('c') } }),
      new Proxy(new Error('d'), { has () { throw new Error('e') } }),
      new Proxy(new Error('f'), { get () { throw new Error('g') } })
    ]
    for (const thrown of odd) {
      const undo = app.mcp.use({ onCall () { throw thrown } })
      t.match((await client.request('tools/list')).error, { data: { code: 'FST_MCP_INTERNAL' } })
      undo()
      const handle = app.mcp.tool('seen', { visible () { throw thrown } }, () => 'x')
      t.match((await client.request('tools/list')).result, { tools: [] })
      handle.remove()
    }
    t.ok(logs.length > 0)
    t.equal(app.mcp.stats().calls, 0)
  })
}

t.test('a stream that opens when its call is over may fail', async t => {
  const { app, peer } = await offer(t, '2026-07-28', { tools: { timeout: 20 } })
  const { opened, open } = gate()
  app.mcp.resource('file://{name}', {}, async ({ name }) => {
    await opened
    return createReadStream(join(import.meta.dirname, 'no-such-folder', name))
  })
  t.match((await (await peer()).request('resources/read', { uri: 'file://a' })).error, { data: { code: 'FST_MCP_TOOL_TIMEOUT' } })
  open()
  // An error without a listener would end the process.
  await sleep(50)
  t.match(app.mcp.stats(), { calls: 0 })
})

for (const era of ASKED.filter(({ forms }) => forms)) {
  t.test(`${era.name}: hooks that take their time do not disturb a question`, async t => {
    const app = await createApp(t)
    app.mcp.use({ onCall: async () => { await sleep(5) }, onResult: async () => { await sleep(5) } })
    app.mcp.tool('greet', {}, async (_args, { ask }) => (await ask('name', 'Who?', z.object({ name: z.string() }))).action)
    const client = await connectAsker(app, era, { capabilities: EVERYTHING })
    const { result } = await client.run('tools/call', { name: 'greet' }, () => ({ action: 'decline' }))
    t.match(result, { content: [{ text: 'decline' }] })
  })

  t.test(`${era.name}: what is made once is made once beside a question, and before the handler changes its arguments`, async t => {
    const app = await createApp(t)
    let charges = 0
    app.mcp.tool('pay', { input: z.object({ items: z.any() }) }, async ({ items }, { ask, once }) => {
      items.sort()
      const [charge] = await Promise.all([
        once('charge', async () => {
          await sleep(10)
          return new Date(++charges)
        }),
        ask('sure', 'Sure?', z.object({ sure: z.boolean() }))
      ])
      return `${typeof charge} ${charges}`
    })
    app.mcp.tool('unawaited', {}, async (_args, { ask, once }) => {
      const late = once('late', async () => { throw new ToolError('too late') })
      await ask('sure', 'Sure?', z.object({ sure: z.boolean() }))
      return late
    })
    const client = await connectAsker(app, era, { capabilities: EVERYTHING })
    const yes = (): object => ({ action: 'accept', content: { sure: true } })
    t.match((await client.run('tools/call', { name: 'pay', arguments: { items: ['b', 'a'] } }, yes)).result, { content: [{ text: 'string 1' }] })
    t.match((await client.run('tools/call', { name: 'unawaited' }, yes)).result, { isError: true, content: [{ text: 'too late' }] })
  })
}

t.test('what is still made when a run is over ends with its time or its call', async t => {
  const app = await createApp(t, { tools: { timeout: 30 } })
  app.mcp.tool('hangs', {}, async (_args, { ask, once }) => {
    await Promise.all([once('never', () => new Promise(() => {})), ask('sure', 'Sure?', z.object({ sure: z.boolean() }))])
  })
  const url = await listen(app)
  const client = new StatelessClient(url, { capabilities: EVERYTHING })
  t.match(await client.request('tools/call', { name: 'hangs' }), { error: { data: { code: 'FST_MCP_TOOL_TIMEOUT' } } })
  const slow = await createApp(t)
  const started = gate()
  slow.mcp.tool('hangs', {}, async (_args, { ask, once }) => {
    started.open()
    await Promise.all([once('never', () => new Promise(() => {})), ask('sure', 'Sure?', z.object({ sure: z.boolean() }))])
  })
  const waiting = new StatelessClient(await listen(slow), { capabilities: EVERYTHING }).request('tools/call', { name: 'hangs' })
  await started.opened
  await sleep(10)
  await slow.close()
  t.match(await waiting, { error: { data: { code: 'FST_MCP_CLOSING' } } })
})

t.test('a state of one server is nothing to another with the same name and keys', async t => {
  const mcp = (await import('fastify-mcp-sse')).default
  const { default: Fastify } = await import('fastify')
  const app = Fastify()
  t.after(() => app.close())
  for (const prefix of ['/a', '/b']) {
    app.register(async scope => {
      await scope.register(mcp, { name: 'same', ask: { keys: ['x'.repeat(32)] } })
      scope.mcp.tool('greet', {}, async (_args, { ask }) => (await ask('name', 'Who?', z.object({ name: z.string() }))).action)
    }, { prefix })
  }
  const clientOf = (path: string): StatelessClient => new StatelessClient(app, { path, capabilities: EVERYTHING })
  const { result: { requestState } } = await clientOf('/a/mcp').request('tools/call', { name: 'greet' })
  const retry = { name: 'greet', requestState, inputResponses: { name: { action: 'cancel' } } }
  t.match((await clientOf('/b/mcp').request('tools/call', retry)).error, { data: { code: 'FST_MCP_STATE_INVALID' } })
  t.match((await clientOf('/a/mcp').request('tools/call', retry)).result, { content: [{ text: 'cancel' }] })
})

t.test('a subscription that waits for its hooks is counted, bounded, and ends with its client and its server', async t => {
  const app = await createApp(t, { limits: { calls: 2 } })
  const reasons: unknown[] = []
  app.mcp.use({
    async onCall ({ method, signal }) {
      if (method !== 'subscriptions/listen') return
      await once(signal, 'abort')
      reasons.push(signal.reason.code)
      throw signal.reason
    }
  })
  const url = await listen(app)
  const controller = new AbortController()
  const post = (signal?: AbortSignal) => {
    const client = new StatelessClient(url)
    const { headers, body } = client.init('POST', {}, { jsonrpc: '2.0', id: 1, method: 'subscriptions/listen', params: { notifications: {} } })
    return fetch(`${url}/mcp`, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body), signal: signal ?? null })
  }
  const left = post(controller.signal)
  const stays = post()
  await until(() => app.mcp.stats().calls === 2, 'both')
  t.equal((await post()).status, 503)
  controller.abort()
  await t.rejects(left)
  await until(() => app.mcp.stats().calls === 1, 'one to leave')
  t.strictSame(reasons, ['FST_MCP_CLIENT_GONE'])
  await app.close()
  t.equal((await stays).status, 503)
  t.strictSame(reasons, ['FST_MCP_CLIENT_GONE', 'FST_MCP_CLOSING'])
})

t.test('a hook that refuses a subscription is told in its words', async t => {
  const app = await createApp(t)
  const refusals = [new ToolError('not now'), new McpError(4003, 'Pay')]
  app.mcp.use({ onCall () { throw refusals.shift() } })
  const client = new StatelessClient(app)
  const listenTo = { jsonrpc: '2.0', id: 1, method: 'subscriptions/listen', params: { notifications: {} } }
  t.match((await client.post(listenTo)).messages, [{ id: 1, error: { message: 'not now', data: { code: 'FST_MCP_HANDLER_FAILED' } } }])
  t.match((await client.post(listenTo)).messages, [{ id: 1, error: { code: 4003, message: 'Pay' } }])
  t.equal(app.mcp.stats().calls, 0)
})

t.test('a thenable that never settles is bounded like a promise', async t => {
  const app = await createApp(t, { tools: { timeout: 20 } })
  app.mcp.use({ onCall: () => ({ then () {} }) as never })
  t.match((await new StatelessClient(app).request('tools/list')).error, { data: { code: 'FST_MCP_TOOL_TIMEOUT' } })
})

t.test('what JSON cannot say is refused at registration, not when somebody lists', async t => {
  const app = await createApp(t)
  t.throws(() => app.mcp.tool('a', { _meta: { n: 1n } }, () => 'x'), { code: 'FST_MCP_TOOL_INVALID', message: /cannot be listed/ })
  t.throws(() => app.mcp.prompt('a', { _meta: circle }, () => 'x'), { code: 'FST_MCP_PROMPT_INVALID', message: /cannot be listed/ })
  t.throws(() => new McpError(1.5, 'x'), { name: 'TypeError' })
})

t.test('what is not a result, and what JSON would empty, is an error of the tool', async t => {
  const app = await createApp(t)
  const wrong = { map: new Map([['a', 1]]), set: new Set([1]), bytes: Buffer.from('a'), block: { content: [{ type: 'txt', text: 'a' }] }, half: { content: [content.text('a'), { type: 'image' }] } }
  for (const [name, value] of Object.entries(wrong)) app.mcp.tool(name, {}, () => value)
  app.mcp.tool('plain', {}, () => ({ content: ['a', 1] }))
  const client = new StatelessClient(app)
  for (const name of Object.keys(wrong)) t.match((await client.request('tools/call', { name })).result, { isError: true, content: [{ text: /failed; the server's log/ }] }, name)
  t.match((await client.request('tools/call', { name: 'plain' })).result, { content: [{ text: '{"content":["a",1]}' }] })
})

t.test('a body holds as many values as it may, and no more', async t => {
  const app = await createApp(t, { limits: { values: 50 } })
  app.mcp.tool('count', { input: z.object({ list: z.array(z.int()) }) }, ({ list }) => String(list.length))
  const client = new StatelessClient(app)
  const call = (length: number) => client.post({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'count', arguments: { list: Array(length).fill(1) } } })
  const fits = await call(20)
  t.match(fits.messages, [{ result: { content: [{ text: '20' }] } }])
  t.match(await call(60), { status: 400, messages: [{ error: { code: -32600, data: { code: 'FST_MCP_TOO_MANY_VALUES' } } }] })
  const commas = await client.post({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'count', arguments: { list: [] }, text: ',[{'.repeat(60) } })
  t.match(commas.messages, [{ result: { content: [{ text: '0' }] } }], 'what stands in strings does not count')
})

t.test('a body holds as many keys as it may, in all its objects together, and no more', async t => {
  const app = await createApp(t, { limits: { keys: 20 } })
  const client = new Client(app)
  // Beside the three of the message itself.
  const ping = (params: object) => client.post({ jsonrpc: '2.0', id: 1, method: 'ping', params })
  const objects = (count: number) => ({ list: Array.from({ length: count }, (_, index) => ({ [index]: 1 })) })
  t.match(await ping(objects(15)), { messages: [{ error: { data: { code: 'FST_MCP_SESSION_REQUIRED' } } }] })
  const refused = { status: 400, messages: [{ error: { code: -32600, message: 'The body holds more than 20 keys', data: { code: 'FST_MCP_TOO_MANY_KEYS' } } }] }
  t.match(await ping(objects(16)), refused)
  t.match(await ping({ one: Object.fromEntries(Array.from({ length: 16 }, (_, index) => [index, 1])) }), refused)
  t.match(await ping({ text: ':"":'.repeat(60), list: Array(60).fill(1) }), { messages: [{ error: { data: { code: 'FST_MCP_SESSION_REQUIRED' } } }] }, 'neither strings nor arrays count')
})

t.test('the URIs that a session subscribed to are bounded together', async t => {
  const { app, peer } = await offer(t, '2025-11-25', { streams: { buffer: 1_000 } })
  app.mcp.resource('x://{+path}', {}, () => 'x')
  const client = await peer()
  const subscribe = (length: number, fill: string) => client.request('resources/subscribe', { uri: `x://${fill.repeat(length - 4)}` })
  t.match(await subscribe(600, 'a'), { result: {} })
  t.match((await subscribe(401, 'b')).error, { data: { code: 'FST_MCP_SUBSCRIPTIONS_FULL' } })
  t.match(await subscribe(400, 'c'), { result: {} })
  t.match(await subscribe(600, 'a'), { result: {} }, 'again')
})

t.test('a run that differs is told to the log', async t => {
  const { app, peer, logs } = await offer(t, '2026-07-28')
  let runs = 0
  app.mcp.resource('x://it', {}, async (_variables, { ask, progress }) => {
    progress(1, 2, String(++runs))
    return (await ask('sure', 'Sure?', z.object({ sure: z.boolean() }))).action
  })
  const _meta = { 'io.modelcontextprotocol/clientCapabilities': { elicitation: {} } }
  const client = await peer()
  const { result: { requestState } } = await client.request('resources/read', { uri: 'x://it', _meta })
  const { error } = await client.request('resources/read', { uri: 'x://it', requestState, inputResponses: { sure: { action: 'cancel' } }, _meta })
  t.match(error, { data: { code: 'FST_MCP_RERUN_DIFFERS' } })
  t.match(logs.filter(({ level }) => level >= 50), [{ msg: 'call failed', err: { code: 'FST_MCP_RERUN_DIFFERS' } }])
})

t.test('a schema that is a shape is told how to become one', async t => {
  const app = await createApp(t)
  t.throws(() => app.mcp.tool('shape', { input: { a: z.string() } }, () => 'x'), { code: 'FST_MCP_SCHEMA_INVALID', message: /field "a" is a schema by itself: wrap the fields in one/ })
  const mini = { '~standard': { version: 1, vendor: 'zod', validate: () => ({ value: 1 }) } } as const
  t.throws(() => app.mcp.tool('mini', { input: mini }, () => 'x'), { code: 'FST_MCP_SCHEMA_INVALID', message: /use zod 4.2 or later/ })
})

t.test('nothing of all that was left to nobody', async t => {
  await new Promise(resolve => setImmediate(resolve))
  t.strictSame(unhandled, [])
})
