// Asking the client is one API on every era: a request on the stream of the call in sessions, another round on 2026-07-28.
import { once } from 'node:events'
import { toStandardJsonSchema } from '@valibot/to-json-schema'
import { type } from 'arktype'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import * as v from 'valibot'
import { z } from 'zod'
import { statelessProfileOf } from '../lib/eras/revisions.ts'
import { errorCodes, type McpOptions, type Schema, type ToolContext, ToolError } from '../lib/index.ts'
import { Call, type Outbox } from '../lib/protocol/call.ts'
import { CallsInProgress } from '../lib/protocol/in-progress.ts'
import { Questions } from '../lib/protocol/questions.ts'
import { answerTo, type Asked, type Asker, connectAsker, type Era, ERAS, EVERYTHING, isQuestion, type Outcome, type Respond, Standalone } from './asking.ts'
import { Client, createApp, EventStream, listen, type RpcMessage, SseClient, until, within } from './client.ts'
import { gate } from './sockets.ts'

type Handle = (ctx: ToolContext) => unknown

/** What runs a handler and may ask: each method, with how its text comes back. */
const DOORS = [
  { method: 'tools/call', params: { name: 'it', arguments: {} }, textOf: (result: any): string => result.content[0].text },
  { method: 'prompts/get', params: { name: 'it' }, textOf: (result: any): string => result.messages[0].content.text },
  { method: 'resources/read', params: { uri: 'it://it' }, textOf: (result: any): string => result.contents[0].text }
] as const

const [CALL] = DOORS
const SIZES = z.object({ size: z.enum(['S', 'L']) })
const SAMPLING = { messages: [{ role: 'user' as const, content: { type: 'text' as const, text: 'Title?' } }], maxTokens: 10 }
const SAMPLED = { role: 'assistant', content: { type: 'text', text: 'A title' }, model: 'm' }
const ROOTS = { roots: [{ uri: 'file:///work', name: 'work' }] }

const [, SSE, , FORMS_ONLY, SESSION, STANDALONE] = ERAS as readonly [Era, Era, Era, Era, Era, Era]
const ASKING = ERAS.filter(({ forms }) => forms)
const IN_SESSIONS = ERAS.filter(({ transport }) => transport !== 'standalone')

/** An app on which one handler stands behind every door. */
async function offer (t: Test, handle: Handle, options: McpOptions = {}): Promise<FastifyInstance> {
  const app = await createApp(t, options)
  const run = async (_args: unknown, ctx: ToolContext): Promise<string> => JSON.stringify(await handle(ctx)) ?? 'nothing'
  app.mcp.tool('it', {}, run)
  app.mcp.prompt('it', {}, run)
  app.mcp.resource('it://it', {}, run)
  return app
}

/** The code that an ask is rejected with; the end of a run is nobody's business. */
async function codeOf (asking: Promise<unknown>): Promise<unknown> {
  try {
    return { answered: await asking }
  } catch (error) {
    if (error instanceof errorCodes.FST_MCP_INPUT_REQUIRED) throw error
    return Reflect.get(Object(error), 'code')
  }
}

const call = (asker: Asker, respond?: Respond): Promise<Outcome> => asker.run(CALL.method, CALL.params, respond)
const valueOf = ({ result }: Outcome): any => JSON.parse(CALL.textOf(result))

function nothingLeft (t: Test, app: FastifyInstance): void {
  t.match(app.mcp.stats(), { questions: 0, calls: 0, abandoned: 0 }, 'nothing is left behind')
}

const respond: Respond = ({ method, params }) => {
  if (method === 'sampling/createMessage') return SAMPLED
  if (method === 'roots/list') return ROOTS
  return params.mode === 'url' ? { action: 'accept' } : { action: 'accept', content: { size: 'L' } }
}

for (const era of ERAS) {
  for (const { method, params, textOf } of DOORS) {
    t.test(`${method} asks, samples and lists roots in ${era.name}`, async t => {
      let made = 0
      const app = await offer(t, async ({ ask, sample, roots, once, revision }) => {
        const id = await once('id', () => ++made)
        const size = era.forms ? await ask('size', 'Which size?', SIZES) : null
        const page = era.urls ? await ask.url('page', 'Sign in', 'https://example.com/sign-in') : null
        const { content } = await sample('title', SAMPLING)
        const [root] = await roots('roots')
        return { id, size: size?.action === 'accept' ? size.content.size : null, page, content, root, revision }
      })
      const asker = await connectAsker(app, era)
      const outcome = await asker.run(method, params, respond)
      t.strictSame(JSON.parse(textOf(outcome.result)), {
        id: 1,
        size: era.forms ? 'L' : null,
        page: era.urls ? { action: 'accept' } : null,
        content: SAMPLED.content,
        root: ROOTS.roots[0],
        revision: era.revision
      })
      t.equal(made, 1, '`once` ran once')
      t.strictSame(outcome.asked.map(({ method }) => method), [
        ...era.forms ? ['elicitation/create'] : [],
        ...era.urls ? ['elicitation/create'] : [],
        'sampling/createMessage',
        'roots/list'
      ])
      t.equal(outcome.rounds, era.transport === 'standalone' ? 5 : 1)
      if (era.transport === 'standalone') t.strictSame(outcome.asked.map(({ key }) => key), ['size', 'page', 'title', 'roots'])
      else t.equal(new Set(outcome.asked.map(({ id }) => id)).size, outcome.asked.length, 'every question has an id of its own')
      nothingLeft(t, app)
    })
  }
}

