// Streams that one node writes and whose client is at another.
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { Client, EventStream, type RpcMessage, send, SseClient, until } from './client.ts'
import { at, lastId, startTown, type TownOptions, Turnstile } from './neighbours.ts'

const texts = (...streams: EventStream[]): string[] => streams.flatMap(({ messages }) => messages.flatMap(({ params }) => params?.message ?? []))
const answerTo = (id: unknown) => (message: RpcMessage) => message.id === id && message.method === undefined
const callOf = (id: string | number, name: string, args: object = {}) =>
  ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: args, _meta: { progressToken: id } } })
const numbers = (from: number, to: number): string[] => Array.from({ length: to - from + 1 }, (_, index) => `${from + index}`)

/** Three nodes with a tool that counts as far as the turnstile lets it. */
async function startCounting (t: Test, options: TownOptions = {}) {
  const turnstile = new Turnstile()
  const offer = ({ mcp }: FastifyInstance): void => {
    mcp.tool('count', {}, async function * (_args, { signal }) {
      for (let number = 1; number <= 20; number++) {
        await turnstile.through(signal)
        yield `${number}`
      }
    })
  }
  return { turnstile, ...await startTown(t, { offer, ...options }) }
}

/** A call of which the client saw the first numbers before its connection broke. */
async function broken (client: Client, turnstile: Turnstile, id: string, seen: number): Promise<EventStream> {
  const stream = await client.stream(callOf(id, 'count'))
  turnstile.let(seen)
  while (texts(stream).length < seen) await stream.next()
  await stream.close()
  return stream
}

for (const driver of ['ioredis', 'redis'] as const) {
  t.test(`a client that moves from node to node gets each event once, with ${driver}`, async t => {
    const { nodes: [a, b, c], turnstile } = await startCounting(t, { driver })
    const client = await Client.connect(a.url)
    const first = await broken(client, turnstile, 'm', 3)
    turnstile.let(3)
    const second = await at(client, c).get(lastId(first))
    while (texts(second).length < 3) await second.next()
    turnstile.let(2)
    while (texts(second).length < 5) await second.next()
    const third = await at(client, b).get(lastId(second))
    await second.closed
    t.equal(a.app.mcp.stats().calls, 1, 'the tool goes on where it is')
    await third.close()
    await until(() => a.app.mcp.stats().streams === 0, 'the end of the relay')
    turnstile.let(4)
    const fourth = await at(client, c).get(lastId(second))
    turnstile.let(8)
    t.match(await fourth.message(answerTo('m')), { result: { content: [{ text: numbers(1, 20).join('') }] } })
    await fourth.closed
    t.strictSame(texts(first, second, fourth), numbers(1, 20))
    const again = await at(client, b).get(lastId(second))
    await again.closed
    t.strictSame(texts(again), numbers(9, 20), 'what is over can be had again')
  })
}

t.test('a client that is at work at the node that it comes back to is given the stream of another one', async t => {
  const { nodes: [a, b], turnstile } = await startCounting(t)
  const client = await Client.connect(a.url)
  const first = await broken(client, turnstile, 'w', 3)
  const listening = await at(client, b).get()
  const second = await at(client, b).get(lastId(first))
  turnstile.let(17)
  t.match(await second.message(answerTo('w')), { result: { content: [{ text: numbers(1, 20).join('') }] } })
  t.strictSame(texts(first, second), numbers(1, 20))
  a.app.mcp.tool('more', {}, () => '')
  await listening.message(({ method }) => method === 'notifications/tools/list_changed')
  t.equal(listening.messages.length, 1)
})

t.test('a node that is asked for the stream of a session that has just ended has nothing to give', async t => {
  const { nodes: [a], admin, prefix, forge } = await startTown(t)
  const ear = admin.duplicate()
  t.teardown(() => ear.disconnect())
  const answers: object[] = []
  ear.on('message', (_channel, text) => { answers.push(JSON.parse(text)) })
  await ear.subscribe(`${prefix}:inbox:00000000`)
  await forge(a, { kind: 'attach', ref: 1, from: '00000000', session: 'unknown', stream: `${a.name}1`, seq: 1, greeting: '', relay: 1, room: 1_000 })
  await until(() => answers.length === 2, 'the answer')
  t.strictSame(answers, [{ kind: 'taken', ref: 1, from: a.name }, { kind: 'answer', ref: 1, answer: { isFollowed: false }, from: a.name }])
  t.equal(a.app.mcp.stats().streams, 0)
})

