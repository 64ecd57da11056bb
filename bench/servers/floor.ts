import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { ready } from './control.ts'
import { KEEP_ALIVE_MS, produce } from './work.ts'

// The least a server can do: node:http, JSON.parse of the body, and the bytes that the plugin writes for the same request.

interface Message {
  id?: number
  method: string
  params: { name: string, arguments: { message: string, chunks: number, bytes: number }, _meta?: { progressToken: number } }
}

const JSON_TYPE = 'application/json; charset=utf-8'
const SSE_HEAD = { 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform', 'x-accel-buffering': 'no' }

interface Stream {
  response: ServerResponse
  sent: number
}

/** The open streams by their sessions. */
const streams = new Map<string, Stream>()

const NODE = newId(6)
let named = 0

function newId (bytes: number): string {
  return randomBytes(bytes).toString('base64url')
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

function event (json: string, id: string): string {
  return `event: message\nid: ${id}\ndata: ${json}\n\n`
}

function sendJson (response: ServerResponse, json: string, headers: Record<string, string> = {}): void {
  response.writeHead(200, { ...headers, 'content-type': JSON_TYPE, 'content-length': Buffer.byteLength(json) })
  response.end(json)
}

function accept (response: ServerResponse): void {
  response.writeHead(202, { 'content-length': 0 })
  response.end()
}

async function stream (response: ServerResponse, { id, params }: Message): Promise<void> {
  const name = `${newName()}.i${id}`
  let sent = 0
  response.writeHead(200, SSE_HEAD)
  response.write(`id: ${name}_0\nretry: 1000\ndata: \n\n`)
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
  if (message.method === 'initialize') return sendJson(response, initialized(message.id), { 'mcp-session-id': newId(18) })
  if (message.id === undefined) return accept(response)
  if (message.params.name === 'echo') return sendJson(response, result(message.id, message.params.arguments.message))
  stream(response, message).catch(() => response.destroy())
}

function onMessages (request: IncomingMessage, response: ServerResponse, message: Message): void {
  const session = request.url?.slice('/messages?sessionId='.length) ?? ''
  accept(response)
  if (message.id === undefined) return
  const answer = message.method === 'initialize' ? initialized(message.id) : result(message.id, message.params.arguments.message)
  const stream = streams.get(session)
  stream?.response.write(event(answer, `${session}_${++stream.sent}`))
}

function open (request: IncomingMessage, response: ServerResponse): void {
  response.writeHead(200, SSE_HEAD)
  const isOld = request.url === '/sse'
  const session = isOld ? newId(18) : String(request.headers['mcp-session-id'])
  streams.set(session, { response, sent: 0 })
  response.write(isOld
    ? `event: endpoint\nid: ${session}_0\nretry: 1000\ndata: /messages?sessionId=${session}\n\n`
    : `id: ${newName()}_0\nretry: 1000\ndata: \n\n: open\n\n`)
}

const server = createServer({ keepAliveTimeout: 72_000, requestTimeout: 0 }, (request, response) => {
  if (request.method === 'GET') return open(request, response)
  const parts: Buffer[] = []
  request.on('data', (part: Buffer) => { parts.push(part) })
  request.on('end', () => {
    const message: Message = JSON.parse(Buffer.concat(parts).toString())
    if (request.url === '/mcp') onSession(request, response, message)
    else onMessages(request, response, message)
  })
})

setInterval(() => {
  for (const { response } of streams.values()) response.write(': keep-alive\n\n')
}, KEEP_ALIVE_MS)

server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo
  ready(port)
})
