import { MemoryEvents } from '../store/memory-events.ts'
import type { LogWatcher } from '../store/session-log.ts'
import type { EventLog, LoggedEvent, Replay, StoreLimits } from '../store/store.ts'
import type { Link } from './link.ts'

/** What Redis is yet to be told of one stream. */
interface Unsent {
  readonly session: string
  readonly stream: string
  readonly key: string
  adds: LoggedEvent[]
  /** Events up to this number are given up. */
  trim: number
  /** The number of its last event once it is over, 0 before. */
  end: number
  isForgotten: boolean
}

interface Logged {
  events: LoggedEvent[]
  isOver: boolean
  /** Number of the last event that is not there any more. */
  trimmed: number
  /** Number of the last event. */
  last: number
}

// Characters that may be on their way to Redis. What is more is brought up when Redis has caught up.
const MAX_IN_FLIGHT = 8_388_608
// A node that is killed between two commands leaves nothing that stays for ever.
const BEGIN = `redis.call('XADD', KEYS[1], unpack(ARGV, 2))
return redis.call('PEXPIRE', KEYS[1], ARGV[1])`

/**
 * The events of the streams that this node writes, in its memory and, a turn of the event loop later, in Redis, where another
 * node finds them when this one is gone. Nothing that is written waits for Redis; what Redis missed it is told when it is back.
 */
export class EventMirror implements EventLog, LogWatcher {
  readonly #link: Link
  readonly #prefix: string
  readonly #replay: StoreLimits['replay']
  readonly #ttl: string
  readonly #local: MemoryEvents
  readonly #unsent = new Map<string, Unsent>()
  /** Streams of which Redis has missed something. */
  readonly #behind = new Map<string, Unsent>()
  #inFlight = 0
  #isFlushing = false

  constructor (link: Link, prefix: string, { replay, idle }: StoreLimits) {
    this.#link = link
    this.#prefix = prefix
    this.#replay = replay
    this.#ttl = String(Math.max(replay.window, idle))
    this.#local = new MemoryEvents(replay, this)
  }

  append (session: string, event: LoggedEvent): boolean {
    const hasRoom = this.#local.append(session, event)
    this.#change(session, event.stream).adds.push(event)
    return hasRoom
  }

  hold (session: string, stream: string): void {
    this.#local.hold(session, stream)
  }

  release (session: string, stream: string): void {
    this.#local.release(session, stream)
  }

  finish (session: string, stream: string): void {
    const last = this.#local.takeOver(session, stream)
    this.#local.finish(session, stream)
    // A stream of which nothing was ever sent is in nobody's memory.
    if (last > 0) this.#change(session, stream).end = last
  }

  trimmed (session: string, stream: string, seq: number): void {
    this.#change(session, stream).trim = seq
  }

  forgotten (session: string, stream: string): void {
    this.#change(session, stream).isForgotten = true
  }

  leave (session: string, stream: string): void {
    this.flush()
    this.#behind.delete(this.#keyOf(session, stream))
    this.#local.leave(session, stream)
  }

  drop (session: string): void {
    this.#local.drop(session)
  }

  sweep (now: number): void {
    this.#local.sweep(now)
  }

  async after (session: string, stream: string, seq: number): Promise<Replay | undefined> {
    const known = this.#local.after(session, stream, seq)
    if (known !== undefined) return known
    const { events, isOver, trimmed, last } = await this.#read(session, stream)
    if (events.length === 0 && !isOver) return undefined
    const isComplete = seq >= trimmed
    return {
      frames: events.filter(event => event.seq > seq).map(({ frame }) => frame),
      isComplete,
      lost: [],
      isTold: isComplete,
      ...(!isOver && { broken: { last, answered: events.flatMap(({ answers = [] }) => answers) } })
    }
  }

  async takeOver (session: string, stream: string): Promise<number> {
    const { events, trimmed } = await this.#read(session, stream)
    this.#local.restore(session, stream, events, trimmed)
    return this.#local.takeOver(session, stream)
  }

