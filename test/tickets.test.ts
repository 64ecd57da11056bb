// Tickets for an EventSource: what each lets in, once, and all that it does not.
import { mock } from 'node:test'
import { EventSource } from 'eventsource'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import mcp, { type McpOptions, memoryStore, type OpenStore, type Store } from 'fastify-mcp-sse'
import t, { type Test } from 'tap'
import { createApp, EventStream, listen, type Reply, type RequestInit, type RpcMessage, send, type Target, until } from './client.ts'
import { gate, wire } from './sockets.ts'
import { laterStore, overriding, storeWith } from './stores.ts'

const tokens = [
  { token: 'ada', principal: 'ada', scopes: ['read'] }, { token: 'ada-refreshed', principal: 'ada', scopes: ['read', 'write'] },
  { token: 'bob', principal: 'bob', scopes: ['read'] }, { token: 'eve', principal: 'eve' }
]
const auth = { tokens }
const SSE = { accept: 'text/event-stream' }
const SECRET = 'a-bearer-token-of-its-own'
const REFUSAL = 'The ticket is not known, has expired or was used: POST for a new one'
const UNKNOWN = 'A'.repeat(32)
const as = (token: string) => ({ authorization: `Bearer ${token}` })
const back = (lastEventId: string) => ({ 'last-event-id': lastEventId })
const codeOf = ({ messages: [message] }: Reply): string | undefined => message?.error?.data.code

interface Issued {
  ticket: string
  url: string
  ttl: number
}

const ask = (target: Target, headers: Record<string, string> = as('ada'), path = '/sse/ticket'): Promise<Reply> =>
  send(target, path, { method: 'POST', headers })

async function issue (target: Target, token = 'ada', path?: string): Promise<Issued> {
  const { status, text } = await ask(target, as(token), path)
  if (status !== 200) throw new Error(`no ticket: ${status} ${text}`)
  return JSON.parse(text)
}

/** A stream with the session that it tells of, and the id that comes back to it. */
async function enter (target: Target, url: string, headers: Record<string, string> = {}) {
  const stream = await EventStream.open(target, url, { headers: { ...SSE, ...headers } })
  const { event, data, id = '' } = await stream.next()
  if (event !== 'endpoint') throw new Error(`the first event is ${event}, not endpoint`)
  return { stream, endpoint: data, id, leave: () => stream.close() }
}

const come = (target: Target, url: string, headers: Record<string, string> = {}): Promise<Reply> =>
  send(target, url, { headers: { ...SSE, ...headers } })

const post = (target: Target, endpoint: string, token: string, message: object = { id: 1, method: 'ping' }): Promise<Reply> =>
  send(target, endpoint, { method: 'POST', headers: as(token), body: { jsonrpc: '2.0', ...message } })

function refused (t: Test, reply: Reply, what: string): void {
  t.match(reply, {
    status: 401,
    headers: { 'www-authenticate': 'Bearer', 'content-type': 'application/json; charset=utf-8' },
    messages: [{ error: { code: -32000, message: REFUSAL, data: { code: 'FST_MCP_TICKET_INVALID' } } }]
  }, what)
}

async function serve (t: Test, options: McpOptions = {}, server: FastifyServerOptions = {}): Promise<{ app: FastifyInstance, url: string }> {
  const app = await createApp(t, { auth, ...options }, server)
  return { app, url: await listen(app) }
}

// ---- the life of a ticket ----

