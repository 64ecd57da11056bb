// Stores that tests make of the memory store.
import { memoryStore, type OpenStore, type Store } from 'fastify-mcp-sse'

/** A store whose parts a test may replace. */
export function storeWith (change: (open: OpenStore) => Partial<OpenStore>): Store {
  return {
    open (limits) {
      const open = memoryStore().open(limits)
      return { ...open, ...change(open) }
    }
  }
}

/** A part of a store of which a test says some methods itself. */
export function overriding<Part extends object> (part: Part, changes: Partial<Part>): Part {
  return new Proxy(part, {
    get (target, key) {
      if (Object.hasOwn(changes, key)) return Reflect.get(changes, key)
      const value: unknown = Reflect.get(target, key)
      // What it does needs its own private fields.
      return typeof value === 'function' ? value.bind(target) : value
    }
  })
}

/** A store as it would be behind a socket: every answer comes later, and what it gives is a copy. */
export function laterStore (): Store {
  const later = async <T>(value: T): Promise<Awaited<T>> => {
    await new Promise(resolve => setImmediate(resolve))
    return structuredClone(await value)
  }
  return {
    open (limits) {
      const opened = memoryStore().open(limits)
      const { sessions, events, tickets } = opened
      const records = new Map<string, Awaited<ReturnType<typeof sessions.get>>>()
      return {
        ...opened,
        sessions: {
          get size () { return sessions.size },
          create (record, maxPerPrincipal) {
            records.set(record.id, structuredClone(record))
            return later(sessions.create(record, maxPerPrincipal))
          },
          async get (id) { return await later(sessions.get(id)) && later(records.get(id)) },
          async update (record, change) {
            const kept = await later(records.get(record.id) ?? record)
            change(kept)
            records.set(record.id, kept)
            Object.assign(record, structuredClone(kept))
          },
          touch: record => later(sessions.touch(record)),
          restore: record => later(sessions.restore(record)),
          delete: id => later(sessions.delete(id))
        },
        events: {
          append: (session, event) => events.append(session, event),
          hold: (session, stream) => events.hold(session, stream),
          release: (session, stream) => events.release(session, stream),
          finish: (session, stream) => events.finish(session, stream),
          after: (session, stream, seq) => later(events.after(session, stream, seq)),
          takeOver: (session, stream) => later(events.takeOver(session, stream)),
          leave: (session, stream) => events.leave(session, stream),
          drop: session => events.drop(session)
        },
        tickets: {
          issue: (record, maxPerOwner) => later(tickets.issue(record, maxPerOwner)),
          take: hash => later(tickets.take(hash))
        }
      }
    }
  }
}
