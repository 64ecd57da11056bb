// Blocks of one queue are almost of one size, so that each fits into the memory of one before.
const PAGE = 4_096
// What the first texts need, this many times over, is there for more.
const ROOM = 4

/** ASCII, as most frames are. */
function isPlain (text: string): boolean {
  return Buffer.byteLength(text) === text.length
}

/**
 * Some texts in a row, as bytes outside of the JavaScript heap. A text that is kept for a while costs several times its length there:
 * the collector copies it twice, and finds it again each time.
 */
export class TextBlock {
  /** Characters of each that is left. */
  readonly #sizes: number[] = []
  readonly #bytes: Buffer
  readonly #encoding: 'latin1' | 'utf16le'
  /** Bytes before the first that is left, and before where the next will be. */
  #start = 0
  #end = 0

  /** Holds `texts`, and has room for more. `spare`: memory of a block that is not needed any more. */
  constructor (texts: readonly string[], spare: Buffer | undefined) {
    const text = texts.join('')
    this.#encoding = isPlain(text) ? 'latin1' : 'utf16le'
    const size = this.#bytesOf(text.length) * ROOM
    this.#bytes = spare !== undefined && spare.length >= size ? spare : Buffer.allocUnsafeSlow(Math.ceil(size / PAGE) * PAGE)
    this.#write(text, texts)
  }

  #bytesOf (characters: number): number {
    return this.#encoding === 'latin1' ? characters : characters * 2
  }

  #write (text: string, texts: readonly string[]): void {
    this.#end += this.#bytes.write(text, this.#end, this.#encoding)
    for (const { length } of texts) this.#sizes.push(length)
  }

  /** Takes all of them, or none: false where there is no room for them, or only plain text. */
  add (texts: readonly string[]): boolean {
    const text = texts.join('')
    if (this.#end + this.#bytesOf(text.length) > this.#bytes.length) return false
    if (this.#encoding === 'latin1' && !isPlain(text)) return false
    this.#write(text, texts)
    return true
  }

  get isEmpty (): boolean {
    return this.#sizes.length === 0
  }

  /** Its memory, for another block once this one is empty. */
  get memory (): Buffer {
    return this.#bytes
  }

  /** Those that are left, oldest first. */
  * [Symbol.iterator] (): Generator<string> {
    let from = this.#start
    for (const size of this.#sizes) {
      const to = from + this.#bytesOf(size)
      yield this.#bytes.toString(this.#encoding, from, to)
      from = to
    }
  }

  /** Whether one of them may hold a text. */
  mayHold (text: string): boolean {
    return this.#bytes.indexOf(text, this.#start, this.#encoding) !== -1
  }

  /** Gives up the oldest, and gives its characters. There must be one. */
  shift (): number {
    const [size = 0] = this.#sizes
    this.#sizes.shift()
    this.#start += this.#bytesOf(size)
    return size
  }
}
