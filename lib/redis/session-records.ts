import type { Change, Created, SessionRecord, Sessions, StoreLimits } from '../store/store.ts'
import { Caps } from './caps.ts'
import { type Link, scriptOf } from './link.ts'

// Writes a record only over the one that was read.
const REPLACE = scriptOf(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
return 1`)

/** Session records in Redis, as JSON. */
export class SessionRecords implements Sessions {
  readonly #link: Link
  readonly #prefix: string
  readonly #limits: StoreLimits
  readonly #caps: Caps
  readonly #onDelete: (id: string) => void

  constructor (link: Link, prefix: string, limits: StoreLimits, onDelete: (id: string) => void) {
    this.#link = link
    this.#prefix = prefix
    this.#limits = limits
    this.#caps = new Caps(link, `${prefix}:sessions`, limits.idle)
    this.#onDelete = onDelete
  }

  get size (): number {
    return this.#caps.size
  }

  /** Learns how many there are. */
  count (): Promise<void> {
    return this.#caps.count()
  }

  #keyOf (id: string): string {
    return `${this.#prefix}:session:{${id}}`
  }

  async create (record: SessionRecord, maxPerPrincipal: number): Promise<Created> {
    const { id, principal } = record
    const key = this.#keyOf(id)
    const [created] = await Promise.all([
      this.#caps.reserve(id, principal, this.#limits.max, maxPerPrincipal),
      this.#link.run(key, 'SET', key, JSON.stringify(record), 'PX', String(this.#limits.idle))
    ])
    if (created !== 'created') await this.#link.run(key, 'DEL', key)
    return created
  }

  async restore (record: SessionRecord): Promise<void> {
    const { id, principal } = record
    const key = this.#keyOf(id)
    const kept = await this.#link.run(key, 'SET', key, JSON.stringify(record), 'NX', 'PX', String(this.#limits.idle))
    if (kept !== null) await this.#caps.reserve(id, principal, Infinity, Infinity)
  }

  async get (id: string): Promise<SessionRecord | undefined> {
    const key = this.#keyOf(id)
    return read(await this.#link.run(key, 'GET', key))
  }

  async update (record: SessionRecord, change: Change): Promise<void> {
    const key = this.#keyOf(record.id)
    for (;;) {
      const before = await this.#link.run(key, 'GET', key)
      const after = read(before)
      // What is over keeps nothing.
      if (after === undefined) return change(record)
      change(after)
      if (await this.#link.script(REPLACE, key, String(before), JSON.stringify(after)) !== 1) continue
      Object.assign(record, after)
      return
    }
  }

  async touch ({ id, principal }: SessionRecord): Promise<void> {
    const key = this.#keyOf(id)
    await Promise.all([this.#link.run(key, 'PEXPIRE', key, String(this.#limits.idle)), this.#caps.extend(id, principal)])
  }

  async delete (id: string): Promise<boolean> {
    this.#onDelete(id)
    const key = this.#keyOf(id)
    const record = read(await this.#link.run(key, 'GETDEL', key))
    if (record === undefined) return false
    await this.#caps.release(id, record.principal)
    return true
  }
}

function read (json: unknown): SessionRecord | undefined {
  // What `create` and `update` wrote.
  return typeof json === 'string' ? JSON.parse(json) as SessionRecord : undefined
}
