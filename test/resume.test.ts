// A connection that breaks costs nothing: its client comes back with the last event id that it saw.
import { once } from 'node:events'
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { memoryStore, type Store } from 'fastify-mcp-sse'
import { Client, EventStream, open, read, type RpcMessage, SseClient, until } from './client.ts'
import { gate, seeded, serve, SESSIONS, settles } from './sockets.ts'

const RESUMABLE = [...SESSIONS, 'http+sse'] as const
// Long enough that a busy machine comes back within it.
const WINDOW = 1_000
const LIST_CHANGED = 'notifications/tools/list_changed'

const lastId = ({ events }: EventStream): string => events.findLast(({ id }) => id !== undefined)?.id ?? ''
const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index)

/** What a client made use of: the id of the last event, and what its messages say. */
class Reader {
  lastId = ''
  readonly told: unknown[] = []
  /** Whether the call is answered. */
  isOver = false

  /** Reads one event. Events that arrived but were not read are as good as lost. */
  async read (stream: EventStream): Promise<void> {
    const { id, event, data } = await stream.next()
    if (id !== undefined) this.lastId = id
    if (event !== 'message') return
    const { method, params, error, result }: RpcMessage = JSON.parse(data)
    if (method !== undefined) {
      this.told.push(method === 'notifications/progress' ? Number(params.message) : method)
    } else {
      this.told.push(error?.data.code ?? result.content[0].text)
      this.isOver = true
    }
  }

  async readAll (stream: EventStream): Promise<unknown[]> {
    while (!this.isOver) await this.read(stream)
    return this.told
  }
}

for (const transport of RESUMABLE) {
  t.test(`on ${transport} whatever breaks wherever, each event arrives once and in order`, async t => {
    const random = seeded(RESUMABLE.indexOf(transport))
    const below = (most: number): number => Math.floor(random() * most)
    const { app, peer } = await serve(t, transport)
    const schema = { type: 'object', properties: { to: { type: 'integer' }, waits: { type: 'array' } } }
    app.mcp.tool('count', { input: schema, collect: false }, async function * ({ to, waits }) {
      for (const count of upTo(Number(to))) {
        yield String(count)
        if (Array.isArray(waits) && waits.includes(count)) await turn()
      }
      return 'done'
    })
    let cuts = 0
    let takeovers = 0

    const callAndBreak = async (): Promise<void> => {
      const to = 1 + below(60)
      const patience = 1 + below(15)
      const client = await peer()
      let { stream } = await client.start('count', { to, waits: upTo(to).filter(() => random() < 0.3) }, 'p')
      const reader = new Reader()
      while (!reader.isOver) {
        const enough = reader.told.length + patience
        while (!reader.isOver && reader.told.length < enough) await reader.read(stream)
        if (reader.isOver) break
        cuts++
        const isHalfOpen = random() < 0.3
        if (!isHalfOpen) await stream.close()
        const broken = stream
        stream = await client.resume(reader.lastId)
        if (!isHalfOpen) continue
        takeovers++
        // The server breaks the old connection, as far as it did not end by itself.
        await broken.closed
      }
      await stream.close()
      t.strictSame(reader.told, [...upTo(to), 'done'])
    }
    for (let round = 0; round < 6; round++) await Promise.all(Array.from({ length: 10 }, callAndBreak))
    t.ok(cuts > 100, `${cuts} cuts`)
    t.ok(takeovers > 20, `${takeovers} connections were taken over half open`)
    await until(() => app.mcp.stats().calls === 0, 'the end of all calls')
  })
}

