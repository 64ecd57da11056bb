import type { Principal } from '../http/auth.ts'
import type { Awaitable } from '../store/store.ts'

/** What an issuer says of a token: the payload of a JWT, the answer of an introspection. */
export type Claims = Readonly<Record<string, unknown>>

/** How claims become a principal. */
export interface ClaimsReader {
  /** Where your issuer keeps the scopes, when that is neither `scope` nor `scp`. */
  scopes?: (claims: Claims) => readonly string[]
  /**
   * Makes the principal of a valid token, or null to refuse it. `issuer` and `scopes` are filled in unless you give them. Default: `id` is
   * `sub`, or `client_id` when there is no `sub`. A throw is answered 500.
   */
  principal?: (claims: Claims) => Awaitable<Principal | null | undefined | false>
}

export interface Expectations {
  readonly issuer?: string | readonly string[]
  readonly audience?: string | readonly string[]
  /** Milliseconds that clocks may differ. */
  readonly clockTolerance: number
  /** Milliseconds since `iat`. */
  readonly maxTokenAge?: number
  readonly needsExpiry?: boolean
}

/** The longest token that is looked at: what Node takes for all headers together. */
export const MAX_TOKEN = 16_384

const HIERARCHICAL = /^([a-z][a-z\d+.-]*:\/\/[^/?#]*)(.*)$/is

/** Whether claims are those of a valid token for this server. What is malformed is not. */
export function createCheck ({ issuer, audience, clockTolerance, maxTokenAge, needsExpiry }: Expectations): (claims: Claims) => boolean {
  const issuers = issuer === undefined ? undefined : new Set<unknown>([issuer].flat())
  const audiences = audience === undefined ? undefined : new Set([audience].flat().map(canonical))

  return ({ iss, aud, exp, nbf, iat, cnf }) => {
    // Bound to a key (RFC 9449, RFC 8705) whose proof is not looked at: whoever stole the token would be let in.
    if (cnf !== undefined) return false
    if (issuers !== undefined && !issuers.has(iss)) return false
    if (audiences !== undefined && !audiencesOf(aud).some(name => audiences.has(name))) return false
    const now = Date.now()
    // NaN, which stands for what is malformed or missing, is neither more nor less than anything.
    const isInTime = timeOf(exp, needsExpiry ? NaN : Infinity) > now - clockTolerance && timeOf(nbf, -Infinity) <= now + clockTolerance
    if (maxTokenAge === undefined) return isInTime
    const age = now - timeOf(iat, NaN)
    return isInTime && age <= maxTokenAge + clockTolerance && age >= -clockTolerance
  }
}

/** Milliseconds since 1970 of a NumericDate (RFC 7519, section 2). */
export function timeOf (value: unknown, absent: number): number {
  if (value === undefined) return absent
  return typeof value === 'number' && Number.isFinite(value) ? value * 1_000 : NaN
}

function audiencesOf (aud: unknown): string[] {
  const names: unknown[] = [aud].flat()
  return names.filter(name => typeof name === 'string').map(canonical)
}

/** Scheme and host in lower case, and without a slash at the end: the canonical form of basic/authorization, "Canonical Server URI". */
function canonical (audience: string): string {
  const [, authority, rest = ''] = HIERARCHICAL.exec(audience) ?? []
  if (authority === undefined) return audience
  return authority.toLowerCase() + (rest.endsWith('/') ? rest.slice(0, -1) : rest)
}

/** The principal of claims that were checked. */
export async function principalOf (claims: Claims, { scopes = scopesOf, principal = subjectOf }: ClaimsReader): Promise<Principal | null> {
  const own = await principal(claims)
  if (!own) return null
  return { ...(typeof claims.iss === 'string' && { issuer: claims.iss }), scopes: [...scopes(claims)], ...own }
}

function subjectOf ({ sub, client_id: client }: Claims): Principal | null {
  const id = sub ?? client
  return typeof id === 'string' && id !== '' ? { id } : null
}

/** `scope` separates by spaces (RFC 8693, section 4.2); others use `scp`, and arrays. */
function scopesOf ({ scope, scp }: Claims): string[] {
  const values: unknown[] = [scope, scp].flat()
  return [...new Set(values.flatMap(value => typeof value === 'string' ? value.split(' ') : []).filter(name => name !== ''))]
}
