/** A server that the suite can measure: a file that serves the suite's tools and ends in `ready(port)` of `servers/control.ts`. */
export interface Adapter {
  name: string
  /** Below `servers/`. */
  file: string
  args?: string[]
  /** In place of `args`, for the scenarios named. */
  argsFor?: Record<string, string[]>
  /** Names of the scenarios that it can take part in; all of them unless named. */
  scenarios?: string[]
  /** Why it takes no part in a scenario, where that is worth a line. */
  lacks?: Record<string, string>
  /** Made by others: what it cannot do is told, and fails nothing. */
  isPeer?: boolean
  /** Its answers must be the floor's, byte for byte but for ids. */
  sameBytes?: boolean
}

/** The first is what the others are compared with. */
export const servers: Adapter[] = [
  { name: 'floor', file: 'floor.ts' },
  { name: 'ours', file: 'ours.ts', sameBytes: true }
]

/** One memory against nodes that share a Redis, behind one port. */
export const clusters: Adapter[] = [
  { name: 'memory', file: 'clustered.ts', args: ['0'] },
  { name: '1 node', file: 'clustered.ts', args: ['1'] },
  { name: '2 nodes', file: 'clustered.ts', args: ['2'] },
  { name: '4 nodes', file: 'clustered.ts', args: ['4'] }
]
