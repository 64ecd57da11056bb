// Clients that hold a stream open, one for each era, and what they do meanwhile.
import { envelope, mirrors, type RpcMessage } from '../client.ts'
import type { Chance } from '../fuzz/chance.ts'
import { type Door, type Knock, OpenBook, type Said } from './soak-door.ts'

/** What is counted of a crowd. */
export interface Ledger {
  readonly done: Record<string, number>
  keepAlives: number
  changes: number
  /** What should not have been, the first of it. */
  readonly faults: string[]
  /** Sessions that were left without a word. */
  readonly left: { readonly id: string, readonly token: string }[]
}

// Well below what the server waits for anybody.
const LATE_MS = 1_000

let names = 0
/** A name that nobody had before. */
export const freshToken = (): string => `soak-${++names}`

export abstract class Regular {
  readonly door: Door
  readonly ledger: Ledger
  token = freshToken()
  /** Whether it does something that must not be disturbed. */
  isBusy = false
  protected stream: OpenBook | undefined
  #ids = 0

  constructor (door: Door, ledger: Ledger) {
    this.door = door
    this.ledger = ledger
  }

  /** Comes, and holds its stream. */
  abstract enter (): Promise<void>
  /** Leaves in some way, and comes again. */
  abstract turnOver (chance: Chance): Promise<void>
  /** Starts a call, and gives the stream that its messages come on. */
  abstract start (id: number, name: string, args: object): Promise<OpenBook>
  /** The answer to anything else. */
  abstract ask (method: string, params: object): Promise<RpcMessage>
  abstract cancel (id: number, book: OpenBook): Promise<void>
  /** Answers a question of the server. */
  abstract reply (question: RpcMessage, result: object): Promise<void>
  /** Leaves a call alone. */
  abstract abandon (book: OpenBook, chance: Chance): Promise<void>
  abstract leave (chance: Chance): Promise<void>

  nextId (): number {
    return ++this.#ids
  }

  get headers (): Record<string, string> {
    return { authorization: `Bearer ${this.token}` }
  }

  protected count (what: string): void {
    this.ledger.done[what] = (this.ledger.done[what] ?? 0) + 1
  }

  /** Holds a stream that may be over by now, where the machine was busy for so long; then it comes as if it had never been here. */
  protected async comeBack (path: string, knock: Knock): Promise<OpenBook | undefined> {
    const start = performance.now()
    try {
      return await this.hold(path, knock)
    } catch (error) {
      if (performance.now() - start < LATE_MS) throw error
      this.count('came too late')
    }
  }

  protected async hold (path: string, knock: Knock): Promise<OpenBook> {
    const book = new OpenBook(await this.door.open(path, knock), message => {
      if (message.method?.startsWith('notifications/resources') === true || message.method?.endsWith('list_changed') === true) this.ledger.changes++
    })
    book.closed.then(() => { this.ledger.keepAlives += book.keepAlives })
    if (book.status !== 200) throw new Error(`${path} was answered with ${book.status}`)
    return book
  }
}

const callOf = (id: number, name: string, args: object): object =>
  ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: args, _meta: { progressToken: id } } })

const initialize = { protocolVersion: '2025-11-25', capabilities: { elicitation: {} }, clientInfo: { name: 'soak', version: '1.0.0' } }

/** Throws when an answer to a POST has another status than it should. */
function expect ({ status, text }: Said, expected: number, what: string): void {
  if (status !== expected) throw new Error(`${what} was answered with ${status}: ${text.slice(0, 200)}`)
}

/** An answer may come when the time of its question is up. */
function answered (said: Said): void {
  if (said.status !== 400 || !said.text.includes('FST_MCP_RESPONSE_UNEXPECTED')) expect(said, 202, 'an answer')
}

