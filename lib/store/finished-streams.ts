import { StreamLog } from './stream-log.ts'
import { TextQueue } from './text-queue.ts'

/** A stream of one event, as text. */
interface Short {
  readonly name: string
  readonly expires: number
  readonly frame: string
}

function beginning (name: string): string {
  return `${name.length}:${name}`
}

function write ({ name, expires, frame }: Short): string {
  return `${beginning(name)}${expires}:${frame}`
}

function read (text: string): Short {
  const from = text.indexOf(':') + 1
  const to = from + Number(text.slice(0, from - 1))
  const end = text.indexOf(':', to)
  return { name: text.slice(from, to), expires: Number(text.slice(to, end)), frame: text.slice(end + 1) }
}

/** Streams that get no more events, in the order in which they finished. */
export class FinishedStreams {
  /** Of one event each: most answer one request at once, and are to cost next to nothing while they are kept. */
  readonly #short = new TextQueue()
  /** The characters of their frames. */
  readonly #sizes: number[] = []
  readonly #others = new Map<string, StreamLog>()

  get isEmpty (): boolean {
    return this.#short.length + this.#others.size === 0
  }

  /** A stream that expires after those that were added before. */
  add (name: string, stream: StreamLog): void {
    const { expires, size, only: frame } = stream
    if (frame === undefined) {
      this.#others.set(name, stream)
    } else {
      this.#short.push(write({ name, expires, frame }))
      this.#sizes.push(size)
    }
  }

  get (name: string): StreamLog | undefined {
    const text = this.#others.has(name) ? undefined : this.#short.find(beginning(name))
    if (text === undefined) return this.#others.get(name)
    const { expires, frame } = read(text)
    const stream = new StreamLog()
    stream.expires = expires
    stream.push({ stream: name, seq: 1, frame })
    return stream
  }

  names (): string[] {
    return [...this.#others.keys(), ...[...this.#short].map(text => read(text).name)]
  }

  get #oldestShort (): Short | undefined {
    const { first } = this.#short
    return first === undefined ? undefined : read(first)
  }

  /** The oldest. */
  get first (): { readonly name: string, readonly expires: number } | undefined {
    const [other] = this.#others
    const short = this.#oldestShort
    if (other === undefined) return short
    const [name, { expires }] = other
    return short === undefined || expires < short.expires ? { name, expires } : short
  }

  /** Gives up the oldest, if there is one, and gives how many events it had and their characters. */
  shift (): { readonly events: number, readonly size: number } | undefined {
    const [other] = this.#others
    if (other === undefined || this.first?.name !== other[0]) {
      const [short] = this.#sizes
      if (short === undefined) return undefined
      this.#short.shift()
      this.#sizes.shift()
      return { events: 1, size: short }
    }
    const [name, { length, size }] = other
    this.#others.delete(name)
    return { events: length, size }
  }
}