t.test('a stream that belongs to no call is resumed like any other', async t => {
  await Promise.all(SESSIONS.map(async revision => {
    const served = await serve(t, revision, { sessions: { replay: { window: WINDOW } } })
    const { app } = served
    await served.peer()
    const client = await Client.connect(served.url, { revision })
    const change = (name: string): void => { app.mcp.tool(name, {}, () => '') }
    let stream = await client.get()
    if (revision === '2025-11-25') t.match(await stream.next(), { data: '', id: /_0$/ })
    change('one')
    t.match(await stream.message(), { method: LIST_CHANGED })
    const first = lastId(stream)
    await stream.close()
    await until(() => app.mcp.stats().streams === 0, 'the server to notice')
    change('two')
    await turn()
    stream = await client.get(first)
    t.equal((await stream.next()).id, first.replace(/1$/, '2'), `${revision}: what it missed`)
    change('three')
    t.equal((await stream.next()).id, first.replace(/1$/, '3'), 'and then what is new')
    t.equal(stream.events.length, 2)

    // Two streams: what belongs to no call goes to one, the newest that is connected.
    const second = await client.get()
    change('four')
    t.match(await second.message(), { method: LIST_CHANGED })
    await second.close()
    await until(() => app.mcp.stats().streams === 1, 'the server to notice')
    change('five')
    t.match(await stream.message(), { method: LIST_CHANGED })
    t.equal(stream.events.length, 3)

    await stream.close()
    await until(() => app.mcp.stats().streams === 0, 'the server to notice')
    await sleep(1.2 * WINDOW)
    // Its window is over, so it is a new stream, but what is left of the old one comes first.
    const late = await client.get(first)
    const ids: unknown[] = []
    for (const number of [2, 3, 4]) {
      ids.push(first.replace(/1$/, String(number)))
      await late.message()
    }
    t.strictSame(late.events.flatMap(({ id, data }) => data === '' ? [] : id), ids)
    change('six')
    t.match(await late.message(), { method: LIST_CHANGED })
    t.notOk(lastId(late).startsWith(first.slice(0, -1)))
    await client.delete()
    await late.closed
  }))
})

t.test('what is sent while a store takes its time to tell what was missed is not lost', async t => {
  for (const transport of RESUMABLE) {
    for (const endsMeanwhile of [false, true]) {
      const asked = gate()
      const told = gate()
      const store: Store = {
        open (limits) {
          const opened = memoryStore().open(limits)
          const { events } = opened
          const after: typeof events.after = async (...position) => {
            const replay = events.after(...position)
            asked.open()
            await told.opened
            return replay
          }
          const log = {
            append: events.append.bind(events),
            hold: events.hold.bind(events),
            release: events.release.bind(events),
            finish: events.finish.bind(events),
            takeOver: events.takeOver.bind(events),
            leave: events.leave.bind(events),
            drop: events.drop.bind(events),
            after
          }
          return { ...opened, events: log }
        }
      }
      const { app, peer } = await serve(t, transport, { store })
      const [away, meanwhile, back] = [gate(), gate(), gate()]
      app.mcp.tool('goes-on', { collect: false }, async function * () {
        yield '0'
        await away.opened
        yield '1'
        await meanwhile.opened
        yield '2'
        yield '3'
        if (!endsMeanwhile) await back.opened
        yield '4'
        return 'end'
      })
      const client = await peer()
      const { stream } = await client.start('goes-on', {}, 'p')
      const reader = new Reader()
      while (reader.told.length === 0) await reader.read(stream)
      await stream.close()
      await until(() => app.mcp.stats().streams === 0, 'the server to notice')
      away.open()
      const resumed = client.resume(reader.lastId)
      await asked.opened
      meanwhile.open()
      if (endsMeanwhile) await until(() => app.mcp.stats().calls === 0, 'the end of the call')
      else await turn()
      told.open()
      back.open()
      t.strictSame(await reader.readAll(await resumed), [0, 1, 2, 3, 4, 'end'], `${transport}, ends ${endsMeanwhile ? 'meanwhile' : 'later'}`)
    }
  }
})

