import { createLocalJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose'
import type { JSONWebKeySet, JWTVerifyGetKey } from 'jose'
import { z } from 'zod'
import { errorCodes } from './errors.ts'
import type { Principal } from './http/auth.ts'
import { type Claims, type ClaimsReader, createCheck, MAX_TOKEN, principalOf } from './identity/claims.ts'
import { isTrusted } from './identity/remote.ts'
import { audience, invalid, ms, names, principal, scopes, settle, trustedUrl } from './identity/settings.ts'
import { discover, KeySource } from './jwt/key-source.ts'
import { ALGORITHMS, ASYMMETRIC, type OwnKey, ownKey } from './jwt/own-key.ts'

export type { Claims, ClaimsReader, OwnKey }

export interface JwtOptions extends ClaimsReader {
  /** `iss` of valid tokens, compared exactly. Without keys of your own it is a URL, whose metadata tells where the keys are. */
  issuer: string | string[]
  /**
   * The URI of this server that tokens must be issued for: one of `aud` (RFC 8707). Scheme and host are compared without case, and one
   * slash at the end does not count; all else is compared exactly.
   */
  audience: string | string[]
  /** Where the issuer's keys are, if its metadata does not say so: https, or http on loopback. With several issuers, the keys of all. */
  jwksUri?: string
  /** The issuer's keys themselves. */
  jwks?: JSONWebKeySet
  /** The issuer's one key, or the secret (HS256, HS384, HS512) that it shares with you. */
  key?: OwnKey
  /** What tokens may be signed with. Default: every RS, PS, ES and EdDSA algorithm, or those that go with `key`. */
  algorithms?: string[]
  /** Milliseconds that clocks may differ. Default: 5,000. */
  clockTolerance?: number
  /** Milliseconds since `iat`, which is then required. Default: only `exp` ends a token. */
  maxTokenAge?: number
  /** Milliseconds between two fetches of keys, also when a token names a key that is not known. Default: 30,000. */
  cooldown?: number
  /** Milliseconds after which keys are fetched anew. Default: 600,000. */
  cacheMaxAge?: number
  /** Milliseconds beyond `cacheMaxAge` in which old keys stay in use while new ones cannot be had. Default: 86,400,000, a day. */
  maxStale?: number
  /** Milliseconds for a fetch of keys, the metadata included. Default: 5,000. */
  timeout?: number
}

const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null

const schema = z.strictObject({
  issuer: names,
  audience,
  jwksUri: trustedUrl.optional(),
  jwks: z.custom<JSONWebKeySet>(isObject, 'must be a JSON Web Key Set').optional(),
  key: z.custom<OwnKey>(isObject, 'must be a KeyObject, a CryptoKey, a JWK or the bytes of a secret').optional(),
  algorithms: z.array(z.enum(ALGORITHMS)).min(1).optional(),
  clockTolerance: ms(0).default(5_000),
  maxTokenAge: ms(1).optional(),
  scopes,
  principal,
  cooldown: ms(1).default(30_000),
  cacheMaxAge: ms(1).default(600_000),
  maxStale: ms(0).default(86_400_000),
  timeout: ms(1).default(5_000)
})

// RFC 9068, section 2.1, and RFC 7519, section 5.1.
const TYPES = new Set<unknown>([undefined, 'jwt', 'at+jwt', 'application/jwt', 'application/at+jwt'])

/**
 * An `auth.verify` for JWT access tokens (RFC 9068): `auth: { verify: jwt({ issuer, audience }) }`. A wrong token gives null, a 401; keys that
 * cannot be had throw FST_MCP_AUTH_UNAVAILABLE, a 503. Throws FST_MCP_OPTION_INVALID at once. Specification: basic/authorization, "Token Handling".
 */
export function jwt (options: JwtOptions): (token: string) => Promise<Principal | null> {
  const settings = settle('jwt', schema, options)
  const { algorithms, keysOf } = resolveKeys(settings)
  const { audience, clockTolerance, maxTokenAge } = settings
  const fits = createCheck({ audience, clockTolerance, maxTokenAge, needsExpiry: true })

  return async token => {
    const claims = peek(token, algorithms)
    // Whoever is refused by what the token says of itself costs neither a signature nor a fetch.
    if (claims === null || !fits(claims)) return null
    const keys = keysOf.get(claims.iss)
    if (keys === undefined) return null
    const verified = await verify(token, keys, algorithms, clockTolerance)
    return verified === null ? null : principalOf(verified, settings)
  }
}

type Settings = z.output<typeof schema>

/** How the keys of each issuer are found, and what they are used with. */
function resolveKeys (settings: Settings): { algorithms: string[], keysOf: Map<unknown, JWTVerifyGetKey> } {
  const { jwksUri, jwks, key } = settings
  if ([jwksUri, jwks, key].filter(given => given !== undefined).length > 1) throw invalid('`jwt` takes one of `jwksUri`, `jwks` and `key`')
  const issuers = [settings.issuer].flat()
  if (key !== undefined) {
    const own = ownKey(key, settings.algorithms)
    return { algorithms: own.algorithms, keysOf: new Map(issuers.map(issuer => [issuer, () => own.key])) }
  }
  const algorithms = settings.algorithms ?? ASYMMETRIC
  const secret = algorithms.filter(algorithm => !ASYMMETRIC.includes(algorithm))
  if (secret.length > 0) throw invalid(`\`jwt.algorithms\` need a secret as \`jwt.key\`: ${secret.join(', ')}`)
  const shared = sharedKeys(settings)
  return { algorithms, keysOf: new Map(issuers.map(issuer => [issuer, shared ?? discovered(issuer, settings)])) }
}

function sharedKeys (settings: Settings): JWTVerifyGetKey | undefined {
  const { jwksUri, jwks } = settings
  if (jwksUri !== undefined) return getKeyOf(new KeySource(async () => jwksUri, settings))
  if (jwks === undefined) return undefined
  try {
    return createLocalJWKSet(jwks)
  } catch {
    throw invalid('`jwt.jwks` must be a JSON Web Key Set')
  }
}

/** The keys of one issuer never verify the tokens of another. */
function discovered (issuer: string, settings: Settings): JWTVerifyGetKey {
  if (!isTrusted(issuer)) throw invalid('`jwt.issuer` must be an https URL, or http on loopback, where `jwksUri`, `jwks` and `key` are left out')
  return getKeyOf(new KeySource(discover(issuer), settings))
}

function getKeyOf (source: KeySource): JWTVerifyGetKey {
  return (header, token) => source.find(header, token)
}

/** What a token says of itself, unverified; null when no signature could make it valid. */
function peek (token: string, algorithms: readonly string[]): Claims | null {
  if (token.length > MAX_TOKEN) return null
  try {
    const { alg = '', typ } = decodeProtectedHeader(token)
    const isKnown = TYPES.has(typeof typ === 'string' ? typ.toLowerCase() : typ)
    return isKnown && algorithms.includes(alg) ? decodeJwt(token) : null
  } catch {
    return null
  }
}

/** The claims, if they are signed. */
async function verify (token: string, keys: JWTVerifyGetKey, algorithms: string[], clockTolerance: number): Promise<Claims | null> {
  try {
    const { payload } = await jwtVerify(token, keys, { algorithms, clockTolerance: clockTolerance / 1_000 })
    return payload
  } catch (error) {
    if (error instanceof errorCodes.FST_MCP_AUTH_UNAVAILABLE) throw error
    return null
  }
}
