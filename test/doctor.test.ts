// The doctor at our own server: in health, with auth, on several nodes, and behind proxies that do it no good.
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createApp, listen, until } from './client.ts'
import { Balancer } from './cluster/balancer.ts'
import { consult, examine, startPatient } from './consultation.ts'
import { freePort } from './free-port.ts'
import { startMeddler } from './meddler.ts'
import { startNginx, withNginx } from './bare-nginx.ts'

const ERAS = ['2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05', '2026-07-28']
const ORIGIN = 'https://app.example'

t.test('a server in good health is well in every era, and nothing of the visit is left', async t => {
  const { app, url } = await startPatient(t, { origins: [ORIGIN], streams: { keepAlive: 100 } })
  const { code, found, verdicts, probes } = await examine(`${url}/mcp`, '--origin', ORIGIN, '--idle', '0.6')
  t.strictSame([code, found], [0, {}])
  t.strictSame(verdicts, Object.fromEntries(['reach', 'admission', ...ERAS, 'browser', 'idle'].map(id => [id, 'ok'])))
  for (const { id, measures } of probes.filter(({ id }) => ERAS.includes(id))) {
    t.ok(measures.chunks === 4 && (measures.longestGapMs ?? 0) > 100 && (measures.firstChunkMs ?? 1_000) < 400, id)
  }
  t.match(probes.at(-1)?.measures, { getStreamCommentMs: Number, sseStreamCommentMs: Number, listenStreamCommentMs: Number })
  t.equal(app.mcp.stats().calls, 0)
  // A session of HTTP+SSE has no DELETE: it ends after `sessions.replay.window`.
  t.ok(app.mcp.stats().sessions <= 2, 'sessions of Streamable HTTP are ended')
})

t.test('people get aligned lines, on a terminal in colours', async t => {
  const { url } = await startPatient(t)
  const { code, out } = await consult(['doctor', `${url}/mcp`, '--idle', '0'])
  t.equal(code, 0)
  t.match(out, /^✓ Streamable HTTP 2026-07-28 {2}ok {7}discover \d+ ms, chunks 4, first chunk \d+ ms, longest gap \d+ ms$/m)
  t.match(out, /^- A page in a browser {9}skipped {2}--origin names the origin of the page$/m)
  t.match(out, /^7 ok, 0 warned, 0 failed, 2 skipped$/m)
  const noted = await consult(['doctor', `${url}/mcp`, '--only', '2024-11-05'])
  t.match(noted.out, /HTTP\+SSE 2024-11-05 {2}ok .*chunks 4/, 'a revision that does not tell which tool does no harm')
  const coloured = await consult(['doctor', `${url}/nothing?key=secret`, '--only', '2026-07-28'], { hasColours: true })
  t.match(coloured.out, '\u001b[90m-\u001b[0m')
  t.notMatch(coloured.out, 'secret')
})

t.test('who watches is told how long streams are held open, and no secret of the URL', async t => {
  const { url } = await startPatient(t)
  const { host } = new URL(url)
  const said = async (...args: string[]) => (await consult(['doctor', `${url}/mcp?key=secret`, ...args], { isWatched: true })).err
  t.equal(await said('--idle', '0.1'), `examining ${host}, whose streams are held open for 0.1 s: see --idle\n`)
  t.equal(await said('--idle', '0.1', '--only', 'idle'), `examining ${host}, whose streams are held open for 0.1 s: see --idle\n`)
  t.equal(await said('--only', '2026-07-28'), `examining ${host}\n`)
  t.equal(await said('--idle', '0'), `examining ${host}\n`)
  t.equal((await consult(['doctor', `${url}/mcp`, '--idle', '0'])).err, '', 'who does not watch is told nothing')
})

t.test('a wrong path is told, and where the stream beside it is', async t => {
  const { url } = await startPatient(t)
  t.match(await examine(`${url}/nothing`), { code: 1, found: { reach: ['not-mcp'] } })
  const only = await examine(`${url}/nothing`, '--only', '2026-07-28')
  t.match([only.code, only.probes[0]?.findings], [1, [{ id: 'not-mcp', said: '/nothing answers, and speaks none of 2026-07-28' }]])
  t.match(await examine(`${url}/a/nothing`), { code: 1, found: { reach: ['not-mcp'] }, verdicts: { '2024-11-05': 'skipped' } })
  t.match(await examine(`${url}/sse`), { code: 0, found: {}, verdicts: { '2024-11-05': 'ok', '2025-11-25': 'skipped' } })
  t.match(await examine(`${url}/mcp`, '--sse', `${url}/sse`, '--only', '2024-11-05'), { code: 0, verdicts: { '2024-11-05': 'ok' } })
  t.match(await examine(`${url}/mcp`, '--sse', `${url}/nowhere`, '--only', '2024-11-05'), { code: 1, found: { '2024-11-05': ['endpoint-missing'] } })
})

