// A small MCP client that hides nothing: it sends what a test says and shows what came back, over `app.inject` or real sockets.
import { once } from 'node:events'
import { type IncomingHttpHeaders, request } from 'node:http'
import type { Readable } from 'node:stream'
import { createParser, type EventSourceMessage } from 'eventsource-parser'
import Fastify, { type FastifyInstance, type FastifyServerOptions, type LightMyRequestResponse } from 'fastify'
import mcp, { type McpOptions } from 'fastify-mcp-sse'
import type { Test } from 'tap'

/** Where requests go: an app, by `inject`, or the base URL of a server, over a socket. */
export type Target = FastifyInstance | string

/** One JSON-RPC message as it was received; a test says what it expects in it. */
export interface RpcMessage {
  jsonrpc: '2.0'
  id?: string | number | null
  method?: string
  params?: any
  result?: any
  error?: { code: number, message: string, data: { code: string } }
}

export interface RequestInit {
  method?: string
  headers?: Record<string, string>
  /** Text is sent as it is, everything else as JSON. */
  body?: unknown
}

/** A response whose body may still be on its way. */
export interface Opened {
  status: number
  headers: IncomingHttpHeaders
  body: Readable
}

/** A whole response. `messages` are the JSON-RPC messages of its JSON body or its events. */
export interface Reply {
  status: number
  headers: IncomingHttpHeaders
  text: string
  events: EventSourceMessage[]
  messages: RpcMessage[]
}

export const REVISIONS = ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25'] as const
export const ACCEPT = 'application/json, text/event-stream'

// Long enough for a busy machine; nothing waits for it when all is well.
const PATIENCE_MS = 20_000

/** An app with the plugin, closed with the test. */
export async function createApp (t: Test, options: McpOptions = {}, server: FastifyServerOptions = {}): Promise<FastifyInstance> {
  const app = Fastify(server)
  t.after(() => app.close())
  await app.register(mcp, { name: 'test', version: '1.0.0', drain: { timeout: 0 }, ...options })
  return app
}

/** Listens on a free port of the loopback address and gives the base URL. */
export function listen (app: FastifyInstance): Promise<string> {
  return app.listen({ port: 0, host: '127.0.0.1' })
}

