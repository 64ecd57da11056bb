// What goes wrong between a proxy and its two sides: slow readers, frames cut in two, crowds on one connection, bodies in drips.
import { once } from 'node:events'
import { type ClientRequest, request } from 'node:http'
import type { FastifyInstance } from 'fastify'
import type { McpOptions } from 'fastify-mcp-sse'
import t, { type Test } from 'tap'
import { Client, createApp, EventStream, listen, read, type RpcMessage, until, within } from './client.ts'
import { askerOf, type Protocol } from './proxy/asker.ts'
import { makeCertificate } from './proxy/certificate.ts'
import type { Proxy } from './proxy/daemon.ts'
import { eras } from './proxy/eras.ts'
import { startHaproxy } from './proxy/haproxy.ts'
import { type ProxyOptions, startNginx } from './proxy/nginx.ts'
import { gate, settles } from './sockets.ts'

const PROTOCOLS: Protocol[] = ['HTTP/1.1', 'HTTP/2']
const certificate = makeCertificate(t)
const ca = certificate.cert
const starts: Record<'nginx' | 'haproxy', (t: Test, options: ProxyOptions) => Promise<Proxy>> = { nginx: startNginx, haproxy: startHaproxy }

const KIB = 1_024
const MIB = KIB * KIB
const isProgress = ({ method }: RpcMessage): boolean => method === 'notifications/progress'

/** Registers `flood`, which yields numbered frames as fast as it may, and tells how many. */
function addFlood (app: FastifyInstance, count: number) {
  let yielded = 0
  app.mcp.tool('flood', {}, async function * () {
    for (yielded = 0; yielded < count;) yield { progress: ++yielded, message: `${yielded}`.padEnd(16 * KIB, '.') }
  })
  return () => yielded
}

for (const name of ['nginx', 'haproxy'] as const) {
  t.test(`a client that does not read stops its tool through ${name}, and misses nothing afterwards`, async t => {
    const app = await createApp(t)
    // 96 MiB, more than all the sockets on the way hold.
    const count = 6_000
    const yielded = addFlood(app, count)
    const proxy = await starts[name](t, { behind: await listen(app), certificate })
    for (const protocol of PROTOCOLS) {
      const client = await eras['2026-07-28'](askerOf(t, protocol, proxy.url, { ca }))
      const { stream, id } = await client.call('flood')
      stream.body.pause()
      await settles(yielded, 300)
      t.ok(yielded() < count, `${protocol}: it stopped after ${yielded()} of ${count}`)
      t.equal(app.mcp.stats().calls, 1)
      stream.body.resume()
      await stream.message(message => message.id === id)
      t.strictSame(stream.messages.filter(isProgress).map(({ params }) => params.progress), Array.from({ length: count }, (_, index) => index + 1))
      await stream.close()
    }
  })

  t.test(`${name} goes away in the middle of a frame: it comes once and whole`, async t => {
    const app = await createApp(t, { sessions: { replay: { bytes: 32 * MIB } } })
    const { opened, open } = gate()
    const frame = 'x'.repeat(8 * MIB)
    app.mcp.tool('steps', {}, async function * () {
      yield 'first '
      await opened
      yield { progress: 5, message: frame }
    })
    const proxy = await starts[name](t, { behind: await listen(app) })
    for (const era of ['HTTP+SSE', '2025-11-25'] as const) {
      const client = await eras[era](askerOf(t, 'HTTP/1.1', proxy.url))
      const { stream, id } = await client.call('steps')
      await stream.message(isProgress)
      const begun = once(stream.body, 'data')
      open()
      await within(begun, 'the begin of the frame')
      stream.body.pause()
      await proxy.reload()
      stream.body.resume()
      await within(stream.closed, 'the end of the stream')
      t.equal(stream.messages.filter(isProgress).length, 1, `${era}: it has half of the frame`)
      const resumed = await client.resume?.(stream.events.at(-1)?.id ?? '')
      t.match(await resumed?.message(message => message.id === id), { result: { content: [{ text: 'first ' }] } })
      const frames = resumed?.messages.filter(isProgress) ?? []
      t.equal(frames.length, 1)
      t.ok(frames[0]?.params.message === frame, 'whole')
      await resumed?.close()
    }
  })

  t.test(`a hundred streams share one connection of HTTP/2 to ${name}, and one that nobody reads stops no other`, async t => {
    const app = await createApp(t)
    const { opened, open } = gate()
    app.mcp.tool('steps', {}, async function * () {
      yield 'first '
      await opened
      yield 'second'
    })
    const yielded = addFlood(app, 3_000)
    const proxy = await starts[name](t, { behind: await listen(app), certificate })
    const client = await eras['2026-07-28'](askerOf(t, 'HTTP/2', proxy.url, { ca }))
    const deaf = await client.call('flood')
    deaf.stream.body.pause()
    await settles(yielded, 300)
    const calls = await Promise.all(Array.from({ length: 90 }, () => client.call('steps')))
    await Promise.all(calls.map(({ stream }) => stream.message(isProgress)))
    t.equal(app.mcp.stats().calls, 91, 'all of them are told of the first chunk while they run')
    open()
    for (const { stream, id } of calls) {
      t.match(await stream.message(message => message.id === id), { result: { content: [{ text: 'first second' }] } })
    }
    await deaf.stream.close()
    await until(() => app.mcp.stats().calls === 0, 'the deaf call to end')
  })
}

