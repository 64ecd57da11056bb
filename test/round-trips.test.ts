// What a request costs in Redis.
import { Redis } from 'ioredis'
import t from 'tap'
import { Client } from './client.ts'
import { at, startTown } from './neighbours.ts'

t.test('a POST of a session waits for one answer of Redis, and a node has one connection that subscribes', async t => {
  const { nodes: [a, b], admin, redis, prefix } = await startTown(t, {
    store: { lease: 60_000 },
    offer: ({ mcp }) => {
      mcp.tool('count', {}, async function * () {
        for (let number = 0; number < 50; number++) yield `${number}`
      })
    }
  })
  t.equal((String(await admin.call('CLIENT', 'LIST', 'TYPE', 'pubsub')).match(/^id=/gm) ?? []).length, 3)
  const client = await Client.connect(a.url)
  const watching = new Redis(redis.port, '127.0.0.1')
  const monitor = await watching.monitor()
  t.teardown(() => {
    monitor.disconnect()
    watching.disconnect()
  })
  const commands: string[] = []
  monitor.on('monitor', (_time: string, args: string[]) => {
    if (args.some(arg => arg.startsWith(prefix.replace(':{bus}', ''))) && !args.some(arg => arg.includes(':{bus}:') || arg.includes('"beat"'))) commands.push(String(args[0]).toUpperCase())
  })
  const during = async (work: () => Promise<unknown>): Promise<string[]> => {
    commands.length = 0
    await work()
    await admin.ping()
    await new Promise(resolve => setTimeout(resolve, 50))
    return commands.filter(command => !['TIME', 'ZADD', 'ZCOUNT'].includes(command))
  }
  const ping = await during(() => at(client, b).request('ping'))
  t.equal(ping[0], 'GET')
  t.strictSame(ping.slice(1).filter(command => command !== 'PEXPIRE' && command !== 'EVALSHA' && command !== 'EVAL'), [], 'what keeps it alive is waited for by nobody')
  t.ok(ping.length <= 6, ping.join(' '))
  const call = await during(() => at(client, b).call('count', {}, 1))
  t.equal(call.filter(command => command === 'GET').length, 1)
})
