// Several nodes of one server in this process, on one Redis, and the same client at each of them.
import type { FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import type { McpOptions } from 'fastify-mcp-sse'
import { redisStore, type RedisStoreOptions } from 'fastify-mcp-sse/redis'
import type { Test } from 'tap'
import { Client, createApp, EventStream, listen } from './client.ts'
import { type Client as Connected, connectors, type RedisServer, startRedis } from './redis-server.ts'

// Short, so that nobody waits for nodes that are gone; long enough for a busy machine.
export const LEASE = 600

export interface Node {
  readonly app: FastifyInstance
  readonly url: string
  readonly redis: Connected
  /** As the other nodes know it. */
  readonly name: string
  /** As if it were killed: it is not heard of any more. */
  lose (): void
}

export interface Town {
  readonly redis: RedisServer
  /** Asks Redis directly. */
  readonly admin: Redis
  readonly nodes: readonly [Node, Node, Node]
  /** What begins every key. */
  readonly prefix: string
  /** As if a node had sent it to another. */
  forge (to: Node, letter: object): Promise<unknown>
}

export interface TownOptions {
  readonly options?: McpOptions
  readonly store?: RedisStoreOptions
  readonly driver?: 'ioredis' | 'redis'
  /** What each node offers. */
  readonly offer?: (app: FastifyInstance, index: number) => void
}

/** Three nodes. */
export async function startTown (t: Test, { options = {}, store = {}, driver = 'ioredis', offer = () => {} }: TownOptions = {}): Promise<Town> {
  const redis = await startRedis(t)
  const admin = new Redis(redis.port, '127.0.0.1')
  admin.on('error', () => {})
  t.teardown(() => admin.disconnect())
  const leases = async (): Promise<string[]> => admin.keys('mcp:*:{bus}:lease:*')
  const start = async (index: number): Promise<Node> => {
    const known = await leases()
    const client = await connectors[driver](redis.port)
    t.teardown(() => client.close())
    const app = await createApp(t, { store: redisStore(client.client, { lease: LEASE, ...store }), ...options })
    offer(app, index)
    const url = await listen(app)
    const [lease = ''] = (await leases()).filter(key => !known.includes(key))
    return { app, url, redis: client, name: lease.slice(-8), lose: () => client.close() }
  }
  const nodes = [await start(0), await start(1), await start(2)] as const
  const [first = ''] = await leases()
  const prefix = first.split(':').slice(0, 3).join(':')
  const forge: Town['forge'] = (to, letter) => admin.publish(`${prefix}:inbox:${to.name}`, JSON.stringify(letter))
  return { redis, admin, nodes: [...nodes], prefix, forge }
}

/** The same client, whose requests go to another node from now on. */
export function at (client: Client, { url }: Node): Client {
  const { path, headers } = client
  const moved = new Client(url, { path, headers })
  moved.sessionId = client.sessionId
  return moved
}

/** The id of the last event that arrived. */
export function lastId ({ events }: EventStream): string {
  return events.findLast(({ id }) => id !== undefined)?.id ?? ''
}

/** Lets handlers go on as many times as a test says. */
export class Turnstile {
  #passes = 0
  readonly #waiting = new Set<() => void>()

  let (count: number): void {
    this.#passes += count
    for (const wake of this.#waiting) wake()
  }

  /** Rejects when the call is over. */
  async through (signal: AbortSignal): Promise<void> {
    while (this.#passes === 0) {
      await new Promise<void>((resolve, reject) => {
        const wake = (): void => {
          this.#waiting.delete(wake)
          resolve()
        }
        this.#waiting.add(wake)
        signal.addEventListener('abort', () => reject(signal.reason), { once: true })
      })
    }
    this.#passes--
  }
}
