import { Tally } from '../sse/tally.ts'
import type { Call } from './call.ts'
import { ownerOf } from './owner.ts'

/** All calls of one server that are not answered yet. */
export class CallsInProgress {
  readonly #calls = new Set<Call>()
  /** The calls of each principal, and what waits to become one. */
  readonly owners = new Tally()
  #onIdle = (): void => {}
  #abandoned = 0

  get size (): number {
    return this.#calls.size
  }

  /** Tools that ignored the end of their call. */
  get abandoned (): number {
    return this.#abandoned
  }

  add (call: Call, done: Promise<void>): void {
    const owner = ownerOf(call.principal)
    this.#calls.add(call)
    this.owners.add(owner)
    done.then(() => {
      this.#calls.delete(call)
      this.owners.remove(owner)
      if (this.size === 0) this.#onIdle()
    })
  }

  /** Resolves when none is left, or after `ms`. */
  async idle (ms: number): Promise<void> {
    if (this.size === 0 || ms === 0) return
    await new Promise<void>(resolve => {
      const timer = setTimeout(resolve, ms).unref()
      this.#onIdle = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  abandon (call: Call): void {
    this.#abandoned++
    call.request.log.warn({ tool: call.params.name, err: call.reason }, 'tool abandoned: it ignored ctx.signal after its call had ended')
  }

  abort (reason: Error): void {
    for (const call of this.#calls) call.abort(reason)
  }
}
