// A node and its Redis: what is refused when, and what comes back by itself.
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { OpenStore, SessionRecord, StoreLimits } from 'fastify-mcp-sse'
import { type Ioredis, redisStore, type RedisStoreOptions } from 'fastify-mcp-sse/redis'
import { Client, createApp, EventStream, listen, until, within } from './client.ts'
import { connectors, startRedis } from './redis-server.ts'

const LIMITS: StoreLimits = { server: 'a', idle: 10_000, max: 100, replay: { events: 6, bytes: 100_000, window: 5_000 }, tickets: { ttl: 1_000, max: 3 } }
const record = (id: string): SessionRecord => ({
  id, principal: null, transport: 'http+sse', revision: '2025-11-25', initialized: true, capabilities: {}, logLevel: null, subscriptions: [], ticket: null, home: null
})
const away = { code: 'FST_MCP_STORE_UNAVAILABLE' }

/** A client of Redis that does what a test says. */
class FakeRedis implements Ioredis {
  status = 'ready'
  readonly isCluster: boolean = false
  readonly commands: string[][] = []
  readonly listeners = new Map<string, (...args: string[]) => void>()
  readonly made: FakeRedis[] = []
  disconnects = 0
  answer: (command: string, args: string[]) => unknown = () => null
  subscribed: () => Promise<unknown> = () => Promise.resolve()

  async call (command: string, args: string[]): Promise<unknown> {
    this.commands.push([command, ...args])
    return this.answer(command, args)
  }

  on (event: string, listener: (...args: string[]) => void): void {
    this.listeners.set(event, listener)
  }

  subscribe (): Promise<unknown> {
    return this.subscribed()
  }

  duplicate (): FakeRedis {
    const made = new FakeRedis()
    made.subscribed = this.subscribed
    this.made.push(made)
    return made
  }

  disconnect (): void {
    this.disconnects++
  }
}

/** What a fake says when it hears its own beats. */
const echo = (redis: FakeRedis) => (command: string, args: string[]): unknown => {
  if (command === 'PUBLISH') for (const made of redis.made) made.listeners.get('message')?.(...args)
  return command === 'XRANGE' ? [] : 1
}

/** The first event of a stream is added by a script, with its expiry. */
const isAdd = ([command, text = '']: string[]): boolean => command === 'XADD' || (command === 'EVAL' && text.includes('XADD'))

function openFake (t: Test, redis: FakeRedis, options: RedisStoreOptions = {}, limits: Partial<StoreLimits> = {}): OpenStore {
  const store = redisStore(redis, { lease: 100, timeout: 100, ...options }).open({ ...LIMITS, ...limits })
  // The timers of a store keep no process alive.
  const alive = setInterval(() => {}, 1_000)
  t.teardown(() => {
    clearInterval(alive)
    redis.answer = () => null
    return store.close()
  })
  return store
}

t.test('wrong clients and options are refused', async t => {
  const client = new FakeRedis()
  for (const wrong of [null, undefined, {}, 'redis://localhost']) {
    // @ts-expect-error: not a client
    t.throws(() => redisStore(wrong), { code: 'FST_MCP_OPTION_INVALID', message: /`client`/ })
  }
  const cases: [string, unknown[]][] = [['prefix', ['', 'a{b', 'a}', 7]], ['lease', [0, 99, 1.5, '1000', Infinity]], ['timeout', [0, 99, 1.5, '1000', NaN]]]
  for (const [name, values] of cases) {
    for (const value of values) t.throws(() => redisStore(client, { [name]: value }), { code: 'FST_MCP_OPTION_INVALID', message: new RegExp(`\`${name}\``) }, `${name} ${String(value)}`)
  }
  t.ok(redisStore(client, { prefix: 'p', lease: 100, timeout: 100 }))
})

t.test('nothing is asked of a Redis that is not connected', async t => {
  const redis = new FakeRedis()
  redis.status = 'reconnecting'
  const store = openFake(t, redis)
  await store.opened()
  await t.rejects(async () => store.sessions.get('a'), away)
  t.equal(store.problem(), 'Redis is not connected')
  t.strictSame(redis.commands, [])
})

