// One sentinel, one master and one replica; the master dies, and the replica takes its place.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type RedisClient, redisStore } from 'fastify-mcp-sse/redis'
import { Redis } from 'ioredis'
import { createSentinel } from 'redis'
import t, { type Test } from 'tap'
import { Client, createApp, listen, send, SseClient } from './client.ts'
import { freePort } from './free-port.ts'
import { startRedis } from './redis-server.ts'

/** Watches over a master; gives its port. */
async function startSentinel (t: Test, master: number): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'mcp-sentinel-'))
  const port = await freePort()
  const file = join(folder, 'sentinel.conf')
  await writeFile(file, [
    `port ${port}`, 'bind 127.0.0.1', `dir ${folder}`,
    `sentinel monitor mcp 127.0.0.1 ${master} 1`, 'sentinel down-after-milliseconds mcp 500', 'sentinel failover-timeout mcp 3000', ''
  ].join('\n'))
  const child = spawn('redis-server', [file, '--sentinel'], { stdio: 'ignore' })
  t.teardown(async () => {
    child.kill('SIGKILL')
    await once(child, 'exit')
    await rm(folder, { recursive: true, force: true })
  })
  const admin = new Redis(port, '127.0.0.1', { maxRetriesPerRequest: null })
  admin.on('error', () => {})
  while (!/slaves=1/.test(String(await admin.call('INFO', ['sentinel'])))) await sleep(50)
  admin.disconnect()
  return port
}

/** The port of the master that a sentinel names. */
async function masterOf (sentinel: number): Promise<number> {
  const admin = new Redis(sentinel, '127.0.0.1')
  try {
    const address = await admin.call('SENTINEL', ['GET-MASTER-ADDR-BY-NAME', 'mcp'])
    return Number(Object(address)[1])
  } finally {
    admin.disconnect()
  }
}

const connectors: Record<string, (t: Test, port: number) => Promise<RedisClient>> = {
  async ioredis (t, port) {
    const client = new Redis({ sentinels: [{ host: '127.0.0.1', port }], name: 'mcp', sentinelRetryStrategy: () => 50 })
    client.on('error', () => {})
    t.teardown(() => client.disconnect())
    await once(client, 'ready')
    return client
  },
  async redis (t, port) {
    const client = createSentinel({ name: 'mcp', sentinelRootNodes: [{ host: '127.0.0.1', port }] })
    client.on('error', () => {})
    t.teardown(() => client.destroy())
    await client.connect()
    return client
  }
}

for (const [name, connect] of Object.entries(connectors)) {
  t.test(`nodes go on at the new master that a sentinel names, with ${name}`, async t => {
    const master = await startRedis(t, '--repl-diskless-sync-delay', '0')
    await startRedis(t, '--replicaof', '127.0.0.1', String(master.port))
    const sentinel = await startSentinel(t, master.port)
    const start = async (): Promise<string> =>
      listen(await createApp(t, { store: redisStore(await connect(t, sentinel), { lease: 600 }) }))
    const [a, b] = [await start(), await start()]
    const client = await Client.connect(a)
    const there = new Client(b, { headers: client.headers })
    t.strictSame((await there.request('ping')).result, {})

    // What a master has not yet told its replica is lost with it.
    const admin = new Redis(master.port, '127.0.0.1', { retryStrategy: null })
    await admin.call('SET', ['synced', '1'])
    while (await admin.call('WAIT', ['1', '1000']) !== 1) await sleep(20)
    admin.disconnect()
    await master.stop()
    const seen = new Set<number>()
    let status = 0
    // On a busy machine the next master may be there before anybody has missed the last.
    do {
      seen.add(status = (await there.notify('notifications/x')).status)
      await sleep(20)
    } while (status === 503 || await masterOf(sentinel) === master.port)
    seen.delete(503)
    t.strictSame([...seen], [202], 'the session is at the new master too')
    while ((await client.notify('notifications/x')).status !== 202) await sleep(20)
    const sse = await SseClient.open(a)
    while (status !== 0) {
      const routed = await send(b, sse.endpoint, { method: 'POST', body: { jsonrpc: '2.0', id: 'back', method: 'ping' } })
      if (routed.status === 202) status = 0
    }
    t.strictSame((await sse.stream.message(({ id }) => id === 'back')).result, {}, 'letters arrive again')
    await sse.close()
  })
}
