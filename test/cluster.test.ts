// Servers of several processes behind a balancer that sends every single request to another one, with a Redis of their own.
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { Client, EventStream, type Reply, type RpcMessage, send, SseClient, until, within } from './client.ts'
import { chronicle } from './cluster/chronicle.ts'
import { Fleet, type FleetOptions } from './cluster/fleet.ts'
import { SETTINGS, unsteady } from './cluster/weather.ts'
import { OVER_HTTP, OVER_SSE, STANDALONE } from './cluster/guests.ts'
import { gate } from './sockets.ts'
import { type RedisServer, startRedis } from './redis-server.ts'

t.setTimeout(300_000)
// Most of their time they wait.
t.jobs = 2

const CLUSTERS: Pick<FleetOptions, 'size' | 'packageName'>[] = [{ size: 2, packageName: 'ioredis' }, { size: 4, packageName: 'redis' }]
const README = 'docs://readme'

const SEED = 20_261_120
const STREAMS = 600

interface Scene {
  readonly fleet: Fleet
  readonly redis: RedisServer
  /** To look into Redis. */
  readonly eye: Redis
}

const codeOf = ({ messages: [message] }: Reply): string | undefined => message?.error?.data.code
const chunksOf = (messages: readonly RpcMessage[]): string[] =>
  messages.filter(({ method }) => method === 'notifications/progress').map(({ params }) => params.message.trimEnd())
const upTo = (tag: string, count: number): string[] => Array.from({ length: count }, (_, index) => `${tag}:${index + 1}`)
const counting = (id: number, args: { tag: string, chunks: number, every?: number, size?: number }): object =>
  ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'count', arguments: args, _meta: { progressToken: id } } })

/** The same session, at another node. */
function elsewhere (client: Client, url: string): Client {
  const other = new Client(url, { headers: client.headers })
  other.sessionId = client.sessionId
  return other
}

/** Reads a stream until so many chunks have come. */
async function chunks (stream: EventStream, count: number): Promise<void> {
  for (let seen = 0; seen < count; seen++) await stream.message(({ method }) => method === 'notifications/progress')
}

const lastId = ({ events }: EventStream): string => events.findLast(({ id }) => id !== undefined)?.id ?? ''

async function keysOf (eye: Redis, pattern = '*'): Promise<string[]> {
  const keys = new Set<string>()
  for await (const page of eye.scanStream({ match: pattern, count: 1_000 })) for (const key of page) keys.add(key)
  return [...keys]
}

const quiet = (fleet: Fleet): Promise<void> =>
  fleet.settled(({ calls, streams, questions, subscriptions }) => calls + streams + questions + subscriptions === 0, 'all nodes to be idle')

function tryGuests ({ fleet }: Scene, t: Test): void {
  const guests = { ...OVER_HTTP, ...OVER_SSE, ...STANDALONE }
  for (const [name, welcome] of Object.entries(guests)) {
    t.test(`${name} is served by all nodes as by one`, async t => {
      const guest = await welcome(t, fleet.url)
      const pids = new Set<unknown>()
      for (let times = 0; times < 2 * fleet.nodes.length; times++) pids.add(await guest.call('pid'))
      t.equal(pids.size, name in OVER_SSE ? 1 : fleet.nodes.length, 'a call runs where it was received, or where its stream is')

      const heard: unknown[] = []
      const onprogress = ({ message }: { message?: string }): void => { heard.push(message) }
      t.equal(await within(guest.call('count', { tag: 'a', chunks: 6, every: 5 }, { onprogress }), 'a call'), 'a counted to 6')
      // The official clients lose progress that arrives over HTTP+SSE in one packet with the result.
      t.strictSame(heard, upTo('a', heard.length))
      t.ok(heard.length >= (name in OVER_SSE ? 1 : 5), `${heard.length} of 6`)
      t.equal(await within(guest.call('asks'), 'a call that asks'), 'accept work')

      const controller = new AbortController()
      await t.rejects(guest.call('hang', {}, { signal: controller.signal, onprogress: () => controller.abort() }))
      await fleet.settled(({ calls }) => calls === 0, 'the call to be cancelled')

      await guest.watch(README)
      if (name in OVER_HTTP) await fleet.settled(() => true, 'the nodes')
      await guest.call('update', { uri: README })
      await until(() => guest.told.includes(README), 'the update')
      await guest.call('change')
      await until(() => guest.told.includes('tools'), 'the change')
      t.strictSame(guest.told.splice(0), [README, 'tools'], 'each is told once')
      await guest.call('says')
      await until(() => name in STANDALONE || guest.told.length >= 3, 'what is logged')
      t.strictSame(guest.told, name in STANDALONE ? [] : ['log 1', 'log 2', 'log 3'])
      await guest.leave()
      await quiet(fleet).catch(error => { if (!(name in OVER_SSE)) throw error })
    })
  }

  for (const [name, welcome] of Object.entries(OVER_HTTP)) {
    t.test(`${name} loses nothing when its connections break`, async t => {
      const guest = await welcome(t, fleet.url)
      const heard: unknown[] = []
      const onprogress = ({ message }: { message?: string }): void => {
        heard.push(message)
        if (heard.length % 4 === 0) fleet.balancer.cut()
      }
      t.equal(await within(guest.call('count', { tag: 'b', chunks: 12, every: 20 }, { onprogress }), 'a call'), 'b counted to 12')
      t.strictSame(heard, upTo('b', 12))
      await guest.leave()
    })
  }

  for (const [name, welcome] of Object.entries(OVER_SSE)) {
    t.test(`${name} comes back to any node, and works on`, async t => {
      const guest = await welcome(t, fleet.url)
      const before = guest.endpoint()
      fleet.balancer.cut()
      await until(() => guest.endpoint() !== before, 'the client to come back')
      t.equal(await within(guest.call('count', { tag: 'c', chunks: 2 }), 'a call'), 'c counted to 2')
      await guest.leave()
    })
  }
}

