// The whole way of OAuth: the official clients, an authorization server that others wrote, and nothing between them but sockets.
import { jwt } from 'fastify-mcp-sse/jwt'
import { decodeJwt } from 'jose'
import t, { type Test } from 'tap'
import { ACCEPT, createApp, listen, send, until } from './client.ts'
import { openPort, type SignedIn, signIn1, signIn2 } from './visitor.ts'
import { startIdentityProvider } from '../examples/oauth/identity-provider.ts'

interface World {
  readonly resource: string
  readonly issuer: string
  /** Sessions that are open. */
  sessions (): number
}

async function serve (t: Test, { lifetime = 300 } = {}): Promise<World> {
  const { url, leadTo } = await openPort(t)
  const resource = `${url}/mcp`
  const { issuer, server } = await startIdentityProvider({ resource, scopes: ['notes:read', 'notes:write'], lifetime })
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  const app = await createApp(t, {
    auth: { verify: jwt({ issuer, audience: resource, clockTolerance: 0 }), resource, authorizationServers: [issuer], scopes: ['notes:read'] }
  })
  app.mcp.tool('whoami', {}, (_args, { principal }) => JSON.stringify(principal))
  app.mcp.tool('write', { scopes: ['notes:write'] }, (_args, { principal }) => `written by ${principal?.id}`)
  leadTo(await listen(app))
  return { resource, issuer, sessions: () => app.mcp.stats().sessions }
}

const clients = {
  'client 2.4 on 2026-07-28': signIn2,
  'client 2.4 in a session': (t: Test, resource: string, name: string) => signIn2(t, resource, name, 'legacy'),
  'sdk 1.32': signIn1
}

const claimsOf = ({ visitor }: SignedIn) => decodeJwt(visitor.tokens()?.access_token ?? '')

for (const [name, connect] of Object.entries(clients)) {
  t.test(`${name} goes from a 401 to a token, and once more for a scope that it lacks`, async t => {
    const { resource, issuer } = await serve(t)
    const ada = await connect(t, resource, 'ada')
    const { visitor } = ada

    await t.test('it is led from the 401 to the authorization server, and registers there', async t => {
      const [first] = visitor.seen
      const metadata = new URL('/.well-known/oauth-protected-resource/mcp', resource).href
      t.match(first, { status: 401, challenge: `Bearer scope="notes:read", resource_metadata="${metadata}"` })
      t.match(visitor.seen[1], { status: 200, method: 'GET', url: { href: metadata } })
      t.ok(visitor.seen.some(({ url, status }) => url.href === `${issuer}/.well-known/oauth-authorization-server` && status === 200))
      t.match(visitor.to('/reg'), [{ status: 201, url: { origin: issuer }, body: /"scope":"notes:read\b/ }])
    })

    await t.test('it proves that the code is its own, and names what the token is for', async t => {
      const [asked] = visitor.asked
      t.match(Object.fromEntries(asked?.searchParams ?? []), { code_challenge_method: 'S256', resource, scope: /^notes:read\b/ })
      const [token] = visitor.to('/token')
      t.match(Object.fromEntries(new URLSearchParams(token?.body)), { grant_type: 'authorization_code', code_verifier: /^.{43,}$/, resource })
      t.match(visitor.pages, [/A &#60;client&#62; asks for <b>notes:read\b.*name="name"/s])
    })

    await t.test('it calls a tool', async t => {
      t.strictSame(JSON.parse(await ada.call('whoami')), { issuer, scopes: ['notes:read'], id: 'ada' })
      t.match(claimsOf(ada), { iss: issuer, aud: resource, sub: 'ada', scope: 'notes:read' })
      t.equal(visitor.asked.length, 1)
    })

    await t.test('a tool that needs more is called after one more consent, in the same session', async t => {
      const { sessionId } = ada
      const before = sessionId()
      const registered = visitor.clientInformation()?.client_id
      t.equal(await ada.call('write'), 'written by ada')
      const refused = visitor.seen.find(({ status }) => status === 403)
      t.match(refused?.challenge, /^Bearer error="insufficient_scope", scope="notes:read notes:write", resource_metadata=/)
      t.match(visitor.asked[1]?.searchParams.get('scope'), /^(?=.*notes:read)(?=.*notes:write)/)
      t.match(visitor.pages[1], /notes:write.*You are ada/s)
      t.same(new Set(String(claimsOf(ada).scope).split(' ')), new Set(['notes:read', 'notes:write']))
      t.equal(visitor.clientInformation()?.client_id, registered)
      t.equal(visitor.to('/reg').length, 1)
      t.equal(sessionId(), before)
      t.match(await ada.call('whoami'), /notes:write/)
      t.equal(visitor.asked.length, 2)
    })
  })
}

t.test('who comes back with a new token goes on in the session, and nobody else does', async t => {
  const { resource, sessions } = await serve(t, { lifetime: 5 })
  const ada = await signIn2(t, resource, 'ada', 'legacy')
  // It does not ask for `offline_access`, so it has no refresh token.
  const bob = await signIn1(t, resource, 'bob')
  const users = [ada, bob].map(user => ({ user, id: user.sessionId(), claims: claimsOf(user) }))
  t.equal(new Set(users.map(({ id }) => id)).size, 2)
  const expiry = Math.max(...users.map(({ claims }) => Number(claims.exp))) * 1_000
  await until(() => Date.now() > expiry, 'the tokens to expire')

  for (const { user, id, claims: { jti, ...claims } } of users) {
    const { visitor } = user
    t.match(JSON.parse(await user.call('whoami')), { id: visitor.name })
    t.match(visitor.seen.find(({ challenge }) => challenge?.includes('invalid_token')), { status: 401 })
    t.not(claimsOf(user).jti, jti)
    t.match(claimsOf(user), { iss: claims.iss, sub: visitor.name, aud: resource, scope: claims.scope })
    t.equal(user.sessionId(), id, 'the session is the same')
  }
  const grants = ({ visitor }: SignedIn) => visitor.to('/token').map(({ body }) => new URLSearchParams(body).get('grant_type'))
  t.strictSame(grants(ada), ['authorization_code', 'refresh_token'])
  t.equal(ada.visitor.asked.length, 1, 'a refresh asks nobody')
  t.strictSame(grants(bob), ['authorization_code', 'authorization_code'])
  t.equal(sessions(), 2)

  const use = (user: SignedIn, sessionId = '') => send(resource, '', {
    method: 'POST',
    headers: {
      authorization: `Bearer ${user.visitor.tokens()?.access_token}`,
      accept: ACCEPT,
      'mcp-protocol-version': '2025-11-25',
      'mcp-session-id': sessionId
    },
    body: { jsonrpc: '2.0', id: 1, method: 'ping' }
  })
  t.match(await use(bob, ada.sessionId()), { status: 404, messages: [{ error: { data: { code: 'FST_MCP_SESSION_UNKNOWN' } } }] })
  t.match(await use(ada, bob.sessionId()), { status: 404 })
  t.match(await use(ada, ada.sessionId()), { status: 200 })
})
