import assert from 'node:assert/strict'
import type { EventLog } from '../store/store.ts'
import { type Case, LIMITS } from './case.ts'

const FEW_BYTES = { replay: { ...LIMITS.replay, bytes: 100 } }

interface Filled {
  from?: number
  to: number
  /** The request that the last of them answers. */
  answers?: string | number
}

/** Appends numbered events; each frame tells its stream and number. */
export function fill (events: EventLog, session: string, stream: string, { from = 1, to, answers }: Filled): boolean[] {
  return frames(stream, from, to).map((frame, index) => {
    const seq = from + index
    return events.append(session, { stream, seq, frame, ...(answers !== undefined && seq === to && { answers }) })
  })
}

/** The frames that `fill` appends. */
export function frames (stream: string, from: number, to: number): string[] {
  return Array.from({ length: to - from + 1 }, (_, index) => `${stream}${from + index}`)
}

async function complete (events: EventLog, session: string, stream: string): Promise<[boolean?, string[]?]> {
  const replay = await events.after(session, stream, 0)
  return [replay?.isComplete, replay?.frames]
}

/** `EventLog`: what is kept for clients that come back. */
export const eventCases: readonly Case[] = [{
  name: 'the events after a number come back once each and in order',
  async run ({ open }) {
    const { events } = await open()
    fill(events, 'a', 's', { to: 3 })
    fill(events, 'a', 'r', { to: 2 })
    fill(events, 'b', 's', { to: 1 })
    for (const seq of [0, 1, 2, 3, 99]) {
      assert.deepEqual(await events.after('a', 's', seq), { frames: frames('s', seq + 1, 3), isComplete: true, lost: [], isTold: true }, String(seq))
    }
    assert.deepEqual((await events.after('a', 'r', 0))?.frames, ['r1', 'r2'])
    for (const [session, stream] of [['a', 'q'], ['c', 's'], ['__proto__', 's'], ['a', '__proto__'], ['a', 'constructor']] as const) {
      assert.equal(await events.after(session, stream, 0), undefined, `${session} ${stream}`)
    }
  }
}, {
  name: 'what is over the budget of events is trimmed, oldest first, and its loss can be told',
  async run ({ open }) {
    const { events } = await open()
    assert.ok(fill(events, 'a', 's', { to: 3, answers: 'first' }).every(room => room), 'a stream that is not held never waits')
    assert.ok(fill(events, 'a', 's', { from: 4, to: 8, answers: 9 }).every(room => room))
    const kept = { frames: frames('s', 3, 8), isComplete: false, lost: [], isTold: true }
    assert.deepEqual(await events.after('a', 's', 0), kept, 'the first answer is still there')
    fill(events, 'a', 's', { from: 9, to: 11 })
    const left = { ...kept, frames: frames('s', 6, 11) }
    assert.deepEqual(await events.after('a', 's', 0), { ...left, lost: ['first'] })
    assert.deepEqual(await events.after('a', 's', 2), { ...left, lost: ['first'] })
    assert.deepEqual(await events.after('a', 's', 3), left, 'that client has seen the answer')
    assert.deepEqual(await events.after('a', 's', 5), { ...left, isComplete: true }, 'that client misses nothing')
  }
}, {
  name: 'what is over the budget of bytes is trimmed',
  async run ({ open }) {
    const { events } = await open(FEW_BYTES)
    const append = (seq: number, size: number): boolean => events.append('a', { stream: 's', seq, frame: String(seq).repeat(size) })
    append(1, 50)
    append(2, 50)
    assert.equal((await events.after('a', 's', 0))?.isComplete, true, 'as much as there may be')
    append(3, 1)
    assert.deepEqual((await events.after('a', 's', 0))?.frames, ['2'.repeat(50), '3'])
    append(4, 101)
    assert.deepEqual(await events.after('a', 's', 0), { frames: [], isComplete: false, lost: [], isTold: true }, 'one event may be too much by itself')
    append(5, 10)
    assert.deepEqual((await events.after('a', 's', 4))?.frames, ['5'.repeat(10)], 'and the next is kept again')
  }
}, {
  name: 'each session has a budget of its own',
  async run ({ open }) {
    const { events } = await open()
    for (const session of ['a', 'b']) fill(events, session, 's', { to: 6 })
    for (const session of ['a', 'b']) assert.deepEqual(await complete(events, session, 's'), [true, frames('s', 1, 6)])
  }
}, {
  name: 'finished streams are trimmed before running ones, and the longest of those first',
  async run ({ open }) {
    const { events } = await open()
    fill(events, 'a', 'done', { to: 1 })
    events.finish('a', 'done')
    fill(events, 'a', 'long', { to: 3 })
    fill(events, 'a', 'short', { to: 2 })
    assert.ok(await events.after('a', 'done', 0), 'within the budget nothing is lost')
    fill(events, 'a', 'short', { from: 3, to: 3 })
    assert.equal(await events.after('a', 'done', 0), undefined)
    fill(events, 'a', 'long', { from: 4, to: 4 })
    assert.deepEqual(await complete(events, 'a', 'long'), [false, frames('long', 2, 4)])
    assert.deepEqual(await complete(events, 'a', 'short'), [true, frames('short', 1, 3)])
  }
}, {
  name: 'a finished stream is forgotten after the window',
  async run ({ open, advance, lag }) {
    const { events } = await open()
    fill(events, 'a', 's', { to: 1 })
    fill(events, 'a', 'running', { to: 1 })
    fill(events, 'b', 's', { to: 1 })
    for (const session of ['a', 'b', 'c']) events.finish(session, 's')
    events.finish('a', 'unknown')
    await advance(300)
    assert.ok(await events.after('a', 's', 0))
    await advance(300 + lag)
    assert.equal(await events.after('a', 's', 0), undefined)
    assert.equal(await events.after('b', 's', 0), undefined)
    assert.ok(await events.after('a', 'running', 0), 'a running stream is not')
  }
}, {
  name: 'nothing of a running stream is trimmed while its client is away: its writer waits instead',
  async run ({ open }) {
    const { events } = await open()
    fill(events, 'a', 'away', { to: 2 })
    events.hold('a', 'away')
    events.hold('a', 'away')
    assert.deepEqual(fill(events, 'a', 'away', { from: 3, to: 7 }), [true, true, true, false, false], 'false from the event that fills the budget')
    assert.deepEqual(fill(events, 'a', 'here', { to: 2 }), [false, false])
    assert.deepEqual(await complete(events, 'a', 'away'), [true, frames('away', 1, 7)])
    assert.deepEqual(await complete(events, 'a', 'here'), [false, []], 'others lose theirs first')
    assert.deepEqual(fill(events, 'b', 's', { to: 1 }), [true], 'other sessions have nothing to do with it')

    events.release('a', 'away')
    events.release('a', 'away')
    assert.deepEqual(await complete(events, 'a', 'away'), [true, frames('away', 1, 7)], 'the client finds everything when it is back')
    assert.deepEqual(fill(events, 'a', 'away', { from: 8, to: 8 }), [true])
    assert.deepEqual(await complete(events, 'a', 'away'), [false, frames('away', 3, 8)], 'and then the budget holds again')
  }
}, {
  name: 'what is held fills the budget in bytes as well',
  async run ({ open }) {
    const { events } = await open(FEW_BYTES)
    events.hold('a', 's')
    const append = (seq: number, size: number): boolean => events.append('a', { stream: 's', seq, frame: 'x'.repeat(size) })
    assert.deepEqual([append(1, 50), append(2, 49), append(3, 1), append(4, 1)], [true, true, false, false])
    events.release('a', 's')
    assert.equal(append(5, 1), true)
  }
}, {
  name: 'a finished stream whose client is still away is the last to go, but it goes',
  async run ({ open }) {
    const { events } = await open()
    fill(events, 'a', 'unread', { to: 4 })
    events.hold('a', 'unread')
    events.finish('a', 'unread')
    fill(events, 'a', 'here', { to: 4 })
    assert.deepEqual(await complete(events, 'a', 'unread'), [true, frames('unread', 1, 4)])
    assert.deepEqual(await complete(events, 'a', 'here'), [false, frames('here', 3, 4)])
    events.hold('a', 'here')
    fill(events, 'a', 'here', { from: 5, to: 5 })
    assert.equal(await events.after('a', 'unread', 0), undefined)
    assert.deepEqual(await events.after('a', 'here', 2), { frames: frames('here', 3, 5), isComplete: true, lost: [], isTold: true })
    assert.deepEqual(fill(events, 'a', 'here', { from: 6, to: 7 }), [true, true], 'and what it held is free')
  }
}, {
  name: 'of a session that is over no event is left, and the others keep theirs',
  async run ({ open, advance }) {
    const { events } = await open()
    for (const session of ['a', 'b']) fill(events, session, 's', { to: 2 })
    await advance(10)
    fill(events, 'a', 'r', { to: 2 })
    events.drop('a')
    events.drop('unknown')
    for (const stream of ['s', 'r']) assert.equal(await events.after('a', stream, 0), undefined, stream)
    assert.deepEqual(await complete(events, 'b', 's'), [true, frames('s', 1, 2)])
  }
}, {
  name: 'whoever takes a stream over learns the number of its last event',
  async run ({ open }) {
    const { events } = await open()
    assert.equal(await events.takeOver('a', 's'), 0)
    fill(events, 'a', 's', { to: 4 })
    assert.equal(await events.takeOver('a', 's'), 4)
    fill(events, 'a', 's', { from: 5, to: 5 })
    assert.deepEqual(await complete(events, 'a', 's'), [true, frames('s', 1, 5)])
  }
}, {
  name: 'a stream that is left to others takes nothing of the budget',
  async run ({ open }) {
    const { events } = await open({ replay: { events: 4, bytes: 10_000, window: 500 } })
    fill(events, 'a', 's', { to: 3 })
    events.hold('a', 's')
    events.leave('a', 's')
    events.leave('a', 'unknown')
    events.leave('b', 'unknown')
    fill(events, 'a', 'r', { to: 4 })
    assert.deepEqual(await complete(events, 'a', 'r'), [true, frames('r', 1, 4)])
  }
}]
