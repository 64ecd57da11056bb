import assert from 'node:assert/strict'
import type { TicketRecord } from '../store/store.ts'
import type { Case } from './case.ts'

const MANY = { ttl: 1_000, max: 100 }

function unused (hash: string, owner: string | null = null): TicketRecord {
  return { hash, owner, principal: owner === null ? null : { id: owner, issuer: 'https://login.example', scopes: ['a'] } }
}

/** `Tickets`: each for one use. */
export const ticketCases: readonly Case[] = [{
  name: 'a ticket is given once, with everything that was kept',
  async run ({ open }) {
    const { tickets } = await open()
    const [mine, nobodys] = [unused('a', 'https://login.example\nme'), unused('b')]
    assert.equal(await tickets.issue(mine, 100), 'created')
    assert.equal(await tickets.issue(nobodys, 100), 'created')
    for (const hash of ['', 'A', 'c', '__proto__', 'constructor']) assert.equal(await tickets.take(hash), undefined, JSON.stringify(hash))
    assert.deepEqual(await tickets.take('a'), mine)
    assert.equal(await tickets.take('a'), undefined)
    assert.deepEqual(await tickets.take('b'), nobodys, 'the others are still there')
    assert.equal(await tickets.issue(unused('__proto__', '__proto__'), 1), 'created')
    assert.deepEqual(await tickets.take('__proto__'), unused('__proto__', '__proto__'), 'a hash may be any text')
  }
}, {
  name: 'of many who bring one ticket at once the first alone gets it',
  async run ({ open }) {
    const { tickets } = await open()
    await tickets.issue(unused('a'), 100)
    const given = await Promise.all(Array.from({ length: 10 }, () => tickets.take('a')))
    assert.equal(given.filter(record => record !== undefined).length, 1)
  }
}, {
  name: 'a ticket is good for its time, and not longer',
  async run ({ open, advance }) {
    const { tickets } = await open()
    await tickets.issue(unused('early'), 100)
    await tickets.issue(unused('late'), 100)
    await advance(700)
    assert.ok(await tickets.take('early'))
    await advance(400)
    assert.equal(await tickets.take('late'), undefined)
  }
}, {
  name: 'no owner has more unused tickets than may be, and a used or expired one makes room',
  async run ({ open, advance }) {
    const { tickets } = await open({ tickets: MANY })
    assert.equal(await tickets.issue(unused('a', 'me'), 2), 'created')
    await advance(600)
    assert.equal(await tickets.issue(unused('b', 'me'), 2), 'created')
    assert.equal(await tickets.issue(unused('c', 'me'), 2), 'quota')
    assert.equal(await tickets.take('c'), undefined, 'what was refused is not there')
    assert.equal(await tickets.issue(unused('d', 'you'), 2), 'created', 'another is not kept out')
    await tickets.take('b')
    assert.equal(await tickets.issue(unused('e', 'me'), 2), 'created', 'use makes room')
    assert.equal(await tickets.issue(unused('f', 'me'), 2), 'quota')
    await advance(500)
    assert.equal(await tickets.issue(unused('f', 'me'), 2), 'created', 'and so does time')
    assert.equal(await tickets.issue(unused('g', 'me'), 2), 'quota')
  }
}, {
  name: 'tickets of nobody are not counted, and no owner is mistaken for nobody',
  async run ({ open }) {
    const { tickets } = await open({ tickets: MANY })
    for (const hash of ['a', 'b']) assert.equal(await tickets.issue(unused(hash), 1), 'created')
    assert.equal(await tickets.issue(unused('c', 'null'), 1), 'created')
    assert.equal(await tickets.issue(unused('d', 'null'), 1), 'quota')
  }
}, {
  name: 'no more unused tickets are kept than may be, and a used or expired one makes room',
  async run ({ open, advance }) {
    const { tickets } = await open()
    for (const hash of ['a', 'b', 'c']) assert.equal(await tickets.issue(unused(hash, hash), 100), 'created')
    assert.equal(await tickets.issue(unused('d'), 100), 'full')
    assert.equal(await tickets.issue(unused('d', 'a'), 1), 'quota', 'whose fault it is comes first')
    assert.equal(await tickets.take('d'), undefined)
    await tickets.take('b')
    assert.equal(await tickets.issue(unused('d'), 100), 'created')
    assert.equal(await tickets.issue(unused('e'), 100), 'full')
    await advance(1_100)
    for (const hash of ['e', 'f', 'g']) assert.equal(await tickets.issue(unused(hash), 100), 'created')
    assert.equal(await tickets.issue(unused('h'), 100), 'full')
  }
}, {
  name: 'servers that open one store do not share tickets',
  async run ({ open }) {
    const [one, two] = [await open(), await open({ server: 'another' })]
    await one.tickets.issue(unused('a'), 100)
    assert.equal(await two.tickets.take('a'), undefined)
    assert.ok(await one.tickets.take('a'))
  }
}]
