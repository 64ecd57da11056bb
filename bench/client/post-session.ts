import { type Answer, type Connection } from './connection.ts'
import { ACCEPT, del, get, initialize, INITIALIZED, post } from './requests.ts'

const VERSION = '2025-11-25'
const SESSION_ID = /\r\nmcp-session-id: (\S+)/i

export interface SessionInit {
  /** Headers of every request beside its own, such as a token. */
  headers?: string
  onAnswer?: (answer: Answer) => void
}

/** A session of Streamable HTTP, opened as a client opens it; it makes the requests that belong to it. */
export class Session {
  readonly id: string
  readonly #port: number
  /** What says that a request belongs to it. */
  readonly headers: string

  private constructor (port: number, id: string, headers: string) {
    this.#port = port
    this.id = id
    this.headers = `mcp-session-id: ${id}\r\nmcp-protocol-version: ${VERSION}\r\n${headers}`
  }

  static async open (connection: Connection, port: number, { headers = '', onAnswer }: SessionInit = {}): Promise<Session> {
    const answer = await connection.request(post(port, '/mcp', ACCEPT + headers, initialize(VERSION)))
    const id = SESSION_ID.exec(answer.head)?.[1]
    if (id === undefined) throw new Error(`initialize gave no session:\n${answer.head}\n\n${answer.body}`)
    const session = new Session(port, id, headers)
    const accepted = await connection.request(session.post(INITIALIZED))
    if (!accepted.head.startsWith('HTTP/1.1 202')) throw new Error(`notifications/initialized was not accepted:\n${accepted.head}`)
    onAnswer?.(answer)
    onAnswer?.(accepted)
    return session
  }

  post (body: string, accept = ACCEPT): string {
    return post(this.#port, '/mcp', accept + this.headers, body)
  }

  get (): string {
    return get(this.#port, '/mcp', this.headers)
  }

  delete (): string {
    return del(this.#port, '/mcp', this.headers)
  }
}
