import type { Room } from './stream.ts'

export interface MailboxOptions {
  /** The most characters of what may wait. */
  readonly budget: number
  readonly send: (json: string) => void
  readonly room: () => Room
  /** More would have to wait than may. */
  readonly onOverflow: () => void
}

/** Notifications of which only the newest of its key matters: a client that reads slowly gets one, not all, and never stops others. */
export class Mailbox {
  readonly #options: MailboxOptions
  readonly #pending = new Map<string, string>()
  #size = 0

  constructor (options: MailboxOptions) {
    this.#options = options
  }

  put (key: string, json: string): void {
    const { room: roomOf, send, budget, onOverflow } = this.#options
    const waits = this.#pending.size > 0
    const room = waits || roomOf()
    if (room === false) return
    if (room === true && !waits) return send(json)
    this.#size += json.length - (this.#pending.get(key)?.length ?? 0)
    this.#pending.set(key, json)
    if (this.#size > budget) {
      this.#clear()
      return onOverflow()
    }
    if (room instanceof Promise) room.then(() => this.#flush())
  }

  #flush (): void {
    for (const json of this.#clear()) this.#options.send(json)
  }

  #clear (): string[] {
    const jsons = [...this.#pending.values()]
    this.#pending.clear()
    this.#size = 0
    return jsons
  }
}
