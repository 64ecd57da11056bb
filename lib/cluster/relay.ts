import type { StreamPool } from '../sse/pool.ts'
import type { Room, SseStream } from '../sse/stream.ts'
import type { Letter, Letters } from './letters.ts'

/** A stream of this node whose client is at another one. */
interface Sent {
  readonly to: string
  readonly stream: SseStream
  /** Characters that may leave before the other node says that there is room. */
  credit: number
  count: number
}

/** A stream of another node whose client is here. */
interface Followed {
  readonly from: string
  readonly stream: SseStream
  /** Characters that the client's connection took, and that the other node was not told of. */
  taken: number
  count: number
}

// How soon a stream ends whose other node is gone.
const CHECK_MS = 1_000

/**
 * Carries streams between the node that writes them and the node that their client came back to. The client's connection
 * decides how much may be on its way, so that a tool waits for a client of another node as it does for one of its own.
 * A relay that breaks breaks the connection of the client, who comes back to what it missed.
 */
export class Relay {
  readonly #letters: Letters
  readonly #pool: StreamPool
  readonly #sent = new Map<string, Sent>()
  readonly #followed = new Map<string, Followed>()
  readonly #timer: NodeJS.Timeout
  #count = 0

  constructor (letters: Letters, pool: StreamPool) {
    this.#letters = letters
    this.#pool = pool
    letters.on('frames', (letter, from) => this.#receive(letter, from))
    letters.on('room', ({ relay, size }, from) => this.#credit(`${from}${relay}`, Number(size)))
    letters.on('leave', ({ relay }, from) => { this.#sent.get(`${from}${relay}`)?.stream.destroy() })
    letters.onLoss(() => this.#break())
    // While nobody knows who is alive, nobody is given up.
    this.#timer = setInterval(() => { this.#check().catch(() => {}) }, CHECK_MS).unref()
  }

  get size (): number {
    return this.#sent.size + this.#followed.size
  }

  /** Sends a stream to the node that asked for it, with what `follow` gave there. */
  send (stream: SseStream, to: string, { relay, room }: Letter): void {
    const key = `${to}${relay}`
    const sent: Sent = { to, stream, credit: Number(room), count: 0 }
    this.#sent.set(key, sent)
    stream.on('readable', () => this.#flow(sent, relay))
    // Whoever reads a stream hears of its errors.
    stream.on('error', () => {})
    stream.once('close', () => {
      this.#sent.delete(key)
      this.#letters.tell(to, 'frames', { relay, count: ++sent.count, isOver: stream.readableEnded })
    })
  }

  #flow (sent: Sent, relay: unknown): void {
    while (sent.credit > 0) {
      const chunk: unknown = sent.stream.read()
      if (chunk === null) return
      const text = String(chunk)
      sent.credit -= text.length
      this.#letters.tell(sent.to, 'frames', { relay, count: ++sent.count, text })
    }
  }

  #credit (key: string, size: number): void {
    const sent = this.#sent.get(key)
    if (sent === undefined) return
    sent.credit += size
    this.#flow(sent, key.slice(sent.to.length))
  }

  /** A stream that is filled by another node, once that was asked to with what this gives. */
  follow (from: string, owner: string | null): { relay: number, room: number, stream: SseStream } {
    const relay = ++this.#count
    const key = `${from}${relay}`
    const closed = (): void => {
      if (this.#followed.delete(key)) this.#letters.tell(from, 'leave', { relay })
    }
    const stream = this.#pool.open({ owner, closed })
    this.#followed.set(key, { from, stream, taken: 0, count: 0 })
    return { relay, room: this.#pool.buffer, stream }
  }

  #receive ({ relay, count, text, isOver }: Letter, from: string): void {
    const key = `${from}${relay}`
    const followed = this.#followed.get(key)
    if (followed === undefined) {
      // Who sends it may not have known yet that nobody waits for it.
      if (typeof text === 'string') this.#letters.tell(from, 'leave', { relay })
      return
    }
    const { stream } = followed
    const isNext = count === ++followed.count
    if (isNext && typeof text === 'string') return this.#taken(followed, relay, text.length, stream.write(text))
    this.#followed.delete(key)
    if (isNext && isOver === true) return stream.end()
    stream.destroy()
    if (!isNext) this.#letters.tell(from, 'leave', { relay })
  }

  #taken (followed: Followed, relay: unknown, size: number, room: Room): void {
    if (room instanceof Promise) {
      room.then(isOpen => this.#taken(followed, relay, size, isOpen))
      return
    }
    if (!room) return
    followed.taken += size
    // Often enough that the other node never waits for a client that reads.
    if (followed.taken < this.#pool.buffer / 2) return
    this.#letters.tell(followed.from, 'room', { relay, size: followed.taken })
    followed.taken = 0
  }

  /** Nobody says of a node that is gone what it leaves behind. */
  async #check (): Promise<void> {
    const streams = new Map<string, SseStream[]>()
    for (const { to, stream } of this.#sent.values()) streams.set(to, [...streams.get(to) ?? [], stream])
    for (const { from, stream } of this.#followed.values()) streams.set(from, [...streams.get(from) ?? [], stream])
    for (const [node, shared] of streams) {
      if (!await this.#letters.isAlive(node)) shared.forEach(stream => stream.destroy())
    }
  }

  /** Breaks every relay: both sides know how to go on. */
  #break (): void {
    for (const { stream } of [...this.#sent.values(), ...this.#followed.values()]) stream.destroy()
  }

  close (): void {
    clearInterval(this.#timer)
    this.#break()
  }
}
