import type { EventLog, LoggedEvent, Replay, StoreLimits } from './store.ts'
import { StreamLog } from './stream-log.ts'

// Trimmed answers are remembered by request id alone, so that their loss can still be told.
const LOST_ANSWERS = 1_000

/** Hears of what the log gives up. */
export interface LogWatcher {
  /** Events up to this number. */
  trimmed (session: string, stream: string, seq: number): void
  forgotten (session: string, stream: string): void
}

/** The streams of one session by their name, apart by how easily they are given up. */
class SessionLog {
  readonly #session: string
  readonly #watcher: LogWatcher | undefined
  /** Finished, and their clients had everything. In the order in which they finished. */
  readonly finished = new Map<string, StreamLog>()
  readonly running = new Map<string, StreamLog>()
  /** Finished while their clients were away. */
  readonly unread = new Map<string, StreamLog>()
  events = 0
  bytes = 0
  heldEvents = 0
  heldBytes = 0

  constructor (session: string, watcher: LogWatcher | undefined) {
    this.#session = session
    this.#watcher = watcher
  }

  get (name: string): StreamLog | undefined {
    return this.running.get(name) ?? this.finished.get(name) ?? this.unread.get(name)
  }

  names (): string[] {
    return [...this.finished.keys(), ...this.running.keys(), ...this.unread.keys()]
  }

  push (stream: StreamLog, event: LoggedEvent): void {
    stream.push(event)
    this.#count(stream, 1, event.frame.length)
  }

  #count (stream: StreamLog, events: number, bytes: number): void {
    this.events += events
    this.bytes += bytes
    if (stream.held) this.#countHeld(events, bytes)
  }

  #countHeld (events: number, bytes: number): void {
    this.heldEvents += events
    this.heldBytes += bytes
  }

  hold (stream: StreamLog, held: boolean): void {
    if (stream.held === held) return
    stream.held = held
    const sign = held ? 1 : -1
    this.#countHeld(sign * stream.length, sign * stream.size)
  }

  /** Gives up a running stream, which others go on with. */
  forget (name: string): void {
    const stream = this.running.get(name)
    if (stream === undefined) return
    this.#count(stream, -stream.length, -stream.size)
    this.running.delete(name)
  }

  forgetFirst (streams: Map<string, StreamLog>): boolean {
    const [first] = streams
    if (first === undefined) return false
    const [name, stream] = first
    this.#count(stream, -stream.length, -stream.size)
    this.#watcher?.forgotten(this.#session, name)
    return streams.delete(name)
  }

  /** Gives up the oldest event of the longest running stream whose client is there. */
  forgetEvent (): boolean {
    let longest: StreamLog | undefined
    let name = ''
    for (const [running, stream] of this.running) {
      if (!stream.held && stream.length > (longest?.length ?? 0)) [name, longest] = [running, stream]
    }
    if (longest === undefined) return false
    const event = longest.shift()
    this.#count(longest, -1, -event.size)
    longest.trimmed = event.seq
    this.#watcher?.trimmed(this.#session, name, event.seq)
    if (event.answers === undefined) return true
    longest.lost.push({ seq: event.seq, id: event.answers })
    const forgotten = longest.lost.length > LOST_ANSWERS ? longest.lost.shift() : undefined
    longest.untold = forgotten?.seq ?? longest.untold
    return true
  }

  sweep (now: number): boolean {
    for (const streams of [this.finished, this.unread]) {
      for (const { expires } of streams.values()) {
        // They expire in the order in which they finished.
        if (expires > now) break
        this.forgetFirst(streams)
      }
    }
    return this.finished.size + this.running.size + this.unread.size === 0
  }
}

/** The events of each session in the memory of this process. */
export class MemoryEvents implements EventLog {
  readonly #logs = new Map<string, SessionLog>()
  readonly #replay: StoreLimits['replay']
  readonly #watcher: LogWatcher | undefined

  constructor (replay: StoreLimits['replay'], watcher?: LogWatcher) {
    this.#replay = replay
    this.#watcher = watcher
  }

  #isOver ({ events, bytes }: SessionLog): boolean {
    return events > this.#replay.events || bytes > this.#replay.bytes
  }

  append (session: string, event: LoggedEvent): boolean {
    const { log, stream } = this.#open(session, event.stream)
    log.push(stream, event)
    while (this.#isOver(log)) {
      if (!log.forgetFirst(log.finished) && !log.forgetEvent() && !log.forgetFirst(log.unread)) break
    }
    return log.heldEvents < this.#replay.events && log.heldBytes < this.#replay.bytes
  }

  /** Goes on with a stream of which this much is left. `trimmed`: the number of the last event that is not. */
  restore (session: string, name: string, events: readonly LoggedEvent[], trimmed: number): void {
    const last = this.takeOver(session, name)
    const { stream } = this.#open(session, name)
    if (last === 0) stream.trimmed = stream.untold = trimmed
    for (const event of events) if (event.seq > last) this.append(session, event)
  }

  #open (session: string, name: string): { log: SessionLog, stream: StreamLog } {
    let log = this.#logs.get(session)
    if (log === undefined) this.#logs.set(session, log = new SessionLog(session, this.#watcher))
    let stream = log.running.get(name)
    if (stream === undefined) log.running.set(name, stream = new StreamLog())
    return { log, stream }
  }

  hold (session: string, name: string): void {
    const { log, stream } = this.#open(session, name)
    log.hold(stream, true)
  }

  release (session: string, name: string): void {
    const log = this.#logs.get(session)
    const stream = log?.get(name)
    if (log === undefined || stream === undefined) return
    log.hold(stream, false)
    if (log.unread.delete(name)) log.finished.set(name, stream)
  }

  finish (session: string, name: string): void {
    const log = this.#logs.get(session)
    const stream = log?.running.get(name)
    if (log === undefined || stream === undefined) return
    stream.expires = Date.now() + this.#replay.window
    log.running.delete(name)
    const streams = stream.held ? log.unread : log.finished
    streams.set(name, stream)
    // One result may be larger than the budget; several that nobody fetched may not.
    while (this.#isOver(log) && log.unread.size > 1) log.forgetFirst(log.unread)
  }

  after (session: string, name: string, seq: number): Replay | undefined {
    const stream = this.#logs.get(session)?.get(name)
    if (stream === undefined || stream.expires <= Date.now()) return undefined
    return {
      frames: [...stream].filter(event => event.seq > seq).map(event => event.frame),
      isComplete: seq >= stream.trimmed,
      lost: stream.lost.filter(answer => answer.seq > seq).map(answer => answer.id),
      isTold: seq >= stream.untold
    }
  }

  takeOver (session: string, name: string): number {
    return this.#logs.get(session)?.get(name)?.last ?? 0
  }

  /** What is kept of a stream, oldest first. */
  kept (session: string, name: string): readonly LoggedEvent[] {
    return [...this.#logs.get(session)?.get(name) ?? []]
  }

  leave (session: string, name: string): void {
    this.#logs.get(session)?.forget(name)
  }

  drop (session: string): void {
    for (const name of this.#logs.get(session)?.names() ?? []) this.#watcher?.forgotten(session, name)
    this.#logs.delete(session)
  }

  sweep (now: number): void {
    for (const [session, log] of this.#logs) {
      if (log.sweep(now)) this.#logs.delete(session)
    }
  }
}
