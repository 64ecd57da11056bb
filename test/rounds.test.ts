// Asking on 2026-07-28: a call ends in `input_required`, and its handler runs again from the top with the answers (basic/patterns/mrtr).
import { once } from 'node:events'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { z } from 'zod'
import { type CallInfo, McpError, type McpOptions, type ToolContext, ToolError } from '../lib/index.ts'
import { Client, createApp, listen, open, REVISIONS, type RpcMessage, until } from './client.ts'
import { EVERYTHING, type Respond, type Round, Standalone } from './asking.ts'
import { gate } from './sockets.ts'

const NAME = z.object({ name: z.string() })
const KEY = 'a key of the test that is long enough'
const OTHER_KEY = 'another key, which is long enough as well'
const CALL = { name: 'it', arguments: {} }
const accept = (name: string): object => ({ action: 'accept', content: { name } })
const sayKey: Respond = ({ key = '' }) => accept(key)

type Run = (ctx: ToolContext, args: Record<string, unknown>) => unknown

/** An app with one tool. */
async function serve (t: Test, run: Run, options: McpOptions = {}): Promise<FastifyInstance> {
  const app = await createApp(t, options)
  app.mcp.tool('it', { input: { type: 'object' } }, (args, ctx) => Object(run(ctx, args)))
  return app
}

/** What a user typed, as text. */
async function nameOf ({ ask }: ToolContext, key: string, message = key): Promise<string> {
  const answer = await ask(key, message, NAME)
  return answer.action === 'accept' ? answer.content.name : answer.action
}

const requestsOf = ({ last }: Round): Record<string, { method: string, params: any }> => last.result.inputRequests
const stateOf = ({ last }: Round): string => last.result.requestState
const progressIn = ({ messages }: { messages: readonly RpcMessage[] }): unknown[] =>
  messages.filter(({ method }) => method === 'notifications/progress').map(({ params }) => [params.progress, params.message])
const logsIn = ({ messages }: { messages: readonly RpcMessage[] }): unknown[] =>
  messages.filter(({ method }) => method === 'notifications/message').map(({ params }) => params.data)
const textOf = ({ last }: Round): unknown => last.result?.content?.[0]?.text

t.test('a call that asks ends in `input_required`, and nothing is kept of it', async t => {
  const app = await serve(t, async ctx => `hello ${await nameOf(ctx, 'who', 'Your name?')}`)
  const client = new Standalone(app)
  const first = await client.round('tools/call', CALL)
  t.equal(first.status, 200)
  t.match(first.headers['content-type'], 'application/json', 'nothing else was to be told')
  const { resultType, inputRequests, requestState, _meta, ...rest } = first.last.result
  t.equal(resultType, 'input_required')
  t.strictSame(inputRequests, {
    who: {
      method: 'elicitation/create',
      params: { mode: 'form', message: 'Your name?', requestedSchema: { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] } }
    }
  })
  t.match(requestState, /^[\w-]+$/)
  t.match(_meta, { 'io.modelcontextprotocol/serverInfo': { name: 'test' } })
  t.strictSame(rest, {}, 'no half of a result')
  t.match(app.mcp.stats(), { sessions: 0, streams: 0, calls: 0, questions: 0 })
  const second = await client.round('tools/call', { ...CALL, requestState, inputResponses: { who: accept('Ann') } })
  t.match(second.last.result, { resultType: 'complete', content: [{ text: 'hello Ann' }] })
})

t.test('what was yielded before is collected again but sent once, and progress rises over all rounds', async t => {
  const app = await createApp(t)
  const rounds: number[] = []
  app.mcp.tool('it', {}, async function * (_args, ctx) {
    rounds.push(0)
    yield 'one '
    yield { progress: 10, total: 30, message: 'a third' }
    const first = await nameOf(ctx, 'first')
    yield `${first} `
    yield { type: 'image', data: 'AAAA', mimeType: 'image/png' }
    const second = await nameOf(ctx, 'second')
    yield { progress: 5 }
    return `${second}`
  })
  const client = new Standalone(app)
  const params = { ...CALL, _meta: { progressToken: 'p' } }
  const one = await client.round('tools/call', params)
  t.strictSame(progressIn(one), [[0, 'one '], [10, 'a third']])
  const two = await client.round('tools/call', { ...params, requestState: stateOf(one), inputResponses: { first: accept('Ann') } })
  t.match(progressIn(two), [[Number, 'Ann '], [Number, undefined]])
  t.strictSame(Object.keys(requestsOf(two)), ['second'])
  const three = await client.round('tools/call', { ...params, requestState: stateOf(two), inputResponses: { second: accept('Ben') } })
  t.equal(progressIn(three).length, 1)
  const steps = [one, two, three].flatMap(round => progressIn(round)).map(step => (step as [number])[0])
  t.strictSame(steps, [...steps].sort((a, b) => a - b))
  t.equal(new Set(steps).size, steps.length, 'no step is told twice')
  t.strictSame(three.last.result.content, [
    { type: 'text', text: 'one Ann ' }, { type: 'image', data: 'AAAA', mimeType: 'image/png' }, { type: 'text', text: 'Ben' }
  ], 'the result is whole')
  t.equal(rounds.length, 3)
})

