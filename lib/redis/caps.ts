import { createHash } from 'node:crypto'
import { type Link, scriptOf } from './link.ts'

// A sorted set of what is held, by the time at which it ends. Redis' own clock, since those of nodes differ.
const NOW = "local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000)"

const RESERVE = scriptOf(`${NOW}
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return redis.call('ZCARD', KEYS[1])`)

const EXTEND = scriptOf(`${NOW}
redis.call('ZADD', KEYS[1], 'XX', now + ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1`)

const COUNT = scriptOf(`${NOW}
return redis.call('ZCOUNT', KEYS[1], now, '+inf')`)

/** How many of a kind are held by all nodes, in all and by each owner. */
export class Caps {
  readonly #link: Link
  readonly #prefix: string
  readonly #ttl: string
  #size = 0

  /** `ttl`: milliseconds for which something is held. */
  constructor (link: Link, prefix: string, ttl: number) {
    this.#link = link
    this.#prefix = prefix
    this.#ttl = String(ttl)
  }

  /** As it was last heard of. */
  get size (): number {
    return this.#size
  }

  /** A principal's name may be long, and is nobody's business in the store. */
  #keyOf (owner: string): string {
    return `${this.#prefix}:${createHash('sha256').update(owner).digest('base64url')}`
  }

  /** Counts one more, unless there are as many as may be. */
  async reserve (id: string, owner: string | null, max: number, maxPerOwner: number): Promise<'created' | 'full' | 'quota'> {
    const [total, own] = await Promise.all([
      this.#link.script(RESERVE, this.#prefix, this.#ttl, limitOf(max), id),
      owner === null ? 1 : this.#link.script(RESERVE, this.#keyOf(owner), this.#ttl, limitOf(maxPerOwner), id)
    ])
    if (total !== 0 && own !== 0) {
      this.#size = Number(total)
      return 'created'
    }
    await this.release(id, owner)
    return own === 0 ? 'quota' : 'full'
  }

  async extend (id: string, owner: string | null): Promise<void> {
    await Promise.all(this.#keys(owner).map(key => this.#link.script(EXTEND, key, this.#ttl, id)))
  }

  async release (id: string, owner: string | null): Promise<void> {
    await Promise.all([...this.#keys(owner).map(key => this.#link.run(key, 'ZREM', key, id)), this.count()])
  }

  async count (): Promise<void> {
    this.#size = Number(await this.#link.script(COUNT, this.#prefix))
  }

  #keys (owner: string | null): string[] {
    return owner === null ? [this.#prefix] : [this.#prefix, this.#keyOf(owner)]
  }
}

/** Redis reads `Infinity` as nothing. */
function limitOf (max: number): string {
  return max === Infinity ? 'inf' : String(max)
}
