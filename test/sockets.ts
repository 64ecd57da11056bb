// What the streaming tests share: every transport in one shape, doors that a test opens, and a server that is plain node:http.
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import type { McpOptions } from 'fastify-mcp-sse'
import type { Test } from 'tap'
import { Client, createApp, type EventStream, listen, type RpcMessage, SseClient } from './client.ts'

/** A door that a test opens. */
export function gate () {
  let open = (): void => {}
  const opened = new Promise<void>(resolve => { open = resolve })
  return { opened, open }
}

export type Transport = '2025-03-26' | '2025-06-18' | '2025-11-25' | 'stateless' | 'http+sse'

export const SESSIONS = ['2025-03-26', '2025-06-18', '2025-11-25'] as const
export const TRANSPORTS = [...SESSIONS, 'stateless', 'http+sse'] as const

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
  cancel (id: number): Promise<unknown>
  ping (): Promise<RpcMessage>
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

const callOf = (id: number, name: string, args: object, progressToken?: string | number): object =>
  ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: args, ...(progressToken !== undefined && { _meta: { progressToken } }) } })

function overHttp (client: Client): Peer {
  return {
    sessionId: client.sessionId,
    async start (tool, args = {}, progressToken) {
      const id = client.nextId()
      return ongoing(id, progressToken, await client.stream(callOf(id, tool, args, progressToken)))
    },
    cancel: id => client.cancel(id),
    ping: () => client.request('ping')
  }
}

function overSse (client: SseClient): Peer {
  return {
    sessionId: undefined,
    async start (tool, args = {}, progressToken) {
      const id = client.nextId()
      await client.post(callOf(id, tool, args, progressToken))
      return ongoing(id, progressToken, client.stream)
    },
    cancel: id => client.notify('notifications/cancelled', { requestId: id }),
    ping: () => client.request('ping')
  }
}

/** Connects a client over one transport. */
export async function connect (url: string, transport: Transport): Promise<Peer> {
  if (transport === 'http+sse') return overSse(await SseClient.connect(url))
  return overHttp(await Client.connect(url, { revision: transport === 'stateless' ? '2025-11-25' : transport }))
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

/** What a producer gets away with on plain node:http when nobody reads: bytes written until `write` says no and stays at it. */
export interface Floor {
  readonly url: string
  /** Bytes that were written to the response of the last request. */
  written: number
}

/** Writes `frame` again and again to whoever asks, and waits for `drain` whenever `write` says no. */
export async function rawServer (t: Test, frame: string): Promise<Floor> {
  const floor = { url: '', written: 0 }
  const server = createServer(async (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const closed = once(response, 'close')
    while (!response.destroyed) {
      floor.written += frame.length
      if (!response.write(frame)) await Promise.race([once(response, 'drain'), closed])
    }
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  floor.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return floor
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