function trySessions ({ fleet, eye }: Scene, t: Test): void {
  t.test('a session begins at one node, is used at others and ends at yet another', async t => {
    const client = await Client.connect(fleet.at(0).url, { capabilities: { roots: {} } })
    const listener = await elsewhere(client, fleet.at(2).url).get()
    const at = (index: number): Client => elsewhere(client, fleet.at(index).url)
    t.match(await at(1).request('resources/subscribe', { uri: README }), { result: {} })
    t.match(await at(2).request('logging/setLevel', { level: 'error' }), { result: {} })
    t.match(await at(3).call('says'), { result: { content: [{ text: 'said' }] } })
    const { messages } = await at(1).post({ jsonrpc: '2.0', id: 7, method: 'tools/call', params: { name: 'says' } })
    t.strictSame(messages.map(({ id }) => id), [7], 'the level holds at each node')
    await at(3).call('update', { uri: README })
    t.match(await listener.message(), { method: 'notifications/resources/updated', params: { uri: README } })
    t.equal((await at(3).delete()).status, 200)
    await listener.closed
    for (const index of fleet.nodes.keys()) t.equal((await at(index).post({ jsonrpc: '2.0', id: 1, method: 'ping' })).status, 404)
    t.strictSame(listener.messages.length, 1)
  })

  t.test('a session that nobody knows is a 404 and ends no other', async t => {
    const client = await Client.connect(fleet.url)
    const sse = await SseClient.connect(fleet.url)
    const ping = { jsonrpc: '2.0', id: 1, method: 'ping' }
    for (const id of ['unknown', sse.endpoint.split('=').at(-1) ?? '', '__proto__']) {
      const headers = { ...client.headers, 'mcp-session-id': id }
      for (const method of ['POST', 'GET', 'DELETE']) {
        const reply = await send(fleet.url, '/mcp', { method, headers, ...(method === 'POST' && { body: ping }) })
        t.equal(reply.status, 404)
        t.equal(codeOf(reply), 'FST_MCP_SESSION_UNKNOWN')
      }
    }
    const foreign = await send(fleet.url, sse.endpoint.replace(/[^=]*$/, String(client.sessionId)), { method: 'POST', body: ping })
    t.equal(foreign.status, 404)
    t.match(await client.request('ping'), { result: {} })
    t.match(await sse.request('ping'), { result: {} })
    await client.delete()
    await sse.close()
  })

  t.test('the newest stream of a session hears what belongs to no call, once, wherever it is', async t => {
    const client = await Client.connect(fleet.url)
    const listeners: EventStream[] = []
    for (const node of fleet.nodes) {
      listeners.push(await elsewhere(client, node.url).get())
      // Streams that are opened at once have no order: all nodes hear of each before the next.
      await new Promise(resolve => setTimeout(resolve, 100))
    }
    await client.request('resources/subscribe', { uri: README })
    for (const node of fleet.nodes) await elsewhere(client, node.url).call('update', { uri: README })
    await until(() => listeners.flatMap(({ messages }) => messages).length >= fleet.nodes.length, 'the updates')
    const newest = fleet.nodes.length - 1
    t.strictSame(listeners.map(({ messages }) => messages.length), fleet.nodes.map((_, index) => index === newest ? fleet.nodes.length : 0))
    await listeners.at(-1)?.close()
    await client.delete()
  })

  t.test('a tool waits for a client that reads slowly at another node', async t => {
    const CHUNKS = 1_500
    const SIZE = 20_000
    const client = await Client.connect(fleet.at(0).url)
    const call = await client.stream(counting(1, { tag: 'f', chunks: CHUNKS, size: SIZE }))
    await chunks(call, 1)
    await call.close()
    const before = await fleet.stats()
    const slow = await elsewhere(client, fleet.at(1).url).get(lastId(call))
    slow.body.pause()
    let last = -1
    for (let now = 0; now !== last;) {
      last = now
      await new Promise(resolve => setTimeout(resolve, 300))
      const after = await fleet.stats()
      now = Math.max(...after.map(({ yielded }, index) => yielded - (before[index]?.yielded ?? 0)))
    }
    // What the sockets of this machine take, and the buffers of both nodes.
    t.ok(last * SIZE < 16_777_216, `${last} chunks were made before anybody read`)
    const grown = (await fleet.stats()).map(({ memory }, index) => memory - (before[index]?.memory ?? 0))
    t.ok(grown.every(bytes => bytes < 33_554_432), `the heaps grew by ${grown.join(' and ')}`)
    slow.body.resume()
    await within(slow.message(({ id }) => id === 1), 'the rest', 60_000)
    t.strictSame(chunksOf([...call.messages, ...slow.messages]), upTo('f', CHUNKS), 'each chunk came once, in order')
    await client.delete()
    t.strictSame((await keysOf(eye, `*${client.sessionId}*`)), [], 'nothing of the session is left')
  })
}

