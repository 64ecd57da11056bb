// What is suggested for the arguments of prompts and the variables of templates, in every era.
import { errorCodes, McpError, ToolError } from 'fastify-mcp-sse'
import t from 'tap'
import { z } from 'zod'
import { until } from './client.ts'
import { AUTH, ERAS, never, offer, revisionOf } from './peers.ts'

const input = z.object({ city: z.string(), street: z.string().optional() })
const ref = { type: 'ref/prompt', name: 'visit' }

for (const era of ERAS) {
  t.test(`on ${era} choices and functions suggest values for prompts and templates`, async t => {
    const { app, peer } = await offer(t, era, { auth: AUTH })
    const seen: unknown[] = []
    app.mcp.prompt('visit', {
      input,
      complete: {
        city: ['Paris', 'Porto', 'Prague'],
        street: async (value, { arguments: others, principal, request, signal }) => {
          seen.push([value, others, principal?.id, request.method, signal.aborted])
          return [`${value}-street`]
        }
      }
    }, () => 'x')
    app.mcp.prompt('bare', { input }, () => 'x')
    app.mcp.resource('city://{country}/{name}', {
      complete: { name: (value, { arguments: { country } }) => ({ values: [`${value} in ${country}`], total: 7, hasMore: true }) }
    }, () => 'x')
    const client = await peer('alice')
    const complete = async (params: object) => (await client.request('completion/complete', params)).result.completion
    t.strictSame(await complete({ ref, argument: { name: 'city', value: 'P' } }), { values: ['Paris', 'Porto', 'Prague'], total: 3, hasMore: false })
    t.strictSame(await complete({ ref, argument: { name: 'city', value: 'Pr' } }), { values: ['Prague'], total: 1, hasMore: false })
    t.strictSame(await complete({ ref, argument: { name: 'city', value: 'x' } }), { values: [], total: 0, hasMore: false })
    t.strictSame(await complete({ ref: { type: 'ref/prompt', name: 'bare' }, argument: { name: 'city', value: '' } }), { values: [], total: 0, hasMore: false })
    t.strictSame(await complete({ ref, argument: { name: 'street', value: 'Main' }, context: { arguments: { city: 'Paris', zip: 5, more: { a: 1 } } } }),
      { values: ['Main-street'], total: 1, hasMore: false })
    t.strictSame(seen, [['Main', { city: 'Paris' }, 'alice', 'POST', false]], 'only strings are arguments')
    for (const context of [undefined, null, 5, [], { arguments: [] }, { arguments: 'x' }]) {
      seen.length = 0
      await complete({ ref, argument: { name: 'street', value: '' }, context })
      t.same(seen, [['', {}, 'alice', 'POST', false]])
    }
    const template = { type: 'ref/resource', uri: 'city://{country}/{name}' }
    t.strictSame(await complete({ ref: template, argument: { name: 'name', value: 'P' }, context: { arguments: { country: 'PT' } } }), { values: ['P in PT'], total: 7, hasMore: true })
    t.strictSame(await complete({ ref: template, argument: { name: 'country', value: 'P' } }), { values: [], total: 0, hasMore: false })
  })

  t.test(`on ${era} at most a hundred values are sent, and clients are told of the rest`, async t => {
    const { app, peer } = await offer(t, era)
    const many = Array.from({ length: 250 }, (_, index) => `v${index}`)
    const answers: Record<string, any> = {
      choice: many, list: () => many, hundred: () => many.slice(0, 100), object: () => ({ values: many }), total: () => ({ values: many, total: 9_000, hasMore: false }), odd: () => ({ values: ['a'], total: 1.5 })
    }
    const names = Object.keys(answers)
    app.mcp.prompt('visit', { input: z.object(Object.fromEntries(names.map(name => [name, z.string()]))), complete: answers }, () => 'x')
    const client = await peer()
    const complete = async (name: string) => {
      const { values, ...rest } = (await client.request('completion/complete', { ref, argument: { name, value: 'v' } })).result.completion
      return { count: values.length, ...rest }
    }
    t.strictSame(await complete('choice'), { count: 100, total: 250, hasMore: true })
    t.strictSame(await complete('list'), { count: 100, total: 250, hasMore: true })
    t.strictSame(await complete('hundred'), { count: 100, total: 100, hasMore: false })
    t.strictSame(await complete('object'), { count: 100, hasMore: true })
    t.strictSame(await complete('total'), { count: 100, total: 9_000, hasMore: true })
    t.strictSame(await complete('odd'), { count: 1, hasMore: false })
  })

  t.test(`on ${era} bad params are refused`, async t => {
    const { app, peer } = await offer(t, era)
    app.mcp.prompt('visit', { input, complete: { city: ['Paris'] } }, () => 'x')
    app.mcp.resource('a://fixed', {}, () => 'x')
    app.mcp.resource('a://{b}', {}, () => 'x')
    const client = await peer()
    const argument = { name: 'city', value: '' }
    const bad: [params: object, message: RegExp][] = [
      [{}, /`ref` must be an object/],
      [{ ref: 'visit', argument }, /`ref` must be an object/],
      [{ ref: [], argument }, /`ref` must be an object/],
      [{ ref }, /`argument` must have the strings/],
      [{ ref, argument: { name: 'city' } }, /`argument` must have the strings/],
      [{ ref, argument: { name: 5, value: '' } }, /`argument` must have the strings/],
      [{ ref, argument: { name: 'none', value: '' } }, /there is no argument "none"/],
      [{ ref, argument: { name: 'constructor', value: '' } }, /there is no argument "constructor"/],
      [{ ref: { type: 'ref/tool', name: 'visit' }, argument }, /`ref.type` must be/],
      [{ ref: { name: 'visit' }, argument }, /`ref.type` must be/],
      [{ ref: { type: 'ref/prompt', name: 'none' }, argument }, /`ref.name` must be the name of a prompt/],
      [{ ref: { type: 'ref/prompt' }, argument }, /`ref.name` must be the name of a prompt/],
      [{ ref: { type: 'ref/resource', uri: 'a://{c}' }, argument }, /`ref.uri` must be the template of a resource/],
      [{ ref: { type: 'ref/resource', uri: 'a://fixed' }, argument }, /`ref.uri` must be the template of a resource/],
      [{ ref: { type: 'ref/resource', uri: 5 }, argument }, /`ref.uri` must be the template of a resource/],
      [{ ref: { type: 'ref/resource', uri: 'a://{b}' }, argument }, /there is no argument "city"/]
    ]
    for (const [params, message] of bad) t.match((await client.request('completion/complete', params)).error, { code: -32602, message }, JSON.stringify(params))
  })

  t.test(`on ${era} a completer that throws is told as it was meant, and one that hangs is ended`, async t => {
    const { app, peer, logs, idle } = await offer(t, era, { tools: { timeout: 60, grace: 20 } })
    let give: (signal: AbortSignal) => any = () => []
    app.mcp.prompt('visit', { input, complete: { city: (_, { signal }) => give(signal) } }, () => 'x')
    app.mcp.resource('slow://{city}', { timeout: 30, complete: { city: () => never } }, () => 'x')
    const client = await peer()
    const ask = async (given: typeof give, asked: object = ref) => {
      give = given
      return (await client.request('completion/complete', { ref: asked, argument: { name: 'city', value: '' } })).error
    }
    t.match(await ask(() => { throw new ToolError('told') }), { code: -32603, message: 'told' })
    t.match(await ask(async () => { throw new McpError(7, 'mine') }), { code: 7, message: 'mine' })
    t.match(await ask(() => { throw new errorCodes.FST_MCP_PARAMS_INVALID('so') }), { code: -32602, message: 'Invalid params: so' })
    t.equal(logs.length, 0)
    const broken: (() => any)[] = [
      () => { throw new Error('a secret') }, async () => { throw new Error('a secret') }, () => undefined, () => 'text', () => [5], () => ({}), () => ({ values: [null] }),
      async function * () { yield 'a' }
    ]
    for (const [index, completer] of broken.entries()) {
      const count = logs.length
      t.match(await ask(completer), { code: -32603, message: /^The handler failed; the server's log says why under request / }, String(index))
      t.match(logs.slice(count), [{ level: 50, msg: 'handler failed', prompt: 'visit', argument: 'city' }], String(index))
    }
    t.match(await ask(() => never), { code: -32603, message: 'The tool ran longer than 60 ms' })
    t.match(await ask(() => never, { type: 'ref/resource', uri: 'slow://{city}' }), { code: -32603, message: 'The tool ran longer than 30 ms' })
    await idle()

    logs.length = 0
    let fail = (): void => {}
    const late = ask(() => new Promise((_resolve, reject) => { fail = () => reject(new Error('too late')) }))
    t.match(await late, { message: 'The tool ran longer than 60 ms' })
    fail()
    await until(() => logs.some(({ msg }) => msg === 'handler failed while it was ended'), 'the log')
  })

  t.test(`on ${era} a completer whose client gives it up is let go, whatever it does`, async t => {
    const { app, peer, idle } = await offer(t, era, { tools: { grace: 20 } })
    const signals: AbortSignal[] = []
    app.mcp.prompt('visit', { input, complete: { city: (_, { signal }) => { signals.push(signal); return never } } }, () => 'x')
    app.mcp.resource('hang://{a}', { list: ({ signal }) => { signals.push(signal); return never } }, () => 'x')
    const client = await peer()
    for (const [index, [method, params]] of ([['completion/complete', { ref, argument: { name: 'city', value: '' } }], ['resources/list', {}]] as const).entries()) {
      const running = client.start(method, params)
      running.answer.catch(() => {})
      await until(() => signals.length === index + 1, 'the call')
      await running.stop()
      await idle()
      t.ok(signals[index]?.aborted, method)
    }
    await until(() => app.mcp.stats().abandoned === 2, 'both count as abandoned')
  })

  t.test(`on ${era} completion is a method once there are arguments, and a capability where the revision knows one`, async t => {
    const { app, peer } = await offer(t, era)
    const before = await peer()
    const params = { ref, argument: { name: 'city', value: '' } }
    t.equal(before.capabilities.completions, undefined)
    t.match((await before.request('completion/complete', params)).error, { code: -32601 })
    app.mcp.prompt('visit', { input, complete: { city: ['Paris'] } }, () => 'x')
    const after = await peer()
    t.strictSame(after.capabilities.completions, revisionOf(era) === '2024-11-05' ? undefined : {})
    t.same((await after.request('completion/complete', params)).result.completion.values, ['Paris'])
  })
}
