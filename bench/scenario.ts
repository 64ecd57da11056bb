import type { ServerProcess } from './server-process.ts'

export interface Figure {
  /** What was done, in words that open a line of the table. */
  work: string
  unit: string
  value: number
  /** How two servers are compared: by quotient (the default), or by what one has above the other. */
  compare?: 'ratio' | 'difference'
}

/** `smoke`: as little as shows that it works. */
export type Size = 'full' | 'smoke'

/** One piece of work, done to one fresh server; it throws when what came back was not right. */
export interface Scenario {
  name: string
  /** What it asks of its servers, in words that `servers/wanted.ts` reads; nothing unless given. */
  args?: (size: Size) => string[]
  run: (server: ServerProcess, size: Size) => Promise<Figure[]>
}

/** Refuses what a server must not answer. */
export function expect (right: boolean, what: string): void {
  if (!right) throw new Error(what)
}
