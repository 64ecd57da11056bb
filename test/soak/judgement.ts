// What must hold of a server that was soaked.
import { ERRANDS } from './errands.ts'
import { type Endurance, isQuiet } from './endurance.ts'
import { type Trend, trendOf } from './trend.ts'

/** One thing that must hold, and what was seen of it. */
export interface Verdict {
  readonly what: string
  readonly isFine: boolean
  readonly seen: string
}

/** Bytes for each request that may stay. A leak of a hundred bytes for each call or each stream is three times as much, and more. */
const ALLOWED = 10
/** Bytes that may stay whatever was done: tables that have reached their size. */
const SETTLED = 500_000

interface Growth {
  /** While the load goes on. */
  readonly trend: Trend
  /** From one rest to the other. */
  readonly grown: number
  readonly requests: number
}

export function growthOf ({ samples, rests: [first, last] }: Endurance): Growth {
  return {
    // The first fifth is the crowd's own beginning: what it leaves behind is not yet as much as what expires.
    trend: trendOf(samples.slice(Math.ceil(samples.length / 5)).map(({ heap, requests }) => ({ heap, work: requests }))),
    grown: last.heap - first.heap,
    requests: last.requests - first.requests
  }
}

/** Under load the whole 95 % interval of the slope must be above what is allowed, since what clients are about to do differs. */
export const growsUnderLoad = ({ trend: { slope, margin } }: Growth): boolean => slope - margin > ALLOWED
/** At rest there is next to no noise. */
export const growsAtRest = ({ grown, requests }: Growth): boolean => grown > SETTLED + ALLOWED * requests

const KB = 1_024
export const inKilobytes = (bytes: number): string => `${Math.round(bytes / KB).toLocaleString('en')} KB`

/** The names of what there is more of. */
function more (before: Readonly<Record<string, number>>, after: Readonly<Record<string, number>>): string[] {
  return Object.entries(after).filter(([name, count]) => count > (before[name] ?? 0)).map(([name, count]) => `${count} ${name}`)
}

const first = (list: readonly string[]): string => list.length === 0 ? 'none' : list.join('; ')

export function judge (endurance: Endurance): Verdict[] {
  const { ready, rests: [before, after], farewell, end, faults, faultCount, done, keepAlives, changes } = endurance
  const growth = growthOf(endurance)
  const { trend: { slope, margin }, grown, requests } = growth
  const unseen = Object.keys(ERRANDS).filter(name => done[name] === undefined)
  const left = more(before.resources, after.resources)
  const stays = more(ready.before.resources, farewell.resources)
  return [
    { what: 'everything was served as it should be', isFine: faultCount === 0, seen: `${faultCount} faults: ${first(faults)}` },
    {
      what: 'every errand was run, keep-alives and changes came',
      isFine: unseen.length === 0 && keepAlives > 0 && changes > 0,
      seen: `${keepAlives} keep-alives, ${changes} changes, never run: ${first(unseen)}`
    },
    { what: 'the heap does not grow under load', isFine: !growsUnderLoad(growth), seen: `${slope.toFixed(1)} ± ${margin.toFixed(1)} bytes for each request, 95 %` },
    {
      what: 'the heap comes back when all have left',
      isFine: !growsAtRest(growth),
      seen: `${inKilobytes(grown)} more after ${requests} requests, ${(grown / requests).toFixed(1)} bytes for each`
    },
    { what: 'nothing is left of any client', isFine: isQuiet(after), seen: JSON.stringify(after.stats) },
    { what: 'no tool was abandoned', isFine: after.stats.abandoned === 0, seen: String(after.stats.abandoned) },
    { what: 'no socket or other handle is left of any client', isFine: left.length === 0, seen: first(left) },
    { what: 'no timer is left of any client', isFine: after.timers <= before.timers, seen: `${before.timers} before, ${after.timers} after` },
    { what: 'no listener is left of any client', isFine: after.listeners <= before.listeners, seen: `${before.listeners} before, ${after.listeners} after` },
    { what: 'no warning, no unhandled rejection, no error in the log', isFine: farewell.troubles.length === 0, seen: first(farewell.troubles) },
    { what: 'close() leaves no timer', isFine: farewell.timers <= ready.before.timers, seen: `${farewell.timers}` },
    { what: 'close() leaves no handle', isFine: stays.length === 0, seen: first(stays) },
    { what: 'the process ends by itself', isFine: end.code === 0, seen: `code ${end.code} after ${Math.round(end.ms)} ms` }
  ]
}
