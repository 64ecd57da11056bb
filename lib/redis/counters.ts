import { createHash } from 'node:crypto'
import type { Count, Counters } from '../store/store.ts'
import { type Link, scriptOf } from './link.ts'

const HIT = scriptOf(`
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return { count, redis.call('PTTL', KEYS[1]) }`)

/** Counters that start anew with each window, for all nodes. */
export class RedisCounters implements Counters {
  readonly #link: Link
  readonly #prefix: string

  constructor (link: Link, prefix: string) {
    this.#link = link
    this.#prefix = prefix
  }

  async hit (name: string, window: number): Promise<Count> {
    const [count, left] = await this.#link.script(HIT, `${this.#prefix}:count:${createHash('sha256').update(name).digest('base64url')}`, String(window)) as [number, number]
    return { count, left }
  }
}
