import { createHash } from 'node:crypto'
import { z } from 'zod'
import type { Principal } from './http/auth.ts'
import { type Claims, type ClaimsReader, createCheck, MAX_TOKEN, principalOf, timeOf } from './identity/claims.ts'
import { readJson, unavailable } from './identity/remote.ts'
import { audience, ms, names, principal, scopes, settle, trustedUrl } from './identity/settings.ts'
import { Answers } from './introspection/answers.ts'

export type { Claims, ClaimsReader }

export interface IntrospectionOptions extends ClaimsReader {
  /** The introspection endpoint: https, or http on loopback. */
  url: string
  clientId: string
  clientSecret: string
  /**
   * The URI of this server that tokens must be issued for: one of `aud`, compared as in `jwt`. Leave it out only when everything that the
   * endpoint calls active is meant for this server.
   */
  audience?: string | string[]
  /** `iss` of valid tokens, compared exactly; an answer without it is then refused. */
  issuer?: string | string[]
  cache?: {
    /** The most answers that are kept, of each kind. Default: 1,000. */
    max?: number
    /** Milliseconds that a token is good without being asked for again, at most until its `exp`. Default: 30,000; 0 asks each time. */
    ttl?: number
  }
  /** Milliseconds for one request. Default: 5,000. */
  timeout?: number
}

const schema = z.strictObject({
  url: trustedUrl,
  clientId: z.string().min(1),
  clientSecret: z.string().min(1),
  audience: audience.optional(),
  issuer: names.optional(),
  cache: z.strictObject({ max: z.int().min(1).default(1_000), ttl: ms(0).default(30_000) }).prefault({}),
  timeout: ms(1).default(5_000),
  scopes,
  principal
})

const CLOCK_TOLERANCE = 5_000
// A token may become valid: what is refused is asked for again soon.
const REFUSED_MS = 5_000

/**
 * An `auth.verify` that asks the authorization server (RFC 7662): `auth: { verify: introspection({ url, clientId, clientSecret, audience }) }`.
 * A wrong token gives null, a 401; an endpoint that does not answer throws FST_MCP_AUTH_UNAVAILABLE, a 503. Throws FST_MCP_OPTION_INVALID at once.
 */
export function introspection (options: IntrospectionOptions): (token: string) => Promise<Principal | null> {
  const settings = settle('introspection', schema, options)
  const { url, clientId, clientSecret, timeout, issuer, audience, cache: { max, ttl } } = settings
  const fits = createCheck({ issuer, audience, clockTolerance: CLOCK_TOLERANCE })
  const authorization = `Basic ${Buffer.from(`${formEncode(clientId)}:${formEncode(clientSecret)}`).toString('base64')}`

  const ask = async (token: string): Promise<Claims | null> => {
    const form = new URLSearchParams({ token, token_type_hint: 'access_token' })
    const signal = AbortSignal.timeout(timeout)
    let claims: Record<string, unknown>
    try {
      claims = Object(await readJson(url, { form, headers: { authorization }, isStrict: true, signal }))
    } catch (error) {
      throw unavailable(error)
    }
    if (typeof claims.active !== 'boolean') throw unavailable(new TypeError('The introspection endpoint did not say whether the token is active'))
    return claims.active && fits(claims) ? Object.freeze(claims) : null
  }
  const untilOf = (claims: Claims | null, now: number): number =>
    claims === null ? now + Math.min(ttl, REFUSED_MS) : Math.min(now + ttl, timeOf(claims.exp, Infinity))
  const answers = new Answers(ask, untilOf, max)

  return async token => {
    if (token.length > MAX_TOKEN) return null
    const claims = await answers.of(createHash('sha256').update(token).digest('base64'), token)
    return claims === null ? null : principalOf(claims, settings)
  }
}

/** RFC 6749, section 2.3.1: both parts are encoded before they are joined. */
function formEncode (text: string): string {
  return new URLSearchParams([['', text]]).toString().slice('='.length)
}