for (const era of ASKING) {
  t.test(`a user accepts, declines and cancels in ${era.name}`, async t => {
    const app = await offer(t, async ({ ask }) => [await ask('form', 'Which?', SIZES), ...era.urls ? [await ask.url('page', 'Go', 'https://example.com')] : []])
    const asker = await connectAsker(app, era)
    const declined = await call(asker, () => ({ action: 'decline', content: { size: 'L' } }))
    const cancelled = await call(asker, () => ({ action: 'cancel' }))
    const pages = era.urls ? 2 : 1
    t.strictSame(valueOf(declined), Array(pages).fill({ action: 'decline' }), 'what was typed before is not told')
    t.strictSame(valueOf(cancelled), Array(pages).fill({ action: 'cancel' }))
  })

  t.test(`an answer is validated and transformed by the schema of its form in ${era.name}`, async t => {
    const schemas: Record<string, [schema: Schema, good: object, value: unknown, bad: unknown]> = {
      zod: [z.object({ count: z.number().int().transform(count => count + 1) }), { count: 1 }, { count: 2 }, { count: 'one' }],
      'an asynchronous zod': [z.object({ name: z.string().refine(async name => name !== 'bad') }), { name: 'a' }, { name: 'a' }, { name: 'bad' }],
      ArkType: [type({ count: 'number > 1' }), { count: 2 }, { count: 2 }, { count: 1 }],
      Valibot: [toStandardJsonSchema(v.object({ on: v.boolean() })), { on: true }, { on: true }, {}],
      'JSON Schema': [{ type: 'object', properties: { name: { type: 'string', minLength: 2 } }, required: ['name'] }, { name: 'ab' }, { name: 'ab' }, { name: 'a' }],
      'no content at all': [z.object({ name: z.string() }), { name: 'a' }, { name: 'a' }, undefined],
      'a content that is no object': [z.object({ name: z.string().optional() }), {}, {}, [1]]
    }
    for (const [name, [schema, good, value, bad]] of Object.entries(schemas)) {
      const app = await offer(t, ({ ask }) => ask('form', 'Fill in', schema))
      const asker = await connectAsker(app, era)
      t.strictSame(valueOf(await call(asker, () => ({ action: 'accept', content: good }))), { action: 'accept', content: value }, name)
      const refused = await call(asker, () => ({ action: 'accept', content: bad }))
      if (era.transport === 'standalone') t.match(refused.error, { code: -32602, data: { code: 'FST_MCP_ANSWER_INVALID' } }, name)
      else t.match(refused.result, { isError: true, content: [{ text: /^The answer to "form" does not fit: / }] }, name)
    }
  })

  t.test(`a form is refused when it is not flat in ${era.name}`, async t => {
    const refused: Record<string, Schema> = {
      'a text': z.string(),
      'an object inside': z.object({ inner: z.object({}) }),
      'an array of anything': z.object({ list: z.array(z.string()) }),
      'an array of numbers': z.object({ list: z.array(z.number()) }),
      null: z.object({ name: z.string().nullable() }),
      'a union': z.object({ either: z.union([z.string(), z.number()]) })
    }
    const app = await offer(t, async ({ ask }) => {
      const codes = []
      for (const [name, schema] of Object.entries(refused)) codes.push([name, await codeOf(ask('form', 'Fill in', schema))])
      return codes
    })
    t.strictSame(valueOf(await call(await connectAsker(app, era))), Object.keys(refused).map(name => [name, 'FST_MCP_ASK_INVALID']))
  })

  t.test(`an answer that is none is told as such in ${era.name}`, async t => {
    const app = await offer(t, ({ ask }) => ask('form', 'Fill in', SIZES))
    const asker = await connectAsker(app, era)
    for (const answer of [{}, { action: 'yes' }, { action: 1 }, { action: ['accept'] }]) {
      const { result, error } = await call(asker, () => answer)
      t.match(error?.message ?? result.content[0].text, /^The answer to "form" does not fit: `action` must be accept, decline or cancel$/, JSON.stringify(answer))
    }
  })

  t.test(`a generator asks between its yields in ${era.name}`, async t => {
    const app = await createApp(t)
    app.mcp.tool('it', {}, async function * (_args, { ask }) {
      yield 'one '
      const first = await ask('first', 'First?', SIZES)
      yield first.action === 'accept' ? `${first.content.size} ` : ''
      const second = await ask('second', 'Second?', SIZES)
      return second.action === 'accept' ? second.content.size : ''
    })
    const { result, told, asked } = await (await connectAsker(app, era)).run('tools/call', { name: 'it', arguments: {}, _meta: { progressToken: 'p' } }, ({ params }) => ({
      action: 'accept', content: { size: params.message === 'First?' ? 'S' : 'L' }
    }))
    t.match(result, { content: [{ type: 'text', text: 'one S L' }] })
    t.strictSame(told.map(({ params }) => [params.progress, params.message]), [[0, 'one '], [1, 'S ']], 'every chunk is told once')
    t.equal(asked.length, 2)
    nothingLeft(t, app)
  })

  t.test(`one key is one question in ${era.name}`, async t => {
    const app = await offer(t, async ({ ask }) => {
      const both = await Promise.all([ask('form', 'Which?', SIZES), ask('form', 'Which?', SIZES)])
      const again = await ask('form', 'Which?', SIZES)
      const other = await codeOf(ask('form', 'Which one?', SIZES))
      return { both, again, other }
    })
    const { asked, ...outcome } = await call(await connectAsker(app, era), respond)
    const answer = { action: 'accept', content: { size: 'L' } }
    t.strictSame(valueOf({ asked, ...outcome }), { both: [answer, answer], again: answer, other: 'FST_MCP_ASK_INVALID' })
    t.equal(asked.length, 1)
  })
}

for (const era of ASKING.filter(({ urls }) => urls)) {
  t.test(`one key is one page in ${era.name}`, async t => {
    const page = (ctx: ToolContext, to = 'https://example.com/a'): Promise<unknown> => ctx.ask.url('page', 'Go', to)
    const app = await offer(t, async ctx => [await Promise.all([page(ctx), page(ctx)]), await page(ctx), await codeOf(page(ctx, 'https://example.com/b'))])
    const outcome = await call(await connectAsker(app, era), respond)
    const answer = { action: 'accept' }
    t.strictSame(valueOf(outcome), [[answer, answer], answer, 'FST_MCP_ASK_INVALID'])
    t.equal(outcome.asked.length, 1)
  })
}

for (const era of ERAS) {
  t.test(`what cannot be asked is refused before anybody is asked in ${era.name}`, async t => {
    const app = await offer(t, async ({ ask, sample, roots, once }) => [
      await codeOf(roots('')),
      // What TypeScript would not let through.
      await codeOf(roots(Object(1))),
      await codeOf(ask('', 'Which?', SIZES)),
      await codeOf(ask.url('page', 'Go', 'nowhere')),
      await codeOf(ask('form', 'Which?', Object(null))),
      await codeOf(sample('title', Object({ maxTokens: 1 }))),
      await codeOf(sample('title', { messages: [], maxTokens: 1.5 })),
      await codeOf(sample('title', Object(null))),
      await codeOf(once(Object(1), () => 1)),
      await codeOf(once('key', Object(1)))
    ])
    const outcome = await call(await connectAsker(app, era))
    const codes: unknown[] = valueOf(outcome)
    t.strictSame([...new Set(codes.slice(0, 4))], ['FST_MCP_ASK_INVALID'])
    t.match(codes[4], /^FST_MCP_(?:ASK|SCHEMA)_INVALID$/)
    t.strictSame([...new Set(codes.slice(5))], ['FST_MCP_ASK_INVALID'])
    t.equal(outcome.asked.length, 0)
  })

  t.test(`a model's message and folders are looked at before a handler gets them in ${era.name}`, async t => {
    const app = await offer(t, ({ sample, roots, request }) => request.headers['x-what'] === 'roots' ? roots('roots') : sample('title', SAMPLING))
    const sampling = await connectAsker(app, era)
    for (const answer of [{}, { ...SAMPLED, model: 1 }, { ...SAMPLED, role: undefined }, { ...SAMPLED, content: 'text' }]) {
      const { result, error } = await call(sampling, () => answer)
      t.match(error?.message ?? result.content[0].text, 'The answer to "title" does not fit: `role`, `content` and `model` are needed')
    }
    t.match(valueOf(await call(sampling, () => ({ ...SAMPLED, content: [SAMPLED.content] }))), { content: [SAMPLED.content] })
    const listing = await connectAsker(app, era, { headers: { 'x-what': 'roots' } })
    for (const answer of [{}, { roots: null }, { roots: {} }, { roots: [null] }, { roots: [{ uri: 1 }] }]) {
      const { result, error } = await call(listing, () => answer)
      t.match(error?.message ?? result.content[0].text, 'The answer to "roots" does not fit: `roots` must be an array of objects with a `uri`')
    }
    t.strictSame(valueOf(await call(listing, () => ({ roots: [] }))), [])
  })
}