t.test('a call that ends while its client is away waits for it, until the window ends', async t => {
  await Promise.all(RESUMABLE.map(async transport => {
    const { app, peer } = await serve(t, transport, { sessions: { replay: { window: WINDOW } } })
    const left = gate()
    app.mcp.tool('goes-on', {}, async function * () {
      yield '0'
      await left.opened
      yield '1'
      return 'end'
    })
    const client = await peer()
    const { stream, id } = await client.start('goes-on', {}, 'p')
    const reader = new Reader()
    while (reader.told.length === 0) await reader.read(stream)
    await stream.close()
    await until(() => app.mcp.stats().streams === 0, 'the server to notice')
    left.open()
    await until(() => app.mcp.stats().calls === 0, 'the end of the call')
    const again = await client.resume(reader.lastId)
    t.strictSame(await reader.readAll(again), [0, 1, '01end'])
    if (transport === 'http+sse') return
    await again.closed
    t.strictSame(again.comments, ['resumed'])

    // The events are there for whoever asks again.
    const twice = await client.resume(reader.lastId)
    await twice.closed
    t.strictSame(twice.events, [], 'nothing after the last')

    await sleep(1.2 * WINDOW)
    const late = await client.resume(reader.lastId)
    await late.closed
    t.match(late.messages, [{ id, error: { data: { code: 'FST_MCP_REPLAY_GAP' } } }], 'after the window the loss is told')
    t.strictSame(late.comments, ['resumed, some events are lost'])
  }))
})

for (const transport of RESUMABLE) {
  t.test(`on ${transport} a tool whose client is away waits when the budget is full, and goes on when it is back`, async t => {
    for (const replay of [{ events: 10 }, { bytes: 2_000 }]) {
      const { app, peer } = await serve(t, transport, { sessions: { replay } })
      let count = 0
      const left = gate()
      app.mcp.tool('many', { collect: false }, async function * () {
        yield '0'
        await left.opened
        for (count = 1; count < 200; count++) yield String(count)
        return 'done'
      })
      const client = await peer()
      const { stream } = await client.start('many', {}, 'p')
      const reader = new Reader()
      while (reader.told.length === 0) await reader.read(stream)
      await stream.close()
      await until(() => app.mcp.stats().streams === 0, 'the server to notice')
      left.open()
      const stopped = await settles(() => count)
      t.ok(stopped > 3 && stopped <= 13, `stopped at ${stopped}`)
      t.equal(app.mcp.stats().calls, 1)
      t.strictSame(await reader.readAll(await client.resume(reader.lastId)), [...upTo(200), 'done'], 'not one is lost')
    }
  })

  t.test(`on ${transport} an event beyond the budget is told as lost, one within it is not`, async t => {
    for (const [limit, replay] of [['events', { events: 5 }], ['bytes', { bytes: 5_000 }]] as const) {
      const { app, peer, logs } = await serve(t, transport, { sessions: { replay } })
      const reasons: unknown[] = []
      app.mcp.tool('twenty', { collect: false }, async function * (_args, { signal }) {
        try {
          for (const count of upTo(20)) yield String(count).padEnd(900)
          await once(signal, 'abort')
        } finally {
          reasons.push(signal.reason.code)
        }
      })
      const client = await peer()
      const { stream, id } = await client.start('twenty', {}, 'p')
      await until(() => stream.events.some(({ data }) => data.includes('"19 ')), 'the last chunk')
      const kept = limit === 'events' ? 5 : 4
      const idOf = (fromLast: number): string => stream.events.at(-1 - fromLast)?.id ?? ''

      const complete = await client.resume(idOf(kept))
      await until(() => complete.messages.length === kept, 'what is kept')
      t.strictSame(complete.messages.map(({ params }) => params.progress), upTo(20).slice(-kept), `${limit}: all that is kept, in order`)
      t.equal(app.mcp.stats().calls, 1, 'and the call goes on')

      const gap = await client.resume(idOf(kept + 1))
      t.match(await gap.message(({ error }) => error !== undefined), { id, error: { data: { code: 'FST_MCP_REPLAY_GAP' } } }, `${limit}: one more is lost`)
      t.strictSame(gap.comments, ['resumed, some events are lost'])
      t.strictSame(reasons, ['FST_MCP_REPLAY_GAP'], 'the tool is told')
      t.equal(app.mcp.stats().calls, 0)
      if (transport !== 'http+sse') {
        await gap.closed
        const after = await client.resume(idOf(kept + 1))
        await after.closed
        t.match(after.messages, [{ id, error: { data: { code: 'FST_MCP_REPLAY_GAP' } } }], 'also after its end')
        t.equal(after.messages.length, 1)
      } else {
        t.strictSame(gap.messages.flatMap(({ params }) => params?.progress ?? []), upTo(20).slice(-kept), 'what is left comes too')
      }
      t.strictSame(logs, [])
    }
  })
}

