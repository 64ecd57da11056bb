import type { EventLog, LoggedEvent, Replay, SessionRecord, Sessions, Store, StoreLimits } from './store.ts'

// Often enough that an expired entry costs little, rare enough that the sweep does.
const SWEEP_MS = 10_000
// Trimmed answers are remembered by request id alone, so that their loss can still be told.
const LOST_ANSWERS = 100

class StreamLog {
  events: LoggedEvent[] = []
  /** Number of the last trimmed event. */
  trimmed = 0
  lost: { seq: number, id: string | number }[] = []
  held = false
  /** Time after which a finished stream is forgotten, 0 while it runs. */
  expires = 0
}

class SessionLog {
  readonly streams = new Map<string, StreamLog>()
  events = 0
  bytes = 0
  heldEvents = 0
  heldBytes = 0
}

class MemoryEvents implements EventLog {
  readonly #logs = new Map<string, SessionLog>()
  readonly #replay: StoreLimits['replay']

  constructor (replay: StoreLimits['replay']) {
    this.#replay = replay
  }

  append (session: string, event: LoggedEvent): boolean {
    const { log, stream } = this.#find(session, event.stream)
    stream.events.push(event)
    this.#count(log, stream, event, 1)
    while (log.events > this.#replay.events || log.bytes > this.#replay.bytes) {
      if (!this.#trim(log)) break
    }
    return log.heldEvents < this.#replay.events && log.heldBytes < this.#replay.bytes
  }

  #find (session: string, name: string): { log: SessionLog, stream: StreamLog } {
    let log = this.#logs.get(session)
    if (log === undefined) this.#logs.set(session, log = new SessionLog())
    let stream = log.streams.get(name)
    if (stream === undefined) log.streams.set(name, stream = new StreamLog())
    return { log, stream }
  }

  #count (log: SessionLog, stream: StreamLog, event: LoggedEvent, sign: 1 | -1): void {
    const bytes = sign * event.frame.length
    log.events += sign
    log.bytes += bytes
    if (stream.held) {
      log.heldEvents += sign
      log.heldBytes += bytes
    }
  }

  /**
   * Frees something: the oldest finished stream, else the oldest event of the longest running one, else the oldest
   * finished stream whose client is still away. A running stream whose client is away loses nothing.
   */
  #trim (log: SessionLog): boolean {
    let longest: StreamLog | undefined
    let unread: [name: string, stream: StreamLog] | undefined
    for (const [name, stream] of log.streams) {
      if (stream.expires !== 0) {
        if (!stream.held) return this.#forget(log, name, stream)
        unread ??= [name, stream]
      } else if (!stream.held && stream.events.length > (longest?.events.length ?? 0)) {
        longest = stream
      }
    }
    const event = longest?.events.shift()
    if (longest === undefined || event === undefined) return unread !== undefined && this.#forget(log, ...unread)
    this.#count(log, longest, event, -1)
    longest.trimmed = event.seq
    if (event.answers !== undefined) {
      longest.lost.push({ seq: event.seq, id: event.answers })
      if (longest.lost.length > LOST_ANSWERS) longest.lost.shift()
    }
    return true
  }

  #forget (log: SessionLog, name: string, stream: StreamLog): true {
    for (const event of stream.events) this.#count(log, stream, event, -1)
    log.streams.delete(name)
    return true
  }

  hold (session: string, name: string): void {
    this.#setHeld(session, name, true)
  }

  release (session: string, name: string): void {
    this.#setHeld(session, name, false)
  }

  #setHeld (session: string, name: string, held: boolean): void {
    const { log, stream } = this.#find(session, name)
    if (stream.held === held) return
    const sign = held ? 1 : -1
    stream.held = held
    log.heldEvents += sign * stream.events.length
    for (const event of stream.events) log.heldBytes += sign * event.frame.length
  }

  finish (session: string, name: string): void {
    const stream = this.#logs.get(session)?.streams.get(name)
    if (stream !== undefined) stream.expires = Date.now() + this.#replay.window
  }

  after (session: string, name: string, seq: number): Replay | undefined {
    const stream = this.#logs.get(session)?.streams.get(name)
    if (stream === undefined || (stream.expires !== 0 && stream.expires <= Date.now())) return undefined
    return {
      frames: stream.events.filter(event => event.seq > seq).map(event => event.frame),
      complete: seq >= stream.trimmed,
      lost: stream.lost.filter(answer => answer.seq > seq).map(answer => answer.id)
    }
  }

  drop (session: string): void {
    this.#logs.delete(session)
  }

  sweep (now: number): void {
    for (const [session, log] of this.#logs) {
      for (const [name, stream] of log.streams) {
        if (stream.expires !== 0 && stream.expires <= now) this.#forget(log, name, stream)
      }
      if (log.streams.size === 0) this.#logs.delete(session)
    }
  }
}

class MemorySessions implements Sessions {
  readonly #sessions = new Map<string, { record: SessionRecord, expires: number }>()
  readonly #limits: StoreLimits
  readonly #dropEvents: (id: string) => void

  constructor (limits: StoreLimits, dropEvents: (id: string) => void) {
    this.#limits = limits
    this.#dropEvents = dropEvents
  }

  get size (): number {
    return this.#sessions.size
  }

  create (record: SessionRecord): boolean {
    if (this.size >= this.#limits.max) this.sweep(Date.now())
    if (this.size >= this.#limits.max) return false
    this.#sessions.set(record.id, { record, expires: Date.now() + this.#limits.idle })
    return true
  }

  get (id: string): SessionRecord | undefined {
    const entry = this.#sessions.get(id)
    if (entry === undefined) return undefined
    if (entry.expires > Date.now()) return entry.record
    this.delete(id)
  }

  // The caller holds the very record that is kept here.
  update (): void {}

  touch (id: string): void {
    const entry = this.#sessions.get(id)
    if (entry !== undefined) entry.expires = Date.now() + this.#limits.idle
  }

  delete (id: string): boolean {
    this.#dropEvents(id)
    return this.#sessions.delete(id)
  }

  sweep (now: number): void {
    for (const [id, { expires }] of this.#sessions) {
      if (expires <= now) this.delete(id)
    }
  }
}

/** The embedded default: sessions and events in the memory of this process, bounded in count, bytes and time. */
export function memoryStore (): Store {
  return {
    open (limits) {
      const events = new MemoryEvents(limits.replay)
      const sessions = new MemorySessions(limits, id => events.drop(id))
      const timer = setInterval(() => {
        const now = Date.now()
        sessions.sweep(now)
        events.sweep(now)
      }, SWEEP_MS).unref()
      return { sessions, events, close: () => clearInterval(timer) }
    }
  }
}