t.test('a node that takes its time to be ready does not wait once more', async t => {
  const redis = new FakeRedis()
  redis.answer = echo(redis)
  const store = openFake(t, redis, { timeout: 60_000 })
  // Its timer has it there long before an application is ready.
  while (await store.bus?.broadcast({}) !== true) await sleep(10)
  await within(Promise.resolve(store.opened()), 'its start', 5_000)
  t.equal(store.problem(), null)
})

t.test('a Redis that hangs is asked no more until it answers', async t => {
  const redis = new FakeRedis()
  redis.answer = echo(redis)
  const store = openFake(t, redis)
  await store.opened()
  t.equal(store.problem(), null)
  const release: ((value: unknown) => void)[] = []
  redis.answer = () => new Promise(resolve => release.push(resolve))
  const asked = Date.now()
  await t.rejects(async () => store.sessions.get('a'), { ...away, message: /does not answer/ })
  t.ok(Date.now() - asked < 1_000)
  const { length } = redis.commands
  await t.rejects(async () => store.sessions.get('a'), { ...away, message: /does not answer/ }, 'at once')
  t.equal(redis.commands.length, length)
  t.equal(store.problem(), 'Redis does not answer')
  redis.answer = echo(redis)
  for (const resolve of release) resolve(1)
  await until(() => store.problem() === null, 'its return')
  redis.answer = () => null
  t.equal(await store.sessions.get('a'), undefined)
})

t.test('no more than so many commands wait', async t => {
  const redis = new FakeRedis()
  redis.answer = () => new Promise(() => {})
  const store = openFake(t, redis, { timeout: 5_000 })
  const waiting = Array.from({ length: 20_000 }, async () => store.sessions.get('a'))
  for (const asked of waiting) asked.catch(() => {})
  await t.rejects(async () => store.sessions.get('a'), { ...away, message: /too many/ })
  redis.status = 'end'
})

t.test('scripts that Redis does not know are sent whole, and its errors name no session', async t => {
  const redis = new FakeRedis()
  const store = openFake(t, redis)
  redis.answer = command => {
    if (command === 'EVALSHA') throw new Error('NOSCRIPT No matching script for session-1')
    return command === 'EVAL' ? [1, 500] : null
  }
  t.strictSame(await store.counters?.hit('a', 500), { count: 1, left: 500 })
  redis.answer = () => { throw new Error('WRONGTYPE GET mcp:session:{session-1}') }
  await t.rejects(async () => store.sessions.get('session-1'), { ...away, message: /a command failed WRONGTYPE$/ })
  await t.rejects(async () => store.counters?.hit('a', 500), { ...away, message: /a command failed WRONGTYPE$/ })
  // eslint-disable-next-line no-throw-literal -- clients may throw anything
  redis.answer = () => { throw 'session-1' }
  await t.rejects(async () => store.sessions.get('session-1'), { ...away, message: /a command failed$/ })
})

t.test('a subscription that fails is tried again, on one connection at a time', async t => {
  const redis = new FakeRedis()
  redis.subscribed = () => Promise.reject(new Error('NOPERM'))
  redis.answer = echo(redis)
  const store = openFake(t, redis, { timeout: 150 })
  await store.bus?.broadcast({})
  await store.opened()
  t.equal(store.problem(), 'this node does not hear the others')
  t.ok(redis.made.length > 1)
  await until(() => redis.made.every(({ disconnects }) => disconnects > 0), 'the end of all')
  t.notOk(redis.commands.some(([command]) => command === 'SET'), 'whoever does not hear is not there')
  redis.subscribed = () => Promise.resolve()
  await until(() => store.problem() === null, 'a subscription')
  const { length } = redis.made
  await sleep(100)
  t.equal(redis.made.length, length)
})