/** Rejects with what was waited for when it does not come. */
export async function within<T> (promise: Promise<T>, what: string, ms = PATIENCE_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms for ${what}`)), ms)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

/** Looks again until it holds. */
export async function until (holds: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`waited ${PATIENCE_MS} ms for ${what}`)
    await new Promise(resolve => setTimeout(resolve, 2))
  }
}

/** Sends one request and resolves with the head of its response. Nothing is added but `content-type` where there is a body. */
export async function open (target: Target, path: string, { method = 'GET', headers = {}, body }: RequestInit = {}): Promise<Opened> {
  const payload = body === undefined || typeof body === 'string' ? body : JSON.stringify(body)
  const sent: Record<string, string> = { ...(payload !== undefined && { 'content-type': 'application/json' }), ...headers }
  if (typeof target !== 'string') {
    const response = await within(inject(target, method, path, sent, payload), `${method} ${path}`)
    return { status: response.statusCode, headers: response.headers as IncomingHttpHeaders, body: response.stream() }
  }
  if (payload !== undefined) sent['content-length'] ??= String(Buffer.byteLength(payload))
  const outgoing = request(new URL(path, target), { method, headers: sent, agent: false })
  outgoing.end(payload)
  const [response] = await within(once(outgoing, 'response'), `${method} ${path}`)
  outgoing.on('error', () => {})
  return { status: response.statusCode, headers: response.headers, body: response }
}

async function inject (app: FastifyInstance, method: string, url: string, headers: Record<string, string>, payload?: string): Injected {
  return app.inject({ method: method as 'GET', url, headers, payload, payloadAsStream: true })
}

type Injected = Promise<LightMyRequestResponse>

/** Reads a response to its end. */
export async function read ({ status, headers, body }: Opened): Promise<Reply> {
  let text = ''
  await within((async () => {
    for await (const chunk of body.setEncoding('utf8')) text += chunk
  })(), 'the end of a response')
  const events: EventSourceMessage[] = []
  const type = headers['content-type'] ?? ''
  if (type.startsWith('text/event-stream')) createParser({ onEvent: event => events.push(event) }).feed(text)
  const messages = type.startsWith('application/json') && text !== '' ? [readJson(text)].flat() : events.filter(isMessage).map(parse)
  return { status, headers, text, events, messages }
}

/** Sends one request and reads its whole response. */
export async function send (target: Target, path: string, init?: RequestInit): Promise<Reply> {
  return read(await open(target, path, init))
}

// The event that opens a stream of 2025-11-25 has empty data.
const isMessage = ({ event, data }: EventSourceMessage): boolean => (event === undefined || event === 'message') && data !== ''
/** JSON without the ids that Fastify gives requests: errors name them, and each is another. A test of these looks at the text. */
export function readJson (text: string): any {
  return JSON.parse(text, (key, value) => key === 'request' && /^req-\w+$/.test(value) ? undefined : value)
}

const parse = ({ data }: EventSourceMessage): RpcMessage => readJson(data)

/** The events of an open response, one after another. */
export class EventStream {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** Pause it and nothing is read any more. */
  readonly body: Readable
  /** Everything that arrived, also what was not asked for yet. */
  readonly events: EventSourceMessage[] = []
  readonly comments: string[] = []
  /** The milliseconds that it was last told to wait before it comes back. */
  retry: number | undefined
  /** Resolves when nothing more comes, whoever ended it. */
  readonly closed: Promise<void>
  #read = 0
  #ended = false
  #wake = (): void => {}

  constructor ({ status, headers, body }: Opened) {
    this.status = status
    this.headers = headers
    this.body = body
    const parser = createParser({
      onEvent: event => this.events.push(event),
      onComment: text => this.comments.push(text),
      onRetry: ms => { this.retry = ms }
    })
    this.closed = new Promise(resolve => {
      body.once('close', () => {
        this.#ended = true
        this.#wake()
        resolve()
      })
    })
    body.on('error', () => {})
    body.setEncoding('utf8').on('data', text => {
      parser.feed(text)
      this.#wake()
    })
  }

  static async open (target: Target, path: string, init: RequestInit = {}): Promise<EventStream> {
    return new EventStream(await open(target, path, { ...init, headers: { accept: ACCEPT, ...init.headers } }))
  }

  /** Every message that arrived. */
  get messages (): RpcMessage[] {
    return this.events.filter(isMessage).map(parse)
  }

  /** The next event. Rejects when the stream ends instead. */
  async next (): Promise<EventSourceMessage> {
    let event = this.events[this.#read]
    while (event === undefined) {
      if (this.#ended) throw new Error('the stream ended before the next event')
      await within(new Promise<void>(resolve => { this.#wake = resolve }), 'the next event')
      event = this.events[this.#read]
    }
    this.#read++
    return event
  }

  /** The next message that fits; what comes before it is passed over. */
  async message (fits: (message: RpcMessage) => boolean = () => true): Promise<RpcMessage> {
    for (;;) {
      const event = await this.next()
      if (isMessage(event) && fits(parse(event))) return parse(event)
    }
  }

  /** Breaks the connection. A server that was reached by `inject` does not notice. */
  close (): Promise<void> {
    this.body.destroy()
    return this.closed
  }
}

export interface ConnectOptions {
  revision?: string
  path?: string
  /** Go with every request, an Authorization for example. */
  headers?: Record<string, string>
  capabilities?: object
}

const hello = (revision: string, capabilities: object = {}): object =>
  ({ protocolVersion: revision, capabilities, clientInfo: { name: 'raw', version: '1.0.0' } })

/** A client of Streamable HTTP. It sends the revision it asked for, whatever was negotiated. */
export class Client {
  readonly target: Target
  readonly path: string
  readonly headers: Record<string, string>
  /** Undefined in stateless mode. */
  sessionId: string | undefined
  /** The result of `initialize`. */
  server: any
  #ids = 0

  constructor (target: Target, { path = '/mcp', headers = {} }: ConnectOptions = {}) {
    this.target = target
    this.path = path
    this.headers = { accept: ACCEPT, ...headers }
  }

  /** Initializes a session at a revision. */
  static async connect (target: Target, options: ConnectOptions = {}): Promise<Client> {
    const { revision = '2025-11-25', capabilities } = options
    const client = new Client(target, options)
    const { messages: [answer], headers } = await client.post({ jsonrpc: '2.0', id: 0, method: 'initialize', params: hello(revision, capabilities) })
    client.server = answer?.result
    const id = headers['mcp-session-id']
    if (typeof id === 'string') client.headers['mcp-session-id'] = client.sessionId = id
    if (revision >= '2025-06-18') client.headers['mcp-protocol-version'] = revision
    await client.notify('notifications/initialized')
    return client
  }

  nextId (): number {
    return ++this.#ids
  }

  /** What is sent, with the headers that go with every request. */
  init (method: string, headers: Record<string, string> = {}, body?: unknown): RequestInit {
    return { method, headers: { ...this.headers, ...headers }, body }
  }

  /** POSTs anything and reads the whole response. */
  post (body: unknown, headers?: Record<string, string>): Promise<Reply> {
    return send(this.target, this.path, this.init('POST', headers, body))
  }

  /** POSTs anything and reads the response as it comes. */
  stream (body: unknown, headers?: Record<string, string>): Promise<EventStream> {
    return EventStream.open(this.target, this.path, this.init('POST', headers, body))
  }

  /** The answer to one request. */
  async request (method: string, params?: object): Promise<RpcMessage> {
    const id = this.nextId()
    const { messages, text, status } = await this.post({ jsonrpc: '2.0', id, method, params })
    const answer = messages.find(message => message.id === id)
    if (answer === undefined) throw new Error(`no answer to ${method}: ${status} ${text}`)
    return answer
  }

  call (name: string, args: object = {}, progressToken?: string | number): Promise<RpcMessage> {
    return this.request('tools/call', { name, arguments: args, ...(progressToken !== undefined && { _meta: { progressToken } }) })
  }

  notify (method: string, params?: object): Promise<Reply> {
    return this.post({ jsonrpc: '2.0', method, params })
  }

  cancel (requestId: string | number): Promise<Reply> {
    return this.notify('notifications/cancelled', { requestId })
  }

  /** GETs the session's own stream, or the rest of the one that an event id names. */
  get (lastEventId?: string): Promise<EventStream> {
    return EventStream.open(this.target, this.path, this.init('GET', lastEventId === undefined ? {} : { 'last-event-id': lastEventId }))
  }

  delete (): Promise<Reply> {
    return send(this.target, this.path, this.init('DELETE'))
  }
}

const META = 'io.modelcontextprotocol/'
export const STATELESS = '2026-07-28'
const NAMED_BY: Record<string, string> = { 'tools/call': 'name', 'prompts/get': 'name', 'resources/read': 'uri' }

/** The `_meta` that a request of 2026-07-28 needs. What is undefined of `fields` is left out. */
export function envelope (fields: Record<string, unknown> = {}): Record<string, unknown> {
  const given = Object.entries(fields).map(([name, value]) => [META + name, value])
  return { [`${META}protocolVersion`]: STATELESS, [`${META}clientCapabilities`]: {}, ...Object.fromEntries(given) }
}

/** The headers that mirror a message of 2026-07-28. */
export function mirrors ({ method, params = {} }: { method: string, params?: Record<string, unknown> }): Record<string, string> {
  const name = params[NAMED_BY[method] ?? '']
  return { 'mcp-protocol-version': STATELESS, 'mcp-method': method, ...(typeof name === 'string' && { 'mcp-name': name }) }
}

export interface StatelessOptions extends ConnectOptions {
  logLevel?: string
}

/** A client of 2026-07-28: each of its requests brings its envelope and the headers that mirror it. */
export class StatelessClient extends Client {
  readonly #meta: Record<string, unknown>

  constructor (target: Target, { capabilities = {}, logLevel, ...options }: StatelessOptions = {}) {
    super(target, options)
    this.#meta = envelope({ clientCapabilities: capabilities, clientInfo: { name: 'raw', version: '1.0.0' }, logLevel })
  }

  override init (method: string, headers: Record<string, string> = {}, body?: any): RequestInit {
    if (typeof body?.method !== 'string') return super.init(method, { 'mcp-protocol-version': STATELESS, ...headers }, body)
    const params = { ...body.params, _meta: { ...this.#meta, ...body.params?._meta } }
    return super.init(method, { ...mirrors(body), ...headers }, { ...body, params })
  }
}

/** A client of HTTP+SSE. */
export class SseClient {
  readonly target: Target
  readonly headers: Record<string, string>
  readonly stream: EventStream
  /** Where it posts to. */
  readonly endpoint: string
  #ids = 0

  private constructor (target: Target, headers: Record<string, string>, stream: EventStream, endpoint: string) {
    this.target = target
    this.headers = headers
    this.stream = stream
    this.endpoint = endpoint
  }

  /** Opens the stream without a word. */
  static async open (target: Target, { path = '/sse', headers = {} }: ConnectOptions = {}): Promise<SseClient> {
    const stream = await EventStream.open(target, path, { headers })
    const { event, data } = await stream.next()
    if (event !== 'endpoint') throw new Error(`the first event is ${event}, not endpoint`)
    return new SseClient(target, headers, stream, data)
  }

  /** Opens the stream and initializes the session. */
  static async connect (target: Target, options: ConnectOptions = {}): Promise<SseClient> {
    const client = await SseClient.open(target, options)
    await client.request('initialize', hello(options.revision ?? '2024-11-05', options.capabilities))
    await client.notify('notifications/initialized')
    return client
  }

  nextId (): number {
    return ++this.#ids
  }

  post (body: unknown, headers?: Record<string, string>): Promise<Reply> {
    return send(this.target, this.endpoint, { method: 'POST', headers: { ...this.headers, ...headers }, body })
  }

  /** The answer to one request, from the stream; messages before it stay in `stream.messages`. */
  async request (method: string, params?: object): Promise<RpcMessage> {
    const id = this.nextId()
    const { status, text } = await this.post({ jsonrpc: '2.0', id, method, params })
    if (status !== 202) throw new Error(`${method} was not accepted: ${status} ${text}`)
    return this.stream.message(message => message.id === id && message.method === undefined)
  }

  call (name: string, args: object = {}, progressToken?: string | number): Promise<RpcMessage> {
    return this.request('tools/call', { name, arguments: args, ...(progressToken !== undefined && { _meta: { progressToken } }) })
  }

  notify (method: string, params?: object): Promise<Reply> {
    return this.post({ jsonrpc: '2.0', method, params })
  }

  close (): Promise<void> {
    return this.stream.close()
  }
}
