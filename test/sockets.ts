// What the streaming tests share: every transport in one shape, doors that a test opens, and a server that is plain node:http.
import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect as connectSocket, createServer as createRelay, Socket } from 'node:net'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import type { McpOptions } from 'fastify-mcp-sse'
import type { Test } from 'tap'
import { ACCEPT, Client, createApp, EventStream, listen, readJson, type RequestInit, type RpcMessage, send, SseClient, StatelessClient, within } from './client.ts'

/** A door that a test opens. */
export function gate () {
  let open = (): void => {}
  const opened = new Promise<void>(resolve => { open = resolve })
  return { opened, open }
}

export type Transport = '2025-03-26' | '2025-06-18' | '2025-11-25' | 'stateless' | '2026-07-28' | 'http+sse'

export const SESSIONS = ['2025-03-26', '2025-06-18', '2025-11-25'] as const
/** Where nothing is kept between requests: the session revisions without sessions, and the revision that has none. */
export const SESSIONLESS = ['stateless', '2026-07-28'] as const
export const TRANSPORTS = [...SESSIONS, ...SESSIONLESS, 'http+sse'] as const

export const isSessionless = (transport: Transport): boolean => transport === 'stateless' || transport === '2026-07-28'

/** A result as a transport tells it: on 2026-07-28 it says what it is and who gave it. */
export function told (transport: Transport, result: object): object {
  if (transport !== '2026-07-28') return result
  return { resultType: 'complete', ...result, _meta: { 'io.modelcontextprotocol/serverInfo': { name: 'test', version: '1.0.0' } } }
}

/** One call while it runs. */
export interface Ongoing {
  readonly id: number
  /** What its notifications and its answer come on. Over HTTP+SSE other calls share it. */
  readonly stream: EventStream
  /** The next progress notification's params. */
  progress (): Promise<{ progressToken: string | number, progress: number, total?: number, message?: string, _meta?: Record<string, unknown> }>
  answer (): Promise<RpcMessage>
}

/** A client on one transport. */
export interface Peer {
  readonly sessionId: string | undefined
  /** Resolves with the head of the response: with a progress token, once the tool told something. */
  start (tool: string, args?: object, progressToken?: string | number): Promise<Ongoing>
  /** Starts a call whose answer nobody reads. Over HTTP+SSE it gets a session of its own. */
  startDeaf (tool: string, args?: object): Promise<{ id: number, deaf: DeafClient, cancel: () => Promise<unknown> }>
  /** Comes back for what follows an event. */
  resume (lastEventId: string): Promise<EventStream>
  cancel (id: number): Promise<unknown>
  /** Ends the session, over Streamable HTTP alone. */
  end (): Promise<unknown>
  request (method: string, params?: object): Promise<RpcMessage>
}

const PROGRESS = 'notifications/progress'

function ongoing (id: number, progressToken: string | number | undefined, stream: EventStream): Ongoing {
  const isMine = ({ method, params }: RpcMessage): boolean => method === PROGRESS && params.progressToken === progressToken
  return {
    id,
    stream,
    progress: async () => (await stream.message(isMine)).params,
    answer: () => stream.message(message => message.id === id && message.method === undefined)
  }
}

const callOf = (id: number, name: string, args: object = {}, progressToken?: string | number): object =>
  ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: args, ...(progressToken !== undefined && { _meta: { progressToken } }) } })

function overHttp (url: string, client: Client): Peer {
  return {
    sessionId: client.sessionId,
    async start (tool, args, progressToken) {
      const id = client.nextId()
      return ongoing(id, progressToken, await client.stream(callOf(id, tool, args, progressToken)))
    },
    async startDeaf (tool, args) {
      const id = client.nextId()
      const deaf = await DeafClient.ask(url, '/mcp', client.init('POST', {}, callOf(id, tool, args, id)))
      return { id, deaf, cancel: () => client.cancel(id) }
    },
    resume: lastEventId => client.get(lastEventId),
    cancel: id => client.cancel(id),
    end: () => client.delete(),
    request: (method, params) => client.request(method, params)
  }
}

function overSse (url: string, client: SseClient): Peer {
  return {
    sessionId: new URL(client.endpoint, url).searchParams.get('sessionId') ?? undefined,
    async start (tool, args, progressToken) {
      const id = client.nextId()
      await client.post(callOf(id, tool, args, progressToken))
      return ongoing(id, progressToken, client.stream)
    },
    async startDeaf (tool, args) {
      const id = client.nextId()
      const deaf = await DeafClient.ask(url, '/sse')
      const [, endpoint = ''] = /^data: (.*)$/m.exec(await deaf.readTo('\n\n')) ?? []
      const post = (body: object) => send(url, endpoint, { method: 'POST', body })
      await post(callOf(id, tool, args, id))
      return { id, deaf, cancel: () => post({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: id } }) }
    },
    resume: lastEventId => EventStream.open(url, '/sse', { headers: { 'last-event-id': lastEventId } }),
    cancel: id => client.notify('notifications/cancelled', { requestId: id }),
    end: () => client.close(),
    request: (method, params) => client.request(method, params)
  }
}

/** Connects a client over one transport. */
async function connect (url: string, transport: Transport): Promise<Peer> {
  if (transport === 'http+sse') return overSse(url, await SseClient.connect(url))
  if (transport === '2026-07-28') return overHttp(url, new StatelessClient(url, { logLevel: 'info' }))
  return overHttp(url, await Client.connect(url, { revision: transport === 'stateless' ? '2025-11-25' : transport }))
}

export interface Served {
  readonly app: FastifyInstance
  readonly url: string
  /** Lines of the log, parsed. */
  readonly logs: { level: number, msg: string, tool?: string, err?: { code?: string, message: string, stack: string } }[]
  /** Another client. */
  peer (): Promise<Peer>
}

