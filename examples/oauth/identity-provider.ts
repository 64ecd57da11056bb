// Replace by your own identity provider: Keycloak, Entra, Auth0, whatever signs your users in. This one believes everybody the name that
// they give, keeps all in memory and makes new keys at each start, so it listens on loopback alone.
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { text } from 'node:stream/consumers'
import { exportJWK, generateKeyPair } from 'jose'
import Provider, { type Configuration, errors, type Interaction } from 'oidc-provider'

interface IdentityProviderOptions {
  /** The one server that it issues tokens for. */
  resource: string
  /** What clients may ask for there. */
  scopes: string[]
  /** Seconds that an access token is good for. Default: 300. */
  lifetime?: number
}

/** Starts it on a free port. `issuer` is its URL, as it stands in `iss`. */
export async function startIdentityProvider (options: IdentityProviderOptions): Promise<{ issuer: string, server: Server }> {
  const server = createServer().listen(0, '127.0.0.1').unref()
  await once(server, 'listening')
  const address = server.address()
  const issuer = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`
  const provider = new Provider(issuer, await configure(options))
  addSignIn(provider, options.resource)
  server.on('request', provider.callback())
  return { issuer, server }
}

async function configure ({ resource, scopes, lifetime = 300 }: IdentityProviderOptions): Promise<Configuration> {
  const { privateKey } = await generateKeyPair('RS256', { extractable: true })
  return {
    jwks: { keys: [{ ...await exportJWK(privateKey), alg: 'RS256', use: 'sig' }] },
    cookies: { keys: [randomBytes(32).toString('hex')] },
    pkce: { required: () => true },
    findAccount: (_ctx, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
    interactions: { url: (_ctx, { uid }) => `/sign-in/${uid}` },
    // Clients register with the scopes of their first request. Held to these, none could ask for more when a tool needs it.
    extraClientMetadata: { properties: ['scope'], validator: (_ctx, _key, _value, metadata) => { delete metadata.scope } },
    features: {
      devInteractions: { enabled: false },
      registration: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo (_ctx, indicator) {
          if (indicator !== resource) throw new errors.InvalidTarget()
          return { audience: resource, scope: scopes.join(' '), accessTokenFormat: 'jwt', accessTokenTTL: lifetime }
        }
      }
    }
  }
}

/** Signs in and asks for consent on one page. */
function addSignIn (provider: Provider, resource: string): void {
  provider.use(async (ctx, next) => {
    if (!ctx.path.startsWith('/sign-in/')) return next()
    const { params, session } = await provider.interactionDetails(ctx.req, ctx.res)
    if (ctx.method !== 'POST') {
      const client = await provider.Client.find(String(params.client_id))
      ctx.body = page(client?.clientName ?? 'A client', String(params.scope), resource, session)
      return
    }
    const accountId = session?.accountId ?? new URLSearchParams(await text(ctx.req)).get('name')
    if (!accountId) return ctx.throw(400, 'a name is missing')
    const grant = new provider.Grant({ accountId, clientId: String(params.client_id) })
    grant.addOIDCScope(String(params.scope))
    grant.addResourceScope(resource, String(params.scope))
    const grantId = await grant.save()
    ctx.status = 303
    ctx.redirect(await provider.interactionResult(ctx.req, ctx.res, { login: { accountId }, consent: { grantId } }))
  })
}

function page (client: string, scope: string, resource: string, session: Interaction['session']): string {
  const who = session === undefined ? '<input name="name" placeholder="Your name" required autofocus>' : `You are ${escape(session.accountId)}.`
  return `<!doctype html>
<title>Sign in</title>
<p>${escape(client)} asks for <b>${escape(scope)}</b> at ${escape(resource)}.</p>
<form method="post">${who} <button>Allow</button></form>
`
}

/** Clients choose their names themselves. */
function escape (value: string): string {
  return value.replace(/[&<>"']/g, character => `&#${character.charCodeAt(0)};`)
}