/** The last message of a response: notifications come before it. */
function answerIn ({ text }: Said): RpcMessage {
  return JSON.parse(text.startsWith('{') ? text : /data: (\{.*)\n\n$/.exec(text)?.[1] ?? '{}')
}

/** Streamable HTTP with a session. */
export class SessionRegular extends Regular {
  #session = ''

  override get headers (): Record<string, string> {
    return { ...super.headers, 'mcp-session-id': this.#session, 'mcp-protocol-version': '2025-11-25' }
  }

  async enter (): Promise<void> {
    this.token = freshToken()
    const { authorization = '' } = this.headers
    const body = { jsonrpc: '2.0', id: 0, method: 'initialize', params: initialize }
    const said = await this.door.send('/mcp', { method: 'POST', headers: { authorization }, body })
    expect(said, 200, 'initialize')
    this.#session = String(said.headers['mcp-session-id'])
    await this.#post({ jsonrpc: '2.0', method: 'notifications/initialized' })
    await this.#listen()
  }

  async #listen (lastEventId?: string): Promise<void> {
    this.stream = await this.comeBack('/mcp', this.#get(lastEventId))
    if (this.stream === undefined) await this.enter()
  }

  #get (lastEventId?: string): Knock {
    return { headers: { ...this.headers, accept: 'text/event-stream', ...(lastEventId !== undefined && { 'last-event-id': lastEventId }) } }
  }

  async #post (body: object): Promise<void> {
    expect(await this.door.send('/mcp', { method: 'POST', headers: this.headers, body }), 202, 'a notification')
  }

  async turnOver (chance: Chance): Promise<void> {
    const { stream } = this
    const way = chance.pick(['resume', 'resume', 'second', 'silent', 'reset', 'delete'])
    this.count(`session ${way}`)
    if (way === 'second') {
      await this.#listen()
      await stream?.leave()
      return
    }
    if (way === 'delete') {
      expect(await this.door.send('/mcp', { method: 'DELETE', headers: this.headers }), 200, 'DELETE')
      await stream?.closed
      return this.enter()
    }
    await stream?.leave(way === 'reset' || chance.is(0.5))
    if (way === 'resume') return this.#listen(stream?.lastEventId)
    this.ledger.left.push({ id: this.#session, token: this.token })
    await this.enter()
  }

  async start (id: number, name: string, args: object): Promise<OpenBook> {
    return this.hold('/mcp', { method: 'POST', headers: this.headers, body: callOf(id, name, args) })
  }

  async ask (method: string, params: object): Promise<RpcMessage> {
    const id = this.nextId()
    const said = await this.door.send('/mcp', { method: 'POST', headers: this.headers, body: { jsonrpc: '2.0', id, method, params } })
    expect(said, 200, method)
    return answerIn(said)
  }

  async cancel (id: number, book: OpenBook): Promise<void> {
    await this.#post({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: id } })
    await book.closed
  }

  async reply ({ id }: RpcMessage, result: object): Promise<void> {
    answered(await this.door.send('/mcp', { method: 'POST', headers: this.headers, body: { jsonrpc: '2.0', id, result } }))
  }

  async abandon (book: OpenBook, chance: Chance): Promise<void> {
    const { lastEventId } = book
    await book.leave(chance.is(0.5))
    if (chance.is(0.5) || lastEventId === undefined) return
    this.count('call resumed')
    const rest = await this.comeBack('/mcp', this.#get(lastEventId))
    if (chance.is(0.5)) await rest?.leave()
    else await rest?.closed
  }

  async leave (chance: Chance): Promise<void> {
    if (chance.is(0.5)) await this.door.send('/mcp', { method: 'DELETE', headers: this.headers })
    else this.ledger.left.push({ id: this.#session, token: this.token })
    await this.stream?.leave(chance.is(0.5))
  }
}

/** HTTP+SSE. */
export class EventRegular extends Regular {
  async enter (): Promise<void> {
    this.token = freshToken()
    await this.#open('/sse', this.headers)
  }

  async #open (path: string, headers: Record<string, string>): Promise<void> {
    this.stream = await this.comeBack(path, { headers })
    if (this.stream === undefined) return this.enter()
    await this.stream.begun()
    const { endpoint = this.#endpoint } = this.stream
    if (endpoint === this.#endpoint) return
    // A session of its own, also for who came back too late.
    this.#endpoint = endpoint
    const answer = await this.ask('initialize', { ...initialize, protocolVersion: '2025-06-18' })
    if (answer.result === undefined) throw new Error(`initialize was answered with ${JSON.stringify(answer)}`)
  }

  #resume (lastEventId = ''): Promise<void> {
    return this.#open('/sse', { ...this.headers, 'last-event-id': lastEventId })
  }

  get #book (): OpenBook {
    if (this.stream === undefined) throw new TypeError('it has not entered')
    return this.stream
  }

  async #post (body: object): Promise<void> {
    expect(await this.door.send(this.#endpoint, { method: 'POST', headers: this.headers, body }), 202, 'POST /messages')
  }

  #endpoint = ''

  async turnOver (chance: Chance): Promise<void> {
    const way = chance.pick(['resume', 'resume', 'silent', 'reset', 'ticket', 'lapsed ticket'])
    this.count(`HTTP+SSE ${way}`)
    const { lastEventId } = this.#book
    if (way === 'lapsed ticket') {
      await this.door.send('/sse/ticket', { method: 'POST', headers: this.headers })
      return
    }
    await this.#book.leave(way === 'reset' || chance.is(0.5))
    if (way === 'resume') return this.#resume(lastEventId)
    if (way !== 'ticket') return this.enter()
    this.token = freshToken()
    const said = await this.door.send('/sse/ticket', { method: 'POST', headers: this.headers })
    const { ticket } = JSON.parse(said.text)
    await this.#open(`/sse?ticket=${ticket}`, {})
  }

  async start (id: number, name: string, args: object): Promise<OpenBook> {
    await this.#post(callOf(id, name, args))
    return this.#book
  }

  async ask (method: string, params: object): Promise<RpcMessage> {
    const id = this.nextId()
    const answer = this.#book.next(message => message.id === id && message.method === undefined, method)
    await this.#post({ jsonrpc: '2.0', id, method, params }).catch(error => { answer.catch(() => {}); throw error })
    return answer
  }

  async cancel (id: number): Promise<void> {
    await this.#post({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: id } })
  }

  async reply ({ id }: RpcMessage, result: object): Promise<void> {
    answered(await this.door.send(this.#endpoint, { method: 'POST', headers: this.headers, body: { jsonrpc: '2.0', id, result } }))
  }

  async abandon (book: OpenBook, chance: Chance): Promise<void> {
    await book.leave(chance.is(0.5))
    if (chance.is(0.5)) await this.enter()
    else await this.#resume(book.lastEventId)
  }

  async leave (chance: Chance): Promise<void> {
    await this.stream?.leave(chance.is(0.5))
  }
}

/** `subscriptions/listen` of 2026-07-28. */
export class ListenRegular extends Regular {
  #body (id: number, method: string, params: object): Knock {
    const body = { jsonrpc: '2.0', id, method, params: { ...params, _meta: { progressToken: id, ...envelope({ clientCapabilities: { elicitation: {} } }) } } }
    return { method: 'POST', headers: { ...this.headers, ...mirrors(body) }, body }
  }

  async enter (): Promise<void> {
    this.token = freshToken()
    const id = this.nextId()
    const notifications = { toolsListChanged: true, resourceSubscriptions: [`soak://page/${id % 7}`] }
    this.stream = await this.hold('/mcp', this.#body(id, 'subscriptions/listen', { notifications }))
  }

  async turnOver (chance: Chance): Promise<void> {
    this.count('listen again')
    await this.stream?.leave(chance.is(0.5))
    await this.enter()
  }

  async start (id: number, name: string, args: object): Promise<OpenBook> {
    return this.hold('/mcp', this.#body(id, 'tools/call', { name, arguments: args }))
  }

  async ask (method: string, params: object): Promise<RpcMessage> {
    const said = await this.door.send('/mcp', this.#body(this.nextId(), method, params))
    return answerIn(said)
  }

  async cancel (_id: number, book: OpenBook): Promise<void> {
    await book.leave()
  }

  async reply (): Promise<void> {}

  async abandon (book: OpenBook, chance: Chance): Promise<void> {
    await book.leave(chance.is(0.5))
  }

  async leave (chance: Chance): Promise<void> {
    await this.stream?.leave(chance.is(0.5))
  }
}
