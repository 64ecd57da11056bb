import { EventBlock, type GivenUp } from './event-block.ts'
import type { LoggedEvent } from './store.ts'

// Enough to cost little for each, few enough that what is given up of a block does not weigh on a budget.
const BLOCK_EVENTS = 64
const BLOCK_CHARACTERS = 65_536

/** The events of one stream, oldest first. The newest are as they came, the others in blocks, unless they are long. */
export class StreamLog {
  /** Number of the last event that was given up. */
  trimmed = 0
  readonly lost: { seq: number, id: string | number }[] = []
  /** Number of the last answer among these that is not even in `lost` any more. */
  untold = 0
  held = false
  /** Time after which a finished stream is forgotten. */
  expires = Infinity
  /** Events, and characters of their frames. */
  length = 0
  size = 0
  readonly #blocks: EventBlock[] = []
  #newest: LoggedEvent[] = []
  #spare: Buffer | undefined

  push (event: LoggedEvent): void {
    this.#newest.push(event)
    this.length++
    this.size += event.frame.length
    if (this.#newest.length % BLOCK_EVENTS === 0) this.#pack(event)
  }

  #pack ({ stream, seq }: LoggedEvent): void {
    const events = this.#newest
    const first = seq - events.length + 1
    const isShort = events.reduce((sum, { frame }) => sum + frame.length, 0) <= BLOCK_CHARACTERS
    // Of a stream that was elsewhere meanwhile, some may be missing.
    const isWhole = events.every((event, index) => event.seq === first + index)
    if (!isShort || !isWhole) return
    this.#blocks.push(new EventBlock(stream, first, events, this.#spare))
    this.#spare = undefined
    this.#newest = []
  }

  /** Gives up the oldest event. There must be one. */
  shift (): GivenUp {
    const [block] = this.#blocks
    const given = block === undefined ? givenUp(this.#newest.shift()) : block.shift()
    if (block?.isEmpty === true) this.#spare = this.#blocks.shift()?.memory
    this.length--
    this.size -= given.size
    return given
  }

  /** Number of the last event, 0 when there was none. */
  get last (): number {
    return this.#newest.at(-1)?.seq ?? this.#blocks.at(-1)?.last ?? this.trimmed
  }

  * [Symbol.iterator] (): Generator<LoggedEvent> {
    for (const block of this.#blocks) yield * block
    yield * this.#newest
  }
}

function givenUp ({ seq = 0, frame = '', answers }: Partial<LoggedEvent> = {}): GivenUp {
  return { seq, size: frame.length, answers }
}
