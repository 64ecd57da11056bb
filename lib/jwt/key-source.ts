import { createLocalJWKSet, errors } from 'jose'
import type { CryptoKey, FlattenedJWSInput, JSONWebKeySet, JWSHeaderParameters, LocalJWKSet } from 'jose'
import { isTrusted, readJson, unavailable } from '../identity/remote.ts'

export interface KeySourceOptions {
  /** Milliseconds between two fetches, whatever asks for them. */
  readonly cooldown: number
  /** Milliseconds after which the keys are fetched anew. */
  readonly cacheMaxAge: number
  /** Milliseconds beyond that in which they stay in use while they cannot be fetched. */
  readonly maxStale: number
  /** Milliseconds for a fetch, discovery included. */
  readonly timeout: number
}

/** Where the keys are, asked before each fetch. */
export type Locate = (signal: AbortSignal) => Promise<string>

// What a 503 tells clients to wait.
const RETRY_MS = 5_000

/** The keys of an issuer: fetched when first needed, kept through outages for `maxStale`, fetched anew for an unknown key once per `cooldown`. */
export class KeySource {
  readonly #locate: Locate
  readonly #options: KeySourceOptions
  #keys: LocalJWKSet | undefined
  #fetchedAt = -Infinity
  #triedAt = -Infinity
  /** Why the last fetch failed, if it did. */
  #failure: unknown
  #pending: Promise<void> | undefined

  constructor (locate: Locate, options: KeySourceOptions) {
    this.#locate = locate
    this.#options = options
  }

  /** The key that a token names. Throws FST_MCP_AUTH_UNAVAILABLE when nobody can tell, an error of jose when there is none. */
  async find (header: JWSHeaderParameters, token: FlattenedJWSInput): Promise<CryptoKey> {
    if (this.#isOlderThan(this.#options.cacheMaxAge)) {
      const refreshed = this.#refresh()
      // During an outage nobody waits for a time-out as long as there are keys.
      if (this.#known === undefined || this.#failure === undefined) await refreshed
    }
    const found = await this.#look(header, token)
    if (found !== undefined) return found
    await this.#refresh()
    const rotated = await this.#look(header, token)
    if (rotated !== undefined) return rotated
    // The issuer may have a new key that could not be fetched.
    if (this.#failure !== undefined) throw unavailable(this.#failure)
    throw new errors.JWKSNoMatchingKey()
  }

  #isOlderThan (ms: number): boolean {
    return performance.now() - this.#fetchedAt >= ms
  }

  /** The keys, unless they are so old that nobody could know whether one was withdrawn. */
  get #known (): LocalJWKSet | undefined {
    const { cacheMaxAge, maxStale } = this.#options
    return this.#failure !== undefined && this.#isOlderThan(cacheMaxAge + maxStale) ? undefined : this.#keys
  }

  async #look (header: JWSHeaderParameters, token: FlattenedJWSInput): Promise<CryptoKey | undefined> {
    const keys = this.#known
    if (keys === undefined) throw unavailable(this.#failure)
    try {
      return await keys(header, token)
    } catch (error) {
      if (error instanceof errors.JWKSNoMatchingKey) return undefined
      throw error
    }
  }

  /** One fetch at a time, and none while the last one is recent. Never rejects. */
  #refresh (): Promise<void> {
    const { cooldown } = this.#options
    const pause = this.#failure === undefined ? cooldown : Math.min(cooldown, RETRY_MS)
    if (this.#pending === undefined && performance.now() - this.#triedAt >= pause) {
      this.#pending = this.#fetch().finally(() => {
        this.#triedAt = performance.now()
        this.#pending = undefined
      })
    }
    return this.#pending ?? Promise.resolve()
  }

  async #fetch (): Promise<void> {
    const signal = AbortSignal.timeout(this.#options.timeout)
    try {
      const url = await this.#locate(signal)
      // createLocalJWKSet says no to what is none.
      this.#keys = createLocalJWKSet(await readJson(url, { signal }) as JSONWebKeySet)
      this.#fetchedAt = performance.now()
      this.#failure = undefined
    } catch (error) {
      this.#failure = error
    }
  }
}

/** Finds the keys of an issuer by its metadata (RFC 8414, section 3; OpenID Connect Discovery, section 4). */
export function discover (issuer: string): Locate {
  const urls = metadataUrls(new URL(issuer))
  return async signal => {
    let failure: unknown
    for (const url of urls) {
      try {
        return keysIn(await readJson(url, { signal }), issuer, url)
      } catch (error) {
        failure = error
      }
    }
    throw failure
  }
}

function metadataUrls ({ origin, pathname }: URL): string[] {
  const path = pathname.replace(/\/$/, '')
  const urls = [`/.well-known/oauth-authorization-server${path}`, `/.well-known/openid-configuration${path}`, `${path}/.well-known/openid-configuration`]
  return [...new Set(urls)].map(url => origin + url)
}

function keysIn (metadata: unknown, expected: string, url: string): string {
  const { issuer, jwks_uri: keys } = Object(metadata)
  // RFC 8414, section 3.3: else one issuer could speak for another.
  if (issuer !== expected) throw new TypeError(`${url} is the metadata of another issuer`)
  // What came over TLS does not lead to whoever listens on this machine.
  const isDowngrade = typeof keys === 'string' && url.startsWith('https:') && !/^https:/i.test(keys)
  if (typeof keys !== 'string' || !isTrusted(keys) || isDowngrade) throw new TypeError(`${url} names no \`jwks_uri\` on https`)
  return keys
}
