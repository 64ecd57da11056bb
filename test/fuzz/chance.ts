import { seeded } from '../sockets.ts'

/** Choices that look random and are the same for the same seed. */
export class Chance {
  readonly #next: () => number

  constructor (seed: number) {
    this.#next = seeded(seed)
  }

  /** A whole number from 0 to `end`, without it. */
  below (end: number): number {
    return Math.floor(this.#next() * end)
  }

  is (probability: number): boolean {
    return this.#next() < probability
  }

  pick<T> (list: readonly [T, ...T[]] | readonly T[]): T {
    // No list of the generator is empty.
    return list[this.below(list.length)] as T
  }
}
