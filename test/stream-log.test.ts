// What is kept of a stream in memory, event by event and in blocks.
import t from 'tap'
import { StreamLog } from '../lib/store/stream-log.ts'

const TEXTS: Record<string, (seq: number) => string> = {
  'plain text': seq => `data: ${'x'.repeat(seq % 7)} ${seq}\n\n`,
  'text of every script': seq => `data: ${'ä€😀'.repeat(seq % 5)} ${seq}\n\n`,
  'now and then a long one': seq => `data: ${'x'.repeat(seq % 50 === 0 ? 90_000 : 3)}\n\n`
}

function filled (count: number, text: (seq: number) => string): StreamLog {
  const log = new StreamLog()
  for (let seq = 1; seq <= count; seq++) log.push({ stream: 's', seq, frame: text(seq), ...(seq % 10 === 0 && { answers: `r${seq}` }) })
  return log
}

for (const [name, text] of Object.entries(TEXTS)) {
  t.test(`a log gives back what it was given: ${name}`, async t => {
    const COUNT = 300
    const log = filled(COUNT, text)
    const expected = Array.from({ length: COUNT }, (_, index) => ({ seq: index + 1, frame: text(index + 1), answers: (index + 1) % 10 === 0 ? `r${index + 1}` : undefined }))
    t.match([...log], expected)
    t.equal(log.last, COUNT)
    for (let gone = 1; gone <= COUNT; gone++) {
      const { seq, size, answers } = log.shift()
      const { frame, answers: given } = expected[gone - 1] ?? { frame: '', answers: undefined }
      if (seq !== gone || size !== frame.length || answers !== given) t.fail(`${seq} came in the place of ${gone}`)
      log.trimmed = seq
      if (gone % 37 === 0) t.strictSame([...log].map(({ seq, frame }) => [seq, frame]), expected.slice(gone).map(({ seq, frame }) => [seq, frame]))
    }
    t.strictSame([log.length, log.size, [...log], log.last], [0, 0, [], COUNT])
  })
}

t.test('a log with a gap keeps each event under its own number', async t => {
  const log = new StreamLog()
  const numbers = [...Array.from({ length: 10 }, (_, index) => index + 1), ...Array.from({ length: 200 }, (_, index) => index + 1_001)]
  for (const seq of numbers) log.push({ stream: 's', seq, frame: `${seq}` })
  t.strictSame([...log].map(({ seq, frame }) => [seq, frame]), numbers.map(seq => [seq, `${seq}`]))
  t.strictSame(numbers.map(() => log.shift().seq), numbers)
})

t.test('a log goes on while its oldest events are given up', async t => {
  const log = new StreamLog()
  for (let seq = 1; seq <= 2_000; seq++) {
    log.push({ stream: 's', seq, frame: `${seq}`.padStart(20 + seq % 9, '.') })
    if (log.length > 100) log.shift()
    if (seq % 97 !== 0) continue
    const kept = [...log]
    t.strictSame(kept.map(({ seq }) => seq), Array.from({ length: log.length }, (_, index) => seq - log.length + 1 + index))
    t.ok(kept.every(({ seq, frame }) => frame.endsWith(`${seq}`)))
    t.equal(log.size, kept.reduce((sum, { frame }) => sum + frame.length, 0))
  }
})
