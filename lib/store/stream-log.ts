import { AnswerList } from './answer-list.ts'
import type { LoggedEvent } from './store.ts'
import { TextQueue } from './text-queue.ts'

// Trimmed answers are remembered by request id alone, so that their loss can still be told.
const LOST_ANSWERS = 1_000

/** The newest events of one stream, without a gap. */
export class StreamLog {
  held = false
  /** Time after which a finished stream is forgotten. */
  expires = Infinity
  readonly #frames = new TextQueue()
  #answers: AnswerList | undefined
  #lost: AnswerList | undefined
  #trimmed: number
  #untold: number

  /** `trimmed`: events that are not there any more, whatever they answered. */
  constructor (trimmed = 0) {
    this.#trimmed = this.#untold = trimmed
  }

  /** Of events, and of the characters of their frames. */
  get length (): number {
    return this.#frames.length
  }

  get size (): number {
    return this.#frames.size
  }

  /** Number of the last event that was given up. */
  get trimmed (): number {
    return this.#trimmed
  }

  /** Number of the last answer among these that is not even remembered as lost. */
  get untold (): number {
    return this.#untold
  }

  /** Number of the last event, 0 when there was none. */
  get last (): number {
    return this.#trimmed + this.length
  }

  /** The event must come after the last. */
  push ({ frame, seq, answers }: LoggedEvent): void {
    this.#frames.push(frame)
    if (answers === undefined) return
    this.#answers ??= new AnswerList()
    this.#answers.push(seq, answers)
  }

  /** Gives up the oldest event, and gives the characters of its frame. There must be one. */
  shift (): number {
    const seq = ++this.#trimmed
    const id = this.#answers?.first === seq ? this.#answers.shift() : undefined
    if (id !== undefined) this.#lose(seq, id)
    return this.#frames.shift()
  }

  #lose (seq: number, id: string | number): void {
    this.#lost ??= new AnswerList()
    this.#lost.push(seq, id)
    if (this.#lost.length <= LOST_ANSWERS) return
    this.#untold = Number(this.#lost.first)
    this.#lost.shift()
  }

  /** The requests that were answered by given up events after this number, as far as they are remembered. */
  lostAfter (seq: number): (string | number)[] {
    return [...this.#lost ?? []].filter(([lost]) => lost > seq).map(([, id = '']) => id)
  }

  /** The frame of its one event, where there never was another. */
  get only (): string | undefined {
    return this.last === 1 ? this.#frames.first : undefined
  }

  /** The frames after this number. */
  framesAfter (seq: number): string[] {
    return [...this.#frames].slice(Math.max(0, seq - this.#trimmed))
  }

  /** What is left, oldest first. `stream`: its name. */
  events (stream: string): LoggedEvent[] {
    const answers = new Map(this.#answers ?? [])
    return [...this.#frames].map((frame, index) => {
      const seq = this.#trimmed + 1 + index
      return { stream, seq, frame, answers: answers.get(seq) }
    })
  }
}
