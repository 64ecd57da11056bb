// The ladder that decides which era a POST belongs to: every rung from both of its sides, and what lies between them.
import t from 'tap'
import { classify, classifyHandshake } from '../lib/eras/classify.ts'
import { toRpcError, toStatus } from '../lib/errors.ts'

const LIMITS = { id: 8, batch: 3, capabilities: 40 }
const MODERN = '2026-07-28'

const VERSION = 'io.modelcontextprotocol/protocolVersion'
const CAPABILITIES = 'io.modelcontextprotocol/clientCapabilities'
const INFO = 'io.modelcontextprotocol/clientInfo'
const LEVEL = 'io.modelcontextprotocol/logLevel'
const ENVELOPE = { [VERSION]: MODERN, [CAPABILITIES]: {} }

type Body = Record<string, unknown>

const request = (fields: Body = {}): Body => ({ jsonrpc: '2.0', id: 1, method: 'tools/list', ...fields })
const enveloped = (meta: Body = {}, fields: Body = {}): Body => request({ params: { _meta: { ...ENVELOPE, ...meta } }, ...fields })
const initialize = (params: Body = { protocolVersion: '2025-11-25' }): Body => request({ method: 'initialize', params })
const notification = (params?: Body): Body => ({ jsonrpc: '2.0', method: 'notifications/cancelled', ...(params && { params }) })
const response = (fields: Body = { result: {} }): Body => ({ jsonrpc: '2.0', id: 1, ...fields })

/** No header, and headers that name a revision of the handshake or nothing that is one: none of them makes a request stand for itself. */
const OTHERS = [
  undefined, '', '2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25', '2026-07-27', 'latest', '9', 'x2026-07-28', '2026-07-28 ', ' 2026-07-28', '2026-07-28, 2026-07-28',
  '2026-7-28', '20260728', '2026-07-28T00:00', '2026-07-28\n', '__proto__', '٢٠٢٦-٠٧-٢٨'
]
/** Revisions that are not served yet stand for themselves as well: they are refused, not served as a session. */
const STANDALONE = [MODERN, '2026-07-29', '2027-01-01', '9999-99-99']

interface Row {
  what: string
  body: unknown
  headers: readonly (string | undefined)[]
  /** The kind of what is understood, or the end of the name of an error and its HTTP status and JSON-RPC code. */
  is: string | readonly [code: string, status: number, rpc: number]
  /** Part of the message of the error, or of what was understood. */
  says?: RegExp | Body
}

const BATCH = ['BATCH_UNSUPPORTED', 400, -32600] as const
const BATCH_INVALID = ['BATCH_INVALID', 400, -32600] as const
const INVALID = ['MESSAGE_INVALID', 400, -32600] as const
const MISMATCH = ['HEADER_MISMATCH', 400, -32020] as const
const ENVELOPE_INVALID = ['ENVELOPE_INVALID', 400, -32602] as const
const REVISION = ['ENVELOPE_REVISION', 400, -32022] as const
const ID = ['ID_INVALID', 400, -32600] as const
const ALL = [...OTHERS, ...STANDALONE]
const HERE = [MODERN]

