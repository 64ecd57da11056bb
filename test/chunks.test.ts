import { ToolError } from 'fastify-mcp-sse'
import t, { type Test } from 'tap'
import { type HandshakeRevision, profileOf, type Revision } from '../lib/eras/revisions.ts'
import { type CallToolResult, type Chunk, Collector, CONTENT_META, isContentBlock, nextAbove, Progress } from '../lib/tools/chunk.ts'
import { Client, createApp, REVISIONS } from './client.ts'

const LARGE = 1_000_000
const text = (value: string) => ({ type: 'text' as const, text: value })
const image = { type: 'image' as const, data: 'AAAA', mimeType: 'image/png' }
const audio = { type: 'audio' as const, data: 'AAAA', mimeType: 'audio/wav' }
const link = { type: 'resource_link' as const, uri: 'file:///a.txt', name: 'a.txt' }
const embedded = { type: 'resource' as const, resource: { uri: 'file:///a.txt', text: 'A' } }

t.test('the next double lies right above a number, wherever that is', async t => {
  const pairs: [value: number, next: number][] = [
    [0, Number.MIN_VALUE], [-0, Number.MIN_VALUE], [1, 1 + Number.EPSILON], [-1, -1 + Number.EPSILON / 2], [-Number.MIN_VALUE, -0],
    [Number.MAX_SAFE_INTEGER, 2 ** 53], [2 ** 53, 2 ** 53 + 2]
  ]
  for (const [value, next] of pairs) t.equal(nextAbove(value), next, String(value))
  for (const value of [0.1, 1e300, -1e300, 12345.678]) {
    const next = nextAbove(value)
    t.ok(next > value && (value + next) / 2 <= next, `${value} rises`)
    t.ok((value + next) / 2 === value || (value + next) / 2 === next, `nothing lies between ${value} and ${next}`)
  }
})

const report = (to: Progress, progress: number): number => to.report({ progress }).progress

t.test('chunks count whole steps until the tool reports its own, and then rise by as little as can be', async t => {
  const chunks = new Progress()
  t.strictSame([chunks.step(), chunks.step(), chunks.step()], [0, 1, 2])

  const mixed = new Progress()
  const sent = [mixed.step(), report(mixed, 1), mixed.step(), mixed.step(), report(mixed, 2), mixed.step(), report(mixed, 3)]
  t.match(sent, [0, 1, nextAbove(1), nextAbove(nextAbove(1)), 2, nextAbove(2), 3], 'a bar of 1, 2, 3 of 3 stays true')

  const falling = new Progress()
  t.strictSame([report(falling, 5), report(falling, 5), report(falling, 3), report(falling, 6)], [5, nextAbove(5), nextAbove(nextAbove(5)), 6])

  const negative = new Progress()
  t.strictSame([report(negative, -7), report(negative, -8), negative.step(), report(negative, 0)], [-7, nextAbove(-7), nextAbove(nextAbove(-7)), 0], 'the first value is sent as it is')
})

t.test('what is no finite number is refused, and what follows still counts', async t => {
  const progress = new Progress()
  t.equal(progress.report({ progress: 1 }).progress, 1)
  for (const value of [NaN, Infinity, -Infinity, '2', undefined]) {
    t.throws(() => progress.report({ progress: value }), { code: 'FST_MCP_CHUNK_INVALID', message: /`progress` and `total` must be finite numbers/ }, String(value))
  }
  t.equal(progress.report({ progress: 2 }).progress, 2)
})

t.test('progress rises strictly, whatever a tool yields', async t => {
  const random = ((seed: number) => () => { seed = (seed * 1103515245 + 12345) % 2 ** 31; return seed / 2 ** 31 })(42)
  const progress = new Progress()
  let last = -1
  for (let index = 0; index < 2_000; index++) {
    const next = random() < 0.5 ? progress.step() : progress.report({ progress: Math.floor(random() * 50) - 5 }).progress
    if (!(next > last)) t.fail(`${next} does not rise above ${last}`)
    last = next
  }
  t.ok(last > 40)
})

t.test('each kind of chunk becomes its notification and its part of the result', async t => {
  const collector = new Collector(true, LARGE)
  t.strictSame(collector.add('a'), { progress: 0, message: 'a' })
  t.strictSame(collector.add('b'), { progress: 1, message: 'b' })
  t.strictSame(collector.add(image), { progress: 2, _meta: { [CONTENT_META]: image } })
  t.strictSame(collector.add(text('c')), { progress: 3, message: 'c', _meta: { [CONTENT_META]: text('c') } })
  t.strictSame(collector.add('d'), { progress: 4, message: 'd' })
  t.strictSame(collector.add({ progress: 9, total: 10, message: 'nearly' }), { progress: 9, total: 10, message: 'nearly' })
  t.strictSame(collector.add({ progress: 10 }), { progress: 10, total: undefined, message: undefined })
  t.strictSame(collector.add('e'), { progress: nextAbove(10), message: 'e' })
  t.strictSame(collector.finish(undefined), { content: [text('ab'), image, text('c'), text('de')] }, 'texts side by side are one block')
})

