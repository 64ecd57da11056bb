// What befalls a cluster, by a seed.
import { Chance } from '../fuzz/chance.ts'
import type { Fate } from './balancer.ts'
import type { Fleet } from './fleet.ts'

// As long as clients need to come back on a machine that is busy.
const WINDOW_MS = 6_000
/** Of the plugin: more than what is under way at once is kept, and any node opens what another has sealed. */
export const SETTINGS = {
  ask: { keys: ['k'.repeat(32)] },
  ready: '/ready',
  sessions: { replay: { window: WINDOW_MS, bytes: 4_194_304 } }
}

/** Most connections break after a few events. */
export function unsteady (seed: number): Fate {
  const chance = new Chance(seed)
  return () => chance.is(0.6) ? chance.below(chance.pick([200, 1_000, 5_000, 40_000])) : undefined
}

/** Stops the nodes one after the other, and starts another in the place of each, until `isOver`. Gives how many. */
export async function rollOver (fleet: Fleet, signal: 'SIGTERM' | 'SIGKILL', isOver: () => boolean): Promise<number> {
  let count = 0
  while (!isOver()) {
    const node = fleet.at(count++)
    // A balancer is told before; of a node that is killed nobody is.
    if (signal === 'SIGTERM') fleet.balancer.down.add(node.url)
    await node.stop(signal)
    await fleet.replace(node)
  }
  return count
}