t.test('an `eventsource` opens a stream with a ticket, loses its connection, and comes back with the same ticket by itself', async t => {
  const { app, url } = await serve(t)
  const door = gate()
  app.mcp.tool('steps', {}, async function * (_args, { principal }) {
    yield `${principal?.id}: one `
    await door.opened
    yield 'two '
    yield 'three'
  })
  const { url: wired, cut } = await wire(t, url)
  const asked: (string | undefined)[] = []
  app.server.on('request', ({ url, headers }) => { if (url?.startsWith('/sse?') === true) asked.push(headers['last-event-id']?.toString()) })
  const { url: path } = await issue(wired)
  const source = new EventSource(new URL(path, wired))
  t.after(() => source.close())
  const endpoints: string[] = []
  const messages: RpcMessage[] = []
  source.addEventListener('endpoint', ({ data }) => endpoints.push(data))
  source.addEventListener('message', ({ data }) => messages.push(JSON.parse(data)))

  await until(() => endpoints.length === 1, 'the endpoint')
  const [endpoint = ''] = endpoints
  t.equal((await post(url, endpoint, 'ada', { id: 2, method: 'tools/call', params: { name: 'steps', _meta: { progressToken: 'p' } } })).status, 202)
  await until(() => messages.length === 1, 'the first chunk')
  cut()
  await until(() => app.mcp.stats().streams === 0, 'the server to notice')
  door.open()
  await until(() => messages.length === 4, 'the rest')
  t.match(messages, [
    { params: { message: 'ada: one ' } }, { params: { message: 'two ' } }, { params: { message: 'three' } },
    { id: 2, result: { content: [{ text: 'ada: one two three' }] } }
  ])
  t.match(asked, [undefined, /_1$/], 'the browser names the last event that it saw')
  t.equal(new Set(endpoints).size, 1, 'in its session')
  t.equal(app.mcp.stats().sessions, 1)

  source.close()
  const other = new EventSource(new URL(path, wired))
  t.after(() => other.close())
  await until(() => other.readyState === EventSource.CLOSED, 'a second page to give up')
  t.equal(app.mcp.stats().sessions, 1, 'it has no Last-Event-ID, and gets nothing')
})

t.test('a ticket is 192 random bits, told once with its URL and time', async t => {
  const { app } = await serve(t, { tickets: { ttl: 1_234, maxPerPrincipal: 1_000 } })
  const replies = await Promise.all(Array.from({ length: 200 }, () => ask(app)))
  const issued: Issued[] = replies.map(({ text }) => JSON.parse(text))
  for (const { ticket } of issued) t.match(ticket, /^[\w-]{32}$/)
  t.equal(new Set(issued.map(({ ticket }) => ticket)).size, 200)
  const bytes = Buffer.concat(issued.map(({ ticket }) => Buffer.from(ticket, 'base64url')))
  t.equal(bytes.length, 200 * 24)
  t.ok(new Set(bytes).size > 250, 'every byte takes every value')
  t.strictSame(Object.keys(issued[0] ?? {}), ['ticket', 'url', 'ttl'])
  t.match(replies[0], { headers: { 'cache-control': 'no-store', 'content-type': 'application/json; charset=utf-8' } })
  t.match(issued[0], { url: `/sse?ticket=${issued[0]?.ticket}`, ttl: 1_234 })
})

t.test('a ticket is good to the last millisecond of its time', async t => {
  mock.timers.enable({ apis: ['Date'], now: Date.now() })
  t.after(() => mock.timers.reset())
  const { app } = await serve(t, { tickets: { ttl: 5_000 } })
  const [early, late] = [await issue(app), await issue(app)]
  mock.timers.tick(4_999)
  await enter(app, early.url)
  mock.timers.tick(1)
  refused(t, await come(app, late.url), 'one more')
  const { ttl } = await issue(app)
  t.equal(ttl, 5_000)
})

t.test('no store ever sees a ticket or a bearer token, only the hash of a ticket', async t => {
  const seen: unknown[] = []
  const store = storeWith(({ sessions, tickets }) => ({
    sessions: overriding(sessions, {
      create (record, max) {
        seen.push(record)
        return sessions.create(record, max)
      }
    }),
    tickets: overriding(tickets, {
      issue (record, max) {
        seen.push(record)
        return tickets.issue(record, max)
      },
      take (hash) {
        seen.push(hash)
        return tickets.take(hash)
      }
    })
  }))
  const { url } = await serve(t, { auth: { tokens: [{ token: SECRET, principal: 'ada' }] }, store })
  const issued = await issue(url, SECRET)
  const { leave } = await enter(url, issued.url)
  await leave()
  const hash = /^[\w-]{43}$/
  t.match(seen, [{ hash, owner: String, principal: { id: 'ada' } }, hash, { transport: 'http+sse', ticket: { hash, principal: { id: 'ada' } } }])
  for (const secret of [issued.ticket, SECRET]) t.notMatch(JSON.stringify(seen), secret)
})

