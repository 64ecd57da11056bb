const PARSE = -32700
export const INVALID_REQUEST = -32600
const METHOD_NOT_FOUND = -32601
export const INVALID_PARAMS = -32602
export const INTERNAL = -32603
// What the official SDKs answer on the session revisions when the transport itself refuses.
export const TRANSPORT = -32000
export const SESSION_NOT_FOUND = -32001
export const RESOURCE_NOT_FOUND = -32002
// Defined by revision 2026-07-28.
const HEADER_MISMATCH = -32020
const CAPABILITY_REQUIRED = -32021
const REVISION_UNSUPPORTED = -32022

/** One row: the message, the HTTP status (200: told inside the response to the call) and the JSON-RPC code. */
export const catalogue = {
  // Refused at boot and at registration
  FST_MCP_OPTION_INVALID: ['Invalid option: %s', 500, INTERNAL],
  FST_MCP_ALREADY_REGISTERED: ['This scope has an MCP server already; give each one a scope of its own', 500, INTERNAL],
  FST_MCP_TOOL_NAME_INVALID: ['Tool name %s does not match [A-Za-z0-9_.-]{1,128}', 500, INTERNAL],
  FST_MCP_TOOL_DUPLICATE: ['Tool "%s" is already registered', 500, INTERNAL],
  FST_MCP_TOOL_INVALID: ['Tool "%s": %s', 500, INTERNAL],
  FST_MCP_PROMPT_NAME_INVALID: ['Prompt name %s does not match [A-Za-z0-9_.-]{1,128}', 500, INTERNAL],
  FST_MCP_PROMPT_DUPLICATE: ['Prompt "%s" is already registered', 500, INTERNAL],
  FST_MCP_PROMPT_INVALID: ['Prompt "%s": %s', 500, INTERNAL],
  FST_MCP_RESOURCE_DUPLICATE: ['Resource "%s" is already registered', 500, INTERNAL],
  FST_MCP_RESOURCE_INVALID: ['Resource "%s": %s', 500, INTERNAL],
  FST_MCP_HOOK_INVALID: ['Not a hook: %s', 500, INTERNAL],
  FST_MCP_SCHEMA_INVALID: ['"%s": the %s schema cannot be used: %s', 500, INTERNAL],
  FST_MCP_TEMPLATE_INVALID: ['URI template "%s": %s', 500, INTERNAL],

  // Who may come in
  FST_MCP_PEER_FORBIDDEN: ['Only loopback clients are served until the option `auth` is set (`auth: false` opens the server to everyone)', 403, TRANSPORT],
  FST_MCP_ADDRESS_FORBIDDEN: ['This address is not in the list of those that may ask', 403, TRANSPORT],
  FST_MCP_HOST_FORBIDDEN: ['Host "%s" is not served here; name it in the option `hosts`', 403, TRANSPORT],
  FST_MCP_ORIGIN_FORBIDDEN: ['Origin "%s" is not allowed here; name it in the option `origins`', 403, TRANSPORT],
  FST_MCP_HTTPS_REQUIRED: ['Use https', 426, TRANSPORT],
  FST_MCP_UNAUTHORIZED: ['Authentication is required: send `Authorization: Bearer <token>`', 401, TRANSPORT],
  FST_MCP_TICKET_INVALID: ['The ticket is not known, has expired or was used: POST for a new one', 401, TRANSPORT],
  FST_MCP_TOKEN_INVALID: ['No valid bearer token: it is not known, or the header is not `Authorization: Bearer <token>`', 401, TRANSPORT],
  FST_MCP_SCOPE_INSUFFICIENT: ['The token lacks the scope %s', 403, TRANSPORT],
  FST_MCP_PRINCIPAL_INVALID: ['`auth.verify` must give a principal with a non-empty string `id` and, if any, a string `issuer`, or null', 500, INTERNAL],
  FST_MCP_AUTH_UNAVAILABLE: ['The identity provider cannot be reached', 503, TRANSPORT],

  // What HTTP may carry
  FST_MCP_METHOD_NOT_ALLOWED: ['HTTP method %s is not allowed here', 405, TRANSPORT],
  FST_MCP_NOT_ACCEPTABLE: ['The Accept header must allow %s', 406, TRANSPORT],
  FST_MCP_MEDIA_TYPE_UNSUPPORTED: ['The media type of the body must be application/json: send `Content-Type: application/json`', 415, TRANSPORT],
  FST_MCP_BODY_TOO_LARGE: ['The body is larger than %s bytes', 413, TRANSPORT],
  FST_MCP_HEADER_INVALID: ['Header %s is malformed or longer than %s characters', 400, TRANSPORT],
  FST_MCP_REVISION_UNSUPPORTED: ['Protocol version "%s" is not served here; served: %s', 400, TRANSPORT],

  FST_MCP_REFUSED_BY_HOST: ['%s', 400, TRANSPORT],
  FST_MCP_HEADER_MISMATCH: ['Header %s: %s', 400, HEADER_MISMATCH],

  // What JSON-RPC may carry
  FST_MCP_PARSE: ['The body is not valid JSON', 400, PARSE],
  FST_MCP_TOO_DEEP: ['The body nests deeper than %s levels', 400, INVALID_REQUEST],
  FST_MCP_TOO_MANY_VALUES: ['The body holds more than %s values', 400, INVALID_REQUEST],
  FST_MCP_TOO_MANY_KEYS: ['The body holds more than %s keys', 400, INVALID_REQUEST],
  FST_MCP_KEY_FORBIDDEN: ['The body holds a key that could pollute a prototype', 400, INVALID_REQUEST],
  FST_MCP_MESSAGE_INVALID: ['Not a JSON-RPC 2.0 message: %s', 400, INVALID_REQUEST],
  FST_MCP_ID_INVALID: ['A request id is a string of at most %s characters or a safe integer', 400, INVALID_REQUEST],
  FST_MCP_ID_IN_USE: ['Request id %s belongs to a request that is still in progress', 400, INVALID_REQUEST],
  FST_MCP_BATCH_UNSUPPORTED: ['A batch is only part of revision 2025-03-26', 400, INVALID_REQUEST],
  FST_MCP_BATCH_INVALID: ['Not a valid batch: %s', 400, INVALID_REQUEST],
  FST_MCP_RESPONSE_UNEXPECTED: ['No request of the server waits for response id %s', 400, INVALID_REQUEST],
  FST_MCP_ENVELOPE_INVALID: ['The `_meta` of the request does not fit revision 2026-07-28: %s', 400, INVALID_PARAMS],
  FST_MCP_ENVELOPE_REVISION: ['Protocol version "%s" is not served per request; served: %s', 400, REVISION_UNSUPPORTED],
  FST_MCP_CAPABILITY_REQUIRED: ['The client did not declare the capability %s', 400, CAPABILITY_REQUIRED],
  FST_MCP_METHOD_NOT_FOUND: ['Method "%s" is not known', 404, METHOD_NOT_FOUND],
  FST_MCP_PARAMS_INVALID: ['Invalid params: %s', 200, INVALID_PARAMS],
  FST_MCP_TOOL_UNKNOWN: ['Tool "%s" is not known: see `tools/list`', 200, INVALID_PARAMS],
  FST_MCP_INPUT_INVALID: ['Invalid arguments for tool "%s": %s', 200, INVALID_PARAMS],
  FST_MCP_PROMPT_UNKNOWN: ['Prompt "%s" is not known: see `prompts/list`', 200, INVALID_PARAMS],
  FST_MCP_PROMPT_INPUT_INVALID: ['Invalid arguments for prompt "%s": %s', 200, INVALID_PARAMS],
  FST_MCP_RESOURCE_UNKNOWN: ['Resource "%s" is not known', 200, RESOURCE_NOT_FOUND],
  FST_MCP_ANSWER_INVALID: ['The answer to "%s" does not fit: %s', 200, INVALID_PARAMS],
  FST_MCP_URI_INVALID: ['The URI cannot be used: %s', 200, INVALID_PARAMS],
  FST_MCP_CURSOR_INVALID: ['The cursor is not one that this server issued', 200, INVALID_PARAMS],
  FST_MCP_STATE_INVALID: ['The requestState is not one that this server issued for this request, or it has expired', 200, INVALID_PARAMS],

  // Sessions and streams
  FST_MCP_SESSION_REQUIRED: ['A session is required: send `initialize`, then its `Mcp-Session-Id` with every request', 400, TRANSPORT],
  FST_MCP_SESSION_UNKNOWN: ['The session is not known or has ended: send `initialize` anew', 404, SESSION_NOT_FOUND],
  FST_MCP_SESSION_INITIALIZED: ['The session is initialized already', 400, INVALID_REQUEST],
  FST_MCP_SESSIONS_FULL: ['The server holds as many sessions as it may', 503, TRANSPORT],
  FST_MCP_STORE_UNAVAILABLE: ['The store cannot be reached: %s', 503, TRANSPORT],
  FST_MCP_TICKETS_FULL: ['The server holds as many unused tickets as it may', 503, TRANSPORT],
  FST_MCP_STREAMS_FULL: ['The server holds as many streams as it may', 503, TRANSPORT],
  FST_MCP_CALLS_FULL: ['As many calls are in progress as may be', 503, TRANSPORT],
  FST_MCP_SUBSCRIPTIONS_FULL: ['As many subscriptions are open as may be: %s', 429, TRANSPORT],
  FST_MCP_RATE_LIMITED: ['Too many requests for one %s: come back in %s s', 429, TRANSPORT],
  FST_MCP_QUOTA_EXCEEDED: ['One principal may hold %s %s at once, and this one does', 429, TRANSPORT],
  FST_MCP_NODE_GONE: ['The node that worked on the call is gone: call again', 200, TRANSPORT],
  FST_MCP_REPLAY_GAP: ['Events were lost beyond the replay budget: call again', 200, TRANSPORT],

  // Why a call ended early: the reasons of `ctx.signal`
  FST_MCP_CANCELLED: ['The client cancelled the call: %s', 200, TRANSPORT],
  FST_MCP_CLIENT_GONE: ['The client is gone', 200, TRANSPORT],
  FST_MCP_SESSION_ENDED: ['The session has ended', 200, TRANSPORT],
  FST_MCP_CLOSING: ['The server is closing', 503, TRANSPORT],
  FST_MCP_INPUT_REQUIRED: ['The run ends here and starts anew with what the client answers', 200, INTERNAL],
  FST_MCP_TOOL_TIMEOUT: ['The tool ran longer than %s ms', 200, INTERNAL],
  FST_MCP_RESULT_TOO_LARGE: ['The result grew beyond %s bytes', 200, INTERNAL],

  // What the client was asked
  FST_MCP_ASK_INVALID: ['"%s" cannot be asked: %s', 200, INTERNAL],
  FST_MCP_ASK_UNAVAILABLE: ['The client cannot be asked: %s', 200, INTERNAL],
  FST_MCP_ASK_TIMEOUT: ['The client did not answer "%s" within %s ms', 200, INTERNAL],
  FST_MCP_ASK_REFUSED: ['The client answered "%s" with an error: %s', 200, INTERNAL],
  FST_MCP_RERUN_DIFFERS: ['The handler ran differently from the time before: %s', 200, INTERNAL],

  // What a tool did wrong
  FST_MCP_CHUNK_INVALID: ['What was yielded or returned cannot be sent: %s', 200, INTERNAL],
  FST_MCP_OUTPUT_INVALID: ['The tool returned what its output schema does not allow: %s', 200, INTERNAL],
  FST_MCP_HANDLER_FAILED: ['%s', 200, INTERNAL],
  FST_MCP_STATE_TOO_LARGE: ['The answers and values sealed into the requestState grew beyond %s bytes', 200, INTERNAL],
  FST_MCP_INTERNAL: ['Internal error', 500, INTERNAL]
} as const satisfies Record<string, readonly [message: string, status: number, rpc: number]>
