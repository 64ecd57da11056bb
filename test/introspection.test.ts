import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { introspection, type IntrospectionOptions } from '../lib/introspection.ts'
import { Client, createApp, listen, until } from './client.ts'
import { AUDIENCE, claimsOf, hangUp, Issuer, json, never, redirectTo } from './issuer.ts'

const PATH = '/introspect'
const UNAVAILABLE = { code: 'FST_MCP_AUTH_UNAVAILABLE', statusCode: 503 }
const seconds = (from: number): number => Math.floor(Date.now() / 1_000) + from

/** An endpoint that knows `good`, and every token that is JSON by its claims. */
async function start (t: Test): Promise<Issuer> {
  const issuer = await Issuer.start(t)
  issuer.paths.set(PATH, (request, response, body) => {
    const token = String(new URLSearchParams(body).get('token'))
    const own = token.startsWith('{') ? JSON.parse(token) : {}
    const isActive = token.startsWith('{') || token.startsWith('good')
    json(isActive ? { active: true, ...claimsOf(issuer.url), ...own } : { active: false })(request, response, body)
  })
  return issuer
}

const optionsOf = ({ origin, url }: Issuer, own: Partial<IntrospectionOptions> = {}): IntrospectionOptions =>
  ({ url: `${origin}${PATH}`, clientId: 'mcp', clientSecret: 'secret', audience: AUDIENCE, issuer: url, timeout: 2_000, ...own })

t.test('the endpoint is asked with a form and credentials', async t => {
  const issuer = await start(t)
  const seen: unknown[] = []
  issuer.paths.set(PATH, (request, response, body) => {
    const { 'content-type': type, authorization, accept } = request.headers
    seen.push([request.method, type?.split(';')[0], accept, Buffer.from(String(authorization).slice('Basic '.length), 'base64').toString(), body])
    json({ active: true, ...claimsOf(issuer.url) }, 200, 'application/token-introspection+json; charset=utf-8')(request, response, body)
  })
  const verify = introspection(optionsOf(issuer, { clientId: 'a:b c', clientSecret: 'é+/%' }))
  t.strictSame(await verify('t~1+/='), { issuer: issuer.url, scopes: ['read', 'write'], id: 'ada' })
  t.strictSame(seen, [['POST', 'application/x-www-form-urlencoded', 'application/json', 'a%3Ab+c:%C3%A9%2B%2F%25', 'token=t%7E1%2B%2F%3D&token_type_hint=access_token']])
})

t.test('each check of an introspection says yes and no', async t => {
  const issuer = await start(t)
  const verify = introspection(optionsOf(issuer))
  const ask = (claims: Record<string, unknown>) => verify(JSON.stringify(claims))
  const good: Record<string, Record<string, unknown>> = {
    'all that was expected': {},
    'several audiences': { aud: ['x', `${AUDIENCE}/`] },
    'an exp that passed a moment ago': { exp: seconds(-2) },
    'an nbf that passed': { nbf: seconds(-10) }
  }
  for (const [name, claims] of Object.entries(good)) t.match(await ask(claims), { id: 'ada', issuer: issuer.url }, name)
  const wrong: Record<string, Record<string, unknown>> = {
    'not active': { active: false },
    'another audience': { aud: 'https://other.example' },
    'no audience': { aud: null },
    'another issuer': { iss: 'https://evil.example' },
    'no issuer': { iss: null },
    'an exp that passed': { exp: seconds(-10) },
    'an exp that is text': { exp: '1' },
    'an nbf to come': { nbf: seconds(60) },
    'bound to a key': { cnf: { jkt: 'a' } },
    'neither subject nor client': { sub: '' }
  }
  for (const [name, claims] of Object.entries(wrong)) t.equal(await ask(claims), null, name)
  t.equal(await verify('bad'), null)
  const { length } = issuer.asked
  t.equal(await verify(`good${'x'.repeat(16_384)}`), null, 'too long')
  t.equal(issuer.asked.length, length)
})

