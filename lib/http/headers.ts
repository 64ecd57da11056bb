import helmet, { type FastifyHelmetOptions } from '@fastify/helmet'
import type { FastifyInstance } from 'fastify'

export interface HeadersOptions {
  /** Of @fastify/helmet, over defaults that suit an API. */
  readonly helmet: boolean | FastifyHelmetOptions
  /** Whether pages of other origins are let in. */
  readonly isCrossOrigin: boolean
  readonly requireHttps: boolean
}

const YEAR = 31_536_000

// Each answer carries them: what speaks to documents alone is left out.
const DEFAULTS = {
  contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
  crossOriginEmbedderPolicy: false,
  crossOriginOpenerPolicy: false,
  originAgentCluster: false,
  referrerPolicy: { policy: 'no-referrer' },
  xContentTypeOptions: true,
  xDnsPrefetchControl: false,
  xDownloadOptions: false,
  xFrameOptions: false,
  xPermittedCrossDomainPolicies: false,
  xPoweredBy: false,
  xXssProtection: false
}

// The union of all its names old and new is more than the compiler can spread.
type Loose = Readonly<Record<string, unknown>>

/** Helmet's older names; it refuses an option that is given by both. */
const ALIASES = new Map<string, string>([
  ['noSniff', 'xContentTypeOptions'], ['dnsPrefetchControl', 'xDnsPrefetchControl'], ['ieNoOpen', 'xDownloadOptions'], ['frameguard', 'xFrameOptions'],
  ['permittedCrossDomainPolicies', 'xPermittedCrossDomainPolicies'], ['hidePoweredBy', 'xPoweredBy'], ['xssFilter', 'xXssProtection']
])

/**
 * Puts security headers on the routes of a scope, and on them alone; where the host has @fastify/helmet, it does.
 * Gives what goes into the `config` of each route.
 */
export async function useHeaders (scope: FastifyInstance, { helmet: given, isCrossOrigin, requireHttps }: HeadersOptions): Promise<object> {
  const own: Loose = typeof given === 'object' ? Object.fromEntries(Object.entries(given)) : {}
  if (given !== false && scope.hasReplyDecorator('helmet')) {
    scope.log.info('the app has @fastify/helmet: it sets the headers of the MCP routes too')
    return { helmet: own }
  }
  const { hsts, strictTransportSecurity = hsts, ...others } = own
  if (given !== false) {
    // What the user gave has helmet's type, and so have the defaults.
    await scope.register(helmet, { ...defaultsBeside(others, isCrossOrigin), ...others, strictTransportSecurity: false } as object)
  }
  if (given !== false || requireHttps) useHsts(scope, strictTransportSecurity)
  return {}
}

function defaultsBeside (given: Loose, isCrossOrigin: boolean): Loose {
  const known = new Set(Object.keys(given).map(name => ALIASES.get(name) ?? name))
  const defaults = { ...DEFAULTS, crossOriginResourcePolicy: { policy: isCrossOrigin ? 'cross-origin' : 'same-origin' } }
  return Object.fromEntries(Object.entries(defaults).filter(([name]) => !known.has(name)))
}

interface Hsts {
  readonly maxAge?: number
  readonly includeSubDomains?: boolean
  readonly preload?: boolean
}

/** Over https alone (RFC 6797, section 7.2), which helmet cannot tell behind a proxy. The subdomains are not ours to speak for. */
function useHsts (scope: FastifyInstance, given: unknown): void {
  if (given === false) return
  // As helmet reads it.
  const { maxAge = YEAR, includeSubDomains = true, preload = false }: Hsts = typeof given === 'object' && given !== null ? given : { includeSubDomains: false }
  const value = [`max-age=${maxAge}`, ...(includeSubDomains ? ['includeSubDomains'] : []), ...(preload ? ['preload'] : [])].join('; ')
  scope.addHook('onRequest', (request, reply, done) => {
    if (request.protocol === 'https') reply.header('strict-transport-security', value)
    done()
  })
}
