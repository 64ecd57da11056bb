import type { Change, Created, SessionRecord, Sessions, StoreLimits } from './store.ts'

/** Session records in the memory of this process. */
export class MemorySessions implements Sessions {
  readonly #sessions = new Map<string, { record: SessionRecord, expires: number }>()
  /** The ids of each principal. */
  readonly #owned = new Map<string, Set<string>>()
  readonly #limits: StoreLimits
  readonly #dropEvents: (id: string) => void

  constructor (limits: StoreLimits, dropEvents: (id: string) => void) {
    this.#limits = limits
    this.#dropEvents = dropEvents
  }

  get size (): number {
    return this.#sessions.size
  }

  create (record: SessionRecord, maxPerPrincipal: number): Created {
    const { id, principal } = record
    if (principal !== null && !this.#hasRoom(principal, maxPerPrincipal)) return 'quota'
    if (this.size >= this.#limits.max) this.sweep(Date.now())
    if (this.size >= this.#limits.max) return 'full'
    this.#sessions.set(id, { record, expires: Date.now() + this.#limits.idle })
    if (principal === null) return 'created'
    const owned = this.#owned.get(principal)
    if (owned === undefined) this.#owned.set(principal, new Set([id]))
    else owned.add(id)
    return 'created'
  }

  restore (record: SessionRecord): void {
    if (this.get(record.id) === undefined) this.create(record, Infinity)
  }

  #hasRoom (principal: string, max: number): boolean {
    const owned = this.#owned.get(principal)
    if (owned === undefined || owned.size < max) return true
    // What has expired is dropped when it is looked at.
    for (const id of owned) this.get(id)
    return owned.size < max
  }

  get (id: string): SessionRecord | undefined {
    const entry = this.#sessions.get(id)
    if (entry === undefined) return undefined
    if (entry.expires > Date.now()) return entry.record
    this.delete(id)
  }

  // The caller holds the very record that is kept here.
  update (record: SessionRecord, change: Change): void {
    const after = { ...record }
    change(after)
    Object.assign(record, after)
  }

  touch ({ id }: SessionRecord): void {
    const entry = this.#sessions.get(id)
    if (entry !== undefined) entry.expires = Date.now() + this.#limits.idle
  }

  delete (id: string): boolean {
    this.#dropEvents(id)
    const principal = this.#sessions.get(id)?.record.principal ?? null
    if (principal !== null) this.#disown(principal, id)
    return this.#sessions.delete(id)
  }

  #disown (principal: string, id: string): void {
    const owned = this.#owned.get(principal)
    if (owned?.delete(id) === true && owned.size === 0) this.#owned.delete(principal)
  }

  sweep (now: number): void {
    for (const [id, { expires }] of this.#sessions) {
      if (expires <= now) this.delete(id)
    }
  }
}
