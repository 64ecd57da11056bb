/** What the echo tool is asked to say, and so what a right answer holds. */
export const ECHO = 'the quick brown fox jumps over the lazy dog'

// Ids of one width keep every request and every answer at one length.
const FIRST_ID = 1_000_000
let lastId = FIRST_ID

export function nextId (): number {
  return ++lastId
}

export function initialize (protocolVersion: string): string {
  return JSON.stringify({
    jsonrpc: '2.0',
    id: nextId(),
    method: 'initialize',
    params: { protocolVersion, capabilities: {}, clientInfo: { name: 'bench', version: '1.0.0' } }
  })
}

export const INITIALIZED = JSON.stringify({ jsonrpc: '2.0', method: 'notifications/initialized' })

export function call (id: number, name: string, input: object, progressToken?: number): string {
  const meta = progressToken === undefined ? {} : { _meta: { progressToken } }
  return JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: input, ...meta } })
}

export function echo (id: number): string {
  return call(id, 'echo', { message: ECHO })
}

export function isEcho (text: string, id: number): boolean {
  return text.includes(`"id":${id}`) && text.includes(ECHO)
}

/** A request in the bytes of HTTP/1.1. `body` is ASCII. */
export function post (port: number, path: string, headers: string, body: string): string {
  return `POST ${path} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\ncontent-type: application/json\r\n${headers}content-length: ${body.length}\r\n\r\n${body}`
}

export function get (port: number, path: string, headers = ''): string {
  return `GET ${path} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\naccept: text/event-stream\r\n${headers}\r\n`
}