t.test('progress that a handler reports itself is not sent twice either', async t => {
  const app = await serve(t, async ctx => {
    await ctx.progress(1, 3, 'first')
    const name = await nameOf(ctx, 'who')
    await ctx.progress(2, 3)
    return name
  })
  const { told } = await new Standalone(app).run('tools/call', { ...CALL, _meta: { progressToken: 1 } }, sayKey)
  t.strictSame(told.map(({ params }) => params.progress), [1, 2])
})

t.test('log messages are told once', async t => {
  const app = await serve(t, async ctx => {
    ctx.log.debug('too quiet')
    ctx.log.info('begun')
    const first = await nameOf(ctx, 'first')
    ctx.log.info(first)
    ctx.roots('roots').catch(() => {})
    ctx.log.info('after a question')
    const second = await nameOf(ctx, 'second')
    ctx.log.info(second)
    return 'done'
  })
  const client = new Standalone(app, { logLevel: 'info' })
  const respond: Respond = ({ key = '', method }) => method === 'roots/list' ? { roots: [] } : accept(key)
  const { told, result } = await client.run('tools/call', CALL, respond)
  t.equal(result.content[0].text, 'done')
  t.strictSame(told.map(({ params }) => params.data), ['begun', 'first', 'after a question', 'second'])
  t.strictSame(logsIn(await new Standalone(app).round('tools/call', CALL)), [], 'and not at all to who does not ask for them')
})

t.test('a handler that runs differently is found out', async t => {
  const ways: Record<string, [run: (ctx: ToolContext, round: number) => AsyncGenerator<string, string>, reason: string]> = {
    'another text': [async function * (ctx, round) {
      yield round === 1 ? 'one' : 'two'
      return nameOf(ctx, 'who')
    }, 'it yields something else'],
    'the same texts in another order': [async function * (ctx, round) {
      yield * round === 1 ? ['a', 'b'] : ['b', 'a']
      return nameOf(ctx, 'who')
    }, 'it yields something else'],
    'another cut': [async function * (ctx, round) {
      yield * round === 1 ? ['ab', 'c'] : ['a', 'bc']
      return nameOf(ctx, 'who')
    }, 'it yields something else'],
    'fewer chunks': [async function * (ctx, round) {
      yield 'one'
      if (round === 1) yield 'two'
      return nameOf(ctx, 'who')
    }, 'it yields less'],
    'no chunk and another question': [async function * (ctx, round) {
      if (round === 1) yield 'one'
      return nameOf(ctx, round === 1 ? 'who' : 'where')
    }, 'it yields less'],
    'another question under a key': [async function * (ctx, round) {
      return nameOf(ctx, 'who', round === 1 ? 'Your name?' : 'Her name?')
    }, 'it asks something else under the key "who"']
  }
  for (const [name, [run, reason]] of Object.entries(ways)) {
    let round = 0
    const app = await createApp(t)
    app.mcp.tool('it', {}, (_args, ctx) => run(ctx, ++round))
    const client = new Standalone(app)
    const first = await client.round('tools/call', CALL)
    const { last } = await client.round('tools/call', { ...CALL, requestState: stateOf(first), inputResponses: { who: accept('Ann') } })
    t.match(last.error, {
      code: -32603, message: `The handler ran differently from the time before: ${reason}`, data: { code: 'FST_MCP_RERUN_DIFFERS' }
    }, name)
    t.match(app.mcp.stats(), { calls: 0, questions: 0 })
  }
})

t.test('a handler that differs before it first waits is found out, too', async t => {
  let round = 0
  const codes: unknown[] = []
  const app = await serve(t, async ctx => {
    ctx.progress(1, 1, `round ${++round}`)
    try {
      return await nameOf(ctx, 'who')
    } catch (error) {
      codes.push(Reflect.get(Object(error), 'code'))
      return 'I do not mind'
    }
  })
  const { error } = await new Standalone(app).run('tools/call', CALL, sayKey)
  t.match(error, { data: { code: 'FST_MCP_RERUN_DIFFERS' } })
  t.strictSame(codes, ['FST_MCP_INPUT_REQUIRED', 'FST_MCP_RERUN_DIFFERS'])
})

