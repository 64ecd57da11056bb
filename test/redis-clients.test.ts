// Clients as users configure them: over TLS, with few rights, with options that change what a command means.
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { McpOptions } from 'fastify-mcp-sse'
import { type RedisClient, redisStore } from 'fastify-mcp-sse/redis'
import { Redis } from 'ioredis'
import { createClient, createClientPool, createCluster, createSentinel, RESP_TYPES } from 'redis'
import t, { type Test } from 'tap'
import { Client, createApp, listen, send, SseClient } from './client.ts'
import { freePort } from './free-port.ts'
import { startRedis } from './redis-server.ts'

const folder = mkdtempSync(join(tmpdir(), 'fastify-mcp-sse-redis-'))
t.after(() => rmSync(folder, { recursive: true }))

interface ServerNode {
  app: FastifyInstance
  url: string
}

async function startNode (t: Test, client: RedisClient, options: McpOptions = {}, lease = 600): Promise<ServerNode> {
  const app = await createApp(t, { store: redisStore(client, { lease }), ...options })
  app.mcp.tool('count', {}, async function * (_args, { signal }) {
    for (let i = 1; i <= 20; i++) {
      yield `${i} `
      await sleep(5, undefined, { signal })
    }
  })
  return { app, url: await listen(app) }
}

/** Everything that nodes need Redis for, in a few requests. */
async function works (t: Test, a: ServerNode, b: ServerNode): Promise<void> {
  const client = await Client.connect(a.url)
  const there = new Client(b.url, { headers: client.headers })
  t.strictSame((await there.request('ping')).result, {}, 'a session is read and touched')
  await there.request('logging/setLevel', { level: 'debug' })
  const call = await client.stream({ jsonrpc: '2.0', id: 'c', method: 'tools/call', params: { name: 'count', arguments: {}, _meta: { progressToken: 1 } } })
  await call.message(({ params }) => params?.progress === 3)
  await call.close()
  const rest = await there.get(call.events.findLast(({ id }) => id !== undefined)?.id)
  await rest.closed
  const said = [call, rest].flatMap(({ messages }) => messages).map(({ params }) => params?.message ?? '').join('')
  t.equal(said, Array.from({ length: 20 }, (_, i) => `${i + 1} `).join(''), 'a stream is followed')
  const again = await there.get(call.events.findLast(({ id }) => id !== undefined)?.id)
  await again.closed
  t.equal(again.messages.at(-1)?.id, 'c', 'a stream that is over is found')
  const sse = await SseClient.connect(a.url)
  t.equal((await send(b.url, sse.endpoint, { method: 'POST', body: { jsonrpc: '2.0', id: 'there', method: 'ping' } })).status, 202)
  t.strictSame((await sse.stream.message(({ id }) => id === 'there')).result, {}, 'a message is carried')
  await sse.close()
  t.equal((await there.delete()).status, 200)
  t.equal((await client.notify('notifications/x')).status, 404)
}

type Connect = (t: Test, url: string, options?: object) => Promise<RedisClient>

const connectors: Record<'ioredis' | 'redis', Connect> = {
  async ioredis (t, url, options = {}) {
    const client = new Redis(url, options)
    client.on('error', () => {})
    t.teardown(() => client.disconnect())
    await once(client, 'ready')
    return client
  },
  async redis (t, url, { tls, ...options }: { tls?: object } = {}) {
    const client = createClient({ url, ...options, ...(tls !== undefined && { socket: { tls: true, ...tls } }) })
    client.on('error', () => {})
    t.teardown(() => client.destroy())
    await client.connect()
    return client
  }
}

// What the store needs, and nothing else.
const RIGHTS = [
  'reset', 'on', '>secret', '~mcp:*', '&mcp:*', '-@all',
  '+get', '+set', '+getdel', '+del', '+exists', '+pexpire', '+xadd', '+xtrim', '+xrange', '+zrem', '+eval', '+evalsha',
  '+zremrangebyscore', '+zcard', '+zadd', '+zcount', '+time', '+incr', '+pttl', '+publish', '+subscribe'
]
const OF_CLIENT = { ioredis: ['+info'], redis: [] as string[] }

