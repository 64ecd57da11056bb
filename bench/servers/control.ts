import { setImmediate as turn } from 'node:timers/promises'
import { produced } from './work.ts'

/** What a server process says of itself when asked. CPU in microseconds since its start, memory in bytes. */
export interface Usage {
  cpu: number
  rss: number
  heap: number
  produced: number
  /** How many it holds, where it counts them. */
  sessions: number
}

export interface Question {
  /** Collect garbage first, so that what is left is what is held. */
  gc: boolean
}

/** What it took to be there: milliseconds by the clock, and of CPU. */
export interface Boot {
  wall: number
  cpu: number
}

export interface Ready {
  port: number
  boot: Boot | null
}

export interface Known {
  /** How many sessions there are now. */
  sessions?: () => number
  boot?: Boot
}

/** Every server of the suite ends its file with this: it tells the port, answers questions, and leaves with its parent. */
export function ready (port: number, { sessions = () => 0, boot }: Known = {}): void {
  process.on('message', (question: Question) => { answer(question, sessions).catch(fail) })
  process.on('disconnect', () => process.exit())
  process.send?.({ port, boot: boot ?? null } satisfies Ready)
}

async function answer ({ gc }: Question, sessions: () => number): Promise<void> {
  if (gc) {
    // The second pass takes what finalizers of the first let go.
    for (let pass = 0; pass < 2; pass++) {
      globalThis.gc?.()
      await turn()
    }
  }
  const { user, system } = process.cpuUsage()
  const { rss, heapUsed } = process.memoryUsage()
  process.send?.({ cpu: user + system, rss, heap: heapUsed, produced: produced(), sessions: sessions() } satisfies Usage)
}

function fail (error: unknown): void {
  console.error(error)
  process.exit(1)
}