const rows: Row[] = [
  // No body, and bodies that are no message: the same for all
  { what: 'no body', body: undefined, headers: ALL, is: ['PARSE', 400, -32700] },
  ...[null, 7, 'tools/list', true, {}, { id: 1, method: 'x' }, request({ jsonrpc: '1.0' }), request({ method: 7 }), request({ method: null }), request({ params: [] }),
    request({ params: 'x' }), response({}), response({ result: {}, error: {} }), { jsonrpc: '2.0', result: {} }
  ].map((body): Row => ({ what: `what is no message: ${JSON.stringify(body)}`, body, headers: ALL, is: INVALID })),
  ...[null, 1.5, true, {}, [], 2 ** 53, 'x'.repeat(9), NaN].flatMap((id): Row[] => [
    { what: `the id ${String(id)} without an envelope`, body: request({ id }), headers: ALL, is: ID },
    { what: `the id ${String(id)} in an envelope`, body: enveloped({}, { id }), headers: ALL, is: ID }
  ]),
  ...[0, -1, '', 'x'.repeat(8), Number.MAX_SAFE_INTEGER].map((id): Row =>
    ({ what: `the id ${id}`, body: enveloped({}, { id }), headers: HERE, is: 'standalone', says: { message: { id } } })),
  { what: 'a progress token that is none', body: enveloped({ progressToken: {} }), headers: ALL, is: INVALID, says: /progress token/ },

  // Arrays
  { what: 'an empty array', body: [], headers: OTHERS, is: BATCH_INVALID, says: /empty/ },
  { what: 'an empty array', body: [], headers: STANDALONE, is: BATCH },
  { what: 'an array of requests', body: [request(), request({ id: 2 })], headers: OTHERS, is: 'messages', says: { batch: true } },
  { what: 'an array of notifications', body: [notification(), notification()], headers: OTHERS, is: 'messages', says: { batch: true } },
  { what: 'an array of responses', body: [response(), response({ id: 2, error: {} })], headers: OTHERS, is: 'messages', says: { batch: true } },
  { what: 'an array', body: [request()], headers: STANDALONE, is: BATCH },
  { what: 'an array with an envelope in it', body: [request(), enveloped({}, { id: 2 })], headers: ALL, is: BATCH },
  { what: 'an array with a broken envelope in it', body: [request(), request({ id: 2, params: { _meta: { [VERSION]: 7 } } })], headers: ALL, is: BATCH },
  { what: 'an array with a notification with an envelope', body: [notification({ _meta: ENVELOPE })], headers: ALL, is: BATCH },
  { what: 'an array with capabilities alone', body: [request({ params: { _meta: { [CAPABILITIES]: {} } } })], headers: OTHERS, is: 'messages' },
  { what: 'an array with something invalid', body: [request(), 7], headers: OTHERS, is: INVALID },
  { what: 'an array in an array', body: [[request()]], headers: OTHERS, is: INVALID },
  { what: 'an array with an invalid id', body: [request({ id: null })], headers: OTHERS, is: ID },
  { what: 'an array that is too long', body: [1, 2, 3, 4].map(id => request({ id })), headers: OTHERS, is: BATCH_INVALID, says: /more than 3/ },
  { what: 'an array with `initialize`', body: [initialize()], headers: OTHERS, is: BATCH_INVALID, says: /`initialize`/ },
  { what: 'an array that is mixed', body: [request(), response({ id: 2, result: {} })], headers: OTHERS, is: BATCH_INVALID, says: /mixed/ },
  { what: 'an array with an id twice', body: [request(), request()], headers: OTHERS, is: BATCH_INVALID, says: /same id/ },
  { what: 'an array with ids that look alike', body: [request(), request({ id: '1' })], headers: OTHERS, is: 'messages' },

  // Responses: a client without a session has nothing to answer, so that nobody waits for them
  { what: 'a result', body: response(), headers: ALL, is: 'messages', says: { batch: false } },
  { what: 'an error', body: response({ error: { code: 1, message: 'x' } }), headers: ALL, is: 'messages' },
  { what: 'a result with an envelope', body: response({ result: {}, params: { _meta: ENVELOPE } }), headers: ALL, is: 'messages' },

  // `initialize`
  { what: '`initialize`', body: initialize(), headers: OTHERS, is: 'initialize', says: { id: 1, params: { protocolVersion: '2025-11-25' } } },
  { what: '`initialize` without params', body: request({ method: 'initialize' }), headers: OTHERS, is: 'initialize' },
  { what: '`initialize` that asks for the revision', body: initialize({ protocolVersion: MODERN }), headers: OTHERS, is: 'initialize' },
  { what: '`initialize` with the header', body: initialize(), headers: STANDALONE, is: MISMATCH, says: /`initialize`/ },
  { what: '`initialize` with an envelope', body: initialize({ _meta: ENVELOPE }), headers: HERE, is: 'standalone', says: { message: { method: 'initialize' } } },
  { what: '`initialize` with an envelope without the header', body: initialize({ _meta: ENVELOPE }), headers: OTHERS, is: MISMATCH },
  ...[
    { [VERSION]: MODERN }, { [VERSION]: MODERN, [CAPABILITIES]: [] }, { [VERSION]: MODERN, [CAPABILITIES]: null },
    { [VERSION]: 7, [CAPABILITIES]: {} }, { [CAPABILITIES]: {} }, { [VERSION]: '2025-11-25', [CAPABILITIES]: {} }, { [VERSION]: 'x', [CAPABILITIES]: {} }, 'x', null, []
  ].flatMap((_meta): Row[] => [
    { what: `\`initialize\` with no valid envelope: ${JSON.stringify(_meta)}`, body: initialize({ _meta }), headers: OTHERS, is: 'initialize' },
    { what: `\`initialize\` with no valid envelope: ${JSON.stringify(_meta)}`, body: initialize({ _meta }), headers: STANDALONE, is: MISMATCH }
  ]),
  { what: 'a notification of that name', body: { jsonrpc: '2.0', method: 'initialize' }, headers: OTHERS, is: 'messages' },

  // Requests
  { what: 'a request', body: request(), headers: OTHERS, is: 'messages', says: { batch: false } },
  { what: 'a request with another `_meta`', body: request({ params: { _meta: { progressToken: 1 } } }), headers: OTHERS, is: 'messages' },
  { what: 'a request with capabilities alone', body: request({ params: { _meta: { [CAPABILITIES]: {} } } }), headers: OTHERS, is: 'messages' },
  { what: 'an envelope beside `_meta`', body: request({ params: ENVELOPE }), headers: OTHERS, is: 'messages' },
  { what: 'a method that only sessions have', body: request({ method: 'ping' }), headers: OTHERS, is: 'messages' },
  { what: 'a method that is only in the revision', body: request({ method: 'server/discover' }), headers: OTHERS, is: 'messages' },
  ...[undefined, {}, { _meta: null }, { _meta: 'x' }, { _meta: [] }, { _meta: {} }].map((params): Row =>
    ({ what: `the header without an envelope: ${JSON.stringify(params)}`, body: request({ params }), headers: STANDALONE, is: ENVELOPE_INVALID, says: /protocolVersion` and `.*clientCapabilities/ })),
  { what: 'the header and half an envelope', body: request({ params: { _meta: { [CAPABILITIES]: {} } } }), headers: STANDALONE, is: ENVELOPE_INVALID, says: /lacks `[^`]*protocolVersion`$/ },
  { what: 'an envelope', body: enveloped(), headers: HERE, is: 'standalone', says: { message: { id: 1, method: 'tools/list' }, envelope: { logLevel: null, profile: { revision: MODERN } } } },
  { what: 'an envelope with everything', body: enveloped({ [INFO]: { name: 'x', more: 1 }, [LEVEL]: 'error', [CAPABILITIES]: { roots: {} }, 'acme/x': 1 }), headers: HERE, is: 'standalone', says: { envelope: { logLevel: 'error', capabilities: { roots: {} } } } },
  { what: 'a method of sessions in an envelope', body: enveloped({}, { method: 'ping' }), headers: HERE, is: 'standalone' },
  { what: 'an envelope that is malformed, whatever the header', body: enveloped({ [VERSION]: 7 }), headers: ALL, is: ENVELOPE_INVALID, says: /protocolVersion` must be a string/ },
  { what: 'an envelope with version null', body: enveloped({ [VERSION]: null }), headers: ALL, is: ENVELOPE_INVALID },
  { what: 'an envelope without capabilities', body: request({ params: { _meta: { [VERSION]: MODERN } } }), headers: ALL, is: ENVELOPE_INVALID, says: /lacks `[^`]*clientCapabilities`$/ },
  ...[null, [], 'x', true].map((capabilities): Row =>
    ({ what: `the capabilities ${JSON.stringify(capabilities)}`, body: enveloped({ [CAPABILITIES]: capabilities }), headers: ALL, is: ENVELOPE_INVALID, says: /clientCapabilities` must be an object/ })),
  { what: 'capabilities that just fit', body: enveloped({ [CAPABILITIES]: { experimental: { x: 'x'.repeat(14) } } }), headers: HERE, is: 'standalone' },
  { what: 'capabilities without end', body: enveloped({ [CAPABILITIES]: { experimental: { x: 'x'.repeat(16) } } }), headers: ALL, is: ENVELOPE_INVALID, says: /at most 40 characters/ },
  ...[null, [], 'x'].map((info): Row =>
    ({ what: `the client info ${JSON.stringify(info)}`, body: enveloped({ [INFO]: info }), headers: ALL, is: ENVELOPE_INVALID, says: /clientInfo` must be an object/ })),
  ...['loud', '', null, 3, 'INFO', '__proto__', 'toString'].map((level): Row =>
    ({ what: `the log level ${JSON.stringify(level)}`, body: enveloped({ [LEVEL]: level }), headers: ALL, is: ENVELOPE_INVALID, says: /logLevel` must be one of/ })),
  { what: 'an envelope without a header', body: enveloped(), headers: [undefined], is: MISMATCH, says: /missing/ },
  { what: 'an envelope with another header', body: enveloped(), headers: ALL.filter(header => header !== undefined && header !== MODERN), is: MISMATCH, says: /differs/ },
  ...['2025-11-25', '2024-11-05', '2027-01-01', 'x', '', '__proto__', 'é'].flatMap((version): Row[] => [
    { what: `an envelope that names ${version}, as its header does`, body: enveloped({ [VERSION]: version }), headers: [version], is: REVISION, says: /served: 2026-07-28$/ },
    { what: `an envelope that names ${version}, unlike its header`, body: enveloped({ [VERSION]: version }), headers: HERE, is: MISMATCH },
    { what: `an envelope that names ${version}, without a header`, body: enveloped({ [VERSION]: version }), headers: [undefined], is: MISMATCH }
  ]),

  // Notifications: nothing that anybody waits for
  { what: 'a notification', body: notification(), headers: OTHERS, is: 'messages', says: { batch: false } },
  { what: 'a notification', body: notification(), headers: STANDALONE, is: 'notice' },
  { what: 'a notification with an envelope', body: notification({ _meta: ENVELOPE }), headers: ALL, is: 'notice' },
  { what: 'a notification with a broken envelope', body: notification({ _meta: { [VERSION]: 7 } }), headers: ALL, is: 'notice' },
  { what: 'a notification with capabilities alone', body: notification({ _meta: { [CAPABILITIES]: {} } }), headers: OTHERS, is: 'messages' }
]

