// One server, soaked and judged.
import { setTimeout as sleep } from 'node:timers/promises'
import { Crowd } from './crowd.ts'
import { OVER_MS } from './soak-settings.ts'
import { type Farewell, type Leak, type Ready, Soaked, type Vitals } from './soaked.ts'

export interface EndurancePlan {
  readonly seed: number
  readonly streams: number
  /** Of load, a quarter of it to warm up. */
  readonly minutes: number
  /** Errands in a second. */
  readonly rate: number
  /** After the warm-up it goes on beyond its minutes until as many were run: a machine that is busy takes longer to show the same. */
  readonly atLeast: number
  readonly metrics: boolean
  readonly leak?: Leak
  /** Hears of every sample. */
  readonly onSample?: (phase: string, vitals: Vitals) => void
}

export interface Endurance {
  readonly ready: Ready
  readonly samples: readonly Vitals[]
  /** After the warm-up, and at the end: all clients have left. */
  readonly rests: readonly [Vitals, Vitals]
  readonly farewell: Farewell
  readonly end: { readonly code: number | null, readonly ms: number }
  readonly errands: number
  readonly keepAlives: number
  readonly changes: number
  readonly done: Readonly<Record<string, number>>
  readonly faults: readonly string[]
  readonly faultCount: number
}

const WARM_UP = 0.25
/** Until then tables have their size. */
const WARM_UP_ERRANDS = 2_500
const MOST_MORE_MINUTES = 2
const SAMPLE_MS = 2_000
// The memory store sweeps every ten seconds; the rest is for a machine that is busy.
const REST_MS = 60_000

export const isQuiet = ({ stats: { abandoned, ...others } }: Vitals): boolean => Object.values(others).every(count => count === 0)

/** Waits until nothing is going on, or gives what is after a minute. */
async function rested (server: Soaked): Promise<Vitals> {
  const deadline = Date.now() + REST_MS
  let vitals = await server.vitals()
  while (!isQuiet(vitals) && Date.now() < deadline) {
    await sleep(250)
    vitals = await server.vitals()
  }
  // Connections that were cut are closed a turn later.
  await sleep(200)
  return server.vitals()
}

export async function endure ({ seed, streams, minutes, rate, atLeast, metrics, leak, onSample = () => {} }: EndurancePlan): Promise<Endurance> {
  const server = await Soaked.start({ metrics, leak })
  try {
    const warmUp = new Crowd(server.ready.port, seed, streams)
    await load(warmUp, { rate, minutes: minutes * WARM_UP, atLeast: WARM_UP_ERRANDS }, async () => onSample('warm-up', await server.vitals()))
    await sleep(OVER_MS)
    await warmUp.lookBack()
    warmUp.close()
    const first = await rested(server)
    onSample('at rest', first)

    const samples: Vitals[] = []
    const crowd = new Crowd(server.ready.port, seed + 1, streams)
    await load(crowd, { rate, minutes: minutes * (1 - WARM_UP), atLeast }, async () => {
      const vitals = await server.vitals()
      samples.push(vitals)
      onSample('load', vitals)
    })
    crowd.close()
    const last = await rested(server)
    onSample('at rest', last)

    const farewell = await server.close()
    const end = await server.ended()
    const { ledger: { done, keepAlives, changes, faults } } = crowd
    return {
      ready: server.ready,
      samples,
      rests: [first, last],
      farewell,
      end,
      errands: crowd.done,
      keepAlives,
      changes,
      done,
      faults: [...warmUp.ledger.faults, ...faults],
      faultCount: warmUp.faults + crowd.faults
    }
  } finally {
    server.kill()
  }
}

async function load (crowd: Crowd, { rate, minutes, atLeast }: Pick<EndurancePlan, 'rate' | 'minutes' | 'atLeast'>, look: () => Promise<void>): Promise<void> {
  await crowd.enter()
  const start = Date.now()
  let isOver = false
  const looking = (async () => {
    for (;;) {
      await sleep(SAMPLE_MS)
      if (isOver) return
      await look()
    }
  })()
  await crowd.work(rate, () => {
    const passed = (Date.now() - start) / 60_000
    return passed >= minutes && (crowd.done >= atLeast || passed >= minutes + MOST_MORE_MINUTES)
  })
  isOver = true
  await looking
  await crowd.leave()
}