t.test('a node that does not hear itself is not there, and has missed something', async t => {
  const redis = new FakeRedis()
  redis.answer = echo(redis)
  const store = openFake(t, redis)
  await store.opened()
  let gaps = 0
  const heard: unknown[] = []
  const unlisten = store.bus?.listen({ onMessage: message => heard.push(message), onGap: () => { gaps++ } })
  await store.bus?.send('other', { a: 1 })
  t.strictSame(heard, [{ a: 1 }])
  for (const made of redis.made) made.listeners.get('message')?.('a channel', 'no JSON')
  t.strictSame(heard, [{ a: 1 }, undefined], 'what others say is no reason to end')
  redis.answer = () => 1
  await until(() => store.problem() !== null, 'silence')
  t.equal(store.problem(), 'this node does not hear the others')
  await until(() => redis.commands.some(([command, key]) => command === 'DEL' && key?.includes(':lease:') === true), 'the end of its lease')
  t.equal(gaps, 0)
  redis.answer = echo(redis)
  await until(() => store.problem() === null, 'its return')
  t.equal(gaps, 1)
  redis.made[0]?.listeners.get('error')?.('said elsewhere')
  redis.made[0]?.listeners.get('close')?.()
  await until(() => gaps === 2, 'the second gap')
  unlisten?.()
})

t.test('a connection that leads nowhere is given up for another, whose end it is not', async t => {
  const redis = new FakeRedis()
  redis.answer = echo(redis)
  const store = openFake(t, redis)
  await store.opened()
  redis.answer = () => 1
  await until(() => redis.made.length === 2, 'another connection')
  redis.answer = echo(redis)
  await until(() => store.problem() === null, 'its return')
  t.equal(redis.made[0]?.disconnects, 1)
  redis.made[0]?.listeners.get('end')?.()
  t.equal(store.problem(), null, 'the first one says so late')
  await sleep(100)
  t.equal(redis.made.length, 2)
})

/** The same, and keeps the lease as Redis does. */
const leasing = (redis: FakeRedis, leases: Set<string>) => (command: string, args: string[]): unknown => {
  const [key = ''] = args
  const had = leases.has(key)
  if (key.includes(':lease:') && command === 'SET') leases.add(key)
  if (key.includes(':lease:') && command === 'DEL') leases.delete(key)
  return ['PEXPIRE', 'EXISTS', 'DEL'].includes(command) ? Number(had) : echo(redis)(command, args)
}

t.test('a node whose first beats did not leave is known to be there once it says that it is', async t => {
  const redis = new FakeRedis()
  const leases = new Set<string>()
  const gaps: boolean[] = []
  redis.answer = (command, args) => {
    // What it said of itself comes a moment after what it asked.
    if (command === 'PUBLISH') setImmediate(() => echo(redis)(command, args))
    return command === 'PUBLISH' ? 1 : leasing(redis, leases)(command, args)
  }
  const store = openFake(t, redis, { timeout: 2_000 })
  store.bus?.listen({ onMessage: () => {}, onGap: isEmptied => gaps.push(isEmptied) })
  redis.status = 'connecting'
  const opened = store.opened()
  await sleep(100)
  redis.status = 'ready'
  await opened
  t.equal(leases.size, 1)
  t.equal(store.problem(), null)
  await sleep(150)
  t.strictSame([leases.size, gaps], [1, []], 'it has missed nothing')
})

t.test('a node that was away while its application began looks whether it has missed something', async t => {
  const redis = new FakeRedis()
  const leases = new Set<string>()
  const gaps: boolean[] = []
  redis.answer = leasing(redis, leases)
  redis.status = 'connecting'
  const store = openFake(t, redis, { timeout: 100 })
  store.bus?.listen({ onMessage: () => {}, onGap: isEmptied => gaps.push(isEmptied) })
  await store.opened()
  t.equal(leases.size, 0)
  redis.status = 'ready'
  await until(() => gaps.length === 1, 'a look')
  t.equal(leases.size, 1)
})

