import type { Created, StoreLimits, TicketRecord, Tickets } from './store.ts'

/** Tickets in the memory of this process. */
export class MemoryTickets implements Tickets {
  /** All live equally long, so the first to come is the first to go. */
  readonly #tickets = new Map<string, { record: TicketRecord, expires: number }>()
  /** The hashes of each owner; nobody is none. */
  readonly #owned = new Map<string | null, Set<string>>()
  readonly #limits: StoreLimits['tickets']

  constructor (limits: StoreLimits['tickets']) {
    this.#limits = limits
  }

  issue (record: TicketRecord, maxPerOwner: number): Created {
    const now = Date.now()
    this.sweep(now)
    const { hash, owner } = record
    const owned = this.#owned.get(owner) ?? new Set()
    if (owned.size >= maxPerOwner) return 'quota'
    if (this.#tickets.size >= this.#limits.max) return 'full'
    this.#tickets.set(hash, { record, expires: now + this.#limits.ttl })
    if (owner !== null) this.#owned.set(owner, owned.add(hash))
    return 'created'
  }

  take (hash: string): TicketRecord | undefined {
    this.sweep(Date.now())
    const record = this.#tickets.get(hash)?.record
    if (record !== undefined) this.#drop(record)
    return record
  }

  #drop ({ hash, owner }: TicketRecord): void {
    this.#tickets.delete(hash)
    const owned = this.#owned.get(owner)
    if (owned?.delete(hash) === true && owned.size === 0) this.#owned.delete(owner)
  }

  sweep (now: number): void {
    for (const { record, expires } of this.#tickets.values()) {
      if (expires > now) break
      this.#drop(record)
    }
  }
}