t.test('a stream that belongs to no call says that events are lost, and goes on', async t => {
  const served = await serve(t, '2025-06-18', { sessions: { replay: { events: 2 } } })
  await served.peer()
  const client = await Client.connect(served.url, { revision: '2025-06-18' })
  const stream = await client.get()
  for (const name of ['one', 'two', 'three', 'four']) {
    served.app.mcp.tool(name, {}, () => '')
    await stream.message()
  }
  const again = await client.get(stream.events[0]?.id)
  t.match(await again.next(), { id: stream.events[2]?.id })
  t.match(await again.next(), { id: stream.events[3]?.id })
  t.strictSame(again.comments, ['resumed, some events are lost'])
  served.app.mcp.tool('five', {}, () => '')
  t.match(await again.message(), { method: LIST_CHANGED })
  await stream.closed
})

t.test('a batch whose answers were lost is told so for each of them', async t => {
  const served = await serve(t, '2025-03-26', { sessions: { replay: { events: 6 } } })
  const { app } = served
  app.mcp.tool('quick', {}, async () => 'quick')
  app.mcp.tool('twenty', { collect: false }, async function * (_args, { signal }) {
    for (const count of upTo(20)) {
      yield String(count)
      // The quick one is answered between.
      if (count < 3) await turn()
    }
    await once(signal, 'abort')
  })
  await served.peer()
  const client = await Client.connect(served.url, { revision: '2025-03-26' })
  const call = (id: number, name: string) => ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name, _meta: { progressToken: id } } })
  const stream = await client.stream([call(1, 'twenty'), call(2, 'quick')])
  const first = await stream.next()
  await until(() => stream.events.some(({ data }) => data.includes('"19"')), 'the last chunk')
  t.ok(stream.messages.some(({ id }) => id === 2))
  await stream.close()
  const again = await client.get(first.id)
  await again.closed
  const errors = again.messages.filter(({ error }) => error !== undefined)
  t.match(errors.map(({ id }) => id).sort(), [1, 2])
  t.ok(errors.every(({ error }) => error?.data.code === 'FST_MCP_REPLAY_GAP'))
})

t.test('an event id of another session, or of nobody, brings nothing back', async t => {
  const served = await serve(t, '2025-11-25')
  const { app, peer } = served
  app.mcp.tool('secret', {}, async function * () {
    yield 'the secret'
    return 'the secret'
  })
  const [owner, other] = [await peer(), await peer()]
  const { stream, id } = await owner.start('secret', {}, 'p')
  await stream.closed
  const position = stream.events[0]?.id ?? ''
  const foreign = await other.resume(position)
  await foreign.closed
  t.match(foreign.messages, [{ id, error: { data: { code: 'FST_MCP_REPLAY_GAP' } } }], 'as if it had been lost')
  t.notOk(foreign.body.readableLength > 0 || JSON.stringify(foreign.events).includes('secret'))

  for (const unknown of ['abc.sYS1i_7', 'abc.i-12_7', 'abc.i1e999_7', 'abc.x1_7', 'abc_7', 'nonsense', '__proto___0', `${'x'.repeat(600)}_1`, '1_99999999999999999999']) {
    const back = await other.resume(unknown)
    t.equal(back.status, 200, unknown)
    if (unknown === 'abc.sYS1i_7' || unknown === 'abc.i-12_7') {
      await back.closed
      t.match(back.messages, [{ id: unknown === 'abc.i-12_7' ? -12 : 'a-b', error: { data: { code: 'FST_MCP_REPLAY_GAP' } } }])
    } else {
      t.match(await back.next(), { data: '', id: /_0$/ }, `${unknown}: a stream of its own`)
      await back.close()
    }
  }
})