t.test('clients are asked in the words of their revision', async t => {
  const app = await offer(t, async ({ ask, session, revision }) => {
    await ask('form', 'Which?', SIZES)
    if (revision !== '2025-06-18') await ask.url('page', 'Go', 'https://example.com/')
    return session?.transport
  })
  const requestedSchema = { type: 'object', properties: { size: { type: 'string', enum: ['S', 'L'] } }, required: ['size'] }
  const form = { mode: 'form', message: 'Which?', requestedSchema }
  const page = { mode: 'url', message: 'Go', url: 'https://example.com/' }
  const paramsIn = async (era: Era): Promise<Asked['params'][]> => (await call(await connectAsker(app, era), respond)).asked.map(({ params }) => params)

  t.strictSame(await paramsIn(FORMS_ONLY), [{ message: 'Which?', requestedSchema }], 'there was no `mode` yet')
  for (const era of [SESSION, SSE]) {
    const [first, second] = await paramsIn(era)
    t.strictSame(first, form)
    t.match(second.elicitationId, /^[\da-f-]{36}$/)
    t.strictSame(second, { ...page, elicitationId: second.elicitationId })
  }
  t.strictSame(await paramsIn(STANDALONE), [form, page], 'the id of an elicitation is gone again')
})

t.test('a form keeps what clients know of it', async t => {
  const schema = z.object({
    name: z.string().min(1).max(9).regex(/^\w+$/).describe('Yours').default('me'),
    mail: z.email(),
    link: z.url(),
    day: z.iso.date(),
    at: z.iso.datetime(),
    id: z.uuid(),
    whole: z.int().min(1).max(9),
    part: z.number().gt(0).multipleOf(0.5),
    on: z.boolean().optional()
  }).meta({ title: 'Form', examples: [{}] })
  const app = await offer(t, ({ ask }) => ask('form', 'Fill in', schema))
  const content = {
    mail: 'a@example.com', link: 'https://example.com', day: '2026-01-01', at: '2026-01-01T00:00:00Z', id: '123e4567-e89b-42d3-a456-426614174000', whole: 2, part: 1.5
  }
  for (const era of ASKING) {
    const { asked: [asked], ...outcome } = await call(await connectAsker(app, era), () => ({ action: 'accept', content }))
    t.strictSame(asked?.params.requestedSchema, {
      type: 'object',
      properties: {
        name: { type: 'string', minLength: 1, maxLength: 9, description: 'Yours', default: 'me' },
        mail: { type: 'string', format: 'email' },
        link: { type: 'string', format: 'uri' },
        day: { type: 'string', format: 'date' },
        at: { type: 'string', format: 'date-time' },
        id: { type: 'string' },
        whole: { type: 'integer', minimum: 1, maximum: 9 },
        part: { type: 'number' },
        on: { type: 'boolean' }
      },
      required: ['mail', 'link', 'day', 'at', 'id', 'whole', 'part']
    }, era.name)
    t.match(valueOf({ asked: [], ...outcome }), { content: { ...content, name: 'me' } }, 'what clients do not know of is checked here')
  }
})

t.test('several choices and choices with titles came with 2025-11-25', async t => {
  const forms: Record<string, [schema: Schema, field: object, content: object]> = {
    'several choices': [z.object({ field: z.array(z.enum(['a', 'b'])).min(1) }), { type: 'array', minItems: 1, items: { type: 'string', enum: ['a', 'b'] } }, { field: ['b'] }],
    'several with titles': [
      { type: 'object', properties: { field: { type: 'array', uniqueItems: true, items: { anyOf: [{ const: 'a', title: 'A' }] } } } },
      { type: 'array', items: { anyOf: [{ const: 'a', title: 'A' }] } },
      { field: ['a'] }
    ],
    'one with titles': [
      { type: 'object', properties: { field: { type: 'string', oneOf: [{ const: 'a', title: 'A' }] } } },
      { type: 'string', oneOf: [{ const: 'a', title: 'A' }] },
      { field: 'a' }
    ]
  }
  for (const [name, [schema, field, content]] of Object.entries(forms)) {
    const app = await offer(t, ({ ask }) => ask('form', 'Pick', schema))
    for (const era of [SSE, SESSION, STANDALONE]) {
      const outcome = await call(await connectAsker(app, era), () => ({ action: 'accept', content }))
      t.strictSame(outcome.asked[0]?.params.requestedSchema.properties, { field }, `${name} in ${era.name}`)
      t.strictSame(valueOf(outcome), { action: 'accept', content })
    }
    const { result, asked } = await call(await connectAsker(app, FORMS_ONLY))
    t.match(result, { isError: true, content: [{ text: /^The client cannot be asked: its revision knows no choice of several/ }] }, name)
    t.equal(asked.length, 0)
  }
  const legacy = await offer(t, ({ ask }) => ask('form', 'Pick', { type: 'object', properties: { field: { type: 'string', enum: ['a'], enumNames: ['A'] } } }))
  const { asked } = await call(await connectAsker(legacy, FORMS_ONLY), () => ({ action: 'cancel' }))
  t.strictSame(asked[0]?.params.requestedSchema, { type: 'object', properties: { field: { type: 'string', enum: ['a'], enumNames: ['A'] } } })
})

