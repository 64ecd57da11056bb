// Many short streams through a cluster whose connections break: `npm run history -- --seed 7 --streams 20000`. `--nodes 4`,
// `--package redis`, and `--stop SIGTERM` or `--stop SIGKILL` for nodes that are stopped and started meanwhile.
// The report goes to stderr as JSON; the exit code says whether something was found.
import { parseArgs } from 'node:util'
import t from 'tap'
import { type Account, chronicle } from '../test/cluster/chronicle.ts'
import { Fleet } from '../test/cluster/fleet.ts'
import { rollOver, SETTINGS, unsteady } from '../test/cluster/weather.ts'
import { startRedis } from '../test/redis-server.ts'

const { values } = parseArgs({
  options: { seed: { type: 'string' }, streams: { type: 'string' }, nodes: { type: 'string' }, package: { type: 'string' }, stop: { type: 'string' } }
})
const seed = Number(values.seed ?? Date.now() % 1_000_000)
const streams = Number(values.streams ?? 20_000)
const size = Number(values.nodes ?? 4)
const packageName = values.package === 'redis' ? 'redis' : 'ioredis'
const signal = values.stop === 'SIGTERM' || values.stop === 'SIGKILL' ? values.stop : undefined

t.setTimeout(0)
console.error(`seed ${seed}`)
await t.test(`${streams} streams`, async t => {
  const redis = await startRedis(t)
  const fleet = await Fleet.start(t, { redis, packageName, size, options: SETTINGS })
  fleet.balancer.fate = unsteady(seed)
  let isOver = false
  const rolling = signal === undefined ? undefined : rollOver(fleet, signal, () => isOver)
  const { ids, ...account }: Account = await chronicle({ url: fleet.url, seed, streams, lanes: 12, isHurt: signal === 'SIGKILL' })
  isOver = true
  await rolling
  console.error(JSON.stringify({ seed, events: ids.size, ...account }, null, 2))
  t.strictSame(account.faults, [])
  // A client that has what it wanted does not come back to a stream that was left to it.
  await fleet.settled(({ sessions, streams, calls }) => (signal === undefined ? sessions : 0) + streams + calls === 0, 'nothing to be left')
})
