import type { Created, OpenStore, SessionRecord, Store, StoreLimits, TicketRecord } from 'fastify-mcp-sse'
import type { Test } from 'tap'

export interface StoreUnderTest {
  /** A store that holds nothing yet. */
  create (): Store
  /** Lets time pass, for real or not. */
  advance (ms: number): Promise<void>
  /** The longest that a store may keep what is over. */
  lag: number
}

const LIMITS: StoreLimits = { server: 'a', idle: 1_000, max: 3, replay: { events: 6, bytes: 10_000, window: 500 }, tickets: { ttl: 1_000, max: 3 } }

function record (id: string, extra: Partial<SessionRecord> = {}): SessionRecord {
  return { id, principal: null, transport: 'streamable-http', revision: '2025-11-25', initialized: true, capabilities: {}, logLevel: null, subscriptions: [], ticket: null, home: null, ...extra }
}

function unused (hash: string, owner: string | null = null): TicketRecord {
  return { hash, owner, principal: owner === null ? null : { id: owner, issuer: 'https://login.example', scopes: ['a'] } }
}

/** What every store must do, whatever it is made of: the contract of `Store`. */
export function storeSuite (t: Test, { create, advance, lag }: StoreUnderTest): void {
  const check = (name: string, run: (t: Test, store: OpenStore) => Promise<void>, limits: Partial<StoreLimits> = {}): void => {
    t.test(name, async t => {
      const store = create().open({ ...LIMITS, ...limits, replay: { ...LIMITS.replay, ...limits.replay } })
      t.after(() => store.close())
      await run(t, store)
    })
  }
  /** Appends events that are numbered from `from` to `to`; each frame tells its stream and number. */
  const fill = ({ events }: OpenStore, session: string, stream: string, from: number, to: number, answers?: string | number): boolean[] =>
    Array.from({ length: to - from + 1 }, (_, index) => {
      const seq = from + index
      return events.append(session, { stream, seq, frame: `${stream}${seq}`, ...(answers !== undefined && seq === to && { answers }) })
    })
  const frames = (stream: string, from: number, to: number): string[] => Array.from({ length: to - from + 1 }, (_, index) => `${stream}${from + index}`)

  check('a session is found by its id, with everything that was kept', async (t, { sessions }) => {
    const kept = record('a', { principal: 'issuer\nme', transport: 'http+sse', revision: '2024-11-05', initialized: false, capabilities: { roots: {} }, logLevel: 'alert' })
    t.equal(await sessions.get('a'), undefined)
    t.equal(await sessions.create(kept, 100), 'created')
    t.strictSame(await sessions.get('a'), kept)
    t.equal(sessions.size, 1)
    for (const id of ['', 'A', 'b', '__proto__', 'constructor']) t.equal(await sessions.get(id), undefined, JSON.stringify(id))
  })

  check('a changed session stays changed', async (t, { sessions }) => {
    await sessions.create(record('a'), 100)
    const found = await sessions.get('a') ?? record('lost')
    await sessions.update(found, record => { Object.assign(record, { revision: '2025-03-26', logLevel: 'debug' }) })
    t.strictSame(found, record('a', { revision: '2025-03-26', logLevel: 'debug' }))
    t.strictSame(await sessions.get('a'), record('a', { revision: '2025-03-26', logLevel: 'debug' }))
  })

  check('a session that is not touched for its idle time is gone, and one that is touched stays', async (t, { sessions }) => {
    await sessions.create(record('idle'), 100)
    await sessions.create(record('busy'), 100)
    await advance(700)
    await sessions.touch(record('busy'))
    t.ok(await sessions.get('idle'), 'not yet')
    await advance(700)
    t.equal(await sessions.get('idle'), undefined)
    t.ok(await sessions.get('busy'))
    await sessions.touch(record('idle'))
    t.equal(await sessions.get('idle'), undefined, 'a touch revives nothing')
    await advance(1_100 + lag)
    t.equal(sessions.size, 0, 'nobody has to ask for what is over')
  })

  check('no more sessions are created than may be, and an ended or expired one makes room', async (t, { sessions }) => {
    for (const id of ['a', 'b', 'c']) t.equal(await sessions.create(record(id), 100), 'created')
    t.equal(await sessions.create(record('d'), 100), 'full')
    t.equal(await sessions.get('d'), undefined)
    t.equal(sessions.size, 3)
    await sessions.delete('b')
    t.equal(await sessions.create(record('d'), 100), 'created')
    t.equal(await sessions.create(record('e'), 100), 'full')
    await advance(1_100)
    t.equal(await sessions.create(record('e'), 100), 'created')
    t.equal(sessions.size, 1)
  })

  check('no principal has more sessions than it may, and an ended or expired one makes room', async (t, { sessions }) => {
    const create = (id: string, principal: string | null = 'one'): Created | Promise<Created> => sessions.create(record(id, { principal }), 2)
    for (const id of ['a', 'b']) t.equal(await create(id), 'created')
    t.equal(await create('c'), 'quota')
    t.equal(await sessions.get('c'), undefined, 'what was refused is not kept')
    t.equal(sessions.size, 2)
    t.equal(await create('d', 'other'), 'created', 'each principal has its own')
    for (const id of ['e', 'f', 'g']) t.equal(await create(id, null), 'created', 'without a principal only the total holds')

    t.equal(await sessions.delete('a'), true)
    t.equal(await create('c'), 'created')
    t.equal(await create('h'), 'quota')
    await advance(700)
    await sessions.touch(record('c', { principal: 'one' }))
    await advance(700)
    t.equal(await create('h'), 'created', 'b has expired, and nobody asked for it')
    t.equal(await create('i'), 'quota', 'c has not')
    t.equal(await sessions.create(record('i', { principal: 'one' }), 3), 'created', 'the number is that of each call')
  }, { max: 10 })

  check('where both the store and the principal are full, the principal is told of itself', async (t, { sessions }) => {
    for (const id of ['a', 'b', 'c']) await sessions.create(record(id, { principal: 'one' }), 3)
    t.equal(await sessions.create(record('d', { principal: 'one' }), 3), 'quota')
    t.equal(await sessions.create(record('d', { principal: 'other' }), 3), 'full')
    t.equal(await sessions.create(record('d', { principal: 'one' }), 4), 'full')
    await advance(1_100)
    t.equal(await sessions.create(record('d', { principal: 'one' }), 1), 'created', 'what was refused does not count')
  })

  check('a deleted session is gone once, with its events', async (t, store) => {
    const { sessions, events } = store
    await sessions.create(record('a'), 100)
    await sessions.create(record('b'), 100)
    fill(store, 'a', 's', 1, 2)
    fill(store, 'b', 's', 1, 2)
    t.equal(await sessions.delete('a'), true)
    t.equal(await sessions.delete('a'), false)
    t.equal(await sessions.get('a'), undefined)
    t.equal(await events.after('a', 's', 0), undefined)
    t.strictSame((await events.after('b', 's', 0))?.frames, ['s1', 's2'])
  })

  check('servers that open one store do not meet', async t => {
    const shared = create()
    const [one, two] = [shared.open(LIMITS), shared.open({ ...LIMITS, server: 'another' })]
    await one.sessions.create(record('a'), 100)
    fill(one, 'a', 's', 1, 1)
    t.equal(await two.sessions.get('a'), undefined)
    t.equal(await two.events.after('a', 's', 0), undefined)
    t.equal(two.sessions.size, 0)
    await one.close()
    await two.close()
  })

  check('the events after a number come back once each and in order', async (t, store) => {
    fill(store, 'a', 's', 1, 3)
    fill(store, 'a', 'r', 1, 2)
    fill(store, 'b', 's', 1, 1)
    for (const seq of [0, 1, 2, 3, 99]) {
      t.strictSame(await store.events.after('a', 's', seq), { frames: frames('s', seq + 1, 3), isComplete: true, lost: [], isTold: true }, String(seq))
    }
    t.strictSame((await store.events.after('a', 'r', 0))?.frames, ['r1', 'r2'])
    for (const [session, stream] of [['a', 'q'], ['c', 's'], ['__proto__', 's'], ['a', '__proto__'], ['a', 'constructor']] as const) {
      t.equal(await store.events.after(session, stream, 0), undefined, `${session} ${stream}`)
    }
  })

  check('what is over the budget of events is trimmed, oldest first, and its loss can be told', async (t, store) => {
    t.ok(fill(store, 'a', 's', 1, 3, 'first').every(room => room), 'a stream that is not held never waits')
    t.ok(fill(store, 'a', 's', 4, 8, 9).every(room => room))
    t.strictSame(await store.events.after('a', 's', 0), { frames: frames('s', 3, 8), isComplete: false, lost: [], isTold: true }, 'the first answer is still there')
    fill(store, 'a', 's', 9, 11)
    t.strictSame(await store.events.after('a', 's', 0), { frames: frames('s', 6, 11), isComplete: false, lost: ['first'], isTold: true })
    t.strictSame(await store.events.after('a', 's', 2), { frames: frames('s', 6, 11), isComplete: false, lost: ['first'], isTold: true })
    t.strictSame(await store.events.after('a', 's', 3), { frames: frames('s', 6, 11), isComplete: false, lost: [], isTold: true }, 'that client has seen the answer')
    t.strictSame(await store.events.after('a', 's', 5), { frames: frames('s', 6, 11), isComplete: true, lost: [], isTold: true }, 'that client misses nothing')
  })

  check('what is over the budget of bytes is trimmed', async (t, { events }) => {
    const append = (seq: number, size: number): boolean => events.append('a', { stream: 's', seq, frame: String(seq).repeat(size) })
    append(1, 50)
    append(2, 50)
    t.equal((await events.after('a', 's', 0))?.isComplete, true, 'as much as there may be')
    append(3, 1)
    t.strictSame((await events.after('a', 's', 0))?.frames, ['2'.repeat(50), '3'])
    append(4, 101)
    t.strictSame(await events.after('a', 's', 0), { frames: [], isComplete: false, lost: [], isTold: true }, 'one event may be too much by itself')
    append(5, 10)
    t.strictSame((await events.after('a', 's', 4))?.frames, ['5'.repeat(10)], 'and the next is kept again')
  }, { replay: { ...LIMITS.replay, bytes: 100 } })

  check('each session has a budget of its own', async (t, store) => {
    fill(store, 'a', 's', 1, 6)
    fill(store, 'b', 's', 1, 6)
    for (const session of ['a', 'b']) t.equal((await store.events.after(session, 's', 0))?.isComplete, true)
  })

  check('finished streams are trimmed before running ones, and the longest of those first', async (t, store) => {
    fill(store, 'a', 'done', 1, 1)
    store.events.finish('a', 'done')
    fill(store, 'a', 'long', 1, 3)
    fill(store, 'a', 'short', 1, 2)
    t.ok(await store.events.after('a', 'done', 0), 'within the budget nothing is lost')
    fill(store, 'a', 'short', 3, 3)
    t.equal(await store.events.after('a', 'done', 0), undefined)
    fill(store, 'a', 'long', 4, 4)
    t.match(await store.events.after('a', 'long', 0), { isComplete: false, frames: frames('long', 2, 4) })
    t.match(await store.events.after('a', 'short', 0), { isComplete: true, frames: frames('short', 1, 3) })
  })

  check('a finished stream is forgotten after the window', async (t, { events }) => {
    events.append('a', { stream: 's', seq: 1, frame: 's1' })
    events.append('a', { stream: 'running', seq: 1, frame: 'r1' })
    events.append('b', { stream: 's', seq: 1, frame: 's1' })
    for (const session of ['a', 'b', 'c']) events.finish(session, 's')
    events.finish('a', 'unknown')
    await advance(300)
    t.ok(await events.after('a', 's', 0))
    await advance(300 + lag)
    t.equal(await events.after('a', 's', 0), undefined)
    t.equal(await events.after('b', 's', 0), undefined)
    t.ok(await events.after('a', 'running', 0), 'a running stream is not')
  })

  check('nothing of a running stream is trimmed while its client is away: its writer waits instead', async (t, store) => {
    const { events } = store
    fill(store, 'a', 'away', 1, 2)
    events.hold('a', 'away')
    events.hold('a', 'away')
    t.strictSame(fill(store, 'a', 'away', 3, 7), [true, true, true, false, false], 'false from the event that fills the budget')
    t.strictSame(fill(store, 'a', 'here', 1, 2), [false, false])
    t.match(await events.after('a', 'away', 0), { isComplete: true, frames: frames('away', 1, 7) })
    t.match(await events.after('a', 'here', 0), { isComplete: false, frames: [] }, 'others lose theirs first')
    t.strictSame(fill(store, 'b', 's', 1, 1), [true], 'other sessions have nothing to do with it')

    events.release('a', 'away')
    events.release('a', 'away')
    t.match(await events.after('a', 'away', 0), { isComplete: true, frames: frames('away', 1, 7) }, 'the client finds everything when it is back')
    t.strictSame(fill(store, 'a', 'away', 8, 8), [true])
    t.match(await events.after('a', 'away', 0), { isComplete: false, frames: frames('away', 3, 8) }, 'and then the budget holds again')
  })

  check('what is held fills the budget in bytes as well', async (t, { events }) => {
    events.hold('a', 's')
    const append = (seq: number, size: number): boolean => events.append('a', { stream: 's', seq, frame: 'x'.repeat(size) })
    t.strictSame([append(1, 50), append(2, 49), append(3, 1), append(4, 1)], [true, true, false, false])
    events.release('a', 's')
    t.equal(append(5, 1), true)
  }, { replay: { ...LIMITS.replay, bytes: 100 } })

  check('a finished stream whose client is still away is the last to go, but it goes', async (t, store) => {
    const { events } = store
    fill(store, 'a', 'unread', 1, 4)
    events.hold('a', 'unread')
    events.finish('a', 'unread')
    fill(store, 'a', 'here', 1, 4)
    t.match(await events.after('a', 'unread', 0), { isComplete: true, frames: frames('unread', 1, 4) })
    t.match(await events.after('a', 'here', 0), { isComplete: false, frames: frames('here', 3, 4) })
    events.hold('a', 'here')
    fill(store, 'a', 'here', 5, 5)
    t.equal(await events.after('a', 'unread', 0), undefined)
    t.match(await events.after('a', 'here', 2), { isComplete: true, frames: frames('here', 3, 5) })
    t.strictSame(fill(store, 'a', 'here', 6, 7), [true, true], 'and what it held is free')
  })

  check('a ticket is given once, with everything that was kept', async (t, { tickets }) => {
    const [mine, nobodys] = [unused('a', 'https://login.example\nme'), unused('b')]
    t.equal(await tickets.issue(mine, 100), 'created')
    t.equal(await tickets.issue(nobodys, 100), 'created')
    for (const hash of ['', 'A', 'c', '__proto__', 'constructor']) t.equal(await tickets.take(hash), undefined, JSON.stringify(hash))
    t.strictSame(await tickets.take('a'), mine)
    t.equal(await tickets.take('a'), undefined)
    t.strictSame(await tickets.take('b'), nobodys, 'the others are still there')
    t.equal(await tickets.issue(unused('__proto__', '__proto__'), 1), 'created')
    t.strictSame(await tickets.take('__proto__'), unused('__proto__', '__proto__'), 'a hash may be any text')
  })

  check('of many who bring one ticket at once the first alone gets it', async (t, { tickets }) => {
    await tickets.issue(unused('a'), 100)
    const given = await Promise.all(Array.from({ length: 10 }, () => tickets.take('a')))
    t.equal(given.filter(record => record !== undefined).length, 1)
  })

  check('a ticket is good for its time, and not longer', async (t, { tickets }) => {
    await tickets.issue(unused('early'), 100)
    await tickets.issue(unused('late'), 100)
    await advance(700)
    t.ok(await tickets.take('early'))
    await advance(400)
    t.equal(await tickets.take('late'), undefined)
  })

  check('no owner has more unused tickets than may be, and a used or expired one makes room', async (t, { tickets }) => {
    t.equal(await tickets.issue(unused('a', 'me'), 2), 'created')
    await advance(600)
    t.equal(await tickets.issue(unused('b', 'me'), 2), 'created')
    t.equal(await tickets.issue(unused('c', 'me'), 2), 'quota')
    t.equal(await tickets.take('c'), undefined, 'what was refused is not there')
    t.equal(await tickets.issue(unused('d', 'you'), 2), 'created', 'another is not kept out')
    await tickets.take('b')
    t.equal(await tickets.issue(unused('e', 'me'), 2), 'created', 'use makes room')
    t.equal(await tickets.issue(unused('f', 'me'), 2), 'quota')
    await advance(500)
    t.equal(await tickets.issue(unused('f', 'me'), 2), 'created', 'and so does time')
    t.equal(await tickets.issue(unused('g', 'me'), 2), 'quota')
  }, { tickets: { ttl: 1_000, max: 100 } })

  check('tickets of nobody are not counted, and no owner is mistaken for nobody', async (t, { tickets }) => {
    for (const hash of ['a', 'b']) t.equal(await tickets.issue(unused(hash), 1), 'created')
    t.equal(await tickets.issue(unused('c', 'null'), 1), 'created')
    t.equal(await tickets.issue(unused('d', 'null'), 1), 'quota')
  }, { tickets: { ttl: 1_000, max: 100 } })

  check('no more unused tickets are kept than may be, and a used or expired one makes room', async (t, { tickets }) => {
    for (const hash of ['a', 'b', 'c']) t.equal(await tickets.issue(unused(hash, hash), 100), 'created')
    t.equal(await tickets.issue(unused('d'), 100), 'full')
    t.equal(await tickets.issue(unused('d', 'a'), 1), 'quota', 'whose fault it is comes first')
    t.equal(await tickets.take('d'), undefined)
    await tickets.take('b')
    t.equal(await tickets.issue(unused('d'), 100), 'created')
    t.equal(await tickets.issue(unused('e'), 100), 'full')
    await advance(1_100)
    for (const hash of ['e', 'f', 'g']) t.equal(await tickets.issue(unused(hash), 100), 'created')
    t.equal(await tickets.issue(unused('h'), 100), 'full')
  })

  check('servers that open one store do not share tickets', async t => {
    const shared = create()
    const [one, two] = [shared.open(LIMITS), shared.open({ ...LIMITS, server: 'another' })]
    await one.tickets.issue(unused('a'), 100)
    t.equal(await two.tickets.take('a'), undefined)
    t.ok(await one.tickets.take('a'))
    await one.close()
    await two.close()
  })

  check('a session is found with its ticket, also one that it got later', async (t, { sessions }) => {
    const first = record('a', { principal: 'me', ticket: { hash: 'first', principal: { id: 'me', scopes: ['a'] } } })
    await sessions.create(first, 100)
    t.strictSame(await sessions.get('a'), first)
    const found = await sessions.get('a') ?? record('lost')
    await sessions.update(found, record => { record.ticket = { hash: 'second', principal: { id: 'me' } } })
    t.strictSame((await sessions.get('a'))?.ticket, { hash: 'second', principal: { id: 'me' } })
  })
}
