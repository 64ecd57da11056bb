// Hooks around every call, in every era.
import { type CallInfo, errorCodes, type McpHooks, McpError, ToolError } from 'fastify-mcp-sse'
import t from 'tap'
import { z } from 'zod'
import { Client, until } from './client.ts'
import { AUTH, ERAS, never, offer, type Offering, revisionOf } from './peers.ts'
import { DeafClient, gate, serve } from './sockets.ts'

/** A server with something of everything. */
function fill ({ app }: Offering): void {
  app.mcp.tool('tool', { input: z.object({ a: z.string().optional() }) }, () => 'tool')
  app.mcp.tool('fails', {}, () => { throw new ToolError('told') })
  app.mcp.tool('breaks', {}, async () => { throw new RangeError('a secret') })
  app.mcp.prompt('prompt', { input: z.object({ a: z.string().optional() }), complete: { a: ['x'] } }, () => 'prompt')
  app.mcp.resource('a://b', {}, () => 'resource')
  app.mcp.resource('a://broken', {}, () => { throw new RangeError('a secret') })
}

for (const era of ERAS) {
  t.test(`on ${era} hooks see every call with what they are to know of it`, async t => {
    const offering = await offer(t, era, { auth: AUTH })
    const { app, peer } = offering
    fill(offering)
    const client = await peer('alice')
    const seen: CallInfo[] = []
    const results: unknown[] = []
    app.mcp.use({ onCall: call => { seen.push(call) }, onResult: (call, result) => { results.push([call.method, Object.keys(result)[0]]) } })
    const asks: [method: string, params: object, target: string | undefined, key: string][] = [
      ['tools/list', {}, undefined, 'tools'],
      ['tools/call', { name: 'tool', arguments: {} }, 'tool', 'content'],
      ['prompts/list', {}, undefined, 'prompts'],
      ['prompts/get', { name: 'prompt' }, 'prompt', 'messages'],
      ['resources/list', {}, undefined, 'resources'],
      ['resources/templates/list', {}, undefined, 'resourceTemplates'],
      ['resources/read', { uri: 'a://b' }, 'a://b', 'contents'],
      ['completion/complete', { ref: { type: 'ref/prompt', name: 'prompt' }, argument: { name: 'a', value: '' } }, undefined, 'completion']
    ]
    for (const [method, params, target, key] of asks) {
      seen.length = results.length = 0
      await client.request(method, params)
      const [call] = seen
      t.match(call, { method, params, revision: revisionOf(era), principal: { id: 'alice' } }, method)
      t.equal(call?.target, target)
      t.equal(call?.request.method, 'POST')
      t.equal(call?.signal.aborted, false)
      t.equal(call?.session?.transport, era === 'http+sse' ? era : revisionOf(era) === '2026-07-28' || era === 'sessionless' ? undefined : 'streamable-http')
      t.ok(Number.isInteger(call?.id))
      t.equal(results.length, 1)
      if (key !== 'resourceTemplates') t.strictSame(results, [[method, key]])
    }
    seen.length = 0
    t.match((await client.request('nonsense')).error, { code: -32601 })
    t.match((await client.request('tools/call', { name: 5 })).error, { code: -32602 })
    t.match(seen, [{ method: 'nonsense', target: undefined }, { method: 'tools/call', target: undefined }], 'also what nobody answers')
  })

  t.test(`on ${era} hooks run in order, are waited for, and go when they are undone`, async t => {
    const offering = await offer(t, era)
    const { app, peer } = offering
    fill(offering)
    const client = await peer()
    const order: string[] = []
    const hook = (name: string): McpHooks => ({
      async onCall () {
        await new Promise(resolve => setTimeout(resolve, 5))
        order.push(`${name} before`)
      },
      onResult () {
        order.push(`${name} after`)
      }
    })
    const once = hook('a')
    const undo = app.mcp.use(once)
    app.mcp.use(hook('b'))
    const undoTwin = app.mcp.use(once)
    await client.request('tools/call', { name: 'tool' })
    t.same(order.splice(0), ['a before', 'b before', 'a before', 'a after', 'b after', 'a after'])
    undo()
    undo()
    once.onResult = () => { order.push('changed later') }
    await client.request('tools/call', { name: 'tool' })
    t.same(order.splice(0), ['b before', 'a before', 'b after', 'a after'], 'what was given twice is undone once')
    undoTwin()
    await client.request('tools/call', { name: 'tool' })
    t.same(order.splice(0), ['b before', 'b after'])
  })

  t.test(`on ${era} a hook refuses calls, each in its own words`, async t => {
    const offering = await offer(t, era)
    const { app, peer, logs } = offering
    fill(offering)
    const client = await peer()
    let refusal: unknown
    const told: unknown[] = []
    app.mcp.use({ onCall () { if (refusal !== undefined) throw refusal }, onError: (_, error) => { told.push(error) } })
    const call = async (given: unknown) => {
      refusal = given
      return client.request('tools/call', { name: 'tool' })
    }
    const read = async (given: unknown) => {
      refusal = given
      return (await client.request('resources/read', { uri: 'a://b' })).error
    }
    const refusals = [new ToolError('not now'), new McpError(4711, 'mine', { a: 1 }), new errorCodes.FST_MCP_PARAMS_INVALID('so')]
    t.match((await call(refusals[0])).result, { content: [{ type: 'text', text: 'not now' }], isError: true })
    t.strictSame((await call(refusals[1])).error, { code: 4711, message: 'mine', data: { a: 1 } })
    t.match((await call(refusals[2])).error, { code: -32602, message: 'Invalid params: so' })
    t.same(told, refusals)
    t.match(await read(new ToolError('not now')), { code: -32603, message: 'not now' }, 'where there is no model the client is told')
    t.strictSame(logs, [])
    t.match((await call(new Error('a secret'))).error, { code: -32603, message: 'Internal error', data: { code: 'FST_MCP_INTERNAL' } })
    t.match(logs.at(-1), { level: 50, msg: 'call failed', err: { message: 'a secret' } })
    t.match((await call(new Proxy({}, { get () { throw new Error('x') } }))).error, { code: -32603, message: 'Internal error' })
    t.match((await call(null)).error, { code: -32603, message: 'Internal error' })
    t.match((await call(undefined)).result, { content: [{ text: 'tool' }] })
  })

  t.test(`on ${era} a hook sends another result`, async t => {
    const offering = await offer(t, era)
    const { app, peer } = offering
    fill(offering)
    const client = await peer()
    const given: unknown[] = []
    app.mcp.use({ onResult: (_, result) => ({ ...result, extra: 1 }) })
    app.mcp.use({ onResult: async (_, result) => { given.push(result.extra); return { content: [{ type: 'text', text: 'other' }] } } })
    app.mcp.use({ onResult: (_, result) => { Object.assign(result, { content: 'changed in place' }) } })
    const undo = app.mcp.use({ onResult: () => 'no object' as never })
    t.match((await client.request('tools/call', { name: 'tool' })).result, { content: [{ text: 'other' }] })
    t.strictSame(given, [1])
    undo()
    const undoThrow = app.mcp.use({ onResult () { throw new McpError(7, 'late') } })
    t.match((await client.request('tools/call', { name: 'tool' })).error, { code: 7, message: 'late' })
    undoThrow()
    const undoTool = app.mcp.use({ async onResult () { throw new ToolError('late') } })
    t.match((await client.request('tools/call', { name: 'tool' })).result, { isError: true, content: [{ text: 'late' }] })
    undoTool()
    app.mcp.use({ onResult: () => ({ a: 1n }) })
    t.match((await client.request('tools/call', { name: 'tool' })).error, { code: -32603, message: 'Internal error' }, 'what JSON cannot say')
  })

  t.test(`on ${era} onError gets what was thrown, also where the model is told`, async t => {
    const offering = await offer(t, era, { tools: { timeout: 50, grace: 20 } })
    const { app, peer, logs } = offering
    fill(offering)
    app.mcp.tool('hangs', {}, () => never)
    const client = await peer()
    const told: [string | undefined, string][] = []
    app.mcp.use({ onError () { throw new Error('of the hook') }, onResult: call => { told.push([call.target, 'result']) } })
    app.mcp.use({ async onError () { throw new Proxy({}, { get () { throw new Error('x') } }) } })
    app.mcp.use({ onError: (call, error) => { told.push([call.target, error instanceof Error ? error.message : String(error)]) } })
    t.match((await client.request('tools/call', { name: 'fails' })).result, { isError: true, content: [{ text: 'told' }] })
    t.match((await client.request('tools/call', { name: 'breaks' })).result, { isError: true })
    t.match((await client.request('tools/call', { name: 'hangs' })).result, { isError: true })
    t.match((await client.request('resources/read', { uri: 'a://broken' })).error, { code: -32603, data: { code: 'FST_MCP_HANDLER_FAILED' } })
    t.match((await client.request('prompts/get', { name: 'none' })).error, { code: -32602 })
    const bad = await client.request('tools/call', { name: 'tool', arguments: { a: 5 } })
    t.ok(revisionOf(era) >= '2025-11-25' ? bad.result.isError : bad.error)
    t.strictSame(told.slice(0, 5), [
      ['fails', 'told'], ['breaks', 'a secret'], ['hangs', 'The tool ran longer than 50 ms'], ['a://broken', 'a secret'], ['none', 'Prompt "none" is not known: see `prompts/list`']
    ])
    t.match(told[5], ['tool', /^Invalid arguments for tool "tool"/])
    t.equal(logs.filter(({ msg }) => msg.startsWith('onError failed')).length, 12)
  })

  t.test(`on ${era} a hook that hangs holds its call no longer than its client waits, nor than a handler may`, async t => {
    const offering = await offer(t, era, { tools: { timeout: 80 } })
    const { app, peer, idle, logs } = offering
    fill(offering)
    let calls = 0
    app.mcp.tool('count', {}, () => { calls++; return 'x' })
    const client = await peer()
    const hooks: [name: string, hooks: McpHooks, tool: string][] = [
      ['onCall', { onCall: () => never }, 'count'], ['onResult', { onResult: () => never }, 'count'], ['onError', { onError: () => never }, 'fails']
    ]
    for (const [name, hook, tool] of hooks) {
      const undo = app.mcp.use(hook)
      const { error, result } = await client.request('tools/call', { name: tool })
      if (name === 'onError') t.match(result, { isError: true, content: [{ text: 'told' }] }, 'what went wrong is told all the same')
      else t.match(error, { code: -32603, message: 'The tool ran longer than 80 ms' }, name)
      undo()
    }
    t.match(logs.filter(({ msg }) => msg === 'onError failed'), [{ err: { code: 'FST_MCP_TOOL_TIMEOUT' } }])
    t.equal(calls, 1, 'a call that was not let in does not start')
    await idle()
  })

  t.test(`on ${era} a call that is given up while a hook waits ends at once, and does not start`, async t => {
    const offering = await offer(t, era)
    const { app, peer, idle, logs } = offering
    fill(offering)
    let calls = 0
    app.mcp.tool('count', {}, () => { calls++; return 'x' })
    const client = await peer()
    const late = gate()
    const signals: AbortSignal[] = []
    const told: unknown[] = []
    const hang = (call: CallInfo): Promise<void> => {
      signals.push(call.signal)
      return signals.length % 2 === 1 ? never : late.opened
    }
    const note = (_: CallInfo, error: unknown): void => { told.push(error) }
    for (const hooks of [{ onCall: hang, onError: note }, { onCall: hang, onError: note }, { onResult: hang }, { onError: hang }]) {
      const undo = app.mcp.use(hooks)
      const count = signals.length
      const running = client.start('tools/call', { name: 'onError' in hooks && !('onCall' in hooks) ? 'fails' : 'count' })
      running.answer.catch(() => {})
      await until(() => signals.length > count, 'the hook')
      await running.stop()
      await idle()
      t.ok(signals.at(-1)?.aborted)
      undo()
    }
    late.open()
    await new Promise(resolve => setTimeout(resolve, 10))
    t.equal(calls, 1, 'for onResult alone')
    const code = ['sessionless', '2026-07-28'].includes(era) ? 'FST_MCP_CLIENT_GONE' : 'FST_MCP_CANCELLED'
    t.match(told, [{ code }, { code }])
    t.strictSame(logs, [])
  })

  t.test(`on ${era} a hook that ends its own call's wait late does not start the call`, async t => {
    const { app, peer, idle } = await offer(t, era)
    let calls = 0
    app.mcp.tool('count', {}, () => { calls++; return 'x' })
    const client = await peer()
    const waits = gate()
    const begun = gate()
    // Not a promise of this realm's own class: it is awaited as it is.
    app.mcp.use({ onCall: () => { begun.open(); return { then: (resolve: () => void) => waits.opened.then(resolve) } as never } })
    const running = client.start('tools/call', { name: 'count' })
    running.answer.catch(() => {})
    await begun.opened
    await running.stop()
    if (['sessionless', '2026-07-28'].includes(era)) await new Promise(resolve => setTimeout(resolve, 50))
    waits.open()
    await idle()
    t.equal(calls, 0)
  })
}

