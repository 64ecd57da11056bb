import type { FastifyRequest } from 'fastify'
import { errorCodes } from '../errors.ts'

export interface GuardOptions {
  /** Without auth only loopback clients that name a loopback host are served. */
  readonly loopbackOnly: boolean
  /** Whether a bearer token is asked for, so that a page of a rebound host name can do nothing. */
  readonly authenticated: boolean
  readonly hosts: readonly string[] | undefined
  /** Whether the option `origins` names an origin. */
  readonly isListed: (origin: string) => boolean
  readonly requireHttps: boolean
}

const LOOPBACK_ADDRESS = /^(?:127(?:\.\d{1,3}){3}|::1|::ffff:127(?:\.\d{1,3}){3})$/
const LOOPBACK_HOST = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?$/i
// RFC 7239: `for=192.0.2.1`, `for="[2001:db8::1]:4711"`.
const FORWARDED_FOR = /for="?\[?([\da-f:.]+|[\w.-]+)/gi
const IPV4_PORT = /^([\d.]+):\d+$/
const DEFAULT_PORT = /:(?:80|443)$/

function nameOf (host: string): string {
  return host.replace(/:\d+$/, '').toLowerCase()
}

/**
 * Refuses requests by where they come from, before anything is read: DNS rebinding and foreign pages (basic/transports, "Security Warning").
 * Throws FST_MCP_HTTPS_REQUIRED, FST_MCP_PEER_FORBIDDEN, FST_MCP_HOST_FORBIDDEN and FST_MCP_ORIGIN_FORBIDDEN,
 * and what a function in `origins` throws.
 */
export function createGuard ({ loopbackOnly, authenticated, hosts, isListed, requireHttps }: GuardOptions): (request: FastifyRequest) => void {
  const allowedHosts = new Set(hosts?.map(host => host.toLowerCase()))
  const isNamed = (host: string): boolean => allowedHosts.size > 0 && (allowedHosts.has(host.toLowerCase()) || allowedHosts.has(nameOf(host)))
  const isAllowedHost = (host: string): boolean =>
    isNamed(host) || (loopbackOnly ? LOOPBACK_HOST.test(host) : hosts === undefined)
  // A same-origin request proves nothing while any name may be the host: a rebound one is its own origin.
  const isProvenHost = (host: string): boolean => authenticated || isNamed(host) || LOOPBACK_HOST.test(host)

  return request => {
    if (requireHttps && request.protocol !== 'https' && !isLoopbackPeer(request)) throw new errorCodes.FST_MCP_HTTPS_REQUIRED()
    if (loopbackOnly && !isLoopbackPeer(request)) throw new errorCodes.FST_MCP_PEER_FORBIDDEN()
    const { host, headers } = request
    if (!isAllowedHost(host)) throw new errorCodes.FST_MCP_HOST_FORBIDDEN(host)
    const { origin } = headers
    // What a page of a rebound name cannot choose: with `trustProxy`, and over HTTP/2, `host` may come from elsewhere.
    for (const sent of loopbackOnly ? [headers.host, headers[':authority']?.toString()] : []) {
      if (sent !== undefined && sent !== host && !isAllowedHost(sent)) throw new errorCodes.FST_MCP_HOST_FORBIDDEN(sent)
    }
    if (origin === undefined || isListed(origin)) return
    const from = URL.canParse(origin) ? new URL(origin).host : ''
    const isSameOrigin = from !== '' && from === host.toLowerCase().replace(DEFAULT_PORT, '') && isProvenHost(host)
    if (!isSameOrigin && !(loopbackOnly && LOOPBACK_HOST.test(from))) throw new errorCodes.FST_MCP_ORIGIN_FORBIDDEN(origin)
  }
}

/**
 * Everyone on the way must be local: with `trustProxy` the first address of X-Forwarded-For is anybody's claim, and without
 * it a proxy on this machine that rewrites Host looks like a local client, but for the addresses that it passes on.
 */
function isLoopbackPeer (request: FastifyRequest): boolean {
  return addressesOf(request).every(address => LOOPBACK_ADDRESS.test(address))
}

/** The peer of a request, and whom proxies on its way have named. */
export function addressesOf ({ socket, headers }: FastifyRequest): string[] {
  const peer = socket.remoteAddress ?? ''
  const { forwarded, 'x-forwarded-for': forwardedFor, 'x-real-ip': realIp } = headers
  if (forwarded === undefined && forwardedFor === undefined && realIp === undefined) return [peer]
  const passedOn = [forwardedFor, realIp].flatMap(value => value?.toString().split(',') ?? [])
  for (const [, address = ''] of forwarded?.matchAll(FORWARDED_FOR) ?? []) passedOn.push(address.replace(IPV4_PORT, '$1'))
  return [peer, ...passedOn].map(address => address.trim())
}