const QUESTIONS: Record<string, Handle> = {
  form: ({ ask }) => ask('it', 'Which?', SIZES),
  url: ({ ask }) => ask.url('it', 'Go', 'https://example.com'),
  sample: ({ sample }) => sample('it', SAMPLING),
  tools: ({ sample }) => sample('it', { ...SAMPLING, tools: [] }),
  choice: ({ sample }) => sample('it', { ...SAMPLING, toolChoice: { mode: 'auto' } }),
  roots: ({ roots }) => roots('it')
}

t.test('a client is asked for nothing that it did not declare', async t => {
  const elicitation = { elicitation: { form: {} } }
  const rows: [question: keyof typeof QUESTIONS, capabilities: object, required: object | null, name?: string][] = [
    ['form', {}, elicitation, 'elicitation.form'],
    ['form', { elicitation: {} }, null],
    ['form', { elicitation: { form: {} } }, null],
    ['form', { elicitation: { url: {} } }, elicitation, 'elicitation.form'],
    ['form', { elicitation: true }, elicitation, 'elicitation.form'],
    ['form', { elicitation: { form: true } }, elicitation, 'elicitation.form'],
    ['url', { elicitation: {} }, { elicitation: { url: {} } }, 'elicitation.url'],
    ['url', { elicitation: { form: {} } }, { elicitation: { url: {} } }, 'elicitation.url'],
    ['url', { elicitation: { url: {} } }, null],
    ['sample', { elicitation: {} }, { sampling: {} }, 'sampling'],
    ['sample', { sampling: {} }, null],
    ['sample', { sampling: null }, { sampling: {} }, 'sampling'],
    ['tools', {}, { sampling: { tools: {} } }, 'sampling'],
    ['tools', { sampling: {} }, { sampling: { tools: {} } }, 'sampling.tools'],
    ['tools', { sampling: { tools: {} } }, null],
    ['choice', { sampling: {} }, { sampling: { tools: {} } }, 'sampling.tools'],
    ['roots', { sampling: {} }, { roots: {} }, 'roots'],
    ['roots', { roots: {} }, null],
    ['roots', { roots: [] }, { roots: {} }, 'roots']
  ]
  for (const [question, capabilities, required, name] of rows) {
    const app = await offer(t, QUESTIONS[question] as Handle)
    const what = `${question} of ${JSON.stringify(capabilities)}`
    for (const era of [SSE, SESSION]) {
      const { result, asked } = await call(await connectAsker(app, era, { capabilities }), respond)
      t.equal(asked.length, required === null ? 1 : 0, `${what} in ${era.name}`)
      t.equal(result.isError ?? false, required !== null)
      if (required !== null) t.equal(result.content[0].text, `The client did not declare the capability ${name}`)
    }
    const standalone = new Standalone(app, { capabilities })
    const { status, last } = await standalone.round(CALL.method, CALL.params)
    if (required === null) t.match(last, { result: { resultType: 'input_required' } }, `${what} per request`)
    else {
      t.equal(status, 400)
      t.match(last.error, { code: -32021, message: `The client did not declare the capability ${name}` })
      t.equal(last.error?.data.code, 'FST_MCP_CAPABILITY_REQUIRED')
      t.strictSame(Reflect.get(Object(last.error?.data), 'requiredCapabilities'), required, `${what} per request`)
    }
  }
})

t.test('a handler sees what its client declared, and models of older revisions are given no tools', async t => {
  const seen: unknown[] = []
  const app = await offer(t, async context => {
    seen.push({ ...context.capabilities })
    return codeOf(context.sample('it', { ...SAMPLING, tools: [] }))
  })
  for (const era of ERAS) {
    const outcome = await call(await connectAsker(app, era, { capabilities: EVERYTHING }), respond)
    t.strictSame(seen.at(-1), EVERYTHING, era.name)
    if (era.revision < '2025-11-25') t.equal(valueOf(outcome), 'FST_MCP_ASK_UNAVAILABLE', era.name)
    else t.equal(outcome.asked.length, 1, era.name)
  }
  await call(await connectAsker(app, SESSION, { capabilities: {} }))
  t.strictSame(seen.at(-1), {})
})

t.test('revisions that know no form or no page are not asked for one', async t => {
  const codes: Handle = async ({ ask }) => [await codeOf(ask('form', 'Which?', SIZES)), await codeOf(ask.url('page', 'Go', 'https://example.com'))]
  const app = await offer(t, codes)
  const unavailable = 'FST_MCP_ASK_UNAVAILABLE'
  for (const era of ERAS.filter(({ forms }) => !forms)) {
    t.strictSame(valueOf(await call(await connectAsker(app, era))), [unavailable, unavailable], era.name)
  }
  t.strictSame(valueOf(await call(await connectAsker(app, FORMS_ONLY), respond)), [{ answered: { action: 'accept', content: { size: 'L' } } }, unavailable])
})

