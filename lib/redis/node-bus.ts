import { randomBytes } from 'node:crypto'
import { errorCodes } from '../errors.ts'
import type { Bus, BusListener } from '../store/store.ts'
import type { Driver, Subscriber } from './driver.ts'
import type { Link } from './link.ts'

export interface NodeBusOptions {
  readonly driver: Driver
  readonly link: Link
  readonly prefix: string
  /** Milliseconds after which a node that was not heard of is gone. */
  readonly lease: number
  /** Milliseconds that it has to open. */
  readonly timeout: number
  /** Redis is there again, and may have missed something. */
  readonly onBack: () => void
  readonly onBeat: () => void
}

// A lease outlives two beats that are lost.
const BEATS_IN_LEASE = 3
const HURRY_MS = 20

/**
 * Letters between nodes over publish and subscribe, on one connection of this node's own. A lease says that a node is there and hears;
 * with each renewal it writes to itself, and so learns when it does not.
 */
export class NodeBus implements Bus {
  readonly node = randomBytes(4).toString('hex')
  readonly #options: NodeBusOptions
  readonly #listeners = new Set<BusListener>()
  readonly #timer: NodeJS.Timeout
  #subscriber: Subscriber | undefined
  #isSubscribed = false
  #isBeating = false
  #isOpen = false
  #onOpen = (): void => {}
  #sent = 0
  #heard = 0
  #wasAway = false
  /** Until then the leases of others may not be back yet. */
  #trustsFrom = 0

  constructor (options: NodeBusOptions) {
    this.#options = options
    this.#timer = setInterval(() => this.#beat(), options.lease / BEATS_IN_LEASE).unref()
  }

  get #inbox (): string {
    return this.#inboxOf(this.node)
  }

  #inboxOf (node: string): string {
    return `${this.#options.prefix}:inbox:${node}`
  }

  get #toAll (): string {
    return `${this.#options.prefix}:all`
  }

  #leaseOf (node: string): string {
    return `${this.#options.prefix}:lease:${node}`
  }

  /** Whether what others say is heard. */
  get hears (): boolean {
    return this.#isSubscribed && this.#sent - this.#heard < BEATS_IN_LEASE
  }

  /** Resolves once this node hears and is known to be there, or when Redis did not let it in time: it goes on trying. */
  open (): Promise<void> {
    return new Promise(resolve => {
      const opened = (): void => {
        clearInterval(hurry)
        clearTimeout(timer)
        resolve()
      }
      const hurry = setInterval(() => this.#beat(), HURRY_MS).unref()
      const timer = setTimeout(opened, this.#options.timeout).unref()
      this.#onOpen = opened
      this.#beat()
    })
  }

  async #subscribe (): Promise<void> {
    if (this.#isSubscribed) return
    const subscriber = this.#subscriber = this.#options.driver.subscribe({
      channels: [this.#inbox, this.#toAll],
      onMessage: text => this.#hear(text),
      onLost: () => { this.#wasAway = true },
      // The client says itself why, and comes back by itself.
      onError: () => {}
    })
    try {
      await subscriber.ready
      this.#isSubscribed = true
    } catch (error) {
      subscriber.end()
      throw error
    }
  }

  #hear (text: string): void {
    const message: unknown = JSON.parse(text)
    const { beat }: { beat?: unknown } = Object(message)
    if (typeof beat !== 'number') return this.#listeners.forEach(listener => listener.onMessage(message))
    // A letter to oneself that was not heard was not the only one.
    if (beat !== this.#heard + 1 || this.#wasAway) this.#missed()
    this.#heard = beat
  }

  #missed (): void {
    this.#wasAway = false
    this.#listeners.forEach(listener => listener.onGap())
  }

  #beat (): void {
    this.#options.onBeat()
    if (this.#isBeating) return
    this.#isBeating = true
    this.#subscribe().then(() => this.#renew()).catch(() => { this.#trustsFrom = Infinity }).finally(() => { this.#isBeating = false })
  }

  async #renew (): Promise<void> {
    const { link, lease, onBack } = this.#options
    const key = this.#leaseOf(this.node)
    // Whoever does not hear is not there.
    const renewal = this.hears ? ['SET', key, '1', 'PX', String(lease)] : ['DEL', key]
    await Promise.all([link.probe(key, ...renewal), link.probe(this.#inbox, 'PUBLISH', this.#inbox, JSON.stringify({ beat: ++this.#sent }))])
    if (!this.#isOpen && this.hears) {
      this.#isOpen = true
      this.#onOpen()
    }
    if (this.#trustsFrom !== Infinity) return
    this.#trustsFrom = Date.now() + lease
    onBack()
  }

  send (node: string, message: object): Promise<void> {
    return this.#publish(this.#inboxOf(node), message)
  }

  async broadcast (message: object): Promise<void> {
    // Before it is there, a node has done nothing that others must know.
    if (this.#isOpen) await this.#publish(this.#toAll, message)
  }

  async #publish (channel: string, message: object): Promise<void> {
    await this.#options.link.run(channel, 'PUBLISH', channel, JSON.stringify(message))
  }

  listen (listener: BusListener): () => void {
    this.#listeners.add(listener)
    return () => { this.#listeners.delete(listener) }
  }

  async isAlive (node: string): Promise<boolean> {
    const key = this.#leaseOf(node)
    const isLeased = await this.#options.link.run(key, 'EXISTS', key) === 1
    if (!isLeased && Date.now() < this.#trustsFrom) throw new errorCodes.FST_MCP_STORE_UNAVAILABLE('Redis has just come back, and not all nodes have')
    return isLeased
  }

  async close (): Promise<void> {
    clearInterval(this.#timer)
    this.#subscriber?.end()
    const key = this.#leaseOf(this.node)
    await this.#options.link.run(key, 'DEL', key).catch(() => {})
  }
}
