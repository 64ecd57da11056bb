type Id = string | number

/** Which events answered which requests, oldest first. Two lists of plain values: one of objects would cost the collector more than a call. */
export class AnswerList {
  readonly #seqs: number[] = []
  readonly #ids: Id[] = []

  get length (): number {
    return this.#seqs.length
  }

  /** The number of the oldest event. */
  get first (): number | undefined {
    return this.#seqs[0]
  }

  push (seq: number, id: Id): void {
    this.#seqs.push(seq)
    this.#ids.push(id)
  }

  /** Gives up the oldest, and gives its request. */
  shift (): Id | undefined {
    this.#seqs.shift()
    return this.#ids.shift()
  }

  * [Symbol.iterator] (): Generator<[seq: number, id: Id | undefined]> {
    for (const [index, seq] of this.#seqs.entries()) yield [seq, this.#ids[index]]
  }
}
