import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { mock } from 'node:test'
import { promisify } from 'node:util'
import { memoryStore, type Store } from 'fastify-mcp-sse'
import { storeContract } from 'fastify-mcp-sse/testing'
import t from 'tap'
import { whenReady } from '../lib/store/store.ts'
import { root } from './child.ts'
import { snippetsOf } from './snippets.ts'
import { storeWith } from './stores.ts'

const LIMITS = { server: 'a', idle: 1_000, max: 3, replay: { events: 2, bytes: 10_000, window: 500 }, tickets: { ttl: 300, max: 2 } }

t.before(() => mock.timers.enable({ apis: ['setInterval', 'Date'] }))
t.after(() => mock.timers.reset())

t.test('the memory store keeps the contract of a store', async t => {
  for (const { name, run } of storeContract({ create: memoryStore, advance: async ms => mock.timers.tick(ms), lag: 10_000 })) {
    await t.test(name, async t => { await t.resolves(run()) })
  }
})

t.test('the contract runs under node:test, as docs/scaling.md shows it', async t => {
  const page = 'docs/scaling.md'
  const code = snippetsOf(page, readFileSync(join(root, page), 'utf8')).find(({ code }) => code.includes('storeContract'))?.code
  const file = join(t.testdir({ 'contract.test.mjs': String(code) }), 'contract.test.mjs')
  const args = ['--conditions=fastify-mcp-sse/source', '--import', 'tsx', '--test', '--test-reporter=tap', file]
  // `env -i`, as in test/child.ts: what tsx makes of the sources is not what tap counts.
  const { stdout } = await promisify(execFile)('env', ['-i', `PATH=${process.env.PATH}`, process.execPath, ...args], { cwd: root })
  t.match(stdout, /^# pass \d{2}$/m)
  t.match(stdout, /^# fail 0$/m)
})

t.test('of trimmed answers the memory store remembers the last thousand, and that there were more', async t => {
  const { events, close } = memoryStore().open(LIMITS)
  const { events: kept } = LIMITS.replay
  for (let seq = 1; seq <= 1_000 + kept; seq++) events.append('a', { stream: 's', seq, frame: 'x', answers: seq })
  t.match(await events.after('a', 's', 0), { isComplete: false, lost: { length: 1_000 }, isTold: true })
  events.append('a', { stream: 's', seq: 1_001 + kept, frame: 'x', answers: 'last' })
  t.match(await events.after('a', 's', 0), { isComplete: false, lost: { length: 1_000 }, isTold: false })
  t.match(await events.after('a', 's', 1), { isComplete: false, lost: { length: 1_000 }, isTold: true }, 'that client has seen the first')
  await close()
})

t.test('of two calls that ended over the budget the later one is kept', async t => {
  const { events, close } = memoryStore().open(LIMITS)
  for (const stream of ['first', 'second']) {
    events.hold('a', stream)
    events.append('a', { stream, seq: 1, frame: 'x'.repeat(LIMITS.replay.bytes + 1) })
  }
  for (const stream of ['first', 'second']) events.finish('a', stream)
  t.equal(await events.after('a', 'first', 0), undefined)
  t.match(await events.after('a', 'second', 0), { frames: { length: 1 } })
  await close()
})

t.test('a sweep takes what has expired and leaves what has not', async t => {
  const { events, close } = memoryStore().open({ ...LIMITS, replay: { ...LIMITS.replay, window: 15_000 } })
  for (const stream of ['first', 'second']) {
    events.append('a', { stream, seq: 1, frame: 'x' })
    events.finish('a', stream)
    mock.timers.tick(10_000)
  }
  t.equal(await events.after('a', 'first', 0), undefined)
  t.match(await events.after('a', 'second', 0), { frames: { length: 1 } })
  await close()
})

t.test('one result that nobody fetched may be larger than the budget, several may not', async t => {
  const { events, close } = memoryStore().open(LIMITS)
  for (const stream of ['first', 'second']) {
    events.hold('a', stream)
    events.append('a', { stream, seq: 1, frame: 'x'.repeat(LIMITS.replay.bytes + 1) })
    events.finish('a', stream)
    t.match(await events.after('a', stream, 0), { frames: { length: 1 } })
  }
  t.equal(await events.after('a', 'first', 0), undefined)
  events.release('a', 'second')
  events.append('a', { stream: 'third', seq: 1, frame: 'x' })
  t.equal(await events.after('a', 'second', 0), undefined, 'what was fetched goes first')
  await close()
})

t.test('a session of the memory store expires with its events, and a closed store has no timer', async t => {
  const { sessions, events, close } = memoryStore().open(LIMITS)
  const record = { id: 'a', principal: null, transport: 'streamable-http', revision: '2025-11-25', initialized: true, capabilities: {}, logLevel: null, subscriptions: [], ticket: null, home: null } as const
  await sessions.create(record, 100)
  events.append('a', { stream: 's', seq: 1, frame: 'x' })
  mock.timers.tick(10_000)
  t.equal(sessions.size, 0)
  t.equal(await events.after('a', 's', 0), undefined)

  await sessions.create(record, 100)
  await close()
  mock.timers.tick(100_000)
  t.equal(sessions.size, 1, 'nothing sweeps any more')
  t.equal(await sessions.get('a'), undefined, 'but what is over is over')
})

t.test('a ticket of the memory store expires to the millisecond', async t => {
  const { tickets, close } = memoryStore().open(LIMITS)
  t.equal(await tickets.issue({ hash: 'a', owner: 'me', principal: { id: 'me' } }, 1), 'created')
  mock.timers.tick(LIMITS.tickets.ttl - 1)
  t.equal(await tickets.issue({ hash: 'b', owner: 'me', principal: { id: 'me' } }, 1), 'quota', 'to the last millisecond')
  mock.timers.tick(1)
  t.equal(await tickets.take('a'), undefined, 'and not one longer')
  t.equal(await tickets.issue({ hash: 'b', owner: 'me', principal: { id: 'me' } }, 1), 'created')
  await close()
})

t.test('`whenReady` goes on in the same tick when the value is there', async t => {
  const seen: unknown[] = []
  whenReady(1, value => seen.push(value))
  const later = whenReady(Promise.resolve(2), value => seen.push(value))
  t.strictSame(seen, [1])
  t.equal(await later, 2)
  t.strictSame(seen, [1, 2])
})

t.test('a store that breaks the contract is told so, and what it opened is closed', async t => {
  let open = 0
  const create = (): Store => storeWith(({ sessions, close }) => {
    open++
    return {
      sessions: Object.assign(sessions, { update: () => {} }),
      close () {
        open--
        return close()
      }
    }
  })
  const cases = new Map(storeContract({ create, advance: async () => {}, lag: 0, counters: true }).map(({ name, run }) => [name, run]))
  const perform = async (name: string): Promise<void> => cases.get(name)?.()
  await t.rejects(perform('a changed session stays changed'), { code: 'ERR_ASSERTION' })
  await t.rejects(perform('the store has the parts that it should'), { code: 'ERR_ASSERTION' })
  await t.resolves(perform('each session has a budget of its own'))
  t.equal(open, 0)
})