t.test('a node that hears again while its lease is given up has one at once', async t => {
  const redis = new FakeRedis()
  const leases = new Set<string>()
  redis.answer = leasing(redis, leases)
  const store = openFake(t, redis)
  await store.opened()
  const late: (() => void)[] = []
  redis.answer = (command, args) => {
    if (command !== 'PUBLISH') return leasing(redis, leases)(command, args)
    late.push(() => echo(redis)(command, args))
    return 1
  }
  await until(() => late.length === 3, 'three beats that it does not hear')
  t.equal(leases.size, 1)
  redis.answer = (command, args) => {
    // All of them come while the lease is taken back.
    if (command === 'DEL') for (const hear of late) hear()
    return leasing(redis, leases)(command, args)
  }
  await until(() => redis.commands.some(([command]) => command === 'DEL'), 'a beat')
  await sleep(0)
  t.equal(leases.size, 1)
})

t.test('nobody is given up while the leases of others may not be back', async t => {
  const redis = new FakeRedis()
  redis.answer = echo(redis)
  const store = openFake(t, redis, { lease: 300 })
  await store.opened()
  redis.status = 'reconnecting'
  await sleep(250)
  redis.status = 'ready'
  redis.answer = (command, args) => command === 'EXISTS' ? Number(args[0]?.endsWith('there')) : echo(redis)(command, args)
  await until(() => store.problem() === null, 'its return')
  await t.rejects(async () => store.bus?.isAlive('gone'), { ...away, message: /just come back/ })
  t.equal(await store.bus?.isAlive('there'), true)
  await sleep(450)
  t.equal(await store.bus?.isAlive('gone'), false)
})

t.test('a cluster makes its subscriber as it was made itself', async t => {
  const redis = new class extends FakeRedis {
    override readonly isCluster = true
    nodes (): FakeRedis[] {
      return [this]
    }
  }()
  redis.answer = echo(redis)
  await openFake(t, redis).opened()
  t.equal(redis.made.length, 1)
})

for (const [name, connect] of Object.entries(connectors)) {
  t.test(`what Redis misses it is told when it is back, with ${name}`, async t => {
    const server = await startRedis(t)
    const admin = new Redis(server.port, '127.0.0.1')
    admin.on('error', () => {})
    t.teardown(() => admin.disconnect())
    const [one, two] = await Promise.all([connect(server.port), connect(server.port)])
    const [writer, reader] = [one, two].map(({ client }) => redisStore(client, { lease: 300, timeout: 300 }).open(LIMITS))
    if (writer === undefined || reader === undefined) return
    t.teardown(async () => {
      await Promise.all([writer.close(), reader.close()])
      one.close()
      two.close()
    })
    await Promise.all([writer.opened(), reader.opened()])
    const fill = (stream: string, from: number, to: number): void => {
      for (let seq = from; seq <= to; seq++) writer.events.append('s', { stream, seq, frame: `${stream}${seq}`, ...(seq % 2 === 0 && { answers: seq }) })
    }
    const seen = async (stream: string, seq: number) => reader.events.after('s', stream, seq)
    fill('a', 1, 3)
    await sleep(50)
    t.strictSame(await seen('a', 1), { frames: ['a2', 'a3'], isComplete: true, lost: [], isTold: true, broken: { last: 3, answered: [2] } })
    await server.stop()
    await until(() => writer.problem() !== null, 'the loss')
    fill('a', 4, 4)
    writer.events.finish('s', 'a')
    fill('b', 1, 1)
    await sleep(20)
    fill('a2', 1, 1)
    writer.events.finish('s', 'a2')
    await sleep(20)
    await server.restart()
    await until(() => writer.problem() === null && reader.problem() === null, 'the return')
    await until(() => admin.status === 'ready', 'the connection')
    let known = await seen('a', 1)
    for (let tries = 0; known === undefined && tries < 200; tries++) {
      await sleep(10)
      known = await seen('a', 1)
    }
    t.match(known, { frames: ['a2', 'a3', 'a4'], isComplete: true })
    t.notOk(known?.broken, 'it is over')
    t.match(await seen('b', 0), { frames: ['b1'] })
    fill('b', 2, 9)
    await sleep(50)
    t.match(await seen('b', 2), { isComplete: false, isTold: false }, 'what is trimmed here is trimmed there')
    t.equal(await reader.events.takeOver('s', 'b'), 9)
    t.match(await reader.events.after('s', 'b', 2), { isComplete: false, isTold: false }, 'and stays so for who takes it over')
    t.match(await reader.events.after('s', 'b', 8), { frames: ['b9'], isComplete: true })
    t.equal(await reader.events.takeOver('s', 'nothing'), 0)
    writer.events.drop('s')
    await sleep(50)
    t.strictSame(await admin.keys('*events*'), [])
  })
}