// ---- bodies ----

const READ = 'proxy_read_timeout 60s;'
const UNBUFFERED = { [READ]: `${READ} proxy_request_buffering off;` }
const bodies = [['nginx', 'with request buffering', {}], ['nginx', 'without request buffering', UNBUFFERED], ['haproxy', 'as documented', {}]] as const

async function serve (t: Test, name: keyof typeof starts, changes: Record<string, string>, options: McpOptions = {}) {
  const app = await createApp(t, { sessions: false, ...options })
  app.mcp.tool('echo', {}, () => 'said')
  let seen = 0
  app.server.on('request', () => { seen++ })
  return { app, proxy: await starts[name](t, { behind: await listen(app), changes }), seen: () => seen }
}

function post (url: string, headers: Record<string, string> = {}): ClientRequest {
  const outgoing = request(new URL('/mcp', url), { method: 'POST', agent: false, headers: { accept: 'application/json, text/event-stream', 'content-type': 'application/json', ...headers } })
  return outgoing.on('error', () => {})
}

const CALL = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo', arguments: {} } })

for (const [name, how, changes] of bodies) {
  t.test(`through ${name} ${how} a body in drips is read, and one that breaks off leaves nothing`, async t => {
    const { app, proxy, seen } = await serve(t, name, changes)
    const slow = post(proxy.url)
    const answered = once(slow, 'response')
    const [first = '', ...rest] = CALL.match(/.{1,8}/g) ?? []
    slow.write(first)
    // With request buffering the server hears of it when all is there.
    if (how !== 'with request buffering') await until(() => seen() === 1, 'the head of the request')
    for (const text of rest) await new Promise(resolve => slow.write(text, resolve))
    slow.end()
    const [response] = await within(answered, 'the answer')
    const { status, messages } = await read({ status: response.statusCode, headers: response.headers, body: response })
    t.equal(status, 200)
    t.match(messages, [{ id: 1, result: { content: [{ text: 'said' }] } }])

    const before = seen()
    const broken = post(proxy.url)
    broken.write(first)
    if (how !== 'with request buffering') await until(() => seen() > before, 'the head of the request')
    broken.destroy()
    const client = new Client(proxy.url)
    t.match((await client.call('echo')).result, { content: [{ text: 'said' }] })
    t.match(app.mcp.stats(), { calls: 0, streams: 0 })
    await within(app.close(), 'the server')
  })

  t.test(`through ${name} ${how} who is refused before the body is read is told why`, async t => {
    const options: McpOptions = { auth: { tokens: [{ token: 'secret', principal: 'ci' }] }, limits: { body: 64 * KIB } }
    const { app, proxy } = await serve(t, name, changes, options)
    const body = 'x'.repeat(3 * MIB)
    for (const [headers, status, code] of [[{}, 401, 'FST_MCP_UNAUTHORIZED'], [{ authorization: 'Bearer secret' }, 413, 'FST_MCP_BODY_TOO_LARGE']] as const) {
      for (let round = 0; round < 10; round++) {
        const outgoing = post(proxy.url, { ...headers, 'content-length': String(body.length) })
        const answered = once(outgoing, 'response')
        outgoing.end(body)
        const [response] = await within(answered, 'the refusal')
        const reply = await read({ status: response.statusCode, headers: response.headers, body: response })
        t.equal(reply.status, status)
        t.equal(reply.messages[0]?.error?.data.code, code)
      }
    }
    t.match(app.mcp.stats(), { calls: 0, streams: 0 })
  })
}

t.test('no stream of any era is left when nginx dies', async t => {
  const app = await createApp(t, { sessions: { replay: { window: 200 } } })
  app.mcp.tool('wait', {}, async function * (_args, { signal }) {
    yield 'first'
    await once(signal, 'abort')
  })
  const behind = await listen(app)
  await t.test('while it lives', async t => {
    const proxy = await startNginx(t, { behind, certificate })
    const streams: EventStream[] = []
    for (const connect of Object.values(eras)) {
      const client = await connect(askerOf(t, 'HTTP/2', proxy.url, { ca }))
      const { stream } = await client.call('wait')
      await stream.message(isProgress)
      streams.push(stream)
    }
    t.match(app.mcp.stats(), { calls: 3, streams: 3 })
  })
  await until(() => app.mcp.stats().streams + app.mcp.stats().calls === 0, 'all to end')
  t.pass('all ended')
})
