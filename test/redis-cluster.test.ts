// A Redis Cluster of three masters, as it is installed: no replicas, so that what one of them holds is away while it is.
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { McpOptions } from 'fastify-mcp-sse'
import { type RedisClient, redisStore } from 'fastify-mcp-sse/redis'
import { storeContract } from 'fastify-mcp-sse/testing'
import { Cluster, Redis } from 'ioredis'
import { createCluster } from 'redis'
import t, { type Test } from 'tap'
import { Client, createApp, EventStream, listen, send, SseClient, until } from './client.ts'
import { freePort } from './free-port.ts'
import { type RedisServer, startRedis } from './redis-server.ts'

const SLOTS = [[0, 5_460], [5_461, 10_922], [10_923, 16_383]] as const

async function startCluster (t: Test): Promise<RedisServer[]> {
  const servers = await Promise.all(SLOTS.map(async slots => {
    const bus = await freePort()
    const server = await startRedis(t, '--cluster-enabled', 'yes', '--cluster-port', String(bus), '--cluster-node-timeout', '1000')
    return { server, bus, slots }
  }))
  const [first] = servers
  await Promise.all(servers.map(({ server, slots }) => ask(server, 'CLUSTER', 'ADDSLOTSRANGE', ...slots.map(String))))
  for (const { server } of servers) await ask(server, 'CLUSTER', 'MEET', '127.0.0.1', String(first?.server.port), String(first?.bus))
  for (const { server } of servers) await whole(server)
  return servers.map(({ server }) => server)
}

async function ask ({ port }: RedisServer, command: string, ...args: string[]): Promise<unknown> {
  const client = new Redis(port, '127.0.0.1')
  try {
    return await client.call(command, args)
  } finally {
    client.disconnect()
  }
}

/** Waits until a server knows all slots to be served, and is done greeting the others: what goes over a link that is replaced is lost. */
async function whole (server: RedisServer): Promise<void> {
  const isOk = async (): Promise<boolean> => String(await ask(server, 'CLUSTER', 'INFO')).includes('cluster_state:ok')
  const known = async (): Promise<string[]> => String(await ask(server, 'CLUSTER', 'NODES')).trim().split('\n')
  const isLinked = (line: string): boolean => /^\w+ \S+ (?:myself,)?master \S+ \d+ \d+ \d+ connected/.test(line)
  while (!await isOk() || (await known()).filter(isLinked).length < SLOTS.length) await sleep(50)
}

const connectors: Record<'ioredis' | 'ioredis with automatic pipelines' | 'redis', (t: Test, servers: RedisServer[]) => Promise<RedisClient>> = {
  async ioredis (t, servers) {
    const client = new Cluster(servers.map(({ port }) => ({ port, host: '127.0.0.1' })))
    client.on('error', () => {})
    t.teardown(() => client.disconnect())
    await once(client, 'ready')
    return client
  },
  async 'ioredis with automatic pipelines' (t, servers) {
    const client = new Cluster(servers.map(({ port }) => ({ port, host: '127.0.0.1' })), { enableAutoPipelining: true, lazyConnect: true, scaleReads: 'all' })
    client.on('error', () => {})
    t.teardown(() => client.disconnect())
    return client
  },
  async redis (t, servers) {
    const client = createCluster({ rootNodes: servers.map(({ port }) => ({ url: `redis://127.0.0.1:${port}` })) })
    client.on('error', () => {})
    t.teardown(() => client.destroy())
    await client.connect()
    return client
  }
}

interface ServerNode {
  app: FastifyInstance
  url: string
}

const ada = { authorization: 'Bearer ada' }

/** Two nodes of one server. */
async function startNodes (t: Test, connect: () => Promise<RedisClient>, lease: number, options: McpOptions = {}): Promise<[ServerNode, ServerNode]> {
  const start = async (): Promise<ServerNode> => {
    const store = redisStore(await connect(), { lease })
    const app = await createApp(t, { store, auth: { verify: token => ({ id: token }) }, ...options })
    app.mcp.tool('count', { input: { type: 'object', properties: { to: { type: 'number' } } } }, async function * ({ to }, { signal }) {
      for (let i = 1; i <= Number(to); i++) {
        yield `${i} `
        if (i % 100 === 0) await sleep(20, undefined, { signal })
      }
    })
    app.mcp.tool('hang', {}, (_args, { signal }) => new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))))
    return { app, url: await listen(app) }
  }
  return Promise.all([start(), start()])
}

/** The same session at another node. */
function at (url: string, { headers }: Client): Client {
  return new Client(url, { headers })
}

const counted = (stream: EventStream): string => stream.messages.map(({ params }) => params?.message ?? '').join('')
const numbers = (from: number, to: number): string => Array.from({ length: to - from + 1 }, (_, i) => `${from + i} `).join('')

