import { hash as digest, timingSafeEqual } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { errorCodes, readable } from '../errors.ts'
import type { Hierarchy, Scopes } from '../features/scopes.ts'
import { type Awaitable, whenReady } from '../store/store.ts'

/** Merge your own fields into it: `declare module 'fastify-mcp-sse' { interface McpPrincipal { tenant: string } }`. */

export interface McpPrincipal {}

/** Who calls. Sessions belong to `issuer` and `id`. */
export type Principal = McpPrincipal & {
  readonly id: string
  readonly issuer?: string
  readonly scopes?: readonly string[]
}

interface TokenOptions {
  /** The bearer token. Only its hash is kept. */
  token: string
  /** The id of the principal that it stands for. */
  principal: string
  scopes?: string[]
}

export interface AuthOptions {
  tokens?: TokenOptions[]
  /** The principal of a token, or null (undefined, false) when it is not valid. A throw is no 401: 503 for FST_MCP_AUTH_UNAVAILABLE, else 500. */
  verify?: (token: string, request: FastifyRequest) => Awaitable<Principal | null | undefined | false>
  /** The canonical URL of the server, as clients know it: with it, the metadata of RFC 9728 are served. */
  resource?: string
  /** The issuers of its tokens, at least one with `resource`. */
  authorizationServers?: string[]
  /** What a principal must have been granted for any request. */
  scopes?: string[]
  /** Whether the metadata stand at the root well-known URI too: of one server for each origin. */
  rootMetadata?: boolean
  /** Whether a granted scope covers another. Each covers itself. A throw is answered 500. */
  hierarchy?: Hierarchy
}

/** Finds the principal of a request. Throws FST_MCP_UNAUTHORIZED, FST_MCP_TOKEN_INVALID and FST_MCP_AUTH_UNAVAILABLE. */
export type Authenticate = (request: FastifyRequest) => Awaitable<Principal | null>

const BEARER = /^Bearer +([\w.~+/-]+=*)$/i

/** Hashes the tokens once; a request costs one hash and a comparison in constant time with each. */
export function createAuthenticate (auth: AuthOptions | false | undefined): Authenticate {
  if (auth === undefined || auth === false) return () => null
  const known = (auth.tokens ?? []).map(({ token, principal, scopes = [] }) => ({
    hash: hash(token),
    principal: Object.freeze({ id: principal, scopes: Object.freeze([...scopes]) })
  }))
  const { verify } = auth

  return request => {
    const { authorization } = request.headers
    if (authorization === undefined) throw new errorCodes.FST_MCP_UNAUTHORIZED()
    const token = BEARER.exec(authorization)?.[1]
    if (token === undefined) throw new errorCodes.FST_MCP_TOKEN_INVALID()
    const given = hash(token)
    let found: Principal | undefined
    // Every hash is compared, so that the time does not tell which one matched.
    for (const entry of known) {
      if (timingSafeEqual(entry.hash, given)) found = entry.principal
    }
    if (found !== undefined) return found
    return verify === undefined ? accept(null) : ask(verify, token, request)
  }
}

/** Lets in who was granted what every request needs. Throws what `authenticate` does, and FST_MCP_SCOPE_INSUFFICIENT. */
export function withScopes (authenticate: Authenticate, scopes: Scopes): Authenticate {
  return request => whenReady(authenticate(request), principal => {
    scopes.check(principal, [])
    return principal
  })
}

function hash (token: string): Buffer {
  return digest('sha256', token, 'buffer')
}

/** What `verify` throws is no refusal, whatever it is: an identity provider that is down must not look like a wrong token. */
function ask (verify: NonNullable<AuthOptions['verify']>, token: string, request: FastifyRequest): Awaitable<Principal> {
  const fail = (error: unknown): never => {
    const cause = readable(error)
    const isDown = isUnavailable(cause)
    if (quotes(cause, token)) {
      const Refusal = isDown ? errorCodes.FST_MCP_AUTH_UNAVAILABLE : errorCodes.FST_MCP_INTERNAL
      throw new Refusal({ cause: new TypeError('what `auth.verify` threw is left out of the log: it quotes the token') })
    }
    throw isDown ? cause : new errorCodes.FST_MCP_INTERNAL({ cause })
  }
  let principal: ReturnType<typeof verify>
  try {
    principal = verify(token, request)
  } catch (error) {
    return fail(error)
  }
  return principal instanceof Promise ? principal.then(accept, fail) : accept(principal)
}

/** Whether the log of what was thrown would hold the token: loggers show message and stack of errors and their causes, and all of anything else. */
function quotes (thrown: unknown, token: string): boolean {
  const seen = new Set<unknown>()
  try {
    for (let next = thrown; next !== undefined && !seen.has(next); next = Reflect.get(Object(next), 'cause')) {
      seen.add(next)
      const { message, stack }: { message?: unknown, stack?: unknown } = Object(next)
      const shown = typeof message === 'string' ? `${message} ${stack}` : JSON.stringify(next)
      if (shown.includes(token)) return true
    }
    return false
  } catch {
    // What cannot be looked at is not shown.
    return true
  }
}

function isUnavailable (error: unknown): boolean {
  try {
    return error instanceof Error && error instanceof errorCodes.FST_MCP_AUTH_UNAVAILABLE
  } catch {
    // A Proxy that says no to a symbol.
    return false
  }
}

function accept (principal: Principal | null | undefined | false): Principal {
  if (principal === null || principal === undefined || principal === false) throw new errorCodes.FST_MCP_TOKEN_INVALID()
  if (typeof principal !== 'object' || typeof principal.id !== 'string' || principal.id === '' || !['string', 'undefined'].includes(typeof principal.issuer)) {
    throw new errorCodes.FST_MCP_PRINCIPAL_INVALID()
  }
  return principal
}
