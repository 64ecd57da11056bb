import { createHash } from 'node:crypto'
import { channels } from '../channels.ts'
import { errorCodes } from '../errors.ts'
import type { Driver } from './driver.ts'

interface Pending {
  /** Sweeps that it has waited for. */
  sweeps: number
  fail (error: Error): void
}

/** A program for Redis to run in one step. */
export interface Script {
  readonly text: string
  readonly sha: string
}

export function scriptOf (text: string): Script {
  return { text, sha: createHash('sha1').update(text).digest('hex') }
}

const NO_SCRIPT = 'NOSCRIPT'
const SWEEPS = 4
// Far more than a node has on its way while Redis answers.
const MAX_PENDING = 20_000

/**
 * Commands to Redis, each of which is answered or refused in time: a client that has lost its connection may queue for as long
 * as it likes, and a Redis that hangs answers nothing. Once one command was not answered, all are refused until Redis is heard of again.
 */
export class Link {
  readonly #driver: Driver
  readonly #pending = new Set<Pending>()
  readonly #timer: NodeJS.Timeout
  #hangs = false

  /** `timeout`: milliseconds that Redis has for an answer. */
  constructor (driver: Driver, timeout: number) {
    this.#driver = driver
    this.#timer = setInterval(() => this.#sweep(), timeout / SWEEPS).unref()
  }

  /** Why nothing can be asked, or null. */
  get problem (): string | null {
    if (!this.#driver.isReady) return 'Redis is not connected'
    if (this.#hangs) return 'Redis does not answer'
    return this.#pending.size >= MAX_PENDING ? 'too many commands wait for Redis' : null
  }

  /** Rejects with FST_MCP_STORE_UNAVAILABLE. */
  run (key: string, ...args: string[]): Promise<unknown> {
    const { problem } = this
    return problem === null ? this.#send(key, args) : Promise.reject(new errorCodes.FST_MCP_STORE_UNAVAILABLE(problem))
  }

  /** Asks even where nothing was answered lately, and goes on when this is. */
  async probe (key: string, ...args: string[]): Promise<unknown> {
    if (!this.#driver.isReady) throw new errorCodes.FST_MCP_STORE_UNAVAILABLE('Redis is not connected')
    const answer = await this.#send(key, args)
    this.#hangs = false
    return answer
  }

  /** Runs a script with one key. */
  async script ({ text, sha }: Script, key: string, ...args: string[]): Promise<unknown> {
    try {
      return await this.run(key, 'EVALSHA', sha, '1', key, ...args)
    } catch (error) {
      if (!(error instanceof Error) || !error.message.endsWith(NO_SCRIPT)) throw error
      return this.run(key, 'EVAL', text, '1', key, ...args)
    }
  }

  #send (key: string, args: string[]): Promise<unknown> {
    return channels.store.hasSubscribers ? timed(args, this.#ask(key, args)) : this.#ask(key, args)
  }

  #ask (key: string, args: string[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const pending: Pending = { sweeps: 0, fail: reject }
      this.#pending.add(pending)
      this.#driver.run(key, args).then(
        answer => {
          this.#pending.delete(pending)
          resolve(answer)
        },
        error => {
          this.#pending.delete(pending)
          // Clients put the command into their errors, and with it session ids.
          const [reason = ''] = /^[A-Z]+\b/.exec(String(Object(error).message)) ?? []
          reject(new errorCodes.FST_MCP_STORE_UNAVAILABLE(`a command failed ${reason}`.trimEnd()))
        }
      )
    })
  }

  #sweep (): void {
    for (const pending of this.#pending) {
      if (++pending.sweeps <= SWEEPS) continue
      this.#hangs = true
      this.#pending.delete(pending)
      pending.fail(new errorCodes.FST_MCP_STORE_UNAVAILABLE('Redis does not answer'))
    }
  }

  close (): void {
    clearInterval(this.#timer)
  }
}

function timed ([command = '']: string[], answer: Promise<unknown>): Promise<unknown> {
  const startedAt = performance.now()
  const tell = (failed: boolean): void => channels.store.publish({ command, duration: performance.now() - startedAt, failed })
  answer.then(() => tell(false), () => tell(true))
  return answer
}
