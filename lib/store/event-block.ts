import type { LoggedEvent } from './store.ts'

/** What of an event is known when it is given up. */
export interface GivenUp extends Pick<LoggedEvent, 'seq' | 'answers'> {
  /** Characters of its frame. */
  readonly size: number
}

// Blocks of one stream are almost of one size, so that each fits into the memory of one before.
const PAGE = 4_096

/**
 * Some events of one stream in a row, as bytes outside of the JavaScript heap. An event that is kept for a while costs several
 * times its text there: the collector copies it twice, and finds it again each time.
 */
export class EventBlock {
  readonly #stream: string
  readonly #seqs: number[]
  readonly #sizes: number[]
  readonly #answers = new Map<number, string | number>()
  readonly #bytes: Buffer
  readonly #encoding: 'latin1' | 'utf16le'
  /** How many were given up, and their characters. */
  #gone = 0
  #goneSize = 0

  /** `spare`: memory of a block that is not needed any more. */
  constructor (events: readonly LoggedEvent[], spare: Buffer | undefined) {
    const text = events.map(({ frame }) => frame).join('')
    this.#stream = events[0]?.stream ?? ''
    this.#seqs = events.map(({ seq }) => seq)
    this.#sizes = events.map(({ frame }) => frame.length)
    for (const { seq, answers } of events) if (answers !== undefined) this.#answers.set(seq, answers)
    const isAscii = Buffer.byteLength(text) === text.length
    this.#encoding = isAscii ? 'latin1' : 'utf16le'
    const size = text.length * this.#width
    this.#bytes = spare !== undefined && spare.length >= size ? spare : Buffer.allocUnsafeSlow(Math.ceil(size / PAGE) * PAGE)
    this.#bytes.write(text, this.#encoding)
  }

  /** Bytes of a character. */
  get #width (): number {
    return this.#encoding === 'latin1' ? 1 : 2
  }

  get isEmpty (): boolean {
    return this.#gone === this.#seqs.length
  }

  /** Number of the newest. */
  get last (): number | undefined {
    return this.#seqs.at(-1)
  }

  /** Its memory, for another block once this one is empty. */
  get memory (): Buffer {
    return this.#bytes
  }

  /** The events that are left, oldest first. */
  * [Symbol.iterator] (): Generator<LoggedEvent> {
    let from = this.#goneSize
    for (const [index, seq] of this.#seqs.entries()) {
      if (index < this.#gone) continue
      const to = from + (this.#sizes[index] ?? 0)
      const frame = this.#bytes.toString(this.#encoding, from * this.#width, to * this.#width)
      yield { stream: this.#stream, seq, frame, answers: this.#answers.get(seq) }
      from = to
    }
  }

  /** Gives up the oldest. */
  shift (): GivenUp | undefined {
    const seq = this.#seqs[this.#gone]
    const size = this.#sizes[this.#gone]
    if (seq === undefined || size === undefined) return undefined
    this.#gone++
    this.#goneSize += size
    return { seq, size, answers: this.#answers.get(seq) }
  }
}
