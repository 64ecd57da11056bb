/** A server that the suite can measure: a file that serves the suite's tools and ends in `ready(port)` of `servers/control.ts`. */
export interface Adapter {
  name: string
  /** Below `servers/`. */
  file: string
  /** Names of the scenarios that it can take part in; all of them unless named. */
  scenarios?: string[]
  /** Its answers must be the floor's, byte for byte but for ids. */
  sameBytes?: boolean
}

/** The first is what the others are compared with. */
export const servers: Adapter[] = [
  { name: 'floor', file: 'floor.ts' },
  { name: 'ours', file: 'ours.ts', sameBytes: true }
]
