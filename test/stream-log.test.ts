// What is kept of streams in memory: event by event, in blocks, and whole ones as texts.
import t from 'tap'
import { MemoryEvents } from '../lib/store/memory-events.ts'
import { StreamLog } from '../lib/store/stream-log.ts'

const TEXTS: Record<string, (seq: number) => string> = {
  'plain text': seq => `data: ${'x'.repeat(seq % 7)} ${seq}\n\n`,
  'text of every script': seq => `data: ${'ä€😀'.repeat(seq % 5)} ${seq}\n\n`,
  'one script, then another': seq => `data: ${(seq % 40 < 20 ? 'x' : 'ä').repeat(seq % 5)} ${seq}\n\n`,
  'longer and longer': seq => `data: ${'x'.repeat(seq * 3)} ${seq}\n\n`,
  'now and then a long one': seq => `data: ${'x'.repeat(seq % 50 === 0 ? 90_000 : 3)}\n\n`
}

const answersAt = (seq: number): string | undefined => seq % 10 === 0 ? `r${seq}` : undefined

function numbers (from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index)
}

for (const [name, text] of Object.entries(TEXTS)) {
  t.test(`a log gives back what it was given: ${name}`, async t => {
    const COUNT = 300
    const log = new StreamLog()
    const event = (seq: number) => ({ stream: 's', seq, frame: text(seq), answers: answersAt(seq) })
    for (const seq of numbers(1, COUNT)) log.push(event(seq))
    t.strictSame(log.events('s'), numbers(1, COUNT).map(event))
    t.strictSame([log.length, log.last, log.lostAfter(0)], [COUNT, COUNT, []])
    for (const gone of numbers(1, COUNT)) {
      if (log.shift() !== text(gone).length) t.fail(`another came in the place of ${gone}`)
      if (gone % 37 !== 0) continue
      t.strictSame(log.events('s'), numbers(gone + 1, COUNT).map(event))
      t.strictSame(log.framesAfter(gone + 5), numbers(gone + 6, COUNT).map(text))
      t.strictSame(log.framesAfter(gone - 5), numbers(gone + 1, COUNT).map(text))
      t.strictSame(log.lostAfter(15), numbers(16, gone).map(answersAt).filter(Boolean))
    }
    t.strictSame([log.length, log.size, log.events('s'), log.last, log.trimmed], [0, 0, [], COUNT, COUNT])
  })
}

t.test('a log goes on while its oldest events are given up', async t => {
  const log = new StreamLog()
  for (let seq = 1; seq <= 2_000; seq++) {
    log.push({ stream: 's', seq, frame: `${seq}`.padStart(20 + seq % 9, '.') })
    if (log.length > 100) log.shift()
    if (seq % 97 !== 0) continue
    const kept = log.events('s')
    t.strictSame(kept.map(({ seq }) => seq), numbers(seq - log.length + 1, seq))
    t.ok(kept.every(({ seq, frame }) => frame.endsWith(`${seq}`)))
    t.equal(log.size, kept.reduce((sum, { frame }) => sum + frame.length, 0))
  }
})

const AMPLE = { events: 1_000, bytes: 1_000_000, window: 60_000 }

t.test('what is before a gap cannot be told, and is given up', async t => {
  const given: unknown[] = []
  const events = new MemoryEvents(AMPLE, { trimmed: (...what) => { given.push(what) }, forgotten: () => {} })
  const append = (seq: number) => events.append('a', { stream: 's', seq, frame: `${seq}`, answers: seq })
  for (const seq of [1, 2, 3]) append(seq)
  events.hold('a', 's')
  for (const seq of [7, 8]) append(seq)
  t.strictSame(given, [['a', 's', 6]])
  t.strictSame(events.after('a', 's', 6), { frames: ['7', '8'], isComplete: true, lost: [], isTold: true }, 'who has seen the missing')
  t.strictSame(events.after('a', 's', 5), { frames: ['7', '8'], isComplete: false, lost: [], isTold: false }, 'who has not')
  for (const seq of [10, 11]) t.ok(append(seq))
  t.match(events.after('a', 's', 9), { frames: ['10', '11'], isComplete: true })
  const tight = new MemoryEvents({ ...AMPLE, events: 2 })
  tight.hold('a', 's')
  t.ok(tight.append('a', { stream: 's', seq: 1, frame: '1' }))
  t.ok(tight.append('a', { stream: 's', seq: 3, frame: '3' }), 'what is given up counts no more')
  t.notOk(tight.append('a', { stream: 's', seq: 4, frame: '4' }), 'and it is held as before')
})