for (const era of IN_SESSIONS) {
  t.test(`a client that does not answer is told that nobody waits any more in ${era.name}`, async t => {
    const app = await offer(t, async ({ roots, signal }) => [await codeOf(roots('it')), signal.aborted], { ask: { timeout: 30 } })
    const { stream, ask, post } = await rawSession(app, era)
    const { id } = await ask()
    const { params } = await stream.message(({ method }) => method === 'notifications/cancelled')
    t.strictSame(params, { requestId: id, reason: 'The client did not answer "it" within 30 ms' })
    const { result } = await stream.message(({ result }) => result?.content !== undefined)
    t.strictSame(JSON.parse(result.content[0].text), ['FST_MCP_ASK_TIMEOUT', false], 'the call goes on')
    const { status, messages } = await post(answerTo(id, ROOTS))
    t.equal(status, 400)
    t.match(messages[0]?.error?.data, { code: 'FST_MCP_RESPONSE_UNEXPECTED' }, 'a late answer is one to nothing')
    nothingLeft(t, app)
  })

  t.test(`the clock of a tool stands while its client is asked in ${era.name}`, async t => {
    const reasons: unknown[] = []
    const app = await offer(t, async ({ roots, signal }) => {
      const answer = await roots('it')
      signal.addEventListener('abort', () => reasons.push(signal.reason.code))
      return answer
    }, { tools: { timeout: 60 } })
    const { stream, ask, post } = await rawSession(app, era)
    const { id } = await ask()
    await new Promise(resolve => setTimeout(resolve, 150))
    t.equal((await post(answerTo(id, ROOTS))).status, 202)
    const { result } = await stream.message(({ result }) => result?.content !== undefined)
    t.strictSame(JSON.parse(result.content[0].text), ROOTS.roots)
    t.strictSame(reasons, [])
  })

  t.test(`the clock of a tool goes on after its client was asked in ${era.name}`, async t => {
    const app = await offer(t, async ({ roots, signal }) => {
      await roots('it')
      await once(signal, 'abort')
    }, { tools: { timeout: 40 } })
    const { stream, ask, post } = await rawSession(app, era)
    const { id } = await ask()
    await new Promise(resolve => setTimeout(resolve, 80))
    await post(answerTo(id, ROOTS))
    const { result } = await stream.message(({ result }) => result?.content !== undefined)
    t.match(result, { isError: true, content: [{ text: 'The tool ran longer than 40 ms' }] })
  })

  t.test(`an error of the client is told to the handler in ${era.name}`, async t => {
    const app = await offer(t, async ({ roots }) => {
      const told: unknown[] = []
      for (const key of ['a', 'b', 'c']) await roots(key).catch(error => told.push([error.code, error.message]))
      return told
    })
    const errors: unknown[] = [{ code: -1, message: 'not now' }, { code: -1 }, 'broken']
    const outcome = await call(await connectAsker(app, era), () => ({ error: errors.shift() as { code: number, message: string } }))
    t.strictSame(valueOf(outcome), [
      ['FST_MCP_ASK_REFUSED', 'The client answered "a" with an error: not now'],
      ['FST_MCP_ASK_REFUSED', 'The client answered "b" with an error: without a message'],
      ['FST_MCP_ASK_REFUSED', 'The client answered "c" with an error: without a message']
    ])
    nothingLeft(t, app)
  })

  t.test(`a call that is cancelled while it asks stops asking in ${era.name}`, async t => {
    const codes: unknown[] = []
    const app = await offer(t, async ({ roots }) => codes.push(await codeOf(roots('it'))))
    const { stream, ask, post, callId } = await rawSession(app, era)
    const { id } = await ask()
    await post({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: callId, reason: 'enough' } })
    const { params } = await stream.message(({ method }) => method === 'notifications/cancelled')
    t.strictSame(params, { requestId: id, reason: 'The client cancelled the call: enough' })
    await until(() => codes.length > 0, 'the handler to be told')
    t.strictSame(codes, ['FST_MCP_CANCELLED'])
    t.equal((await post(answerTo(id, ROOTS))).status, 400)
    nothingLeft(t, app)
  })
}

interface RawSession {
  /** What the call comes on. */
  stream: EventStream
  /** The next question. */
  ask: () => Promise<RpcMessage>
  post: (body: unknown, headers?: Record<string, string>) => ReturnType<Client['post']>
  callId: number
  client: Client | SseClient
}

/** Starts a call of a session, and leaves what it asks to the test. */
async function rawSession (target: FastifyInstance | string, era: Era, headers: Record<string, string> = {}): Promise<RawSession> {
  const { transport, revision } = era
  const options = { revision, headers, capabilities: EVERYTHING }
  const client = await (transport === 'http+sse' ? SseClient : Client).connect(target, options)
  const callId = client.nextId()
  const body = { jsonrpc: '2.0', id: callId, method: CALL.method, params: CALL.params }
  let stream: EventStream
  if (client instanceof SseClient) {
    await client.post(body)
    stream = client.stream
  } else stream = await client.stream(body)
  return { stream, client, callId, ask: () => stream.message(isQuestion), post: (body, headers) => client.post(body, headers) }
}

for (const era of IN_SESSIONS.filter(({ transport }) => transport === 'sessions')) {
  t.test(`a session that ends while its client is asked ends the question in ${era.name}`, async t => {
    const codes: unknown[] = []
    const app = await offer(t, async ({ roots }) => codes.push(await codeOf(roots('it'))))
    const { stream, ask, client } = await rawSession(app, era)
    await ask()
    t.match(app.mcp.stats(), { questions: 1, calls: 1 })
    t.equal((await (client as Client).delete()).status, 200)
    await stream.closed
    await until(() => codes.length > 0, 'the handler to be told')
    t.strictSame(codes, ['FST_MCP_SESSION_ENDED'])
    nothingLeft(t, app)
  })
}

for (const era of ERAS) {
  t.test(`a server that closes while it asks tells both sides in ${era.name}`, async t => {
    const codes: unknown[] = []
    const asked = gate()
    const app = await offer(t, async ({ roots, signal }) => {
      const asking = roots('it')
      asked.open()
      codes.push(await codeOf(asking))
      codes.push(signal.reason.code)
    })
    if (era.transport === 'standalone') {
      // There it has nothing to close: the question has been told, and the call is over.
      t.match((await new Standalone(app).round(CALL.method, CALL.params)).last, { result: { resultType: 'input_required' } })
      await app.close()
      t.strictSame(codes, [])
      return
    }
    const { stream, ask } = await rawSession(app, era)
    const { id } = await ask()
    await asked.opened
    await app.close()
    await stream.closed
    t.strictSame(codes, ['FST_MCP_CLOSING', 'FST_MCP_CLOSING'])
    t.match(stream.messages.find(({ method }) => method === 'notifications/cancelled')?.params, { requestId: id, reason: 'The server is closing' })
    nothingLeft(t, app)
  })
}

for (const era of IN_SESSIONS) {
  t.test(`a client that does not come back ends what it was asked in ${era.name}`, async t => {
    const codes: unknown[] = []
    const app = await offer(t, async ({ roots }) => codes.push(await codeOf(roots('it'))), { sessions: { replay: { window: 40 } } })
    const { stream, ask } = await rawSession(await listen(app), era)
    await ask()
    await stream.close()
    await until(() => codes.length > 0, 'the handler to be told')
    t.strictSame(codes, ['FST_MCP_CLIENT_GONE'])
    nothingLeft(t, app)
  })
}

t.test('a question that cannot be sent any more is not waited for', async t => {
  const codes: unknown[] = []
  const gone = gate()
  const app = await offer(t, async ({ roots, signal }) => {
    signal.addEventListener('abort', gone.open)
    await gone.opened
    codes.push(await codeOf(roots('it')))
    // Its call is answered by now, or given up.
    await new Promise(resolve => setImmediate(resolve))
    codes.push(await codeOf(roots('late')))
  })
  for (const era of [SSE, SESSION]) {
    const { post, callId, stream } = await rawSession(app, era)
    await post({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: callId } })
    if (era === SESSION) await stream.closed
    await until(() => codes.length === 2, 'the handler to be told')
    t.match(codes.splice(0), [/^FST_MCP_(?:CANCELLED|ASK_UNAVAILABLE)$/, 'FST_MCP_ASK_UNAVAILABLE'])
  }
  nothingLeft(t, app)
})

