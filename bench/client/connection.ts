import { connect, type Socket } from 'node:net'

export interface Answer {
  head: string
  body: string
}

type OnAnswer = (answer: Answer) => void
type OnText = (text: string) => void

const LENGTH = /\r\ncontent-length: (\d+)/i
const LAST_CHUNK = '0\r\n\r\n'

/**
 * One keep-alive connection that speaks just enough HTTP/1.1: a request is written as it is given, one at a time.
 * It exists to be cheap, so that the server and not the load is what gets busy. Texts are ASCII.
 */
export class Connection {
  static readonly #open = new Set<Connection>()
  readonly #socket: Socket
  #rest = ''
  #onAnswer: OnAnswer | null = null
  #onHead: OnText | null = null
  #onText: OnText | null = null
  #onBreak: ((error: Error) => void) | null = null

  private constructor (socket: Socket) {
    this.#socket = socket.setEncoding('latin1').setNoDelay()
    Connection.#open.add(this)
    socket.on('data', (text: string) => { this.#read(text) })
    socket.on('error', error => { this.#break(error) })
    socket.on('close', () => { this.#break(new Error('the server closed the connection')) })
  }

  static async open (port: number): Promise<Connection> {
    return await new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.off('error', reject)
        resolve(new Connection(socket))
      })
      socket.once('error', reject)
    })
  }

  static async openMany (port: number, count: number): Promise<Connection[]> {
    return await Promise.all(Array.from({ length: count }, async () => await Connection.open(port)))
  }

  static closeAll (): void {
    for (const connection of Connection.#open) connection.close()
  }

  /** Sends a request whose whole answer goes to `onAnswer`. */
  ask (request: string, onAnswer: OnAnswer): void {
    this.#onAnswer = onAnswer
    this.#socket.write(request, 'latin1')
  }

  async request (request: string): Promise<Answer> {
    return await new Promise((resolve, reject) => {
      this.#onBreak = reject
      this.ask(request, answer => {
        this.#onBreak = null
        resolve(answer)
      })
    })
  }

  /** Sends a request and resolves with the head of its answer; the body goes to `onText` as it comes, chunk framing and all. */
  async stream (request: string, onText: OnText): Promise<string> {
    return await new Promise((resolve, reject) => {
      this.#onBreak = reject
      this.#onText = onText
      this.#onHead = head => {
        this.#onBreak = null
        resolve(head)
      }
      this.#socket.write(request, 'latin1')
    })
  }

  /** Stops reading: from here on the server's writes pile up in the kernel, then in the server. */
  stall (): void {
    this.#socket.pause()
  }

  /** Hands the connection back for a further request, once a stream's answer has ended. */
  endStream (): void {
    this.#onText = null
  }

  close (): void {
    Connection.#open.delete(this)
    this.#socket.destroy()
  }

  #break (error: Error): void {
    if (!Connection.#open.delete(this)) return
    // Nobody waits for it by name in a closed loop: the process ends, and the round with it.
    if (this.#onBreak === null) throw error
    this.#onBreak(error)
  }

  #read (text: string): void {
    if (this.#onText !== null && this.#onHead === null) return this.#onText(text)
    this.#rest += text
    const headEnd = this.#rest.indexOf('\r\n\r\n')
    if (headEnd < 0) return
    const head = this.#rest.slice(0, headEnd)
    const body = this.#rest.slice(headEnd + 4)
    if (this.#onHead !== null) {
      const onHead = this.#onHead
      this.#onHead = null
      this.#rest = ''
      onHead(head)
      if (body !== '') this.#onText?.(body)
    } else if (isWhole(head, body)) {
      this.#rest = ''
      this.#onAnswer?.({ head, body })
    }
  }
}

function isWhole (head: string, body: string): boolean {
  const length = LENGTH.exec(head)?.[1]
  return length === undefined ? endsChunks(body) : body.length >= Number(length)
}

/** Whether a chunked body has come to its end. No frame of the suite holds these bytes itself. */
export function endsChunks (body: string): boolean {
  return body.endsWith(`\r\n${LAST_CHUNK}`) || body === LAST_CHUNK
}

/** The body without its chunk framing; an unfinished last chunk is left out. */
export function dechunk (body: string): string {
  let text = ''
  let at = 0
  for (;;) {
    const lineEnd = body.indexOf('\r\n', at)
    const size = lineEnd < 0 ? 0 : Number.parseInt(body.slice(at, lineEnd), 16)
    if (!(size > 0) || body.length < lineEnd + 2 + size) return text
    text += body.slice(lineEnd + 2, lineEnd + 2 + size)
    at = lineEnd + 2 + size + 2
  }
}
