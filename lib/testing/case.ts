import type { OpenStore, Store, StoreLimits } from '../store/store.ts'

/** What there is to try a store with. */
export interface Setting {
  /** Opens the one store of this case: once more with the same name for another node, with another name for another server. */
  open (limits?: Partial<StoreLimits>): Promise<OpenStore>
  /** As its node leaves in good order. What is still open after a case is closed. */
  close (store: OpenStore): Promise<void>
  advance (ms: number): Promise<void>
  readonly lag: number
}

/** One sentence of the contract, and what shows that it holds. Rejects with an AssertionError. */
export interface Case {
  readonly name: string
  run (setting: Setting): Promise<void>
}

export const LIMITS: StoreLimits = { server: 'a', idle: 1_000, max: 3, replay: { events: 6, bytes: 10_000, window: 500 }, tickets: { ttl: 1_000, max: 3 } }

/** Tries one case with a fresh store, and leaves nothing open. */
export async function tryCase ({ run }: Case, store: Store, { advance, lag }: Pick<Setting, 'advance' | 'lag'>): Promise<void> {
  const opened = new Set<OpenStore>()
  try {
    await run({
      advance,
      lag,
      async open (limits) {
        const open = store.open({ ...LIMITS, ...limits })
        opened.add(open)
        await open.opened()
        return open
      },
      async close (open) {
        opened.delete(open)
        await open.close()
      }
    })
  } finally {
    await Promise.all([...opened].map(open => open.close()))
  }
}