for (const [name, connect] of Object.entries(connectors)) {
  t.test(`a Redis Cluster serves sessions, streams, tickets and limits of all nodes, with ${name}`, async t => {
    const servers = await startCluster(t)
    const [a, b] = await startNodes(t, () => connect(t, servers), 3_000, {
      sessions: { maxPerPrincipal: 4 }, rateLimit: { max: 1_000, timeWindow: 60_000 }, tickets: { ttl: 60_000 }
    })
    const client = await Client.connect(a.url, { headers: ada })

    t.test('a session is known at each node, and a stream goes on at another', async t => {
      t.strictSame((await at(b.url, client).request('ping')).result, {})
      const call = await client.stream({ jsonrpc: '2.0', id: 'c', method: 'tools/call', params: { name: 'count', arguments: { to: 2_000 }, _meta: { progressToken: 1 } } })
      await call.message(({ params }) => params?.progress === 50)
      await call.close()
      const parts = [call]
      // A letter that Redis loses breaks the stream, and a client comes again.
      while (parts.at(-1)?.messages.at(-1)?.id !== 'c' && parts.length < 10) {
        const last = parts.flatMap(({ events }) => events).findLast(({ id }) => id !== undefined)?.id
        const rest = await at(b.url, client).get(last)
        await rest.closed
        t.comment(`at the other node: ${rest.status}, ${rest.messages.length} messages`)
        parts.push(rest)
      }
      t.equal(parts.map(counted).join(''), numbers(1, 2_000), 'nothing is missing, nothing comes twice')
    })

    t.test('a call is cancelled at another node', async t => {
      const hanging = await client.stream({ jsonrpc: '2.0', id: 'h', method: 'tools/call', params: { name: 'hang', _meta: { progressToken: 1 } } })
      await until(() => a.app.mcp.stats().calls === 1, 'the call')
      t.equal((await at(b.url, client).cancel('h')).status, 202)
      await hanging.closed
      t.equal(a.app.mcp.stats().calls, 0)
    })

    t.test('messages to an HTTP+SSE session are answered on its stream, in order', async t => {
      const sse = await SseClient.connect(a.url, { headers: ada })
      for (let id = 100; id < 160; id++) {
        const body = { jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'count', arguments: { to: 3 } } }
        t.equal((await send(b.url, sse.endpoint, { method: 'POST', headers: ada, body })).status, 202)
      }
      for (let id = 100; id < 160; id++) t.equal((await sse.stream.message(({ id: found }) => typeof found === 'number' && found >= 100)).id, id)
      await sse.close()
    })

    t.test('a stream that is followed at another node comes in order', async t => {
      const sse = await SseClient.connect(a.url, { headers: ada })
      const from = sse.stream.events.at(-1)?.id ?? ''
      await sse.close()
      const there = await EventStream.open(b.url, '/sse', { headers: { ...ada, 'last-event-id': from } })
      const body = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'count', arguments: { to: 3_000 }, _meta: { progressToken: 1 } } }
      t.equal((await send(a.url, sse.endpoint, { method: 'POST', headers: ada, body })).status, 202)
      await there.message(({ id }) => id === 1)
      t.equal(counted(there), numbers(1, 3_000))
      await there.close()
    })

    t.test('tickets are taken once, at any node, and quotas and rates are shared', async t => {
      const { text } = await send(a.url, '/sse/ticket', { method: 'POST', headers: ada })
      const opened = await EventStream.open(b.url, JSON.parse(text).url.replace(/^https?:\/\/[^/]+/, ''))
      t.equal(opened.status, 200)
      t.equal((await send(b.url, '/mcp', {
        method: 'POST',
        headers: { ...client.headers, 'mcp-session-id': '' },
        body: { jsonrpc: '2.0', id: 0, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'x', version: '1' } } }
      })).status, 429, 'four sessions are as many as may be')
      const left = async (url: string): Promise<number> => Number((await at(url, client).notify('notifications/x')).headers['ratelimit-remaining'])
      const first = await left(a.url)
      t.equal(await left(b.url), first - 1)
      await opened.close()
    })

    t.test('a session that ends at one node is unknown at the other', async t => {
      t.equal((await at(b.url, client).delete()).status, 200)
      t.equal((await client.notify('notifications/x')).status, 404)
    })
  })
}

for (const name of ['ioredis', 'redis'] as const) {
  t.test(`a master that is away for a while is answered with 503, and comes back, with ${name}`, async t => {
    const servers = await startCluster(t)
    const [a, b] = await startNodes(t, () => connectors[name](t, servers), 600)
    for (const server of servers) {
      const client = await Client.connect(a.url, { headers: ada })
      t.equal(client.server !== undefined, true)
      await server.stop()
      const seen = new Set<number>()
      const deadline = Date.now() + 20_000
      while (!seen.has(503) && Date.now() < deadline) {
        const { status, headers, text } = await client.notify('notifications/x')
        seen.add(status)
        if (status !== 503) continue
        t.match(headers['retry-after'], /^\d+$/)
        t.match(text, 'FST_MCP_STORE_UNAVAILABLE')
        t.notMatch(text, client.sessionId ?? 'none')
      }
      t.strictSame([...seen].filter(status => status !== 202 && status !== 503), [], 'no session is said to be over')
      await server.restart()
      for (const { port } of servers) await whole({ ...server, port })
      let fresh: Client | undefined
      while (fresh?.sessionId === undefined) {
        fresh = await Client.connect(a.url, { headers: ada }).catch(() => undefined)
      }
      let status = 0
      while (status !== 202) status = (await at(b.url, fresh).notify('notifications/x')).status
      const sse = await SseClient.connect(a.url, { headers: ada })
      let routed = 0
      while (routed !== 202) routed = (await send(b.url, sse.endpoint, { method: 'POST', headers: ada, body: { jsonrpc: '2.0', id: 'back', method: 'ping' } })).status
      t.strictSame((await sse.stream.message(({ id }) => id === 'back')).result, {}, 'letters arrive again')
      await sse.close()
    }
  })
}

t.test('the Redis store keeps the contract of a store, in a cluster', async t => {
  const servers = await startCluster(t)
  const client = await connectors.redis(t, servers)
  let count = 0
  const cases = storeContract({
    create: () => redisStore(client, { prefix: `test${++count}` }), advance: ms => sleep(ms), lag: 1_100, bus: true, counters: true
  })
  for (const { name, run } of cases) await t.test(name, async t => { await t.resolves(run()) })
})