// ---- once ----

/** What of a reply a client could tell two refusals by. */
function shownIn ({ status, headers, text }: Reply): object {
  const { date: _, ...rest } = headers
  // Every request has another id.
  return { status, headers: rest, text: text.replace(/"request":"req-\w+"/, '') }
}

t.test('a used ticket is refused as one that never was, with the same work', async t => {
  const work: string[] = []
  const store = storeWith(({ sessions, tickets }) => ({
    sessions: overriding(sessions, {
      get (id) {
        work.push('session')
        return sessions.get(id)
      }
    }),
    tickets: overriding(tickets, {
      take (hash) {
        work.push('ticket')
        return tickets.take(hash)
      }
    })
  }))
  const { app, url } = await serve(t, { store, sessions: { replay: { window: 50 } } })
  const mine = await issue(url)
  const first = await enter(url, mine.url)
  const second = await enter(url, (await issue(url)).url)
  const bobs = await enter(url, (await issue(url, 'bob')).url)
  const compare = async (name: string, headers: Record<string, string>): Promise<void> => {
    const seen = []
    for (const path of [mine.url, `/sse?ticket=${UNKNOWN}`]) {
      work.length = 0
      const reply = await come(url, path, headers)
      refused(t, reply, name)
      seen.push({ ...shownIn(reply), work: [...work] })
    }
    t.strictSame(seen[0], seen[1], name)
  }
  await compare('without Last-Event-ID', {})
  for (const [name, id] of [['the session of another', bobs.id], ['another session of its own', second.id], ['no session', 'nobody_1'], ['nothing', 'nonsense']] as const) {
    await compare(`with a Last-Event-ID of ${name}`, back(id))
  }
  await first.leave()
  await until(() => app.mcp.stats().sessions === 2, 'the end of the session')
  await compare('after its session has ended', back(first.id))
  t.match(app.mcp.stats(), { sessions: 2, streams: 2 }, 'and nothing was opened')
  await Promise.all([second.leave(), bobs.leave()])
})

t.test('of many who bring one ticket at once, one gets in', async t => {
  const { app, url } = await serve(t)
  const { url: path } = await issue(url)
  const streams = await Promise.all(Array.from({ length: 20 }, () => EventStream.open(url, path, { headers: SSE })))
  t.strictSame([200, 401].map(expected => streams.filter(({ status }) => status === expected).length), [1, 19])
  t.equal(app.mcp.stats().sessions, 1)
  await Promise.all(streams.map(stream => stream.close()))
})

t.test('what is no ticket is refused', async t => {
  const { app, url } = await serve(t)
  const [{ ticket: a }, { ticket: b }] = [await issue(url), await issue(url)]
  for (const text of ['', 'x', '__proto__', 'constructor', `${a} `, a.toLowerCase() + a.toUpperCase(), a.slice(0, -1), `${a}%00`, 'é', 'x'.repeat(4_000)]) {
    refused(t, await come(url, `/sse?ticket=${encodeURI(text)}`), text)
  }
  for (const query of [`ticket=${a}&ticket=${b}`, `ticket[]=${a}`, `TICKET=${a}`, `tickets=${a}`, `x=ticket=${a}`, `#ticket=${a}`]) {
    t.equal(codeOf(await come(url, `/sse?${query}`)), 'FST_MCP_UNAUTHORIZED', query)
  }
  t.equal(app.mcp.stats().sessions, 0)
  for (const ticket of [a, b]) await (await enter(url, `/sse?x=1&ticket=${ticket}&y=2`)).leave()
})

