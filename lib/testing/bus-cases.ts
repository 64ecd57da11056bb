import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Bus, OpenStore } from '../store/store.ts'
import type { Case } from './case.ts'
import { fill, frames } from './event-cases.ts'

// A letter that has not come in this time does not come.
const PATIENCE_MS = 5_000
const LOOK_MS = 5

class Ear {
  readonly bus: Bus
  readonly heard: unknown[] = []
  readonly undo: () => void

  constructor ({ bus }: OpenStore) {
    assert.ok(bus !== null)
    this.bus = bus
    this.undo = bus.listen({ onMessage: message => { this.heard.push(message) }, onGap: this.heard.push.bind(this.heard, 'a gap') })
  }

  /** Waits for as many letters as are given, and no longer than it takes them. */
  async hears (expected: readonly object[]): Promise<void> {
    const begin = Date.now()
    while (this.heard.length < expected.length && Date.now() - begin < PATIENCE_MS) await sleep(LOOK_MS)
    assert.deepEqual(this.heard, expected)
  }
}

const letters = (from: string): object[] => Array.from({ length: 20 }, (_, number) => ({ from, number, text: 'ü\n\0"' }))

/** `Bus`, where a store has one: how nodes reach each other. Two that open a store with one name are nodes of one server. */
export const busCases: readonly Case[] = [{
  name: 'each node has a name of its own',
  async run ({ open }) {
    const names = [await open(), await open()].map(({ bus }) => String(bus?.node))
    for (const name of names) assert.match(name, /^[\da-f]{8}$/)
    assert.notEqual(names[0], names[1])
  }
}, {
  name: 'what one node sends another comes to that one alone, in order',
  async run ({ open }) {
    const [one, two, three] = [new Ear(await open()), new Ear(await open()), new Ear(await open())]
    const sent = letters('one')
    await Promise.all(sent.map(letter => one.bus.send(two.bus.node, letter)))
    await two.hears(sent)
    const last = { last: true }
    for (const ear of [one, three]) {
      await two.bus.send(ear.bus.node, last)
      await ear.hears([last])
    }
  }
}, {
  name: 'what is said to all comes to all, to this node too, in order',
  async run ({ open }) {
    const ears = [new Ear(await open()), new Ear(await open())]
    const said = letters('one')
    await Promise.all(said.map(letter => ears[0]?.bus.broadcast(letter)))
    for (const ear of ears) await ear.hears(said)
  }
}, {
  name: 'whoever listens no more hears no more, and the others do',
  async run ({ open }) {
    const store = await open()
    const [gone, here] = [new Ear(store), new Ear(store)]
    gone.undo()
    gone.undo()
    await here.bus.broadcast({ number: 1 })
    await here.hears([{ number: 1 }])
    await gone.hears([])
  }
}, {
  name: 'a node is there until it leaves, and one that never was is not',
  async run ({ open, close, advance, lag }) {
    const [one, two] = [await open(), await open()]
    const { bus } = new Ear(one)
    const { node } = new Ear(two).bus
    assert.equal(await bus.isAlive(bus.node), true)
    assert.equal(await bus.isAlive(node), true)
    assert.equal(await bus.isAlive('00000000'), false)
    await close(two)
    await advance(lag)
    assert.equal(await bus.isAlive(node), false)
  }
}, {
  name: 'servers that open one store do not hear each other',
  async run ({ open }) {
    const [one, two] = [new Ear(await open()), new Ear(await open({ server: 'another' }))]
    await two.bus.broadcast({ from: 'two' })
    await two.bus.send(one.bus.node, { from: 'two' })
    await two.hears([{ from: 'two' }])
    await one.bus.broadcast({ from: 'one' })
    await one.hears([{ from: 'one' }])
    assert.equal(await one.bus.isAlive(two.bus.node), false)
  }
}, {
  name: 'a stream whose node is gone is known at another, which may go on with it',
  async run ({ open, close }) {
    const [gone, { events }] = [await open(), await open()]
    fill(gone.events, 'a', 's', { to: 3, answers: 'first' })
    fill(gone.events, 'a', 'over', { to: 2 })
    gone.events.finish('a', 'over')
    await close(gone)
    assert.deepEqual(await events.after('a', 'over', 1), { frames: ['over2'], isComplete: true, lost: [], isTold: true })
    assert.deepEqual(await events.after('a', 's', 1), {
      frames: frames('s', 2, 3), isComplete: true, lost: [], isTold: true, broken: { last: 3, answered: ['first'] }
    })
    assert.equal(await events.takeOver('a', 's'), 3)
    fill(events, 'a', 's', { from: 4, to: 4 })
    assert.deepEqual(await events.after('a', 's', 0), { frames: frames('s', 1, 4), isComplete: true, lost: [], isTold: true })
  }
}, {
  name: 'a stream that a node leaves goes on at another, whatever becomes of the first',
  async run ({ open, close, advance }) {
    const [first, { events }] = [await open(), await open()]
    fill(first.events, 'a', 's', { to: 2 })
    first.events.leave('a', 's')
    // What is sent is read in its order.
    await first.sessions.get('a')
    assert.equal(await events.takeOver('a', 's'), 2)
    fill(events, 'a', 's', { from: 3, to: 4 })
    await close(first)
    await advance(600)
    assert.deepEqual(await events.after('a', 's', 0), { frames: frames('s', 1, 4), isComplete: true, lost: [], isTold: true })
  }
}]