/** A node is gone from one moment to the next. */
function tryKills ({ fleet, eye }: Scene, t: Test): void {
  t.test('the calls of a node that was killed end in an error, and its clients work on', async t => {
    const victim = fleet.at(0)
    const ours = await Promise.all(Object.values(OVER_HTTP).map(welcome => welcome(t, fleet.url)))
    const client = await Client.connect(fleet.url)
    const atVictim = elsewhere(client, victim.url)
    const call = await atVictim.stream(counting(1, { tag: 'k', chunks: 1_000, every: 20 }))
    const sse = await SseClient.open(victim.url)
    const others = await Promise.all(Object.values(OVER_SSE).map(welcome => welcome(t, fleet.url)))
    await chunks(call, 3)
    await leased(fleet, eye)
    for (const { url } of fleet.nodes.slice(1)) fleet.balancer.down.add(url)
    const lost: Promise<unknown>[] = []
    for (const guest of ours) {
      const { opened, open } = gate()
      const answer = guest.call('count', { tag: 'l', chunks: 1_000, every: 20 }, { onprogress: open })
      // Where not even its first event had come to Redis, nobody knows more than that something is lost.
      lost.push(t.rejects(answer, /(?:is gone|were lost.*): call again/, 'an official client is told'))
      await within(opened, 'a call of a guest')
    }
    fleet.balancer.down.clear()

    await victim.stop('SIGKILL')
    const since = Date.now()
    await call.closed
    const rest = await client.get(lastId(call))
    t.match(await rest.message(), { id: 1, error: { data: { code: 'FST_MCP_NODE_GONE' } } })
    await rest.closed
    t.ok(Number(lastId(rest).split('_')[1]) > Number(lastId(call).split('_')[1]), 'the error has an id of its own')
    t.equal(rest.messages.length, 1)
    const posted = await send(fleet.url, sse.endpoint, { method: 'POST', body: { jsonrpc: '2.0', id: 1, method: 'ping' } })
    t.equal(posted.status, 404)
    t.ok(Date.now() - since < 8_000, `known after ${Date.now() - since} ms`)

    await within(Promise.all(lost), 'the guests to be told')
    for (const guest of others) t.equal(await within(eventually(() => guest.call('count', { tag: 'o', chunks: 1 })), 'a call at another node'), 'o counted to 1')
    for (const guest of ours) t.equal(await within(guest.call('count', { tag: 'o', chunks: 1 }), 'a call at another node'), 'o counted to 1')
    t.match(await client.request('ping'), { result: {} })
    t.equal((await keysOf(eye, '*:lease:*')).length, fleet.nodes.length - 1)
    for (const key of await keysOf(eye)) t.not(await eye.pttl(key), -1, `${key} expires`)
    await Promise.all([...ours, ...others].map(guest => guest.leave().catch(() => {})))
    await client.delete()
    await fleet.replace(victim)
    await quiet(fleet)
  })

  t.test('a node that stood still goes on, and is heard again', async t => {
    const client = await Client.connect(fleet.at(1).url)
    const listener = await elsewhere(client, fleet.at(0).url).get()
    await client.request('resources/subscribe', { uri: README })
    const call = await client.stream(counting(1, { tag: 'p', chunks: 20, every: 20 }))
    await chunks(call, 3)
    const node = fleet.at(1)
    node.process.kill('SIGSTOP')
    await new Promise(resolve => setTimeout(resolve, 2_500))
    t.equal((await keysOf(eye, '*:lease:*')).length, fleet.nodes.length - 1, 'its lease has ended')
    t.match(await elsewhere(client, fleet.at(0).url).request('ping'), { result: {} }, 'its sessions go on')
    node.process.kill('SIGCONT')
    await call.message(({ id }) => id === 1)
    t.strictSame(chunksOf(call.messages), upTo('p', 20))
    await client.call('update', { uri: README })
    t.match(await listener.message(({ method }) => method === 'notifications/resources/updated'), { params: { uri: README } })
    await client.delete()
    await quiet(fleet)
    await leased(fleet, eye)
  })
}

