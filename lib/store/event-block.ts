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
  /** Number of the oldest that is left. */
  #first: number
  /** Characters of each that is left. */
  readonly #sizes: number[]
  readonly #answers = new Map<number, string | number>()
  readonly #bytes: Buffer
  readonly #encoding: 'latin1' | 'utf16le'
  /** Characters that were given up. */
  #gone = 0

  /** `events`: numbered from `first` on. `spare`: memory of a block that is not needed any more. */
  constructor (stream: string, first: number, events: readonly LoggedEvent[], spare: Buffer | undefined) {
    this.#stream = stream
    this.#first = first
    this.#sizes = events.map(({ frame }) => frame.length)
    for (const { seq, answers } of events) if (answers !== undefined) this.#answers.set(seq, answers)
    const text = events.map(({ frame }) => frame).join('')
    this.#encoding = Buffer.byteLength(text) === text.length ? 'latin1' : 'utf16le'
    const size = text.length * this.#width
    this.#bytes = spare !== undefined && spare.length >= size ? spare : Buffer.allocUnsafeSlow(Math.ceil(size / PAGE) * PAGE)
    this.#bytes.write(text, this.#encoding)
  }

  /** Bytes of a character. */
  get #width (): number {
    return this.#encoding === 'latin1' ? 1 : 2
  }

  get isEmpty (): boolean {
    return this.#sizes.length === 0
  }

  /** Number of the newest. */
  get last (): number {
    return this.#first + this.#sizes.length - 1
  }

  /** Its memory, for another block once this one is empty. */
  get memory (): Buffer {
    return this.#bytes
  }

  /** The events that are left, oldest first. */
  * [Symbol.iterator] (): Generator<LoggedEvent> {
    let from = this.#gone * this.#width
    for (const [index, size] of this.#sizes.entries()) {
      const to = from + size * this.#width
      const seq = this.#first + index
      yield { stream: this.#stream, seq, frame: this.#bytes.toString(this.#encoding, from, to), answers: this.#answers.get(seq) }
      from = to
    }
  }

  /** Gives up the oldest. There must be one. */
  shift (): GivenUp {
    const seq = this.#first++
    const [size = 0] = this.#sizes.splice(0, 1)
    this.#gone += size
    return { seq, size, answers: this.#answers.get(seq) }
  }
}
