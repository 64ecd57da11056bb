import type { KickEvent } from '../channels.ts'
import { encode, message, prime } from '../sse/frame.ts'
import { Mailbox } from '../sse/mailbox.ts'
import type { StreamPool } from '../sse/pool.ts'
import type { Room, SseStream, Tenant } from '../sse/stream.ts'
import type { EventLog } from '../store/store.ts'
import type { RequestId } from '../protocol/message.ts'
import type { Line } from './response-line.ts'
import type { Session } from './session.ts'

/** What channels of one kind have in common. */
export interface ChannelKind {
  /** Whether the first event has an id and empty data (2025-11-25). */
  readonly primes: boolean
  /** Whether it carries what belongs to no call. */
  readonly listens: boolean
  /** Whether nothing is lost when it ends before its first event. */
  readonly isDisposable: boolean
  /** The client did not come back in time. */
  onLost (channel: Channel): void
  /** The client came back too late for some events: whatever they belonged to cannot go on. */
  onGap (channel: Channel): void
}

/** What the channels of a server have in common. */
export interface ChannelHost {
  readonly pool: StreamPool
  readonly events: EventLog
  /** Milliseconds in which a client may come back. */
  readonly window: number
  /** Milliseconds that a client is told to wait before it comes back. */
  readonly retry: number
  /** The last message of a channel was sent. */
  ended (channel: Channel): void
}

export interface ChannelOptions {
  /** Names the stream in its event ids. */
  readonly id: string
  readonly kind: ChannelKind
  /** The number of its last event, where another node has written it before. */
  readonly last?: number
}

/**
 * A stream of a session as the specification means it: numbered events that outlive their connection.
 * While the client is away its events go to the log; when they fill the budget the writer waits.
 */
export class Channel implements Line, Tenant {
  readonly id: string
  readonly session: Session
  readonly kind: ChannelKind
  readonly #host: ChannelHost
  #seq: number
  #stream: SseStream | null = null
  #over = false
  #logHasRoom = true
  #away: NodeJS.Timeout | undefined
  #waiting: Promise<boolean> | null = null
  #release: ((open: boolean) => void) | null = null
  /** Made for the first notification that has to wait. */
  #mailbox: Mailbox | undefined
  #captured: string[] | null = null
  /** Whether nothing is trimmed, because the client is away. */
  #isHeld = false

  constructor (session: Session, { id, kind, last = 0 }: ChannelOptions, host: ChannelHost) {
    this.id = id
    this.session = session
    this.kind = kind
    this.#host = host
    this.#seq = last
  }

  get owner (): string | null {
    return this.session.record.principal
  }

  get #sessionId (): string {
    return this.session.record.id
  }

  get isConnected (): boolean {
    return this.#stream !== null
  }

  connect (): SseStream {
    const stream = this.attach()
    if (this.kind.primes) stream.write(prime(this.id, this.#host.retry))
    return stream
  }

  /** A new connection takes the stream over, also from one whose end was not noticed yet. */
  attach (): SseStream {
    const { pool, events } = this.#host
    const previous = this.#stream
    const stream = this.#stream = pool.open(this)
    clearTimeout(this.#away)
    if (this.#isHeld) events.release(this.#sessionId, this.id)
    this.#isHeld = false
    // Its client is gone or has given it up: nothing more may leave on it.
    this.#kick(previous, 'replaced')
    this.#recheck()
    return stream
  }

  #kick (stream: SseStream | null, reason: KickEvent['reason']): void {
    if (stream !== null) this.#host.pool.kick(stream, reason)
  }

  tellGap (): void {
    this.kind.onGap(this)
  }

  closed (stream: SseStream): void {
    if (this.#stream !== stream) return
    this.#stream = null
    if (this.#over) return
    if (this.#seq === 0 && this.kind.isDisposable) this.end()
    else this.leave()
  }

  leave (): void {
    const { events, window } = this.#host
    events.hold(this.#sessionId, this.id)
    this.#isHeld = true
    this.#away = setTimeout(() => this.kind.onLost(this), window).unref()
    this.#recheck()
  }

  closeStream (): boolean {
    const stream = this.#stream
    if (this.#over || stream === null || !this.kind.primes) return false
    stream.write(encode({ retry: this.#host.retry }))
    this.#stream = null
    stream.end()
    this.leave()
    return true
  }

  send (json: string, answers?: RequestId): Room {
    if (this.#over) return false
    const seq = ++this.#seq
    const frame = message(json, `${this.id}_${seq}`)
    this.#captured?.push(frame)
    this.#logHasRoom = this.#host.events.append(this.#sessionId, { stream: this.id, seq, frame, answers })
    const room = this.#stream === null ? this.#logHasRoom : this.#stream.write(frame)
    return room === true ? true : this.#wait(room)
  }

  /** Remembers the frames that are sent from now on, until what it gives is called. */
  capture (): () => string[] {
    const captured: string[] = this.#captured = []
    return () => {
      this.#captured = null
      return captured
    }
  }

  /** Sends a notification of which only the newest of its key matters. A client that reads too slowly for these is told to come back. */
  notify (key: string, json: string): void {
    if (this.#mailbox === undefined && this.room() === true) {
      this.send(json)
      return
    }
    this.#mailbox ??= new Mailbox({
      budget: this.#host.pool.buffer,
      send: json => { this.send(json) },
      room: () => this.room(),
      onOverflow: () => this.#kick(this.#stream, 'overflow')
    })
    this.#mailbox.put(key, json)
  }

  /** The answer of `send` without sending. */
  room (): Room {
    const room = this.#room()
    return room === true || this.#over ? room : this.#wait(room)
  }

  #room (): Room {
    if (this.#over) return false
    return this.#stream === null ? this.#logHasRoom : this.#stream.room()
  }

  #wait (room: Room): Promise<boolean> {
    if (room instanceof Promise) room.then(() => this.#recheck())
    this.#waiting ??= new Promise(resolve => { this.#release = resolve })
    return this.#waiting
  }

  /** Whoever waits goes on when the connection, or the log in its stead, has room, and gives up when the stream is over. */
  #recheck (): void {
    if (this.#release === null) return
    if (this.#stream !== null) this.#logHasRoom = true
    const room = this.#room()
    if (room instanceof Promise) {
      room.then(() => this.#recheck())
    } else if (room || this.#over) {
      const release = this.#release
      this.#release = this.#waiting = null
      release(room)
    }
  }

  /** The last event of this server was sent, and the client is told to come back, perhaps to another. */
  leaveOff (): void {
    this.#stream?.write(encode({ retry: this.#host.retry }))
    this.#end((session, id) => this.#host.events.leave(session, id))
  }

  end (): void {
    this.#end((session, id) => this.#host.events.finish(session, id))
  }

  #end (finish: (session: string, id: string) => void): void {
    if (this.#over) return
    this.#over = true
    clearTimeout(this.#away)
    finish(this.#sessionId, this.id)
    this.#stream?.end()
    this.#recheck()
    this.#host.ended(this)
  }
}
