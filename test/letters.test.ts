// What nodes say to each other, on a bus that does what a test says.
import { mock } from 'node:test'
import t, { type Test } from 'tap'
import type { Bus, BusListener } from '../lib/store/store.ts'
import { Cluster } from '../lib/cluster/cluster.ts'
import { Letters } from '../lib/cluster/letters.ts'
import { errorCodes, McpError } from '../lib/errors.ts'
import { newSession } from '../lib/eras/handshake.ts'
import { SessionHost } from '../lib/eras/session-host.ts'
import { StreamPool } from '../lib/sse/pool.ts'
import type { RouteEvent } from '../lib/channels.ts'
import { until } from './client.ts'
import { hear } from './observer.ts'
import { gate } from './sockets.ts'
import { overriding, storeWith } from './stores.ts'

const away = { code: 'FST_MCP_STORE_UNAVAILABLE' }
const unavailable = () => new errorCodes.FST_MCP_STORE_UNAVAILABLE('the bus is broken')

/** One node of a bus in this process. */
class LocalBus implements Bus {
  readonly node: string
  readonly listeners = new Set<BusListener>()
  readonly #others: LocalBus[]
  /** What becomes of a message, as JSON, that is sent to this node: nothing, if it gives nothing. */
  pass = (message: string): string | undefined => message
  isAlive: (node: string) => Promise<boolean> = async () => true
  canSend = true

  constructor (node: string, others: LocalBus[]) {
    this.node = node
    this.#others = others
    others.push(this)
  }