t.test('a client that does not read stops the tool at the other node', async t => {
  let count = 0
  const turnstile = new Turnstile()
  const { nodes: [a, , c] } = await startTown(t, {
    options: { streams: { buffer: 16_384 } },
    offer: ({ mcp }) => {
      mcp.tool('flood', {}, async function * (_args, { signal }) {
        for (; count < 300; count++) {
          await turnstile.through(signal)
          yield 'x'.repeat(16_384)
        }
      })
    }
  })
  const client = await Client.connect(a.url)
  const first = await client.stream(callOf('f', 'flood'))
  turnstile.let(1)
  await first.message()
  await first.close()
  const resumed = await at(client, c).get(lastId(first))
  resumed.body.pause()
  turnstile.let(299)
  let before = -1
  while (before !== count) {
    before = count
    await sleep(300)
  }
  t.ok(count < 250, `it waits after ${count} chunks`)
  resumed.body.resume()
  await resumed.message(answerTo('f'))
  t.equal(count, 300)
  const sent = [...first.messages, ...resumed.messages].filter(({ method }) => method === 'notifications/progress')
  t.ok(sent.length >= 300)
})

t.test('a relay that loses a message breaks the connection, and nothing is lost', async t => {
  const { nodes: [a, b, c], turnstile, forge } = await startCounting(t)
  const client = await Client.connect(a.url)
  const first = await broken(client, turnstile, 'g', 2)
  const second = await at(client, c).get(lastId(first))
  turnstile.let(2)
  while (texts(second).length < 2) await second.next()
  for (const letter of [
    { kind: 'frames', relay: 9, count: 1, text: 'x', from: a.name },
    { kind: 'nothing', from: a.name }, { kind: 7, from: a.name }, { kind: 'frames' },
    { kind: 'answer', ref: 99, from: a.name }, { kind: 'answer', ref: 99, error: {}, from: a.name }, { kind: 'taken', ref: 99, from: a.name },
    { kind: 'frames', relay: 1, count: 99, text: 'x', from: c.name }
  ]) await forge(c, letter)
  for (const kind of ['room', 'leave']) await forge(a, { kind, relay: 9, size: 1, from: c.name })
  turnstile.let(1)
  while (texts(second).length < 3) await second.next()
  await forge(c, { kind: 'frames', relay: 1, count: 99, text: 'data: x\n\n', from: a.name })
  await second.closed
  await until(() => a.app.mcp.stats().streams === 0, 'the end of the relay')
  turnstile.let(15)
  const third = await at(client, b).get(lastId(second))
  await third.message(answerTo('g'))
  t.strictSame(texts(first, second, third), numbers(1, 20))
})

t.test('a break of the bus breaks what is relayed, and nothing is lost', async t => {
  const { nodes: [a, , c], turnstile, admin } = await startCounting(t)
  const client = await Client.connect(a.url)
  const first = await broken(client, turnstile, 'g', 2)
  const second = await at(client, c).get(lastId(first))
  turnstile.let(1)
  while (texts(second).length < 1) await second.next()
  await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
  await second.closed
  turnstile.let(17)
  // Its own node may not know yet that it has missed something.
  const streams = [first, second]
  while (!streams.some(({ messages }) => messages.some(answerTo('g')))) {
    const next = await at(client, c).get(lastId(streams.findLast(stream => lastId(stream) !== '') ?? first))
    await next.closed
    streams.push(next)
  }
  t.strictSame(texts(...streams), numbers(1, 20))
})

t.test('a call whose node is gone ends in an error', async t => {
  const { nodes: [a, b, c], turnstile } = await startCounting(t)
  const client = await Client.connect(a.url)
  const first = await broken(client, turnstile, 'd', 2)
  const second = await at(client, c).get(lastId(first))
  turnstile.let(1)
  while (texts(second).length < 1) await second.next()
  a.lose()
  await second.closed
  for (const last of [lastId(first), lastId(second), `${lastId(first)}00`]) {
    const third = await at(client, b).get(last)
    t.match(await third.message(answerTo('d')), { error: { data: { code: 'FST_MCP_NODE_GONE' } } })
    t.ok(Number(lastId(third).split('_')[1]) > Number(last.split('_')[1]), 'it does not come again')
    await third.closed
  }
})

t.test('the answers of a node that is gone are still told', async t => {
  const { nodes: [a, b], turnstile } = await startCounting(t)
  const client = await Client.connect(a.url, { revision: '2025-03-26' })
  const stream = await client.stream([callOf('x', 'count'), callOf('y', 'count'), { jsonrpc: '2.0', id: 'z', method: 'ping' }])
  turnstile.let(6)
  while (texts(stream).length < 6) await stream.next()
  const [first = ''] = stream.events.map(({ id }) => id ?? '')
  await sleep(50)
  a.lose()
  await stream.close()
  await sleep(800)
  const resumed = await at(client, b).get(first)
  await resumed.closed
  const answers = [...stream.messages, ...resumed.messages].filter(({ method }) => method === undefined)
  t.strictSame(answers.map(({ id, error }) => [id, error?.data.code]).sort(), [['x', 'FST_MCP_NODE_GONE'], ['y', 'FST_MCP_NODE_GONE'], ['z', undefined]])
})