/** A node leaves in good order. */
function tryLeaving ({ fleet }: Scene, t: Test): void {
  t.test('a node that is told to stop ends its calls and hands over its streams', async t => {
    const guests = await Promise.all(Object.values({ ...OVER_HTTP, ...OVER_SSE }).map(welcome => welcome(t, fleet.url)))
    const node = fleet.at(1)
    const client = await Client.connect(node.url)
    const call = await client.stream(counting(1, { tag: 't', chunks: 20, every: 50 }))
    const sse = await SseClient.connect(node.url)
    await sse.post(counting(2, { tag: 'u', chunks: 20, every: 50 }))
    await chunks(call, 3)
    await chunks(sse.stream, 3)
    fleet.balancer.down.add(node.url)
    const stopped = node.stop('SIGTERM')
    await within(eventually(async () => {
      if ((await send(node.url, '/ready')).status !== 503) throw new Error('it takes requests')
    }), 'the probe')
    const other = fleet.at(2)
    t.equal((await send(other.url, sse.endpoint, { method: 'POST', body: counting(3, { tag: 'v', chunks: 2 }) })).status, 202, 'what is posted elsewhere still arrives')
    await call.closed
    t.strictSame(chunksOf(call.messages), upTo('t', 20), 'the call runs to its end')
    await sse.stream.closed
    await within(stopped, 'the process to end')
    t.equal(node.process.exitCode, 0)
    const back = await EventStream.open(fleet.url, '/sse', { headers: { 'last-event-id': lastId(sse.stream) } })
    t.match(await back.next(), { event: 'endpoint', data: sse.endpoint }, 'the session goes on')
    t.equal((await send(fleet.url, sse.endpoint, { method: 'POST', body: { jsonrpc: '2.0', id: 4, method: 'ping' } })).status, 202)
    t.match(await back.message(({ id }) => id === 4), { result: {} })
    const all = [...sse.stream.messages, ...back.messages]
    t.strictSame(all.flatMap(({ id }) => id ?? []).sort(), [1, 2, 3, 4], 'each answer came once')
    t.strictSame(chunksOf(all).filter(text => text.startsWith('u')), upTo('u', 20))
    for (const guest of guests) t.equal(await within(eventually(() => guest.call('count', { tag: 'w', chunks: 1 })), 'a call of a guest'), 'w counted to 1')
    await Promise.all(guests.map(guest => guest.leave()))
    await Promise.all([back.close(), elsewhere(client, fleet.url).delete(), fleet.replace(node)])
    await quiet(fleet)
  })
}

