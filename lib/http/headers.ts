import helmet, { type FastifyHelmetOptions } from '@fastify/helmet'
import Fastify, { type FastifyInstance } from 'fastify'
import { errorCodes } from '../errors.ts'

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
 * Gives what goes into the `config` of each route. Throws FST_MCP_OPTION_INVALID for options that helmet refuses.
 */
export async function useHeaders (scope: FastifyInstance, { helmet: given, isCrossOrigin, requireHttps }: HeadersOptions): Promise<object> {
  const own: Loose = typeof given === 'object' ? Object.fromEntries(Object.entries(given)) : {}
  if (given !== false && scope.hasReplyDecorator('helmet')) {
    scope.log.info('the app has @fastify/helmet: it sets the headers of the MCP routes too')
    return { helmet: own }
  }
  const { hsts, strictTransportSecurity = hsts, ...others } = own
  if (given !== false) {
    const options = { ...defaultsBeside(others, isCrossOrigin), ...others, strictTransportSecurity: false }
    const headers = await headersOf(options)
    if (isDynamic(options)) await scope.register(helmet, options as object)
    else useStatic(scope, headers)
  }
  if (given !== false || requireHttps) useHsts(scope, strictTransportSecurity)
  return {}
}

function defaultsBeside (given: Loose, isCrossOrigin: boolean): Loose {
  const known = new Set(Object.keys(given).map(name => ALIASES.get(name) ?? name))
  const defaults = { ...DEFAULTS, crossOriginResourcePolicy: { policy: isCrossOrigin ? 'cross-origin' : 'same-origin' } }
  return Object.fromEntries(Object.entries(defaults).filter(([name]) => !known.has(name)))
}

/** What helmet says to any request: it builds its answer anew for each, which costs more than a ping. */
async function headersOf (options: Loose): Promise<[name: string, value: string][]> {
  const probe = Fastify()
  // The user's part has helmet's type, and the rest is ours.
  await probe.register(helmet, options as object)
  probe.get('/', (_request, reply) => reply.code(204).send())
  const { statusCode, headers, body } = await probe.inject('/')
  await probe.close()
  if (statusCode !== 204) throw new errorCodes.FST_MCP_OPTION_INVALID(`\`helmet\` is refused by @fastify/helmet: ${body}`)
  return Object.entries(headers).flatMap(([name, value]) => name === 'date' || name === 'connection' ? [] : [[name, String(value)]])
}

/** A directive may be a function of the request, and a nonce is another each time. */
function isDynamic ({ contentSecurityPolicy: policy, enableCSPNonces }: Loose): boolean {
  const directives: unknown = Reflect.get(Object(policy), 'directives')
  return enableCSPNonces === true || Object.values(Object(directives)).flat().some(value => typeof value === 'function')
}

function useStatic (scope: FastifyInstance, headers: [name: string, value: string][]): void {
  scope.addHook('onRequest', (_request, reply, done) => {
    // What a hook of the host has set stays.
    for (const [name, value] of headers) if (!reply.hasHeader(name)) reply.header(name, value)
    done()
  })
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
    if (request.protocol === 'https' && !reply.hasHeader('strict-transport-security')) reply.header('strict-transport-security', value)
    done()
  })
}
