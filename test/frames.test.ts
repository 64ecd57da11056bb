import { createParser, type EventSourceMessage } from 'eventsource-parser'
import t from 'tap'
import { comment, encode, message, type SseEvent } from '../lib/sse/frame.ts'

interface Parsed {
  events: EventSourceMessage[]
  retries: number[]
  comments: string[]
}

/** What a client reads from a wire, cut into chunks of any size. */
function parse (wire: string, cut: (index: number) => number = () => wire.length): Parsed {
  const events: EventSourceMessage[] = []
  const retries: number[] = []
  const comments: string[] = []
  const parser = createParser({
    onEvent: event => events.push(event), onRetry: retry => retries.push(retry), onComment: text => comments.push(text)
  })
  for (let from = 0, index = 0; from < wire.length; index++) {
    const to = from + Math.max(1, cut(index))
    parser.feed(wire.slice(from, to))
    from = to
  }
  return { events, retries, comments }
}

/** Mulberry32: the same numbers in each run. */
function seeded (seed: number): () => number {
  return () => {
    seed = (seed + 0x6D2B79F5) | 0
    let x = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return ((x ^ (x >>> 14)) >>> 0) / 4294967296
  }
}

const NASTY = [
  '\r', '\n', '\r\n', '\0', '\uFEFF', '\uD800', '\uDC00', '😀', '\u2028', '\u2029', '\u0085', '\v', '\f', ' ', '  ', ':', ': ', 'data:', 'data: x',
  'id: 1', 'event: endpoint', 'retry: 5', '', '\\', '"', '{', 'é', 'plain text'
]

function texts (seed: number, count: number): string[] {
  const random = seeded(seed)
  const pick = () => NASTY[Math.floor(random() * NASTY.length)] ?? ''
  return Array.from({ length: count }, () => Array.from({ length: Math.floor(random() * 12) }, pick).join(''))
}

const asLines = (text: string): string => text.replace(/\r\n|\r|\n/g, '\n')

t.test('any text comes back as it was written, its line ends as LF', async t => {
  const random = seeded(7)
  const data = texts(1, 3_000)
  const frames = data.map((text, index) => encode({ id: String(index), event: 'message', data: text }))
  const { events } = parse(frames.join(''), () => 1 + Math.floor(random() * 40))
  t.equal(events.length, data.length, 'each frame is one event')
  t.strictSame(events, data.map((text, index) => ({ id: String(index), event: 'message', data: asLines(text) })))
})

t.test('any text in JSON comes back exactly', async t => {
  const values = texts(2, 3_000).map((text, index) => ({ jsonrpc: '2.0', [text]: text, index }))
  const wire = values.map((value, index) => message(JSON.stringify(value), index % 2 === 0 ? undefined : `s_${index}`)).join('')
  const { events } = parse(wire, index => 1 + index % 31)
  t.strictSame(events.map(({ data }) => JSON.parse(data)), values)
  t.strictSame(events.slice(0, 2).map(({ id, event }) => [id, event]), [[undefined, 'message'], ['s_1', 'message']])
})

t.test('a leading space, a colon and an empty line of data survive', async t => {
  for (const data of [' x', '  x', ':', ':x', '', '\n', ' \n ', 'a\n\nb', 'data: x', '\uFEFFx']) {
    t.strictSame(parse(encode({ data })).events, [{ id: undefined, event: undefined, data }], JSON.stringify(data))
  }
})

t.test('each field has its line, and nothing else is written', async t => {
  const cases: [event: SseEvent, wire: string][] = [
    [{}, '\n'],
    [{ retry: 0 }, 'retry: 0\n\n'],
    [{ data: '' }, 'data: \n\n'],
    [{ event: 'endpoint', id: 'a_0', retry: 1_000, data: '/messages' }, 'event: endpoint\nid: a_0\nretry: 1000\ndata: /messages\n\n'],
    [{ data: 'a\r\nb\rc\nd' }, 'data: a\ndata: b\ndata: c\ndata: d\n\n']
  ]
  for (const [event, wire] of cases) t.equal(encode(event), wire)
  t.strictSame(parse(encode({ id: 'a_0', retry: 7, data: '' })), { events: [{ id: 'a_0', event: undefined, data: '' }], retries: [7], comments: [] })
})

t.test('an `event` or `id` that would forge a field is refused', async t => {
  for (const bad of ['\r', '\n', '\0', 'a\nb', 'a\r\ndata: x', '\0x', 'x\n']) {
    for (const name of ['event', 'id'] as const) {
      t.throws(() => encode({ [name]: bad, data: 'x' }), { code: 'FST_MCP_HEADER_INVALID', statusCode: 400 }, `${name} ${JSON.stringify(bad)}`)
    }
  }
  t.equal(encode({ event: 'ü', id: '\u2028 ' }), 'event: ü\nid: \u2028 \n\n', 'what ends no line is free')
})

t.test('a comment dispatches nothing and stays one line', async t => {
  for (const text of ['open', '', 'a\nb', 'a\r\ndata: forged\r\n\r\n', '\n\n']) {
    const { events, comments } = parse(comment(text) + encode({ data: 'x' }))
    t.equal(events.length, 1, JSON.stringify(text))
    t.equal(comments.length, 1)
  }
  t.equal(comment('a\r\n\nb'), ': a b\n\n')
})