t.test('a handler that throws after it was answered is told as ever', async t => {
  for (const [thrown, expected] of [
    [new ToolError('no'), { result: { isError: true, content: [{ text: 'no' }] } }],
    [new McpError(7, 'mine'), { error: { code: 7, message: 'mine' } }]
  ] as const) {
    const app = await serve(t, async ctx => {
      await nameOf(ctx, 'who')
      throw thrown
    })
    t.match(await new Standalone(app).run('tools/call', CALL, sayKey), { ...expected, rounds: 2 })
  }
})

t.test('`once` runs once over all rounds, and its value is the same in each', async t => {
  const seen: unknown[] = []
  let made = 0
  const app = await serve(t, async ctx => {
    const [id, again] = await Promise.all([ctx.once('id', () => ({ id: ++made, at: new Date(0) })), ctx.once('id', () => ++made)])
    const nothing = await ctx.once('nothing', () => undefined)
    const later = await ctx.once('async', async () => `made ${made}`)
    seen.push([id, again, nothing, later])
    return `${await nameOf(ctx, 'first')} ${await nameOf(ctx, 'second')}`
  })
  const { result, rounds } = await new Standalone(app).run('tools/call', CALL, sayKey)
  t.equal(result.content[0].text, 'first second')
  t.equal(rounds, 3)
  t.equal(made, 1)
  const id = { id: 1, at: '1970-01-01T00:00:00.000Z' }
  t.strictSame(seen, Array(3).fill([id, id, undefined, 'made 1']), 'the first run gets what JSON keeps of it as well')
})

t.test('`once` that fails fails its call, and is made again', async t => {
  let made = 0
  const app = await serve(t, async ctx => {
    await nameOf(ctx, 'who')
    const value = await ctx.once('id', async () => {
      if (++made === 1) throw new ToolError('try again')
      return made
    })
    return String(value)
  })
  const client = new Standalone(app)
  const first = await client.round('tools/call', CALL)
  const retry = { ...CALL, requestState: stateOf(first), inputResponses: { who: accept('Ann') } }
  t.match((await client.round('tools/call', retry)).last.result, { isError: true, content: [{ text: 'try again' }] })
  t.equal(textOf(await client.round('tools/call', retry)), '2')
})

t.test('`once` works for clients that cannot be asked, and in sessions', async t => {
  let made = 0
  const app = await serve(t, async ctx => String([await ctx.once('a', () => ++made), await ctx.once('a', () => ++made)]))
  t.equal(textOf(await new Standalone(app, { capabilities: {} }).round('tools/call', CALL)), '1,1')
  const session = await Client.connect(app, { capabilities: EVERYTHING })
  t.equal((await session.call('it')).result.content[0].text, '2,2')
})

t.test('questions that are asked together are told in one round', async t => {
  const app = await serve(t, async ctx => {
    const names = await Promise.all([nameOf(ctx, 'a'), nameOf(ctx, 'b'), ctx.roots('c').then(roots => String(roots.length))])
    return `${names}`
  })
  const client = new Standalone(app)
  const first = await client.round('tools/call', CALL)
  t.strictSame(Object.keys(requestsOf(first)), ['a', 'b', 'c'])
  t.strictSame(requestsOf(first).c, { method: 'roots/list', params: {} })

  // Only what is missing is asked again; what nobody asked for is passed over.
  const second = await client.round('tools/call', { ...CALL, requestState: stateOf(first), inputResponses: { b: accept('Ben'), x: accept('X'), toString: {} } })
  t.strictSame(Object.keys(requestsOf(second)), ['a', 'c'])
  const third = await client.round('tools/call', { ...CALL, requestState: stateOf(second), inputResponses: { a: accept('Ann'), b: accept('Eve'), c: { roots: [] } } })
  t.equal(textOf(third), 'Ann,Ben,0', 'an answer that was given stands')
})

t.test('a state without answers asks the same again', async t => {
  const app = await serve(t, ctx => nameOf(ctx, 'who'))
  const client = new Standalone(app)
  const first = await client.round('tools/call', CALL)
  for (const inputResponses of [undefined, {}, { other: {} }]) {
    const again = await client.round('tools/call', { ...CALL, requestState: stateOf(first), ...(inputResponses && { inputResponses }) })
    t.strictSame(requestsOf(again), requestsOf(first))
    t.equal(textOf(await client.round('tools/call', { ...CALL, requestState: stateOf(again), inputResponses: { who: accept('Ann') } })), 'Ann')
  }
})

