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

/** Keeps every lane calling until `count` calls are made; how long each took in milliseconds. Throws when any answer was wrong. */
async function drive (lanes: Lane[], count: number): Promise<number[]> {
  const waits: number[] = []
  let over = false
  // A load that sleeps is woken by the server's writes, and the kernel counts that as the server's CPU.
  const stayAwake = (): void => { if (!over) setImmediate(stayAwake) }
  stayAwake()
  await Promise.all(lanes.map(async lane => {
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
  }))
  over = true
  return waits
}

/** What calls cost that are made in parallel by lanes. */
export async function measureCalls (server: ServerProcess, work: string, lanes: Lane[], { warm, batches, calls }: Load): Promise<Figure[]> {
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
    { work, unit: 'µs CPU per call', value: quiet(costs) },
    { work, unit: 'calls per second', value: 1000 / quiet(periods) },
    { work, unit: 'ms, p99', value: quiet(tails) }
  ]
}
