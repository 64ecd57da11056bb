import { type LogWatcher, SessionLog } from './session-log.ts'
import type { EventLog, LoggedEvent, Replay, StoreLimits } from './store.ts'

/** The events of each session in the memory of this process. */
export class MemoryEvents implements EventLog {
  readonly #logs = new Map<string, SessionLog>()
  readonly #replay: StoreLimits['replay']
  readonly #watcher: LogWatcher | undefined

  constructor (replay: StoreLimits['replay'], watcher?: LogWatcher) {
    this.#replay = replay
    this.#watcher = watcher
  }

  #isOver ({ events, size }: SessionLog): boolean {
    return events > this.#replay.events || size > this.#replay.bytes
  }

  append (session: string, event: LoggedEvent): boolean {
    const log = this.#open(session)
    log.push(event)
    while (this.#isOver(log)) {
      if (!log.forgetFinished() && !log.forgetEvent() && !log.forgetUnread()) break
    }
    return log.heldEvents < this.#replay.events && log.heldSize < this.#replay.bytes
  }

  /** Goes on with a stream of which this much is left. `trimmed`: the number of the last event that is not. */
  restore (session: string, name: string, events: readonly LoggedEvent[], trimmed: number): void {
    const last = this.takeOver(session, name)
    this.#open(session).open(name, trimmed)
    for (const event of events) if (event.seq > last) this.append(session, event)
  }

  #open (session: string): SessionLog {
    let log = this.#logs.get(session)
    if (log === undefined) this.#logs.set(session, log = new SessionLog(session, this.#watcher))
    return log
  }

  hold (session: string, name: string): void {
    const log = this.#open(session)
    log.hold(log.open(name), true)
  }

  release (session: string, name: string): void {
    this.#logs.get(session)?.release(name)
  }

  finish (session: string, name: string): void {
    const log = this.#logs.get(session)
    if (log === undefined) return
    log.finish(name, Date.now() + this.#replay.window)
    // One result may be larger than the budget; several that nobody fetched may not.
    while (this.#isOver(log) && log.unreadCount > 1) log.forgetUnread()
  }

  after (session: string, name: string, seq: number): Replay | undefined {
    const stream = this.#logs.get(session)?.get(name)
    if (stream === undefined || stream.expires <= Date.now()) return undefined
    return {
      frames: stream.framesAfter(seq),
      isComplete: seq >= stream.trimmed,
      lost: stream.lostAfter(seq),
      isTold: seq >= stream.untold
    }
  }

  takeOver (session: string, name: string): number {
    return this.#logs.get(session)?.get(name)?.last ?? 0
  }

  /** What is kept of a stream, oldest first. */
  kept (session: string, name: string): readonly LoggedEvent[] {
    return this.#logs.get(session)?.get(name)?.events(name) ?? []
  }

  leave (session: string, name: string): void {
    this.#logs.get(session)?.forget(name)
  }

  drop (session: string): void {
    if (this.#watcher !== undefined) for (const name of this.#logs.get(session)?.names() ?? []) this.#watcher.forgotten(session, name)
    this.#logs.delete(session)
  }

  sweep (now: number): void {
    for (const [session, log] of this.#logs) {
      if (log.sweep(now)) this.#logs.delete(session)
    }
  }
}
