import { Readable } from 'node:stream'

/** True: there is room for more. A promise: wait for it. False: the connection is gone. */
export type Room = boolean | Promise<boolean>

// Joined writes of this size cost 0.43 of single ones; larger ones gain nothing more.
const JOIN_BYTES = 16_384

/** Whose stream it is. */
export interface Tenant {
  /** Issuer and subject of a principal, null without auth. */
  readonly owner: string | null
  /** Told once. `delivered`: whether every frame was handed to the connection before that was closed. */
  closed (stream: SseStream, delivered: boolean): void
}

/** The part of a response that a stream needs to be written to it. */
export interface Sink {
  readonly writableNeedDrain: boolean
  write (chunk: string | Buffer): boolean
  end (): void
  destroy (): void
  once (event: 'drain', listener: () => void): unknown
}

/**
 * The body of one SSE response. Frames written in one tick leave in one chunk, but the first of a tick never waits for others.
 * `write` says when there is room, so whoever produces frames can stop while the client does not read.
 */
export class SseStream extends Readable {
  #queue = ''
  #flushing = false
  #ending = false
  #delivered = false
  #started = false
  /** Of the tick of the first frame. */
  #opening: Promise<boolean> | null = null
  #sink: Sink | null = null
  #waiting: Promise<boolean> | null = null
  #release: ((open: boolean) => void) | null = null
  readonly #buffer: number
  readonly tenant: Tenant
  readonly #onClose: (stream: SseStream) => void
  /** Sweeps of the keep-alive timer since something was last written. */
  quiet = 0
  /** Sweeps since the connection last took anything while frames were waiting for it. */
  stalled = 0

  /** `buffer`: bytes that may wait here before `write` says no. `onClose`: hears of its end before its tenant. */
  constructor (buffer: number, tenant: Tenant, onClose: (stream: SseStream) => void) {
    super({ highWaterMark: buffer })
    this.#buffer = buffer
    this.tenant = tenant
    this.#onClose = onClose
  }

  /** Bytes that wait here. */
  get queued (): number {
    return this.readableLength + this.#queue.length
  }

  get #full (): boolean {
    return this.queued >= this.#buffer
  }

  /** Whether frames wait because the client does not read. */
  get blocked (): boolean {
    return this.readableLength > 0
  }

  /** Resolves (or returns) true when there is room for the next frame, false when the connection is gone. */
  write (frame: string): Room {
    if (this.destroyed || this.#ending) return false
    this.quiet = 0
    this.#queue += frame
    if (!this.#flushing) {
      this.#flushing = true
      process.nextTick(SseStream.#endOfTick, this)
      this.#flush()
      if (!this.#started) this.#open()
    } else if (this.#queue.length >= JOIN_BYTES) {
      this.#flush()
    }
    return this.#opening ?? (this.#full ? this.room() : true)
  }

  /** What is written in the first tick is on the socket only after it: a producer that never waits would hold it back. */
  #open (): void {
    this.#started = true
    this.#opening = new Promise(resolve => process.nextTick(() => {
      this.#opening = null
      resolve(this.room())
    }))
  }

  /** The answer of `write` without writing. */
  room (): Room {
    if (this.destroyed || this.#ending) return false
    if (!this.#full) return true
    this.#waiting ??= new Promise(resolve => { this.#release = resolve })
    return this.#waiting
  }

  /** Ends the response after what was written. */
  end (): void {
    if (this.#ending || this.destroyed) return
    this.#flush()
    this.#ending = true
    if (this.#sink !== null && !this.blocked) return this.#finish(this.#sink)
    this.once('end', () => { this.#delivered = true })
    this.push(null)
    this.#settle(false)
  }

  /** In the same tick as what was written last, so that both leave at once. */
  #finish (sink: Sink): void {
    sink.end()
    this.#delivered = true
    this.destroy()
  }

  static #endOfTick (this: void, stream: SseStream): void {
    stream.#flushing = false
    stream.#flush()
  }

  #flush (): void {
    if (this.#queue === '' || this.destroyed || this.#ending) return
    const chunk = this.#queue
    this.#queue = ''
    if (this.#sink === null || this.#sink.writableNeedDrain || this.blocked) this.push(chunk)
    else this.#hand(this.#sink, chunk)
    // To a client that keeps up it is handed on at once, past `read`.
    this.#makeRoom()
  }

  /** Writes it all to a response, now and as long as that takes it. What waits for that waits here. Nobody else may read it. */
  sendTo (sink: Sink): void {
    // All that was written before leaves at once.
    this.#flush()
    this.#sink = sink
    this.#pour(sink)
  }

  #pour (sink: Sink): void {
    while (!sink.writableNeedDrain) {
      const chunk: unknown = this.read(Math.min(this.readableLength, JOIN_BYTES) || undefined)
      if (!(chunk instanceof Buffer)) {
        if (this.#ending) this.#finish(sink)
        return
      }
      this.#hand(sink, chunk)
    }
  }

  #hand (sink: Sink, chunk: string | Buffer): void {
    if (!sink.write(chunk)) sink.once('drain', () => this.#pour(sink))
  }

  #makeRoom (): void {
    if (this.#waiting !== null && !this.#full) this.#settle(true)
  }

  #settle (open: boolean): void {
    const release = this.#release
    this.#release = this.#waiting = null
    release?.(open)
  }

  override _read (): void {}

  /** Called for every chunk that leaves what waits here. `_read` comes before the chunk is gone, and not for each. */
  override read (size?: number): unknown {
    const chunk: unknown = super.read(size)
    if (chunk !== null) {
      this.stalled = 0
      this.#makeRoom()
    }
    return chunk
  }

  override _destroy (error: Error | null, done: (error: Error | null) => void): void {
    this.#queue = ''
    this.#settle(false)
    if (!this.#delivered) this.#sink?.destroy()
    done(error)
    this.#onClose(this)
    this.tenant.closed(this, this.#delivered)
  }
}
