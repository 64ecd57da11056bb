/** What the echo tool is asked to say, and so what a right answer holds. */
export const ECHO = 'the quick brown fox jumps over the lazy dog'

/** What official clients send. */
export const ACCEPT = 'accept: application/json, text/event-stream\r\n'
/** Of a client that takes no JSON: every answer is a stream. */
export const ACCEPT_STREAM = 'accept: text/event-stream\r\n'

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

/** The same as an event that a client could come back for. */
export function isEchoEvent (text: string, id: number): boolean {
  return text.includes('event: message\nid: ') && isEcho(text, id)
}

/** A request in the bytes of HTTP/1.1. `body` is ASCII. */
export function post (port: number, path: string, headers: string, body: string): string {
  return `POST ${path} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\ncontent-type: application/json\r\n${headers}content-length: ${body.length}\r\n\r\n${body}`
}

export function get (port: number, path: string, headers = ''): string {
  return `GET ${path} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\naccept: text/event-stream\r\n${headers}\r\n`
}

export function del (port: number, path: string, headers: string): string {
  return `DELETE ${path} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\n${headers}\r\n`
}

/** A call without a session, as clients of 2025-11-25 make it where there are none. */
export function loneEcho (port: number, id: number): string {
  return post(port, '/mcp', `${ACCEPT}mcp-protocol-version: 2025-11-25\r\n`, echo(id))
}

const ENVELOPE = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientInfo': { name: 'bench', version: '1.0.0' },
  'io.modelcontextprotocol/clientCapabilities': {}
}

/** A call of 2026-07-28: what it needs is in `_meta`, and its headers repeat what a proxy routes by. */
export function standaloneEcho (port: number, id: number): string {
  const params = { name: 'echo', arguments: { message: ECHO }, _meta: ENVELOPE }
  const headers = `${ACCEPT}mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: echo\r\n`
  return post(port, '/mcp', headers, JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params }))
}
