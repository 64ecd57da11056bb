// A server under many clients that come, go and misbehave, and whether it holds on to anything:
// `npm run soak -- --minutes 10 --streams 1000 --seed 7`. `--metrics` turns metrics on, `--rate` says how many errands clients run in
// a second, `--leak call` and `--leak stream` soak a server that keeps a hundred bytes for each, which must fail.
// A server that keeps a hundred bytes for each call runs beside for a short while: a run that does not find it out has failed.
import { parseArgs } from 'node:util'
import { endure } from '../test/soak/endurance.ts'
import { growsAtRest, growthOf, inKilobytes, judge, type Verdict } from '../test/soak/judgement.ts'
import type { Vitals } from '../test/soak/soaked.ts'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    streams: { type: 'string', default: '1000' },
    rate: { type: 'string', default: '600' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    metrics: { type: 'boolean', default: false },
    leak: { type: 'string' }
  }
})
const minutes = Number(values.minutes)
const streams = Number(values.streams)
const rate = Number(values.rate)
const seed = Number(values.seed)
if (!(minutes > 0 && streams >= 3 && rate > 0 && seed >= 0)) throw new Error('--minutes, --streams, --rate and --seed are numbers')
const leak = values.leak === 'call' || values.leak === 'stream' ? values.leak : undefined
if (values.leak !== leak) throw new Error('--leak is call or stream')

const ROWS = 20
const COLUMNS = ['seconds', 'phase', 'heap KB', 'rss MB', 'requests', 'streams', 'sessions', 'calls', 'timers', 'sockets']
const print = (cells: readonly (string | number)[]): void => console.log(cells.map(cell => String(cell).padStart(9)).join(' '))

const start = Date.now()
let printed = -Infinity
function show (phase: string, { heap, rss, requests, stats, timers, resources }: Vitals): void {
  const now = Date.now() - start
  if (phase !== 'at rest' && now - printed < minutes * 60_000 / ROWS) return
  printed = now
  const { TCPSocketWrap = 0 } = resources
  const { streams, sessions, calls } = stats
  const sizes = [Math.round(heap / 1_024), Math.round(rss / 1_048_576)]
  print([Math.round(now / 1_000), phase, ...sizes, requests, streams, sessions, calls, timers, TCPSocketWrap])
}

/** Whether a leak is found out in as short a run. */
async function selfTest (): Promise<Verdict> {
  const short = { streams: 60, minutes: Math.min(minutes, 0.4), atLeast: 9_000 }
  const growth = growthOf(await endure({ seed, ...short, rate: 600, metrics: false, leak: 'call' }))
  const { grown, requests } = growth
  return {
    what: 'a server that keeps a hundred bytes for each call is found out',
    isFine: growsAtRest(growth),
    seen: `${inKilobytes(grown)} more after ${requests} requests, ${(grown / requests).toFixed(1)} bytes for each`
  }
}

const leaks = leak === undefined ? '' : `, with a leak for each ${leak}`
console.log(`seed ${seed}: ${streams} streams for ${minutes} minutes, metrics ${values.metrics ? 'on' : 'off'}${leaks}`)
print(COLUMNS)
const [endurance, leaky] = await Promise.all([
  endure({ seed, streams, minutes, rate, atLeast: 1_000, metrics: values.metrics, leak, onSample: show }),
  selfTest()
])
console.log(`${endurance.errands} errands after the warm-up: ${Object.entries(endurance.done).map(([name, count]) => `${name} ${count}`).join(', ')}`)
const verdicts = [...judge(endurance), leaky]
for (const { what, isFine, seen } of verdicts) console.log(`${isFine ? 'ok' : 'FAILED'}: ${what} (${seen})`)
const failed = verdicts.filter(({ isFine }) => !isFine).length
console.log(`${verdicts.length - failed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