t.test('answers that are none are refused, and the state may be brought again', async t => {
  const app = await serve(t, ctx => nameOf(ctx, 'who'))
  const client = new Standalone(app)
  const requestState = stateOf(await client.round('tools/call', CALL))
  for (const inputResponses of [null, [], 12345, 'text', true]) {
    const { last } = await client.round('tools/call', { ...CALL, requestState, inputResponses })
    t.match(last.error, { code: -32602, data: { code: 'FST_MCP_PARAMS_INVALID' } }, JSON.stringify(inputResponses))
  }
  for (const who of [null, [], 12345, 'text', true, {}, { action: 'accept' }, { action: 'accept', content: { name: 1 } }, { action: 'maybe' }]) {
    const { last } = await client.round('tools/call', { ...CALL, requestState, inputResponses: { who } })
    t.match(last.error, { code: -32602, data: { code: 'FST_MCP_ANSWER_INVALID' } }, JSON.stringify(who))
  }
  for (const given of [{}, { capabilities: {} }]) {
    const { last } = await new Standalone(app, given).round('tools/call', { ...CALL, inputResponses: null })
    t.match(last.error, { data: { code: 'FST_MCP_PARAMS_INVALID' } }, 'also where nothing was asked')
  }
  t.equal(textOf(await client.round('tools/call', { ...CALL, requestState, inputResponses: { who: accept('Ann') } })), 'Ann')
})

t.test('keys that could pollute a prototype are refused before anything runs', async t => {
  let runs = 0
  const app = await serve(t, ctx => {
    runs++
    return nameOf(ctx, 'who')
  })
  const client = new Standalone(app)
  const { headers, body } = client.init('tools/call', CALL)
  for (const text of ['"arguments":{"__proto__":{"a":1}}', '"arguments":{"constructor":{"prototype":{}}}', '"inputResponses":{"__proto__":{"action":"accept"}}']) {
    const { status, messages: [message] } = await new Client(app, { headers }).post(JSON.stringify(body).replace('"arguments":{}', text))
    t.equal(status, 400)
    t.match(message?.error, { data: { code: 'FST_MCP_KEY_FORBIDDEN' } }, text)
  }
  t.equal(runs, 0)
  t.strictSame(Object.keys(Object.prototype), [])
})

t.test('keys of every kind name a question', async t => {
  const keys = ['constructor', 'toString', 'hasOwnProperty', '1', ' ', '\u{1f600}', 'a'.repeat(300)]
  const app = await serve(t, async ctx => `${await Promise.all(keys.map(key => nameOf(ctx, key)))}`)
  const { result, rounds } = await new Standalone(app).run('tools/call', CALL, ({ key = '' }) => accept(`[${key}]`))
  t.equal(result.content[0].text, `${keys.map(key => `[${key}]`)}`)
  t.equal(rounds, 2)
})

t.test('a state that this server did not issue for this request is refused', async t => {
  const principals = { auth: { tokens: [{ token: 'ann', principal: 'ann' }, { token: 'ben', principal: 'ben' }] } }
  const app = await serve(t, ctx => nameOf(ctx, 'who'), { ...principals, ask: { keys: [KEY] } })
  app.mcp.tool('other', { input: { type: 'object' } }, (_args, ctx) => nameOf(ctx, 'who'))
  app.mcp.prompt('it', {}, (_args, ctx) => nameOf(ctx, 'who'))
  const as = (token: string): Standalone => new Standalone(app, { headers: { authorization: `Bearer ${token}` } })
  const requestState = stateOf(await as('ann').round('tools/call', { ...CALL, arguments: { a: 1 } }))
  const answered = { inputResponses: { who: accept('Eve') } }
  const flip = (text: string, index: number): string => text.slice(0, index) + (text[index] === 'A' ? 'B' : 'A') + text.slice(index + 1)
  const attempts: Record<string, [token: string, method: string, params: Record<string, unknown>]> = {
    'another principal': ['ben', 'tools/call', { ...CALL, arguments: { a: 1 }, requestState }],
    'other arguments': ['ann', 'tools/call', { ...CALL, arguments: { a: 2 }, requestState }],
    'more arguments': ['ann', 'tools/call', { ...CALL, arguments: { a: 1, b: 1 }, requestState }],
    'a list for an object': ['ann', 'tools/call', { ...CALL, arguments: { a: ['object', ['b', 1]] }, requestState }],
    'no arguments': ['ann', 'tools/call', { name: 'it', requestState }],
    'another tool': ['ann', 'tools/call', { name: 'other', arguments: { a: 1 }, requestState }],
    'another method': ['ann', 'prompts/get', { ...CALL, arguments: { a: '1' }, requestState }],
    'one more member': ['ann', 'tools/call', { ...CALL, arguments: { a: 1 }, requestState, extra: 1 }]
  }
  for (const [index, forged] of [
    '', 'x', 'null', requestState.slice(0, -1), requestState.slice(1), `${requestState}A`, `${requestState}=`, ` ${requestState}`, requestState.toUpperCase(),
    ...[0, 2, 5, 15, 20, 40, requestState.length - 3].map(index => flip(requestState, index)), 12345, null, [requestState], {}, true
  ].entries()) attempts[`forged ${index}`] = ['ann', 'tools/call', { ...CALL, arguments: { a: 1 }, requestState: forged }]
  for (const [name, [token, method, params]] of Object.entries(attempts)) {
    const { status, last } = await as(token).round(method, { ...params, ...answered })
    t.equal(status, 200)
    t.match(last.error, { code: -32602, data: { code: 'FST_MCP_STATE_INVALID' } }, name)
    t.notMatch(JSON.stringify(last.error), /cause|principal|tag/, 'it does not say why')
  }
  t.equal(textOf(await as('ann').round('tools/call', { ...CALL, arguments: { a: 1 }, requestState, ...answered })), 'Eve')
})