t.test('ctx.closeStream', async t => {
  await t.test('ends the connection, not the call: the client polls back and gets the rest', async t => {
    const { app, peer } = await serve(t, '2025-11-25', { streams: { retry: 123 } })
    const back = gate()
    const answers: boolean[] = []
    app.mcp.tool('poll', {}, async function * (_args, { closeStream }) {
      yield '0'
      answers.push(closeStream(), closeStream())
      yield '1'
      await back.opened
      yield '2'
      return 'done'
    })
    const client = await peer()
    const { stream } = await client.start('poll', {}, 'p')
    const reader = new Reader()
    while (reader.told.length === 0) await reader.read(stream)
    await stream.closed
    t.strictSame(reader.told, [0])
    t.strictSame(answers, [true, false], 'closed once')
    t.equal(app.mcp.stats().calls, 1)
    const again = await client.resume(reader.lastId)
    await reader.read(again)
    back.open()
    t.strictSame(await reader.readAll(again), [0, 1, 2, '012done'])
  })

  await t.test('says before it closes when to come back', async t => {
    const served = await serve(t, '2025-11-25', { streams: { retry: 123 } })
    served.app.mcp.tool('poll', {}, async (_args, { closeStream }) => {
      closeStream()
      await turn()
      return 'done'
    })
    await served.peer()
    const client = await Client.connect(served.url)
    const response = await fetch(`${served.url}/mcp`, {
      method: 'POST',
      headers: { ...client.headers, 'content-type': 'application/json' },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'poll' } })
    })
    const text = await response.text()
    t.match(text, /^id: [\w.-]+_0\nretry: 123\ndata: \n\nretry: 123\n\n$/)
    const again = await client.get(/^id: (.*)$/m.exec(text)?.[1])
    t.match(await again.message(), { id: 1, result: { content: [{ text: 'done' }] } })
  })

  await t.test('does nothing over HTTP+SSE at a revision that could otherwise', async t => {
    const served = await serve(t, 'http+sse')
    served.app.mcp.tool('poll', {}, (_args, { closeStream, revision }) => JSON.stringify([revision, closeStream()]))
    await served.peer()
    const client = await SseClient.connect(served.url, { revision: '2025-11-25' })
    t.match((await client.call('poll')).result, { content: [{ text: '["2025-11-25",false]' }] })
  })

  for (const transport of ['2025-03-26', '2025-06-18', 'stateless', 'http+sse'] as const) {
    await t.test(`does nothing on ${transport}`, async t => {
      const { app, peer } = await serve(t, transport)
      app.mcp.tool('poll', {}, async function * (_args, { closeStream }) {
        const before = closeStream()
        yield 'x'
        return JSON.stringify([before, closeStream()])
      })
      const client = await peer()
      t.match((await client.request('tools/call', { name: 'poll' })).result, { content: [{ text: 'x[false,false]' }] })
      const { stream, answer } = await client.start('poll')
      if (transport === 'http+sse') await answer()
      else t.equal(stream.headers['content-type'], 'application/json; charset=utf-8')
    })
  }
})

t.test('an EventSource over HTTP+SSE', async t => {
  await t.test('comes back to its session: first its endpoint, then what it missed', async t => {
    const { app, peer } = await serve(t, 'http+sse', { streams: { retry: 77 } })
    const left = gate()
    app.mcp.tool('goes-on', {}, async () => {
      await left.opened
      return 'end'
    })
    const client = await peer()
    const { stream, id } = await client.start('goes-on')
    t.match(stream.events[0], { event: 'endpoint', id: /_0$/, data: `/messages?sessionId=${client.sessionId}` })
    const { endpoint } = { endpoint: stream.events[0]?.data }
    await stream.close()
    left.open()
    await until(() => app.mcp.stats().calls === 0, 'the end of the call')
    const again = await client.resume(lastId(stream))
    t.match(await again.next(), { event: 'endpoint', id: undefined, data: endpoint })
    t.match(await again.message(), { id, result: { content: [{ text: 'end' }] } })
    t.equal(app.mcp.stats().sessions, 1)
  })

  await t.test('that brings an id of nobody, of another or of an ended session gets a fresh one and is told so', async t => {
    const { app, peer } = await serve(t, 'http+sse', { sessions: { replay: { window: 30 } } })
    const client = await peer()
    const { stream } = await client.start('none')
    await stream.message(({ error }) => error !== undefined)
    const id = lastId(stream)
    await stream.close()
    await until(() => app.mcp.stats().sessions === 0, 'the end of the window')
    for (const position of [id, 'nobody_1', 'nonsense']) {
      const fresh = await client.resume(position)
      const { event, data } = await fresh.next()
      t.equal(event, 'endpoint')
      t.notMatch(data, `${client.sessionId}`)
      t.strictSame(fresh.comments, ['the session of this Last-Event-ID is gone: this is a new one'])
      await fresh.close()
    }
  })

  await t.test('that reconnects without the header, as the SDK does, is served without a second initialize', async t => {
    const served = await serve(t, 'http+sse')
    served.app.mcp.tool('echo', {}, (_args, { revision }) => revision)
    await served.peer()
    const fresh = await SseClient.open(served.url)
    t.match((await fresh.call('echo')).result, { content: [{ text: '2024-11-05' }] })
    t.match((await fresh.request('tools/list')).result, { tools: [{ name: 'echo' }] })
  })
})

