import type { Readable } from 'node:stream'

/** One event as it arrived. */
export interface Heard {
  readonly event: string
  readonly id: string | undefined
  readonly data: string
  /** By the clock of `performance.now()`. */
  readonly at: number
}

/** How a stream ended. */
export interface Ending {
  readonly kind: 'clean' | 'reset'
  readonly at: number
}

// No server sends so much to a visitor that asks for so little.
const MOST_CHARACTERS = 16_777_216
const MOST_LINES = 200_000
const LINE = /\r\n|\n|\r(?!$)/

/** Reads an event stream as it comes, and remembers when. */
export class EventReader {
  readonly events: Heard[] = []
  /** When a comment came. */
  readonly comments: number[] = []
  lastId: string | undefined
  ended: Ending | undefined
  readonly #source: Readable
  #rest = ''
  #left = MOST_CHARACTERS
  #linesLeft = MOST_LINES
  #event = ''
  #data: string[] = []
  readonly #wakes = new Set<() => void>()

  constructor (source: Readable) {
    this.#source = source
    const end = (kind: Ending['kind']) => (): void => {
      this.ended ??= { kind, at: performance.now() }
      this.#wake()
    }
    source.setEncoding('utf8')
    source.on('data', (text: string) => this.#take(text)).on('end', end('clean')).on('error', end('reset')).on('close', end('reset'))
  }

  #take (text: string): void {
    const lines = (this.#rest + text).split(LINE)
    this.#rest = lines.splice(-1).join('')
    this.#left -= text.length
    this.#linesLeft -= lines.length
    if (this.#left < 0 || this.#linesLeft < 0) this.#source.destroy()
    for (const line of lines) this.#line(line)
    this.#wake()
  }

  #line (line: string): void {
    const colon = line.indexOf(':')
    const field = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '')
    if (line === '') this.#dispatch()
    else if (colon === 0) this.comments.push(performance.now())
    else if (field === 'data') this.#data.push(value)
    else if (field === 'event') this.#event = value
    else if (field === 'id') this.lastId = value
  }

  #dispatch (): void {
    if (this.#data.length > 0) {
      this.events.push({ event: this.#event || 'message', id: this.lastId, data: this.#data.join('\n'), at: performance.now() })
    }
    this.#event = ''
    this.#data = []
  }

  #wake (): void {
    for (const wake of this.#wakes) wake()
  }

  /** The first event that fits, of those that are there or come within `ms`. Undefined when there is none. */
  async find (fits: (heard: Heard) => boolean, ms: number): Promise<Heard | undefined> {
    let seen = 0
    let found: Heard | undefined
    await this.#until(() => {
      while (found === undefined && seen < this.events.length) {
        const next = this.events[seen++]
        if (next !== undefined && fits(next)) found = next
      }
      return found !== undefined
    }, ms)
    return found
  }

  /** Resolves when the stream has ended, or after `ms`, or when `signal` says so. */
  async over (ms: number, signal: AbortSignal): Promise<void> {
    const wake = (): void => this.#wake()
    signal.addEventListener('abort', wake)
    await this.#until(() => signal.aborted, ms)
    signal.removeEventListener('abort', wake)
  }

  async #until (holds: () => boolean, ms: number): Promise<void> {
    if (holds() || this.ended !== undefined) return
    await new Promise<void>(resolve => {
      const done = (): void => {
        clearTimeout(timer)
        this.#wakes.delete(look)
        resolve()
      }
      const look = (): void => { if (holds() || this.ended !== undefined) done() }
      const timer = setTimeout(done, ms)
      this.#wakes.add(look)
    })
  }
}