const quoted = (header: string | undefined): string => header === undefined ? 'no header' : JSON.stringify(header)

const countOf = (headers: Row['headers']): string => headers.length === 1 ? quoted(headers[0]) : `${headers.length} headers${headers.includes(undefined) ? ' or none' : ''}`

for (const { what, body, headers, is, says } of rows) {
  t.test(`${what}, with ${countOf(headers)}`, async t => {
    for (const header of headers) {
      const before = JSON.stringify(body)
      if (typeof is === 'string') {
        t.match(classify(body, header, LIMITS), { kind: is, ...says }, quoted(header))
      } else {
        const [code, status, rpc] = is
        try {
          t.fail(`${quoted(header)} was understood as ${classify(body, header, LIMITS).kind}`)
        } catch (error) {
          t.match(error, { code: `FST_MCP_${code}`, message: says ?? /./ }, quoted(header))
          t.match({ status: toStatus(error), code: toRpcError(error, true).code }, { status, code: rpc }, quoted(header))
        }
      }
      t.equal(JSON.stringify(body), before, 'the body is left as it was')
    }
  })
}

t.test('whoever names a revision that is not served learns which are', async t => {
  try {
    classify(enveloped({ [VERSION]: '2025-11-25' }), '2025-11-25', LIMITS)
    t.fail('it was understood')
  } catch (error) {
    t.strictSame(toRpcError(error, true), {
      code: -32022,
      message: 'Protocol version "2025-11-25" is not served per request; served: 2026-07-28',
      data: { code: 'FST_MCP_ENVELOPE_REVISION', supported: ['2026-07-28'], requested: '2025-11-25' }
    })
  }
})

t.test('where the handshake revisions alone are served an envelope means nothing', async t => {
  t.match(classifyHandshake(enveloped(), LIMITS), { kind: 'messages', batch: false })
  t.match(classifyHandshake([enveloped()], LIMITS), { kind: 'messages', batch: true })
  t.match(classifyHandshake(initialize({ _meta: ENVELOPE }), LIMITS), { kind: 'initialize' })
  t.throws(() => classifyHandshake(undefined, LIMITS), { code: 'FST_MCP_PARSE' })
})
