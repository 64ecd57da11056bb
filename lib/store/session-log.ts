import { FinishedStreams } from './finished-streams.ts'
import type { LoggedEvent } from './store.ts'
import { StreamLog } from './stream-log.ts'

/** Hears of what the log gives up. */
export interface LogWatcher {
  /** Events up to this number. */
  trimmed (session: string, stream: string, seq: number): void
  forgotten (session: string, stream: string): void
}

/** The streams of one session by their name, apart by how easily they are given up. */
export class SessionLog {
  readonly #session: string
  readonly #watcher: LogWatcher | undefined
  readonly #running = new Map<string, StreamLog>()
  /** Finished, and their clients had everything. */
  readonly #finished = new FinishedStreams()
  /** Finished while their clients were away, in that order. */
  readonly #unread = new Map<string, StreamLog>()
  /** Of events, and of the characters of their frames; of all, and of the streams that are held. */
  events = 0
  size = 0
  heldEvents = 0
  heldSize = 0

  constructor (session: string, watcher: LogWatcher | undefined) {
    this.#session = session
    this.#watcher = watcher
  }

  get (name: string): StreamLog | undefined {
    return this.#running.get(name) ?? this.#unread.get(name) ?? this.#finished.get(name)
  }

  /** A stream that gets events; a new one unless it is running. `trimmed`: events of the new one that are not there any more. */
  open (name: string, trimmed = 0): StreamLog {
    let stream = this.#running.get(name)
    if (stream === undefined) this.#running.set(name, stream = new StreamLog(trimmed))
    return stream
  }

  push (event: LoggedEvent): void {
    const { stream: name, seq, frame } = event
    const before = seq - 1
    const known = this.open(name, before)
    const stream = known.last === before ? known : this.#startAnew(name, known, before)
    stream.push(event)
    this.#count(stream, 1, frame.length)
  }

  /** After a gap in its numbers, since nothing can be told of what is missing. */
  #startAnew (name: string, { held }: StreamLog, trimmed: number): StreamLog {
    this.forget(name)
    this.#watcher?.trimmed(this.#session, name, trimmed)
    const stream = this.open(name, trimmed)
    stream.held = held
    return stream
  }

  #count ({ held }: StreamLog, events: number, size: number): void {
    this.events += events
    this.size += size
    if (held) this.#countHeld(events, size)
  }

  #countHeld (events: number, size: number): void {
    this.heldEvents += events
    this.heldSize += size
  }

  hold (stream: StreamLog, held: boolean): void {
    if (stream.held === held) return
    stream.held = held
    const sign = held ? 1 : -1
    this.#countHeld(sign * stream.length, sign * stream.size)
  }

  /** The client of a stream is back: of a finished one, it has everything. */
  release (name: string): void {
    const running = this.#running.get(name)
    if (running !== undefined) return this.hold(running, false)
    const unread = this.#unread.get(name)
    if (unread === undefined) return
    this.hold(unread, false)
    this.#unread.delete(name)
    this.#finished.add(name, unread)
  }

  /** `expires`: time after which it is forgotten. */
  finish (name: string, expires: number): void {
    const stream = this.#running.get(name)
    if (stream === undefined) return
    stream.expires = expires
    this.#running.delete(name)
    if (stream.held) this.#unread.set(name, stream)
    else this.#finished.add(name, stream)
  }

  /** Gives up a running stream, which others go on with. */
  forget (name: string): void {
    const stream = this.#running.get(name)
    if (stream === undefined) return
    this.#count(stream, -stream.length, -stream.size)
    this.#running.delete(name)
  }

  /** Gives up the stream that finished first, of those whose clients had everything. */
  forgetFinished (): boolean {
    const name = this.#watcher === undefined ? undefined : this.#finished.first?.name
    const given = this.#finished.shift()
    if (given === undefined) return false
    this.events -= given.events
    this.size -= given.size
    if (name !== undefined) this.#watcher?.forgotten(this.#session, name)
    return true
  }

  get unreadCount (): number {
    return this.#unread.size
  }

  /** The same of those whose clients are away. */
  forgetUnread (): boolean {
    const [first] = this.#unread
    if (first === undefined) return false
    const [name, stream] = first
    this.#count(stream, -stream.length, -stream.size)
    this.#watcher?.forgotten(this.#session, name)
    return this.#unread.delete(name)
  }

  /** Gives up the oldest event of the longest running stream whose client is there. */
  forgetEvent (): boolean {
    let longest: StreamLog | undefined
    let name = ''
    for (const [running, stream] of this.#running) {
      if (stream.held || stream.length <= (longest?.length ?? 0)) continue
      name = running
      longest = stream
    }
    if (longest === undefined) return false
    this.#count(longest, -1, -longest.shift())
    this.#watcher?.trimmed(this.#session, name, longest.trimmed)
    return true
  }

  /** Forgets what has expired. True when nothing is left. */
  sweep (now: number): boolean {
    // They expire in the order in which they finished.
    while ((this.#finished.first?.expires ?? Infinity) <= now) this.forgetFinished()
    for (const { expires } of this.#unread.values()) {
      if (expires > now) break
      this.forgetUnread()
    }
    return this.#finished.isEmpty && this.#running.size + this.#unread.size === 0
  }

  names (): string[] {
    return [...this.#finished.names(), ...this.#running.keys(), ...this.#unread.keys()]
  }
}
