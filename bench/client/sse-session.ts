import { type Answer, Connection } from './connection.ts'
import { get, initialize, INITIALIZED, post } from './requests.ts'

const ENDPOINT = /event: endpoint\n(?:(?:id|retry): .*\n)*data: (\S+)/

/** A session of HTTP+SSE: one connection holds the stream, another posts. */
export class SseSession {
  readonly url: string
  /** Everything the stream has carried until now, while `keep` is on; else the part that no call has taken yet. */
  #text = ''
  readonly #port: number
  readonly #stream: Connection
  readonly #poster: Connection
  #onText: (text: string) => void = () => {}

  private constructor (port: number, stream: Connection, poster: Connection, url: string) {
    this.#port = port
    this.#stream = stream
    this.#poster = poster
    this.url = url
  }

  static async open (port: number, onStream?: (head: string, opening: string) => void): Promise<SseSession> {
    const [stream, poster] = [await Connection.open(port), await Connection.open(port)]
    let session: SseSession | undefined
    let opening = ''
    await new Promise<void>((resolve, reject) => {
      let head = ''
      stream.stream(get(port, '/sse'), text => {
        if (session !== undefined) return session.#read(text)
        opening += text
        const url = ENDPOINT.exec(opening)?.[1]
        if (url === undefined || !opening.includes('\n\n')) return
        session = new SseSession(port, stream, poster, url)
        onStream?.(head, opening)
        resolve()
      }).then(answered => { head = answered }).catch(reject)
    })
    if (session === undefined) throw new Error('no endpoint event came')
    await session.request(initialize('2024-11-05'))
    await poster.request(session.post(INITIALIZED))
    return session
  }

  post (body: string): string {
    return post(this.#port, this.url, '', body)
  }

  /** Sends a request message; `onAnswer` gets the POST's answer, and the text of the stream that came for it. */
  ask (body: string, onAnswer: (answer: Answer, frames: string) => void): void {
    let accepted: Answer | null = null
    const settle = (): void => {
      // A keep-alive comment between calls is no answer, nor is a notification.
      const answered = this.#text.indexOf('"id":')
      if (accepted === null || answered < 0 || !this.#text.includes('\n\n', answered)) return
      const frames = this.#text
      this.#text = ''
      this.#onText = () => {}
      onAnswer(accepted, frames)
    }
    this.#onText = settle
    this.#poster.ask(this.post(body), answer => {
      accepted = answer
      settle()
    })
  }

  async request (body: string): Promise<[Answer, string]> {
    return await new Promise(resolve => { this.ask(body, (answer, frames) => { resolve([answer, frames]) }) })
  }

  close (): void {
    this.#stream.close()
    this.#poster.close()
  }

  #read (text: string): void {
    this.#text += text
    this.#onText(text)
  }
}
