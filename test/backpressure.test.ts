// A client that stops reading stops its tool. Judged against plain node:http in the same run: the kernel alone swallows megabytes.
import { mkdtemp, rm } from 'node:fs/promises'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { memoryStore, type ToolContext } from 'fastify-mcp-sse'
import { Channel } from '../lib/eras/channel.ts'
import { Session } from '../lib/eras/session.ts'
import { StreamPool } from '../lib/sse/pool.ts'
import { SseStream, type Tenant } from '../lib/sse/stream.ts'
import { Client, SseClient, until } from './client.ts'
import { DeafClient, endOfMessage, leftFor, messagesIn, rawServer, serve, settles, TRANSPORTS } from './sockets.ts'

const BUFFER = 65_536
// What `write` is given at once where chunks are smaller.
const JOINED = 16_384
// The kernel counts its buffers by segments: once in some hundred runs it takes 380,000 bytes more than in the others.
const KERNEL = 524_288
// More than the kernel and all buffers swallow.
const TOTAL = 6_291_456

const sizes = new Map([['1 B', 1], ['100 B', 100], ['16 KiB', 16_384], ['64 KiB', 65_536], ['1 MiB', 1_048_576]])

/** A frame as the tools here send them. */
const frameOf = (progress: number, message: string): string =>
  `event: message\ndata: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":${progress},"message":"${message}"}}\n\n`

for (const transport of TRANSPORTS) {
  t.test(`on ${transport} a buffer smaller than what leaves in one tick does not stop a tool whose client reads`, async t => {
    const { app, peer } = await serve(t, transport, { streams: { buffer: JOINED / 4 } })
    app.mcp.tool('flood', { collect: false }, async function * () {
      for (let count = 0; count < 100; count++) yield 'x'.repeat(500)
      return 'done'
    })
    const call = await (await peer()).start('flood', {}, 't')
    t.match(await call.answer(), { result: { content: [{ text: 'done' }] } })
    t.equal(call.stream.messages.filter(({ method }) => method === 'notifications/progress').length, 100)
    await call.stream.close()
  })
}

for (const [name, size] of sizes) {
  const message = 'x'.repeat(size)
  let raw = { written: 0, held: 0 }

  t.test(`plain node:http writes chunks of ${name} to a client that does not read`, async t => {
    const server = await rawServer(t, frameOf(1_000, message))
    const deaf = await DeafClient.ask(server.url, '/')
    await settles(server.written)
    raw = server.output()
    deaf.close()
    t.ok(raw.held > 0, 'until its socket is full')
  })

  // The sessions of all revisions share every line that counts here.
  for (const transport of ['stateless', '2026-07-28', '2025-11-25', 'http+sse'] as const) {
    t.test(`on ${transport} a tool that yields chunks of ${name} stops with its client, goes on with it, and loses nothing`, async t => {
      const { app, peer } = await serve(t, transport, { streams: { buffer: BUFFER } })
      let count = 0
      app.mcp.tool('flood', { collect: false }, async function * () {
        while (count * message.length < TOTAL && count < 40_000) {
          count++
          yield message
        }
      })
      const sockets = new Map<number | undefined, Socket>()
      app.server.on('connection', socket => sockets.set(socket.remotePort, socket))
      const { id, deaf } = await (await peer()).startDeaf('flood')

      const stopped = await settles(() => count)
      const left = leftFor(sockets.get(deaf.socket.localPort) as Socket)
      const ended = transport === 'http+sse' ? deaf.readTo(`"id":${id},`).finally(() => deaf.close()) : deaf.readAll()
      const text = await ended
      t.ok(stopped < count, 'the tool stopped and went on')
      const written = endOfMessage(text, stopped)
      const chunk = written - endOfMessage(text, stopped - 1)
      // Small chunks travel joined: one such piece may be in the stream, and one in the socket, more than there is room for.
      const room = BUFFER + Math.max(2 * JOINED, chunk)
      t.ok(written - left <= raw.held + room, `held ${written - left} bytes where node:http holds ${raw.held}`)
      t.ok(written <= raw.written + room + KERNEL, `sent ${written} bytes where node:http sent ${raw.written}`)

      const messages = messagesIn(text)
      t.equal(messages.length, count + 1)
      t.ok(messages.slice(0, -1).every(({ params }, index) => params.progress === index && params.message === message), 'every byte, in order')
      t.match(messages.at(-1), { id, result: { content: [] } })
    })
  }
}