t.test('a state of another server with the same keys is refused', async t => {
  const keys = { ask: { keys: [KEY] } }
  const [one, two] = await Promise.all([{ name: 'one' }, { name: 'two' }].map(options => serve(t, ctx => nameOf(ctx, 'who'), { ...keys, ...options })))
  const requestState = stateOf(await new Standalone(one as FastifyInstance).round('tools/call', CALL))
  const { last } = await new Standalone(two as FastifyInstance).round('tools/call', { ...CALL, requestState, inputResponses: { who: accept('Ann') } })
  t.match(last.error, { data: { code: 'FST_MCP_STATE_INVALID' } })
})

t.test('a state of another process without shared keys is refused', async t => {
  const [one, two] = await Promise.all([serve(t, ctx => nameOf(ctx, 'who')), serve(t, ctx => nameOf(ctx, 'who'))])
  const requestState = stateOf(await new Standalone(one).round('tools/call', CALL))
  t.match((await new Standalone(two).round('tools/call', { ...CALL, requestState })).last.error, { data: { code: 'FST_MCP_STATE_INVALID' } })
})

t.test('the same request may be sent twice with the same state', async t => {
  let runs = 0
  const app = await serve(t, async ctx => {
    const name = await nameOf(ctx, 'who')
    return `${name} ${++runs}`
  })
  const client = new Standalone(app)
  const first = await client.round('tools/call', CALL)
  const retry = { ...CALL, requestState: stateOf(first), inputResponses: { who: accept('Ann') } }
  t.strictSame([textOf(await client.round('tools/call', retry)), textOf(await client.round('tools/call', retry))], ['Ann 1', 'Ann 2'], 'a lost answer can be had again')
})

t.test('a state holds for its time', async t => {
  const app = await serve(t, ctx => nameOf(ctx, 'who'), { ask: { ttl: 50 } })
  const client = new Standalone(app)
  const retry = { ...CALL, requestState: stateOf(await client.round('tools/call', CALL)), inputResponses: { who: accept('Ann') } }
  await new Promise(resolve => setTimeout(resolve, 60))
  t.match((await client.round('tools/call', retry)).last.error, { data: { code: 'FST_MCP_STATE_INVALID' } })
})

t.test('arguments match in whatever order their keys come', async t => {
  const app = await serve(t, async (ctx, args) => `${await nameOf(ctx, 'who')} ${Object.keys(args)}`)
  const client = new Standalone(app)
  const first = await client.round('tools/call', { name: 'it', arguments: { a: { x: [1, { p: 1, q: 2 }], y: null }, b: 2 } })
  const { last } = await client.round('tools/call', {
    arguments: { b: 2, a: { y: null, x: [1, { q: 2, p: 1 }] } }, name: 'it', requestState: stateOf(first), inputResponses: { who: accept('Ann') }
  })
  t.equal(last.result?.content[0].text, 'Ann b,a')
  const swapped = await client.round('tools/call', {
    name: 'it', arguments: { a: { x: [{ p: 1, q: 2 }, 1], y: null }, b: 2 }, requestState: stateOf(first), inputResponses: { who: accept('Ann') }
  })
  t.match(swapped.last.error, { data: { code: 'FST_MCP_STATE_INVALID' } }, 'but lists keep their order')
})

