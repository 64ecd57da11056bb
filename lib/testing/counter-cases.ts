import assert from 'node:assert/strict'
import type { Count, OpenStore } from '../store/store.ts'
import type { Case } from './case.ts'

const WINDOW = 1_000

async function hit ({ counters }: OpenStore, name: string): Promise<Count | undefined> {
  return counters?.hit(name, WINDOW)
}

/** `Counters`, where a store has them: how often something happens at all nodes. */
export const counterCases: readonly Case[] = [{
  name: 'each name is counted by itself, and says how long its window lasts',
  async run ({ open, advance }) {
    const store = await open()
    const first = await hit(store, 'a')
    assert.equal(first?.count, 1)
    assert.ok(first.left > 0 && first.left <= WINDOW, String(first.left))
    await advance(100)
    const second = await hit(store, 'a')
    assert.equal(second?.count, 2)
    assert.ok(second.left > 0 && second.left <= WINDOW - 50, `the window goes on from the first: ${second.left}`)
    for (const name of ['A', '__proto__', 'constructor', 'a\nb', 'x'.repeat(10_000)]) assert.equal((await hit(store, name))?.count, 1, name.slice(0, 20))
  }
}, {
  name: 'with its window a count is over',
  async run ({ open, advance }) {
    const store = await open()
    for (const count of [1, 2, 3]) assert.equal((await hit(store, 'a'))?.count, count)
    await advance(WINDOW + 100)
    assert.equal((await hit(store, 'a'))?.count, 1)
  }
}, {
  name: 'of many at once none is missed, and nodes count together',
  async run ({ open }) {
    const [one, two] = [await open(), await open()]
    const hits = await Promise.all(Array.from({ length: 20 }, (_, index) => hit(index % 2 === 0 ? one : two, 'a')))
    const counts = hits.map(hit => Number(hit?.count)).toSorted((a, b) => a - b)
    assert.deepEqual(counts, Array.from({ length: 20 }, (_, index) => index + 1))
  }
}, {
  name: 'servers that open one store do not count together',
  async run ({ open }) {
    const [one, two] = [await open(), await open({ server: 'another' })]
    for (const store of [one, two]) assert.equal((await hit(store, 'a'))?.count, 1)
  }
}]