t.test('a store that outlives its server', async t => {
  // As if the second server had been started in the place of the first.
  let opened: ReturnType<Store['open']> | undefined
  const store: Store = {
    open (limits) {
      opened ??= memoryStore().open(limits)
      return { ...opened, close: () => {} }
    }
  }

  await t.test('still has what a client of Streamable HTTP missed', async t => {
    const [first, second] = [await serve(t, '2025-11-25', { store }), await serve(t, '2025-11-25', { store })]
    first.app.mcp.tool('two', {}, async function * () { yield '0' })
    await second.peer()
    const client = await first.peer()
    const { stream } = await client.start('two', {}, 'p')
    await stream.closed
    const from = stream.events[0]?.id ?? ''
    const elsewhere = await EventStream.open(second.url, '/mcp', {
      headers: { 'mcp-session-id': client.sessionId ?? '', 'mcp-protocol-version': '2025-11-25', 'last-event-id': from }
    })
    await elsewhere.closed
    t.strictSame(elsewhere.messages, stream.messages)
  })

  await t.test('may hold a session of a revision that is not served any more', async t => {
    const served = await serve(t, 'http+sse', { store })
    await served.peer()
    const client = await SseClient.connect(served.url)
    const id = new URL(client.endpoint, served.url).searchParams.get('sessionId') ?? ''
    const session = await opened?.sessions.get(id)
    if (session !== undefined) session.revision = '2023-01-01'
    const { status, messages } = await client.post({ jsonrpc: '2.0', id: 1, method: 'ping' })
    t.equal(status, 400)
    t.match(messages, [{ error: { data: { code: 'FST_MCP_REVISION_UNSUPPORTED' } } }])
  })

  await t.test('gives a client of HTTP+SSE a fresh session, since nobody holds its stream any more', async t => {
    const [first, second] = [await serve(t, 'http+sse', { store }), await serve(t, 'http+sse', { store })]
    await second.peer()
    await first.peer()
    const { stream } = await SseClient.connect(first.url)
    const fresh = await EventStream.open(second.url, '/sse', { headers: { 'last-event-id': lastId(stream) } })
    t.match(await fresh.next(), { event: 'endpoint', id: /_0$/ })
    t.strictSame(fresh.comments, ['the session of this Last-Event-ID is gone: this is a new one'])
    t.notMatch(fresh.events[0]?.data, stream.events[0]?.data)
  })
})

t.test('keep-alive comments', async t => {
  const original = globalThis.setInterval
  let intervals = 0
  globalThis.setInterval = Object.assign((...args: Parameters<typeof setInterval>) => {
    intervals++
    return original(...args)
  }, original) as typeof setInterval
  t.teardown(() => { globalThis.setInterval = original })

  const served = await serve(t, '2025-06-18', { streams: { keepAlive: 80 } })
  const { app, peer } = served
  let isOver = false
  app.mcp.tool('busy', {}, async function * () {
    while (true) {
      if (isOver) return ''
      yield '.'
      await sleep(5)
    }
  })
  const atBoot = intervals
  const busy = await (await peer()).start('busy', {}, 1)
  const client = await Client.connect(served.url, { revision: '2025-06-18' })
  const idle = await Promise.all(Array.from({ length: 20 }, () => client.get()))
  await until(() => idle.every(({ comments }) => comments.length >= 3), 'the comments')
  isOver = true
  await busy.stream.closed
  t.strictSame(busy.stream.comments, [], 'none on a busy stream')
  t.ok(idle.every(({ comments }) => comments.slice(1).every(text => text === 'keep-alive')), 'on every idle one')
  t.equal(intervals, atBoot, 'from a timer that was there before the streams')
})