/** An app on a free port, with its log, for clients of one transport. */
export async function serve (t: Test, transport: Transport, options: McpOptions = {}, server: FastifyServerOptions = {}): Promise<Served> {
  const logs: Served['logs'] = []
  const stream = { write: (line: string) => { logs.push(JSON.parse(line)) } }
  const app = await createApp(t, {
    ...options, ...(transport === 'stateless' && { sessions: false as const })
  }, { logger: { level: 'warn', stream }, ...server })
  let listening: Promise<string> | undefined
  return {
    app,
    logs,
    get url () {
      const address = app.server.address() as AddressInfo
      return `http://127.0.0.1:${address.port}`
    },
    peer: async () => connect(await (listening ??= listen(app)), transport)
  }
}

/** What a server wrote, and what of it never left its process. */
export interface Output {
  written: number
  held: number
}

/** Bytes that left this process for a socket. */
export function leftFor (socket: Socket): number {
  return socket.bytesWritten - socket.writableLength
}

/** Plain node:http that writes `frame` to whoever asks until `write` says no, waits for `drain`, and goes on. */
export async function rawServer (t: Test, frame: string, path?: string) {
  let written = 0
  const sockets: Socket[] = []
  const server = createServer(async (_request, response) => {
    const { socket } = response
    if (socket !== null) sockets.push(socket)
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const closed = once(response, 'close')
    while (!response.destroyed) {
      written += frame.length
      if (!response.write(frame)) await Promise.race([once(response, 'drain'), closed])
    }
  })
  server.listen(path === undefined ? { port: 0, host: '127.0.0.1' } : { path })
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const address = server.address()
  return {
    url: typeof address === 'object' && address !== null ? `http://127.0.0.1:${address.port}` : '',
    written: () => written,
    output: (): Output => ({ written, held: written - leftFor(sockets[0] as Socket) })
  }
}

/** A wire that a test can cut. Only bytes go through, so nothing of HTTP is hidden or mended. */
export async function wire (t: Test, url: string): Promise<{ url: string, cut: () => void }> {
  const sockets = new Set<Socket>()
  const keep = (socket: Socket): Socket => {
    sockets.add(socket)
    return socket.on('error', () => {}).on('close', () => sockets.delete(socket))
  }
  const cut = (): void => sockets.forEach(socket => socket.destroy())
  const server = createRelay(inner => {
    const outer = keep(connectSocket(Number(new URL(url).port), '127.0.0.1'))
    keep(inner).pipe(outer).pipe(inner)
    inner.on('close', () => outer.destroy())
    outer.on('close', () => inner.destroy())
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    cut()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, cut }
}

/**
 * A client that asks and then reads nothing at all until it is told to. It speaks HTTP/1.0, so that its body has no chunks.
 * `where`: a base URL, or the path of a local socket.
 */
export class DeafClient {
  readonly socket = new Socket()
  #text = ''

  static async ask (where: string, path: string, { method = 'GET', headers = {}, body }: RequestInit = {}): Promise<DeafClient> {
    const client = new DeafClient()
    client.socket.on('error', () => {})
    // Before it connects: from then on a socket reads by itself.
    client.socket.pause()
    client.socket.connect(where.startsWith('http') ? { port: Number(new URL(where).port), host: '127.0.0.1' } : { path: where })
    await once(client.socket, 'connect')
    const text = body === undefined ? '' : JSON.stringify(body)
    const sent = { host: 'localhost', accept: ACCEPT, 'content-type': 'application/json', 'content-length': text.length, ...headers }
    const lines = Object.entries(sent).map(([name, value]) => `${name}: ${value}\r\n`)
    client.socket.write(`${method} ${path} HTTP/1.0\r\n${lines.join('')}\r\n${text}`)
    return client
  }

  /** Reads until the text holds `mark`, then no more. */
  async readTo (mark: string): Promise<string> {
    this.socket.setEncoding('latin1')
    let searched = 0
    while (!this.#text.includes(mark, searched)) {
      searched = Math.max(0, this.#text.length - mark.length)
      this.socket.resume()
      const [chunk] = await within(once(this.socket, 'data'), mark)
      this.socket.pause()
      this.#text += chunk
    }
    return this.#text
  }

  /** Reads to the end of the connection. */
  async readAll (): Promise<string> {
    this.socket.setEncoding('latin1').on('data', chunk => { this.#text += chunk }).resume()
    if (!this.socket.closed) await within(once(this.socket, 'close'), 'the end of a response')
    return this.#text
  }

  close (): void {
    this.socket.destroy()
  }
}

/** The JSON-RPC messages of a body. */
export function messagesIn (text: string): RpcMessage[] {
  return [...text.matchAll(/^data: (\{.*)$/gm)].map(([, json]) => readJson(json as string))
}

/** Numbers that look random and are the same in every run (mulberry32). */
export function seeded (seed: number): () => number {
  return () => {
    seed = (seed + 0x6D2B79F5) | 0
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** Resolves when a value has not changed for `ms`. */
export async function settles (value: () => number, ms = 100): Promise<number> {
  let last = value()
  let since = Date.now()
  while (Date.now() - since < ms) {
    await new Promise(resolve => setTimeout(resolve, 5))
    if (value() !== last) {
      last = value()
      since = Date.now()
    }
  }
  return last
}

/** Where the event with the nth message ends in a response. */
export function endOfMessage (text: string, nth: number): number {
  let end = 0
  for (let count = 0; count < nth; count++) end = text.indexOf('\n\n', text.indexOf('data: {', end)) + 2
  return end
}
