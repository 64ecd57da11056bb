import { toStandardJsonSchema } from '@valibot/to-json-schema'
import { type } from 'arktype'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import * as v from 'valibot'
import { z } from 'zod'
import { compileSchema, type Schema } from '../lib/tools/schema.ts'
import { Client, createApp } from './client.ts'

interface Logged {
  level: number
  tool?: string
  err?: { code: string, message: string }
}

/** An app whose log can be read. */
async function logged (t: Test): Promise<{ app: FastifyInstance, errors: () => Logged[] }> {
  const lines: Logged[] = []
  const app = await createApp(t, {}, { logger: { level: 'error', stream: { write: (line: string) => lines.push(JSON.parse(line)) } } })
  return { app, errors: () => lines.splice(0) }
}

const point = { type: 'object', properties: { x: { type: 'number' }, y: { type: 'number' } }, required: ['x', 'y'] }
const draft07 = { $schema: 'http://json-schema.org/draft-07/schema#', ...point }

const libraries: Record<string, Schema> = {
  'zod 4': z.object({ x: z.number(), y: z.number() }),
  ArkType: type({ x: 'number', y: 'number' }),
  Valibot: toStandardJsonSchema(v.object({ x: v.number(), y: v.number() })),
  'JSON Schema 2020-12': point,
  'JSON Schema 2020-12 by name': { $schema: 'https://json-schema.org/draft/2020-12/schema', ...point },
  'JSON Schema draft-07': draft07
}