t.test('what is no hook is refused', async t => {
  const { app } = await offer(t, '2025-11-25')
  const wrong: [hooks: unknown, message: RegExp][] = [
    [undefined, /^Not a hook: it needs one of onCall, onResult, onError$/],
    [null, /needs one of/],
    [{}, /needs one of/],
    [() => {}, /needs one of/],
    [{ onRequest () {} }, /there is no `onRequest`; there are onCall, onResult, onError/],
    [{ onCall: true }, /`onCall` must be a function/],
    [{ onCall () {}, onResult: undefined }, /`onResult` must be a function/]
  ]
  // The compiler would say so too.
  for (const [hooks, message] of wrong) t.throws(() => app.mcp.use(hooks as McpHooks), { code: 'FST_MCP_HOOK_INVALID', message })
})

t.test('with hooks chunks still arrive while the tool runs, and a client that reads nothing stops it', async t => {
  const served = await serve(t, '2025-11-25', { streams: { buffer: 16_384 } })
  const { app, peer } = served
  let results = 0
  app.mcp.use({ onCall: async () => {}, onResult () { results++ }, onError: async () => {} })
  const received = gate()
  app.mcp.tool('chunks', {}, async function * () {
    yield 'first'
    await received.opened
    return 'last'
  })
  let yielded = 0
  let finished = 0
  app.mcp.tool('flood', { collect: false }, async function * () {
    try {
      for (;;) {
        yielded++
        yield 'x'.repeat(8_192)
      }
    } finally {
      finished++
    }
  })
  const client = await peer()
  const call = await client.start('chunks', {}, 'token')
  t.match(await call.progress(), { message: 'first' })
  received.open()
  t.match((await call.answer()).result, { content: [{ text: 'firstlast' }] })
  t.equal(results, 1)

  const raw = await Client.connect(served.url)
  const deaf = await DeafClient.ask(served.url, '/mcp', {
    method: 'POST', headers: raw.headers, body: { jsonrpc: '2.0', id: 9, method: 'tools/call', params: { name: 'flood', _meta: { progressToken: 1 } } }
  })
  let last = -1
  await until(() => {
    const still = yielded === last && yielded > 10
    last = yielded
    return still
  }, 'a tool that stands still')
  await new Promise(resolve => setTimeout(resolve, 100))
  const stood = yielded
  await new Promise(resolve => setTimeout(resolve, 100))
  t.equal(yielded, stood, 'nothing more is pulled')
  await raw.cancel(9)
  await until(() => finished === 1, 'the end of the generator')
  deaf.socket.destroy()
})