t.test('`collect: false` keeps chunks out of the result, not out of the notifications', async t => {
  const collector = new Collector(false, 1)
  t.strictSame(collector.add('a long text'), { progress: 0, message: 'a long text' })
  t.match(collector.add(image), { progress: 1 })
  t.match(collector.add({ progress: 2 }), { progress: 2 })
  t.strictSame(collector.finish('z'), { content: [text('z')] })
})

t.test('content blocks are told from what only looks like them', async t => {
  for (const block of [text(''), image, audio, link, embedded]) t.ok(isContentBlock(block), block.type)
  const bad = [
    null, undefined, 'text', 1, [], {}, { type: 'text' }, { type: 'text', text: 1 }, { type: 'video', data: '', mimeType: '' }, { type: 1 },
    { type: 'image', data: 'x' }, { type: 'image', mimeType: 'x' }, { type: 'audio', data: 1, mimeType: 'x' }, { type: 'resource' },
    { type: 'resource', resource: null }, { type: 'resource', resource: {} }, { type: 'resource_link', uri: 'x' }, { type: 'resource_link', name: 'x' }
  ]
  for (const value of bad) t.notOk(isContentBlock(value), JSON.stringify(value))
})

t.test('anything else that is yielded is refused, and the refusal says what is wrong with it', async t => {
  const progress = '`progress` and `total` must be finite numbers, `message` a string'
  const bad: [chunk: unknown, says: string][] = [
    [undefined, 'undefined'], [null, 'null'], [1, 'number'], [NaN, 'NaN'], [true, 'boolean'], [1n, 'bigint'], [['a'], 'an array'], [() => {}, 'function'],
    [{}, 'an object with the keys '], [{ secret: 'x', b: 1 }, 'an object with the keys secret, b'], [{ type: 'video', data: '' }, 'an object with the keys type, data'],
    [{ progress: '1' }, progress], [{ progress: NaN }, progress], [{ progress: Infinity }, progress], [{ progress: 1, total: '2' }, progress],
    [{ progress: 1, total: NaN }, progress], [{ progress: 1, message: 2 }, progress],
    [{ type: 'image', data: 'secret' }, 'a block of type "image" without the strings data and mimeType'],
    [{ type: 'text' }, 'a block of type "text" without the strings text'],
    [{ type: 'resource', resource: {} }, 'a block of type "resource" without the strings resource.uri']
  ]
  for (const [chunk, says] of bad) {
    const message = `What was yielded or returned cannot be sent: ${says}`
    t.throws(() => new Collector(true, LARGE).add(chunk), { code: 'FST_MCP_CHUNK_INVALID', message }, says)
  }
})

t.test('a returned error is thrown, and what JSON cannot say is refused', async t => {
  const error = new TypeError('no')
  t.throws(() => new Collector(true, LARGE).finish(error), error)
  for (const value of [NaN, Infinity, () => {}]) t.throws(() => new Collector(true, LARGE).finish(value), { code: 'FST_MCP_CHUNK_INVALID' })
  t.strictSame(new Collector(true, LARGE).finish(0), { content: [text('0')] })
})

t.test('a result may be as large as `maxResult` says, in bytes, and no larger', async t => {
  const sizes: [chunk: Chunk, bytes: number][] = [
    ['äé', 4], [text('äé'), Buffer.byteLength(JSON.stringify(text('äé')))], [image, JSON.stringify(image).length]
  ]
  for (const [chunk, bytes] of sizes) {
    t.doesNotThrow(() => new Collector(true, bytes).add(chunk), `${bytes} of ${bytes} bytes`)
    t.throws(() => new Collector(true, bytes - 1).add(chunk), { code: 'FST_MCP_RESULT_TOO_LARGE' }, `${bytes} of ${bytes - 1} bytes`)
  }
  const collector = new Collector(true, 4)
  collector.add('ab')
  collector.add({ progress: 1, message: 'a message is not part of the result' })
  t.match(collector.finish('cd'), { content: [text('abcd')] }, 'what is returned counts with what was yielded')
  t.throws(() => collector.finish('e'), { code: 'FST_MCP_RESULT_TOO_LARGE' })
  t.throws(() => new Collector(true, 6).finishStructured({ a: 1 }), { code: 'FST_MCP_RESULT_TOO_LARGE' })
  t.doesNotThrow(() => new Collector(true, 7).finishStructured({ a: 1 }))
  t.throws(() => { for (const many = new Collector(true, 1_000); ;) many.add(text('')) }, { code: 'FST_MCP_RESULT_TOO_LARGE' }, 'empty blocks count too')
  t.strictSame(new Collector(true, 3).fail('abcd'), { content: [text('abc')], isError: true }, 'what went wrong is cut')
  t.throws(() => new Collector(true, 3).finish({ content: [text('abcd')] }), { code: 'FST_MCP_RESULT_TOO_LARGE' }, 'a whole result counts too')
})