for (const [library, schema] of Object.entries(libraries)) {
  t.test(`${library}: arguments and results are validated, and clients see the schema`, async t => {
    const { app, errors } = await logged(t)
    app.mcp.tool('flip', { input: schema, output: schema }, args => {
      const { x, y } = args as { x: number, y: number }
      return { x: y, y: x === 0 ? 'zero' : x }
    })
    const client = await Client.connect(app)
    const { result: { tools: [tool] } } = await client.request('tools/list')
    for (const shown of [tool.inputSchema, tool.outputSchema]) {
      t.match(shown, { type: 'object', properties: { x: { type: 'number' }, y: { type: 'number' } } })
      t.strictSame([...shown.required].sort(), ['x', 'y'])
    }
    t.match(await client.call('flip', { x: 1, y: 2 }), {
      result: { content: [{ type: 'text', text: '{"x":2,"y":1}' }], structuredContent: { x: 2, y: 1 }, isError: undefined }
    })
    for (const args of [{}, { x: 1 }, { x: '1', y: 2 }, { x: null, y: 2 }]) {
      const { result } = await client.call('flip', args)
      t.equal(result.isError, true, JSON.stringify(args))
      t.match(result.content[0].text, /^Invalid arguments for tool "flip": .*[xy]/)
    }
    t.strictSame(errors(), [], 'what a client does wrong is no error of the server')

    const { result } = await client.call('flip', { x: 0, y: 2 })
    t.equal(result.isError, true)
    t.match(result.content, [{ text: /^Tool "flip" failed; the server's log says why under request \S+$/ }], 'the client learns nothing of the inside')
    t.notOk('structuredContent' in result)
    t.match(errors(), [{ level: 50, tool: 'flip', err: { code: 'FST_MCP_OUTPUT_INVALID', message: /^The tool returned what its output schema does not allow: .*y/ } }])
  })
}

t.test('a raw JSON Schema is shown as it was given', async t => {
  const app = await createApp(t)
  const schema = {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    type: 'object',
    $defs: { name: { $anchor: 'n', type: 'string' } },
    properties: { a: { $ref: '#n' }, b: { prefixItems: [{ const: 1 }], items: false } },
    if: { required: ['a'] },
    then: { required: ['b'] }
  }
  app.mcp.tool('raw', { input: schema }, () => 'x')
  const client = await Client.connect(app)
  const { result } = await client.request('tools/list')
  t.strictSame(result.tools[0].inputSchema, schema)
  t.notOk((await client.call('raw', { a: 'x', b: [1] })).result.isError)
  t.match((await client.call('raw', { a: 'x' })).result, { isError: true, content: [{ text: /arguments must have required property 'b'/ }] })
  t.match((await client.call('raw', { b: [2] })).result, { isError: true, content: [{ text: /arguments\/b\/0 must be equal to constant/ }] })
})

t.test('a raw JSON Schema coerces nothing and fills in nothing', async t => {
  const app = await createApp(t)
  const seen: unknown[] = []
  const properties = { n: { type: 'number', default: 5 }, s: { type: 'string', format: 'email' } }
  app.mcp.tool('plain', { input: { type: 'object', properties } }, args => { seen.push(args) })
  const client = await Client.connect(app)
  await client.call('plain', { s: 'not an address', more: true })
  t.strictSame(seen, [{ s: 'not an address', more: true }])
  t.equal((await client.call('plain', { n: '5' })).result.isError, true)
})

t.test('two tools may carry schemas of the same `$id`', async t => {
  const app = await createApp(t)
  app.mcp.tool('a', { input: { $id: 'https://example.com/s', type: 'object', required: ['a'] } }, () => 'x')
  app.mcp.tool('b', { input: { $id: 'https://example.com/s', type: 'object', required: ['b'] } }, () => 'x')
  const client = await Client.connect(app)
  t.notOk((await client.call('b', { b: 1 })).result.isError)
  t.equal((await client.call('a', { b: 1 })).result.isError, true)
})

t.test('a tool without an input schema takes no arguments', async t => {
  const app = await createApp(t)
  app.mcp.tool('none', {}, args => JSON.stringify(args))
  const client = await Client.connect(app)
  t.strictSame((await client.request('tools/list')).result.tools[0].inputSchema, { type: 'object', additionalProperties: false })
  t.match(await client.call('none'), { result: { content: [{ text: '{}' }] } })
  t.equal((await client.call('none', { a: 1 })).result.isError, true)
})

t.test('a handler gets what its schema made of the arguments', async t => {
  const app = await createApp(t)
  const input = z.object({ n: z.string().transform(Number), m: z.number().default(7) })
  app.mcp.tool('made', { input, output: z.object({ sum: z.number() }) }, ({ n, m }) => ({ sum: n + m }))
  const client = await Client.connect(app)
  const { result: { tools: [tool] } } = await client.request('tools/list')
  t.match(tool.inputSchema.properties.n, { type: 'string' }, 'clients see what they are to send')
  t.strictSame(tool.inputSchema.required, ['n'], 'what has a default may be left out')
  t.match(await client.call('made', { n: '5' }), { result: { structuredContent: { sum: 12 } } })
})

t.test('a schema may take its time', async t => {
  const { app, errors } = await logged(t)
  const slow = z.object({ n: z.number() }).refine(async ({ n }) => {
    await new Promise(resolve => setImmediate(resolve))
    return n < 10
  }, 'is too much')
  app.mcp.tool('in', { input: slow }, ({ n }) => String(n))
  app.mcp.tool('out', { input: z.object({ n: z.number() }), output: slow }, ({ n }) => ({ n }))
  app.mcp.tool('late', { input: z.object({ n: z.number() }), output: slow }, async ({ n }) => ({ n }))
  app.mcp.tool('list', { input: z.object({ n: z.number() }), output: z.array(z.number()).refine(async list => list[0] !== 1) }, ({ n }) => [n])
  app.mcp.tool('broken', {
    input: {
      '~standard': {
        version: 1,
        vendor: 'acme',
        validate: async () => { throw new Error('the schema broke') },
        jsonSchema: { input: () => ({ type: 'object' }), output: () => ({}) }
      }
    }
  }, () => 'x')
  for (const revision of ['2025-06-18', '2025-11-25']) {
    const client = await Client.connect(app, { revision })
    t.match(await client.call('in', { n: 1 }), { result: { content: [{ text: '1' }] } })
    const { result, error } = await client.call('in', { n: 11 })
    t.match(revision === '2025-11-25' ? result.content[0].text : error?.message, 'Invalid arguments for tool "in": is too much')
    t.match(await client.call('broken'), { error: { code: -32603, message: 'Internal error', data: { code: 'FST_MCP_INTERNAL' } } })
    t.match(errors(), [{ err: { message: /the schema broke/ } }])
    for (const name of ['out', 'late']) {
      t.match(await client.call(name, { n: 1 }), { result: { structuredContent: { n: 1 } } })
      t.match(await client.call(name, { n: 11 }), { result: { isError: true, content: [{ text: /failed/ }] } })
      t.match(errors(), [{ tool: name, err: { code: 'FST_MCP_OUTPUT_INVALID', message: /is too much$/ } }])
    }
    t.match(await client.call('list', { n: 2 }), { result: { structuredContent: { result: [2] } } })
    t.match(await client.call('list', { n: 1 }), { result: { isError: true } })
    errors()
  }
})

t.test('a result that is not an object travels as the member `result` of one', async t => {
  const { app, errors } = await logged(t)
  const outputs: [name: string, output: Schema, value: unknown][] = [
    ['array', z.array(z.number()), [1, 2]], ['string', z.string(), 'text'], ['number', { type: 'number' }, 0], ['null', { type: 'null' }, null],
    ['union', z.union([z.object({ a: z.number() }), z.string()]), { a: 1 }]
  ]
  for (const [name, output, value] of outputs) app.mcp.tool(name, { output }, () => value as object)
  app.mcp.tool('wrong', { output: z.array(z.number()) }, () => ['x'] as unknown as number[])
  const client = await Client.connect(app)
  const { result: { tools } } = await client.request('tools/list')
  for (const { name, outputSchema } of tools) t.match(outputSchema, { type: 'object', properties: { result: {} }, required: ['result'] }, name)
  for (const [name, , value] of outputs) {
    const { result } = await client.call(name)
    t.strictSame(result, { content: [{ type: 'text', text: JSON.stringify({ result: value }) }], structuredContent: { result: value } }, name)
  }
  t.match(await client.call('wrong'), { result: { isError: true } })
  t.match(errors(), [{ err: { code: 'FST_MCP_OUTPUT_INVALID' } }])
})

t.test('a failure that a tool tells itself needs no structured content', async t => {
  const app = await createApp(t)
  app.mcp.tool('fails', { output: z.object({ a: z.number() }) }, () => {
    return { content: [{ type: 'text' as const, text: 'not today' }], isError: true as const }
  })
  t.strictSame((await (await Client.connect(app)).call('fails')).result, { content: [{ type: 'text', text: 'not today' }], isError: true })
})

t.test('a schema that cannot be used is refused when the tool is registered', async t => {
  const app = await createApp(t)
  const standard = (extra: object): unknown => ({ '~standard': { version: 1, vendor: 'acme', validate: (value: unknown) => ({ value }), ...extra } })
  const broken = standard({ jsonSchema: { input: () => { throw new Error('no such form') }, output: () => { throw 'bare' } } }) // eslint-disable-line no-throw-literal -- handlers may throw anything
  const bad: [schema: unknown, says: RegExp][] = [
    [null, /it is null$/], ['string', /it is string$/], [7, /it is number$/], [[], /it is object$/], [true, /it is boolean$/],
    [{ type: 'objekt' }, /schema is invalid|must be equal/], [{ type: 'object', properties: 7 }, /schema is invalid/],
    [{ type: 'object', properties: { a: { $ref: '#/nowhere' } } }, /can't resolve reference/],
    [{ type: 'object', properties: { a: { $ref: 'https://example.com/s.json' } } }, /can't resolve reference/],
    [{ $schema: 'https://json-schema.org/draft/2019-09/schema', type: 'object' }, /is not served; served: /],
    [v.object({ a: v.string() }), /valibot gives no JSON Schema here; wrap it \(Valibot: toStandardJsonSchema\), or pass a JSON Schema$/],
    [z.object({ when: z.date() }), /Date cannot be represented/]
  ]
  for (const [schema, says] of bad) {
    for (const side of ['input', 'output'] as const) {
      const register = () => app.mcp.tool('bad', { [side]: schema }, () => 'x')
      t.throws(register, { code: 'FST_MCP_SCHEMA_INVALID', statusCode: 500, message: new RegExp(`^"bad": the ${side} schema cannot be used: .*${says.source}`, 's') })
    }
  }
  t.throws(() => app.mcp.tool('bad', { input: broken as Schema }, () => 'x'), { message: /no such form$/, cause: { message: 'no such form' } })
  t.throws(() => app.mcp.tool('bad', { output: broken as Schema }, () => 'x'), { message: /cannot be used: bare$/ })
  for (const input of [z.string(), { type: 'array' }, {}, { type: ['object', 'null'] }, z.union([z.object({}), z.object({})])]) {
    t.throws(() => app.mcp.tool('bad', { input: input as Schema }, () => 'x'), { code: 'FST_MCP_SCHEMA_INVALID', message: /its root must have type "object"; wrap fields in one/ })
  }
  t.strictSame((await (await Client.connect(app)).request('tools/list')).result, { tools: [] })
})

t.test('an issue says where it is, in any form of path', async t => {
  const schema = (issues: object[]): Schema => ({
    '~standard': { version: 1, vendor: 'acme', validate: () => ({ issues: issues as { message: string }[] }), jsonSchema: { input: () => ({}), output: () => ({}) } }
  })
  const issues = [{ message: 'a' }, { message: 'b', path: [] }, { message: 'c', path: ['x', 0, { key: 'y' }, Symbol('z')] }]
  t.strictSame(await compileSchema(schema(issues), 'input', 'tool').validate({}), { ok: false, message: 'a; b; x.0.y.Symbol(z): c' })
})

t.test('a callable schema is a schema', async t => {
  const input = type({ name: 'string' })
  t.type(input, 'function')
  t.match(compileSchema(input, 'input', 'tool').json, { type: 'object' })
})
