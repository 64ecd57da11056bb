import { z } from 'zod'
import { errorCodes } from '../errors.ts'
import type { ClaimsReader } from './claims.ts'
import { must, namesIn, tell, type Telling } from '../wording.ts'
import { isTrusted } from './remote.ts'

const MAX_TIMER = 2_147_483_647

const isName = (value: unknown): boolean => typeof value === 'string' && value !== ''
const isNames = (value: unknown): boolean => isName(value) || (Array.isArray(value) && value.length > 0 && value.every(isName))
const isFunction = (value: unknown): boolean => typeof value === 'function'

export const ms = (minimum: number) => z.int().min(minimum).max(MAX_TIMER)
export const names = z.custom<string | string[]>(isNames, 'must be a string, or several')
// RFC 8707, section 2: the identifier of a resource has no fragment.
export const audience = z.custom<string | string[]>(value => isNames(value) && ![value].flat().some(name => String(name).includes('#')), 'must be a URI without a fragment, or several')
export const trustedUrl = z.string().refine(isTrusted, 'must be an https URL without a password, or http on loopback')
export const scopes = z.custom<ClaimsReader['scopes']>(isFunction, 'must be a function').optional()
export const principal = z.custom<ClaimsReader['principal']>(isFunction, 'must be a function').optional()

// Undefined: what stands in the place of all of them.
const SECRETS = new Set<unknown>([undefined, 'key', 'jwks', 'clientId', 'clientSecret', 'token'])
// Of those that are texts. In the place of any other a text may be anything.
const SHOWN = new Set<unknown>(['issuer', 'audience', 'jwksUri', 'url', 'path', 'algorithms', 'addresses'])

const isSecret: Telling['isSecret'] = ([first], value) => typeof value === 'string' ? !SHOWN.has(first) : SECRETS.has(first)

/** Fills in the defaults of a copy. Throws FST_MCP_OPTION_INVALID, which quotes the name, and the value where it is no secret. */
export function settle<S extends z.ZodType> (name: string, schema: S, given: unknown): z.output<S> {
  const parsed = schema.safeParse(given, { error: must })
  if (parsed.success) return parsed.data
  throw invalid(tell(parsed.error, given, { section: [name], names: namesIn(schema, `${name}.`), isSecret, mayHoldSecrets: () => true }))
}

export function invalid (what: string): Error {
  return new errorCodes.FST_MCP_OPTION_INVALID(what)
}
