import rateLimit, { normalizeIP, type RateLimitOptions } from '@fastify/rate-limit'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Inbound, Notice, Standalone } from '../eras/classify.ts'
import type { LimitName } from '../channels.ts'
import { atLimit, errorCodes } from '../errors.ts'
import type { RateLimit } from '../features/tool.ts'
import type { Tools } from '../features/tools.ts'
import { ownerOf } from '../protocol/owner.ts'
import type { Message } from '../protocol/message.ts'
import type { Awaitable, Count, Counters } from '../store/store.ts'

export interface RatesOptions {
  /** False: only tools have limits, those that their definitions name. */
  readonly rateLimit: false | (RateLimit & { readonly maxPerAddress: number })
  /** Whether there are principals. */
  readonly hasPrincipals: boolean
  readonly tools: Tools
  /** What counts for all nodes; null: this one counts for itself. */
  readonly counters: Counters | null
  /** Tells the buckets of this server from those of another in the same store. */
  readonly name: string
}

type Posted = Inbound | Standalone | Notice

/** How often: each address before its token is looked at, each principal, and each principal with each tool. */
export interface Rates {
  /** Counts a request, and lets `authenticate` find its principal for `request.mcp` between the two buckets. Throws FST_MCP_RATE_LIMITED. */
  admit (reply: FastifyReply, authenticate: () => Awaitable<void>): Awaitable<void>
  /** Counts the tools that a POST calls before it goes on. Throws FST_MCP_RATE_LIMITED. */
  call (inbound: Posted, reply: FastifyReply, next: () => Awaitable<void>): Awaitable<void>
}

type Bucket = (reply: FastifyReply) => Promise<void>
type KeyOf = (request: FastifyRequest) => string
type MakeBucket = (what: string, name: LimitName, limit: RateLimit, keyOf: KeyOf) => Bucket

// A provider hands whole networks of this size to one customer.
const IPV6_SUBNET = 64
// Addresses, principals or both that one bucket remembers; the one that was not seen for longest is forgotten.
const REMEMBERED = 10_000
const MIN_RETRY = 1
const SECOND = 1_000

/** Everything that a host's own registration would fill in otherwise: its decorators may be the ones that are found. */
const EXPLICIT = {
  allowList: [],
  ban: -1,
  continueExceeding: false,
  exponentialBackoff: false,
  skipOnError: false,
  ipv6Subnet: IPV6_SUBNET,
  cache: REMEMBERED
} satisfies RateLimitOptions

/** Needs a scope of its own: `@fastify/rate-limit` is registered in it, unless the host has done so. */
export async function createRates (scope: FastifyInstance, { rateLimit: given, hasPrincipals, tools, counters, name }: RatesOptions): Promise<Rates> {
  if (!scope.hasDecorator('createRateLimit')) await scope.register(rateLimit, { global: false })
  const bucket: MakeBucket = (what, limit, { max, timeWindow }, keyOf) => {
    const keyGenerator = (request: FastifyRequest): string => `${what} ${name} ${keyOf(request)}`
    const count: (request: FastifyRequest) => Promise<Standing> = counters === null
      ? scope.createRateLimit({ ...EXPLICIT, max, timeWindow, keyGenerator })
      : async (request: FastifyRequest) => standing(await counters.hit(keyGenerator(request), timeWindow), max)
    return async reply => {
      const seconds = waitOf(reply, await count(reply.request))
      if (seconds === undefined) return
      throw atLimit(limit, new errorCodes.FST_MCP_RATE_LIMITED(what, seconds))
    }
  }
  const callOf = callBuckets(tools, hasPrincipals ? 'principal' : 'address', bucket)
  if (given === false) return { admit: (_reply, authenticate) => authenticate(), call: callOf }

  const { max, timeWindow, maxPerAddress } = given
  if (!hasPrincipals) {
    const address = bucket('address', 'rateLimit.max', { max, timeWindow }, addressOf)
    return { admit: (reply, authenticate) => address(reply).then(authenticate), call: callOf }
  }
  const address = bucket('address', 'rateLimit.maxPerAddress', { max: maxPerAddress, timeWindow }, addressOf)
  const principal = bucket('principal', 'rateLimit.max', { max, timeWindow }, request => String(ownerOfRequest(request)))
  return {
    call: callOf,
    async admit (reply, authenticate) {
      await address(reply)
      await authenticate()
      await principal(reply)
    }
  }
}

/** A bucket for each limit that a tool names, made when the tool is first called. */
function callBuckets (tools: Tools, whose: string, bucket: MakeBucket): Rates['call'] {
  const buckets = new WeakMap<RateLimit, Bucket>()
  const bucketOf = (name: string, limit: RateLimit): Bucket => {
    let found = buckets.get(limit)
    if (found === undefined) {
      found = bucket(`${whose} with tool "${name}"`, 'tool.rateLimit', limit, request => ownerOfRequest(request) ?? addressOf(request))
      buckets.set(limit, found)
    }
    return found
  }
  const countAll = async (reply: FastifyReply, limited: readonly Bucket[]): Promise<void> => {
    for (const count of limited) await count(reply)
  }
  return (inbound, reply, next) => {
    if (!tools.isLimited) return next()
    const principal = reply.request.mcp?.principal ?? null
    const limited = messagesOf(inbound).flatMap(message => {
      const name = message.kind === 'request' && message.method === 'tools/call' ? message.params.name : undefined
      const tool = typeof name === 'string' ? tools.registry.find(name, principal) : undefined
      return tool?.rateLimit === undefined ? [] : [bucketOf(tool.key, tool.rateLimit)]
    })
    return limited.length === 0 ? next() : countAll(reply, limited).then(next)
  }
}

function messagesOf (inbound: Posted): readonly Message[] {
  switch (inbound.kind) {
    case 'standalone': return [inbound.message]
    case 'messages': return inbound.messages
    default: return []
  }
}

function ownerOfRequest ({ mcp }: FastifyRequest): string | null {
  return ownerOf(mcp?.principal ?? null)
}

/** Networks, not addresses, of IPv6; an IPv4 address in the clothes of IPv6 is itself. */
function addressOf ({ ip }: FastifyRequest): string {
  // A local socket has no address, nor has a connection that is gone: Fastify's type does not say so.
  const known: string = ip ?? ''
  return known.includes(':') ? normalizeIP(known, IPV6_SUBNET) : known
}

/** Where a client stands in a bucket. */
type Standing = { isAllowed: true } | { isAllowed: false, max: number, remaining: number, ttlInSeconds: number, isExceeded: boolean }

/** In one that all nodes share. */
function standing ({ count, left }: Count, max: number): Standing {
  return { isAllowed: false, max, remaining: Math.max(0, max - count), ttlInSeconds: Math.ceil(left / SECOND), isExceeded: count > max }
}

/** Tells the client where it stands in the bucket that it came to last. Gives the seconds to wait when it has come too often. */
function waitOf (reply: FastifyReply, counted: Standing): number | undefined {
  if (counted.isAllowed) return undefined
  const { max, remaining, ttlInSeconds, isExceeded } = counted
  reply.header('ratelimit-limit', max).header('ratelimit-remaining', remaining).header('ratelimit-reset', ttlInSeconds)
  if (!isExceeded) return undefined
  const seconds = Math.max(MIN_RETRY, ttlInSeconds)
  reply.header('retry-after', seconds)
  return seconds
}
