// Stores that tests make of the memory store.
import { memoryStore, type OpenStore, type Store } from 'fastify-mcp-sse'

/** A store whose parts a test may replace. */
export function storeWith (change: (open: OpenStore) => Partial<OpenStore>): Store {
  return {
    open (limits) {
      const open = memoryStore().open(limits)
      return { sessions: open.sessions, events: open.events, tickets: open.tickets, close: () => open.close(), ...change(open) }
    }
  }
}

/** A store as it would be behind a socket: every answer comes later, and what it gives is a copy. */
export function laterStore (): Store {
  const later = async <T>(value: T): Promise<Awaited<T>> => {
    await new Promise(resolve => setImmediate(resolve))
    return structuredClone(await value)
  }
  return {
    open (limits) {
      const { sessions, events, tickets, close } = memoryStore().open(limits)
      const records = new Map<string, Awaited<ReturnType<typeof sessions.get>>>()
      return {
        sessions: {
          get size () { return sessions.size },
          create (record, maxPerPrincipal) {
            records.set(record.id, structuredClone(record))
            return later(sessions.create(record, maxPerPrincipal))
          },
          async get (id) { return await later(sessions.get(id)) && later(records.get(id)) },
          update: async record => { records.set(record.id, await later(record)) },
          touch: id => later(sessions.touch(id)),
          delete: id => later(sessions.delete(id))
        },
        events: {
          append: (session, event) => events.append(session, event),
          hold: (session, stream) => events.hold(session, stream),
          release: (session, stream) => events.release(session, stream),
          finish: (session, stream) => events.finish(session, stream),
          after: (session, stream, seq) => later(events.after(session, stream, seq))
        },
        tickets: {
          issue: (record, maxPerOwner) => later(tickets.issue(record, maxPerOwner)),
          take: hash => later(tickets.take(hash))
        },
        close
      }
    }
  }
}
