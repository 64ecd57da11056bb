// The nodes of one server, as processes, behind a balancer.
import type { McpOptions } from 'fastify-mcp-sse'
import type { RedisStoreOptions } from 'fastify-mcp-sse/redis'
import type { Test } from 'tap'
import { type Child, startChild } from '../child.ts'
import { read, open, within } from '../client.ts'
import { Balancer } from './balancer.ts'

type PackageName = 'ioredis' | 'redis'

export interface FleetOptions {
  readonly redis: { readonly port: number }
  /** The client of Redis. */
  readonly packageName: PackageName
  readonly size: number
  /** Of the plugin, as JSON. */
  readonly options?: McpOptions
  readonly store?: RedisStoreOptions
  /** Which of so many nodes gets the next request. */
  readonly choose?: (count: number) => number
}

/** What a node says of itself. */
export interface NodeStats {
  readonly pid: number
  readonly memory: number
  /** Chunks of all calls so far. */
  readonly yielded: number
  readonly sessions: number
  readonly streams: number
  readonly calls: number
  readonly subscriptions: number
  readonly questions: number
  readonly abandoned: number
}

// Long enough for a machine that is busy, short enough to wait for.
const LEASE_MS = 1_500
const TIMEOUT_MS = 1_000

export class Fleet {
  readonly nodes: Child[]
  readonly balancer: Balancer
  readonly #t: Test
  readonly #options: FleetOptions

  private constructor (t: Test, options: FleetOptions, nodes: Child[], balancer: Balancer) {
    this.#t = t
    this.#options = options
    this.nodes = nodes
    this.balancer = balancer
  }

  static async start (t: Test, options: FleetOptions): Promise<Fleet> {
    const nodes = await Promise.all(Array.from({ length: options.size }, () => startNode(t, options)))
    const balancer = await Balancer.start(t, nodes.map(({ url }) => url), options.choose)
    return new Fleet(t, options, nodes, balancer)
  }

  get url (): string {
    return this.balancer.url
  }

  /** The node at this place; places are counted on and on. */
  at (index: number): Child {
    const node = this.nodes[index % this.nodes.length]
    if (node === undefined) throw new TypeError('a fleet has nodes')
    return node
  }

  /** Starts a node in the place of one that was stopped. */
  async replace (node: Child): Promise<Child> {
    const index = this.nodes.indexOf(node)
    const next = await startNode(this.#t, this.#options)
    this.nodes[index] = next
    this.balancer.nodes[index] = next.url
    return next
  }

  async stats (): Promise<NodeStats[]> {
    return Promise.all(this.nodes.map(async ({ url }) => JSON.parse((await read(await open(url, '/stats'))).text)))
  }

  /** Waits until all nodes say what fits. */
  async settled (fits: (stats: NodeStats) => boolean, what: string): Promise<void> {
    let last: NodeStats[] = []
    const look = async (): Promise<void> => {
      while (!(last = await this.stats()).every(fits)) await new Promise(resolve => setTimeout(resolve, 20))
    }
    await within(look(), what).catch(error => { throw new Error(`${error.message}: ${JSON.stringify(last)}`) })
  }
}

function startNode (t: Test, { redis, packageName, options = {}, store = {} }: FleetOptions): Promise<Child> {
  const env = {
    REDIS: String(redis.port),
    PACKAGE: packageName,
    OPTIONS: JSON.stringify({ ...options, streams: { retry: 10, ...options.streams } }),
    STORE: JSON.stringify({ lease: LEASE_MS, timeout: TIMEOUT_MS, ...store })
  }
  return startChild(t, 'test/cluster/member.ts', { env })
}