t.test('what was trimmed is told, whoever has it', async t => {
  const { nodes: [a, b, c], turnstile } = await startCounting(t, { options: { sessions: { replay: { events: 4 } } } })
  const client = await Client.connect(a.url)
  const gap = { error: { data: { code: 'FST_MCP_REPLAY_GAP' } } }
  const run = async (id: string, numbers: number): Promise<string> => {
    const stream = await client.stream(callOf(id, 'count'))
    const [start] = await Promise.all([stream.next(), turnstile.let(numbers)])
    while (texts(stream).length < Math.min(numbers, 20)) await stream.next()
    await stream.close()
    return start.id ?? ''
  }
  const running = await run('r', 10)
  const live = await at(client, b).get(running)
  t.match(await live.message(answerTo('r')), gap)
  const over = await run('o', 20)
  const past = await at(client, c).get(over)
  t.match(await past.message(answerTo('o')), gap)
  const dead = await run('d', 20)
  await sleep(50)
  a.lose()
  await sleep(800)
  const last = await at(client, c).get(dead)
  t.match(await last.message(answerTo('d')), gap)
  const missed = await at(client, c).get(`${a.name}9.sZ2hvc3Q_1`)
  t.match(await missed.message(answerTo('ghost')), gap, 'of what nobody knows')
})

t.test('a stream of its own goes on from another node, and one that is over begins anew', async t => {
  const { nodes: [a, b, c] } = await startTown(t, { options: { sessions: { replay: { window: 400 } } } })
  const client = await Client.connect(a.url)
  const first = await client.get()
  a.app.mcp.tool('one', {}, () => '')
  const told = ({ method }: RpcMessage): boolean => method === 'notifications/tools/list_changed'
  await first.message(told)
  await first.close()
  b.app.mcp.tool('one', {}, () => '')
  const second = await at(client, c).get(lastId(first))
  await second.message(told)
  c.app.mcp.tool('one', {}, () => '')
  await second.message(told)
  await second.close()
  await sleep(1_000)
  const third = await at(client, b).get(lastId(second))
  a.app.mcp.tool('two', {}, () => '')
  await third.message(told)
  t.equal([first, second, third].flatMap(({ messages }) => messages).length, 4)
  const unknown = await at(client, c).get(`${a.name}zz_5`)
  b.app.mcp.tool('three', {}, () => '')
  await unknown.message(told)
  await client.delete()
  await unknown.closed
})

t.test('a stream of HTTP+SSE is followed to its node, unless too much of it is lost', async t => {
  const { nodes: [a, b, c], turnstile } = await startCounting(t)
  const client = await SseClient.connect(a.url)
  await client.post(callOf('s', 'count'))
  turnstile.let(3)
  while (texts(client.stream).length < 3) await client.stream.next()
  await client.close()
  turnstile.let(2)
  const second = await EventStream.open(b.url, '/sse', { headers: { 'last-event-id': lastId(client.stream) } })
  t.match(await second.next(), { event: 'endpoint', data: client.endpoint })
  while (texts(second).length < 2) await second.next()
  t.match(await send(c.url, client.endpoint, { method: 'POST', body: { jsonrpc: '2.0', id: 'p', method: 'ping' } }), { status: 202 })
  await second.message(answerTo('p'))
  turnstile.let(15)
  await second.message(answerTo('s'))
  t.strictSame(texts(client.stream, second), numbers(1, 20))
  await second.close()
})

t.test('a client of HTTP+SSE that has missed what no node can tell begins anew, whatever node has its stream', async t => {
  const { nodes: [a, b, c], turnstile } = await startCounting(t, { options: { sessions: { replay: { events: 4 } } } })
  const client = await SseClient.connect(a.url)
  const early = lastId(client.stream)
  await client.post(callOf('s', 'count'))
  turnstile.let(20)
  await client.stream.message(answerTo('s'))
  await a.app.close()
  await client.stream.closed
  const come = (url: string, id: string): Promise<EventStream> => EventStream.open(url, '/sse', { headers: { 'last-event-id': id } })
  const second = await come(b.url, lastId(client.stream))
  t.match(await second.next(), { event: 'endpoint', data: client.endpoint })
  const third = await come(c.url, early)
  const { event, data } = await third.next()
  t.equal(event, 'endpoint')
  t.not(data, client.endpoint)
  t.match(third.comments, [/this is a new one/])
  await second.closed
  await third.close()
})