  async send (node: string, message: object): Promise<void> {
    if (!this.canSend) throw unavailable()
    for (const other of this.#others) if (other.node === node) other.hear(JSON.stringify(message))
  }

  async broadcast (message: object): Promise<boolean> {
    if (!this.canSend) throw unavailable()
    for (const other of this.#others) other.hear(JSON.stringify(message))
    return true
  }

  hear (text: string): void {
    const passed = this.pass(text)
    if (passed !== undefined) setImmediate(() => this.listeners.forEach(listener => listener.onMessage(JSON.parse(passed))))
  }

  listen (listener: BusListener): () => void {
    this.listeners.add(listener)
    return () => { this.listeners.delete(listener) }
  }
}

function createBuses (t: Test): [LocalBus, LocalBus] {
  const others: LocalBus[] = []
  // The timers of a cluster keep no process alive.
  const alive = setInterval(() => {}, 1_000)
  t.teardown(() => clearInterval(alive))
  return [new LocalBus('aaaaaaaa', others), new LocalBus('bbbbbbbb', others)]
}

function createPair (t: Test) {
  const [here, there] = createBuses(t)
  const errors: unknown[] = []
  const letters = [here, there].map(bus => new Letters(bus, error => errors.push(error)))
  const [a, b] = letters
  t.teardown(() => letters.forEach(letters => letters.close()))
  return { a: a ?? new Letters(here, () => {}), b: b ?? new Letters(there, () => {}), here, there, errors }
}

t.test('who asks gets the answer, or what refuses it', async t => {
  const { a, b, here, there } = createPair(t)
  b.on('add', ({ x, y }, from) => ({ sum: Number(x) + Number(y), from }))
  b.on('nothing', () => {})
  b.on('known', () => { throw Object.assign(new errorCodes.FST_MCP_ID_IN_USE('7'), { data: { more: 1 } }) })
  b.on('own', () => { throw new McpError(7, 'secret') })
  b.on('bug', () => { throw new TypeError('secret') })
  t.strictSame(await a.ask('bbbbbbbb', 'add', { x: 1, y: 2 }), { sum: 3, from: 'aaaaaaaa' })
  t.strictSame(await a.ask('bbbbbbbb', 'nothing', {}), {})
  await t.rejects(a.ask('bbbbbbbb', 'known', {}), { code: 'FST_MCP_ID_IN_USE', statusCode: 400, message: /7/, data: { more: 1 } })
  await t.rejects(a.ask('bbbbbbbb', 'own', {}), { code: 'FST_MCP_INTERNAL' })
  await t.rejects(a.ask('bbbbbbbb', 'bug', {}), { code: 'FST_MCP_INTERNAL' })
  here.isAlive = async () => false
  t.equal(await a.ask('cccccccc', 'add', {}), null)
  there.pass = () => undefined
  t.equal(await a.ask('bbbbbbbb', 'add', {}), null, 'a node that is gone')
})

t.test('who asks learns that the bus is broken, once', async t => {
  const { a, b, here, there, errors } = createPair(t)
  here.canSend = false
  await t.rejects(a.ask('bbbbbbbb', 'x', {}), away)
  a.tell('bbbbbbbb', 'x', {})
  a.tellAll('x', {})
  await until(() => errors.length === 2, 'both errors')
  t.match(errors, [away, away])
  here.canSend = true

  // Checks that fail after the answer trouble nobody.
  const fail: ((error: Error) => void)[] = []
  here.isAlive = () => new Promise((_resolve, reject) => fail.push(reject))
  b.on('slow', () => new Promise(() => {}))
  b.on('quick', () => ({ done: true }))
  t.strictSame(await a.ask('bbbbbbbb', 'quick', {}), { done: true })
  const slow = a.ask('bbbbbbbb', 'slow', {})
  await until(() => fail.length === 3, 'checks')
  for (const reject of fail) reject(unavailable())
  await t.rejects(slow, away)
  const closing = a.ask('bbbbbbbb', 'slow', {})
  a.close()
  await t.rejects(closing, { code: 'FST_MCP_CLOSING' })

  b.on('fails', () => { throw new TypeError('x') })
  const { length } = errors
  there.hear(JSON.stringify({ kind: 'fails', from: 'aaaaaaaa' }))
  await until(() => errors.length === length + 1, 'an error')
})

t.test('a letter that is lost on its way is not waited for', async t => {
  const { a, b, there } = createPair(t)
  b.on('x', () => ({}))
  there.pass = () => undefined
  await t.rejects(a.ask('bbbbbbbb', 'x', {}), { ...away, message: /lost/ })
})

t.test('a question that arrives twice is taken once, and the next one too', async t => {
  const { a, b, there } = createPair(t)
  let taken = 0
  b.on('count', () => ({ count: ++taken }))
  there.pass = text => {
    // A client of Redis that lost its connection sends again what may have arrived.
    setImmediate(() => there.listeners.forEach(listener => listener.onMessage(JSON.parse(text))))
    return text
  }
  t.strictSame(await a.ask('bbbbbbbb', 'count', {}), { count: 1 })
  t.strictSame(await a.ask('bbbbbbbb', 'count', {}), { count: 2 })
  await new Promise(resolve => setTimeout(resolve, 20))
  t.equal(taken, 2)
})

t.test('whoever looks on is told how each question to another node ended', async t => {
  const { a, b, here } = createPair(t)
  b.on('fine', () => ({}))
  b.on('refused', () => { throw new errorCodes.FST_MCP_ID_IN_USE('7') })
  const routes = hear<RouteEvent>(t, 'fastify-mcp-sse:route')
  await a.ask('bbbbbbbb', 'fine', {})
  await t.rejects(a.ask('bbbbbbbb', 'refused', {}), { code: 'FST_MCP_ID_IN_USE' })
  here.isAlive = async () => false
  t.equal(await a.ask('cccccccc', 'lost', {}), null)
  t.match(routes, [{ kind: 'fine', outcome: 'ok' }, { kind: 'refused', outcome: 'failed' }, { kind: 'lost', outcome: 'gone' }])
  t.equal(routes.length, 3)
  t.ok(routes.every(({ duration }) => duration >= 0 && duration < 5_000))
})

t.test('a letter to all is taken by its sender only where the order matters', async t => {
  const { a, b } = createPair(t)
  const taken: string[] = []
  for (const letters of [a, b]) {
    letters.on('plain', (_letter, from) => taken.push(`plain ${letters.node} ${from}`))
    letters.onOrdered('ordered', (_letter, from) => taken.push(`ordered ${letters.node} ${from}`))
  }
  a.tellAll('plain', {})
  a.tellAll('ordered', {})
  await until(() => taken.length === 3, 'the letters')
  t.strictSame(taken, ['plain bbbbbbbb aaaaaaaa', 'ordered aaaaaaaa aaaaaaaa', 'ordered bbbbbbbb aaaaaaaa'])
})

const POOL = { server: 'docs', buffer: 1_000, keepAlive: 10_000, stall: 10_000, max: 10, maxPerPrincipal: 10 }

function createClusters (t: Test) {
  const [here, there] = createBuses(t)
  const pools = [new StreamPool(POOL), new StreamPool({ ...POOL, buffer: 100_000 })] as const
  const a = new Cluster(here, pools[0], () => {})
  const b = new Cluster(there, pools[1], () => {})
  t.teardown(() => {
    a.close()
    b.close()
    for (const pool of pools) pool.close()
  })
  const source = pools[1].open({ owner: null, closed () {} })
  b.letters.on('attach', (letter, from) => {
    b.relay.send(source, from, letter)
    return { isFollowed: true }
  })
  return { a, b, here, there, source }
}

t.test('as much is on its way as the node of the client has room for', async t => {
  const { a, source } = createClusters(t)
  const stream = await a.follow('bbbbbbbb', null, {})
  for (let count = 0; count < 50; count++) source.write('x'.repeat(100))
  await new Promise(resolve => setTimeout(resolve, 50))
  t.ok((stream?.readableLength ?? 0) <= 5_000)
  t.equal(a.relay.size, 1)
  let read = 0
  stream?.on('readable', () => { for (let chunk; (chunk = stream.read()) !== null;) read += String(chunk).length })
  for (let count = 0; count < 50; count++) {
    source.write('x'.repeat(100))
    await new Promise(resolve => setImmediate(resolve))
  }
  source.end()
  await until(() => stream?.readableEnded === true, 'the end')
  t.equal(read, 10_000)
  t.equal(a.relay.size, 0)
})

t.test('a relay that broke before it was known is refused', async t => {
  const { a, here, source } = createClusters(t)
  const held: string[] = []
  here.pass = text => {
    if (text.includes('"answer"')) held.push(text)
    return text.includes('"answer"') ? undefined : text
  }
  const followed = a.follow('bbbbbbbb', null, {})
  followed.catch(() => {})
  await until(() => held.length > 0, 'the answer')
  source.destroy()
  await until(() => a.relay.size === 0, 'the break')
  here.pass = text => text
  for (const text of held) here.hear(text)
  await t.rejects(followed, away)
})

t.test('nobody is given up by a relay while nobody knows who is there', async t => {
  const { a, b, here, there, source } = createClusters(t)
  const stream = await a.follow('bbbbbbbb', null, {})
  let checks = 0
  here.isAlive = there.isAlive = async () => {
    checks++
    throw unavailable()
  }
  await until(() => checks >= 2, 'checks')
  t.equal(stream?.destroyed, false)
  here.isAlive = there.isAlive = async () => false
  await until(() => stream?.destroyed === true && source.destroyed, 'the end of both')
  t.equal(a.relay.size + b.relay.size, 0)
})

t.test('a session that ends while its record is read is kept for no update', async t => {
  const [here] = createBuses(t)
  const pool = new StreamPool(POOL)
  const cluster = new Cluster(here, pool, () => {})
  const record = { ...newSession('s', null, 'streamable-http', null), subscriptions: ['doc:1'] }
  const door = gate()
  const store = storeWith(({ sessions }) => ({
    sessions: overriding(sessions, {
      async get () {
        await door.opened
        return record
      }
    })
  })).open({ server: 'a', idle: 10_000, max: 10, replay: { events: 6, bytes: 1_000, window: 1_000 }, tickets: { ttl: 1_000, max: 3 } })
  const limits = { idle: 10_000, window: 1_000, retry: 1_000, maxPerPrincipal: 10, uris: 10 }
  const host = new SessionHost({ store, pool, cluster, ...limits, onError: error => { throw error } })
  t.teardown(() => {
    host.close(unavailable())
    cluster.close()
    pool.close()
    return store.close()
  })
  host.live({ ...record, subscriptions: [] })
  here.hear(JSON.stringify({ kind: 'changed', session: 's', uri: 'doc:1', from: 'bbbbbbbb' }))
  await until(() => [...host.audience.uris()].length === 1, 'word of it')
  host.stop('s', errorCodes.FST_MCP_SESSION_ENDED)
  t.strictSame([...host.audience.uris()], [])
  door.open()
  await new Promise(resolve => setImmediate(resolve))
  t.strictSame([...host.audience.uris()], [], 'nor when the record has come')
})

t.test('what cannot be said in order is told of, and done otherwise', async t => {
  const { a, here, errors } = createPair(t)
  here.canSend = false
  await new Promise<void>(resolve => a.tellInOrder('changed', {}, resolve))
  t.match(errors, [away])
})

t.test('an answer that could not be sent is sent again', async t => {
  const { a, b, there } = createPair(t)
  b.on('think', () => {
    there.canSend = false
    return { thought: 7 }
  })
  const asked = a.ask(there.node, 'think', {})
  await until(() => !there.canSend, 'the question')
  await new Promise(resolve => setImmediate(resolve))
  there.canSend = true
  t.strictSame(await asked, { thought: 7 })
})

t.test('an answer that cannot be sent for as long as a lease lasts is given up, and told of', async t => {
  const { a, b, there, errors } = createPair(t)
  b.on('think', () => {
    there.canSend = false
  })
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
  a.ask(there.node, 'think', {}).catch(() => {})
  for (let passed = 0; errors.length === 0; passed++) {
    if (passed > 100) return t.fail('it is still tried')
    mock.timers.tick(250)
    await new Promise(resolve => setImmediate(resolve))
  }
  t.match(errors, [away])
})

t.test('who waits for an answer that may be lost is told so', async t => {
  const { a, b, there, here } = createPair(t)
  b.on('think', () => new Promise(() => {}))
  const asked = a.ask(there.node, 'think', {})
  for (const listener of here.listeners) listener.onGap(false)
  await t.rejects(asked, { code: 'FST_MCP_STORE_UNAVAILABLE' })
})

t.test('a break of the bus or a node that closes breaks every relay', async t => {
  const { a, b, there, source } = createClusters(t)
  const stream = await a.follow('bbbbbbbb', null, {})
  for (const listener of there.listeners) listener.onGap(false)
  await until(() => stream?.destroyed === true, 'the end')
  t.ok(source.destroyed)
  b.close()
})

t.test('a client that leaves while much is on its way is left alone', async t => {
  const { a, source } = createClusters(t)
  const stream = await a.follow('bbbbbbbb', null, {})
  source.write('x'.repeat(3_000))
  await until(() => (stream?.readableLength ?? 0) > 0, 'the frames')
  stream?.destroy()
  await until(() => source.destroyed, 'the end at the other node')
  t.equal(a.relay.size, 0)
})
