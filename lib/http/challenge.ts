import { errorCodes } from '../errors.ts'
import { areScopes } from '../features/scopes.ts'

/** The value of `WWW-Authenticate` for a refusal. */
export type Challenge = (error: unknown) => string

export interface ChallengeOptions {
  /** The URL of the metadata, if they are served. */
  readonly metadata: string | undefined
  /** What every request needs. */
  readonly scopes: readonly string[]
}

/**
 * Says what would be let in (RFC 6750, section 3; RFC 9728, section 5.1). Who brought no credentials is told of no error.
 * Specification: basic/authorization, "Scope Challenge Handling".
 */
export function createChallenge ({ metadata, scopes }: ChallengeOptions): Challenge {
  return error => {
    const params = [['error', errorOf(error)], ['scope', scopesOf(error, scopes).join(' ')], ['resource_metadata', metadata]] as const
    const given = params.flatMap(([name, value = '']) => value === '' ? [] : [`${name}=${quote(value)}`])
    return ['Bearer', given.join(', ')].join(' ').trimEnd()
  }
}

/** Whether a refusal comes with a challenge. */
export function isChallenged (status: number, error: unknown): boolean {
  return status === 401 || error instanceof errorCodes.FST_MCP_SCOPE_INSUFFICIENT
}

function errorOf (error: unknown): string | undefined {
  if (error instanceof errorCodes.FST_MCP_SCOPE_INSUFFICIENT) return 'insufficient_scope'
  return error instanceof errorCodes.FST_MCP_TOKEN_INVALID ? 'invalid_token' : undefined
}

/** The host may have thrown the error itself, with data of its own. */
function scopesOf (error: unknown, scopes: readonly string[]): readonly string[] {
  const data: unknown = error instanceof errorCodes.FST_MCP_SCOPE_INSUFFICIENT && 'data' in error ? error.data : undefined
  const named: unknown = Object(data).scopes
  return areScopes(named) ? named : scopes
}

/** A quoted-string (RFC 9110, section 5.6.4): URLs and scopes are ASCII already, and without control characters. */
function quote (value: string): string {
  return `"${value.replace(/["\\]/g, '\\$&')}"`
}
