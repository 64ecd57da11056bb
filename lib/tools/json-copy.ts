/** What a schema may measure. Each bound is far above what a tool needs and far below what a compiler suffers from. */
const MAX_DEPTH = 64
const MAX_VALUES = 10_000
const MAX_BYTES = 256 * 1024

/**
 * A deep, frozen copy of a JSON object (not of an array): whoever gave it may change theirs, and no getter or Proxy of theirs runs again.
 * Throws a TypeError at what JSON cannot say, at a circle and beyond 64 levels, 10,000 values or 256 KiB.
 */
export function copyJson (value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null) throw new TypeError(`it is ${value === null ? 'null' : typeof value}`)
  if (Array.isArray(value)) throw new TypeError('it is an array')
  const copy = new Copier().copyObject(value)
  const bytes = Buffer.byteLength(JSON.stringify(copy))
  if (bytes > MAX_BYTES) throw new TypeError(`it is larger than ${MAX_BYTES} bytes`)
  return copy
}

class Copier {
  readonly #open = new Set<object>()
  #values = 0
  #length = 0

  copyObject (value: object): Record<string, unknown> {
    const prototype: unknown = Object.getPrototypeOf(value)
    // An object of another realm has an Object.prototype of its own.
    if (prototype !== null && Object.getPrototypeOf(prototype) !== null) throw new TypeError('it holds an object of a class, which JSON cannot say')
    const entries: [key: string, value: unknown][] = []
    this.#enter(value)
    for (const key of Object.keys(value)) {
      if (key === '__proto__') throw new TypeError('it holds the key "__proto__"')
      const member: unknown = Reflect.get(value, key)
      if (member === undefined) continue
      this.#measure(key)
      entries.push([key, this.#copy(member)])
    }
    this.#open.delete(value)
    return Object.freeze(Object.fromEntries(entries))
  }

  #copyArray (value: readonly unknown[]): readonly unknown[] {
    const items: unknown[] = []
    this.#enter(value)
    for (let index = 0; index < value.length; index++) items.push(this.#copy(value[index]))
    this.#open.delete(value)
    return Object.freeze(items)
  }

  #copy (value: unknown): unknown {
    if (++this.#values > MAX_VALUES) throw new TypeError(`it holds more than ${MAX_VALUES} values`)
    if (value === null || typeof value === 'boolean') return value
    if (typeof value === 'string') return this.#measure(value)
    if (typeof value === 'number' && Number.isFinite(value)) return value
    if (typeof value !== 'object') throw new TypeError(`it holds ${typeof value === 'number' ? value : `a value of type ${typeof value}`}, which JSON cannot say`)
    return Array.isArray(value) ? this.#copyArray(value) : this.copyObject(value)
  }

  #enter (value: object): void {
    if (this.#open.has(value)) throw new TypeError('it is a circle: an object holds itself')
    if (this.#open.size === MAX_DEPTH) throw new TypeError(`it nests deeper than ${MAX_DEPTH} levels`)
    this.#open.add(value)
  }

  /** Counts before anything is joined: one long string may stand in many places. */
  #measure (text: string): string {
    this.#length += text.length
    if (this.#length > MAX_BYTES) throw new TypeError(`it is larger than ${MAX_BYTES} bytes`)
    return text
  }
}