t.test('a server without sessions is well', async t => {
  const { url } = await startPatient(t, { sessions: false })
  const { code, found, verdicts } = await examine(`${url}/mcp`, '--strict', '--idle', '0.1')
  t.strictSame([code, found], [0, {}])
  t.match(verdicts, { '2025-11-25': 'ok', '2024-11-05': 'skipped', '2026-07-28': 'ok' })
})

t.test('what keeps a stream alive is judged when the stream was held for long enough', async t => {
  const { url } = await startPatient(t, { streams: { keepAlive: 60_000 } })
  const [long, short] = await Promise.all(['16', '0.1'].map(idle => examine(`${url}/mcp`, '--only', '2026-07-28,idle', '--strict', '--idle', idle)))
  t.match(long, { code: 1, found: { idle: ['idle-silent'] } })
  t.match(short, { code: 0, found: {} })
  t.match(short?.probes.at(-1)?.notes, ['subscriptions/listen: open for 0.1 s', /held too short to tell/])
})

t.test('tools: the one that is named, one that fails, and one that says all at once', async t => {
  const { app, url } = await startPatient(t)
  const probesOf = async (...more: string[]) => await examine(`${url}/mcp`, '--only', '2025-11-25,2024-11-05', ...more)
  t.match((await probesOf('--tool', 'break')), { code: 1, found: { '2025-11-25': ['tool-failed'], '2024-11-05': ['tool-failed'] } })
  t.match((await probesOf('--tool', 'whole')).probes[2]?.notes, ['whole gave no chunk before its result'])
  const none = await probesOf('--tool', 'nothing')
  t.match(none, { code: 1, found: { '2025-11-25': ['tool-unknown'], '2024-11-05': ['tool-unknown'] } })
  t.match(none.probes[2]?.findings, [{ said: 'there is no tool nothing; there are: break, tick, whole' }])
  app.mcp.tool('burst', { input: { type: 'object', properties: { n: { type: 'number' } }, required: ['n'] } }, async function * ({ n }: any) {
    await sleep(500)
    for (let i = 0; i < n; i++) yield 'x'
  })
  t.match((await probesOf('--tool', 'burst', '--args', '{"n":3}')).found, { '2025-11-25': ['chunks-held'], '2024-11-05': ['chunks-held'] })
})

