// What belongs to somebody else is answered as what does not exist: the same bytes, after the same steps.
import { memoryStore, type Store } from 'fastify-mcp-sse'
import t, { type Test } from 'tap'
import { z } from 'zod'
import { ACCEPT, Client, createApp, EventStream, listen, type Reply, type RequestInit, send, SseClient, until } from './client.ts'

const tokens = [{ token: 'alice', principal: 'alice' }, { token: 'bob', principal: 'bob' }]
const as = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` })
const PING = { jsonrpc: '2.0', id: 1, method: 'ping' }
const ALPHABET = /[\w-]/g

/** Notes what a store behind a socket would be asked for: each is a wait that a clock could see. */
function noting<T extends object> (calls: string[], name: string, target: T): T {
  return new Proxy(target, {
    get (of, key) {
      const value: unknown = Reflect.get(of, key)
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        calls.push(`${name}.${String(key)}`)
        const answer: unknown = Reflect.apply(value, of, args)
        return name === 'sessions' || key === 'after' ? Promise.resolve(answer) : answer
      }
    }
  })
}

function notingStore (calls: string[]): Store {
  return {
    open (limits) {
      const opened = memoryStore().open(limits)
      return { ...opened, sessions: noting(calls, 'sessions', opened.sessions), events: noting(calls, 'events', opened.events) }
    }
  }
}

async function serve (t: Test) {
  const calls: string[] = []
  const app = await createApp(t, { auth: { tokens }, store: notingStore(calls) })
  const url = await listen(app)
  /** What came of an attempt, and what it took. */
  const watch = async <T>(attempt: () => Promise<T>): Promise<{ came: T, took: string[] }> => {
    calls.length = 0
    const came = await attempt()
    return { came, took: [...calls] }
  }
  return { app, url, watch }
}

/** All of a response that could tell two refusals apart. */
// Every request has another id, and the length of that is no secret.
const shown = ({ status, headers: { date, 'content-length': _, ...headers }, text }: Reply): object =>
  ({ status, headers, text: text.replace(/"request":"req-\w+"/, '') })

t.test('a session that is foreign, over or of the other transport takes the same steps as an unknown one, to the same bytes', async t => {
  const { url, watch } = await serve(t)
  const alice = await Client.connect(url, { headers: as('alice') })
  const sse = await SseClient.connect(url, { headers: as('alice') })
  const own = await Client.connect(url, { headers: as('bob') })
  const ownSse = await SseClient.connect(url, { headers: as('bob') })
  const ended = await Client.connect(url, { headers: as('bob') })
  await ended.delete()
  const idOf = ({ endpoint }: SseClient): string => new URL(endpoint, url).searchParams.get('sessionId') ?? ''
  const unknown = String(alice.sessionId).replace(ALPHABET, 'A')
  const ids = { foreign: alice.sessionId, over: ended.sessionId }
  const onMcp = Object.entries({ ...ids, 'foreign, of HTTP+SSE': idOf(sse), 'his own, of HTTP+SSE': idOf(ownSse) })
  const onMessages = Object.entries({ ...ids, foreign: idOf(sse), 'his own, of Streamable HTTP': own.sessionId })

  const bodies = [PING, { jsonrpc: '2.0', method: 'notifications/initialized' }, { jsonrpc: '2.0', id: 1, result: {} }]
  const ways: RequestInit[] = [
    ...bodies.map(body => ({ method: 'POST', body })), { method: 'GET' }, { method: 'GET', headers: { 'last-event-id': 'a.i1_0' } }, { method: 'DELETE' }
  ]
  for (const init of ways) {
    const attempt = (id = '') => watch(async () => shown(await send(url, '/mcp', { ...init, headers: { accept: ACCEPT, ...as('bob'), ...init.headers, 'mcp-session-id': id } })))
    const expected = await attempt(unknown)
    t.match(expected, { came: { status: 404 }, took: ['sessions.get'] })
    for (const [name, id] of onMcp) t.strictSame(await attempt(id), expected, `${init.method} ${JSON.stringify(init.body)}: ${name}`)
  }
  for (const body of bodies) {
    const attempt = (id = '') => watch(async () => shown(await send(url, `/messages?sessionId=${id}`, { method: 'POST', headers: as('bob'), body })))
    const expected = await attempt(unknown)
    t.match(expected, { came: { status: 404 }, took: ['sessions.get'] })
    for (const [name, id] of onMessages) t.strictSame(await attempt(id), expected, `${JSON.stringify(body)}: ${name}`)
  }
  await sse.close()
  await ownSse.close()
})

t.test('an event id of somebody else takes the same steps as one of nobody, to the same bytes', async t => {
  const { app, url, watch } = await serve(t)
  app.mcp.tool('secret', {}, function * () { yield 'the secret of alice' })
  const alice = await Client.connect(url, { headers: as('alice') })
  const { events } = await alice.post({ jsonrpc: '2.0', id: 5, method: 'tools/call', params: { name: 'secret', _meta: { progressToken: 1 } } })
  const foreign = events.at(-2)?.id ?? ''
  const [name = '', rest = ''] = foreign.split('.')
  const bob = await Client.connect(url, { headers: as('bob') })
  const resume = (id: string) => watch(async () => {
    const stream = await bob.get(id)
    await stream.closed
    const { status, headers: { date, ...headers }, comments } = stream
    return { status, headers, comments, events: JSON.stringify(stream.events).replaceAll(id.split('.')[0] ?? '', 'NAME') }
  })
  const expected = await resume(`${name.replace(ALPHABET, '0')}.${rest}`)
  t.match(expected.came, { status: 200, events: /FST_MCP_REPLAY_GAP/ })
  t.strictSame(await resume(foreign), expected)

  const sse = await SseClient.connect(url, { headers: as('alice') })
  const theirs = sse.stream.events[0]?.id ?? ''
  const open = (id: string) => watch(async () => {
    const stream = await EventStream.open(url, '/sse', { headers: { ...as('bob'), 'last-event-id': id } })
    const { event, id: own = '' } = await stream.next()
    await stream.close()
    const { status, headers: { date, ...headers }, comments } = stream
    await until(() => app.mcp.stats().streams === 1, 'the server to notice')
    return { status, headers, comments, event, isOwn: !own.startsWith(id) }
  })
  t.strictSame(await open(theirs), await open(theirs.replace(/[\w-]{24}/, 'A'.repeat(24))))
  await sse.close()
})

t.test('the answer to a question of somebody else takes the same steps as one to nothing, and answers nobody', async t => {
  const { app, url, watch } = await serve(t)
  app.mcp.tool('ask', {}, async (_args, { ask }) => (await ask('sure', 'Sure?', z.object({ sure: z.boolean() }))).action)
  const alice = await Client.connect(url, { headers: as('alice'), capabilities: { elicitation: {} } })
  const stream = await alice.stream({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'ask' } })
  const question = String((await stream.message(({ method }) => method === 'elicitation/create')).id)
  const bob = await Client.connect(url, { headers: as('bob') })
  const answer = (id: string) => watch(async () => {
    const reply = shown(await bob.post({ jsonrpc: '2.0', id, result: { action: 'accept', content: { sure: true } } }))
    return JSON.stringify(reply).replaceAll(id, 'ID')
  })
  const expected = await answer(question.replace(ALPHABET, 'A'))
  t.match(expected.came, 'FST_MCP_RESPONSE_UNEXPECTED')
  t.strictSame(await answer(question), expected)
  t.equal(app.mcp.stats().questions, 1, 'she is still asked')
  t.equal((await alice.post({ jsonrpc: '2.0', id: question, result: { action: 'decline' } })).status, 202)
  t.match(await stream.message(), { result: { content: [{ text: 'decline' }] } })
  await stream.closed
})
