import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { ready } from './control.ts'
import { ORIGIN, readWanted } from './wanted.ts'
import { KEEP_ALIVE_MS, produce } from './work.ts'

// The least a server can do: node:http, JSON.parse of the body, and the bytes that the plugin writes for the same request.

interface Message {
  id?: number
  method: string
  params: { name: string, arguments: { message: string, chunks: number, bytes: number }, _meta?: { progressToken: number } }
}

const JSON_TYPE = 'application/json; charset=utf-8'

interface Stream {
  response: ServerResponse
  /** Begins the ids of its events. */
  name: string
  sent: number
}

interface Session {
  /** When its client last came. */
  seen: number
  /** The one that it holds open. */
  stream: Stream | null
}

const { idle, guarded } = readWanted()
// What the plugin writes into the head of each answer.
const HEAD = {
  'content-security-policy': "default-src 'none';frame-ancestors 'none'",
  'cross-origin-resource-policy': guarded ? 'cross-origin' : 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  ...(guarded && {
    vary: 'Origin',
    'access-control-allow-origin': ORIGIN,
    'access-control-expose-headers': 'mcp-session-id, mcp-protocol-version, www-authenticate, retry-after, ratelimit, ratelimit-policy, ' +
      'ratelimit-limit, ratelimit-remaining, ratelimit-reset, x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset',
    'ratelimit-limit': '1000000000',
    'ratelimit-remaining': '999999997',
    'ratelimit-reset': '60'
  })
}
const SSE_HEAD = { ...HEAD, 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform', 'x-accel-buffering': 'no' }
const SWEEP_MS = 1_000
const sessions = new Map<string, Session>()

const NODE = newId(6)
let named = 0

function newId (bytes: number): string {
  return randomBytes(bytes).toString('base64url')
}

function newSession (): string {
  const id = newId(18)
  sessions.set(id, { seen: Date.now(), stream: null })
  return id
}

function newName (): string {
  return NODE + (++named).toString(36)
}

function initialized (id: number | undefined): string {
  return JSON.stringify({
    jsonrpc: '2.0',
    id,
    result: {
      protocolVersion: '2025-11-25',
      capabilities: { logging: {}, tools: { listChanged: true } },
      serverInfo: { name: 'bench', version: '1.0.0' }
    }
  })
}

function result (id: number | undefined, text: string): string {
  return JSON.stringify({ jsonrpc: '2.0', id, result: { content: [{ type: 'text', text }] } })
}

function standaloneResult (id: number | undefined, text: string): string {
  return JSON.stringify({
    jsonrpc: '2.0',
    id,
    result: {
      resultType: 'complete',
      content: [{ type: 'text', text }],
      _meta: { 'io.modelcontextprotocol/serverInfo': { name: 'bench', version: '1.0.0' } }
    }
  })
}

function event (json: string, id: string): string {
  return `event: message\nid: ${id}\ndata: ${json}\n\n`
}

function priming (name: string): string {
  return `id: ${name}_0\nretry: 1000\ndata: \n\n`
}

function sendJson (response: ServerResponse, json: string, headers: Record<string, string> = {}): void {
  response.writeHead(200, { ...HEAD, ...headers, 'content-type': JSON_TYPE, 'content-length': Buffer.byteLength(json) })
  response.end(json)
}

function sendEmpty (response: ServerResponse, status: number): void {
  response.writeHead(status, { ...HEAD, 'content-length': 0 })
  response.end()
}

/** An answer that is a stream, and known at once. */
function sendEvent (response: ServerResponse, json: string, name: string): void {
  const text = priming(name) + event(json, `${name}_1`)
  response.writeHead(200, { ...SSE_HEAD, 'content-length': Buffer.byteLength(text) })
  response.end(text)
}

/** Tells every open stream that the list of tools has changed. */
function tellAll (): void {
  const json = JSON.stringify({ jsonrpc: '2.0', method: 'notifications/tools/list_changed' })
  for (const { stream } of sessions.values()) stream?.response.write(event(json, `${stream.name}_${++stream.sent}`))
}

async function stream (response: ServerResponse, { id, params }: Message): Promise<void> {
  const name = `${newName()}.i${id}`
  let sent = 0
  response.writeHead(200, SSE_HEAD)
  response.write(priming(name))
  let text = ''
  for await (const message of produce(params.arguments)) {
    if (params.name === 'chunks') text += message
    const json = JSON.stringify({
      jsonrpc: '2.0',
      method: 'notifications/progress',
      params: { progressToken: params._meta?.progressToken, progress: sent, message }
    })
    if (!response.write(event(json, `${name}_${++sent}`))) await once(response, 'drain')
  }
  response.end(event(result(id, text), `${name}_${++sent}`))
}

function onSession (request: IncomingMessage, response: ServerResponse, message: Message): void {
  const { headers } = request
  if (message.method === 'initialize') return sendJson(response, initialized(message.id), { 'mcp-session-id': newSession() })
  const id = headers['mcp-session-id']
  if (typeof id === 'string') {
    const session = sessions.get(id)
    const now = Date.now()
    if (session === undefined || session.seen < now - idle) {
      sessions.delete(id)
      return sendEmpty(response, 404)
    }
    session.seen = now
  }
  if (message.id === undefined) return sendEmpty(response, 202)
  const { name, arguments: input } = message.params
  if (name === 'toggle') {
    tellAll()
    return sendJson(response, result(message.id, 'toggled'))
  }
  if (name !== 'echo') {
    stream(response, message).catch(() => response.destroy())
    return
  }
  if (headers['mcp-protocol-version'] === '2026-07-28') return sendJson(response, standaloneResult(message.id, input.message))
  const json = result(message.id, input.message)
  if (headers.accept === 'text/event-stream') sendEvent(response, json, `${newName()}.i${message.id}`)
  else sendJson(response, json)
}

function onMessages (request: IncomingMessage, response: ServerResponse, message: Message): void {
  const session = request.url?.slice('/messages?sessionId='.length) ?? ''
  sendEmpty(response, 202)
  if (message.id === undefined) return
  const answer = message.method === 'initialize' ? initialized(message.id) : result(message.id, message.params.arguments.message)
  const stream = sessions.get(session)?.stream
  stream?.response.write(event(answer, `${session}_${++stream.sent}`))
}

function open (request: IncomingMessage, response: ServerResponse): void {
  const isOld = request.url === '/sse'
  const id = isOld ? newSession() : String(request.headers['mcp-session-id'])
  const session = sessions.get(id)
  if (session === undefined) return sendEmpty(response, 404)
  const name = isOld ? id : newName()
  session.stream = { response, name, sent: 0 }
  response.on('close', () => {
    session.stream = null
    session.seen = Date.now()
  })
  response.writeHead(200, SSE_HEAD)
  response.write(isOld ? `event: endpoint\nid: ${id}_0\nretry: 1000\ndata: /messages?sessionId=${id}\n\n` : `${priming(name)}: open\n\n`)
}

function end (request: IncomingMessage, response: ServerResponse): void {
  const id = String(request.headers['mcp-session-id'])
  const session = sessions.get(id)
  session?.stream?.response.end()
  sendEmpty(response, sessions.delete(id) ? 200 : 404)
}

const server = createServer({ keepAliveTimeout: 72_000, requestTimeout: 0 }, (request, response) => {
  if (request.method === 'GET') return open(request, response)
  if (request.method === 'DELETE') return end(request, response)
  const parts: Buffer[] = []
  request.on('data', (part: Buffer) => { parts.push(part) })
  request.on('end', () => {
    const message: Message = JSON.parse(Buffer.concat(parts).toString())
    if (request.url === '/mcp') onSession(request, response, message)
    else onMessages(request, response, message)
  })
})

setInterval(() => {
  for (const { stream } of sessions.values()) stream?.response.write(': keep-alive\n\n')
}, KEEP_ALIVE_MS)

setInterval(() => {
  const expired = Date.now() - idle
  for (const [id, { seen, stream }] of sessions) if (seen < expired && stream === null) sessions.delete(id)
}, SWEEP_MS)

server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo
  ready(port, { sessions: () => sessions.size })
})