for (const transport of TRANSPORTS) {
  t.test(`on ${transport} whoever awaits ctx.progress or ctx.log stops with its client too`, async t => {
    for (const tell of ['progress', 'log'] as const) {
      // Without a session there is nobody to log to.
      if (tell === 'log' && transport === 'stateless') continue
      const { app, peer } = await serve(t, transport)
      let count = 0
      let isOver = false
      app.mcp.tool('plain', {}, async (_args, { progress, log }) => {
        for (;;) {
          if (isOver) return 'done'
          count++
          if (tell === 'log') await log.info('x'.repeat(10_000))
          // Two at once wait together.
          else await Promise.all([progress(count, undefined, 'x'.repeat(10_000)), progress(count)])
        }
      })
      const { id, deaf } = await (await peer()).startDeaf('plain')
      const stopped = await settles(() => count)
      t.ok(stopped > 10 && stopped < 600, tell)
      isOver = true
      const text = await (transport === 'http+sse' ? deaf.readTo(`"id":${id},`).finally(() => deaf.close()) : deaf.readAll())
      const messages = messagesIn(text)
      t.equal(messages.length, (tell === 'log' ? 1 : 2) * count + 1)
      t.match(messages.at(-1), { id, result: { content: [{ text: 'done' }] } })
    }
  })
}

t.test('a hundred clients that do not read cost what node:http costs and their buffers', async t => {
  const CLIENTS = 100
  const message = 'x'.repeat(1_000)
  setFlagsFromString('--expose-gc')
  const gc: () => void = runInNewContext('gc')
  const memory = async (): Promise<number> => {
    // What was closed a moment ago is let go of.
    await sleep(20)
    gc()
    const { heapUsed, external } = process.memoryUsage()
    return heapUsed + external
  }
  // Local sockets swallow little, so that this costs the machine no gigabyte of kernel memory.
  const folder = await mkdtemp(join(tmpdir(), 'deaf-'))
  t.after(() => rm(folder, { recursive: true }))

  const cost = async (ask: () => Promise<DeafClient>, written: () => number): Promise<number> => {
    const before = await memory()
    const clients = await Promise.all(Array.from({ length: CLIENTS }, ask))
    await settles(written)
    const grown = await memory() - before
    clients.forEach(client => client.close())
    return grown / CLIENTS
  }

  const path = join(folder, 'raw')
  const { written } = await rawServer(t, frameOf(1_000, message), path)
  // What the collector finds meanwhile can be more than what is taken.
  const floor = Math.max(0, await cost(() => DeafClient.ask(path, '/'), written))

  // The log keeps 262,144 characters of frames for each session, and a record for each frame.
  for (const [transport, log] of [['stateless', 0], ['2025-11-25', 327_680]] as const) {
    const path = join(folder, transport)
    const { app } = await serve(t, transport, { auth: false })
    let count = 0
    app.mcp.tool('flood', { collect: false }, async function * () {
      for (;;) {
        count++
        yield message
      }
    })
    await app.listen({ path })
    const clients = await Promise.all(Array.from({ length: CLIENTS }, () => Client.connect(app)))
    const body = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'flood', _meta: { progressToken: 1 } } }
    const grown = await cost(async () => DeafClient.ask(path, '/mcp', { method: 'POST', headers: clients.pop()?.headers ?? {}, body }), () => count)
    t.equal(app.mcp.stats().streams, CLIENTS, `${transport}: all of them wait`)
    const bound = floor + BUFFER + 2 * JOINED + log + 65_536
    t.ok(grown <= bound, `${transport}: ${Math.round(grown)} bytes each, ${Math.round(bound)} allowed, node:http took ${Math.round(floor)}`)
  }
})

