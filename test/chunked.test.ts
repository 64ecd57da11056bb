// The chunks in which a stream is written to its connection (RFC 9112, section 7.1), and who sees them.
import { once } from 'node:events'
import { connect } from 'node:net'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { createApp, listen, send, until } from './client.ts'

const TEXTS = ['plain', 'ä€😀', 'x'.repeat(40_000), '€'.repeat(20_000), '\ud800', '']
const BODY = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'talk', _meta: { progressToken: 1 } } }
const HEADERS = { accept: 'application/json, text/event-stream', 'content-type': 'application/json' }

const frame = (message: object): string => `event: message\ndata: ${JSON.stringify(message)}\n\n`
const progress = (text: string, index: number): object =>
  ({ jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: 1, progress: index, message: text } })

const EXPECTED = [
  ...TEXTS.map(progress), { jsonrpc: '2.0', id: 1, result: { content: [{ type: 'text', text: 'done' }] } }
].map(frame).join('')

async function talker (t: Test): Promise<FastifyInstance> {
  const app = await createApp(t, { sessions: false })
  app.mcp.tool('talk', { collect: false }, async function * () {
    for (const text of TEXTS) {
      await new Promise(resolve => setImmediate(resolve))
      yield text
    }
    return 'done'
  })
  return app
}

/** What is answered on one connection, as bytes; `isWhole` says when that is all. */
async function exchange (url: string, head: string, isWhole: (text: Buffer) => boolean): Promise<Buffer> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  const closed = once(socket, 'close')
  let bytes = Buffer.alloc(0)
  socket.on('data', (part: Buffer) => { bytes = Buffer.concat([bytes, part]) })
  const body = JSON.stringify(BODY)
  const headers = Object.entries({ ...HEADERS, host: 'localhost', 'content-length': Buffer.byteLength(body) })
  socket.write(`${head}\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`)
  await until(() => isWhole(bytes), 'the answer')
  socket.destroy()
  await closed
  return bytes
}

const END = Buffer.from('\r\n0\r\n\r\n')

/** Throws where a size is not that of its chunk. */
function dechunked (bytes: Buffer): string {
  const parts: Buffer[] = []
  let at = bytes.indexOf('\r\n\r\n') + 4
  for (;;) {
    const line = bytes.indexOf('\r\n', at)
    const size = Number.parseInt(bytes.toString('latin1', at, line), 16)
    const end = line + 2 + size
    if (bytes.toString('latin1', end, end + 2) !== '\r\n') throw new RangeError(`the chunk at ${at} does not end where it says`)
    if (size === 0) return Buffer.concat(parts).toString()
    parts.push(bytes.subarray(line + 2, end))
    at = end + 2
  }
}

t.test('each chunk of a stream says its size in bytes, and the stream ends with an empty one', async t => {
  const url = await listen(await talker(t))
  const bytes = await exchange(url, 'POST /mcp HTTP/1.1', text => text.subarray(-END.length).equals(END))
  t.match(bytes.toString(), /^transfer-encoding: chunked\r$/im)
  t.equal(dechunked(bytes), EXPECTED)
})

t.test('a client of HTTP/1.0 gets no chunks', async t => {
  const url = await listen(await talker(t))
  const text = (await exchange(url, 'POST /mcp HTTP/1.0', text => text.includes('"done"'))).toString()
  t.notMatch(text, /transfer-encoding/i)
  t.equal(text.slice(text.indexOf('\r\n\r\n') + 4), EXPECTED)
})

t.test('what is injected, and whoever watches the writes of a response, gets text without sizes', async t => {
  const injected = await (await talker(t)).inject({ method: 'POST', url: '/mcp', headers: HEADERS, payload: BODY })
  t.equal(injected.payload, EXPECTED)

  for (const name of ['write', 'end'] as const) {
    const app = await createApp(t, { sessions: false })
    const seen: unknown[] = []
    app.addHook('onRequest', (_request, { raw }, done) => {
      const { [name]: own } = raw
      Object.assign(raw, {
        [name]: (...args: unknown[]) => {
          seen.push(...args)
          return Reflect.apply(own, raw, args)
        }
      })
      done()
    })
    app.mcp.tool('talk', {}, async function * () {
      yield 'one'
      return ' done'
    })
    const { messages } = await send(await listen(app), '/mcp', { method: 'POST', headers: HEADERS, body: BODY })
    t.match(messages, [progress('one', 0), { result: { content: [{ text: 'one done' }] } }])
    t.equal(seen.join(''), name === 'end' ? '' : [progress('one', 0), messages[1] ?? {}].map(frame).join(''))
  }
})

t.test('what a host writes on the response of a stream, and the trailers that it adds there, go out as Node writes them', async t => {
  const app = await createApp(t, { sessions: false })
  let say: () => void
  const said = new Promise<void>(resolve => { say = resolve })
  app.addHook('onSend', async (_request, reply) => {
    reply.header('trailer', 'x-sum')
    reply.raw.addTrailers({ 'x-sum': '7' })
    setImmediate(() => {
      reply.raw.write(': host\n\n')
      say()
    })
  })
  app.mcp.tool('talk', {}, async function * () {
    yield 'one'
    await said
    yield ' two'
  })
  const bytes = await exchange(await listen(app), 'POST /mcp HTTP/1.1', text => text.includes('x-sum: 7\r\n\r\n'))
  const two = progress(' two', 1)
  const trailer = 'x-sum: 7\r\n'
  t.equal(dechunked(Buffer.from(bytes.toString('latin1').replace(trailer, ''), 'latin1')), [
    frame(progress('one', 0)), ': host\n\n', frame(two), frame({ jsonrpc: '2.0', id: 1, result: { content: [{ type: 'text', text: 'one two' }] } })
  ].join(''))
})
