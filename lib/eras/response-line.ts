import type { RequestId } from '../protocol/message.ts'
import { message, prime } from '../sse/frame.ts'
import type { StreamPool } from '../sse/pool.ts'
import type { Room, SseStream, Tenant } from '../sse/stream.ts'
import type { EventLog } from '../store/store.ts'

/** What answers one request. */
export interface Ready {
  readonly id: RequestId
  readonly json: string
}

/** How a response becomes a stream. */
export interface Opening {
  /** A line for what is told from now on. */
  line (): Line
  /** The whole stream, where everything is known before it begins: nothing waits, and so nothing needs to be told of room. */
  whole (answers: readonly Ready[]): string
}

/** What carries the messages of a response once it has become a stream. */
export interface Line {
  /** Opens the stream that is to be sent as the response. */
  connect (): SseStream
  send (json: string, answers?: RequestId): Room
  /** The last message was sent. */
  end (): void
  /** The client left before there was a stream. */
  leave (): void
  /** Ends the connection alone. Only where the client can come back; false when it cannot. */
  closeStream? (): boolean
}

/** The whole stream of one POST without a session. */
export function wholeDirect (answers: readonly Ready[]): string {
  return answers.map(({ json }) => message(json)).join('')
}

/** Where the events of a stream of a session are kept, and how it begins. */
export interface Kept {
  readonly events: EventLog
  readonly session: string
  readonly id: string
  readonly retry: number
  readonly primes: boolean
}

/** The whole stream of one POST of a session: a client that lost it can have it again. */
export function wholeKept ({ events, session, id, retry, primes }: Kept, answers: readonly Ready[]): string {
  let text = primes ? prime(id, retry) : ''
  let seq = 0
  for (const { id: answered, json } of answers) {
    const frame = message(json, `${id}_${++seq}`)
    events.append(session, { stream: id, seq, frame, answers: answered })
    text += frame
  }
  events.finish(session, id)
  return text
}

/** Carries the answer of one POST without a session: nothing is numbered or kept, so a lost connection ends the calls. */
export class DirectLine implements Line, Tenant {
  readonly #pool: StreamPool
  readonly owner: string | null
  readonly #onLost: () => void
  #stream: SseStream | undefined

  constructor (pool: StreamPool, owner: string | null, onLost: () => void) {
    this.#pool = pool
    this.owner = owner
    this.#onLost = onLost
  }

  connect (): SseStream {
    this.#stream = this.#pool.open(this)
    return this.#stream
  }

  closed (_stream: SseStream, delivered: boolean): void {
    if (!delivered) this.#onLost()
  }

  send (json: string): Room {
    return this.#stream?.write(message(json)) ?? false
  }

  end (): void {
    this.#stream?.end()
  }

  leave (): void {
    this.#onLost()
  }
}
