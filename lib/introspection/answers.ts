import type { Claims } from '../identity/claims.ts'
import { unavailable } from '../identity/remote.ts'

interface Answered {
  readonly claims: Claims | null
  readonly until: number
}

// More questions at once than this are no load of a server that is well.
const MAX_PENDING = 256

/** What was answered for each token, by its hash: bounded in number and time, and one question at a time for each. */
export class Answers {
  readonly #ask: (token: string) => Promise<Claims | null>
  readonly #untilOf: (claims: Claims | null, now: number) => number
  readonly #max: number
  readonly #active = new Map<string, Answered>()
  // Apart from the others, so that a flood of wrong tokens pushes none of them out.
  readonly #refused = new Map<string, Answered>()
  readonly #pending = new Map<string, Promise<Claims | null>>()

  constructor (ask: (token: string) => Promise<Claims | null>, untilOf: (claims: Claims | null, now: number) => number, max: number) {
    this.#ask = ask
    this.#untilOf = untilOf
    this.#max = max
  }

  /** Throws FST_MCP_AUTH_UNAVAILABLE. */
  async of (hash: string, token: string): Promise<Claims | null> {
    const known = this.#active.get(hash) ?? this.#refused.get(hash)
    if (known !== undefined && known.until > Date.now()) return known.claims
    const pending = this.#pending.get(hash)
    if (pending !== undefined) return pending
    if (this.#pending.size >= MAX_PENDING) throw unavailable(new TypeError(`${MAX_PENDING} tokens are being asked for already`))
    const asked = this.#ask(token).then(claims => this.#keep(hash, claims)).finally(() => this.#pending.delete(hash))
    this.#pending.set(hash, asked)
    return asked
  }

  #keep (hash: string, claims: Claims | null): Claims | null {
    const now = Date.now()
    const until = this.#untilOf(claims, now)
    this.#active.delete(hash)
    this.#refused.delete(hash)
    if (until <= now) return claims
    const kept = claims === null ? this.#refused : this.#active
    const [oldest = ''] = kept.keys()
    if (kept.size >= this.#max) kept.delete(oldest)
    kept.set(hash, { claims, until })
    return claims
  }
}
