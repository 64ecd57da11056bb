import { TextBlock } from './text-block.ts'

// So many are kept as they came before memory for more is taken.
const FEW = 16
const FEW_CHARACTERS = 65_536

/** Texts, oldest first: some as they came, the others in blocks, unless they are long. */
export class TextQueue {
  /** Of texts, and of their characters. */
  length = 0
  size = 0
  readonly #blocks: TextBlock[] = []
  /** Those that are in no block yet. */
  #newest: string[] = []
  #spare: Buffer | undefined

  push (text: string): void {
    this.length++
    this.size += text.length
    this.#newest.push(text)
    if (this.#newest.length % FEW === 0) this.#pack()
  }

  #pack (): void {
    const texts = this.#newest
    if (texts.reduce((sum, { length }) => sum + length, 0) > FEW_CHARACTERS) return
    this.#newest = []
    if (this.#blocks.at(-1)?.add(texts) === true) return
    this.#blocks.push(new TextBlock(texts, this.#spare))
    this.#spare = undefined
  }

  /** Gives up the oldest, and gives its characters. There must be one. */
  shift (): number {
    const [block] = this.#blocks
    const size = block === undefined ? this.#shiftNewest() : block.shift()
    if (block?.isEmpty === true) this.#spare = this.#blocks.shift()?.memory
    this.length--
    this.size -= size
    return size
  }

  #shiftNewest (): number {
    const [text = ''] = this.#newest
    this.#newest.shift()
    return text.length
  }

  /** The oldest. */
  get first (): string | undefined {
    const [first] = this.#blocks[0] ?? this.#newest
    return first
  }

  /** The oldest that begins so. */
  find (beginning: string): string | undefined {
    for (const block of this.#blocks) {
      const found = block.mayHold(beginning) ? [...block].find(text => text.startsWith(beginning)) : undefined
      if (found !== undefined) return found
    }
    return this.#newest.find(text => text.startsWith(beginning))
  }

  * [Symbol.iterator] (): Generator<string> {
    for (const block of this.#blocks) yield * block
    yield * this.#newest
  }
}
