// A proxy that does to MCP what proxies do: it holds streams back, compresses, cuts, drops headers, and moves paths.
import { once } from 'node:events'
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { createGzip, constants } from 'node:zlib'
import type { Test } from 'tap'

export interface Mischief {
  /** Bodies of streams leave when they are whole. */
  holds?: boolean
  /** The heads of streams too. */
  holdsHeads?: boolean
  gzips?: boolean
  /** Response headers that are dropped. */
  drops?: string[]
  /** Request headers that are dropped. */
  dropsAsked?: string[]
  /** Response headers that are set. */
  sets?: Record<string, string>
  /** Milliseconds of silence after which streams are cut. */
  cuts?: number
  howCut?: 'end' | 'reset'
  /** Goes before the paths outside, and is taken away inside. */
  prefix?: string
  /** Whose connections are broken without an answer. */
  breaks?: (request: IncomingMessage, body: string) => boolean
  /** What is answered in place of the server. */
  answers?: (request: IncomingMessage, body: string) => { status: number, headers?: Record<string, string>, body?: string } | undefined
}

export async function startMeddler (t: Test, target: string, mischief: Mischief): Promise<string> {
  const sockets = new Set<Socket>()
  const server = createServer((incoming, reply) => {
    pass(incoming, reply, target, mischief).catch(error => reply.destroy(error))
  })
  server.on('connection', socket => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    sockets.forEach(socket => socket.destroy())
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function pass (incoming: IncomingMessage, reply: ServerResponse, target: string, mischief: Mischief): Promise<void> {
  const parts: Buffer[] = []
  for await (const part of incoming) parts.push(part)
  const body = Buffer.concat(parts)
  if (mischief.breaks?.(incoming, body.toString())) {
    reply.destroy()
    return
  }
  const own = mischief.answers?.(incoming, body.toString())
  if (own !== undefined) {
    reply.writeHead(own.status, own.headers).end(own.body)
    return
  }
  const { prefix = '', dropsAsked = [] } = mischief
  const url = incoming.url ?? '/'
  if (!url.startsWith(prefix)) {
    reply.writeHead(404).end()
    return
  }
  const asked = Object.entries(incoming.headers).filter(([name]) => !dropsAsked.includes(name))
  const outgoing = request(new URL(url.slice(prefix.length), target), { method: incoming.method, headers: { ...Object.fromEntries(asked), connection: 'close' }, agent: false })
  reply.on('close', () => outgoing.destroy())
  outgoing.on('error', () => reply.destroy())
  outgoing.on('response', response => answer(response, reply, mischief))
  outgoing.end(body)
}

function answer (response: IncomingMessage, reply: ServerResponse, { holds, holdsHeads, gzips, drops = [], sets, cuts, howCut }: Mischief): void {
  const gone = [...drops, 'connection', 'keep-alive', 'transfer-encoding', ...(gzips ? ['content-length'] : [])]
  const headers = Object.fromEntries(Object.entries(response.headers).filter(([name]) => !gone.includes(name)))
  const isStream = response.headers['content-type']?.startsWith('text/event-stream') === true
  const isZipped = gzips === true && isStream
  const head = (): void => {
    reply.writeHead(response.statusCode ?? 502, { ...headers, ...sets, ...(isZipped && { 'content-encoding': 'gzip' }) })
    reply.flushHeaders()
  }
  const sink = isZipped ? createGzip({ flush: constants.Z_SYNC_FLUSH }) : reply
  if (sink !== reply) sink.pipe(reply)
  if (!(holdsHeads && isStream)) head()
  const kept: Buffer[] = []
  let timer: NodeJS.Timeout | undefined
  const rest = (): void => {
    clearTimeout(timer)
    if (cuts !== undefined && isStream) timer = setTimeout(() => { howCut === 'reset' ? reply.destroy() : reply.end() }, cuts).unref()
  }
  rest()
  response.on('data', (chunk: Buffer) => {
    rest()
    if (holds && isStream) kept.push(chunk)
    else if (!reply.writableEnded) sink.write(chunk)
  })
  response.on('end', () => {
    clearTimeout(timer)
    if (!reply.headersSent) head()
    for (const chunk of kept) sink.write(chunk)
    sink.end()
  })
  response.on('error', () => reply.destroy())
}
