import assert from 'node:assert/strict'
import type { Awaitable, Created, SessionRecord } from '../store/store.ts'
import type { Case } from './case.ts'

function record (id: string, extra: Partial<SessionRecord> = {}): SessionRecord {
  return {
    id,
    principal: null,
    transport: 'streamable-http',
    revision: '2025-11-25',
    initialized: true,
    capabilities: {},
    logLevel: null,
    subscriptions: [],
    ticket: null,
    home: null,
    ...extra
  }
}

/** `Sessions`: what is kept of each, and for how long. */
export const sessionCases: readonly Case[] = [{
  name: 'a session is found by its id, with everything that was kept',
  async run ({ open }) {
    const { sessions } = await open()
    const kept = record('a', { principal: 'issuer\nme', transport: 'http+sse', initialized: false, capabilities: { roots: {} }, logLevel: 'alert', home: '0a1b2c3d' })
    assert.equal(await sessions.get('a'), undefined)
    assert.equal(await sessions.create(kept, 100), 'created')
    assert.deepEqual(await sessions.get('a'), kept)
    assert.equal(sessions.size, 1)
    for (const id of ['', 'A', 'b', '__proto__', 'constructor']) assert.equal(await sessions.get(id), undefined, JSON.stringify(id))
  }
}, {
  name: 'a session is found with its ticket, also one that it got later',
  async run ({ open }) {
    const { sessions } = await open()
    const first = record('a', { principal: 'me', ticket: { hash: 'first', principal: { id: 'me', scopes: ['a'] } } })
    await sessions.create(first, 100)
    assert.deepEqual(await sessions.get('a'), first)
    await sessions.update(first, record => { record.ticket = { hash: 'second', principal: { id: 'me' } } })
    assert.deepEqual((await sessions.get('a'))?.ticket, { hash: 'second', principal: { id: 'me' } })
  }
}, {
  name: 'a changed session stays changed',
  async run ({ open }) {
    const { sessions } = await open()
    const created = record('a')
    await sessions.create(created, 100)
    await sessions.update(created, record => { Object.assign(record, { revision: '2025-03-26', logLevel: 'debug' }) })
    assert.deepEqual(created, record('a', { revision: '2025-03-26', logLevel: 'debug' }), 'who changes it has the change')
    assert.deepEqual(await sessions.get('a'), created)
  }
}, {
  name: 'of changes that meet none is lost',
  async run ({ open }) {
    const { sessions } = await open()
    await sessions.create(record('a'), 100)
    const names = Array.from({ length: 10 }, (_, index) => `a:${index}`)
    await Promise.all(names.map(async name => {
      const read = await sessions.get('a')
      assert.ok(read !== undefined)
      await sessions.update(read, record => { record.subscriptions = [...record.subscriptions, name] })
    }))
    assert.deepEqual((await sessions.get('a'))?.subscriptions.toSorted(), names)
  }
}, {
  name: 'a change goes by the record as it is now, and brings up to date what was read before',
  async run ({ open }) {
    const { sessions } = await open()
    await sessions.create(record('a'), 100)
    const [one = record('lost'), two = record('lost')] = [await sessions.get('a'), await sessions.get('a')]
    await sessions.update(one, record => { record.logLevel = 'debug' })
    await sessions.update(two, record => { record.home = '0a1b2c3d' })
    assert.deepEqual(two, record('a', { logLevel: 'debug', home: '0a1b2c3d' }))
    assert.deepEqual(await sessions.get('a'), two)
  }
}, {
  name: 'a change that throws changes nothing, and is told',
  async run ({ open }) {
    const { sessions } = await open()
    const created = record('a')
    await sessions.create(created, 100)
    const refused = new RangeError('enough')
    await assert.rejects(async () => sessions.update(created, record => {
      record.logLevel = 'debug'
      throw refused
    }), refused)
    assert.deepEqual(created, record('a'))
    assert.deepEqual(await sessions.get('a'), record('a'))
  }
}, {
  name: 'a session that is not touched for its idle time is gone, and one that is touched stays',
  async run ({ open, advance, lag }) {
    const { sessions } = await open()
    await sessions.create(record('idle'), 100)
    await sessions.create(record('busy'), 100)
    await advance(700)
    await sessions.touch(record('busy'))
    assert.ok(await sessions.get('idle'), 'not yet')
    await advance(700)
    assert.equal(await sessions.get('idle'), undefined)
    assert.ok(await sessions.get('busy'))
    await sessions.touch(record('idle'))
    assert.equal(await sessions.get('idle'), undefined, 'a touch revives nothing')
    await sessions.update(record('idle'), record => { record.logLevel = 'debug' })
    assert.equal(await sessions.get('idle'), undefined, 'nor does a change')
    await advance(1_100 + lag)
    assert.equal(sessions.size, 0, 'nobody has to ask for what is over')
  }
}, {
  name: 'no more sessions are created than may be, and an ended or expired one makes room',
  async run ({ open, advance }) {
    const { sessions } = await open()
    for (const id of ['a', 'b', 'c']) assert.equal(await sessions.create(record(id), 100), 'created')
    assert.equal(await sessions.create(record('d'), 100), 'full')
    assert.equal(await sessions.get('d'), undefined)
    assert.equal(sessions.size, 3)
    await sessions.delete('b')
    assert.equal(await sessions.create(record('d'), 100), 'created')
    assert.equal(await sessions.create(record('e'), 100), 'full')
    await advance(1_100)
    assert.equal(await sessions.create(record('e'), 100), 'created')
    assert.equal(sessions.size, 1)
  }
}, {
  name: 'no principal has more sessions than it may, and an ended or expired one makes room',
  async run ({ open, advance }) {
    const { sessions } = await open({ max: 10 })
    const create = (id: string, principal: string | null = 'one'): Awaitable<Created> => sessions.create(record(id, { principal }), 2)
    for (const id of ['a', 'b']) assert.equal(await create(id), 'created')
    assert.equal(await create('c'), 'quota')
    assert.equal(await sessions.get('c'), undefined, 'what was refused is not kept')
    assert.equal(sessions.size, 2)
    assert.equal(await create('d', 'other'), 'created', 'each principal has its own')
    for (const id of ['e', 'f', 'g']) assert.equal(await create(id, null), 'created', 'without a principal only the total holds')

    assert.equal(await sessions.delete('a'), true)
    assert.equal(await create('c'), 'created')
    assert.equal(await create('h'), 'quota')
    await advance(700)
    await sessions.touch(record('c', { principal: 'one' }))
    await advance(700)
    assert.equal(await create('h'), 'created', 'b has expired, and nobody asked for it')
    assert.equal(await create('i'), 'quota', 'c has not')
    assert.equal(await sessions.create(record('i', { principal: 'one' }), 3), 'created', 'the number is that of each call')
  }
}, {
  name: 'where both the store and the principal are full, the principal is told of itself',
  async run ({ open, advance }) {
    const { sessions } = await open()
    for (const id of ['a', 'b', 'c']) await sessions.create(record(id, { principal: 'one' }), 3)
    assert.equal(await sessions.create(record('d', { principal: 'one' }), 3), 'quota')
    assert.equal(await sessions.create(record('d', { principal: 'other' }), 3), 'full')
    assert.equal(await sessions.create(record('d', { principal: 'one' }), 4), 'full')
    await advance(1_100)
    assert.equal(await sessions.create(record('d', { principal: 'one' }), 1), 'created', 'what was refused does not count')
  }
}, {
  name: 'a deleted session is gone once, with its events',
  async run ({ open }) {
    const { sessions, events } = await open()
    for (const id of ['a', 'b']) {
      await sessions.create(record(id), 100)
      events.append(id, { stream: 's', seq: 1, frame: 's1' })
    }
    assert.equal(await sessions.delete('a'), true)
    assert.equal(await sessions.delete('a'), false)
    assert.equal(await sessions.get('a'), undefined)
    assert.equal(await events.after('a', 's', 0), undefined)
    assert.deepEqual((await events.after('b', 's', 0))?.frames, ['s1'])
  }
}, {
  name: 'a session that was lost is restored, over every cap, and one that is there is not',
  async run ({ open }) {
    const { sessions } = await open()
    await sessions.create(record('there', { principal: 'me' }), 1)
    await sessions.restore(record('there', { principal: 'me', logLevel: 'debug' }))
    assert.equal((await sessions.get('there'))?.logLevel, null)
    await sessions.restore(record('lost', { principal: 'me', logLevel: 'alert' }))
    assert.equal((await sessions.get('lost'))?.logLevel, 'alert')
    assert.equal(await sessions.create(record('more', { principal: 'me' }), 2), 'quota', 'it counts')
  }
}, {
  name: 'servers that open one store do not share sessions',
  async run ({ open }) {
    const [one, two] = [await open(), await open({ server: 'another' })]
    await one.sessions.create(record('a'), 100)
    one.events.append('a', { stream: 's', seq: 1, frame: 's1' })
    assert.equal(await two.sessions.get('a'), undefined)
    assert.equal(await two.events.after('a', 's', 0), undefined)
    assert.equal(two.sessions.size, 0)
  }
}]
