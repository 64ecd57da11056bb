import { channels, type KickEvent } from '../channels.ts'
import { atLimit, errorCodes } from '../errors.ts'
import { comment } from './frame.ts'
import { SseStream, type Tenant } from './stream.ts'
import { Tally } from './tally.ts'

export interface PoolOptions {
  /** The option `name` of the server. */
  readonly server: string
  /** Bytes that may wait in each stream. */
  readonly buffer: number
  /** Milliseconds of silence after which a comment is sent. */
  readonly keepAlive: number
  /** Milliseconds after which a connection that takes nothing is broken. */
  readonly stall: number
  /** The most streams at once. */
  readonly max: number
  /** The most streams of one owner. */
  readonly maxPerPrincipal: number
}

const KEEP_ALIVE = comment('keep-alive')
// A stream is at most a quarter of the period late: one timer for all, and no clock is read when a frame is written.
const SWEEPS = 4

/** All open streams of one server: their count, their keep-alive comments and the end of those that stall. */
export class StreamPool {
  readonly #options: PoolOptions
  readonly #streams = new Set<SseStream>()
  readonly #owners = new Tally()
  readonly #timer: NodeJS.Timeout
  readonly #quietSweeps: number
  readonly #stalledSweeps: number
  #isClosing = false

  constructor (options: PoolOptions) {
    this.#options = options
    const period = Math.max(1, Math.min(options.keepAlive, options.stall) / SWEEPS)
    this.#quietSweeps = Math.round(options.keepAlive / period)
    this.#stalledSweeps = Math.round(options.stall / period)
    this.#timer = setInterval(() => this.#sweep(), period).unref()
  }

  /** Bytes that may wait in each stream. */
  get buffer (): number {
    return this.#options.buffer
  }

  get server (): string {
    return this.#options.server
  }

  /** Bytes that wait in all streams, because their clients read slowly. */
  get queued (): number {
    return [...this.#streams].reduce((sum, stream) => sum + stream.queued, 0)
  }

  get size (): number {
    return this.#streams.size
  }

  /** Whether there is room for one more stream of this owner. */
  hasRoom (owner: string | null): boolean {
    const { max, maxPerPrincipal } = this.#options
    return this.size < max && this.#owners.of(owner) < maxPerPrincipal
  }

  /** Refuses whoever could need one stream more. Throws FST_MCP_STREAMS_FULL, FST_MCP_QUOTA_EXCEEDED, and FST_MCP_CLOSING once the server closes. */
  admit (owner: string | null): void {
    if (this.#isClosing) throw new errorCodes.FST_MCP_CLOSING()
    if (this.hasRoom(owner)) return
    const { max, maxPerPrincipal } = this.#options
    if (this.size >= max) throw atLimit('streams.max', new errorCodes.FST_MCP_STREAMS_FULL())
    throw atLimit('streams.maxPerPrincipal', new errorCodes.FST_MCP_QUOTA_EXCEEDED(maxPerPrincipal, 'streams'))
  }

  /** From now on nobody is admitted. */
  refuse (): void {
    this.#isClosing = true
  }

  /** A stream that stays in the pool until its connection is closed. */
  open (tenant: Tenant): SseStream {
    const stream = new SseStream(this.#options.buffer, tenant, this.#onClose)
    this.#streams.add(stream)
    this.#owners.add(tenant.owner)
    return stream
  }

  readonly #onClose = (stream: SseStream): void => {
    this.#streams.delete(stream)
    this.#owners.remove(stream.tenant.owner)
  }

  /** Breaks the connection of a stream. */
  kick (stream: SseStream, reason: KickEvent['reason']): void {
    stream.destroy()
    channels.kick.publish({ reason, server: this.server })
  }

  #sweep (): void {
    for (const stream of this.#streams) {
      if (stream.blocked) {
        if (++stream.stalled > this.#stalledSweeps) this.kick(stream, 'stalled')
      } else if (++stream.quiet >= this.#quietSweeps) {
        stream.write(KEEP_ALIVE)
      }
    }
  }

  /** Ends every stream after what was written. */
  close (): void {
    clearInterval(this.#timer)
    for (const stream of this.#streams) stream.end()
  }
}
