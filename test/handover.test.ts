// A node leaves in good order, and a client of HTTP+SSE posts before its stream has come to another one.
import { Redis } from 'ioredis'
import Fastify, { type FastifyInstance } from 'fastify'
import mcp, { type OpenStore, type SessionRecord, type Store } from 'fastify-mcp-sse'
import { redisStore } from 'fastify-mcp-sse/redis'
import t, { type Test } from 'tap'
import { EventStream, listen, type Reply, send, SseClient } from './client.ts'
import { connectors, startRedis } from './redis-server.ts'

const PING = { jsonrpc: '2.0', id: 1, method: 'ping' }
const CLOSING = { status: 503, headers: { 'retry-after': /^\d+$/ }, messages: [{ error: { data: { code: 'FST_MCP_CLOSING' } } }] }
const UNKNOWN = { status: 404, messages: [{ error: { data: { code: 'FST_MCP_SESSION_UNKNOWN' } } }] }

async function startMember (t: Test, port: number, wrap: (store: Store) => Store = store => store): Promise<{ app: FastifyInstance, url: string }> {
  const { client, close } = await connectors.ioredis(port)
  const app = Fastify()
  t.teardown(async () => {
    await app.close()
    close()
  })
  await app.register(mcp, { name: 'handover', store: wrap(redisStore(client, { lease: 600 })), streams: { retry: 10 } })
  return { app, url: await listen(app) }
}

/** What a node reads of a session first is as it was a moment ago. */
function late (home: string, store: Store): Store {
  return {
    open (limits) {
      const opened: OpenStore = store.open(limits)
      const { sessions } = opened
      const get = sessions.get.bind(sessions)
      let isFirst = true
      sessions.get = async id => {
        const record = await get(id)
        if (record === undefined || !isFirst) return record
        isFirst = false
        return { ...record, home }
      }
      return opened
    }
  }
}

async function move (eye: Redis, home: (record: SessionRecord) => string | null): Promise<void> {
  const [key = ''] = await eye.keys('*:session:*')
  const record: SessionRecord = JSON.parse(await eye.get(key) ?? '')
  await eye.set(key, JSON.stringify({ ...record, home: home(record) }), 'KEEPTTL')
}

t.test('what is posted while a stream is on its way to another node is to be posted again', async t => {
  const redis = await startRedis(t)
  const eye = new Redis(redis.port, '127.0.0.1')
  t.teardown(() => eye.disconnect())
  const [first, second] = await Promise.all([startMember(t, redis.port), startMember(t, redis.port)])
  const client = await SseClient.connect(first.url)
  const post = (url: string): Promise<Reply> => send(url, client.endpoint, { method: 'POST', body: PING })
  const last = client.stream.events.at(-1)?.id ?? ''
  let was = ''
  await move(eye, ({ home }) => {
    was = String(home)
    return home
  })
  await first.app.mcp.drain()
  await client.stream.closed
  t.match(client.stream.events.at(-1), { id: last }, 'nothing is lost')

  t.match(await post(second.url), CLOSING, 'nobody has it yet')
  t.match(await post(first.url), CLOSING)
  await move(eye, () => was)
  t.match(await post(second.url), CLOSING, 'the other node reads a moment too early')
  t.match(await post(first.url), CLOSING)
  await move(eye, () => null)
  const third = await startMember(t, redis.port, store => late('deadbeef', store))
  t.match(await post(third.url), CLOSING, 'that node is gone already')

  const stream = await EventStream.open(second.url, '/sse', { headers: { 'last-event-id': last } })
  t.match(await stream.next(), { event: 'endpoint', data: client.endpoint })
  t.equal((await post(third.url)).status, 202)
  t.match(await stream.message(), { id: 1, result: {} })
  await stream.close()
})

t.test('what is posted for the stream of a node that died is refused for good', async t => {
  const redis = await startRedis(t)
  const eye = new Redis(redis.port, '127.0.0.1')
  t.teardown(() => eye.disconnect())
  const [first, second] = await Promise.all([startMember(t, redis.port), startMember(t, redis.port)])
  const client = await SseClient.connect(first.url)
  await move(eye, () => 'deadbeef')
  // Unless its lease was never known, Redis may just have come back.
  t.match(await send(second.url, client.endpoint, { method: 'POST', body: PING }), UNKNOWN)
  await client.close()
})