/** Two servers of one Redis, each with its limits for all of its nodes. */
function tryLimits ({ fleet, redis }: Scene, t: Test, packageName: FleetOptions['packageName']): void {
  t.test('caps, rates and tickets hold for all nodes, and another deployment has its own', async t => {
    const auth = { tokens: ['ann', 'bob', 'cat'].map(token => ({ token, principal: token })) }
    const options = { auth, sessions: { max: 4, maxPerPrincipal: 3 }, rateLimit: { max: 40 } }
    const guarded = await Fleet.start(t, { redis, packageName, size: 2, options, store: { prefix: 'guarded' } })
    const as = (token: string) => ({ authorization: `Bearer ${token}` })
    const hello = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'raw', version: '1.0.0' } }
    const init = (token: string): Promise<Reply> =>
      new Client(guarded.url, { headers: as(token) }).post({ jsonrpc: '2.0', id: 0, method: 'initialize', params: hello })
    const before = (await fleet.stats()).map(({ sessions }) => sessions)
    const replies: Reply[] = []
    for (const token of ['ann', 'ann', 'ann', 'ann', 'bob', 'bob']) replies.push(await init(token))
    t.strictSame(replies.map(({ status }) => status), [200, 200, 200, 429, 200, 503])
    t.strictSame(replies.map(codeOf).filter(Boolean), ['FST_MCP_QUOTA_EXCEEDED', 'FST_MCP_SESSIONS_FULL'])
    const ids = replies.flatMap(({ headers }) => headers['mcp-session-id'] ?? [])
    t.equal((await send(fleet.url, '/mcp', { method: 'DELETE', headers: { 'mcp-session-id': String(ids[0]) } })).status, 404, 'the other deployment does not know it')
    // Some of before may have expired meanwhile.
    t.ok((await fleet.stats()).every(({ sessions }, node) => sessions <= (before[node] ?? 0)))
    for (const id of ids) await send(guarded.url, '/mcp', { method: 'DELETE', headers: { ...as(ids.indexOf(id) < 3 ? 'ann' : 'bob'), 'mcp-session-id': String(id) } })

    const { text } = await send(guarded.url, '/sse/ticket', { method: 'POST', headers: as('cat') })
    const { url } = JSON.parse(text)
    const stream = await EventStream.open(guarded.at(1).url, url)
    t.equal((await stream.next()).event, 'endpoint')
    for (const node of guarded.nodes) t.equal((await send(node.url, url, { headers: { accept: 'text/event-stream' } })).status, 401, 'a ticket lets in once')
    await stream.close()

    const statuses: number[] = []
    for (let times = 0; times < 42; times++) statuses.push((await send(guarded.url, '/mcp', { method: 'POST', headers: as('cat'), body: {} })).status)
    t.equal(statuses.filter(status => status === 429).length > 0 && statuses.filter(status => status !== 429).length <= 40, true, 'the rate is that of all nodes together')
  })
}

async function leased (fleet: Fleet, eye: Redis): Promise<void> {
  await within((async () => { while ((await keysOf(eye, '*:lease:*')).length < fleet.nodes.length); })(), 'all leases')
}

/** Tries again, as a client would. */
async function eventually<T> (work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work()
    } catch {
      await new Promise(resolve => setTimeout(resolve, 50))
    }
  }
}

