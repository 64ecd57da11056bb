// How the clients of a soak reach its server: little is kept of what comes, so that a run may be long.
import { Agent, type IncomingMessage, request } from 'node:http'
import { createParser } from 'eventsource-parser'
import { ACCEPT, type RpcMessage, within } from '../client.ts'

export interface Knock {
  readonly method?: string
  readonly headers?: Record<string, string>
  /** Text is sent as it is, everything else as JSON. */
  readonly body?: unknown
}

const MOST_UNREAD = 20

/** What a response said, once it is over. */
export interface Said {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly text: string
}

export class Door {
  readonly #port: number
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64 })

  constructor (port: number) {
    this.#port = port
  }

  /** Resolves with the head of a response. A stream gets a connection of its own. */
  async open (path: string, { method = 'GET', headers = {}, body }: Knock, agent: Agent | false = false): Promise<IncomingMessage> {
    const payload = body === undefined || typeof body === 'string' ? body : JSON.stringify(body)
    const more = payload === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) }
    const outgoing = request({ host: '127.0.0.1', port: this.#port, path, method, headers: { accept: ACCEPT, ...more, ...headers }, agent })
    const response = new Promise<IncomingMessage>((resolve, reject) => outgoing.on('response', resolve).on('error', reject))
    outgoing.end(payload)
    return within(response, `${method} ${path}`)
  }

  async send (path: string, knock: Knock): Promise<Said> {
    const response = await this.open(path, knock, this.#agent)
    let text = ''
    for await (const chunk of response.setEncoding('utf8')) text += chunk
    return { status: response.statusCode ?? 0, headers: response.headers, text }
  }

  close (): void {
    this.#agent.destroy()
  }
}

/** An open response, of which the last event id and the newest answers are known. */
export class OpenBook {
  readonly status: number
  readonly #body: IncomingMessage
  readonly #waiting: { fits: (message: RpcMessage) => boolean, resolve: (message: RpcMessage) => void, reject: (error: Error) => void }[] = []
  /** Answers and questions that nobody waited for when they came. */
  readonly #unread: RpcMessage[] = []
  readonly #first: Promise<void>
  #begin = (): void => {}
  lastEventId: string | undefined
  /** Where to post to, over HTTP+SSE. */
  endpoint: string | undefined
  keepAlives = 0
  isOver = false
  readonly closed: Promise<void>

  constructor (body: IncomingMessage, tell: (message: RpcMessage) => void = () => {}) {
    this.status = body.statusCode ?? 0
    this.#body = body
    this.#first = new Promise(resolve => { this.#begin = resolve })
    const isJson = body.headers['content-type']?.startsWith('application/json') === true
    let json = ''
    const parser = createParser({
      onComment: () => { this.keepAlives++ },
      onEvent: ({ id, event, data }) => {
        this.lastEventId = id ?? this.lastEventId
        if (event === 'endpoint') this.endpoint = data
        if (data !== '' && event !== 'endpoint') this.#take(JSON.parse(data), tell)
        this.#begin()
      }
    })
    body.on('error', () => {}).setEncoding('utf8').on('data', text => {
      if (isJson) json += text
      else parser.feed(text)
    })
    body.on('end', () => { if (isJson && json !== '') this.#take(JSON.parse(json), tell) })
    this.closed = new Promise(resolve => body.once('close', () => {
      this.isOver = true
      for (const { reject } of this.#waiting.splice(0)) reject(new Error(`the stream ended, ${this.status}`))
      resolve()
    }))
  }

  #take (message: RpcMessage, tell: (message: RpcMessage) => void): void {
    tell(message)
    const index = this.#waiting.findIndex(({ fits }) => fits(message))
    if (index >= 0) this.#waiting.splice(index, 1)[0]?.resolve(message)
    else if (message.id !== undefined) this.#unread.push(message)
    if (this.#unread.length > MOST_UNREAD) this.#unread.shift()
  }

  /** Resolves with the first event of any kind, or when there is none. */
  begun (): Promise<void> {
    return within(Promise.race([this.#first, this.closed]), 'the first event')
  }

  /** The next message that fits; rejects when the stream ends before. */
  next (fits: (message: RpcMessage) => boolean, what: string): Promise<RpcMessage> {
    const index = this.#unread.findIndex(fits)
    const [known] = index < 0 ? [] : this.#unread.splice(index, 1)
    return within(new Promise((resolve, reject) => {
      if (known !== undefined) resolve(known)
      else if (this.isOver) reject(new Error('the stream is over'))
      else this.#waiting.push({ fits, resolve, reject })
    }), what)
  }

  /** Reads no more. */
  stall (): void {
    this.#body.pause()
  }

  /** Leaves without a word; `reset`: with a TCP reset, not with a FIN. */
  async leave (reset = false): Promise<void> {
    if (reset && !this.isOver) this.#body.socket.resetAndDestroy()
    this.#body.destroy()
    await this.closed
  }
}
