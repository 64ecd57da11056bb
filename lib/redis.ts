import { createHash } from 'node:crypto'
import { errorCodes } from './errors.ts'
import { RedisCounters } from './redis/counters.ts'
import { driverOf, type RedisClient } from './redis/driver.ts'
import { EventMirror } from './redis/event-mirror.ts'
import { Link } from './redis/link.ts'
import { NodeBus } from './redis/node-bus.ts'
import { SessionRecords } from './redis/session-records.ts'
import { TicketRecords } from './redis/ticket-records.ts'
import type { OpenStore, Store, StoreLimits } from './store/store.ts'

export interface RedisStoreOptions {
  /** Begins every key and channel. Default: `mcp`. */
  prefix?: string
  /** Milliseconds after which a node that was not heard of is gone. Default: 3,000. */
  lease?: number
  /** Milliseconds that Redis has for an answer before requests are refused with 503. Default: 2,000. */
  timeout?: number
}

// Often enough that an expired entry costs little, rare enough that the sweep does.
const SWEEP_MS = 10_000
const MIN_MS = 100

/**
 * Sessions, events, tickets and limits in Redis 7 or Valkey, so that any node of a server answers any request. `client`: an instance of
 * `ioredis` or `redis`, a cluster or a sentinel too, that the application connects and closes. It makes one more connection for
 * each server, to subscribe. Throws FST_MCP_OPTION_INVALID.
 */
export function redisStore (client: RedisClient, { prefix = 'mcp', lease = 3_000, timeout = 2_000 }: RedisStoreOptions = {}): Store {
  if (typeof prefix !== 'string' || prefix === '' || /[{}]/.test(prefix)) throw new errorCodes.FST_MCP_OPTION_INVALID('`prefix` must be a string without braces')
  for (const [name, ms] of Object.entries({ lease, timeout })) {
    if (!Number.isSafeInteger(ms) || ms < MIN_MS) throw new errorCodes.FST_MCP_OPTION_INVALID(`\`${name}\` must be milliseconds, at least ${MIN_MS}, got ${String(ms)}`)
  }
  const driver = driverOf(client)
  return { open: limits => open(driver, limits, { prefix, lease, timeout }) }
}

function open (driver: ReturnType<typeof driverOf>, limits: StoreLimits, { prefix, lease, timeout }: Required<RedisStoreOptions>): OpenStore {
  const own = `${prefix}:${createHash('sha256').update(`${driver.database} ${limits.server}`).digest('base64url').slice(0, 12)}`
  const link = new Link(driver, timeout)
  const events = new EventMirror(link, own, limits)
  const sessions = new SessionRecords(link, own, limits, id => events.drop(id))
  const catchUp = (): void => {
    if (link.problem === null && events.isBehind) events.catchUp()
  }
  const bus = new NodeBus({
    driver,
    link,
    // One node of a cluster has all leases and letters: they are lost together, and come back together.
    prefix: `${own}:{bus}`,
    lease,
    timeout,
    onBack: catchUp,
    onBeat: () => {
      catchUp()
      sessions.count().catch(() => {})
    }
  })
  const timer = setInterval(() => events.sweep(Date.now()), SWEEP_MS).unref()
  return {
    sessions,
    events,
    tickets: new TicketRecords(link, own, limits.tickets),
    counters: new RedisCounters(link, own),
    bus,
    opened: () => bus.open(),
    problem: () => link.problem ?? (bus.hears ? null : 'this node does not hear the others'),
    async close () {
      clearInterval(timer)
      events.flush()
      await bus.close()
      link.close()
    }
  }
}

export type { Ioredis, NodeRedis, NodeRedisCluster, NodeRedisSentinel, RedisClient } from './redis/driver.ts'