t.test('what is not expected is not checked, and the principal is yours to make', async t => {
  const issuer = await start(t)
  const { url, clientId, clientSecret } = optionsOf(issuer)
  const verify = introspection({ url, clientId, clientSecret, scopes: () => ['x'], principal: claims => ({ id: String(claims.username) }) })
  issuer.paths.set(PATH, json({ active: true, username: 'bob' }))
  t.strictSame(await verify('a'), { scopes: ['x'], id: 'bob' })
  t.strictSame(await introspection({ url, clientId, clientSecret })('a'), null)
})

t.test('an answer is kept, and one question is asked for many', async t => {
  const issuer = await start(t)
  const verify = introspection(optionsOf(issuer, { cache: { ttl: 600 } }))
  const ask = (token: string) => Promise.all(Array.from({ length: 20 }, () => verify(token)))
  t.match(await ask('good'), Array(20).fill({ id: 'ada' }))
  t.match(await ask('good'), Array(20).fill({ id: 'ada' }))
  t.equal(issuer.count(PATH), 1)
  t.strictSame(await ask('bad'), Array(20).fill(null))
  t.equal(await verify('bad'), null)
  t.equal(issuer.count(PATH), 2)
  issuer.paths.set(PATH, json({ active: false }))
  await sleep(610)
  t.equal(await verify('good'), null, 'a revoked token ends with the time of its answer')
  t.equal(issuer.count(PATH), 3)
})

t.test('no answer is kept beyond exp, and none at all where you say so', async t => {
  const issuer = await start(t)
  const verify = introspection(optionsOf(issuer, { cache: { ttl: 60_000 } }))
  const brief = JSON.stringify({ exp: seconds(1) })
  t.match(await verify(brief), { id: 'ada' })
  await sleep(2_010)
  await verify(brief)
  t.equal(issuer.count(PATH), 2)

  const other = await start(t)
  const always = introspection(optionsOf(other, { cache: { ttl: 0 } }))
  for (const token of ['good', 'good', 'bad', 'bad']) await always(token)
  t.equal(other.count(PATH), 4)
})

t.test('the cache is bounded, and wrong tokens push no good one out', async t => {
  const issuer = await start(t)
  const verify = introspection(optionsOf(issuer, { cache: { max: 2 } }))
  for (const token of ['good1', 'good2']) await verify(token)
  for (let index = 0; index < 10; index++) await verify(`bad${index}`)
  issuer.asked.length = 0
  for (const token of ['good1', 'good2', 'bad9', 'bad8']) await verify(token)
  t.equal(issuer.count(PATH), 0)
  await verify('good3')
  await verify('good1')
  await verify('bad7')
  t.equal(issuer.count(PATH), 3)
})

t.test('a flood of tokens is no flood of questions', async t => {
  const issuer = await start(t)
  issuer.broken = never
  const verify = introspection(optionsOf(issuer, { timeout: 1_000 }))
  const flood = Promise.allSettled(Array.from({ length: 256 }, (_, index) => verify(`good${index}`)))
  await t.rejects(verify('good'), { ...UNAVAILABLE, cause: { message: /256 tokens/ } })
  for (const { status } of await flood) t.equal(status, 'rejected')
  issuer.broken = undefined
  t.match(await verify('good'), { id: 'ada' })
})

t.test('an outage refuses nobody who is known', async t => {
  const issuer = await start(t)
  const verify = introspection(optionsOf(issuer))
  t.match(await verify('good'), { id: 'ada' })
  issuer.broken = hangUp
  t.match(await verify('good'), { id: 'ada' })
  await t.rejects(verify('good2'), UNAVAILABLE)
  issuer.broken = undefined
  t.match(await verify('good2'), { id: 'ada' }, 'a failure is not kept')
})