t.test('of a stream whose every event was too large nothing is said to be complete', async t => {
  const { port } = await startRedis(t)
  const { client, close } = await connectors.ioredis(port)
  const [writer, reader] = [1, 2].map(() => redisStore(client).open({ ...LIMITS, replay: { ...LIMITS.replay, bytes: 10 } }))
  if (writer === undefined || reader === undefined) return
  t.teardown(async () => {
    await Promise.all([writer.close(), reader.close()])
    close()
  })
  writer.events.append('s', { stream: 'big', seq: 1, frame: 'x'.repeat(100), answers: 1 })
  writer.events.finish('s', 'big')
  await sleep(50)
  t.match(await reader.events.after('s', 'big', 0), { frames: [], isComplete: false, isTold: false })
  t.match(await reader.events.after('s', 'big', 1), { frames: [], isComplete: true })
})

t.test('no more than so much is on its way to Redis', async t => {
  const redis = new FakeRedis()
  redis.answer = echo(redis)
  const store = openFake(t, redis, { timeout: 10_000 }, { replay: { ...LIMITS.replay, bytes: 100_000_000 } })
  await store.opened()
  const release: ((value: unknown) => void)[] = []
  redis.answer = (command, args) => isAdd([command, ...args]) ? new Promise(resolve => release.push(resolve)) : echo(redis)(command, args)
  const sent = (): number => redis.commands.filter(isAdd).length
  for (const stream of ['a', 'b', 'c']) {
    store.events.append('s', { stream, seq: 1, frame: 'x'.repeat(9_000_000) })
    await sleep(10)
  }
  t.equal(sent(), 1)
  await sleep(150)
  t.equal(sent(), 1, 'not while it waits for what it has')
  while (release.length < 2) {
    for (const resolve of release.splice(0)) resolve('1-0')
    await sleep(20)
    if (sent() === 3) break
  }
  await until(() => sent() === 3, 'the rest')
  redis.answer = () => { throw new Error('OOM') }
  store.events.append('s', { stream: 'd', seq: 1, frame: 'd' })
  await sleep(10)
  redis.answer = echo(redis)
  await until(() => redis.commands.some(command => isAdd(command) && command.at(-1) === 'd'), 'what was refused')
  for (const resolve of release) resolve('1-0')
})

/** A store whose first event is on its way to Redis, until `fail` says that it is lost. */
async function openHeld (t: Test) {
  const redis = new FakeRedis()
  redis.answer = echo(redis)
  const store = openFake(t, redis, { timeout: 5_000 })
  await store.opened()
  const fail: ((error: Error) => void)[] = []
  redis.answer = (command, args) => isAdd([command, ...args]) ? new Promise((_resolve, reject) => fail.push(reject)) : echo(redis)(command, args)
  store.events.append('s', { stream: 'a', seq: 1, frame: 'a1' })
  await until(() => fail.length === 1, 'the first event')
  return { redis, store, fail }
}

t.test('a stream that ends while Redis is away is over when it is back', async t => {
  const { redis, store, fail } = await openHeld(t)
  redis.status = 'reconnecting'
  store.events.finish('s', 'a')
  await sleep(10)
  fail[0]?.(new Error('LOST'))
  await sleep(10)
  redis.answer = echo(redis)
  redis.status = 'ready'
  await until(() => redis.commands.some(args => args.includes('over')), 'its end')
})

