import t from 'tap'
import { growsAtRest, growsUnderLoad } from './soak/judgement.ts'
import { trendOf } from './soak/trend.ts'
import { seeded } from './sockets.ts'

/** A heap that is sampled sixty times in 100,000 requests, with half a megabyte of noise either way. */
function sampled (bytesPerRequest: number) {
  const random = seeded(5)
  return Array.from({ length: 60 }, (_, index) => {
    const work = index * 1_700
    return { work, heap: 60_000_000 + bytesPerRequest * work + (random() - 0.5) * 1_000_000 }
  })
}

t.test('a straight line is found exactly', async t => {
  const samples = Array.from({ length: 10 }, (_, work) => ({ work, heap: 5 + 3 * work }))
  t.strictSame(trendOf(samples), { slope: 3, margin: 0 })
})

t.test('a few samples prove nothing', async t => {
  t.equal(trendOf([{ work: 0, heap: 0 }, { work: 1, heap: 1_000 }, { work: 2, heap: 2_000 }]).margin, Infinity)
})

t.test('noise is no growth under load, and fifty bytes for each request are', async t => {
  const growth = (bytes: number) => ({ trend: trendOf(sampled(bytes)), grown: 0, requests: 0 })
  t.equal(growsUnderLoad(growth(0)), false)
  t.equal(growsUnderLoad(growth(50)), true)
})

t.test('at rest it is the bytes for each request that count, beyond what settles', async t => {
  const trend = trendOf(sampled(0))
  t.equal(growsAtRest({ trend, grown: 400_000, requests: 10_000 }), false)
  t.equal(growsAtRest({ trend, grown: 1_000_000, requests: 10_000 }), true)
  t.equal(growsAtRest({ trend, grown: 1_000_000, requests: 100_000 }), false)
})
