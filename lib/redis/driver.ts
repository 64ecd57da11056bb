import { errorCodes } from '../errors.ts'

/** `new Redis()` or `new Cluster()` of `ioredis`, as far as it is needed here. */
export interface Ioredis {
  readonly status: string
  readonly isCluster: boolean
  call (command: string, args: string[]): Promise<unknown>
  disconnect (): void
}

/** `createClient()` of `redis`, as far as it is needed here. */
export interface NodeRedis {
  readonly isReady: boolean
  readonly options: object
  sendCommand (args: string[], options: CommandOptions): Promise<unknown>
}

/** `createSentinel()` of `redis`, as far as it is needed here. */
export interface NodeRedisSentinel {
  readonly isReady: boolean
  getSentinelNode (): unknown
  sendCommand (isReadonly: boolean, args: string[], options: CommandOptions): Promise<unknown>
}

/** `createCluster()` of `redis`, as far as it is needed here. */
export interface NodeRedisCluster {
  readonly isReady: boolean
  readonly masters: unknown
  sendCommand (firstKey: string, isReadonly: boolean, args: string[], options: CommandOptions): Promise<unknown>
}

/** A client of Redis that the application has made, connects and closes. */
export type RedisClient = Ioredis | NodeRedis | NodeRedisSentinel | NodeRedisCluster

interface CommandOptions {
  readonly typeMapping: Record<never, never>
}

interface Subscription {
  readonly channels: readonly string[]
  readonly onMessage: (text: string) => void
  /** Its connection was lost, and what was said meanwhile with it. It comes back. */
  readonly onLost: () => void
  /** It does not come back. */
  readonly onEnd: () => void
}

export interface Subscriber {
  /** Resolves once it hears. */
  readonly opened: Promise<void>
  close (): void
}

/** What the clients do alike. */
export interface Driver {
  /** Channels are the same for all databases of a server; this tells them apart. */
  readonly database: number
  readonly isReady: boolean
  /** `key`: tells a cluster which of its nodes to ask. */
  run (key: string, args: string[]): Promise<unknown>
  /** On a connection of its own. */
  subscribe (subscription: Subscription): Subscriber
}

/** Throws FST_MCP_OPTION_INVALID. */
export function driverOf (client: RedisClient): Driver {
  // Applications without types may give anything.
  const { duplicate, call, sendCommand, status, isReady, options = {}, _keyPrefix: keyPrefix = options.keyPrefix } = Object(client)
  const isKnown = typeof call === 'function' ? typeof status === 'string' : typeof sendCommand === 'function' && typeof isReady === 'boolean'
  if (!isKnown || typeof duplicate !== 'function') {
    throw new errorCodes.FST_MCP_OPTION_INVALID('`client` must be a Redis or a Cluster of ioredis, or a client, a cluster or a sentinel of redis')
  }
  // It would reach keys alone, and not channels.
  if (Object(keyPrefix).length > 0) throw new errorCodes.FST_MCP_OPTION_INVALID('`client` must not have a `keyPrefix`: say `prefix` instead')
  const { stringNumbers } = { ...options.redisOptions, ...options }
  if (stringNumbers === true) throw new errorCodes.FST_MCP_OPTION_INVALID('`client` must not have `stringNumbers`')
  return 'call' in client ? new IoredisDriver(client) : new NodeRedisDriver(client)
}

/**
 * The clients of a cluster send what has no key to any of its nodes, and letters that go different ways arrive in any order.
 * A script has a key.
 */
function keyed (args: string[]): string[] {
  return args[0] === 'PUBLISH' ? ['EVAL', "return redis.call('PUBLISH', KEYS[1], ARGV[1])", '1', ...args.slice(1)] : args
}

interface IoredisSubscriber extends Ioredis {
  on (event: string, listener: (...args: string[]) => void): unknown
  subscribe (...channels: string[]): Promise<unknown>
}

class IoredisDriver implements Driver {
  readonly database: number
  readonly #client: Ioredis

  constructor (client: Ioredis) {
    this.#client = client
    this.database = Object(client).options?.db ?? 0
  }

  get isReady (): boolean {
    // One that waits is connected by its first command.
    return this.#client.status === 'ready' || this.#client.status === 'wait'
  }

  run (_key: string, args: string[]): Promise<unknown> {
    const [command = '', ...rest] = this.#client.isCluster ? keyed(args) : args
    return this.#client.call(command, rest)
  }

  subscribe ({ channels, onMessage, onLost, onEnd }: Subscription): Subscriber {
    // Its options are those of the client, but that it waits for its connection.
    const own = { enableOfflineQueue: true, lazyConnect: false, maxRetriesPerRequest: null }
    const subscriber: IoredisSubscriber = duplicate(this.#client.isCluster ? this.#anyNode() : this.#client, own)
    // The client says itself why.
    subscriber.on('error', () => {})
    subscriber.on('message', (_channel, text = '') => onMessage(text))
    subscriber.on('close', onLost)
    subscriber.on('end', onEnd)
    return { opened: subscriber.subscribe(...channels).then(() => {}), close: () => subscriber.disconnect() }
  }

  /** What is published at one node of a cluster is heard at all; a cluster's own subscriber does not say when it has changed its node. */
  #anyNode (): Ioredis {
    const nodes: Ioredis[] = Object(this.#client).nodes('master')
    const node = nodes[Math.floor(Math.random() * nodes.length)]
    if (node === undefined) throw new errorCodes.FST_MCP_STORE_UNAVAILABLE('no node of the cluster is known')
    return node
  }
}

interface NodeRedisSubscriber {
  on (event: string, listener: (event: { type?: string }) => void): unknown
  connect (): Promise<unknown>
  subscribe (channels: string[], listener: (text: string) => void): Promise<unknown>
  destroy (): void | Promise<void>
}

// Replies are what Redis says, whatever the application has them mapped to.
const PLAIN = { typeMapping: {} } as const

class NodeRedisDriver implements Driver {
  readonly database: number
  readonly #client: NodeRedis | NodeRedisSentinel | NodeRedisCluster

  constructor (client: NodeRedis | NodeRedisSentinel | NodeRedisCluster) {
    this.#client = client
    this.database = 'options' in client ? Object(client.options).database ?? 0 : 0
  }

  get isReady (): boolean {
    return this.#client.isReady
  }

  run (key: string, args: string[]): Promise<unknown> {
    if ('masters' in this.#client) return this.#client.sendCommand(key, false, keyed(args), PLAIN)
    return 'getSentinelNode' in this.#client ? this.#client.sendCommand(false, args, PLAIN) : this.#client.sendCommand(args, PLAIN)
  }

  subscribe ({ channels, onMessage, onLost, onEnd }: Subscription): Subscriber {
    const subscriber: NodeRedisSubscriber = duplicate(this.#client)
    subscriber.on('error', onLost)
    subscriber.on('topology-change', onLost)
    subscriber.on('end', onEnd)
    const close = async (): Promise<void> => subscriber.destroy()
    return {
      opened: subscriber.connect().then(() => subscriber.subscribe([...channels], onMessage)).then(() => {}),
      // What was never open cannot be closed.
      close: () => { close().catch(() => {}) }
    }
  }
}

/** Every client can make another like itself, with types that their packages alone can tell. */
function duplicate<Made> (client: RedisClient, options?: object): Made {
  const make: unknown = Reflect.get(client, 'duplicate')
  return Reflect.apply(make as () => Made, client, options === undefined ? [] : [options]) as Made
}
