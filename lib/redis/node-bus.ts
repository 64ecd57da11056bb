import { randomBytes, randomUUID } from 'node:crypto'
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
// A week: whoever first comes after it begins another, which costs each node a look at its sessions.
const EPOCH_MS = String(604_800_000)

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
  #isClosed = false
  #isOpen = false
  /** The application began before it was there. */
  #isLate = false
  #onOpen: (() => void) | undefined
  #sent = 0
  #heard = 0
  #wasAway = false
  #hasGap = false
  #epoch: string | undefined
  #heardAt = 0
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

  get #epochKey (): string {
    return `${this.#options.prefix}:epoch`
  }

  get #toAll (): string {
    return `${this.#options.prefix}:all`
  }

  #leaseOf (node: string): string {
    return `${this.#options.prefix}:lease:${node}`
  }

  /** Whether what others say is heard. */
  get hears (): boolean {
    return this.#isSubscribed && this.#unheard < BEATS_IN_LEASE
  }

  /** Beats that were sent and not heard. */
  get #unheard (): number {
    return this.#sent - this.#heard
  }

  /** Resolves once this node hears and is known to be there, or when Redis did not let it in time: it goes on trying. */
  async open (): Promise<void> {
    // Its timer runs from the first, and an application may take its time to be ready.
    if (this.#isOpen) return
    await new Promise<void>(resolve => {
      const opened = (): void => {
        clearInterval(hurry)
        clearTimeout(timer)
        resolve()
      }
      const hurry = setInterval(() => this.#beat(), HURRY_MS).unref()
      const timer = setTimeout(() => {
        this.#isLate = true
        opened()
      }, this.#options.timeout).unref()
      this.#onOpen = opened
      this.#beat()
    })
  }

  #subscribe (): void {
    this.#isSubscribed = false
    this.#heardAt = Date.now()
    const subscriber: Subscriber = this.#options.driver.subscribe({
      channels: [this.#inbox, this.#toAll],
      onMessage: text => this.#hear(text),
      onLost: () => { this.#wasAway = true },
      onEnd: () => this.#drop(subscriber)
    })
    this.#subscriber = subscriber
    subscriber.opened.then(() => {
      this.#isSubscribed ||= this.#subscriber === subscriber
      this.#beat()
    }, () => this.#drop(subscriber))
  }

  /** The next beat brings another. */
  #drop (subscriber: Subscriber): void {
    subscriber.close()
    if (this.#subscriber !== subscriber) return
    this.#subscriber = undefined
    this.#isSubscribed = false
    this.#wasAway = true
  }

  #hear (text: string): void {
    const message = read(text)
    const { beat }: { beat?: unknown } = Object(message)
    if (typeof beat !== 'number') return this.#listeners.forEach(listener => listener.onMessage(message))
    // A letter to oneself that was not heard was not the only one.
    if (beat !== this.#heard + 1 || this.#wasAway) this.#hasGap = true
    this.#wasAway = false
    this.#heard = beat
    this.#heardAt = Date.now()
  }

  #beat (): void {
    this.#options.onBeat()
    if (this.#isBeating || this.#isClosed) return
    this.#isBeating = true
    this.#renew().catch(() => { this.#trustsFrom = Infinity }).finally(() => { this.#isBeating = false })
  }

  async #renew (): Promise<void> {
    const { link, lease, timeout, onBack } = this.#options
    // A connection that leads nowhere does not say so. A process that was busy has sent nothing that it could have heard.
    const isSilent = this.#unheard >= BEATS_IN_LEASE && Date.now() - this.#heardAt > lease + timeout
    if (this.#subscriber !== undefined && isSilent) this.#drop(this.#subscriber)
    if (this.#subscriber === undefined) this.#subscribe()
    if (!this.#isSubscribed) return
    const key = this.#leaseOf(this.node)
    // Whoever does not hear is not there. A Redis that is full still renews.
    const renews = this.hears
    const [epoch, isRenewed] = await Promise.all([
      link.probe(this.#epochKey, 'GET', this.#epochKey),
      link.probe(key, ...renews ? ['PEXPIRE', key, String(lease)] : ['DEL', key]),
      link.probe(this.#inbox, 'PUBLISH', this.#inbox, JSON.stringify({ beat: ++this.#sent }))
    ])
    // It may have been heard again meanwhile.
    const isLeased = this.hears
    if (isLeased && !(renews && isRenewed === 1)) await link.probe(key, 'SET', key, '1', 'PX', String(lease))
    if (!this.#isOpen && isLeased && this.#heard > 0) this.#begin()
    this.#tellGap(String(epoch ?? await this.#beginEpoch()))
    if (this.#isClosed || this.#trustsFrom !== Infinity) return
    this.#trustsFrom = Date.now() + lease
    onBack()
  }

  /** It is known to be there, and has heard itself. Before that it has missed nothing, unless the application could not wait for it. */
  #begin (): void {
    this.#isOpen = true
    this.#hasGap = this.#isLate
    this.#onOpen?.()
  }

  async #beginEpoch (): Promise<unknown> {
    const epoch = randomUUID()
    return await this.#options.link.probe(this.#epochKey, 'SET', this.#epochKey, epoch, 'NX', 'GET', 'PX', EPOCH_MS) ?? epoch
  }

  /** `epoch`: of what Redis holds, another than before when it came back with nothing. */
  #tellGap (epoch: string): void {
    const isEmptied = this.#epoch !== undefined && this.#epoch !== epoch
    this.#epoch = epoch
    if (!isEmptied && !this.#hasGap) return
    this.#hasGap = false
    this.#listeners.forEach(listener => listener.onGap(isEmptied))
  }

  send (node: string, message: object): Promise<void> {
    return this.#publish(this.#inboxOf(node), message)
  }

  async broadcast (message: object): Promise<boolean> {
    // Before it is there, a node has done nothing that others must know.
    if (this.#isOpen) await this.#publish(this.#toAll, message)
    return this.#isOpen
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
    this.#isClosed = true
    clearInterval(this.#timer)
    this.#subscriber?.close()
    const key = this.#leaseOf(this.node)
    await this.#options.link.run(key, 'DEL', key).catch(() => {})
  }
}

/** Whoever shares the Redis can say anything on any channel. */
function read (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