  #keyOf (session: string, stream: string): string {
    return `${this.#prefix}:events:{${session}}:${stream}`
  }

  async #read (session: string, stream: string): Promise<Logged> {
    const key = this.#keyOf(session, stream)
    // What has changed here goes first.
    this.flush()
    // [id, [field, value, …]] of each entry.
    const entries = await this.#link.run(key, 'XRANGE', key, '-', '+') as [string, string[]][]
    const events = entries.flatMap(([id, [, frame = '', , answers]]) => id.endsWith('-0')
      ? [{ stream, seq: Number.parseInt(id, 10), frame, ...(answers !== undefined && { answers: JSON.parse(answers) as string | number }) }]
      : [])
    const [oldest = '1-0'] = entries[0] ?? []
    const [newest = '0-0'] = entries.at(-1) ?? []
    return {
      events,
      isOver: newest.endsWith('-1'),
      // A mark alone says that its number was trimmed.
      trimmed: Number.parseInt(oldest, 10) - (oldest.endsWith('-0') ? 1 : 0),
      last: Number.parseInt(newest, 10)
    }
  }

  #change (session: string, stream: string): Unsent {
    const key = this.#keyOf(session, stream)
    let unsent = this.#unsent.get(key)
    if (unsent === undefined) {
      this.#unsent.set(key, unsent = { session, stream, key, adds: [], trim: 0, end: 0, isForgotten: false })
      if (!this.#isFlushing) {
        this.#isFlushing = true
        setImmediate(() => this.flush())
      }
    }
    return unsent
  }

  /** Tells Redis what has changed since the last turn. */
  flush (): void {
    this.#isFlushing = false
    for (const unsent of this.#unsent.values()) {
      if (unsent.isForgotten) this.#forget(unsent)
      else if (this.#behind.has(unsent.key) || this.#link.problem !== null || this.#inFlight > MAX_IN_FLIGHT) this.#fallBehind(unsent)
      else this.#send(unsent, this.#commands(unsent, unsent.adds[0]?.seq === 1))
    }
    this.#unsent.clear()
  }

  #forget ({ key }: Unsent): void {
    this.#behind.delete(key)
    // It expires when Redis does not hear of it.
    this.#link.run(key, 'PEXPIRE', key, '0').catch(() => {})
  }

  #fallBehind (unsent: Unsent): void {
    const end = Math.max(unsent.end, this.#behind.get(unsent.key)?.end ?? 0)
    this.#behind.set(unsent.key, { ...unsent, adds: [], end })
  }

  /** `isNew`: there is nothing of the stream in Redis yet. */
  #commands ({ key, adds, trim, end }: Unsent, isNew: boolean): string[][] {
    const fields = adds.filter(({ seq }) => seq > trim).map(({ seq, frame, answers }) =>
      [`${seq}-0`, 'frame', frame, ...(answers === undefined ? [] : ['answers', JSON.stringify(answers)])])
    return [
      ...fields.map((event, index) => isNew && index === 0 ? ['EVAL', BEGIN, '1', key, this.#ttl, ...event] : ['XADD', key, ...event]),
      ...(trim > 0 ? [['XTRIM', key, 'MINID', `${trim + 1}-0`]] : []),
      ...(end > 0 ? [['XADD', key, `${end}-1`, 'over', '1']] : []),
      ['PEXPIRE', key, end > 0 ? String(this.#replay.window) : this.#ttl]
    ]
  }

  #send (unsent: Unsent, commands: string[][]): void {
    const size = unsent.adds.reduce((sum, { frame }) => sum + frame.length, 0)
    this.#inFlight += size
    Promise.all(commands.map(command => this.#link.run(unsent.key, ...command))).then(
      () => { this.#inFlight -= size },
      () => {
        this.#inFlight -= size
        this.#fallBehind(unsent)
      }
    )
  }

  /** Tells Redis of the streams that it has missed something of. */
  catchUp (): void {
    for (const { key, session, stream, end } of [...this.#behind.values()]) {
      if (this.#inFlight > MAX_IN_FLIGHT) return
      this.#behind.delete(key)
      const whole = { key, session, stream, adds: [...this.#local.kept(session, stream)], trim: 0, end, isForgotten: false }
      this.#send(whole, [['PEXPIRE', key, '0'], ...this.#commands(whole, true)])
    }
  }

  get isBehind (): boolean {
    return this.#behind.size > 0
  }
}