t.test('a round begins on one node and ends on another, also while keys are changed', async t => {
  const nodes = await Promise.all([[KEY], [KEY], [OTHER_KEY, KEY], [OTHER_KEY]].map(keys => serve(t, async ctx => {
    const id = await ctx.once('id', () => 'made once')
    return `${id} ${await nameOf(ctx, 'first')} ${await nameOf(ctx, 'second')}`
  }, { ask: { keys } })))
  const [old, twin, both, renewed] = nodes.map(app => new Standalone(app)) as [Standalone, Standalone, Standalone, Standalone]
  const first = await old.round('tools/call', CALL)
  const second = await twin.round('tools/call', { ...CALL, requestState: stateOf(first), inputResponses: { first: accept('Ann') } })
  t.strictSame(Object.keys(requestsOf(second)), ['second'])
  const last = { ...CALL, requestState: stateOf(second), inputResponses: { second: accept('Ben') } }
  t.equal(textOf(await both.round('tools/call', last)), 'made once Ann Ben', 'an old key still opens')
  t.match((await renewed.round('tools/call', last)).last.error, { data: { code: 'FST_MCP_STATE_INVALID' } }, 'a key that is gone does not')
  const sealedByNew = await both.round('tools/call', { ...CALL, requestState: stateOf(first), inputResponses: { first: accept('Ann') } })
  t.equal(textOf(await renewed.round('tools/call', { ...CALL, requestState: stateOf(sealedByNew), inputResponses: { second: accept('Ben') } })), 'made once Ann Ben', 'the first key seals')
})

t.test('a state stays within its bounds on both sides', async t => {
  const bounded = await serve(t, async (ctx, { length = 0 }) => {
    await ctx.once('text', () => 'x'.repeat(Number(length)))
    return nameOf(ctx, 'who')
  }, { ask: { maxState: 1_024, keys: [KEY] } })
  const client = new Standalone(bounded)
  const small = { name: 'it', arguments: { length: 400 } }
  const fits = await client.round('tools/call', small)
  t.ok(stateOf(fits).length <= 1_024)
  t.equal(textOf(await client.round('tools/call', { ...small, requestState: stateOf(fits), inputResponses: { who: accept('Ann') } })), 'Ann')
  const { status, last } = await client.round('tools/call', { name: 'it', arguments: { length: 2_000 } })
  t.equal(status, 200)
  t.match(last.error, { code: -32603, message: /1024 bytes$/, data: { code: 'FST_MCP_STATE_TOO_LARGE' } })

  const wide = await serve(t, async ctx => {
    await ctx.once('text', () => 'x'.repeat(2_000))
    return nameOf(ctx, 'who')
  }, { ask: { keys: [KEY] } })
  const tooLong = stateOf(await new Standalone(wide).round('tools/call', CALL))
  t.match((await client.round('tools/call', { ...CALL, requestState: tooLong })).last.error, { data: { code: 'FST_MCP_STATE_INVALID' } })
})

t.test('a long answer that no state can hold is told as such', async t => {
  const app = await serve(t, async ctx => `${await nameOf(ctx, 'first')}${await nameOf(ctx, 'second')}`, { ask: { maxState: 512 } })
  const { error, rounds } = await new Standalone(app).run('tools/call', CALL, () => accept('x'.repeat(500)))
  t.match(error, { data: { code: 'FST_MCP_STATE_TOO_LARGE' } })
  t.equal(rounds, 2)
})

t.test('hooks see every round as the call that it is', async t => {
  const seen: unknown[] = []
  const app = await serve(t, async (ctx, { swallows }) => {
    try {
      return await nameOf(ctx, 'who')
    } catch (error) {
      if (swallows === true) throw new ToolError('I know better')
      throw error
    }
  })
  const see = (what: string, { target, params }: CallInfo, more: unknown): void => { seen.push([what, target, 'requestState' in params, more]) }
  app.mcp.use({
    onCall: call => see('call', call, null),
    onResult: (call, { resultType, content }) => see('result', call, resultType ?? content),
    onError: (call, error) => see('error', call, Reflect.get(Object(error), 'code'))
  })
  const client = new Standalone(app)
  const rounds = [
    ['call', 'it', false, null], ['result', 'it', false, 'input_required'], ['call', 'it', true, null], ['result', 'it', true, [{ type: 'text', text: 'who' }]]
  ]
  await client.run('tools/call', CALL, sayKey)
  t.strictSame(seen.splice(0), rounds)
  await client.run('tools/call', { ...CALL, arguments: { swallows: true } }, sayKey)
  t.strictSame(seen.splice(0), rounds, 'whatever a handler makes of the end of its run')
  await client.round('tools/call', { ...CALL, requestState: 'forged' })
  await client.round('tools/call', { ...CALL, inputResponses: 1 })
  t.strictSame(seen.splice(0), [
    ['call', 'it', true, null], ['error', 'it', true, 'FST_MCP_STATE_INVALID'], ['call', 'it', false, null], ['error', 'it', false, 'FST_MCP_PARAMS_INVALID']
  ])
})

t.test('a hook may refuse a round', async t => {
  const app = await serve(t, ctx => nameOf(ctx, 'who'))
  app.mcp.use({ onResult: (_call, { resultType }) => { if (resultType === 'input_required') throw new McpError(7, 'no questions here') } })
  t.match((await new Standalone(app).round('tools/call', CALL)).last.error, { code: 7, message: 'no questions here' })
})