t.test('each form of a return value adds to what was yielded, or replaces it', async t => {
  const forms: [returned: unknown, result: CallToolResult][] = [
    [undefined, { content: [text('y')] }],
    ['z', { content: [text('yz')] }],
    ['', { content: [text('y')] }],
    [image, { content: [text('y'), image] }],
    [[image, link], { content: [text('y'), image, link] }],
    [[], { content: [text('y')] }],
    [{ content: [image], _meta: { a: 1 } }, { content: [image], _meta: { a: 1 } }],
    [{ content: [], isError: true }, { content: [], isError: true }],
    [{ any: 'value' }, { content: [text('y{"any":"value"}')] }],
    [[1, 2], { content: [text('y[1,2]')] }],
    [7, { content: [text('y7')] }],
    [null, { content: [text('y')] }],
    [{ content: 'not blocks' }, { content: [text('y{"content":"not blocks"}')] }]
  ]
  for (const [returned, result] of forms) {
    const collector = new Collector(true, LARGE)
    collector.add('y')
    t.strictSame(collector.finish(returned), result, JSON.stringify(returned))
  }
  t.strictSame(new Collector(true, LARGE).finish(undefined), { content: [] })
  t.throws(() => new Collector(true, LARGE).finish(() => {}), { code: 'FST_MCP_CHUNK_INVALID' }, 'what JSON cannot say is refused')
})

t.test('a structured value goes out twice, and a failure keeps what was collected', async t => {
  const structured = new Collector(true, LARGE)
  structured.add('y')
  t.strictSame(structured.finishStructured({ a: 1 }), { content: [text('y'), text('{"a":1}')], structuredContent: { a: 1 } })
  t.throws(() => new Collector(true, LARGE).finishStructured(undefined), { code: 'FST_MCP_CHUNK_INVALID' })

  const failed = new Collector(true, LARGE)
  failed.add('half')
  t.strictSame(failed.fail('then it broke'), { content: [text('half'), text('then it broke')], isError: true })
})

/** What a client of each revision gets for a tool that yields and returns the same blocks. */
async function received (t: Test, revision: Revision, blocks: readonly Chunk[]): Promise<{ content: unknown[], streamed: unknown[] }> {
  const app = await createApp(t)
  app.mcp.tool('blocks', {}, async function * () { yield * blocks })
  const client = await Client.connect(app, { revision })
  const { messages } = await client.post({
    jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'blocks', arguments: {}, _meta: { progressToken: 'p' } }
  })
  return {
    content: messages.at(-1)?.result.content,
    streamed: messages.slice(0, -1).map(({ params }) => params._meta[CONTENT_META])
  }
}

t.test('audio and resource links reach old clients in a form that they can parse, streamed or not', async t => {
  const asResource = { type: 'resource', resource: { uri: 'audio:content', mimeType: 'audio/wav', blob: 'AAAA' } }
  const titled = { ...link, title: 'The letter A' }
  const blocks = [audio, link, titled, image, embedded]
  const expected: Record<HandshakeRevision, unknown[]> = {
    '2024-11-05': [asResource, text('a.txt: file:///a.txt'), text('The letter A: file:///a.txt'), image, embedded],
    '2025-03-26': [audio, text('a.txt: file:///a.txt'), text('The letter A: file:///a.txt'), image, embedded],
    '2025-06-18': blocks,
    '2025-11-25': blocks
  }
  for (const revision of REVISIONS) {
    const { content, streamed } = await received(t, revision, blocks)
    t.strictSame(content, expected[revision], `${revision}: result`)
    t.strictSame(streamed, expected[revision], `${revision}: stream`)
  }
})

t.test('structured content stays with the revisions that know it', async t => {
  const result = { content: [text('{}')], structuredContent: { a: 1 }, isError: false, _meta: { b: 2 } }
  const { structuredContent: _, ...plain } = result
  for (const revision of REVISIONS) {
    t.strictSame(profileOf(revision)?.convertResult(result, false), revision >= '2025-06-18' ? result : plain, revision)
  }
})

