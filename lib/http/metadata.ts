import type { FastifyInstance } from 'fastify'
import { errorCodes } from '../errors.ts'

export interface MetadataOptions {
  readonly resource?: string | undefined
  readonly authorizationServers?: readonly string[] | undefined
  readonly scopes?: readonly string[] | undefined
  readonly rootMetadata?: boolean | undefined
}

/** What clients find out before they have a token (RFC 9728). */
export interface Metadata {
  /** Where it is. */
  readonly url: string
  /** The routes that answer with it. */
  readonly paths: readonly string[]
  readonly json: string
}

const WELL_KNOWN = '/.well-known/oauth-protected-resource'
const OPEN = { 'access-control-allow-origin': '*' }
// A client that reads the metadata names its revision in a header, and a browser then asks first.
const PREFLIGHT = { ...OPEN, 'access-control-allow-methods': 'GET', 'access-control-allow-headers': '*', 'access-control-max-age': '86400' }

/**
 * Made from the options alone: what a request says of its host would be anybody's word. Null without `resource`.
 * `scopePrefix`: of the scope that the server was registered in, below which no well-known URI lies.
 */
export function createMetadata (options: MetadataOptions, scopePrefix: string): Metadata | null {
  const { resource, authorizationServers, scopes = [], rootMetadata = false } = options
  if (resource === undefined) return null
  const { origin, pathname } = new URL(resource)
  const path = `${WELL_KNOWN}${pathname === '/' ? '' : pathname}`
  return {
    url: `${origin}${scopePrefix}${path}`,
    paths: [...new Set([path, ...(rootMetadata ? [WELL_KNOWN] : [])])],
    json: JSON.stringify({
      resource,
      authorization_servers: authorizationServers,
      ...(scopes.length > 0 && { scopes_supported: scopes }),
      bearer_methods_supported: ['header']
    })
  }
}

/**
 * Registers the routes of the metadata. They are public: no guard and no auth stands before what says how to get in.
 * `shared`: goes into the `config` of each. Throws FST_MCP_OPTION_INVALID when another server answers there.
 */
export function registerMetadata (scope: FastifyInstance, { paths, json, url: shown }: Metadata, shared: object): void {
  for (const url of paths) {
    if (scope.hasRoute({ method: 'GET', url: `${scope.prefix}${url}` })) {
      throw new errorCodes.FST_MCP_OPTION_INVALID(`\`auth.resource\` must differ between servers, and \`auth.rootMetadata\` be true of one: ${url} is taken`)
    }
    const config = { ...shared, cors: { origin: '*' } }
    scope.route({
      method: 'GET',
      url,
      exposeHeadRoute: false,
      config,
      handler: (_request, reply) => reply.headers({ ...OPEN, 'cache-control': 'public, max-age=3600', 'content-type': 'application/json; charset=utf-8' }).send(json)
    })
    scope.route({ method: 'OPTIONS', url, config, handler: (_request, reply) => reply.code(204).headers(PREFLIGHT).send() })
  }
  if (scope.prefix === '') return
  scope.log.warn({ url: shown }, 'the well-known URIs are out of reach of a scope with a prefix: only clients that read `resource_metadata` find the metadata; give the prefix to the plugin instead')
}