t.test('auth: the challenge leads to the authorization server, and the token lets in', async t => {
  const issuer = createServer((request, response) => {
    if (request.url !== '/.well-known/openid-configuration/tenant') return response.writeHead(404).end()
    response.end(JSON.stringify({ issuer: `http://127.0.0.1:${port}/tenant` }))
  }).listen(0, '127.0.0.1')
  t.teardown(() => issuer.close())
  await once(issuer, 'listening')
  const { port } = issuer.address() as AddressInfo
  const mine = await freePort()
  const url = `http://127.0.0.1:${mine}/mcp`
  const serve = async (auth: object) => {
    const app = await createApp(t, { auth: { tokens: [{ token: 'secret-token', principal: 'ada', scopes: ['read'] }], ...auth } })
    app.mcp.tool('tick', { annotations: { readOnlyHint: true } }, () => 'x')
    return app
  }
  const app = await serve({ resource: url, authorizationServers: [`http://127.0.0.1:${port}/tenant`] })
  await app.listen({ port: mine, host: '127.0.0.1' })

  const stranger = await examine(url)
  t.match(stranger, { code: 1, found: { admission: ['auth-required'] }, verdicts: { '2025-11-25': 'skipped', idle: 'skipped' } })
  t.match(await consult(['doctor', url, '--idle', '0'], { env: { MCP_TOKEN: '' } }), { code: 1, out: /auth-required: a token is asked for, and none was given/ })
  const known = await consult(['doctor', url, '--json', '--idle', '0'], { env: { MCP_TOKEN: 'secret-token' } })
  t.equal(known.code, 0)
  t.notMatch(known.out, 'secret-token')
  t.match(JSON.parse(known.out).probes.map(({ verdict }: { verdict: string }) => verdict), ['ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'skipped', 'skipped'])
  t.match(await examine(url, '--token', 'wrong'), { code: 1, found: { admission: ['token-refused'] } })
  const dropping = await startMeddler(t, url, { dropsAsked: ['authorization'] })
  t.match((await examine(`${dropping}/mcp`, '--token', 'secret-token')).probes[1]?.findings.at(-1), { id: 'token-dropped', said: /as if no token had come/, do: /proxy_set_header Authorization/ })
  t.match(await examine(url, '--header', 'Authorization: Bearer secret-token'), { code: 0, verdicts: { '2025-11-25': 'ok' } })

  const other = await serve({ resource: 'https://else.example/mcp', authorizationServers: [`http://127.0.0.1:${port}`], scopes: ['write'] })
  const elsewhere = await listen(other)
  t.match(await examine(`${elsewhere}/mcp`, '--timeout', '1'), { code: 1, found: { admission: ['metadata-unreachable'] } })
  t.match(await examine(`${elsewhere}/mcp`, '--token', 'secret-token', '--timeout', '1'), { found: { admission: ['metadata-unreachable', 'scope-insufficient'] } })

  const bare = await listen(await serve({}))
  const closed = await examine(`${bare}/mcp`)
  t.match([closed.code, closed.found, closed.probes[1]?.notes], [1, { admission: ['auth-required'] }, [/names no resource_metadata/]])
  t.match(await examine(`${bare}/mcp`, '--token', 'secret-token', '--strict'), { code: 0, found: {} }, 'static tokens are no fault')
  const page = await examine(`${bare}/mcp`, '--only', 'browser', '--origin', ORIGIN)
  t.match([page.verdicts.admission, page.probes[1]?.notes.at(-1)], ['ok', /a token is asked for/])
  const deaf = await startMeddler(t, bare, { drops: ['www-authenticate'] })
  t.match(await examine(`${deaf}/mcp`), { code: 1, found: { admission: ['challenge-missing'] } })

  const open = await startPatient(t)
  t.match((await examine(`${open.url}/mcp`, '--token', 'unused')).probes[1]?.notes, ['no token is asked for'])
  t.strictSame((await examine(`${open.url}/nothing`, '--token', 'unused')).probes[1]?.notes, [], 'a 404 proves nothing')
})

t.test('guards tell which option lets the visitor in', async t => {
  const { url } = await startPatient(t, { hosts: ['mcp.example'] })
  const passing = await startMeddler(t, url, { dropsAsked: [] })
  t.match(await examine(`${passing}/mcp`, '--header', 'host: evil.example'), { code: 1, found: { admission: ['host-refused'] } })
  t.match(await examine(`${url}/mcp`, '--header', 'x-forwarded-for: 203.0.113.9'), { found: { admission: ['peer-refused'] } })
  t.match(await examine(`${url}/mcp`, '--header', 'origin: https://evil.example'), { found: { admission: ['origin-refused'] } })
  const secure = await startPatient(t, { requireHttps: true, auth: false })
  const far = await startMeddler(t, secure.url, { answers: () => ({ status: 426 }) })
  t.match(await examine(`${far}/mcp`), { found: { admission: ['https-required'] } })
})

t.test('a page that is not listed is told so, and headers that a proxy drops are', async t => {
  const { url } = await startPatient(t, { origins: [ORIGIN] })
  const pageOf = async (base: string, origin = ORIGIN) => (await examine(`${base}/mcp`, '--origin', origin, '--only', 'browser')).found.browser
  t.strictSame(await pageOf(url), undefined)
  t.strictSame(await pageOf(url, 'https://other.example'), ['cors-refused'])
  const behind = async (drops: string[], sets?: Record<string, string>) => await pageOf(await startMeddler(t, url, { drops, sets }))
  t.strictSame(await behind(['access-control-allow-origin']), ['cors-origin'])
  t.strictSame(await behind([], { 'access-control-allow-origin': 'https://other.example' }), ['cors-origin'])
  const isPage = ({ method, headers }: IncomingMessage) => method === 'POST' && headers.origin === ORIGIN
  t.strictSame(await pageOf(await startMeddler(t, url, { breaks: isPage })), ['no-answer'])
  t.strictSame(await pageOf(await startMeddler(t, url, { answers: request => isPage(request) ? { status: 200 } : undefined })), ['cors-origin'])
  t.strictSame(await behind(['vary']), ['cors-vary'])
  t.strictSame(await behind(['access-control-allow-headers']), ['cors-headers'])
  t.strictSame(await behind([], { 'access-control-allow-headers': '*' }), ['cors-headers'])
  t.strictSame(await behind(['access-control-allow-methods']), ['cors-methods'])
  t.strictSame(await behind([], { 'access-control-allow-methods': 'GET', 'access-control-allow-origin': '*' }), ['cors-methods'])
  t.strictSame(await behind(['access-control-expose-headers']), ['cors-expose'])
  t.strictSame(await behind([], { 'access-control-expose-headers': 'mcp-session-id' }), ['cors-expose'])
})

t.test('nodes that share nothing are told apart from a header that gets lost', async t => {
  const nodes = await Promise.all([startPatient(t), startPatient(t)])
  const balancer = await Balancer.start(t, nodes.map(({ url }) => url))
  const scattered = await examine(`${balancer.url}/mcp`)
  t.match(scattered.found, { '2025-11-25': ['sessions-scattered'], '2025-03-26': ['sessions-scattered'], '2024-11-05': ['sessions-scattered'] })
  t.equal(scattered.verdicts['2026-07-28'], 'ok')
  const [{ url = '' } = {}] = nodes
  const deaf = await startMeddler(t, url, { dropsAsked: ['mcp-session-id'] })
  t.match(await examine(`${deaf}/mcp`, '--only', '2025-11-25'), { code: 1, found: { '2025-11-25': ['session-header-lost'] } })
  const mute = await startMeddler(t, url, { drops: ['mcp-session-id'] })
  t.match(await examine(`${mute}/mcp`, '--only', '2025-11-25'), { code: 1, found: { '2025-11-25': ['session-header-lost'] } })
})

t.test('a proxy that holds streams back is found by their chunks, and by their heads', async t => {
  const { url } = await startPatient(t)
  const holding = await startMeddler(t, url, { holds: true })
  t.match((await examine(`${holding}/mcp`, '--only', '2025-11-25,2026-07-28', '--tool', 'tick')).found, { '2025-11-25': ['chunks-held'], '2026-07-28': ['chunks-held'] })
  const unsure = await examine(`${holding}/mcp`, '--only', '2025-11-25')
  t.match(unsure.probes[2]?.findings, [{ id: 'chunks-held', verdict: 'warn' }], 'a tool that nobody named may give all at once')
  t.match((await examine(`${holding}/mcp`, '--only', '2024-11-05', '--timeout', '0.5')).found, { '2024-11-05': ['endpoint-missing'] })
  const hiding = await startMeddler(t, url, { holds: true, holdsHeads: true })
  t.match((await examine(`${hiding}/mcp`, '--only', '2025-11-25,2024-11-05', '--timeout', '0.5')).found, { '2025-11-25': ['stream-held', 'chunks-held'], '2024-11-05': ['stream-held'] })
})

t.test('nginx that buffers is found', withNginx, async t => {
  const { url } = await startPatient(t)
  const bad = await startNginx(t, url, 'proxy_buffering on; proxy_ignore_headers X-Accel-Buffering; proxy_http_version 1.0;')
  const { code, found } = await examine(`${bad}/mcp`, '--tool', 'tick', '--timeout', '1')
  t.match([code, found], [1, { '2025-11-25': ['stream-held', 'chunks-held'], '2024-11-05': ['stream-held'], '2026-07-28': ['chunks-held'] }])
  for (const fair of ['proxy_http_version 1.0;', 'proxy_ignore_headers X-Accel-Buffering; proxy_http_version 1.1;']) {
    const { code, found } = await examine(`${await startNginx(t, url, `proxy_buffering on; ${fair}`)}/mcp`, '--tool', 'tick', '--timeout', '1')
    t.strictSame([code, found], [0, {}], fair)
  }
})

t.test('nginx in front of an app that is down, or of none that speaks http, says so once', withNginx, async t => {
  const down = await startNginx(t, `http://127.0.0.1:${await freePort()}`, '')
  const { code, probes } = await examine(`${down}/mcp`, '--token', 'x')
  t.match([code, probes.length, probes[0]?.findings], [1, 1, [{ id: 'app-unreachable', said: 'the first request was answered 502, text/html: 502 Bad Gateway' }]])
  const { url } = await startPatient(t)
  const failing = await startMeddler(t, url, { answers: (_request, body) => body.includes('initialize') ? { status: 504, body: 'late' } : undefined })
  t.match(await examine(`${failing}/mcp`), { code: 1, found: { admission: ['app-unreachable'] }, verdicts: { '2025-11-25': 'skipped' } })
  const busy = await startMeddler(t, url, { answers: () => ({ status: 503, headers: { 'content-type': 'application/json' }, body: '{}' }) })
  t.match((await examine(`${busy}/mcp`)).found, { '2025-11-25': ['refused'] }, 'an app that says it is busy is reached')
  const plain = await startMeddler(t, url, { answers: () => ({ status: 400, headers: { 'content-type': 'text/html' }, body: '<html><title>400 The plain HTTP request was sent to HTTPS port</title>' }) })
  t.match((await examine(`${plain}/mcp`)).probes[0]?.findings, [{ id: 'https-required', said: /on a port of https: 400 The plain HTTP request was sent to HTTPS port$/ }])
})

t.test('nginx that passes on is well', withNginx, async t => {
  const { url } = await startPatient(t)
  const good = await startNginx(t, url, 'proxy_http_version 1.1; proxy_set_header Connection "";')
  t.match(await examine(`${good}/mcp`, '--tool', 'tick'), { code: 0, found: {}, verdicts: { '2025-11-25': 'ok', '2024-11-05': 'ok', '2026-07-28': 'ok' } })
})

t.test('compressed streams, and streams without the headers that keep proxies off, are told', async t => {
  const { url } = await startPatient(t)
  const zipped = await startMeddler(t, url, { gzips: true })
  t.match(await examine(`${zipped}/mcp`, '--only', '2025-11-25'), { code: 0, found: { '2025-11-25': ['stream-encoded'] } })
  const held = await startMeddler(t, url, { gzips: true, holds: true })
  const { probes } = await examine(`${held}/mcp`, '--only', '2025-11-25', '--tool', 'tick')
  t.match(probes[2]?.findings, [{ id: 'stream-encoded', verdict: 'fail', said: /its chunks were held/ }, { id: 'chunks-held', verdict: 'fail' }])
  const bare = await startMeddler(t, url, { drops: ['x-accel-buffering'], sets: { 'cache-control': 'no-cache' } })
  t.match(await examine(`${bare}/mcp`, '--only', '2025-11-25'), { code: 0, found: { '2025-11-25': ['stream-cache-header', 'stream-accel-header'] } })
  const barer = await startMeddler(t, url, { drops: ['cache-control'] })
  t.match(await examine(`${barer}/mcp`, '--only', '2025-11-25'), { code: 0, found: { '2025-11-25': ['stream-cache-header'] } })
})

t.test('who cuts idle streams is found, with how they end and whether they resume', async t => {
  const { url } = await startPatient(t)
  const clean = await startMeddler(t, url, { cuts: 1_000, howCut: 'end' })
  const { code, probes } = await examine(`${clean}/mcp`, '--idle', '5', '--only', '2025-11-25,idle')
  const { findings = [], notes = [] } = probes.at(-1) ?? {}
  t.equal(code, 1)
  t.match(findings, [{ id: 'idle-cut', said: /^GET stream: cut after 1\.\d s, by a clean end, with 0 comments before$/ }])
  t.match(notes, ['GET stream: comes back with Last-Event-ID'])
  const reset = await startMeddler(t, url, { cuts: 1_000, howCut: 'reset', answers: ({ headers }) => headers['last-event-id'] === undefined ? undefined : { status: 502 } })
  const broken = (await examine(`${reset}/mcp`, '--idle', '5', '--only', '2024-11-05,idle')).probes.at(-1)
  t.match(broken?.findings, [{ id: 'idle-cut', said: /by a reset/ }, { id: 'resume-failed', said: /502/ }])
  const gone = await startMeddler(t, url, { cuts: 1_000, breaks: ({ headers }) => headers['last-event-id'] !== undefined })
  const lost = (await examine(`${gone}/mcp`, '--idle', '5', '--only', '2025-11-25,2026-07-28,idle')).probes.at(-1)
  t.match(lost?.findings, [{ id: 'idle-cut' }, { id: 'resume-failed', said: /the connection was reset/ }, { id: 'idle-cut', said: /^subscriptions/ }])
  const nothing = await examine(`${url}/mcp`, '--idle', '1', '--only', 'idle')
  t.match([nothing.code, nothing.found, nothing.probes.at(-1)], [1, { reach: ['nothing-examined'] }, { reason: 'there is no stream to hold open' }])
})

t.test('a prefix that a proxy takes away leaves the endpoint out of reach only when the app is not told', async t => {
  const { url } = await startPatient(t)
  const moved = await startMeddler(t, url, { prefix: '/api' })
  const { found, probes } = await examine(`${moved}/api/mcp`, '--only', '2025-11-25,2024-11-05')
  t.strictSame(found, { '2024-11-05': ['endpoint-unreachable'] })
  t.match(probes[3]?.findings, [{ said: 'the stream is at /api/sse, its endpoint at /messages, and a POST there was answered 404', do: /^tell [^;]+publicPath: '.api'/ }])
  const told = await startPatient(t, { publicPath: '/api' })
  const right = await startMeddler(t, told.url, { prefix: '/api' })
  t.match(await examine(`${right}/api/mcp`, '--only', '2024-11-05'), { code: 0, found: {} })
})

t.test('sessions of HTTP+SSE end when nobody came back for the replay window', async t => {
  const { app, url } = await startPatient(t, { sessions: { replay: { window: 300 } } })
  t.equal((await examine(`${url}/mcp`, '--only', '2024-11-05')).code, 0)
  t.ok(app.mcp.stats().sessions > 0, 'they have no DELETE')
  await until(() => app.mcp.stats().sessions === 0, 'the end of the sessions')
})

t.test('a rate limit stops the visit politely', async t => {
  const { url } = await startPatient(t, { rateLimit: { max: 12 } })
  const { code, found, verdicts } = await examine(`${url}/mcp`)
  t.strictSame([code, found], [0, { '2025-11-25': ['rate-limited'] }])
  t.match(verdicts, { '2025-06-18': 'skipped', idle: 'skipped' })
})

t.test('requests of HTTP+SSE that break are told', async t => {
  const { url } = await startPatient(t)
  for (const said of ['notifications/doctor', 'initialize', 'ping', 'doctor/unknown']) {
    const breaking = await startMeddler(t, url, { breaks: ({ url }, body) => url?.startsWith('/messages') === true && body.includes(`"method":"${said}"`) })
    t.match((await examine(`${breaking}/mcp`, '--only', '2024-11-05')).found, { '2024-11-05': ['no-answer'] }, said)
  }
})

t.test('an interrupt ends the visit and its sessions', async t => {
  const { app, url } = await startPatient(t)
  const interrupt = new AbortController()
  app.mcp.tool('forever', {}, (_args, { signal }) => new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason))
    interrupt.abort()
  }))
  const { code, out, err } = await consult(['doctor', `${url}/mcp`, '--only', '2025-11-25', '--tool', 'forever'], { signal: interrupt.signal })
  t.strictSame([code, out, err], [130, '', 'interrupted\n'])
  t.equal(app.mcp.stats().sessions, 0)
  const idle = new AbortController()
  const waiting = consult(['doctor', `${url}/mcp`, '--only', '2025-11-25,idle'], { signal: idle.signal })
  while (app.mcp.stats().streams === 0 || app.mcp.stats().calls > 0) await sleep(5)
  idle.abort()
  t.equal((await waiting).code, 130)
  t.equal(app.mcp.stats().sessions, 0)
})

t.test('an interrupt ends the holding of streams', async t => {
  const { app, url } = await startPatient(t)
  const interrupt = new AbortController()
  const holding = consult(['doctor', `${url}/mcp`, '--only', '2025-11-25,idle', '--idle', '600'], { signal: interrupt.signal })
  let since = 0
  // No probe but this one leaves streams open for so long.
  await until(() => {
    since = app.mcp.stats().streams > 0 ? since || performance.now() : 0
    return since > 0 && performance.now() - since > 1_000
  }, 'streams that are held')
  interrupt.abort()
  t.equal((await holding).code, 130)
  t.equal(app.mcp.stats().sessions, 0)
})
