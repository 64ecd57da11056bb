// What prompts are made of, in every era: their arguments, their messages, and how they fail.
import { content, errorCodes, McpError, ToolError } from 'fastify-mcp-sse'
import { toStandardJsonSchema } from '@valibot/to-json-schema'
import t from 'tap'
import * as v from 'valibot'
import { z } from 'zod'
import { until } from './client.ts'
import { ERAS, never, offer, revisionOf } from './peers.ts'

const said = (text: string, role = 'user') => ({ role, content: { type: 'text', text } })

for (const era of ERAS) {
  t.test(`on ${era} prompts are listed with their arguments, in the fields of the revision`, async t => {
    const { app, peer } = await offer(t, era)
    app.mcp.prompt('zod', {
      title: 'Of zod',
      description: 'made by zod',
      icons: [{ src: 'https://a.example/i.png' }],
      _meta: { a: 1 },
      input: z.object({
        topic: z.string().meta({ title: 'Topic', description: 'what about' }),
        count: z.coerce.number().default(3).describe('how many'),
        tone: z.enum(['kind', 'cold']).optional()
      })
    }, () => 'x')
    app.mcp.prompt('json', {
      input: { type: 'object', properties: { a: { type: 'string', title: 'A', description: 'an a' }, b: true, c: {} }, required: ['b'] }
    }, () => 'x')
    app.mcp.prompt('plain', {}, () => 'x')
    const client = await peer()
    const { result: { prompts } } = await client.request('prompts/list')
    const revision = revisionOf(era)
    t.strictSame(prompts, [
      { name: 'json', arguments: [{ name: 'a', title: 'A', description: 'an a', required: false }, { name: 'b', required: true }, { name: 'c', required: false }] },
      { name: 'plain' },
      {
        name: 'zod',
        ...(revision >= '2025-06-18' && { title: 'Of zod' }),
        description: 'made by zod',
        ...(revision >= '2025-11-25' && { icons: [{ src: 'https://a.example/i.png' }] }),
        ...(revision >= '2025-06-18' && { _meta: { a: 1 } }),
        arguments: [
          { name: 'topic', title: 'Topic', description: 'what about', required: true },
          { name: 'count', description: 'how many', required: false },
          { name: 'tone', required: false }
        ]
      }
    ])
  })

  t.test(`on ${era} arguments are strings that the schema makes more of`, async t => {
    const { app, peer } = await offer(t, era)
    const echo = (args: unknown): string => JSON.stringify(args)
    app.mcp.prompt('zod', { input: z.object({ n: z.coerce.number(), tone: z.string().default('kind') }) }, echo)
    app.mcp.prompt('strict', { input: z.strictObject({ a: z.string().optional() }) }, echo)
    app.mcp.prompt('later', { input: z.object({ a: z.string().refine(async a => a !== 'bad', 'is bad') }) }, echo)
    const json = () => ({ type: 'object', properties: { a: { type: 'string' } } })
    const validate = async () => { throw new Error('a secret') }
    app.mcp.prompt('broken', { input: { '~standard': { version: 1, vendor: 'own', validate, jsonSchema: { input: json, output: json } } } }, echo)
    app.mcp.prompt('breaks', { input: z.object({ a: z.string().refine(() => { throw new Error('a secret') }) }) }, echo)
    app.mcp.prompt('json', { input: { type: 'object', properties: { a: { type: 'string', maxLength: 2 } }, required: ['a'] } }, echo)
    app.mcp.prompt('valibot', { input: toStandardJsonSchema(v.object({ a: v.pipe(v.string(), v.minLength(2)) })) }, echo)
    app.mcp.prompt('plain', {}, echo)
    const client = await peer()
    const get = (name: unknown, args?: unknown) => client.request('prompts/get', { name, ...(args !== undefined && { arguments: args }) })
    const made = async (name: string, args?: object) => JSON.parse((await get(name, args)).result.messages[0].content.text)
    t.strictSame(await made('zod', { n: '5', extra: 'x' }), { n: 5, tone: 'kind' })
    t.strictSame(await made('strict'), {})
    t.strictSame(await made('later', { a: 'good' }), { a: 'good' })
    t.strictSame(await made('json', { a: 'ab', extra: 'x' }), { a: 'ab', extra: 'x' })
    t.strictSame(await made('valibot', { a: 'ab' }), { a: 'ab' })
    t.strictSame(await made('plain'), {})

    const refused: [name: string, args: unknown, message: RegExp][] = [
      ['zod', {}, /^Invalid arguments for prompt "zod": n: /],
      ['zod', { n: 'five' }, /^Invalid arguments for prompt "zod": n: /],
      ['strict', { b: 'x' }, /Unrecognized key/],
      ['later', { a: 'bad' }, /^Invalid arguments for prompt "later": a: is bad$/],
      ['json', undefined, /^Invalid arguments for prompt "json": /],
      ['json', { a: 'abc' }, /^Invalid arguments for prompt "json": /],
      ['valibot', { a: '' }, /^Invalid arguments for prompt "valibot": a: /],
      ['plain', { a: 5 }, /^Invalid arguments for prompt "plain": a must be a string$/],
      ['plain', { a: 'x', b: null }, /: b must be a string$/],
      ['plain', { a: { b: 'c' } }, /: a must be a string$/],
      ['plain', ['a'], /^Invalid params: `arguments` must be an object$/],
      ['plain', 'text', /^Invalid params: `arguments` must be an object$/],
      ['plain', null, /^Invalid params: `arguments` must be an object$/]
    ]
    for (const [name, args, message] of refused) t.match((await get(name, args)).error, { code: -32602, message }, JSON.stringify([name, args]))
    t.match((await get('none')).error, { code: -32602, message: 'Prompt "none" is not known', data: { code: 'FST_MCP_PROMPT_UNKNOWN' } })
    for (const name of [undefined, 5, null, {}]) t.match((await get(name)).error, { code: -32602, message: 'Invalid params: `name` must be a string' })
    for (const name of ['broken', 'breaks']) {
      const { error } = await get(name, { a: 'x' })
      t.match(error, { code: -32603 })
      t.notMatch(JSON.stringify(error), /a secret/)
    }
  })

  t.test(`on ${era} messages are text, blocks, messages, results or yielded one by one`, async t => {
    const { app, peer } = await offer(t, era)
    const image = content.image('AAAA', 'image/png')
    const reused = { type: 'text' as const, text: 'a' }
    const cases: [name: string, get: () => any, messages: object[], rest?: object][] = [
      ['text', () => 'text', [said('text')]],
      ['promise', async () => 'text', [said('text')]],
      ['empty', () => [], []],
      ['block', () => image, [{ role: 'user', content: image }]],
      ['message', () => ({ role: 'assistant', content: 'I' }), [said('I', 'assistant')]],
      ['list', () => ['a', { role: 'assistant', content: image }, content.text('b')], [said('a'), { role: 'assistant', content: image }, said('b')]],
      ['result', () => ({ messages: ['a'], description: 'another', _meta: { k: 1 } }), [said('a')], { description: 'another', _meta: { k: 1 } }],
      ['yielded', async function * () {
        yield 'a'
        yield { role: 'assistant', content: 'b' }
        return { messages: ['c'] }
      }, [said('a'), said('b', 'assistant'), said('c')]],
      ['sync', function * () {
        yield reused
        reused.text = 'b'
        yield reused
      }, [said('a'), said('b')]]
    ]
    for (const [name, get] of cases) app.mcp.prompt(name, { description: 'as registered' }, get)
    const client = await peer()
    for (const [name, , messages, rest = { description: 'as registered' }] of cases) {
      const { result: { resultType, _meta: given, ...result } } = await client.request('prompts/get', { name })
      const { 'io.modelcontextprotocol/serverInfo': _, ..._meta } = Object(given)
      t.strictSame({ ...result, ...(Object.keys(_meta).length > 0 && { _meta }) }, { ...rest, messages }, name)
      t.equal(resultType, era === '2026-07-28' ? 'complete' : undefined)
    }
  })

  t.test(`on ${era} blocks come in a form that the revision can parse`, async t => {
    const { app, peer } = await offer(t, era)
    app.mcp.prompt('all', {}, () => [
      content.audio('AAAA', 'audio/wav'), content.link('a:b', 'b', { title: 'B' }), content.resource('a:b', 'text', 'text/plain'), content.resource('a:c', new Uint8Array([0])),
      content.image(new Uint8Array([0, 0, 0]), 'image/png')
    ])
    const client = await peer()
    const { result: { messages } } = await client.request('prompts/get', { name: 'all' })
    const revision = revisionOf(era)
    t.strictSame(messages.map((message: { content: object }) => message.content), [
      revision === '2024-11-05'
        ? { type: 'resource', resource: { uri: 'audio:content', mimeType: 'audio/wav', blob: 'AAAA' } }
        : { type: 'audio', data: 'AAAA', mimeType: 'audio/wav' },
      revision < '2025-06-18' ? { type: 'text', text: 'B: a:b' } : { type: 'resource_link', uri: 'a:b', name: 'b', title: 'B' },
      { type: 'resource', resource: { uri: 'a:b', mimeType: 'text/plain', text: 'text' } },
      { type: 'resource', resource: { uri: 'a:c', blob: 'AA==' } },
      { type: 'image', data: 'AAAA', mimeType: 'image/png' }
    ])
  })

  t.test(`on ${era} a prompt that fails, grows or hangs says what its client may know`, async t => {
    const { app, peer, logs, idle } = await offer(t, era, { tools: { timeout: 60, grace: 20, maxResult: 500 } })
    const fail = (name: string, get: () => any): void => { app.mcp.prompt(name, {}, get) }
    fail('tool', () => { throw new ToolError('for the user') })
    fail('mcp', async () => { throw new McpError(4711, 'my own', { a: 1 }) })
    fail('code', async function * () { yield 'a'; throw new errorCodes.FST_MCP_PARAMS_INVALID('the reason') })
    fail('large', () => 'x'.repeat(500))
    let pulled = 0
    fail('endless', async function * () {
      for (;;) {
        pulled++
        yield 'x'.repeat(100)
      }
    })
    fail('hangs', () => never)
    const client = await peer()
    const told = async (name: string) => (await client.request('prompts/get', { name })).error
    t.strictSame(await told('tool'), { code: -32603, message: 'for the user', data: { code: 'FST_MCP_HANDLER_FAILED' } })
    t.strictSame(await told('mcp'), { code: 4711, message: 'my own', data: { a: 1 } })
    t.match(await told('code'), { code: -32602, message: 'Invalid params: the reason' })
    t.match(await told('large'), { code: -32603, data: { code: 'FST_MCP_RESULT_TOO_LARGE' } })
    t.match(await told('endless'), { code: -32603, data: { code: 'FST_MCP_RESULT_TOO_LARGE' } })
    t.equal(pulled, 5, 'the fifth does not fit')
    t.match(await told('hangs'), { code: -32603, data: { code: 'FST_MCP_TOOL_TIMEOUT' } })
    await idle()
    t.strictSame(logs.filter(({ level }) => level >= 50), [])

    const broken: Record<string, () => any> = {
      error: () => { throw new TypeError('a secret') },
      nothing: () => undefined,
      number: () => 5,
      role: () => ({ role: 'system', content: 'a' }),
      empty: () => ({}),
      block: () => ({ role: 'user', content: { type: 'text' } }),
      inside: () => [5],
      description: () => ({ messages: [], description: 5 }),
      messages: () => ({ messages: 'text' }),
      bigint: () => ({ type: 'text', text: 'a', _meta: { a: 1n } }),
      yielded: async function * () { yield null }
    }
    for (const [name, get] of Object.entries(broken)) fail(`broken-${name}`, get)
    for (const name of Object.keys(broken)) {
      const count = logs.length
      t.match(await told(`broken-${name}`), { code: -32603, message: /^The handler failed; the server's log says why under request / }, name)
      t.match(logs.slice(count).filter(({ level }) => level >= 50), [{ msg: 'handler failed', prompt: `broken-${name}` }], name)
    }
  })

  t.test(`on ${era} a prompt that its client gives up is ended, also while its arguments are validated`, async t => {
    const { app, peer, idle, logs } = await offer(t, era)
    const begun = new Set<string>()
    let started = 0
    let finished = 0
    let validate = (): void => {}
    const late = new Promise<boolean>(resolve => { validate = () => resolve(true) })
    app.mcp.prompt('hangs', {}, async function * (_, { signal }) {
      begun.add('hangs')
      try {
        await new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
        yield 'never'
      } finally {
        finished++
      }
    })
    app.mcp.prompt('validates', { input: z.object({ a: z.string().refine(() => { begun.add('validates'); return late }) }) }, () => { started++; return 'x' })
    app.mcp.prompt('late', {}, async (_, { signal }) => {
      begun.add('late')
      await new Promise(resolve => signal.addEventListener('abort', resolve))
      throw new Error('while it was ended')
    })
    const client = await peer()
    for (const [index, params] of [{ name: 'hangs' }, { name: 'validates', arguments: { a: 'x' } }, { name: 'late' }].entries()) {
      const running = client.start('prompts/get', params)
      running.answer.catch(() => {})
      await until(() => begun.size === index + 1, params.name)
      await running.stop()
      await idle()
    }
    await until(() => finished === 1, 'the end of the generator')
    validate()
    await until(() => logs.length > 0, 'the log')
    t.equal(started, 0, 'a call that has ended does not start')
    t.match(logs, [{ level: 50, msg: 'prompt failed while it was ended', prompt: 'late', err: { message: 'while it was ended' } }])
  })
}

t.test('wrong prompts are refused at registration with what is wrong', async t => {
  const { app } = await offer(t, '2025-11-25')
  const add = (name: any, definition: any, get: any = () => ''): void => { app.mcp.prompt(name, definition, get) }
  const wrong: [name: unknown, definition: unknown, get: unknown, code: string, message: RegExp][] = [
    [undefined, {}, undefined, 'FST_MCP_PROMPT_NAME_INVALID', /^Prompt name undefined does not match/],
    ['a b', {}, undefined, 'FST_MCP_PROMPT_NAME_INVALID', /^Prompt name "a b" does not match/],
    ['a', undefined, undefined, 'FST_MCP_PROMPT_INVALID', /^Prompt "a": its definition must be an object, got undefined/],
    ['a', null, undefined, 'FST_MCP_PROMPT_INVALID', /its definition must be an object/],
    ['a', {}, {}, 'FST_MCP_PROMPT_INVALID', /its handler must be a function, got object/],
    ['a', { arguments: [] }, undefined, 'FST_MCP_PROMPT_INVALID', /`arguments` is not part of a definition; use `input`/],
    ['a', { argsSchema: {} }, undefined, 'FST_MCP_PROMPT_INVALID', /`argsSchema` is not part of a definition; use `input`/],
    ['a', { title: 5 }, undefined, 'FST_MCP_PROMPT_INVALID', /`title` must be a string, got 5$/],
    ['a', { timeout: 1.5 }, undefined, 'FST_MCP_PROMPT_INVALID', /`timeout` must be/],
    ['a', { input: z.string() }, undefined, 'FST_MCP_SCHEMA_INVALID', /its root must have type "object"/],
    ['a', { input: 5 }, undefined, 'FST_MCP_SCHEMA_INVALID', /it is number/],
    ['a', { complete: { b: [] } }, undefined, 'FST_MCP_PROMPT_INVALID', /`complete.b` belongs to no argument/],
    ['a', { input: z.object({ b: z.string() }), complete: { b: [5] } }, undefined, 'FST_MCP_PROMPT_INVALID', /`complete.b` must be a function or an array of strings/],
    ['a', { input: z.object({ b: z.string() }), complete: null }, undefined, 'FST_MCP_PROMPT_INVALID', /`complete` must be an object/]
  ]
  for (const [name, definition, get, code, message] of wrong) t.throws(() => add(name, definition, get), { code, message }, String(message))
  add('a', {})
  t.throws(() => add('a', {}), { code: 'FST_MCP_PROMPT_DUPLICATE', message: 'Prompt "a" is already registered' })
})