t.test('a log that goes on elsewhere begins after what is not there any more', async t => {
  const events = new MemoryEvents(AMPLE)
  events.restore('a', 's', [4, 5].map(seq => ({ stream: 's', seq, frame: `${seq}` })), 3)
  t.equal(events.takeOver('a', 's'), 5)
  t.strictSame(events.after('a', 's', 3), { frames: ['4', '5'], isComplete: true, lost: [], isTold: true })
  t.match(events.after('a', 's', 2), { isComplete: false, isTold: false })
  events.append('a', { stream: 'empty', seq: 8, frame: '8' })
  t.match(events.after('a', 'empty', 6), { frames: ['8'], isComplete: false, isTold: false })
})

/** Streams with this many events each, which finish one after the other. */
function finishedOf (events: MemoryEvents, counts: readonly number[], nameOf: (index: number) => string): void {
  for (const [index, count] of counts.entries()) {
    const stream = nameOf(index)
    for (const seq of numbers(1, count)) events.append('a', { stream, seq, frame: `${stream} ${seq}\n\n`, answers: index })
    events.finish('a', stream)
  }
}

const NAMES: Record<string, (index: number) => string> = {
  'as ours are': index => `1f2e3d4c${index.toString(36)}.i${index}`,
  'one the beginning of another': index => 'x'.repeat(1 + index % 12) + index,
  'of digits and colons': index => `${index % 3}:${index}:`,
  'of every script': index => `ä${index}€`
}

for (const [kind, nameOf] of Object.entries(NAMES)) {
  t.test(`finished streams are found by their names, ${kind}`, async t => {
    const events = new MemoryEvents(AMPLE)
    const counts = numbers(0, 299).map(index => index % 5 === 0 ? 1 + index % 3 : 1)
    finishedOf(events, counts, nameOf)
    for (const [index, count] of counts.entries()) {
      const name = nameOf(index)
      const frames = numbers(1, count).map(seq => `${name} ${seq}\n\n`)
      t.strictSame(events.after('a', name, 0), { frames, isComplete: true, lost: [], isTold: true })
      t.equal(events.takeOver('a', name), count)
      t.strictSame(events.after('a', name, count)?.frames, [])
    }
    t.equal(events.after('a', 'nobody', 0), undefined)
    t.equal(events.after('a', nameOf(1).slice(0, -1), 0), undefined)
  })
}

t.test('finished streams are given up in the order in which they finished, short and long', async t => {
  const gone: string[] = []
  const events = new MemoryEvents({ ...AMPLE, events: 50 }, { trimmed: () => {}, forgotten: (_session, stream) => { gone.push(stream) } })
  const counts = numbers(0, 299).map(index => 1 + index % 4)
  let time = 0
  const now = t.capture(Date, 'now', () => ++time)
  finishedOf(events, counts, index => `s${index}`)
  t.strictSame(gone, gone.map((_, index) => `s${index}`))
  const kept = counts.slice(gone.length).reduce((sum, count) => sum + count, 0)
  t.ok(kept <= 50 && kept > 46, `${kept} of 50`)
  t.match(events.after('a', 's299', 0), { frames: { length: 4 } })
  now.restore()
  events.drop('a')
  t.strictSame(gone.toSorted(), counts.map((_, index) => `s${index}`).toSorted(), 'a watcher hears of each')
})

t.test('a sweep forgets what has expired, read or not, and a session with nothing left', async t => {
  const gone: string[] = []
  const events = new MemoryEvents({ ...AMPLE, window: 100 }, { trimmed: () => {}, forgotten: (_session, stream) => { gone.push(stream) } })
  let time = 0
  t.intercept(Date, 'now', { value: () => time })
  for (const stream of ['read', 'unread', 'later']) {
    if (stream !== 'read') events.hold('a', stream)
    events.append('a', { stream, seq: 1, frame: stream })
    events.finish('a', stream)
    time += 10
  }
  events.append('b', { stream: 'running', seq: 1, frame: 'x' })
  events.sweep(99)
  t.strictSame(gone, [])
  events.sweep(115)
  t.strictSame(gone, ['read', 'unread'])
  t.match(events.after('a', 'later', 0), { frames: ['later'] })
  events.sweep(1_000)
  t.strictSame(gone, ['read', 'unread', 'later'])
  t.match(events.after('b', 'running', 0), { frames: ['x'] }, 'what is running is not')
})