t.test('what runs no handler passes over states and answers', async t => {
  const app = await serve(t, ctx => nameOf(ctx, 'who'))
  app.mcp.prompt('it', { input: z.object({ a: z.string() }), complete: { a: () => ['b'] } }, () => 'text')
  app.mcp.resource('it://it', {}, () => 'text')
  const client = new Standalone(app)
  const forged = { requestState: 'forged', inputResponses: 12345 }
  for (const method of ['tools/list', 'prompts/list', 'resources/list', 'resources/templates/list', 'server/discover']) {
    t.match((await client.round(method, forged)).last.result, { resultType: 'complete' }, method)
  }
  const ref = { ref: { type: 'ref/prompt', name: 'it' }, argument: { name: 'a', value: '' } }
  t.match((await client.round('completion/complete', { ...ref, ...forged })).last.result, { completion: { values: ['b'] } })
})

t.test('prompts and resources ask in rounds as well, and what came of an answer is not kept', async t => {
  const app = await createApp(t, { cache: { ttl: 1_000, scope: 'public' } })
  app.mcp.prompt('it', {}, async (_args, ctx) => [`one ${await nameOf(ctx, 'a')}`, await nameOf(ctx, 'b')])
  app.mcp.resource('it://{name}', {}, async function * ({ name }, ctx) {
    yield `${name} `
    yield `${await nameOf(ctx, 'a')} `
    yield await nameOf(ctx, 'b')
  })
  const client = new Standalone(app)
  const prompt = await client.run('prompts/get', { name: 'it' }, sayKey)
  t.strictSame(prompt.result.messages.map(({ content }: { content: { text: string } }) => content.text), ['one a', 'b'])
  t.equal(prompt.rounds, 3)
  const resource = await client.run('resources/read', { uri: 'it://x' }, sayKey)
  t.match(resource.result, { contents: [{ uri: 'it://x', text: 'x a b' }], ttlMs: 0, cacheScope: 'private' })
  t.equal(resource.rounds, 3)
  const { last } = await client.round('resources/read', { uri: 'it://x' })
  t.notOk('ttlMs' in last.result || 'cacheScope' in last.result, 'a question is not cached')
  const state = { requestState: last.result.requestState, inputResponses: { a: accept('Ann') } }
  t.match((await client.round('resources/read', { uri: 'it://y', ...state })).last.error, { data: { code: 'FST_MCP_STATE_INVALID' } }, 'nor is it another one')
})

t.test('a client that leaves in the middle of a round ends the run', async t => {
  const codes: unknown[] = []
  const begun = gate()
  const app = await serve(t, async ctx => {
    await nameOf(ctx, 'who')
    begun.open()
    await once(ctx.signal, 'abort')
    codes.push(ctx.signal.reason.code)
    await nameOf(ctx, 'more').catch(error => codes.push(error.code))
  })
  const url = await listen(app)
  const client = new Standalone(url)
  const first = await client.round('tools/call', CALL)
  const { body } = await openQuietly(client, url, { ...CALL, requestState: stateOf(first), inputResponses: { who: accept('Ann') } })
  await begun.opened
  body.destroy()
  await until(() => codes.length === 2, 'the handler to be told')
  t.strictSame(codes, ['FST_MCP_CLIENT_GONE', 'FST_MCP_CLIENT_GONE'])
  await until(() => app.mcp.stats().calls === 0, 'the call to end')
})

/** The head of a response whose handler tells something first. */
async function openQuietly (client: Standalone, url: string, params: Record<string, unknown>): ReturnType<typeof open> {
  return open(url, '/mcp', client.init('tools/call', { ...params, _meta: { progressToken: 'p' } }))
}

t.test('a client that leaves while its run ends in a question gets nothing', async t => {
  const begun = gate()
  const ends: unknown[] = []
  const app = await createApp(t)
  app.mcp.tool('it', {}, async function * (_args, ctx) {
    yield 'here'
    begun.open()
    await once(ctx.signal, 'abort')
    ends.push(ctx.signal.reason.code)
    yield await nameOf(ctx, 'who')
  })
  const url = await listen(app)
  const { body } = await openQuietly(new Standalone(url), url, CALL)
  await begun.opened
  body.destroy()
  await until(() => ends.length === 1, 'the handler to be told')
  t.strictSame(ends, ['FST_MCP_CLIENT_GONE'])
  await until(() => app.mcp.stats().calls === 0, 'the call to end')
  t.match(app.mcp.stats(), { questions: 0, streams: 0 })
})

