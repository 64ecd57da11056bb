// Values that have broken servers, and the limits around which they are made.

/** As the servers under test have them: low, so that what lies around them is cheap. */
export const LIMITS = { body: 32_768, batch: 6, id: 64, capabilities: 256, uri: 256, header: 512, depth: 16, values: 400 } as const

const around = (limit: number): number[] => [limit - 1, limit, limit + 1]
/** The lengths of texts. */
export const LENGTHS = [0, 1, ...[LIMITS.id, 128, LIMITS.capabilities, LIMITS.header, 4_096].flatMap(around), LIMITS.body] as const

/** What is known only while a server runs: the runner puts it in. */
export const LIVE = ['«session»', '«foreign»', '«sse»', '«event»', '«cursor»', '«state»', '«question»', '«id»'] as const

const TEXTS = [
  '', ' ', '\0', '__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', '%00', '%0d%0aX-Injected: 1', '../../etc/passwd', '..%2f..%2fetc', '\u2028', '\uFFFF',
  '«', '<script>', "' OR 1=1", '{{7*7}}', '2.0', 'null', '-0', '1e999', 'NaN', 'a_0', 'a_999999999999999', '_0', '2026-07-28', '2025-11-25', '9999-99-99'
] as const

export const URIS = [
  'test://text', 'test://bytes', 'test://stream', 'test://fails', 'test://asks', 'file:///a/b.txt', 'file:///..%2fsecret', 'file:///%00', 'file:///a/../b', 'file:///%2e%2e/x', 'file:///%',
  'db://users/7?q=a&q=b', 'db://users/7?q=%ff', 'db:///', 'db://a/b/c', 'test:', '://', 'TEST://text', 'test://text#x', 'test://text?', `file:///${'a/'.repeat(100)}`, `file:///${'%41'.repeat(90)}`
] as const

/** JSON, or what looks like it. */
export const HOSTILE_TEXTS = [
  'null', 'true', 'false', '0', '-0', '1', '-1', '0.5', '1e999', '-1e999', '1e308', '1e-400', 'NaN', 'Infinity', '9007199254740991', '9007199254740992', '-9007199254740993', '00', '+1', '0x10',
  '1'.repeat(400), '[]', '{}', '[[]]', '[null]', '{"":""}', '{"__proto__":{"a":1}}', '{"constructor":{"prototype":{"a":1}}}', '{"constructor":1}', '{"\\u005f_proto__":1}', '{"toJSON":1,"then":1}',
  '{"length":1e9}', '"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"', '"\\x"', "'a'", 'undefined', '//', '"data: x\\n\\nevent: endpoint"',
  ...[...TEXTS, ...URIS].map(text => JSON.stringify(text))
] as const

export const KEYS = [
  '', '__proto__', 'constructor', 'prototype', 'toString', 'valueOf', 'toJSON', 'then', 'length', 'id', 'method', 'params', 'result', 'error', '_meta', 'name', 'arguments', 'cursor', 'progressToken', 'inputResponses',
  'requestState', 'io.modelcontextprotocol/protocolVersion', 'io.modelcontextprotocol/clientCapabilities', 'io.modelcontextprotocol/logLevel', 'jsonrpc', '\0', '\uD800', 'x'.repeat(300)
] as const

export const HEADER_VALUES = [
  ...TEXTS.filter(text => !/[^\x20-\x7E]/.test(text)), '«session»', '«foreign»', '«sse»', '«event»', 'caf\xE9', '\x80\xFF', ',', ';', '=', '"', 'a'.repeat(LIMITS.header), 'a'.repeat(LIMITS.header + 1), 'a'.repeat(9_000),
  '=?base64?SGk=?=', '=?base64?%%%?=', '=?base64??=', '2024-11-05', '2025-03-26', '2025-06-18', '2026-07-28 ', '2026-07-29', 'tools/call', 'add'
] as const

export const HEADER_NAMES = [
  'accept', 'content-type', 'mcp-protocol-version', 'mcp-method', 'mcp-name', 'mcp-param-room', 'mcp-session-id', 'last-event-id', 'origin', 'host', 'authorization', 'access-control-request-method',
  'access-control-request-headers', 'x-forwarded-for', 'forwarded', 'content-encoding', 'cookie', 'x-http-method-override', 'range', 'if-none-match', '__proto__', 'constructor', 'te', 'accept-encoding'
] as const

/** What a header in particular is given, beside the rest. */
const VALUES = {
  accept: ['*/*', 'text/event-stream', 'application/json', 'text/html', 'application/json;q=0', 'text/event-stream;q=0, */*', ',,,', '*', 'application/*, text/*', ';q=1', `${'a/b,'.repeat(500)}*/*`],
  'content-type': ['text/plain', 'application/json; charset=utf-16', 'application/json;;', 'application/JSON', 'application/jsonx', 'multipart/form-data; boundary=x', 'application/x-www-form-urlencoded', '/', 'application/json, text/plain'],
  origin: ['null', 'http://localhost', 'http://127.0.0.1:1', 'https://app.example', 'https://evil.example', 'https://app.example.evil.example', 'http://', 'http://[::1', 'https://app.example:443', 'a'.repeat(600), 'http://\xFF'],
  host: ['localhost', '127.0.0.1', '[::1]', 'evil.example', '', ':', '[', 'localhost:99999', 'a b', '127.0.0.1.evil.example', '@', 'localhost@evil'],
  authorization: ['', 'Bearer', 'Bearer ', 'Bearer ada', 'bearer bob', 'Bearer ada bob', 'Basic YTpi', 'Bearer boom', 'Bearer down', 'Bearer shapeless', 'Bearer \xFF', `Bearer ${'a'.repeat(5_000)}`, 'Bearer nobody', 'Bearer poor'],
  'last-event-id': ['«event»', 'a_0', '_', '0', `${'a.i1'.repeat(100)}_1`, '«session»_0', '«sse»_0', '«sse»_999999999999999', '__proto___1'],
  'x-forwarded-for': ['127.0.0.1', '8.8.8.8', 'unknown', ',', '::1, 127.0.0.1'],
  forwarded: ['for=8.8.8.8', 'for="[::1]:1"', 'for=_x;for=;;', 'for="'],
  'mcp-param-room': ['hall', '=?base64?aGFsbA==?=', 'kitchen']
}

const valuesOf = new Map<string, readonly string[]>(Object.entries(VALUES))

export function valuesFor (name: string): readonly string[] {
  return valuesOf.get(name) ?? []
}
