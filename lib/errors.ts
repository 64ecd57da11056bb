import createError, { type FastifyErrorConstructor } from '@fastify/error'

const PARSE = -32700
const INVALID_REQUEST = -32600
const METHOD_NOT_FOUND = -32601
const INVALID_PARAMS = -32602
const INTERNAL = -32603
// What the official SDKs answer on the session revisions when the transport itself refuses.
const TRANSPORT = -32000
const SESSION_NOT_FOUND = -32001

/** One row: the message, the HTTP status (200: told inside the response to the call) and the JSON-RPC code. */
const catalogue = {
  // Refused at boot and at registration
  FST_MCP_OPTION_INVALID: ['Invalid option: %s', 500, INTERNAL],
  FST_MCP_ALREADY_REGISTERED: ['This scope has an MCP server already; give each one a scope of its own', 500, INTERNAL],
  FST_MCP_TOOL_NAME_INVALID: ['Tool name %s does not match [A-Za-z0-9_.-]{1,128}', 500, INTERNAL],
  FST_MCP_TOOL_DUPLICATE: ['Tool "%s" is already registered', 500, INTERNAL],
  FST_MCP_TOOL_INVALID: ['Tool "%s": %s', 500, INTERNAL],
  FST_MCP_SCHEMA_INVALID: ['Tool "%s": the %s schema cannot be used: %s', 500, INTERNAL],
  FST_MCP_TEMPLATE_INVALID: ['URI template "%s": %s', 500, INTERNAL],

  // Who may come in
  FST_MCP_PEER_FORBIDDEN: ['Only loopback clients are served until the option `auth` is set (`auth: false` opens the server to everyone)', 403, TRANSPORT],
  FST_MCP_HOST_FORBIDDEN: ['Host "%s" is not served here; name it in the option `hosts`', 403, TRANSPORT],
  FST_MCP_ORIGIN_FORBIDDEN: ['Origin "%s" is not allowed here; name it in the option `origins`', 403, TRANSPORT],
  FST_MCP_UNAUTHORIZED: ['Authentication is required: send `Authorization: Bearer <token>`', 401, TRANSPORT],
  FST_MCP_TOKEN_INVALID: ['The bearer token is not valid', 401, TRANSPORT],
  FST_MCP_PRINCIPAL_INVALID: ['`auth.verify` must give a principal with a non-empty string `id` and, if any, a string `issuer`, or null', 500, INTERNAL],

  // What HTTP may carry
  FST_MCP_METHOD_NOT_ALLOWED: ['HTTP method %s is not allowed here', 405, TRANSPORT],
  FST_MCP_NOT_ACCEPTABLE: ['The Accept header must allow %s', 406, TRANSPORT],
  FST_MCP_MEDIA_TYPE_UNSUPPORTED: ['The media type of the body must be application/json', 415, TRANSPORT],
  FST_MCP_BODY_TOO_LARGE: ['The body is larger than %s bytes', 413, TRANSPORT],
  FST_MCP_HEADER_INVALID: ['Header %s is malformed or longer than %s characters', 400, TRANSPORT],
  FST_MCP_REVISION_UNSUPPORTED: ['Protocol version "%s" is not served here; served: %s', 400, TRANSPORT],

  FST_MCP_REFUSED_BY_HOST: ['%s', 400, TRANSPORT],

  // What JSON-RPC may carry
  FST_MCP_PARSE: ['The body is not valid JSON', 400, PARSE],
  FST_MCP_TOO_DEEP: ['The body nests deeper than %s levels', 400, INVALID_REQUEST],
  FST_MCP_KEY_FORBIDDEN: ['The body holds a key that could pollute a prototype', 400, INVALID_REQUEST],
  FST_MCP_MESSAGE_INVALID: ['Not a JSON-RPC 2.0 message: %s', 400, INVALID_REQUEST],
  FST_MCP_ID_INVALID: ['A request id is a string of at most %s characters or a safe integer', 400, INVALID_REQUEST],
  FST_MCP_ID_IN_USE: ['Request id %s belongs to a request that is still in progress', 400, INVALID_REQUEST],
  FST_MCP_BATCH_UNSUPPORTED: ['A batch is only part of revision 2025-03-26', 400, INVALID_REQUEST],
  FST_MCP_BATCH_INVALID: ['Not a valid batch: %s', 400, INVALID_REQUEST],
  FST_MCP_RESPONSE_UNEXPECTED: ['No request of the server waits for response id %s', 400, INVALID_REQUEST],
  FST_MCP_METHOD_NOT_FOUND: ['Method "%s" is not known', 200, METHOD_NOT_FOUND],
  FST_MCP_PARAMS_INVALID: ['Invalid params: %s', 200, INVALID_PARAMS],
  FST_MCP_TOOL_UNKNOWN: ['Tool "%s" is not known', 200, INVALID_PARAMS],
  FST_MCP_INPUT_INVALID: ['Invalid arguments for tool "%s": %s', 200, INVALID_PARAMS],
  FST_MCP_URI_INVALID: ['The URI cannot be used: %s', 200, INVALID_PARAMS],
  FST_MCP_CURSOR_INVALID: ['The cursor is not one that this server issued', 200, INVALID_PARAMS],

  // Sessions and streams
  FST_MCP_SESSION_REQUIRED: ['A session is required: send `initialize`, then its `Mcp-Session-Id` with every request', 400, TRANSPORT],
  FST_MCP_SESSION_UNKNOWN: ['The session is not known or has ended: send `initialize` anew', 404, SESSION_NOT_FOUND],
  FST_MCP_SESSION_INITIALIZED: ['The session is initialized already', 400, INVALID_REQUEST],
  FST_MCP_SESSIONS_FULL: ['The server holds as many sessions as it may', 503, TRANSPORT],
  FST_MCP_STREAMS_FULL: ['The server holds as many streams as it may', 503, TRANSPORT],
  FST_MCP_CALLS_FULL: ['As many calls are in progress as may be', 503, TRANSPORT],
  FST_MCP_REPLAY_GAP: ['Events were lost beyond the replay budget: call again', 200, TRANSPORT],

  // Why a call ended early: the reasons of `ctx.signal`
  FST_MCP_CANCELLED: ['The client cancelled the call: %s', 200, TRANSPORT],
  FST_MCP_CLIENT_GONE: ['The client is gone', 200, TRANSPORT],
  FST_MCP_SESSION_ENDED: ['The session has ended', 200, TRANSPORT],
  FST_MCP_CLOSING: ['The server is closing', 503, TRANSPORT],
  FST_MCP_TOOL_TIMEOUT: ['The tool ran longer than %s ms', 200, INTERNAL],
  FST_MCP_RESULT_TOO_LARGE: ['The result grew beyond %s bytes', 200, INTERNAL],

  // What a tool did wrong
  FST_MCP_CHUNK_INVALID: ['A tool yielded or returned something that is neither text, a content block nor progress: %s', 200, INTERNAL],
  FST_MCP_OUTPUT_INVALID: ['The tool returned what its output schema does not allow: %s', 200, INTERNAL],
  FST_MCP_INTERNAL: ['Internal error', 500, INTERNAL]
} as const satisfies Record<string, readonly [message: string, status: number, rpc: number]>