for (const [name, connect] of Object.entries(connectors) as ['ioredis' | 'redis', Connect][]) {
  t.test(`a user with few rights is enough, over TLS, with ${name}`, async t => {
    execFileSync('openssl', [
      'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1', '-subj', '/CN=localhost',
      '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', join(folder, `${name}.key`), '-out', join(folder, `${name}.pem`)
    ], { stdio: 'ignore' })
    const tls = await freePort()
    const { port } = await startRedis(t, '--tls-port', String(tls), '--tls-auth-clients', 'no',
      '--tls-cert-file', join(folder, `${name}.pem`), '--tls-key-file', join(folder, `${name}.key`))
    const admin = new Redis(port, '127.0.0.1')
    t.teardown(() => admin.disconnect())
    await admin.call('ACL', ['SETUSER', 'mcp', ...RIGHTS, ...OF_CLIENT[name]])
    const url = `rediss://mcp:secret@127.0.0.1:${tls}`
    const secure = { tls: { ca: readFileSync(join(folder, `${name}.pem`)) } }
    const [a, b] = [await startNode(t, await connect(t, url, secure)), await startNode(t, await connect(t, url, secure))]
    await works(t, a, b)
    const refused = (await admin.call('ACL', ['LOG'])) as unknown[][]
    t.strictSame(refused.map(entry => entry[entry.indexOf('object') + 1]).filter(command => !/^client\|/.test(String(command))), [], 'nothing was refused')
  })

  t.test(`errors of Redis never reach logs or clients with a session id, with ${name}`, async t => {
    const { port } = await startRedis(t)
    const admin = new Redis(port, '127.0.0.1')
    t.teardown(() => admin.disconnect())
    await admin.call('ACL', ['SETUSER', 'mcp', ...RIGHTS, ...OF_CLIENT[name]])
    const lines: string[] = []
    const app = await createApp(t, { store: redisStore(await connect(t, `redis://mcp:secret@127.0.0.1:${port}`)) }, { logger: { level: 'trace', stream: { write: (line: string) => { lines.push(line) } } } })
    app.mcp.tool('count', {}, async function * () {
      yield 'one'
    })
    const client = await Client.connect(app)
    const id = client.sessionId ?? ''
    t.ok(id)
    for (const [what, args] of [['rights', ['ACL', 'SETUSER', 'mcp', '-get', '-xadd', '-publish']], ['memory', ['CONFIG', 'SET', 'maxmemory', '1']]] as const) {
      const [command, ...rest] = args
      await admin.call(command, rest)
      const replies = [await client.notify('notifications/x'), await client.delete(), await client.post({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'count' } })]
      if (what === 'rights') t.match(replies[0], { status: 503, headers: { 'retry-after': /^\d+$/ } })
      for (const { text } of replies) t.notMatch(text, id, what)
      await admin.call('ACL', ['SETUSER', 'mcp', '+get'])
    }
    t.match(lines.join(''), /a command failed (NOPERM|OOM)/)
    t.equal(lines.filter(line => line.includes(id)).length, 0)
  })
}

/** As applications may have configured their clients. */
const configured: Record<string, (t: Test, port: number) => Promise<RedisClient>> = {
  'automatic pipelines, a name and RESP2': (t, port) => connectors.ioredis(t, `redis://127.0.0.1:${port}`, { enableAutoPipelining: true, connectionName: 'mine', protocol: 2 }),
  'objects for maps': (t, port) => connectors.ioredis(t, `redis://127.0.0.1:${port}`, { replyMapping: 'resp3' }),
  'no offline queue': (t, port) => connectors.ioredis(t, `redis://127.0.0.1:${port}`, { enableOfflineQueue: false, maxRetriesPerRequest: 0 }),
  'a connection that waits for its first command': async (t, port) => {
    const client = new Redis(port, '127.0.0.1', { lazyConnect: true })
    t.teardown(() => client.disconnect())
    return client
  },
  'RESP2 of redis': (t, port) => connectors.redis(t, `redis://127.0.0.1:${port}`, { RESP: 2, disableOfflineQueue: true }),
  'types mapped by redis': (t, port) => connectors.redis(t, `redis://127.0.0.1:${port}`, {
    RESP: 3, commandOptions: { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer, [RESP_TYPES.NUMBER]: String } }
  })
}

for (const [what, connect] of Object.entries(configured)) {
  t.test(`a store works with ${what}`, async t => {
    const { port } = await startRedis(t)
    await works(t, await startNode(t, await connect(t, port)), await startNode(t, await connect(t, port)))
  })
}