t.test('sessions.idle', async t => {
  const served = await serve(t, '2025-06-18', { sessions: { idle: 600 } })
  const { app } = served
  app.mcp.tool('long', {}, async (_args, { signal }) => { await once(signal, 'abort') })
  await served.peer()
  const connect = () => Client.connect(served.url, { revision: '2025-06-18' })
  const [idle, used, listening, calling] = [await connect(), await connect(), await connect(), await connect()]
  const stream = await listening.get()
  const call = calling.post({ jsonrpc: '2.0', id: 'long', method: 'tools/call', params: { name: 'long' } })
  const using = setInterval(() => used.request('ping').catch(() => {}), 20)
  await sleep(1_400)
  clearInterval(using)
  const ping = { jsonrpc: '2.0', id: 1, method: 'ping' }
  const answer = await idle.post(ping)
  t.equal(answer.status, 404, 'a session that nobody uses ends')
  t.match(answer.messages, [{ id: 1, error: { data: { code: 'FST_MCP_SESSION_UNKNOWN' } } }])
  t.equal((await listening.post(ping)).status, 200, 'one with an open stream lives')
  t.equal((await calling.post(ping)).status, 200, 'one with a call in progress lives')
  t.equal((await used.post(ping)).status, 200, 'one that is used lives')
  await calling.cancel('long')
  t.strictSame((await call).messages, [])
  await stream.close()
})

t.test('streams.max', async t => {
  const served = await serve(t, '2025-06-18', { streams: { max: 2 } })
  served.app.mcp.tool('sync', {}, () => 'done')
  await served.peer()
  const client = await Client.connect(served.url, { revision: '2025-06-18' })
  const sse = await SseClient.open(served.url)
  const second = await client.get()
  t.equal(second.status, 200, 'as many as may be')
  const call = { jsonrpc: '2.0', id: 9, method: 'tools/call', params: { name: 'sync' } }
  const refused = [await client.post(call), await read(await open(served.url, '/sse')), await read(await open(served.url, '/mcp', { headers: client.headers }))]
  for (const { status, headers, messages } of refused) {
    t.equal(status, 503)
    t.match(headers, { 'retry-after': /^\d+$/ })
    t.match(messages, [{ error: { data: { code: 'FST_MCP_STREAMS_FULL' } } }])
  }
  t.equal(refused[0]?.messages[0]?.id, 9)
  t.match((await client.request('ping')).result, {}, 'what needs no stream is answered')
  t.match((await sse.call('sync')).result, { content: [{ text: 'done' }] }, 'so is what has its stream')
  await second.close()
  await until(() => served.app.mcp.stats().streams === 1, 'the server to notice')
  t.match((await client.call('sync')).result, { content: [{ text: 'done' }] })
})

t.test('sessions.max', async t => {
  const served = await serve(t, '2025-06-18', { sessions: { max: 3, idle: 1_000 } })
  await served.peer()
  const sse = await SseClient.open(served.url)
  const third = await Client.connect(served.url)
  t.equal(served.app.mcp.stats().sessions, 3, 'as many as may be')
  const initialize = { jsonrpc: '2.0', id: 9, method: 'initialize', params: { protocolVersion: '2025-06-18' } }
  const post = () => open(served.url, '/mcp', { method: 'POST', headers: { accept: third.headers.accept ?? '' }, body: initialize })
  for (const { status, headers, messages } of [await read(await post()), await read(await open(served.url, '/sse'))]) {
    t.equal(status, 503)
    t.match(headers, { 'retry-after': /^\d+$/ })
    t.match(messages, [{ error: { data: { code: 'FST_MCP_SESSIONS_FULL' } } }])
  }
  await third.delete()
  t.equal((await read(await post())).status, 200, 'one that ends makes room')
  await sleep(1_100)
  t.equal((await read(await post())).status, 200, 'and so does one that is idle for too long')
  await sse.close()
})