t.test('what an endpoint may answer that is of no use', async t => {
  const other = await start(t)
  const answers: Record<string, [answer: ReturnType<typeof json>, why: RegExp]> = {
    'another client': [json({ error: 'invalid_client' }, 401), /answered 401$/],
    'its own failure': [json({ active: true }, 500), /answered 500$/],
    'a redirect': [redirectTo(`${other.origin}${PATH}`), /cannot be reached/],
    'another media type': [json({ active: true }, 200, 'text/html'), /answered 200, and no JSON/],
    'no media type': [(_request, response) => { response.end('{"active":true}') }, /answered 200, and no JSON/],
    'no JSON': [json('good-secret'), /did not answer JSON/],
    'a JWT': [json('a.b.c', 200, 'application/token-introspection+jwt'), /no JSON/],
    'no active': [json({ sub: 'ada' }), /did not say whether the token is active/],
    'an active that is text': [json({ active: 'true' }), /did not say/],
    null: [json('null'), /did not say/],
    'too much': [json({ active: true, more: 'x'.repeat(600_000) }), /did not answer to the end/],
    'too late': [never, /cannot be reached/]
  }
  for (const [name, [answer, why]] of Object.entries(answers)) {
    const issuer = await start(t)
    issuer.paths.set(PATH, answer)
    const error: Error = await introspection(optionsOf(issuer, { timeout: 500 }))('good-secret').then(() => t.fail(name), error => error)
    t.match(error, UNAVAILABLE, name)
    t.match(error.cause, { message: why }, name)
    t.notMatch(`${error} ${error.cause}`, 'secret')
  }
  t.strictSame(other.asked, [], 'no redirect was followed: credentials stay where they belong')
})

t.test('wrong options of an introspection are refused at once, and no secret is shown', async t => {
  const good = { url: 'https://issuer.example/introspect', clientId: 'mcp', clientSecret: 'hunter2' }
  t.type(introspection(good), 'function')
  const wrong: [given: unknown, message: RegExp][] = [
    [{ ...good, url: 'http://issuer.example' }, /`introspection\.url` must be an https URL without a password, or http on loopback, got "http:/],
    [{ ...good, clientSecret: 7 }, /`introspection\.clientSecret` must be a string, got a number$/],
    [{ ...good, clientSecret: '' }, /`introspection\.clientSecret`/],
    [{ ...good, clientId: undefined }, /`introspection\.clientId`/],
    [{ ...good, audience: 'https://a.example/#b' }, /`introspection\.audience` must be a URI without a fragment/],
    [{ ...good, cache: { max: 0 } }, /`introspection\.cache\.max` .+ got 0/],
    [{ ...good, cache: { size: 1 } }, /`introspection\.cache` has a name that is not an option$/],
    [{ ...good, timeout: 0 }, /`introspection\.timeout`/]
  ]
  for (const [given, message] of wrong) t.throws(() => introspection(given as IntrospectionOptions), { code: 'FST_MCP_OPTION_INVALID', message })
  t.throws(() => introspection({ ...good, secret: 'hunter2' } as IntrospectionOptions), { message: /^(?!.*hunter2)/ })
})

t.test('a client comes in by an opaque token', async t => {
  const issuer = await start(t)
  let log = ''
  const verify = introspection(optionsOf(issuer, { cache: { ttl: 0 } }))
  const app = await createApp(t, { auth: { verify } }, { logger: { level: 'info', stream: { write: text => { log += text } } } })
  const url = await listen(app)
  const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
  const ping = { jsonrpc: '2.0', id: 1, method: 'ping' }
  const client = await Client.connect(url, { headers: bearer('good-one') })
  t.match(await client.post(ping), { status: 200 })
  t.match(await client.post(ping, bearer('good-two')), { status: 200 }, 'the same subject, a new token')
  t.match(await client.post(ping, bearer('bad-one')), { status: 401, headers: { 'www-authenticate': 'Bearer error="invalid_token"' } })
  issuer.broken = hangUp
  t.match(await client.post(ping, bearer('good-one')), {
    status: 503, headers: { 'retry-after': '5' }, messages: [{ error: { data: { code: 'FST_MCP_AUTH_UNAVAILABLE' } } }]
  })
  await until(() => log.includes('cannot be reached'), 'the log')
  t.notMatch(log, /good-|bad-one/)
  issuer.broken = undefined
  issuer.paths.set(PATH, json({ active: true, ...claimsOf(issuer.url, { sub: 'bob' }) }))
  t.match(await client.post(ping, bearer('good-bob')), { status: 404 }, 'another subject')
})
