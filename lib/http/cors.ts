import cors from '@fastify/cors'
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { errorCodes } from '../errors.ts'

export interface CorsOptions {
  /** Whether the option `origins` names an origin. */
  readonly isListed: (origin: string) => boolean
  /** Milliseconds for which a browser may keep the answer to a preflight. */
  readonly maxAge: number
}

/** What the routes of one server need for pages of other origins. */
export interface Cors {
  /** Goes into the `config` of each route: a host that has @fastify/cors of its own reads it there. */
  readonly config: object
  /** What makes a route answer preflights. `guard` throws what is to be refused; no token is asked for. */
  preflight (allowed: string, guard: (request: FastifyRequest) => void): Pick<RouteOptions, 'method' | 'onRequest' | 'handler'>
}

const REQUEST_HEADERS = [
  'authorization', 'content-type', 'accept', 'mcp-protocol-version', 'mcp-method', 'mcp-name', 'mcp-session-id', 'last-event-id'
]
const EXPOSED_HEADERS = [
  'mcp-session-id', 'mcp-protocol-version', 'www-authenticate', 'retry-after',
  ...['ratelimit', 'ratelimit-policy', 'ratelimit-limit', 'ratelimit-remaining', 'ratelimit-reset'],
  ...['x-ratelimit-limit', 'x-ratelimit-remaining', 'x-ratelimit-reset']
]
const PARAM_HEADER = /^mcp-param-[\w!#$%&'*+.^`|~-]+$/i
const MAX_ASKED = 4_096

/** Puts CORS on the routes of a scope, and on them alone. The host's own @fastify/cors is left to do it where there is one. */
export function useCors (scope: FastifyInstance, { isListed, maxAge }: CorsOptions): Cors {
  const options = {
    origin: (origin: string | undefined, done: (error: Error | null, isAllowed: boolean) => void): void => {
      let isAllowed
      try {
        isAllowed = origin !== undefined && isListed(origin)
      } catch (error) {
        // As everything else that a function of the user throws, it is for the error handler.
        return done(error as Error, false)
      }
      done(null, isAllowed)
    },
    methods: ['GET', 'POST', 'DELETE'],
    allowedHeaders: REQUEST_HEADERS,
    exposedHeaders: EXPOSED_HEADERS,
    maxAge: Math.floor(maxAge / 1_000),
    // Host and peer are judged before a preflight is answered, and what is refused carries the headers too.
    preflight: true,
    preflightContinue: true,
    strictPreflight: false
  }
  if (scope.hasPlugin('@fastify/cors')) {
    scope.log.info('the app has @fastify/cors: it answers for the routes of MCP too, by their `origins`')
  } else {
    // Its `OPTIONS *` would answer preflights to the host's paths.
    const withoutWildcard: FastifyInstance = Object.create(scope, { options: { value: () => scope } })
    cors(withoutWildcard, options, () => {})
  }

  const preflight: Cors['preflight'] = (allowed, guard) => ({
    method: 'OPTIONS',
    onRequest: (request, _reply, done) => {
      try {
        guard(request)
        refuseUnlisted(request, isListed)
        done()
      } catch (error) {
        // Guards throw errors of the catalogue, or what a function of the user threw.
        done(error as Error)
      }
    },
    handler: (request, reply) => answer(request, reply, allowed)
  })
  return { config: { cors: options }, preflight }
}

/** Pages that the guard knows without `origins` (of the same origin, of this machine) have no need of preflights, or no leave. */
function refuseUnlisted ({ headers }: FastifyRequest, isListed: CorsOptions['isListed']): void {
  const { origin, 'access-control-request-method': method } = headers
  if (origin !== undefined && method !== undefined && !isListed(origin)) throw new errorCodes.FST_MCP_ORIGIN_FORBIDDEN(origin)
}

function answer ({ headers }: FastifyRequest, reply: FastifyReply, allowed: string): void {
  const asked = headers['access-control-request-headers'] ?? ''
  const params = asked.length > MAX_ASKED ? [] : asked.split(',').map(name => name.trim()).filter(name => PARAM_HEADER.test(name))
  if (params.length > 0 && reply.hasHeader('access-control-allow-headers')) {
    reply.header('access-control-allow-headers', [...REQUEST_HEADERS, ...params].join(', '))
  }
  reply.code(204).header('allow', allowed).send()
}