t.test('a bearer token in a query is never accepted', async t => {
  const { app } = await serve(t)
  for (const name of ['access_token', 'token', 'bearer', 'authorization', 'key']) {
    for (const [method, path] of [['GET', '/sse'], ['POST', '/sse/ticket'], ['POST', '/messages'], ['POST', '/mcp'], ['GET', '/mcp']] as const) {
      const body = method === 'POST' ? { jsonrpc: '2.0', id: 1, method: 'ping' } : undefined
      const reply = await send(app, `${path}?${name}=ada`, { method, headers: SSE, body })
      t.match(reply, { status: 401, headers: { 'www-authenticate': 'Bearer' } }, `${method} ${path}?${name}`)
      t.equal(codeOf(reply), 'FST_MCP_UNAUTHORIZED')
    }
  }
  refused(t, await come(app, '/sse?ticket=ada'), 'not even as a ticket')
  refused(t, await come(app, '/sse?ticket=Bearer%20ada'), 'not even as a ticket')
})

t.test('a ticket opens the stream by GET and nothing else, and what refuses it does not use it up', async t => {
  const { url } = await serve(t)
  const { ticket, url: path } = await issue(url)
  const { endpoint, leave } = await enter(url, '/sse', as('ada'))
  const tries: [path: string, init: RequestInit][] = [
    ...['HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'].map((method): [string, RequestInit] => [path, { method }]),
    [`/sse/ticket?ticket=${ticket}`, { method: 'POST' }],
    [`/messages?ticket=${ticket}`, { method: 'POST', body: {} }], [`${endpoint}&ticket=${ticket}`, { method: 'POST', body: {} }],
    [`/mcp?ticket=${ticket}`, { method: 'POST', body: {} }], [`/mcp?ticket=${ticket}`, {}], [`/mcp?ticket=${ticket}`, { method: 'DELETE' }]
  ]
  for (const [path, { method = 'GET', body }] of tries) {
    const reply = await send(url, path, { method, body, headers: SSE })
    t.match(reply, { status: 401, headers: { 'www-authenticate': 'Bearer' } }, `${method} ${path}`)
    if (method !== 'HEAD') t.equal(codeOf(reply), 'FST_MCP_UNAUTHORIZED')
  }
  t.equal(codeOf(await come(url, path, { origin: 'https://evil.example' })), 'FST_MCP_ORIGIN_FORBIDDEN')
  await (await enter(url, path)).leave()
  await leave()
})

t.test('an Authorization header wins, whatever it says, and leaves the ticket unused', async t => {
  const { url } = await serve(t)
  const { url: path } = await issue(url)
  t.match(await come(url, path, as('wrong')), { status: 401, headers: { 'www-authenticate': 'Bearer error="invalid_token"' } })
  t.equal(codeOf(await come(url, path, { authorization: '' })), 'FST_MCP_TOKEN_INVALID')
  const bobs = await enter(url, path, as('bob'))
  t.equal((await post(url, bobs.endpoint, 'ada')).status, 404, 'it is a session of the bearer')
  t.equal((await post(url, bobs.endpoint, 'bob')).status, 202)
  await bobs.leave()
  const adas = await enter(url, path)
  t.equal((await post(url, adas.endpoint, 'ada')).status, 202)
  await adas.leave()
})

// ---- whose it is ----

t.test('a session that a ticket opened belongs to the principal of the ticket', async t => {
  const { app, url } = await serve(t)
  app.mcp.tool('who', {}, (_args, { principal }) => `${principal?.id} may ${principal?.scopes?.join(' and ')}`)
  const { stream, endpoint, leave } = await enter(url, (await issue(url)).url)
  t.match(await post(url, endpoint, 'bob'), { status: 404, messages: [{ error: { data: { code: 'FST_MCP_SESSION_UNKNOWN' } } }] })
  t.equal((await send(url, endpoint, { method: 'POST', body: { jsonrpc: '2.0', id: 1, method: 'ping' } })).status, 401)
  for (const [id, token, text] of [[1, 'ada', 'ada may read'], [2, 'ada-refreshed', 'ada may read and write']] as const) {
    t.equal((await post(url, endpoint, token, { id, method: 'tools/call', params: { name: 'who' } })).status, 202)
    t.match(await stream.message(), { id, result: { content: [{ text }] } }, 'a refreshed token goes on')
  }
  await leave()
})

