import type { ServerResponse } from 'node:http'
import type { Sink } from '../sse/stream.ts'

const LINE_END = '\r\n'

/**
 * Writes each chunk of a response with its size in one piece (RFC 9112, section 7.1). Node, which is told meanwhile that there are no
 * chunks, would write the size, the text and the line ends each by themselves. What others write, and the end, is Node's.
 */
export class ChunkedSink implements Sink {
  readonly #response: ServerResponse
  #hasHead = false

  /** `response`: its head is written, and says that chunks follow. */
  constructor (response: ServerResponse) {
    this.#response = response
  }

  get writableNeedDrain (): boolean {
    return this.#response.writableNeedDrain
  }

  write (chunk: string | Buffer): boolean {
    const { socket } = this.#response
    // Node would hold it back until the end of the tick, to join the pieces.
    socket?.cork()
    this.#response.chunkedEncoding = false
    if (!this.#hasHead) this.#sendHead()
    const hasRoom = this.#write(chunk)
    this.#response.chunkedEncoding = true
    socket?.uncork()
    return hasRoom
  }

  /** By itself, so that Node keeps it as one string, and not as the forty that it was put together from. */
  #sendHead (): void {
    this.#hasHead = true
    this.#response.flushHeaders()
  }

  #write (chunk: string | Buffer): boolean {
    const size = Buffer.byteLength(chunk)
    const head = size.toString(16) + LINE_END
    // Plain text needs no encoder.
    if (typeof chunk === 'string') return this.#response.write(head + chunk + LINE_END, size === chunk.length ? 'latin1' : 'utf8')
    this.#response.write(head)
    this.#response.write(chunk)
    return this.#response.write(LINE_END)
  }

  end (): void {
    this.#response.end()
  }

  destroy (): void {
    this.#response.destroy()
  }

  once (event: 'drain', listener: () => void): void {
    this.#response.once(event, listener)
  }
}