t.test('what belongs to no call waits for a client that does not read, in its newest form alone', async t => {
  const { app, peer } = await serve(t, 'http+sse')
  let count = 0
  app.mcp.tool('flood', { collect: false }, async function * () {
    while (count < 110) {
      count++
      yield 'x'.repeat(50_000)
    }
  })
  const { id, deaf } = await (await peer()).startDeaf('flood')
  const stopped = await settles(() => count)
  for (const name of ['a', 'b', 'c', 'd']) {
    app.mcp.tool(name, {}, () => '')
    await nextTurn()
  }
  t.equal(count, stopped)
  const messages = messagesIn(await deaf.readTo(`"id":${id},`))
  deaf.close()
  const changes = messages.filter(({ method }) => method === 'notifications/tools/list_changed')
  t.equal(changes.length, 1)
  t.equal(messages.length, 112)
})

t.test('a request over HTTP+SSE waits until the stream has room for its answer', async t => {
  const served = await serve(t, 'http+sse', { sessions: { replay: { window: 1_000, bytes: 1_000 } } })
  let count = 0
  served.app.mcp.tool('flood', { collect: false }, async function * () {
    for (;;) {
      count++
      yield 'x'.repeat(50_000)
    }
  })
  await served.peer()
  const ping = { jsonrpc: '2.0', id: 'ping', method: 'ping' }
  const flooded = async (): Promise<SseClient> => {
    const client = await SseClient.connect(served.url)
    await client.post({ jsonrpc: '2.0', id: 'flood', method: 'tools/call', params: { name: 'flood', _meta: { progressToken: 1 } } })
    client.stream.body.pause()
    await settles(() => count)
    return client
  }

  const client = await flooded()
  let isAnswered = false
  const answer = client.post(ping).finally(() => { isAnswered = true })
  t.equal((await client.notify('notifications/cancelled', { requestId: 'flood' })).status, 202, 'what ends the flood does not wait behind it')
  t.notOk(isAnswered)
  client.stream.body.resume()
  t.equal((await answer).status, 202)
  t.strictSame((await client.stream.message(({ id }) => id === 'ping')).result, {})

  const gone = await flooded()
  await gone.close()
  await settles(() => count)
  t.match(await gone.post(ping), { status: 404, messages: [{ id: 'ping', error: { data: { code: 'FST_MCP_SESSION_UNKNOWN' } } }] }, 'or until it is over')
})

t.test('whoever waits for a stream waits on when another was faster', async t => {
  const limits = { server: 'a', idle: 1_000, max: 1, replay: { events: 1, bytes: 1, window: 1_000 }, tickets: { ttl: 1_000, max: 1 } }
  const store = memoryStore().open(limits)
  const pool = new StreamPool({ server: 'docs', buffer: 10, keepAlive: 1_000, stall: 1_000, max: 1, maxPerPrincipal: 1 })
  t.after(() => {
    pool.close()
    return store.close()
  })
  const nothing = (): void => {}
  const kind = { primes: false, listens: false, isDisposable: false, onLost: nothing, onGap: nothing }
  const record = { id: 's', principal: null, transport: 'http+sse', revision: '2024-11-05', initialized: true, capabilities: null, logLevel: null, subscriptions: [], ticket: null, home: null } as const
  const host = { pool, events: store.events, window: 1_000, retry: 1, ended: nothing }
  const channel = new Channel(new Session({ ...record }), { id: 'x', kind }, host)
  const stream = channel.connect()
  const states: unknown[] = []
  const waits = async (name: string): Promise<void> => {
    states.push(name)
    states.push(await channel.send(`"${name}"`))
  }
  const first = waits('first')
  await nextTurn()
  t.strictSame(states, ['first'])
  t.match(stream.read()?.toString(), /"first"/)
  // Before the first one goes on.
  const second = waits('second')
  await nextTurn()
  t.strictSame(states, ['first', 'second'], 'both wait now')
  stream.read()
  await Promise.all([first, second])
  t.strictSame(states, ['first', 'second', true, true])
  channel.end()
  t.equal(channel.send('{}'), false, 'and after its end there is nothing to wait for')
})

