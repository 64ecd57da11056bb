import type { Figure } from '../scenario.ts'
import type { ServerProcess } from '../server-process.ts'
import { percentile, quiet } from './statistics.ts'

/** One caller of a closed loop: it makes a call and says, when the answer is there, whether it was right. */
export type Lane = (done: (right: boolean) => void) => void

/** Counts and not times, so that a busy machine makes the work longer but not less. */
export interface Load {
  warm: number
  batches: number
  /** Calls in a batch. */
  calls: number
}

/** Does something without sleeping: a load that sleeps is woken by the server's writes, and the kernel counts that as the server's CPU. */
export async function awake<Done> (work: () => Promise<Done>): Promise<Done> {
  let isOver = false
  const stayAwake = (): void => { if (!isOver) setImmediate(stayAwake) }
  stayAwake()
  try {
    return await work()
  } finally {
    isOver = true
  }
}

/** Keeps every lane calling until `count` calls are made; how long each took in milliseconds. Throws when any answer was wrong. */
export async function drive (lanes: Lane[], count: number): Promise<number[]> {
  const waits: number[] = []
  await awake(() => Promise.all(lanes.map(async lane => {
    await new Promise<void>((resolve, reject) => {
      let asked = performance.now()
      const done = (right: boolean): void => {
        const now = performance.now()
        if (!right) return reject(new Error('a call got a wrong answer'))
        waits.push(now - asked)
        if (waits.length > count - lanes.length) return resolve()
        asked = now
        lane(done)
      }
      lane(done)
    })
  })))
  return waits
}

/** What calls cost that are made in parallel by lanes. `what`: what a lane does, where that is more than a call. */
export async function measureCalls (server: ServerProcess, work: string, lanes: Lane[], { warm, batches, calls }: Load, what = 'call'): Promise<Figure[]> {
  await drive(lanes, warm * server.share)
  const costs: number[] = []
  const periods: number[] = []
  const tails: number[] = []
  for (let batch = 0; batch < batches; batch++) {
    const before = await server.usage()
    const begin = performance.now()
    const waits = await drive(lanes, calls * server.share)
    const took = performance.now() - begin
    const { cpu } = await server.usage()
    costs.push((cpu - before.cpu) / waits.length)
    periods.push(took / waits.length)
    tails.push(percentile(waits, 0.99))
  }
  return [
    { work, unit: `µs CPU per ${what}`, value: quiet(costs) },
    { work, unit: `${what}s per second`, value: 1000 / quiet(periods) },
    { work, unit: 'ms, p99', value: quiet(tails) }
  ]
}