t.test('a server without sessions asks on 2026-07-28 alone', async t => {
  const app = await offer(t, async ({ ask, sample, roots, once }) => [
    await codeOf(ask('form', 'Which?', SIZES)),
    await codeOf(ask.url('page', 'Go', 'https://example.com')),
    await codeOf(sample('title', SAMPLING)),
    await codeOf(roots('roots')),
    await once('id', () => 1)
  ], { sessions: false })
  for (const revision of ['2025-03-26', '2025-06-18', '2025-11-25']) {
    const client = await Client.connect(app, { revision, capabilities: EVERYTHING })
    for (const { method, params, textOf } of DOORS) {
      const { result } = await client.request(method, params)
      const codes: unknown[] = JSON.parse(textOf(result))
      t.strictSame(codes.slice(1, 4), Array(3).fill('FST_MCP_ASK_UNAVAILABLE'), `${method} at ${revision}`)
      t.strictSame([codes[0], codes[4]], ['FST_MCP_ASK_UNAVAILABLE', 1])
    }
  }
  const outcome = await call(new Standalone(app), respond)
  t.strictSame(valueOf(outcome).slice(0, 2), [{ answered: { action: 'accept', content: { size: 'L' } } }, { answered: { action: 'accept' } }])
  const bare = await createApp(t, { sessions: false })
  bare.mcp.tool('it', {}, async (_args, { roots }) => String(await roots('roots')))
  t.match((await (await Client.connect(bare)).call('it')).result, {
    isError: true, content: [{ text: 'The client cannot be asked: this server keeps no sessions' }]
  })
})

t.test('a session whose client takes JSON alone cannot be asked', async t => {
  const app = await offer(t, async ({ roots }) => codeOf(roots('it')))
  const client = await Client.connect(app, { capabilities: EVERYTHING })
  const { status, headers, messages } = await client.post({ jsonrpc: '2.0', id: 1, method: CALL.method, params: CALL.params }, { accept: 'application/json' })
  t.equal(status, 200)
  t.match(headers['content-type'], 'application/json')
  t.equal(JSON.parse(messages[0]?.result.content[0].text), 'FST_MCP_ASK_UNAVAILABLE')
  const standalone = new Standalone(app, { headers: { accept: 'application/json' } })
  t.strictSame(valueOf(await call(standalone, respond)), { answered: ROOTS.roots }, 'another round needs no stream')
  nothingLeft(t, app)
})

t.test('a call that finds no stream left is told so, and does not wait for an answer to nothing', async t => {
  const both = gate()
  let waiting = 0
  const app = await offer(t, async ({ roots }) => {
    if (++waiting === 2) both.open()
    await both.opened
    return codeOf(roots('it'))
  }, { streams: { max: 1 } })
  const client = await Client.connect(app, { capabilities: EVERYTHING })
  const body = (id: number): object => ({ jsonrpc: '2.0', id, method: CALL.method, params: CALL.params })
  // The head of the one answer comes with its question, that of the other with its result.
  const [first, second] = await within(Promise.all([client.stream(body(1)), client.post(body(2))]), 'both answers')
  t.equal(JSON.parse(second.messages[0]?.result.content[0].text), 'FST_MCP_ASK_UNAVAILABLE')
  const { id } = await first.message(isQuestion)
  await client.post(answerTo(id, ROOTS))
  t.match(await first.message(({ result }) => result !== undefined), { result: { content: [{ text: JSON.stringify({ answered: ROOTS.roots }) }] } })
  nothingLeft(t, app)
})

t.test('a question that was asked while the client was away comes by replay', async t => {
  for (const how of ['closeStream', 'broken'] as const) {
    const away = gate()
    const app = await offer(t, async ({ roots, closeStream, progress }) => {
      progress(1)
      if (how === 'closeStream') closeStream()
      await away.opened
      return roots('it')
    }, { streams: { retry: 5 } })
    const target = await listen(app)
    const client = await Client.connect(target, { capabilities: EVERYTHING })
    const stream = await client.stream({ jsonrpc: '2.0', id: 7, method: CALL.method, params: { ...CALL.params, _meta: { progressToken: 'p' } } })
    await stream.message()
    if (how === 'broken') await stream.close()
    else await stream.closed
    await until(() => app.mcp.stats().streams === 0, 'the server to notice')
    away.open()
    await until(() => app.mcp.stats().questions === 1, 'the question')
    const resumed = await client.get(stream.events.at(-1)?.id ?? '')
    const { id, method } = await resumed.message(isQuestion)
    t.equal(method, 'roots/list', how)
    await client.post(answerTo(id, ROOTS))
    t.match(await resumed.message(({ id }) => id === 7), { result: { content: [{ text: JSON.stringify(ROOTS.roots) }] } })
    nothingLeft(t, app)
  }
})

t.test('a question over HTTP+SSE that the client missed comes by replay', async t => {
  const away = gate()
  const app = await offer(t, async ({ roots, progress }) => {
    progress(1)
    await away.opened
    return roots('it')
  })
  const target = await listen(app)
  const client = await SseClient.connect(target, { capabilities: EVERYTHING })
  await client.post({ jsonrpc: '2.0', id: 7, method: CALL.method, params: { ...CALL.params, _meta: { progressToken: 'p' } } })
  await client.stream.message(({ method }) => method === 'notifications/progress')
  const last = client.stream.events.at(-1)?.id ?? ''
  await client.close()
  await until(() => app.mcp.stats().streams === 0, 'the server to notice')
  away.open()
  await until(() => app.mcp.stats().questions === 1, 'the question')
  const resumed = await EventStream.open(target, '/sse', { headers: { 'last-event-id': last } })
  const { id } = await resumed.message(isQuestion)
  await client.post(answerTo(id, ROOTS))
  t.match(await resumed.message(({ id }) => id === 7), { result: { content: [{ text: JSON.stringify(ROOTS.roots) }] } })
  nothingLeft(t, app)
})

t.test('two calls at once are asked on their own streams, and answered in any order', async t => {
  const app = await createApp(t)
  app.mcp.tool('it', { input: z.object({ name: z.string() }) }, async ({ name }, { sample }) => {
    const { model } = await sample(name, { ...SAMPLING, systemPrompt: name })
    return model
  })
  const client = await Client.connect(app, { capabilities: EVERYTHING })
  const start = (id: number, name: string) => client.stream({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'it', arguments: { name } } })
  const streams = await Promise.all([start(1, 'a'), start(2, 'b')])
  const questions = await Promise.all(streams.map(stream => stream.message(isQuestion)))
  t.strictSame(questions.map(({ params }) => params.systemPrompt), ['a', 'b'])
  t.equal(app.mcp.stats().questions, 2)
  for (const { id, params } of [...questions].reverse()) await client.post(answerTo(id, { ...SAMPLED, model: `model ${params.systemPrompt}` }))
  const answers = await Promise.all(streams.map(stream => stream.message(({ result }) => result !== undefined)))
  t.match(answers, [{ id: 1, result: { content: [{ text: 'model a' }] } }, { id: 2, result: { content: [{ text: 'model b' }] } }])
  t.strictSame(streams.map(({ messages }) => messages.filter(isQuestion).length), [1, 1], 'no question came twice')
  nothingLeft(t, app)
})

