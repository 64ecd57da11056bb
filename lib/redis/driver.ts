/** `new Redis()` or `new Cluster()` of `ioredis`, as far as it is needed here. */
export interface Ioredis {
  readonly status: string
  readonly isCluster: boolean
  call (command: string, args: string[]): Promise<unknown>
  on (event: string, listener: (...args: string[]) => void): unknown
  subscribe (...channels: string[]): Promise<unknown>
  disconnect (): void
}

/** `createClient()` or `createSentinel()` of `redis`, as far as it is needed here. */
export interface NodeRedis {
  readonly isReady: boolean
  sendCommand (args: string[]): Promise<unknown>
}

/** `createCluster()` of `redis`, as far as it is needed here. */
export interface NodeRedisCluster {
  readonly isReady: boolean
  readonly masters: unknown
  sendCommand (firstKey: string, isReadonly: boolean, args: string[]): Promise<unknown>
}

/** A client of Redis that the application has made, connects and closes. */
export type RedisClient = Ioredis | NodeRedis | NodeRedisCluster

export interface Subscription {
  readonly channels: readonly string[]
  readonly onMessage: (text: string) => void
  /** Its connection was lost, and what was said meanwhile with it. */
  readonly onLost: () => void
  readonly onError: (error: unknown) => void
}

/** A connection that subscribes, as soon as it can. */
export interface Subscriber {
  /** Resolves once it hears. Whoever sees it reject ends it. */
  readonly ready: Promise<unknown>
  end (): void
}

/** What the clients do alike. */
export interface Driver {
  readonly isReady: boolean
  /** `key`: tells a cluster which of its nodes to ask. */
  run (key: string, args: string[]): Promise<unknown>
  /** On a connection of its own. */
  subscribe (subscription: Subscription): Subscriber
}

export function driverOf (client: RedisClient): Driver {
  return 'call' in client ? new IoredisDriver(client) : new NodeRedisDriver(client)
}

class IoredisDriver implements Driver {
  readonly #client: Ioredis

  constructor (client: Ioredis) {
    this.#client = client
  }

  get isReady (): boolean {
    return this.#client.status === 'ready'
  }

  run (_key: string, [command = '', ...args]: string[]): Promise<unknown> {
    return this.#client.call(command, args)
  }

  subscribe ({ channels, onMessage, onLost, onError }: Subscription): Subscriber {
    // Its options are those of the client, but that it waits for its connection.
    const own = { enableOfflineQueue: true, lazyConnect: false, maxRetriesPerRequest: null }
    const subscriber: Ioredis = this.#client.isCluster ? duplicate(this.#client) : duplicate(this.#client, own)
    subscriber.on('error', onError)
    subscriber.on('message', (_channel, text = '') => onMessage(text))
    subscriber.on('close', onLost)
    return { ready: subscriber.subscribe(...channels), end: () => subscriber.disconnect() }
  }
}

interface NodeRedisSubscriber {
  readonly isOpen: boolean
  on (event: string, listener: (error: unknown) => void): unknown
  connect (): Promise<unknown>
  subscribe (channels: string[], listener: (text: string) => void): Promise<unknown>
  destroy (): void
}

class NodeRedisDriver implements Driver {
  readonly #client: NodeRedis | NodeRedisCluster

  constructor (client: NodeRedis | NodeRedisCluster) {
    this.#client = client
  }

  get isReady (): boolean {
    return this.#client.isReady
  }

  run (key: string, args: string[]): Promise<unknown> {
    return 'masters' in this.#client ? this.#client.sendCommand(key, false, args) : this.#client.sendCommand(args)
  }

  subscribe ({ channels, onMessage, onLost, onError }: Subscription): Subscriber {
    const subscriber: NodeRedisSubscriber = duplicate(this.#client)
    subscriber.on('error', error => {
      onError(error)
      onLost()
    })
    return {
      ready: subscriber.connect().then(() => subscriber.subscribe([...channels], onMessage)),
      end: () => { if (subscriber.isOpen) subscriber.destroy() }
    }
  }
}

/** Every client can make another like itself, with types that their packages alone can tell. */
function duplicate<Made> (client: RedisClient, options?: object): Made {
  const make: unknown = Reflect.get(client, 'duplicate')
  return Reflect.apply(make as () => Made, client, options === undefined ? [] : [options]) as Made
}
