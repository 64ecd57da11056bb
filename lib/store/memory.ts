import { MemoryEvents } from './memory-events.ts'
import { MemorySessions } from './memory-sessions.ts'
import { MemoryTickets } from './memory-tickets.ts'
import type { Store } from './store.ts'

// Often enough that an expired entry costs little, rare enough that the sweep does.
const SWEEP_MS = 10_000

/** The embedded default: sessions, events and tickets in the memory of this process, bounded in count, bytes and time. */
export function memoryStore (): Store {
  return {
    open (limits) {
      const events = new MemoryEvents(limits.replay)
      const sessions = new MemorySessions(limits, id => events.drop(id))
      const tickets = new MemoryTickets(limits.tickets)
      const timer = setInterval(() => {
        const now = Date.now()
        sessions.sweep(now)
        events.sweep(now)
        tickets.sweep(now)
      }, SWEEP_MS).unref()
      return { sessions, events, tickets, bus: null, counters: null, opened: () => {}, problem: () => null, close: () => clearInterval(timer) }
    }
  }
}