t.test('a stream that has ended takes nothing more', async t => {
  const closed: boolean[] = []
  const tenant: Tenant = { owner: null, closed: (_stream, delivered) => { closed.push(delivered) } }
  const stream = new SseStream(10, tenant, () => {})
  const begun = stream.write('first')
  t.type(begun, Promise, 'the first frame is on its way before there is an answer')
  t.equal(stream.write('.'), begun, 'and what comes with it')
  t.equal(await begun, true)
  t.equal(stream.write('.'), true)
  const room = stream.write('.'.repeat(10))
  stream.end()
  stream.end()
  t.equal(await room, false, 'whoever waits is told')
  t.strictSame([stream.write('.'), stream.room()], [false, false])
  let text = ''
  for await (const chunk of stream) text += chunk
  t.equal(text, 'first............')
  await new Promise(resolve => setImmediate(resolve))
  t.strictSame(closed, [true], 'all of it was handed over')

  const broken = new SseStream(10, tenant, () => {})
  const first = broken.write('first')
  broken.destroy()
  broken.end()
  t.equal(await first, false)
  t.strictSame([broken.write('.'), broken.room()], [false, false])
  t.strictSame(closed, [true, false])
})

t.test('streams.stall', async t => {
  await t.test('breaks the connection of a client that never reads, which ends a call without a session', async t => {
    const { app, peer } = await serve(t, 'stateless', { streams: { stall: 60, keepAlive: 40 } })
    const reasons: unknown[] = []
    app.mcp.tool('flood', { collect: false }, async function * (_args, { signal }) {
      try {
        for (;;) yield 'x'.repeat(50_000)
      } finally {
        reasons.push(signal.reason.code)
      }
    })
    const { deaf } = await (await peer()).startDeaf('flood')
    await until(() => reasons.length === 1, 'the end of the tool')
    t.strictSame(reasons, ['FST_MCP_CLIENT_GONE'])
    t.strictSame(app.mcp.stats(), { sessions: 0, streams: 0, queued: 0, calls: 0, subscriptions: 0, questions: 0, abandoned: 0 })
    deaf.close()
  })

  for (const transport of ['2025-03-26', '2025-06-18', '2025-11-25', 'http+sse'] as const) {
    await t.test(`on ${transport} leaves the call to the replay budget and its window`, async t => {
      const { app, peer } = await serve(t, transport, { streams: { stall: 60 }, sessions: { replay: { window: 100 } } })
      const reasons: unknown[] = []
      let count = 0
      app.mcp.tool('flood', { collect: false }, async function * (_args, { signal }) {
        try {
          for (;;) {
            count++
            yield 'x'.repeat(50_000)
          }
        } finally {
          reasons.push(signal.reason.code)
        }
      })
      const { deaf } = await (await peer()).startDeaf('flood')
      const stopped = await settles(() => count, 30)
      t.equal(app.mcp.stats().calls, 1)
      await until(() => reasons.length === 1, 'the end of the tool')
      t.strictSame(reasons, ['FST_MCP_CLIENT_GONE'])
      t.ok(count - stopped <= 6, 'the log was full already')
      await until(() => app.mcp.stats().streams === (transport === 'http+sse' ? 1 : 0), 'the end of the stream')
      t.equal(app.mcp.stats().calls, 0)
      deaf.close()
    })
  }

  await t.test('breaks a connection that takes no more although all was written and less than the buffer waits', async t => {
    const { app, peer } = await serve(t, 'stateless', { streams: { stall: 60, buffer: 16_777_216 } })
    app.mcp.tool('ends', { collect: false }, async function * () {
      for (let count = 0; count < 200; count++) yield 'x'.repeat(50_000)
    })
    const { deaf } = await (await peer()).startDeaf('ends')
    await until(() => app.mcp.stats().streams === 1, 'the stream')
    await until(() => app.mcp.stats().calls === 0, 'the end of the tool')
    await until(() => app.mcp.stats().streams === 0, 'the end of the stream')
    await deaf.readAll()
    t.pass('broken')
  })

  await t.test('spares a client that reads, however slowly', async t => {
    const { app, peer } = await serve(t, 'stateless', { streams: { stall: 600 } })
    app.mcp.tool('ends', { collect: false }, async function * () {
      for (let count = 0; count < 120; count++) yield 'x'.repeat(50_000)
    })
    const { deaf } = await (await peer()).startDeaf('ends')
    const { socket } = deaf
    let text = ''
    socket.setEncoding('latin1').on('data', chunk => {
      text += chunk
      socket.pause()
    })
    const reading = setInterval(() => socket.resume(), 12)
    await once(socket, 'close')
    clearInterval(reading)
    t.equal(messagesIn(text).length, 121)
  })
})