t.test('what Redis missed of a session that ended meanwhile it is not told', async t => {
  const { redis, store, fail } = await openHeld(t)
  store.events.drop('s')
  const removals = (): string[][] => redis.commands.filter(([command, key, ms]) => command === 'PEXPIRE' && key?.endsWith(':a') === true && ms === '0')
  await until(() => removals().length === 1, 'its end')
  fail[0]?.(new Error('LOST'))
  redis.answer = echo(redis)
  await until(() => removals().length === 2, 'what is made up for')
  t.equal(redis.commands.filter(isAdd).length, 1)
})

t.test('records that two nodes change at once keep both changes', async t => {
  const { port } = await startRedis(t)
  const { client, close } = await connectors.ioredis(port)
  const [one, two] = [1, 2].map(() => redisStore(client).open(LIMITS))
  if (one === undefined || two === undefined) return
  t.teardown(async () => {
    await Promise.all([one.close(), two.close()])
    close()
  })
  await one.sessions.create(record('a'), 100)
  await Promise.all(Array.from({ length: 20 }, async (_, index) =>
    (index % 2 === 0 ? one : two).sessions.update(record('a'), kept => { kept.subscriptions = [...kept.subscriptions, `${index}`] })))
  t.equal((await one.sessions.get('a'))?.subscriptions.length, 20)
  const gone = record('gone')
  await one.sessions.update(gone, kept => { kept.logLevel = 'alert' })
  t.equal(gone.logLevel, 'alert')
  t.equal(await two.sessions.get('gone'), undefined, 'what is over keeps nothing')
  t.equal(await two.sessions.delete('gone'), false)
})

t.test('a node boots without Redis, and is of use when Redis comes', async t => {
  const server = await startRedis(t)
  await server.stop()
  for (const [name, connect] of Object.entries({
    ioredis: async () => {
      const client = new Redis(server.port, '127.0.0.1', { retryStrategy: () => 50 })
      client.on('error', () => {})
      return { client, close: () => client.disconnect() }
    }
  })) {
    const { client, close } = await connect()
    t.teardown(close)
    const app = await createApp(t, { store: redisStore(client, { lease: 300, timeout: 300 }) })
    const url = await within(listen(app), `${name} to boot`, 5_000)
    const refused = await new Client(url).post({ jsonrpc: '2.0', id: 1, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'a', version: '1' } } })
    t.match(refused, { status: 503, headers: { 'retry-after': /^\d+$/ }, messages: [{ error: { data: { code: 'FST_MCP_STORE_UNAVAILABLE' } } }] })
    await server.restart()
    let session
    while ((session = await Client.connect(url)).sessionId === undefined) await sleep(20)
    t.match(await session.request('ping'), { result: {} })
  }
})

t.test('a call goes on while Redis hangs, and a node that closes meanwhile does not wait for it', async t => {
  const server = await startRedis(t)
  const { client, close } = await connectors.ioredis(server.port)
  t.teardown(close)
  const app = await createApp(t, { store: redisStore(client, { lease: 300, timeout: 300 }) })
  let go = (): void => {}
  app.mcp.tool('wait', {}, async function * () {
    yield 'one '
    await new Promise<void>(resolve => { go = resolve })
    yield 'two'
  })
  const url = await listen(app)
  const session = await Client.connect(url)
  const call = await EventStream.open(url, '/mcp', session.init('POST', {}, { jsonrpc: '2.0', id: 'w', method: 'tools/call', params: { name: 'wait', _meta: { progressToken: 1 } } }))
  await call.message()
  server.process.kill('SIGSTOP')
  t.equal((await session.post({ jsonrpc: '2.0', id: 1, method: 'ping' })).status, 503)
  go()
  t.match(await call.message(({ id }) => id === 'w'), { result: { content: [{ text: 'one two' }] } })
  server.process.kill('SIGCONT')
  let status
  do {
    ({ status } = await session.post({ jsonrpc: '2.0', id: 1, method: 'ping' }))
    await sleep(10)
  } while (status === 503)
  t.equal(status, 200)
  server.process.kill('SIGSTOP')
  await within(app.close(), 'the end', 5_000)
  server.process.kill('SIGCONT')
})
