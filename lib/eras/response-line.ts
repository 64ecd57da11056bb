import type { RequestId } from '../protocol/message.ts'
import { message } from '../sse/frame.ts'
import type { StreamPool } from '../sse/pool.ts'
import type { Room, SseStream } from '../sse/stream.ts'

/** What answers one request. */
export interface Ready {
  readonly id: RequestId
  readonly json: string
}

/** What carries the messages of a response once it has become a stream. */
export interface Line {
  /** The whole stream at once, where everything is known before it begins: nothing waits, and so nothing needs to be told of room. */
  whole (answers: readonly Ready[]): string
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

/** Carries the answer of one POST without a session: nothing is numbered or kept, so a lost connection ends the calls. */
export class DirectLine implements Line {
  readonly #pool: StreamPool
  readonly #owner: string | null
  readonly #onLost: () => void
  #stream: SseStream | undefined

  constructor (pool: StreamPool, owner: string | null, onLost: () => void) {
    this.#pool = pool
    this.#owner = owner
    this.#onLost = onLost
  }

  connect (): SseStream {
    this.#stream = this.#pool.open(this.#owner, delivered => { if (!delivered) this.#onLost() })
    return this.#stream
  }

  whole (answers: readonly Ready[]): string {
    return answers.map(({ json }) => message(json)).join('')
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