t.test('a fresh ticket with the Last-Event-ID of a session of its principal resumes it, and is from then on its ticket', async t => {
  const { app, url } = await serve(t)
  app.mcp.tool('late', {}, () => 'late')
  const old = await issue(url)
  const first = await enter(url, old.url)
  await first.leave()
  t.equal((await post(url, first.endpoint, 'ada', { id: 7, method: 'tools/call', params: { name: 'late' } })).status, 202)
  const fresh = await issue(url, 'ada-refreshed')
  const second = await enter(url, fresh.url, back(first.id))
  t.equal(second.endpoint, first.endpoint)
  t.match(await second.stream.message(), { id: 7, result: { content: [{ text: 'late' }] } }, 'with what it missed')
  await second.leave()
  refused(t, await come(url, old.url, back(first.id)), 'the old one comes back no more')
  const third = await enter(url, fresh.url, back(first.id))
  t.equal(third.endpoint, first.endpoint)
  await third.leave()

  const byToken = await enter(url, '/sse', { ...as('ada'), ...back(first.id) })
  t.equal(byToken.endpoint, first.endpoint, 'a bearer token resumes it as well')
  await byToken.leave()
  const fourth = await enter(url, fresh.url, back(first.id))
  t.equal(fourth.endpoint, first.endpoint, 'and takes no ticket away')
  await fourth.leave()
  t.equal(app.mcp.stats().sessions, 1)
})

t.test('a fresh ticket with the Last-Event-ID of anything else opens a new session, whose ticket it is', async t => {
  const { app, url } = await serve(t)
  const bobs = await enter(url, (await issue(url, 'bob')).url)
  for (const id of [bobs.id, 'nobody_1', 'nonsense']) {
    const { url: path } = await issue(url)
    const mine = await enter(url, path, back(id))
    t.not(mine.endpoint, bobs.endpoint)
    t.strictSame(mine.stream.comments, ['the session of this Last-Event-ID is gone: this is a new one'])
    refused(t, await come(url, path, back(id)), 'it is the ticket of nothing else')
    await mine.leave()
    const again = await enter(url, path, back(mine.id))
    t.equal(again.endpoint, mine.endpoint)
    await again.leave()
  }
  t.equal((await post(url, bobs.endpoint, 'bob')).status, 202, 'nobody noticed')
  t.match(await bobs.stream.message(), { id: 1, result: {} })
  t.equal(app.mcp.stats().sessions, 4)
  await bobs.leave()
})

t.test('a used ticket whose session cannot be resumed any more opens no other', async t => {
  let isTold = true
  const store = storeWith(({ events }) => ({
    events: overriding(events, { after: () => ({ frames: [], isComplete: false, lost: [], isTold }) })
  }))
  const { app, url } = await serve(t, { store })
  const { url: path } = await issue(url)
  const { id, leave } = await enter(url, path)
  await leave()
  await (await enter(url, path, back(id))).leave()
  isTold = false
  refused(t, await come(url, path, back(id)), 'more was lost than can be told')
  await until(() => app.mcp.stats().sessions === 0, 'the end of the session')

  const { id: lost, leave: go } = await enter(url, (await issue(url)).url)
  await go()
  const fresh = await enter(url, (await issue(url)).url, back(lost))
  t.not(fresh.id.split('_')[0], lost.split('_')[0], 'a fresh one does')
  await fresh.leave()
})

t.test('a used ticket is of no use for a session of which only the record is left', async t => {
  let opened: OpenStore | undefined
  // As if the second server had been started in the place of the first.
  const store: Store = {
    open (limits) {
      opened ??= memoryStore().open(limits)
      return { ...opened, close: () => {} }
    }
  }
  const [before, after] = [await serve(t, { store }), await serve(t, { store })]
  const { url: path } = await issue(before.url)
  const { id, leave } = await enter(before.url, path)
  await leave()
  refused(t, await come(after.url, path, back(id)), 'as after a restart')
  const unused = await issue(before.url)
  await (await enter(after.url, unused.url)).leave()
})