t.test('the calls of a batch ask on its one stream, and a batch answers them', async t => {
  const app = await createApp(t)
  app.mcp.tool('it', { input: z.object({ name: z.string() }) }, async ({ name }, { roots }) => `${name} ${(await roots(name)).length}`)
  const client = await Client.connect(app, { revision: '2025-03-26', capabilities: EVERYTHING })
  const request = (id: number, name: string): object => ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'it', arguments: { name } } })
  const stream = await client.stream([request(1, 'a'), request(2, 'b')])
  const ids = [(await stream.message(isQuestion)).id, (await stream.message(isQuestion)).id]
  t.equal((await client.post(ids.map(id => answerTo(id, ROOTS)))).status, 202)
  await stream.closed
  t.match(stream.messages.filter(({ result }) => result !== undefined), [{ id: 1, result: { content: [{ text: 'a 1' }] } }, { id: 2, result: { content: [{ text: 'b 1' }] } }])
  nothingLeft(t, app)
})

t.test('a batch with an answer to nothing still delivers the others', async t => {
  const app = await offer(t, ({ roots }) => roots('it'))
  const { stream, ask, post } = await rawSession(app, ERAS[2] as Era)
  const { id } = await ask()
  const { status, messages } = await post([answerTo('nobody', {}), answerTo(id, ROOTS)])
  t.equal(status, 400)
  t.match(messages[0]?.error, { message: 'No request of the server waits for response id "nobody"' })
  t.match(await stream.message(({ result }) => result !== undefined), { result: { content: [{ text: JSON.stringify(ROOTS.roots) }] } })
})