export type ErrorCode = keyof typeof catalogue

type Row = readonly [message: string, status: number, rpc: number]
type ErrorConstructor = FastifyErrorConstructor<{ code: string, statusCode: number }, (string | number | { cause: unknown })[]>

const rows = new Map<unknown, Row>(Object.entries(catalogue))

/** Every error of this plugin, by its code; `instanceof` works across copies of the package. */
// Object.fromEntries forgets which keys it was given.
export const errorCodes = Object.fromEntries(
  Object.entries(catalogue).map(([code, [message, status]]) => [code, createError(code, message, status)])
) as Record<ErrorCode, ErrorConstructor>

/** What a client reads in `error` of a JSON-RPC response. */
export interface RpcError {
  code: number
  message: string
  data: { code: string }
}

function rowOf (error: unknown): Row | undefined {
  return error instanceof Error && 'code' in error ? rows.get(error.code) : undefined
}

const LOOKED_AT = ['name', 'message', 'stack', 'cause', 'code']

/** What foreign code threw, if it can be looked at: a Proxy or a getter may throw again, at whoever handles the first error. */
export function readable (thrown: unknown): unknown {
  try {
    for (const key of LOOKED_AT) Reflect.get(Object(thrown), key)
    // Where `instanceof` looks.
    Object.getPrototypeOf(Object(thrown))
    return thrown
  } catch {
    return new TypeError('What was thrown cannot be read')
  }
}

/** The JSON-RPC form of an error; what is not from the catalogue is told as FST_MCP_INTERNAL and keeps its text to itself. */
export function toRpcError (error: unknown): RpcError {
  const row = rowOf(error)
  if (row === undefined || !(error instanceof Error) || !('code' in error)) {
    const [message, , code] = catalogue.FST_MCP_INTERNAL
    return { code, message, data: { code: 'FST_MCP_INTERNAL' } }
  }
  return { code: row[2], message: error.message, data: { code: String(error.code) } }
}

/** The HTTP status that goes with an error when it answers the request itself. */
export function toStatus (error: unknown): number {
  return rowOf(error)?.[1] ?? 500
}

/**
 * Throw it from a tool to tell the model what went wrong: its message becomes the text of a result with `isError: true`.
 * Any other error is logged whole and told as a generic failure.
 * Specification: server/tools, "Error Handling".
 */
export class ToolError extends Error {
  override name = 'ToolError'
}
