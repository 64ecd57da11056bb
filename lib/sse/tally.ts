/** How many of something each owner holds. Nobody (null) holds nothing: without auth there is no one to count for. */
export class Tally {
  readonly #counts = new Map<string, number>()

  of (owner: string | null): number {
    return owner === null ? 0 : this.#counts.get(owner) ?? 0
  }

  add (owner: string | null): void {
    if (owner !== null) this.#counts.set(owner, this.of(owner) + 1)
  }

  /** Takes back one `add`. */
  remove (owner: string | null): void {
    if (owner === null) return
    const count = this.of(owner) - 1
    if (count > 0) this.#counts.set(owner, count)
    else this.#counts.delete(owner)
  }

  /** Owners that hold anything. */
  get size (): number {
    return this.#counts.size
  }
}
