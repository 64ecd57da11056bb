import type { Created, StoreLimits, TicketRecord, Tickets } from '../store/store.ts'
import { Caps } from './caps.ts'
import type { Link } from './link.ts'

/** Unused tickets in Redis, as JSON under their hashes. */
export class TicketRecords implements Tickets {
  readonly #link: Link
  readonly #prefix: string
  readonly #limits: StoreLimits['tickets']
  readonly #caps: Caps

  constructor (link: Link, prefix: string, limits: StoreLimits['tickets']) {
    this.#link = link
    this.#prefix = prefix
    this.#limits = limits
    this.#caps = new Caps(link, `${prefix}:tickets`, limits.ttl)
  }

  #keyOf (hash: string): string {
    return `${this.#prefix}:ticket:${hash}`
  }

  async issue (record: TicketRecord, maxPerOwner: number): Promise<Created> {
    const { hash, owner } = record
    const issued = await this.#caps.reserve(hash, owner, this.#limits.max, maxPerOwner)
    const key = this.#keyOf(hash)
    if (issued === 'created') await this.#link.run(key, 'SET', key, JSON.stringify(record), 'PX', String(this.#limits.ttl))
    return issued
  }

  async take (hash: string): Promise<TicketRecord | undefined> {
    const key = this.#keyOf(hash)
    const json = await this.#link.run(key, 'GETDEL', key)
    if (typeof json !== 'string') return undefined
    // What `issue` wrote.
    const record = JSON.parse(json) as TicketRecord
    await this.#caps.release(hash, record.owner)
    return record
  }
}