/** Redis is away for a while. */
function tryRedis ({ fleet, redis, eye }: Scene, t: Test): void {
  const AWAY_MS = 3_000
  const ways: Record<string, { leave: () => Promise<unknown>, comeBack: () => Promise<unknown>, keeps: boolean }> = {
    'stands still': {
      leave: async () => redis.process.kill('SIGSTOP'),
      comeBack: async () => redis.process.kill('SIGCONT'),
      keeps: true
    },
    'is killed and comes back empty': { leave: () => redis.stop(), comeBack: () => redis.restart(), keeps: false }
  }
  for (const [way, { leave, comeBack, keeps }] of Object.entries(ways)) {
    t.test(`calls go on while Redis ${way}, the rest is refused, and all is well after`, async t => {
      const client = await Client.connect(fleet.at(0).url)
      const idle = await Client.connect(fleet.url)
      await client.request('resources/subscribe', { uri: README })
      const listener = await elsewhere(client, fleet.at(1).url).get()
      const sse = await SseClient.connect(fleet.at(0).url)
      const call = await client.stream(counting(1, { tag: 'r', chunks: 60, every: 50, size: 2_000 }))
      await chunks(call, 3)
      await leave()
      const since = Date.now()
      const ping = { jsonrpc: '2.0', id: 2, method: 'ping' }
      const first = await client.post(ping)
      t.ok(Date.now() - since < 2_500, `refused after ${Date.now() - since} ms`)
      const times: number[] = []
      for (const post of [first, ...await Promise.all(fleet.nodes.map(async ({ url }) => {
        const reply = await elsewhere(client, url).post(ping)
        const start = performance.now()
        const again = await elsewhere(client, url).post(ping)
        times.push(performance.now() - start)
        return [reply, again]
      }))].flat()) {
        t.equal(post.status, 503)
        t.equal(codeOf(post), 'FST_MCP_STORE_UNAVAILABLE')
        t.match(post.headers['retry-after'], /^\d+$/)
      }
      t.ok(times.every(ms => ms < 500), `refused at once: ${times.join()}`)
      t.equal((await send(fleet.at(1).url, '/sse', { headers: { accept: 'text/event-stream' } })).status, 503)
      await new Promise(resolve => setTimeout(resolve, Math.max(0, AWAY_MS - (Date.now() - since))))
      const seen = call.messages.length
      await chunks(call, 5)
      t.ok(seen > 10, `${seen} chunks came meanwhile`)
      await comeBack()
      await call.message(({ id }) => id === 1)
      t.strictSame(chunksOf(call.messages), upTo('r', 60), 'the call lost nothing')
      await leased(fleet, eye)
      for (const { url } of fleet.nodes) await within(eventually(() => well(elsewhere(client, url), 'ping')), 'the node to serve')
      t.equal((await eventually(() => answered(idle))).status, keeps ? 200 : 404, 'a session at work is kept again, an idle one is gone with Redis')
      await well(elsewhere(client, fleet.at(0).url), 'tools/call', { name: 'update', arguments: { uri: README } })
      t.match(await listener.message(({ method }) => method === 'notifications/resources/updated'), { params: { uri: README } })
      t.match(await sse.request('ping'), { result: {} })
      t.equal((await eye.call('PUBSUB', 'CHANNELS', '*:inbox:*') as string[]).length, fleet.nodes.length, 'each node listens')
      t.equal(String(await eye.call('CLIENT', 'LIST', 'TYPE', 'pubsub')).trim().split('\n').length, fleet.nodes.length, 'on one connection')
      await client.delete()
      if (keeps) await idle.delete()
      await Promise.all([sse.close(), listener.close(), call.close()])
      await quiet(fleet)
    })
  }
}

/** Rejects when it is refused. */
async function well (client: Client, method: string, params?: object): Promise<void> {
  const { error } = await client.request(method, params)
  if (error !== undefined) throw new Error(error.message)
}

/** What is answered once Redis is there again. */
async function answered (client: Client): Promise<Reply> {
  const reply = await client.post({ jsonrpc: '2.0', id: 3, method: 'ping' })
  if (reply.status === 503) throw new Error('Redis is away')
  return reply
}

function tryHistory ({ fleet, eye }: Scene, t: Test, seed: number): void {
  t.test(`no client misses, repeats or overhears anything (seed ${seed})`, async t => {
    // What the tests before have abandoned expires in its own time.
    const before = new Set(await keysOf(eye))
    const most = Math.max(...(await fleet.stats()).map(({ sessions }) => sessions))
    fleet.balancer.fate = unsteady(seed)
    const { faults, answered, unseen, resumed } = await chronicle({ url: fleet.url, seed, streams: STREAMS, lanes: 12, isHurt: false })
    t.strictSame(faults, [], `seed ${seed}`)
    t.ok(answered + unseen >= STREAMS, `${answered} calls were answered`)
    t.ok(resumed > STREAMS / 5, `${resumed} streams were resumed`)
    fleet.balancer.fate = () => undefined
    await fleet.settled(({ sessions, streams, calls }) => sessions <= most && streams + calls === 0, 'nothing to be left')
    await within((async () => { while ((await keysOf(eye)).some(key => !before.has(key) && !/:(?:lease|epoch)/.test(key))); })(), 'Redis to be empty')
  })
}

for (const [index, { size, packageName }] of CLUSTERS.entries()) {
  t.test(`${size} nodes with ${packageName}`, async t => {
    const redis = await startRedis(t)
    const eye = new Redis(redis.port, '127.0.0.1')
    eye.on('error', () => {})
    t.teardown(() => eye.disconnect())
    const fleet = await Fleet.start(t, { redis, packageName, size, options: SETTINGS })
    const scene = { fleet, redis, eye }
    tryGuests(scene, t)
    trySessions(scene, t)
    tryKills(scene, t)
    tryRedis(scene, t)
    tryHistory(scene, t, SEED + index)
    // Whoever comes back without `Last-Event-ID` leaves a session behind until its idle time is over.
    tryLeaving(scene, t)
    tryLimits(scene, t, packageName)
  })
}