t.test('what cannot be a client is refused, and says why', async t => {
  const sentinel = { name: 'mcp', sentinelRootNodes: [{ host: '127.0.0.1', port: 1 }] }
  const lazy = new Redis({ lazyConnect: true })
  const unknown = /must be a Redis or a Cluster of ioredis, or a client, a cluster or a sentinel of redis/
  const prefixed = /must not have a `keyPrefix`: say `prefix` instead/
  for (const [client, message] of [
    [undefined, unknown], [null, unknown], [{}, unknown], ['redis://127.0.0.1', unknown], [{ call () {} }, unknown], [{ sendCommand () {}, isReady: true }, unknown],
    [createClientPool(), unknown], [lazy.pipeline(), unknown],
    [new Redis({ lazyConnect: true, keyPrefix: 'a:' }), prefixed],
    [new Redis.Cluster([1], { lazyConnect: true, redisOptions: { keyPrefix: 'a:' } }), prefixed],
    [createClient({ keyPrefix: 'a:' }), prefixed], [createCluster({ rootNodes: [], keyPrefix: 'a:' }), prefixed], [createSentinel({ ...sentinel, keyPrefix: 'a:' }), prefixed],
    [new Redis({ lazyConnect: true, stringNumbers: true }), /must not have `stringNumbers`/],
    [new Redis.Cluster([1], { lazyConnect: true, redisOptions: { stringNumbers: true } }), /must not have `stringNumbers`/]
  ] as const) t.throws(() => redisStore(client as RedisClient), { code: 'FST_MCP_OPTION_INVALID', message })
  for (const client of [lazy, createClient(), createCluster({ rootNodes: [] }), createSentinel(sentinel)]) t.ok(redisStore(client))
})

t.test('two databases of one Redis do not meet', async t => {
  const { port } = await startRedis(t)
  const url = `redis://127.0.0.1:${port}`
  const [first, second, third] = [
    await startNode(t, await connectors.ioredis(t, url)), await startNode(t, await connectors.ioredis(t, url, { db: 2 })), await startNode(t, await connectors.redis(t, `${url}/2`))
  ]
  const listening = await Promise.all([first, second, third].map(async ({ url }) => (await Client.connect(url)).get()))
  second.app.mcp.tool('more', {}, () => 'x')
  third.app.mcp.tool('other', {}, () => 'x')
  await Promise.all(listening.slice(1).map(stream => stream.message(({ method }) => method === 'notifications/tools/list_changed')))
  t.strictSame(listening[0]?.messages, [])
  await works(t, second, third)
  await Promise.all(listening.map(stream => stream.close()))
})

t.test('a subscriber that ends, hangs or may not subscribe is replaced, and leaves nothing behind', async t => {
  const { port } = await startRedis(t)
  const admin = new Redis(port, '127.0.0.1')
  t.teardown(() => admin.disconnect())
  const subscribers = async (): Promise<number> => String(await admin.call('CLIENT', ['LIST', 'TYPE', 'pubsub'])).split('\n').filter(line => line !== '').length
  const clients = async (): Promise<number> => String(await admin.call('CLIENT', ['LIST'])).split('\n').filter(line => line !== '').length
  await admin.call('ACL', ['SETUSER', 'mcp', ...RIGHTS, '+info'])
  const client = await connectors.ioredis(t, `redis://mcp:secret@127.0.0.1:${port}`, { retryStrategy: null })
  const a = await startNode(t, client)
  const b = await startNode(t, await connectors.redis(t, `redis://mcp:secret@127.0.0.1:${port}`))
  t.equal(await subscribers(), 2)
  const whole = await clients()
  await admin.call('CLIENT', ['KILL', 'TYPE', 'pubsub'])
  let count = 0
  while (count !== 2) count = await subscribers()
  await sleep(300)
  await works(t, a, b)
  await admin.call('ACL', ['SETUSER', 'mcp', '-subscribe'])
  await admin.call('CLIENT', ['KILL', 'TYPE', 'pubsub'])
  await sleep(1_500)
  t.ok(await clients() <= whole, 'refused connections are closed')
  await admin.call('ACL', ['SETUSER', 'mcp', '+subscribe'])
  count = 0
  while (count !== 2) count = await subscribers()
})
