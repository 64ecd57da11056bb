import { createHmac, createPublicKey, createSecretKey, generateKeyPairSync, randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { exportSPKI, generateKeyPair, SignJWT } from 'jose'
import t, { type Test } from 'tap'
import { jwt, type JwtOptions, type OwnKey } from '../lib/jwt.ts'
import { errorCodes } from '../lib/errors.ts'
import { Client, createApp, listen } from './client.ts'
import { AUDIENCE, claimsOf, hangUp, Issuer, json, makePair, never, type Pair, redirectTo, sign } from './issuer.ts'

const ISSUER = 'https://issuer.example'
const METADATA = '/.well-known/oauth-authorization-server'
const UNAVAILABLE = { code: 'FST_MCP_AUTH_UNAVAILABLE', statusCode: 503 }
const SHORT = { cooldown: 100, cacheMaxAge: 60_000, timeout: 2_000 }
const seconds = (from: number): number => Math.floor(Date.now() / 1_000) + from

const pair = await makePair()
const options: JwtOptions = { issuer: ISSUER, audience: AUDIENCE, jwks: { keys: [pair.jwk] } }
const verify = jwt(options)
const token = (claims: Record<string, unknown> = {}, header = {}, by: Pair = pair): Promise<string> => sign(by, claimsOf(ISSUER, claims), header)
const base64url = (value: unknown): string => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

// ---- what a token says ----

t.test('a good token of each algorithm gives its principal', async t => {
  for (const alg of ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']) {
    const by = await makePair(alg)
    const given = await token({}, {}, by)
    const principal = { issuer: ISSUER, scopes: ['read', 'write'], id: 'ada' }
    t.strictSame(await jwt({ ...options, jwks: { keys: [by.jwk] } })(given), principal, alg)
    t.strictSame(await jwt({ issuer: ISSUER, audience: AUDIENCE, key: by.publicKey })(given), principal, `${alg} with a key`)
    t.equal(await jwt({ ...options, jwks: { keys: [by.jwk] }, algorithms: [alg === 'ES256' ? 'RS256' : 'ES256'] })(given), null, `${alg} is not wanted`)
  }
})

t.test('each check of the claims says yes and no', async t => {
  const good: Record<string, Record<string, unknown>> = {
    'several audiences': { aud: ['https://other.example', AUDIENCE] },
    'a scheme and a host in capitals': { aud: 'HTTPS://MCP.Example/mcp' },
    'a slash at the end': { aud: `${AUDIENCE}/` },
    'expired a moment ago': { exp: seconds(-2) },
    'valid in a moment': { nbf: seconds(2) },
    'no iat': { iat: undefined },
    'an iat to come': { iat: seconds(60) }
  }
  for (const [name, claims] of Object.entries(good)) t.match(await verify(await token(claims)), { id: 'ada' }, name)

  const wrong: Record<string, Record<string, unknown>> = {
    'another issuer': { iss: 'https://evil.example' },
    'an issuer with a slash': { iss: `${ISSUER}/` },
    'an issuer among several': { iss: [ISSUER] },
    'no issuer': { iss: undefined },
    'another audience': { aud: 'https://other.example' },
    'an audience in capitals': { aud: 'https://mcp.example/MCP' },
    'an audience above': { aud: 'https://mcp.example' },
    'an audience below': { aud: `${AUDIENCE}/more` },
    'two slashes': { aud: `${AUDIENCE}//` },
    'audiences without ours': { aud: ['https://a.example', 'https://b.example'] },
    'an audience that is none': { aud: { [AUDIENCE]: true } },
    'no audience': { aud: undefined },
    'no audience in a list': { aud: [] },
    'no exp': { exp: undefined },
    expired: { exp: seconds(-10) },
    'an exp that is text': { exp: String(seconds(300)) },
    'not yet valid': { nbf: seconds(10) },
    'an nbf that is text': { nbf: 'now' },
    'an nbf that is null': { nbf: null },
    'bound to a DPoP key': { cnf: { jkt: '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I' } },
    'bound to a certificate': { cnf: { 'x5t#S256': 'bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2' } },
    'bound to nothing': { cnf: null },
    'no subject': { sub: undefined },
    'an empty subject': { sub: '' },
    'a subject that is a number': { sub: 1 }
  }
  for (const [name, claims] of Object.entries(wrong)) t.equal(await verify(await token(claims)), null, name)
})

t.test('an exp beyond all numbers is no exp', async t => {
  const secret = randomBytes(32)
  const input = `${base64url({ alg: 'HS256' })}.${base64url(JSON.stringify(claimsOf(ISSUER)).replace(/"exp":\d+/, '"exp":1e999'))}`
  const hmac = createHmac('sha256', secret).update(input).digest('base64url')
  t.equal(await jwt({ issuer: ISSUER, audience: AUDIENCE, key: secret })(`${input}.${hmac}`), null)
})

t.test('the tolerance and the age of tokens can be set', async t => {
  const patient = jwt({ ...options, clockTolerance: 60_000 })
  t.match(await patient(await token({ exp: seconds(-30), nbf: seconds(30) })), { id: 'ada' })
  t.equal(await jwt({ ...options, clockTolerance: 0 })(await token({ exp: seconds(-1) })), null)
  const young = jwt({ ...options, maxTokenAge: 60_000 })
  t.match(await young(await token({ iat: seconds(-30) })), { id: 'ada' })
  for (const iat of [seconds(-120), seconds(60), undefined, 'now']) t.equal(await young(await token({ iat })), null, String(iat))
})

t.test('several issuers and audiences, and audiences that are no URL', async t => {
  const both = jwt({ ...options, issuer: [ISSUER, 'urn:second'], audience: [`${AUDIENCE}/`, 'api-client'] })
  t.match(await both(await token({ iss: 'urn:second', aud: 'api-client' })), { id: 'ada', issuer: 'urn:second' })
  t.match(await both(await token()), { id: 'ada', issuer: ISSUER })
  t.equal(await both(await token({ aud: 'API-client' })), null)
  t.equal(await both(await token({ iss: 'urn:third' })), null)
})

t.test('the header of a token says what it is', async t => {
  for (const typ of ['at+jwt', 'AT+JWT', 'application/at+jwt', 'JWT', 'jwt', 'application/jwt', undefined]) {
    t.match(await verify(await token({}, { typ })), { id: 'ada' }, String(typ))
  }
  for (const typ of ['dpop+jwt', 'logout+jwt', '', 'application/json']) t.equal(await verify(await token({}, { typ })), null, typ)
  t.equal(await verify(await token({}, { typ: 1 })), null)
})

t.test('what only looks like a token is none', async t => {
  const good = await token()
  const [header = '', payload = '', signature = ''] = good.split('.')
  const none = (alg: string): string => `${base64url({ alg, typ: 'JWT' })}.${payload}.`
  for (const wrong of [
    '', '.', '..', 'x', 'a.b', 'a.b.c', 'a.b.c.d.e', `${header}.${payload}`, `${header}.${payload}.`, `${header}..${signature}`, `.${payload}.${signature}`,
    `${good}x`, `${good}.`, good.slice(0, -4), `${header}.${base64url({ ...claimsOf(ISSUER), sub: 'eve' })}.${signature}`,
    `${base64url('{"alg":')}.${payload}.${signature}`, `${base64url([])}.${payload}.${signature}`, `${base64url({})}.${payload}.${signature}`,
    `${base64url({ alg: ['ES256'] })}.${payload}.${signature}`, `${header}.${base64url('[]')}.${signature}`, `${header}.${base64url('no json')}.${signature}`,
    none('none'), none('NONE'), none(''), none('ES256'), 'x'.repeat(100_000), `${header}.${'x'.repeat(20_000)}.${signature}`, '.'.repeat(16_000)
  ]) {
    t.equal(await verify(wrong), null, wrong.slice(0, 60))
  }
  t.equal(await verify(await token({ padding: 'x'.repeat(13_000) })), null, 'a valid token that is too long')
  t.match(await verify(await token({ padding: 'x'.repeat(8_000) })), { id: 'ada' })
  const critical = new SignJWT(claimsOf(ISSUER)).setProtectedHeader({ alg: 'ES256', kid: 'one', crit: ['x'], x: 1 })
  t.equal(await verify(await critical.sign(pair.privateKey, { crit: { x: true } })), null, 'something critical that is not known')
})

t.test('a token brings no key of its own', async t => {
  const evil = await makePair()
  for (const header of [{ jwk: evil.jwk }, { jku: 'http://127.0.0.1:1/keys' }, { x5u: 'http://127.0.0.1:1/keys' }, { kid: '../../dev/null' }, { kid: '' }, {}]) {
    t.equal(await verify(await token({}, header, evil)), null, JSON.stringify(header))
  }
})

t.test('a token without kid is taken where one key fits, and refused where several do', async t => {
  const other = await makePair('ES256', 'two')
  const rsa = await makePair('RS256', 'three')
  t.match(await jwt({ ...options, jwks: { keys: [pair.jwk, rsa.jwk] } })(await token({}, { kid: undefined })), { id: 'ada' })
  t.equal(await jwt({ ...options, jwks: { keys: [pair.jwk, other.jwk] } })(await token({}, { kid: undefined })), null)
})

// ---- keys of one's own ----

t.test('a public key never serves as a secret', async t => {
  const { jwk, publicKey } = await makePair('RS256')
  const pem = await exportSPKI(publicKey)
  const forge = async (secret: string): Promise<string> => new SignJWT(claimsOf(ISSUER)).setProtectedHeader({ alg: 'HS256', kid: 'one' }).sign(Buffer.from(secret))
  const shapes: Partial<JwtOptions>[] = [{ jwks: { keys: [jwk] } }, { key: publicKey }, { key: createPublicKey(pem) }, { key: jwk }]
  for (const own of shapes) {
    for (const secret of [pem, pem.trim(), JSON.stringify(jwk), String(jwk.n)]) {
      t.equal(await jwt({ issuer: ISSUER, audience: AUDIENCE, ...own })(await forge(secret)), null)
    }
    t.throws(() => jwt({ issuer: ISSUER, audience: AUDIENCE, ...own, algorithms: ['RS256', 'HS256'] }), { code: 'FST_MCP_OPTION_INVALID', message: /HS256/ })
  }
  t.throws(() => jwt({ issuer: ISSUER, audience: AUDIENCE, key: Buffer.from(pem) }), { message: /is a PEM, not a secret/ })
})

t.test('a secret is used with HS algorithms alone', async t => {
  const secret = randomBytes(64)
  const forms: OwnKey[] = [secret, new Uint8Array(secret), createSecretKey(secret), { kty: 'oct', k: secret.toString('base64url') }]
  for (const key of forms) {
    const verify = jwt({ issuer: ISSUER, audience: AUDIENCE, key })
    for (const alg of ['HS256', 'HS384', 'HS512']) {
      t.match(await verify(await new SignJWT(claimsOf(ISSUER)).setProtectedHeader({ alg }).sign(secret)), { id: 'ada' }, alg)
      t.equal(await verify(await new SignJWT(claimsOf(ISSUER)).setProtectedHeader({ alg }).sign(randomBytes(64))), null, alg)
    }
    t.equal(await verify(await token()), null)
  }
  const short = jwt({ issuer: ISSUER, audience: AUDIENCE, key: secret.subarray(0, 32) })
  t.equal(await short(await new SignJWT(claimsOf(ISSUER)).setProtectedHeader({ alg: 'HS384' }).sign(secret.subarray(0, 32))), null)
  const only = jwt({ issuer: ISSUER, audience: AUDIENCE, key: secret, algorithms: ['HS512'] })
  t.equal(await only(await new SignJWT(claimsOf(ISSUER)).setProtectedHeader({ alg: 'HS256' }).sign(secret)), null)
})

t.test('wrong options are refused at once, and no key is shown', async t => {
  const base = { issuer: ISSUER, audience: AUDIENCE }
  const { privateKey } = await generateKeyPair('ES256', { extractable: true })
  const { privateKey: rsa } = generateKeyPairSync('rsa', { modulusLength: 2_048 })
  const weak = generateKeyPairSync('rsa', { modulusLength: 1_024 }).publicKey
  const odd = generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey
  const wrong: [given: unknown, message: string | RegExp][] = [
    [undefined, /Invalid option: `jwt` /],
    [{ audience: AUDIENCE }, /`jwt\.issuer` must be a string, or several/],
    [{ ...base, issuer: [] }, /`jwt\.issuer`/],
    [{ ...base, issuer: '' }, /`jwt\.issuer` must be a string, or several, got ""/],
    [{ issuer: ISSUER }, /`jwt\.audience` must be a URI without a fragment, or several/],
    [{ ...base, audience: ['https://a.example#b'] }, /`jwt\.audience`/],
    ['hunter2', /`jwt` must be an object, got a secret$/], [{ ...base, key: 5n }, /`jwt\.key` .* got a bigint$/],
    [{ ...base, hunter2: 1 }, /`jwt` has a name that is not an option$/],
    [{ ...base, keys: [] }, /`jwt\.keys` is not an option/],
    [{ ...base, jwksUri: 'http://issuer.example/keys' }, /`jwt\.jwksUri` must be an https URL without a password, or http on loopback, got "http:/],
    [{ ...base, jwksUri: 'https://a:hunter2@issuer.example/keys' }, /loopback, got a text that may hold a secret$/],
    [{ ...base, jwksUri: 'keys' }, /`jwt\.jwksUri`/],
    [{ ...base, jwks: { keys: 1 } }, /`jwt\.jwks` must be a JSON Web Key Set/],
    [{ ...base, jwks: 1 }, /`jwt\.jwks` must be a JSON Web Key Set, got a/],
    [{ ...options, jwksUri: 'https://issuer.example/keys' }, /takes one of `jwksUri`, `jwks` and `key`/],
    [{ ...base, key: 'hunter2' }, /`jwt\.key` must be a KeyObject, a CryptoKey, a JWK or the bytes of a secret, got a secret$/],
    [{ ...base, key: {} }, /`jwt\.key` must be/],
    [{ ...base, key: privateKey }, /must be a public key/],
    [{ ...base, key: rsa }, /must be a public key/],
    [{ ...base, key: rsa.export({ format: 'jwk' }) }, /must be a public key/],
    [{ ...base, key: weak }, /too short/],
    [{ ...base, key: odd }, /no algorithm takes/],
    [{ ...base, key: randomBytes(31) }, /too short/],
    [{ ...base, key: pair.publicKey, algorithms: ['ES256', 'RS256'] }, /do not go with `jwt\.key`: RS256/],
    [{ ...options, algorithms: [] }, /`jwt\.algorithms`/],
    [{ ...options, algorithms: ['none'] }, /`jwt\.algorithms\.0` .+ got "none"/],
    [{ ...options, maxStale: -1 }, /`jwt\.maxStale` .+ got -1/],
    [{ ...options, clockTolerance: -1 }, /`jwt\.clockTolerance` .+ got -1/],
    [{ ...options, scopes: 'read' }, /`jwt\.scopes` must be a function, got a secret$/],
    [{ ...base, issuer: 'http://issuer.example' }, /`jwt\.issuer` must be an https URL/],
    [{ ...base, issuer: 'acme' }, /`jwt\.issuer` must be an https URL/]
  ]
  for (const [given, message] of wrong) {
    t.throws(() => jwt(given as JwtOptions), { code: 'FST_MCP_OPTION_INVALID', message }, String(message))
    try {
      jwt(given as JwtOptions)
    } catch (error) {
      t.notMatch(String(error), 'hunter2')
    }
  }
  for (const issuer of ['http://localhost:1', 'http://127.0.0.2', 'http://[::1]:1/a', 'https://issuer.example']) t.ok(jwt({ ...base, issuer }), issuer)
})

// ---- principals ----

t.test('scopes come from `scope` and `scp`, or from where you say', async t => {
  const cases: [claims: Record<string, unknown>, scopes: string[]][] = [
    [{ scope: 'a b' }, ['a', 'b']],
    [{ scope: ' a  b a ' }, ['a', 'b']],
    [{ scope: undefined, scp: ['a', 'b'] }, ['a', 'b']],
    [{ scope: undefined, scp: 'a b' }, ['a', 'b']],
    [{ scope: 'a', scp: ['b', 1, null] }, ['a', 'b']],
    [{ scope: undefined }, []],
    [{ scope: { a: 1 } }, []]
  ]
  for (const [claims, scopes] of cases) t.strictSame((await verify(await token(claims)))?.scopes, scopes, JSON.stringify(claims))
  const permissions = jwt({ ...options, scopes: ({ permissions }) => Array.isArray(permissions) ? permissions : [] })
  t.strictSame((await permissions(await token({ permissions: ['x'] })))?.scopes, ['x'])
})

t.test('a principal is the subject, else the client, else what you make of the claims', async t => {
  t.match(await verify(await token({ sub: undefined, client_id: 'robot' })), { id: 'robot', issuer: ISSUER })
  t.match(await verify(await token({ client_id: 'robot' })), { id: 'ada' })
  t.equal(await verify(await token({ sub: undefined, client_id: 7 })), null)
  const own = (principal: JwtOptions['principal']) => jwt({ ...options, principal })
  t.strictSame(await own(({ email }) => ({ id: String(email) }))(await token({ email: 'ada@example.com' })), {
    issuer: ISSUER, scopes: ['read', 'write'], id: 'ada@example.com'
  })
  t.strictSame(await own(async () => ({ id: 'a', issuer: 'b', scopes: [] }))(await token()), { id: 'a', issuer: 'b', scopes: [] })
  for (const none of [null, undefined, false] as const) t.equal(await own(() => none)(await token()), null)
  await t.rejects(own(() => { throw new RangeError('mine') })(await token()), { message: 'mine' })
})

// ---- keys from afar ----

const remote = ({ url }: Issuer, own: Partial<JwtOptions> = {}) => jwt({ issuer: url, audience: AUDIENCE, ...SHORT, ...own })

t.test('keys are found by the metadata, only when they are needed', async t => {
  const issuer = await Issuer.start(t)
  const verify = remote(issuer)
  for (const wrong of [await issuer.token({ aud: 'x' }), await issuer.token({ exp: 1 }), await issuer.token({ iss: 'x' }), 'x', 'a.b.c']) t.equal(await verify(wrong), null)
  t.strictSame(issuer.asked, [], 'a token that nothing could make valid costs no request')
  const good = await issuer.token()
  t.match(await Promise.all(Array.from({ length: 20 }, () => verify(good))), Array(20).fill({ id: 'ada', issuer: issuer.url }))
  t.strictSame(issuer.asked, [METADATA, '/keys'])
})

t.test('each place of the metadata is tried', async t => {
  for (const [path, places] of [
    ['', [METADATA, '/.well-known/openid-configuration']],
    ['/', [METADATA, '/.well-known/openid-configuration']],
    ['/a/b', [`${METADATA}/a/b`, '/.well-known/openid-configuration/a/b', '/a/b/.well-known/openid-configuration']],
    ['/a/', [`${METADATA}/a`, '/.well-known/openid-configuration/a', '/a/.well-known/openid-configuration']]
  ] as const) {
    for (const [index, place] of places.entries()) {
      const issuer = await Issuer.start(t, path)
      const metadata = issuer.paths.get(places[0])
      issuer.paths.delete(places[0])
      if (metadata !== undefined) issuer.paths.set(place, metadata)
      t.match(await remote(issuer)(await issuer.token()), { id: 'ada' }, place)
      t.strictSame(issuer.asked, [...places.slice(0, index + 1), '/keys'], place)
    }
  }
})

t.test('`jwksUri` asks for no metadata', async t => {
  const issuer = await Issuer.start(t)
  const verify = remote(issuer, { jwksUri: `${issuer.origin}/keys`, issuer: [ISSUER, 'urn:b'] })
  t.match(await verify(await issuer.token({ iss: 'urn:b' })), { id: 'ada' })
  t.match(await verify(await issuer.token({ iss: ISSUER })), { id: 'ada' })
  t.strictSame(issuer.asked, ['/keys'])
})

t.test('the keys of one issuer do not sign for another', async t => {
  const [first, second] = [await Issuer.start(t), await Issuer.start(t)]
  const verify = jwt({ issuer: [first.url, second.url], audience: AUDIENCE, ...SHORT })
  t.match(await verify(await first.token()), { issuer: first.url })
  t.match(await verify(await second.token()), { issuer: second.url })
  t.equal(await verify(await first.token({ iss: second.url })), null)
})

t.test('a new key is found, and a withdrawn one is not kept', async t => {
  const issuer = await Issuer.start(t)
  const verify = remote(issuer, { cooldown: 600 })
  const old = await issuer.token()
  const next = await makePair('ES256', 'next')
  const fresh = await issuer.token({ sub: 'bob' }, {}, next)
  t.match(await verify(old), { id: 'ada' })
  issuer.publish(next)
  t.equal(await verify(fresh), null, 'the last fetch is too recent')
  t.match(await verify(old), { id: 'ada' })
  await sleep(610)
  t.match(await verify(fresh), { id: 'bob' })
  t.equal(await verify(old), null)
  t.equal(issuer.count('/keys'), 2)
})

t.test('a withdrawn key is forgotten when the keys grow old', async t => {
  const issuer = await Issuer.start(t)
  const verify = remote(issuer, { cooldown: 1, cacheMaxAge: 600 })
  const old = await issuer.token()
  const next = await makePair('ES256', 'next')
  t.match(await verify(old), { id: 'ada' })
  issuer.publish(next)
  t.match(await verify(old), { id: 'ada' })
  await sleep(610)
  t.equal(await verify(old), null)
})

t.test('a flood of unknown keys is no flood of fetches', async t => {
  const issuer = await Issuer.start(t)
  const verify = remote(issuer, { cooldown: 60_000 })
  t.match(await verify(await issuer.token()), { id: 'ada' })
  const flood = await Promise.all(Array.from({ length: 200 }, (_, index) => issuer.token({}, { kid: `unknown${index}` })))
  t.ok((await Promise.all(flood.map(verify))).every(principal => principal === null))
  t.equal(issuer.count('/keys'), 1)

  const first = remote(issuer, { cooldown: 1_000 })
  t.ok((await Promise.all(flood.map(first))).every(principal => principal === null))
  await sleep(1_010)
  t.ok((await Promise.all(flood.map(first))).every(principal => principal === null))
  t.equal(issuer.count('/keys'), 3)
})

t.test('an outage refuses nobody whose key is known, and nobody for good', async t => {
  const issuer = await Issuer.start(t)
  const verify = remote(issuer, { cacheMaxAge: 50, cooldown: 50 })
  const good = await issuer.token()
  const next = await makePair('ES256', 'next')
  const fresh = await issuer.token({}, {}, next)
  t.match(await verify(good), { id: 'ada' })
  issuer.broken = hangUp
  await sleep(60)
  t.match(await verify(good), { id: 'ada' }, 'after a fetch that failed')
  await t.rejects(verify(fresh), UNAVAILABLE, 'its key may be a new one')
  await sleep(60)
  issuer.broken = never
  const start = performance.now()
  t.match(await verify(good), { id: 'ada' })
  t.ok(performance.now() - start < SHORT.timeout / 2, 'nobody waits for a time-out')

  issuer.broken = undefined
  issuer.publish(issuer.pair, next)
  await sleep(SHORT.timeout + 200)
  await verify(good)
  await sleep(100)
  t.match(await verify(fresh), { id: 'ada' }, 'and back')
})

t.test('an outage that lasts ends with the keys: nobody could know whether one was withdrawn', async t => {
  const issuer = await Issuer.start(t)
  const lasting = { cacheMaxAge: 50, cooldown: 20 }
  const patient = remote(issuer, lasting)
  const strict = remote(issuer, { ...lasting, maxStale: 0 })
  const short = remote(issuer, { ...lasting, maxStale: 1_000 })
  const good = await issuer.token()
  for (const verify of [patient, strict, short]) t.match(await verify(good), { id: 'ada' })
  await sleep(60)
  t.match(await strict(good), { id: 'ada' }, 'keys that are only due are fetched')
  issuer.broken = json('down', 503)
  await sleep(60)
  for (const verify of [patient, short]) t.match(await verify(good), { id: 'ada' })
  await t.rejects(strict(good), UNAVAILABLE)
  await sleep(1_000)
  t.match(await patient(good), { id: 'ada' }, 'by default for a day')
  for (const verify of [strict, short]) await t.rejects(verify(good), { ...UNAVAILABLE, cause: { message: /answered 503/ } })
  issuer.broken = undefined
  await sleep(30)
  for (const verify of [patient, strict, short]) t.match(await verify(good), { id: 'ada' }, 'and back')
})

t.test('without a key an outage is no wrong token', async t => {
  const issuer = await Issuer.start(t)
  const verify = remote(issuer, { cooldown: 600 })
  const good = await issuer.token()
  issuer.broken = json('down', 503)
  await t.rejects(verify(good), { ...UNAVAILABLE, cause: { message: /\.well-known\/openid-configuration answered 503/ } })
  const { length } = issuer.asked
  await Promise.all(Array.from({ length: 50 }, () => t.rejects(verify(good), UNAVAILABLE)))
  t.equal(issuer.asked.length, length, 'and nobody is asked again at once')
  t.equal(await verify('x'), null)
  issuer.broken = undefined
  await sleep(610)
  t.match(await verify(good), { id: 'ada' })
})

t.test('what an issuer may answer that is of no use', async t => {
  const other = await Issuer.start(t)
  const keys = '/keys'
  const cases: Record<string, [path: string, answer: (issuer: Issuer) => ReturnType<typeof json>, why: RegExp]> = {
    'another issuer': [METADATA, () => json({ issuer: other.url, jwks_uri: `${other.url}/keys` }), /answered 404/],
    'no jwks_uri': [METADATA, ({ url }) => json({ issuer: url }), /answered 404/],
    'metadata that is null': [METADATA, () => json('null'), /answered 404/],
    'a redirect of the metadata': [METADATA, () => redirectTo(`${other.url}${METADATA}`), /answered 404/],
    'a redirect': [keys, () => redirectTo(`${other.url}/keys`), /\/keys cannot be reached/],
    'a redirect to itself': [keys, ({ url }) => redirectTo(`${url}/other`), /\/keys cannot be reached/],
    'no JSON': [keys, () => json('<html>secret</html>'), /\/keys did not answer JSON/],
    'no key set': [keys, () => json({ keys: 'none' }), /JSON Web Key Set malformed/],
    null: [keys, () => json('null'), /JSON Web Key Set malformed/],
    'too much': [keys, () => json({ keys: [], more: 'x'.repeat(600_000) }), /did not answer to the end/],
    'half of it': [keys, () => (_request, response) => {
      response.writeHead(200, { 'content-length': 1_000 }).write('{')
      setTimeout(() => response.destroy(), 20)
    }, /did not answer to the end/],
    nothing: [keys, () => (_request, response) => { response.writeHead(204).end() }, /answered 204/],
    'too late': [keys, () => never, /\/keys cannot be reached/],
    'the end too late': [keys, () => (_request, response) => { response.writeHead(200).write('{') }, /did not answer to the end/]
  }
  for (const [name, [path, answer, why]] of Object.entries(cases)) {
    const issuer = await Issuer.start(t)
    issuer.paths.set(path, answer(issuer))
    const error: Error = await remote(issuer, { timeout: 500 })(await issuer.token()).then(() => t.fail(name), error => error)
    t.match(error, UNAVAILABLE, name)
    t.match(error.cause, { message: why }, name)
    t.notMatch(String(error.cause), 'secret')
  }
  t.strictSame(other.asked, [], 'no redirect was followed')

  const untrusted = await Issuer.start(t)
  untrusted.paths.delete(METADATA)
  untrusted.paths.set('/.well-known/openid-configuration', json({ issuer: untrusted.url, jwks_uri: 'http://issuer.example/keys' }))
  await t.rejects(remote(untrusted)(await untrusted.token()), { cause: { message: /names no `jwks_uri` on https/ } })
  untrusted.paths.set('/.well-known/openid-configuration', json({ issuer: ISSUER }))
  await t.rejects(remote(untrusted)(await untrusted.token()), { cause: { message: /metadata of another issuer/ } })
})

t.test('an issuer on https does not send for its keys over http, not to this machine either', async t => {
  const local = await Issuer.start(t)
  let keys = `${local.origin}/keys`
  const { fetch } = globalThis
  const asked: string[] = []
  t.intercept(globalThis, 'fetch', {
    value: async (url: string, init: RequestInit) => {
      asked.push(url)
      if (url.startsWith(local.origin)) return fetch(url, init)
      return Response.json(url.startsWith(`${ISSUER}/.well-known/`) ? { issuer: ISSUER, jwks_uri: keys } : { keys: [pair.jwk] })
    }
  })
  const discovering = () => jwt({ issuer: ISSUER, audience: AUDIENCE, ...SHORT })
  for (const scheme of ['http:', 'HTTP:']) {
    keys = keys.replace(/^http:/i, scheme)
    await t.rejects(discovering()(await token()), { ...UNAVAILABLE, cause: { message: /names no `jwks_uri` on https/ } }, scheme)
  }
  t.strictSame(asked.filter(url => !url.startsWith(`${ISSUER}/.well-known/`)), [])
  for (keys of [`${ISSUER}/keys`, 'HTTPS://keys.example/']) t.match(await discovering()(await token()), { id: 'ada' }, keys)
})

t.test('keys of no use are passed over, and refuse their token', async t => {
  const issuer = await Issuer.start(t)
  const verify = remote(issuer)
  issuer.paths.set('/keys', json({ keys: [{ ...issuer.pair.jwk, kid: 'bad', x: 'x' }, { kty: 'oct', k: 'AAAA', kid: 'secret' }, { kty: '?' }, issuer.pair.jwk] }))
  t.match(await verify(await issuer.token()), { id: 'ada' })
  t.equal(await verify(await issuer.token({}, { kid: 'bad' })), null)
  const forged = await new SignJWT(claimsOf(issuer.url)).setProtectedHeader({ alg: 'HS256', kid: 'secret' }).sign(Buffer.from('AAAA', 'base64url'))
  t.equal(await verify(forged), null)
})

// ---- through the plugin ----

async function serve (t: Test, auth: JwtOptions) {
  let log = ''
  const app = await createApp(t, { auth: { verify: jwt(auth) } }, { logger: { level: 'info', stream: { write: text => { log += text } } } })
  app.mcp.tool('whoami', {}, (_args, { principal }) => `${principal?.id} of ${principal?.issuer}: ${principal?.scopes}`)
  return { app, url: await listen(app), log: () => log }
}
const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` })
const PING = { jsonrpc: '2.0', id: 1, method: 'ping' }

t.test('a client comes in by a JWT, and keeps its session with the next one', async t => {
  const issuer = await Issuer.start(t)
  const { url, log } = await serve(t, { issuer: issuer.url, audience: AUDIENCE, ...SHORT })
  const client = await Client.connect(url, { headers: bearer(await issuer.token()) })
  t.match(await client.call('whoami'), { result: { content: [{ text: `ada of ${issuer.url}: read,write` }] } })

  const refreshed = await issuer.token({ exp: seconds(600), scope: 'read' })
  t.match(await client.post(PING, bearer(refreshed)), { status: 200 })
  t.match(await client.post(PING, bearer(await issuer.token({ sub: 'bob' }))), { status: 404, messages: [{ error: { data: { code: 'FST_MCP_SESSION_UNKNOWN' } } }] })

  const expired = await issuer.token({ exp: seconds(-60) })
  for (const wrong of [expired, 'x', `${refreshed}x`]) {
    const reply = await client.post(PING, bearer(wrong))
    t.match(reply, { status: 401, headers: { 'www-authenticate': 'Bearer error="invalid_token"' }, messages: [{ error: { data: { code: 'FST_MCP_TOKEN_INVALID' } } }] })
    t.notMatch(reply.text, /exp|signature|ada/)
  }
  for (const secret of [refreshed, expired]) t.notOk(log().includes(String(secret.split('.')[2])), 'no token is logged')
})

t.test('the same subject of another issuer is somebody else', async t => {
  const [first, second] = [await Issuer.start(t), await Issuer.start(t)]
  const { url } = await serve(t, { issuer: [first.url, second.url], audience: AUDIENCE })
  const client = await Client.connect(url, { headers: bearer(await first.token()) })
  t.match(await client.post(PING, bearer(await second.token())), { status: 404 })
  t.match(await client.post(PING, bearer(await first.token())), { status: 200 })
})

t.test('keys that cannot be had are a 503 that says when to come back', async t => {
  const issuer = await Issuer.start(t)
  issuer.broken = hangUp
  const { url, log } = await serve(t, { issuer: issuer.url, audience: AUDIENCE, ...SHORT })
  const given = await issuer.token()
  const reply = await new Client(url, { headers: bearer(given) }).post(PING)
  t.match(reply, {
    status: 503,
    headers: { 'retry-after': '5', 'www-authenticate': undefined },
    messages: [{ error: { code: -32000, message: 'The identity provider cannot be reached', data: { code: 'FST_MCP_AUTH_UNAVAILABLE' } } }]
  })
  t.notOk(reply.text.includes('127.0.0.1'))
  t.match(log(), /openid-configuration cannot be reached/, 'the log says why')
  t.notOk(log().includes(given))
  issuer.broken = undefined
  await sleep(SHORT.cooldown + 10)
  t.match(await new Client(url, { headers: bearer(given) }).post({ ...PING, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'a', version: '1' } } }), { status: 200 })
})

t.test('a verifier of your own may say that it cannot tell; everything else that it throws is a 500', async t => {
  const strange = new Proxy(new Error('strange'), {
    get (target, key) {
      // What is thrown here must not let the request in.
      if (typeof key === 'symbol') throw undefined // eslint-disable-line no-throw-literal -- handlers may throw anything
      return Reflect.get(target, key)
    }
  })
  for (const [error, status] of [[new errorCodes.FST_MCP_AUTH_UNAVAILABLE(), 503], [new Error('x'), 500], [strange, 500], [undefined, 500]] as const) {
    for (const verify of [() => { throw error }, async () => { throw error }]) {
      const app = await createApp(t, { auth: { verify } })
      t.match(await new Client(await listen(app), { headers: bearer('x') }).post(PING), { status })
    }
  }
})