const TOKENS: McpOptions = { auth: { tokens: [{ token: 'ann', principal: 'ann' }, { token: 'ben', principal: 'ben' }] } }
const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` })

for (const era of [SSE, SESSION]) {
  t.test(`only the session that was asked can answer in ${era.name}`, async t => {
    const app = await offer(t, ({ roots }) => roots('it'), TOKENS)
    const { stream, ask, post } = await rawSession(app, era, bearer('ann'))
    const { id } = await ask()
    const forged = { roots: [{ uri: 'file:///etc' }] }
    const expectRefused = async (posting: ReturnType<RawSession['post']>, status: number, code: string, what: string): Promise<void> => {
      const reply = await posting
      t.equal(reply.status, status, what)
      t.match(reply.messages[0]?.error, { data: { code } }, what)
      t.equal(app.mcp.stats().questions, 1, 'the question still waits')
    }
    const unexpected = 'FST_MCP_RESPONSE_UNEXPECTED'
    await expectRefused(post(answerTo('nobody-1', forged)), 400, unexpected, 'a question never asked')
    await expectRefused(post(answerTo(1, forged)), 400, unexpected, 'a number')
    await expectRefused(post(answerTo('__proto__', forged)), 400, unexpected, '__proto__')
    await expectRefused(post(answerTo(id, forged), bearer('ben')), 404, 'FST_MCP_SESSION_UNKNOWN', 'another principal with the session')
    const other = await rawSession(app, era, bearer('ann'))
    const own = await other.ask()
    t.equal(app.mcp.stats().questions, 2)
    t.not(own.id, id)
    const foreign = await other.post(answerTo(id, forged))
    t.equal(foreign.status, 400, 'another session of the same principal')
    t.equal(app.mcp.stats().questions, 2)
    const stranger = await rawSession(app, era, bearer('ben'))
    await stranger.ask()
    t.equal((await stranger.post(answerTo(id, forged))).status, 400, 'a session of another principal')
    for (const body of [
      { jsonrpc: '2.0', id, result: ROOTS, error: { code: 1, message: 'both' } }, { jsonrpc: '2.0', id }, { jsonrpc: '1.0', id, result: ROOTS },
      { jsonrpc: '2.0', id: [id], result: ROOTS }, { jsonrpc: '2.0', id: null, result: ROOTS }, { jsonrpc: '2.0', result: ROOTS }, `{"jsonrpc":"2.0","id":"${id}","result":`
    ]) t.equal((await post(body)).status, 400, JSON.stringify(body))
    t.equal(app.mcp.stats().questions, 3, 'nobody was answered')

    t.equal((await post(answerTo(id, ROOTS))).status, 202)
    const { result } = await stream.message(({ result }) => result?.content !== undefined)
    t.equal(result.content[0].text, JSON.stringify(ROOTS.roots))
    const twice = await post(answerTo(id, forged))
    t.match([twice.status, twice.messages[0]?.error?.data.code], [400, unexpected], 'an answer given twice')
    await other.post(answerTo(own.id, ROOTS))
    await other.stream.message(({ result }) => result?.content !== undefined)
    t.match(app.mcp.stats(), { questions: 1, calls: 1 })
  })

  t.test(`an answer that is null is one that does not fit in ${era.name}`, async t => {
    const app = await offer(t, async ({ roots }) => codeOf(roots('it')))
    for (const result of [null, 1, 'text', []]) {
      const { stream, ask, post } = await rawSession(app, era)
      const { id } = await ask()
      t.equal((await post({ jsonrpc: '2.0', id, result })).status, 202)
      const answer = await stream.message(({ result }) => result?.content !== undefined)
      t.equal(answer.result.content[0].text, '"FST_MCP_ANSWER_INVALID"')
    }
  })
}

t.test('two servers in one process do not answer for each other', async t => {
  const [first, second] = await Promise.all([offer(t, ({ roots }) => roots('it')), offer(t, ({ roots }) => roots('it'))])
  const one = await rawSession(first, SESSION)
  const two = await rawSession(second, SESSION)
  const { id } = await one.ask()
  t.not((await two.ask()).id, id)
  t.equal((await two.post(answerTo(id, ROOTS))).status, 400)
  t.equal(first.mcp.stats().questions, 1)
})

for (const era of ERAS) {
  t.test(`questions that nobody waits for break nothing in ${era.name}`, async t => {
    const rejected: unknown[] = []
    const onRejection = (error: unknown): void => { rejected.push(error) }
    process.on('unhandledRejection', onRejection)
    t.teardown(() => process.off('unhandledRejection', onRejection))
    let context: ToolContext | undefined
    const app = await offer(t, ctx => {
      context = ctx
      const { ask, roots, sample } = ctx
      if (era.forms) ask('form', 'Which?', SIZES)
      ask.url('nowhere', 'Go', 'nowhere')
      sample('title', SAMPLING)
      roots('roots')
      roots('')
      return 'done'
    })
    const asker = await connectAsker(app, era)
    if (era.transport === 'standalone') {
      const { last } = await (asker as Standalone).round(CALL.method, CALL.params)
      t.match(last.result, { resultType: 'input_required', inputRequests: { form: {}, title: {}, roots: {} } }, 'what was asked is asked all the same')
      t.strictSame(valueOf(await call(asker, respond)), 'done')
    } else {
      const { result, told } = await rawOutcome(app, era)
      t.equal(result.content[0].text, '"done"')
      t.strictSame(told, Array(era.forms ? 3 : 2).fill('The client cancelled the call: the call is over'))
    }
    await new Promise(resolve => setImmediate(resolve))
    context?.roots('too late')
    t.strictSame(await codeOf(context?.roots('later') ?? Promise.resolve()), 'FST_MCP_ASK_UNAVAILABLE', 'a call that is over asks nothing')
    await new Promise(resolve => setImmediate(resolve))
    t.strictSame(rejected, [])
    nothingLeft(t, app)
  })
}

/** How a call ends whose questions nobody answers, and why these were given up. */
async function rawOutcome (app: FastifyInstance, era: Era): Promise<{ result: any, told: unknown[] }> {
  const { stream } = await rawSession(app, era)
  const { result } = await stream.message(({ result }) => result?.content !== undefined)
  return { result, told: stream.messages.filter(({ method }) => method === 'notifications/cancelled').map(({ params }) => params.reason) }
}

t.test('a handler that swallows the end of its run is run again all the same', async t => {
  const ends: unknown[] = []
  const swallowing: Record<string, Handle> = {
    'goes on': async ({ roots }) => {
      const answer = await roots('it').catch(() => 'swallowed')
      return answer
    },
    'throws something else': async ({ roots }) => {
      try {
        return await roots('it')
      } catch {
        throw new ToolError('I know better')
      }
    },
    'throws around it': async ({ roots }) => {
      try {
        return await roots('it')
      } catch (cause) {
        throw new Error('I know better', { cause })
      }
    },
    'waits for ever': async ({ roots, signal }) => {
      const asking = roots('it')
      const isKnown = await Promise.race([asking.then(() => true, () => false)])
      if (isKnown) return asking
      await once(signal, 'abort')
      ends.push(signal.reason.code)
    }
  }
  for (const [name, handle] of Object.entries(swallowing)) {
    for (const { method, params, textOf } of DOORS) {
      const app = await offer(t, handle)
      const { result, rounds } = await new Standalone(app).run(method, params, respond)
      t.strictSame(JSON.parse(textOf(result)), ROOTS.roots, `${method}: it ${name}`)
      t.equal(rounds, 2)
      nothingLeft(t, app)
    }
  }
  t.strictSame(ends, Array(3).fill('FST_MCP_INPUT_REQUIRED'))
})

t.test('a generator that swallows the end of its run is returned', async t => {
  const app = await createApp(t)
  let finished = 0
  app.mcp.tool('it', {}, async function * (_args, { roots }) {
    try {
      const isKnown = await roots('it').then(() => true, () => false)
      // Without an answer it never ends by itself.
      const end = isKnown ? 3 : Infinity
      for (let count = 0; count < end; count++) yield `${count} `
    } finally {
      finished++
    }
  })
  const outcome = await new Standalone(app).run('tools/call', { name: 'it', arguments: {}, _meta: { progressToken: 'p' } }, respond)
  t.equal(outcome.result.content[0].text, '0 1 2 ')
  t.equal(outcome.told.length, 3, 'what it yielded after it had asked was not sent')
  t.equal(finished, 2)
  nothingLeft(t, app)
})

t.test('a call in a session logs, and knows who and what it serves, while it asks', async t => {
  const app = await createApp(t, TOKENS)
  app.mcp.resource('it://{name}', {}, async (_variables, { log, roots, uri, principal }) => {
    log.info('before')
    await roots('it')
    log.info('after')
    return `${uri} for ${principal?.id}`
  })
  const client = await connectAsker(app, SESSION, { headers: bearer('ann') })
  const { result, told } = await client.run('resources/read', { uri: 'it://x' }, respond)
  t.equal(result.contents[0].text, 'it://x for ann')
  t.strictSame(told.map(({ params }) => params.data), ['before', 'after'])
})

t.test('a call that nothing can ask for says so', async t => {
  const app = await createApp(t)
  let request: FastifyRequest | undefined
  app.mcp.tool('it', {}, (_args, ctx) => {
    request = ctx.request
    return 'done'
  })
  await call(new Standalone(app))
  if (request === undefined) throw new TypeError('the tool did not run')
  const outbox: Outbox = { send: () => true, respond () {}, skip () {}, closeStream: () => false, canAsk: () => true }
  const profile = statelessProfileOf('2026-07-28')
  if (profile === undefined) throw new TypeError('2026-07-28 is not served')
  const terms = { capabilities: EVERYTHING, logLevel: null }
  const listing = new Call(1, 'tools/list', {}, {
    profile, principal: null, session: null, terms, request, outbox, calls: new CallsInProgress(), inquiryOf: () => null
  })
  await t.rejects(listing.inquire('it', { method: 'roots/list', params: {} }), {
    code: 'FST_MCP_ASK_UNAVAILABLE', message: 'The client cannot be asked: tools/list cannot ask'
  })

  const questions = new Questions({ timeout: 1_000, max: 10, maxPerPrincipal: 10, tell: () => {} })
  const deaf = new Call(2, 'tools/call', {}, {
    profile,
    principal: null,
    session: null,
    terms,
    request,
    outbox: { ...outbox, send: () => false },
    calls: new CallsInProgress(),
    inquiryOf: () => null
  })
  const asking = questions.ask(deaf, 'session', 'it', { method: 'roots/list', params: {} })
  t.equal(questions.size, 0, 'what could not be sent is not waited for')
  await t.rejects(asking, { code: 'FST_MCP_CLIENT_GONE' })
})

t.test('a client of HTTP+SSE that never introduced itself is asked for nothing', async t => {
  const app = await offer(t, async ({ roots }) => codeOf(roots('it')))
  const client = await SseClient.open(app)
  const { result } = await client.call('it')
  t.equal(result.content[0].text, '"FST_MCP_CAPABILITY_REQUIRED"')
})
