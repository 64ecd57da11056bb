import type { FastifyBaseLogger } from 'fastify'
import type { Listeners } from '../eras/listen.ts'
import type { SessionHost } from '../eras/session-host.ts'
import { errorCodes } from '../errors.ts'
import type { CallsInProgress } from '../protocol/in-progress.ts'
import { atMost } from './at-most.ts'

export interface Drainable {
  readonly calls: CallsInProgress
  /** Null in stateless mode. */
  readonly sessions: SessionHost | null
  readonly listeners: Listeners
}

// Other nodes are told, unless the store hangs.
const HAND_OVER_MS = 250

/** Lets a server come to rest while it still serves: no new sessions, calls in progress to their end, and then no streams. */
export class Drain {
  readonly #drainable: Drainable
  readonly #timeout: number
  readonly #log: FastifyBaseLogger
  #done: Promise<void> | undefined

  /** `timeout`: milliseconds that calls in progress have. */
  constructor (drainable: Drainable, timeout: number, log: FastifyBaseLogger) {
    this.#drainable = drainable
    this.#log = log
    this.#timeout = timeout
  }

  get isDraining (): boolean {
    return this.#done !== undefined
  }

  /** Begins it once, and resolves when it is done. `most`: milliseconds that calls have at the most. */
  run (most = Infinity): Promise<void> {
    this.#done ??= this.#run(Math.min(most, this.#timeout))
    return this.#done
  }

  async #run (timeout: number): Promise<void> {
    const { calls, sessions, listeners } = this.#drainable
    if (sessions !== null) sessions.isLeaving = true
    this.#log.info({ calls: calls.size }, 'draining')
    await calls.idle(timeout)
    this.#log.info({ aborted: calls.size }, 'drained')
    calls.abort(new errorCodes.FST_MCP_CLOSING())
    // An aborted call answers within this turn.
    await new Promise(resolve => setImmediate(resolve))
    listeners.close()
    if (sessions !== null) await atMost(HAND_OVER_MS, sessions.handOver())
  }
}