t.test('tools.timeout', async t => {
  const TIMEOUT = 1_500
  const isTimeout = { result: { isError: true, content: [{ text: `The tool ran longer than ${TIMEOUT} ms` }] } }
  const CHUNKS = 110
  const chunk = 'x'.repeat(50_000)
  const kinds = {
    'a generator': async function * (_args: object, { signal }: ToolContext) {
      for (let count = 0; count < CHUNKS; count++) yield chunk
      return signal.aborted ? 'aborted' : 'whole'
    },
    'a handler that awaits ctx.progress': async (_args: object, { progress, signal }: ToolContext) => {
      for (let count = 0; count < CHUNKS; count++) await progress(count, undefined, chunk)
      return signal.aborted ? 'aborted' : 'whole'
    }
  }

  for (const [kind, handler] of Object.entries(kinds)) {
    await t.test(`does not count the time in which ${kind} waits for its client`, async t => {
      await Promise.all((['stateless', '2025-11-25', 'http+sse'] as const).map(async transport => {
        const { app, peer } = await serve(t, transport, { tools: { timeout: TIMEOUT } })
        app.mcp.tool('slow-reader', { collect: false }, handler)
        const { id, deaf } = await (await peer()).startDeaf('slow-reader')
        await sleep(2 * TIMEOUT)
        t.equal(app.mcp.stats().calls, 1, `${transport}: still running`)
        const text = await (transport === 'http+sse' ? deaf.readTo(`"id":${id},`).finally(() => deaf.close()) : deaf.readAll())
        t.match(messagesIn(text).at(-1), { result: { content: [{ text: 'whole' }] } }, transport)
      }))
    })
  }

  await t.test('counts again after a wait, be it short or longer than the time itself', async t => {
    await Promise.all([TIMEOUT / 5, 2 * TIMEOUT].map(async wait => {
      const { app, peer } = await serve(t, 'stateless', { tools: { timeout: TIMEOUT } })
      app.mcp.tool('hangs', { collect: false }, async function * (_args, { signal }) {
        for (let count = 0; count < CHUNKS; count++) yield chunk
        await once(signal, 'abort')
      })
      const { deaf } = await (await peer()).startDeaf('hangs')
      await sleep(wait)
      t.equal(app.mcp.stats().calls, 1)
      const messages = messagesIn(await deaf.readAll())
      t.equal(messages.length, CHUNKS + 1)
      t.match(messages.at(-1), isTimeout)
    }))
  })

  await t.test('ends a tool that works on and on', async t => {
    const { app, peer } = await serve(t, '2025-06-18', { tools: { timeout: 50 } })
    app.mcp.tool('endless', { collect: false }, async function * () {
      for (;;) yield '.'
    })
    const client = await peer()
    t.match(await client.request('tools/call', { name: 'endless' }), { result: { content: [{ text: 'The tool ran longer than 50 ms' }] } })
    app.mcp.tool('own', { collect: false, timeout: 20 }, async (_args, { signal }) => { await once(signal, 'abort') })
    t.match(await client.request('tools/call', { name: 'own' }), { result: { content: [{ text: 'The tool ran longer than 20 ms' }] } })
  })
})
