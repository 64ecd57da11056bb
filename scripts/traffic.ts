// Traffic for the dashboard: clients that call, fail, stall, hang up and come back, at servers that are made to show all of it.
import { setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import mcp, { type McpOptions, ToolError } from 'fastify-mcp-sse'
import { metrics } from 'fastify-mcp-sse/metrics'
import { redisStore } from 'fastify-mcp-sse/redis'
import type { Test } from 'tap'
import { z } from 'zod'
import { Client, EventStream, listen, send, SseClient, StatelessClient } from '../test/client.ts'
import { connectors, type RedisServer } from '../test/redis-server.ts'
import { DeafClient, seeded } from '../test/sockets.ts'

const AS = { headers: { authorization: 'Bearer of-ada' } }
const AS_EVE = { headers: { authorization: 'Bearer of-eve' } }

export interface Place {
  /** Two nodes of one server, on one Redis. */
  readonly nodes: readonly [string, string]
  /** A server without Redis, which drains near the end. */
  readonly other: FastifyInstance
  readonly otherUrl: string
}

/** Starts the servers. The first of the nodes serves the metrics of all, since they are one process. */
export async function openPlace (t: Test, redis: RedisServer): Promise<Place> {
  const start = async (options: McpOptions): Promise<FastifyInstance> => {
    const app = Fastify({ http: { headersTimeout: 10_000 } })
    t.teardown(() => app.close())
    await app.register(mcp, { drain: { timeout: 0 }, ...options })
    offer(app)
    return app
  }
  const node = async (): Promise<FastifyInstance> => {
    const { client, close } = await connectors.ioredis(redis.port)
    t.teardown(close)
    return start({
      name: 'library',
      store: redisStore(client),
      auth: { tokens: [{ token: 'of-ada', principal: 'ada' }, { token: 'of-eve', principal: 'eve' }] },
      limits: { body: 100_000, callsPerPrincipal: 24 },
      sessions: { replay: { bytes: 100_000, events: 40 } },
      streams: { buffer: 65_536, stall: 4_000 }
    })
  }
  const [first, second, other] = [await node(), await node(), await start({ name: 'weather', streams: { stall: 6_000 } })]
  await first.register(metrics)
  return { nodes: [await listen(first), await listen(second)], other, otherUrl: await listen(other) }
}

function offer (app: FastifyInstance): void {
  app.mcp.tool('search', { input: z.object({ pause: z.number() }) }, async function * ({ pause }, { signal }) {
    for (let line = 0; line < 12; line++) {
      await sleep(pause, undefined, { signal })
      yield `line ${line}\n`
    }
  })
  app.mcp.tool('summarize', { input: z.object({ pause: z.number() }) }, async ({ pause }, { signal }) => {
    await sleep(pause * 40, undefined, { signal })
    return 'A summary. '.repeat(400)
  })
  app.mcp.tool('convert', { input: z.object({ pause: z.number() }) }, ({ pause }) => {
    if (pause > 14) throw new ToolError('There is no such unit')
    return String(pause)
  })
  app.mcp.tool('export', { collect: false, timeout: 20_000 }, async function * (_args, { signal }) {
    for (let row = 0; row < 400; row++) {
      yield 'x'.repeat(20_000)
      if (row % 20 === 0) await sleep(5, undefined, { signal })
    }
  })
  app.mcp.resource('weather://oslo', {}, () => 'Rain')
}

/** Goes on until the signal aborts, the same for the same seed. How many requests of callers were answered. */
export async function sendTraffic (place: Place, seed: number, signal: AbortSignal): Promise<number> {
  // Each of them listens to it.
  setMaxListeners(50, signal)
  let answered = 0
  let troubles = 0
  const random = seeded(seed)
  const again = async (pause: number, work: () => Promise<unknown>): Promise<void> => {
    while (!signal.aborted) {
      // A connection that the server breaks is a part of the traffic.
      await work().catch(() => { troubles++ })
      await sleep(pause * (0.5 + random()), undefined, { signal }).catch(() => {})
    }
  }
  const [a, b] = place.nodes
  const callOf = (id: number, name: string, args: object) =>
    ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: args, _meta: { progressToken: id } } })
  const names = ['search', 'search', 'summarize', 'convert', 'convert', 'made-up']
  const call = async (client: Client): Promise<void> => {
    const name = names[Math.floor(random() * names.length)] ?? ''
    await client.call(name, { pause: Math.ceil(random() * 20) }, 'p')
    answered++
  }
  const callers = [
    await Client.connect(a, AS), await Client.connect(b, AS), new StatelessClient(b, AS),
    await Client.connect(place.otherUrl), new StatelessClient(place.otherUrl)
  ]

  const stall = async (): Promise<void> => {
    const client = await Client.connect(a, AS)
    const deaf = await DeafClient.ask(a, '/mcp', client.init('POST', {}, callOf(1, 'export', {})))
    // Longer than `streams.stall`.
    await sleep(7_000, undefined, { signal }).catch(() => {})
    deaf.close()
    await client.delete()
  }
  const dawdle = async (): Promise<void> => {
    const client = await Client.connect(place.otherUrl)
    const stream = await client.stream(callOf(1, 'export', {}))
    for (let turn = 0; turn < 8 && !signal.aborted; turn++) {
      stream.body.pause()
      await sleep(400, undefined, { signal }).catch(() => {})
      stream.body.resume()
      await sleep(15)
    }
    await stream.closed
  }
  const hangUp = async (): Promise<void> => {
    const client = await Client.connect(a, AS)
    const first = await client.stream(callOf(1, 'search', { pause: 40 }))
    for (let count = 0; count < 4; count++) await first.next()
    await first.close()
    // It misses a few meanwhile.
    await sleep(150)
    const last = String(first.events.at(-1)?.id)
    // The rest comes over the other node, and then once more over another connection.
    const open = (url: string) => EventStream.open(url, '/mcp', { headers: { ...client.headers, 'last-event-id': last } })
    const rest = await open(b)
    const second = await open(a)
    await second.closed
    await rest.close()
    // What is no more is a gap.
    const { events } = await client.post({ ...callOf(2, 'export', {}) })
    await (await client.get(events[1]?.id)).closed
    await client.delete()
  }
  const cross = async (): Promise<void> => {
    const sse = await SseClient.open(a, AS)
    await send(b, sse.endpoint, { method: 'POST', body: { jsonrpc: '2.0', id: 1, method: 'ping' }, ...AS })
    await sse.stream.message(({ id }) => id === 1)
    await sse.close()
  }
  const offend = async (): Promise<void> => {
    await send(a, '/mcp', { method: 'POST', body: {}, headers: { authorization: 'Bearer of-mallory' } })
    if (random() < 0.5) await send(a, '/mcp', { method: 'POST', body: {} })
    await new Client(b, AS).post({ text: 'x'.repeat(200_000) })
    const eve = new StatelessClient(b, AS_EVE)
    await Promise.all(Array.from({ length: 30 }, () => eve.call('search', { pause: 10 }).catch(() => {})))
  }
  const read = async (): Promise<void> => {
    const client = await Client.connect(place.otherUrl)
    await client.request('resources/read', { uri: 'weather://oslo' })
    await client.request('tools/list')
    const ongoing = client.post(callOf(9, 'summarize', { pause: 100 }))
    await sleep(50)
    await client.cancel(9)
    await ongoing
  }
  const watch = await new StatelessClient(place.otherUrl).stream({
    jsonrpc: '2.0', id: 1, method: 'subscriptions/listen', params: { notifications: { toolsListChanged: true } }
  })
  const drain = async (): Promise<void> => {
    await sleep(48_000, undefined, { signal }).catch(() => {})
    await place.other.mcp.drain()
  }
  await Promise.all([
    ...callers.map(client => again(150, () => call(client))),
    again(3_000, stall), again(500, dawdle), again(1_500, hangUp), again(700, cross), again(1_200, offend), again(800, read), drain()
  ])
  await watch.close()
  console.error(`${answered} calls of callers were answered, ${troubles} of the others broke off`)
  return answered
}
