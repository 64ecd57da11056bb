import type { Created, StoreLimits, TicketRecord, Tickets } from './store.ts'

/** Tickets in the memory of this process. */
export class MemoryTickets implements Tickets {
  /** All live equally long, so the first to come is the first to go. */
  readonly #tickets = new Map<string, { record: TicketRecord, expires: number }>()
  readonly #owners = new Map<string | null, number>()
  readonly #limits: StoreLimits['tickets']

  constructor (limits: StoreLimits['tickets']) {
    this.#limits = limits
  }

  issue (record: TicketRecord, maxPerOwner: number): Created {
    const now = Date.now()
    this.sweep(now)
    const { owner } = record
    const ofOwner = this.#owners.get(owner) ?? 0
    if (owner !== null && ofOwner >= maxPerOwner) return 'quota'
    if (this.#tickets.size >= this.#limits.max) return 'full'
    this.#tickets.set(record.hash, { record, expires: now + this.#limits.ttl })
    this.#owners.set(owner, ofOwner + 1)
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
    const left = (this.#owners.get(owner) ?? 0) - 1
    if (left > 0) this.#owners.set(owner, left)
    else this.#owners.delete(owner)
  }

  sweep (now: number): void {
    for (const { record, expires } of this.#tickets.values()) {
      if (expires > now) break
      this.#drop(record)
    }
  }
}