t.test('a client that claims a revision without sessions has no Last-Event-ID', async t => {
  const { url } = await serve(t)
  const { url: path } = await issue(url)
  const { id, leave } = await enter(url, path)
  const reply = await come(url, path, { ...back(id), 'mcp-protocol-version': '2026-07-28' })
  t.match(reply, { status: 401, messages: [{ error: { data: { code: 'FST_MCP_TICKET_INVALID' } } }] })
  await leave()
})

t.test('a store that fails to bind a ticket leaves no stream behind', async t => {
  let fails = false
  const store = storeWith(({ sessions }) => ({
    sessions: overriding(sessions, {
      async update () { if (fails) throw new Error('down') }
    })
  }))
  const { app, url } = await serve(t, { store })
  const { id, endpoint, leave } = await enter(url, (await issue(url)).url)
  await leave()
  await until(() => app.mcp.stats().streams === 0, 'the server to notice')
  fails = true
  t.match(await come(url, (await issue(url)).url, back(id)), { status: 500, messages: [{ error: { data: { code: 'FST_MCP_INTERNAL' } } }] })
  t.equal(app.mcp.stats().streams, 0)
  fails = false
  const again = await enter(url, (await issue(url)).url, back(id))
  t.equal(again.endpoint, endpoint)
  await again.leave()
})

t.test('tickets do the same with a store that answers later', async t => {
  const { app, url } = await serve(t, { store: laterStore(), tickets: { maxPerPrincipal: 1 } })
  const old = await issue(url)
  t.match(await ask(url), { status: 429, messages: [{ error: { data: { code: 'FST_MCP_QUOTA_EXCEEDED' } } }] })
  const first = await enter(url, old.url)
  refused(t, await come(url, old.url), 'used')
  await first.leave()
  const again = await enter(url, old.url, back(first.id))
  t.equal(again.endpoint, first.endpoint)
  await again.leave()
  const fresh = await issue(url)
  const second = await enter(url, fresh.url, back(first.id))
  t.equal(second.endpoint, first.endpoint)
  await second.leave()
  refused(t, await come(url, old.url, back(first.id)), 'the fresh one is its ticket now')
  await (await enter(url, fresh.url, back(first.id))).leave()
  refused(t, await come(url, `/sse?ticket=${UNKNOWN}`, back(first.id)), 'unknown')
  t.equal(app.mcp.stats().sessions, 1)
})

// ---- who may have one ----

t.test('a ticket is for those whom the server lets in, with all that their requests need', async t => {
  let covers = true
  const hierarchy = (granted: string, needed: string) => covers && granted === 'write' && needed === 'admin'
  const { url } = await serve(t, { auth: { tokens, scopes: ['read'], hierarchy } })
  t.match(await ask(url, {}), { status: 401, headers: { 'www-authenticate': 'Bearer scope="read"' }, messages: [{ error: { data: { code: 'FST_MCP_UNAUTHORIZED' } } }] })
  t.match(await ask(url, as('wrong')), { status: 401, headers: { 'www-authenticate': 'Bearer error="invalid_token", scope="read"' } })
  t.match(await ask(url, as('eve')), { status: 403, headers: { 'www-authenticate': 'Bearer error="insufficient_scope", scope="read"' } })
  t.match(await come(url, `/sse?ticket=${UNKNOWN}`), { status: 401, headers: { 'www-authenticate': 'Bearer scope="read"' } })
  await (await enter(url, (await issue(url)).url)).leave()

  const admins = await serve(t, { auth: { tokens, scopes: ['admin'], hierarchy } })
  const { url: path } = await issue(admins.url, 'ada-refreshed')
  covers = false
  t.match(await come(admins.url, path), { status: 403, headers: { 'www-authenticate': 'Bearer error="insufficient_scope", scope="admin"' } }, 'asked again when it is used')
})

