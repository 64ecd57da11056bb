import { errorCodes } from '../errors.ts'

/** The fields of one server-sent event (WHATWG HTML, "Server-sent events"). */
export interface SseEvent {
  event?: string
  id?: string
  /** Reconnection time in milliseconds. */
  retry?: number
  data?: string
}

const LINE_END = /\r\n|\r|\n/
// A line end would forge a field, a NUL makes the browser drop the id.

const FORGES_FIELD = /[\r\n\0]/

function field (name: string, value: string): string {
  if (FORGES_FIELD.test(value)) throw new errorCodes.FST_MCP_HEADER_INVALID(`SSE ${name}`, value.length)
  return `${name}: ${value}\n`
}

/**
 * Encodes any event. Every line of `data` becomes a `data` field of its own, so CR and CRLF arrive as LF.
 * Throws FST_MCP_HEADER_INVALID when `event` or `id` holds CR, LF or NUL.
 */
export function encode ({ event, id, retry, data }: SseEvent): string {
  let frame = ''
  if (event !== undefined) frame += field('event', event)
  if (id !== undefined) frame += field('id', id)
  if (retry !== undefined) frame += `retry: ${retry}\n`
  if (data !== undefined) {
    for (const line of data.split(LINE_END)) frame += `data: ${line}\n`
  }
  return frame + '\n'
}

/** A JSON-RPC message as an event. `JSON.stringify` leaves no line end in `json`, and ids are ours, so nothing is searched here. */
export function message (json: string, id?: string): string {
  return id === undefined ? `event: message\ndata: ${json}\n\n` : `event: message\nid: ${id}\ndata: ${json}\n\n`
}

/** The event that opens a stream, so that it can be resumed before its first message: an id and empty data. */
export function prime (stream: string, retry: number): string {
  return `id: ${stream}_0\nretry: ${retry}\ndata: \n\n`
}

/** A comment: it keeps a connection alive and dispatches nothing. */
export function comment (text: string): string {
  return `: ${text.replace(/[\r\n]+/g, ' ')}\n\n`
}