t.test('nothing is streamed without a progress token, and the result is the same', async t => {
  const app = await createApp(t)
  app.mcp.tool('three', {}, async function * () { yield 'a'; yield { progress: 1, total: 3 }; return 'b' })
  const client = await Client.connect(app)
  const call = (meta?: object) => client.post({ jsonrpc: '2.0', id: client.nextId(), method: 'tools/call', params: { name: 'three', ...meta } })
  for (const meta of [undefined, { _meta: {} }, { _meta: null }, { _meta: 'x' }, { _meta: { progressToken: null } }]) {
    const { messages, headers } = await call(meta)
    t.match(headers['content-type'], /^application\/json/)
    t.strictSame(messages.map(({ result }) => result), [{ content: [text('ab')] }], JSON.stringify(meta))
  }
  for (const progressToken of ['', 'x', 0, 7]) {
    const { messages } = await call({ _meta: { progressToken } })
    t.match(messages, [
      { method: 'notifications/progress', params: { progressToken, progress: 0, message: 'a' } },
      { method: 'notifications/progress', params: { progressToken, progress: 1, total: 3 } },
      { result: { content: [text('ab')] } }
    ], `the token ${JSON.stringify(progressToken)} comes back as it was sent`)
  }
})

t.test('every character reaches the client as it was yielded', async t => {
  const ASCII = 128
  const texts = ['', ...Array.from({ length: ASCII + 1 }, (_, code) => `a${String.fromCharCode(code)}`), '\u2028', 'ä', '😀', '\uD800', '"}}\n\ndata: {', '\\"']
  const app = await createApp(t)
  app.mcp.tool('texts', {}, async function * () { yield * texts })
  const client = await Client.connect(app)
  const { messages } = await client.post({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'texts', _meta: { progressToken: '"' } } })
  t.strictSame(messages.slice(0, -1).map(({ params }) => params), texts.map((message, progress) => ({ progressToken: '"', progress, message })))
  t.match(messages.at(-1), { result: { content: [text(texts.join(''))] } })
})

t.test('a handler that does not yield reports its progress, as far as JSON can say it', async t => {
  const app = await createApp(t)
  app.mcp.tool('report', {}, async (_args, { progress }) => {
    await progress(1, 4, 'one')
    await progress(2)
    await progress(Number.MAX_VALUE)
    await progress(3)
    return 'done'
  })
  const client = await Client.connect(app)
  const { messages } = await client.post({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'report', _meta: { progressToken: 't' } } })
  t.strictSame(messages.slice(0, -1).map(({ params }) => params), [
    { progressToken: 't', progress: 1, total: 4, message: 'one' },
    { progressToken: 't', progress: 2 },
    { progressToken: 't', progress: Number.MAX_VALUE }
  ], 'nothing can rise above the last')
  t.match(messages.at(-1), { result: { content: [text('done')] } })
})

t.test('a handler that reports what is no number fails', async t => {
  const app = await createApp(t)
  app.mcp.tool('half', {}, async (_args, { progress }) => { await progress(1, NaN) })
  t.match(await (await Client.connect(app)).call('half'), { result: { isError: true, content: [{ text: /^Tool "half" failed/ }] } })
})

t.test('a progress token is as long as an id may be, and a whole number', async t => {
  const app = await createApp(t, { limits: { id: 8 } })
  app.mcp.tool('three', {}, async function * () { yield 'a' })
  const client = await Client.connect(app)
  for (const [progressToken, isGood] of [['12345678', true], ['123456789', false], [1, true], [1.5, false], [{}, false], [true, false]] as const) {
    const { messages: [message] } = await client.post({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'three', _meta: { progressToken } } })
    t.match(message, isGood ? { params: { progressToken } } : { id: 1, error: { code: -32600, data: { code: 'FST_MCP_MESSAGE_INVALID' } } }, JSON.stringify(progressToken))
  }
})

t.test('what was yielded may be used again', async t => {
  const collector = new Collector(true, LARGE)
  const block = text('')
  for (const letter of 'abc') {
    block.text = letter
    collector.add(block)
  }
  t.strictSame(collector.finish(undefined), { content: [text('a'), text('b'), text('c')] })
})

t.test('a result that JSON cannot say is a failure of the tool', async t => {
  const app = await createApp(t)
  app.mcp.tool('bigint', {}, () => ({ type: 'text', text: 'x', _meta: { n: 1n } }))
  const client = await Client.connect(app)
  t.match(await client.call('bigint'), { result: { isError: true, content: [{ text: /^Tool "bigint" failed/ }] } })
  t.match(await client.request('ping'), { result: {} })
})

t.test('a `ToolError` is told to the model, any other throw in general', async t => {
  const app = await createApp(t)
  app.mcp.tool('told', {}, () => { throw new ToolError('no such folder') })
  app.mcp.tool('hidden', {}, () => { throw new Error('password') })
  const client = await Client.connect(app)
  t.strictSame((await client.call('told')).result, { content: [text('no such folder')], isError: true })
  t.match((await client.call('hidden')).result, { content: [{ text: /^Tool "hidden" failed; / }], isError: true })
  t.equal(new ToolError('x').name, 'ToolError')
})
