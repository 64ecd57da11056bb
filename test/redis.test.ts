import { setTimeout as sleep } from 'node:timers/promises'
import { redisStore } from 'fastify-mcp-sse/redis'
import { storeContract } from 'fastify-mcp-sse/testing'
import t from 'tap'
import { connectors, startRedis } from './redis-server.ts'

for (const [name, connect] of Object.entries(connectors)) {
  t.test(`the Redis store keeps the contract of a store, with ${name}`, async t => {
    const { port } = await startRedis(t)
    const { client, close } = await connect(port)
    t.teardown(close)
    let count = 0
    const cases = storeContract({
      create: () => redisStore(client, { prefix: `test${++count}` }), advance: ms => sleep(ms), lag: 1_100, bus: true, counters: true
    })
    for (const { name, run } of cases) await t.test(name, async t => { await t.resolves(run()) })
  })
}