t.test('unused tickets are counted by principal and in all, and using one makes room', async t => {
  const { url } = await serve(t, { tickets: { maxPerPrincipal: 2, max: 3 } })
  const [first] = [await issue(url), await issue(url, 'ada-refreshed')]
  t.match(await ask(url), {
    status: 429,
    headers: { 'retry-after': '5' },
    messages: [{ error: { message: 'One principal may hold 2 tickets at once, and this one does', data: { code: 'FST_MCP_QUOTA_EXCEEDED' } } }]
  })
  await issue(url, 'bob')
  t.match(await ask(url, as('bob')), {
    status: 503,
    headers: { 'retry-after': '5' },
    messages: [{ error: { message: 'The server holds as many unused tickets as it may', data: { code: 'FST_MCP_TICKETS_FULL' } } }]
  })
  const { leave } = await enter(url, first.url)
  await issue(url, 'bob')
  t.equal((await ask(url, as('eve'))).status, 503)
  await leave()
})

t.test('without auth a page needs not care: tickets work, and nobody is counted', async t => {
  for (const auth of [undefined, false] as const) {
    const { url } = await serve(t, { auth, tickets: { maxPerPrincipal: 1, max: 2 } })
    const ask = () => send(url, '/sse/ticket', { method: 'POST' })
    const issued: Issued[] = [await ask(), await ask()].map(({ text }) => JSON.parse(text))
    t.equal((await ask()).status, 503, 'but the total holds')
    const [a, b] = issued.map(({ url }) => url) as [string, string]
    const { endpoint, id, leave } = await enter(url, a)
    t.equal((await send(url, endpoint, { method: 'POST', body: { jsonrpc: '2.0', id: 1, method: 'ping' } })).status, 202)
    refused(t, await come(url, a), 'once')
    await leave()
    const again = await enter(url, a, back(id))
    t.equal(again.endpoint, endpoint)
    await again.leave()
    t.match(await send(url, b, { method: 'HEAD' }), { status: 405, headers: { allow: 'GET' } })
    await (await enter(url, b)).leave()
    await (await enter(url, '/sse')).leave()
  }
})