t.test('a server that closes in the middle of a round says so', async t => {
  const begun = gate()
  const app = await serve(t, async ctx => {
    await ctx.progress(1)
    await nameOf(ctx, 'who')
    await ctx.progress(2)
    begun.open()
    await once(ctx.signal, 'abort')
  })
  const client = new Standalone(app)
  const params = { ...CALL, _meta: { progressToken: 'p' } }
  const first = await client.round('tools/call', params)
  const ending = client.round('tools/call', { ...params, requestState: stateOf(first), inputResponses: { who: accept('Ann') } })
  await begun.opened
  await app.close()
  const { last } = await ending
  t.match(last.error, { code: -32603, data: { code: 'FST_MCP_CLOSING' } })
})

t.test('a server that closes while a run is about to ask says so, too', async t => {
  const app = await serve(t, async ctx => {
    nameOf(ctx, 'who').catch(() => {})
    closing.open()
    await once(ctx.signal, 'abort')
    throw ctx.signal.reason
  })
  const closing = gate()
  const client = new Standalone(app)
  const asking = client.round('tools/call', CALL)
  await closing.opened
  await app.close()
  const { last } = await asking
  t.ok(last.result?.resultType === 'input_required' || last.error?.data.code === 'FST_MCP_CLOSING')
})

t.test('a client that cannot be asked any more is not', async t => {
  const app = await serve(t, async ctx => `${await nameOf(ctx, 'first')} ${(await ctx.roots('roots')).length}`)
  const able = await new Standalone(app).round('tools/call', CALL)
  const retry = { ...CALL, requestState: stateOf(able), inputResponses: { first: accept('Ann') } }
  const forms = await new Standalone(app, { capabilities: { elicitation: {} } }).round('tools/call', retry)
  t.equal(forms.status, 400)
  t.match(forms.last.error, { code: -32021, data: { requiredCapabilities: { roots: {} } } }, 'each request declares for itself')
  const nothing = await new Standalone(app, { capabilities: {} }).round('tools/call', retry)
  t.match(nothing.last.error, { code: -32021, data: { requiredCapabilities: { elicitation: { form: {} } } } })
})

t.test('sessions know nothing of rounds', async t => {
  const app = await serve(t, async (ctx, args) => `${Object.keys(args)} ${await ctx.once('a', () => 1)}`)
  for (const revision of REVISIONS.filter(revision => revision !== '2024-11-05')) {
    const client = await Client.connect(app, { revision, capabilities: EVERYTHING })
    const { result } = await client.request('tools/call', { ...CALL, requestState: 'forged', inputResponses: 12345 })
    t.equal(result.content[0].text, ' 1', revision)
  }
})

t.test('a call that knows its result at once takes no round', async t => {
  const app = await createApp(t)
  app.mcp.tool('it', {}, () => 'at once')
  app.mcp.tool('picky', { input: NAME }, ({ name }) => name)
  const client = new Standalone(app)
  t.match((await client.round('tools/call', { name: 'picky', arguments: {} })).last.result, { resultType: 'complete', isError: true })
  t.equal(textOf(await client.round('tools/call', CALL)), 'at once')
  t.match((await client.round('tools/call', { name: 'nobody', arguments: {} })).last.error, { code: -32602, data: { code: 'FST_MCP_TOOL_UNKNOWN' } })
})

t.test('a handler that asks after its run has ended gets the reason', async t => {
  const codes: unknown[] = []
  const asked = gate()
  const app = await serve(t, async ctx => {
    const asking = ctx.roots('roots')
    await new Promise<void>(resolve => { ctx.signal.addEventListener('abort', () => resolve()) })
    codes.push(ctx.signal.reason.code, await ctx.roots('more').catch(error => error.code), await asking.catch(error => error.code))
    asked.open()
  })
  t.match((await new Standalone(app).round('tools/call', CALL)).last.result, { resultType: 'input_required', inputRequests: { roots: {} } })
  await asked.opened
  t.strictSame(codes, Array(3).fill('FST_MCP_INPUT_REQUIRED'))
})

t.test('a chunk that cannot be read twice fails its call alone', async t => {
  const app = await createApp(t)
  app.mcp.tool('it', {}, async function * (_args, ctx) {
    let reads = 0
    const toJSON = (): object => {
      // Whoever throws may throw anything.
      if (++reads > 1) throw Object('not again')
      return { type: 'text', text: 'once' }
    }
    yield Object.assign({ type: 'text' as const, text: 'once' }, { toJSON })
    return nameOf(ctx, 'who')
  })
  const { last } = await new Standalone(app).round('tools/call', CALL)
  t.match(last.error, { code: -32603, data: { code: 'FST_MCP_INTERNAL' } })
  t.equal(app.mcp.stats().calls, 0)
})
