import { createHash, timingSafeEqual } from 'node:crypto'
import { BlockList, isIPv6 } from 'node:net'
import type { FastifyRequest } from 'fastify'
import { errorCodes } from '../errors.ts'
import { addressesOf } from '../http/guard.ts'
import { invalid } from '../identity/settings.ts'

const BEARER = /^Bearer +(\S+)$/i
// An IPv4 address as IPv6 sockets show it.
const MAPPED = /^::ffff:(?=\d+\.)/i
const PORT = /^\[([\da-f:.]+)\](?::\d+)?$|^([\d.]+):\d+$/i
const SUBNET = /^([\da-f:.]+)(?:\/(\d{1,3}))?$/i

/**
 * Lets in who scrapes. With `addresses` every address that a request came by must be in the list: what a proxy passes on of itself
 * is its claim. Throws FST_MCP_OPTION_INVALID; what it gives throws FST_MCP_ADDRESS_FORBIDDEN, FST_MCP_UNAUTHORIZED and FST_MCP_TOKEN_INVALID.
 */
export function createScraperCheck (token: string | undefined, addresses: readonly string[] | undefined): (request: FastifyRequest) => void {
  const allowed = addresses && listOf(addresses)
  const hash = token && hashOf(token)
  return request => {
    if (allowed !== undefined && !addressesOf(request).every(address => isIn(allowed, address))) throw new errorCodes.FST_MCP_ADDRESS_FORBIDDEN()
    if (!hash) return
    const { authorization } = request.headers
    if (authorization === undefined) throw new errorCodes.FST_MCP_UNAUTHORIZED()
    if (!timingSafeEqual(hash, hashOf(BEARER.exec(authorization)?.[1] ?? ''))) throw new errorCodes.FST_MCP_TOKEN_INVALID()
  }
}

function hashOf (token: string): Buffer {
  return createHash('sha256').update(token).digest()
}

function listOf (addresses: readonly string[]): BlockList {
  const list = new BlockList()
  for (const given of addresses) {
    try {
      const [, address = '', bits = isIPv6(address) ? '128' : '32'] = SUBNET.exec(given) ?? []
      list.addSubnet(address, Number(bits), isIPv6(address) ? 'ipv6' : 'ipv4')
    } catch {
      throw invalid(`\`metrics.addresses\` must hold addresses and subnets such as 10.0.0.0/8, got ${JSON.stringify(given)}`)
    }
  }
  return list
}

function isIn (list: BlockList, given: string): boolean {
  const address = given.replace(PORT, '$1$2').replace(MAPPED, '')
  // What is no address is in no list.
  return list.check(address, isIPv6(address) ? 'ipv6' : 'ipv4')
}
