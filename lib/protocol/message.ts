import { atLimit, errorCodes, McpError, toRpcError } from '../errors.ts'

/** A JSON-RPC request id. MCP forbids null and fractions (basic, "Requests"). */
export type RequestId = string | number

export type Params = Readonly<Record<string, unknown>>

export interface Request {
  readonly kind: 'request'
  readonly id: RequestId
  readonly method: string
  readonly params: Params
}

export type Message =
  | Request
  | { readonly kind: 'notification', readonly method: string, readonly params: Params }
  | Response

/** What a client answers to a request of the server: its `result`, or else its `error`. */
export interface Response {
  readonly kind: 'response'
  readonly id: RequestId
  readonly result: unknown
  readonly error: unknown
}

export function isRequest (message: Message): message is Request {
  return message.kind === 'request'
}

const NO_PARAMS: Params = Object.freeze({})

/** True for a plain JSON object, false for null and arrays. */
export function isObject (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isRequestId (id: unknown, maxLength: number): id is RequestId {
  return typeof id === 'string' ? id.length <= maxLength : Number.isSafeInteger(id)
}

/**
 * Reads one JSON-RPC message by hand: this is on the path of every request.
 * Throws FST_MCP_MESSAGE_INVALID or FST_MCP_ID_INVALID.
 */
export function readMessage (value: unknown, maxIdLength: number): Message {
  if (!isObject(value)) throw new errorCodes.FST_MCP_MESSAGE_INVALID('it must be an object')
  if (value.jsonrpc !== '2.0') throw new errorCodes.FST_MCP_MESSAGE_INVALID('`jsonrpc` must be "2.0"')
  const { id, method } = value
  if (id !== undefined && !isRequestId(id, maxIdLength)) {
    const error = new errorCodes.FST_MCP_ID_INVALID(maxIdLength)
    throw typeof id === 'string' ? atLimit('limits.id', error) : error
  }
  if (method === undefined) {
    if (id !== undefined && ('result' in value) !== ('error' in value)) return { kind: 'response', id, result: value.result, error: value.error }
    throw new errorCodes.FST_MCP_MESSAGE_INVALID('it has neither a `method` nor one of `result` and `error` with an `id`')
  }
  if (typeof method !== 'string') throw new errorCodes.FST_MCP_MESSAGE_INVALID('`method` must be a string')
  const params = value.params ?? NO_PARAMS
  if (!isObject(params)) throw new errorCodes.FST_MCP_MESSAGE_INVALID('`params` must be an object')
  if (id === undefined) return { kind: 'notification', method, params }
  const { _meta: meta } = params
  if (isObject(meta) && meta.progressToken != null && !isRequestId(meta.progressToken, maxIdLength)) {
    throw new errorCodes.FST_MCP_MESSAGE_INVALID(`a progress token is a string of at most ${maxIdLength} characters or a safe integer`)
  }
  return { kind: 'request', id, method, params }
}

/** Under which a client wants to hear of the progress of its request; undefined when it does not. */
export function progressTokenOf ({ _meta }: Params): string | number | undefined {
  if (typeof _meta !== 'object' || _meta === null || !('progressToken' in _meta)) return undefined
  const token = _meta.progressToken
  // `readMessage` has refused every other form.
  return typeof token === 'string' || typeof token === 'number' ? token : undefined
}

/** The id that an error may name when the message around it could not be accepted. */
export function readableId (value: unknown, maxIdLength: number): RequestId | undefined {
  return isObject(value) && isRequestId(value.id, maxIdLength) ? value.id : undefined
}

export function resultOf (id: RequestId, result: object): string {
  return `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":${JSON.stringify(result)}}`
}

/**
 * An error response; JSON-RPC wants `null` where the id could not be read, revisions from 2025-11-25 want it left out. `request`: the id
 * under which the log knows the request.
 */
export function errorOf (id: RequestId | null | undefined, error: unknown, isStateless = false, request?: string): string {
  const told = toRpcError(error, isStateless)
  // What the application says is its own.
  if (request !== undefined && !(error instanceof McpError)) told.data = { ...told.data, request }
  try {
    return JSON.stringify({ jsonrpc: '2.0', id, error: told })
  } catch {
    // Somebody's `data` is nothing that JSON can say: the error itself matters more.
    return JSON.stringify({ jsonrpc: '2.0', id, error: { code: told.code, message: told.message } })
  }
}

export function requestOf (id: RequestId, method: string, params: object): string {
  return JSON.stringify({ jsonrpc: '2.0', id, method, params })
}

export function notificationOf (method: string, params?: object): string {
  return JSON.stringify({ jsonrpc: '2.0', method, params })
}

export interface Progress {
  readonly head: string
  readonly progress: number
  readonly total: number | undefined
  readonly message: string | undefined
  readonly meta: object | undefined
}

/** What all progress notifications for a token begin with. Joined, it is one string; a sum would be put together again for each of them. */
export function progressHead (token: string | number): string {
  return ['{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":', JSON.stringify(token), ',"progress":'].join('')
}

// What JSON writes as it is.
const PLAIN = /^[ !#-[\]-~]*$/

/** As JSON. To look at a short text, as most that is yielded is, takes less than to call `JSON.stringify`. */
function jsonOf (text: string): string {
  return PLAIN.test(text) ? `"${text}"` : JSON.stringify(text)
}

/** One for each chunk of a tool: `JSON.stringify` of the whole was a sixth of what a chunk costs. Numbers are finite. */
export function progressOf ({ head, progress, total, message, meta }: Progress): string {
  let json = head + progress
  if (total !== undefined) json += `,"total":${total}`
  if (message !== undefined) json += `,"message":${jsonOf(message)}`
  if (meta !== undefined) json += `,"_meta":${JSON.stringify(meta)}`
  return json + '}}'
}