t.test('what guards the other routes guards the tickets', async t => {
  const origins = ['https://app.example']
  const { app, url } = await serve(t, { origins, hosts: ['127.0.0.1'] })
  t.equal(codeOf(await ask(app, { ...as('ada'), host: 'evil.example' })), 'FST_MCP_HOST_FORBIDDEN')
  t.equal(codeOf(await ask(url, { ...as('ada'), origin: 'https://evil.example' })), 'FST_MCP_ORIGIN_FORBIDDEN')
  const preflight = { 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization' }
  const asked = await send(url, '/sse/ticket', { method: 'OPTIONS', headers: { origin: 'https://app.example', ...preflight } })
  t.match(asked, { status: 204, headers: { 'access-control-allow-origin': 'https://app.example', 'access-control-allow-headers': /authorization/, allow: 'POST' } })
  t.equal((await send(url, '/sse/ticket', { method: 'OPTIONS', headers: { origin: 'https://evil.example', ...preflight } })).status, 403)
  const reply = await ask(url, { ...as('ada'), origin: 'https://app.example' })
  t.match(reply, { status: 200, headers: { 'access-control-allow-origin': 'https://app.example', 'x-content-type-options': 'nosniff' } })
  const { stream, leave } = await enter(url, JSON.parse(reply.text).url, { origin: 'https://app.example' })
  t.equal(stream.headers['access-control-allow-origin'], 'https://app.example')
  await leave()

  const open = await createApp(t)
  const foreign = await open.inject({ method: 'POST', url: '/sse/ticket', remoteAddress: '192.0.2.1' })
  t.match(foreign.json(), { error: { data: { code: 'FST_MCP_PEER_FORBIDDEN' } } })
})

t.test('addresses and principals are limited where they ask for tickets and where they bring them', async t => {
  const { url } = await serve(t, { rateLimit: { max: 3, maxPerAddress: 6, timeWindow: 60_000 } })
  const limited = (reply: Reply, what: string): void => {
    t.match(reply, { status: 429, headers: { 'retry-after': /^\d+$/ }, messages: [{ error: { message: new RegExp(`for one ${what}`), data: { code: 'FST_MCP_RATE_LIMITED' } } }] })
  }
  const [first] = [await issue(url), await issue(url)]
  await (await enter(url, first.url)).leave()
  limited(await ask(url), 'principal')
  refused(t, await come(url, `/sse?ticket=${UNKNOWN}`), 'guesses count')
  refused(t, await come(url, `/sse?ticket=${UNKNOWN}`), 'as requests of their address')
  limited(await come(url, `/sse?ticket=${UNKNOWN}`), 'address')
  limited(await ask(url, as('bob')), 'address')
})

t.test('the POST for a ticket takes no more than it needs', async t => {
  const { url } = await serve(t)
  const bodies: [body: string | undefined, type: string | undefined, status: number][] = [
    [undefined, undefined, 200], ['', undefined, 200], ['', 'application/json', 200], ['{}', 'application/json', 200],
    ['{', 'application/json', 400], ['x', 'text/plain', 415], ['a=b', 'application/x-www-form-urlencoded', 415]
  ]
  for (const [body, type, status] of bodies) {
    const headers = { ...as('ada'), ...(type !== undefined && { 'content-type': type }) }
    t.equal((await send(url, '/sse/ticket', { method: 'POST', headers, body })).status, status, `${type} ${body}`)
  }
  for (const [accept, status] of [['*/*', 200], ['application/json', 200], ['text/html', 406], ['text/event-stream', 406]] as const) {
    t.equal((await ask(url, { ...as('ada'), accept })).status, status, accept)
  }
  for (const method of ['GET', 'HEAD', 'PUT', 'DELETE']) {
    t.match(await send(url, '/sse/ticket', { method, headers: as('ada') }), { status: 405, headers: { allow: 'POST' } }, method)
  }
})

t.test('where there is no HTTP+SSE there are no tickets', async t => {
  for (const options of [{ paths: { sse: false as const } }, { sessions: false as const }]) {
    const { app } = await serve(t, options)
    t.equal((await ask(app)).status, 404)
  }
})

t.test('the URL of a ticket is the one that the client can open', async t => {
  const trailing: FastifyServerOptions = { routerOptions: { ignoreTrailingSlash: true, caseSensitive: false } }
  const rewriting: FastifyServerOptions = { rewriteUrl: ({ url = '' }) => url.replace(/^\/outside/, '').replace('/please', '/sse/ticket') }
  const cases: [options: McpOptions, server: FastifyServerOptions, scope: string, asked: string, path: string][] = [
    [{}, {}, '', '/sse/ticket', '/sse'],
    [{}, {}, '', '/sse/ticket?x=/ticket&ticket=y', '/sse'],
    [{}, trailing, '', '/sse/ticket/', '/sse'],
    [{}, trailing, '', '/SSE/Ticket/?x', '/sse'],
    [{ prefix: '/ai' }, {}, '', '/ai/sse/ticket', '/ai/sse'],
    [{ prefix: '/ai' }, {}, '/v1', '/v1/ai/sse/ticket', '/v1/ai/sse'],
    [{}, {}, '/sse/ticket', '/sse/ticket/sse/ticket', '/sse/ticket/sse'],
    [{ paths: { sse: '/' } }, {}, '', '/ticket', '/'],
    [{ paths: { sse: '/' } }, {}, '/events', '/events/ticket', '/events/'],
    [{ paths: { sse: '/events/' } }, {}, '', '/events/ticket', '/events/'],
    [{}, rewriting, '', '/outside/sse/ticket', '/outside/sse'],
    [{}, rewriting, '', '/please', '/sse'],
    [{}, {}, '/v1', '/v1/sse/t%69cket', '/v1/sse']
  ]
  for (const [options, server, scope, asked, path] of cases) {
    const app = Fastify(server)
    t.after(() => app.close())
    await app.register(async scope => { await scope.register(mcp, { auth, ...options }) }, { prefix: scope })
    const { ticket, url } = await issue(app, 'ada', asked)
    t.equal(url, `${path}?ticket=${ticket}`, asked)
    const base = await listen(app)
    await (await enter(base, url)).leave()
  }
})
