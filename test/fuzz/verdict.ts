// What is wrong with an answer, whatever was asked.
import { createParser } from 'eventsource-parser'
import { errorCodes, toRpcError, toStatus } from '../../lib/errors.ts'
import { LIMITS } from './hostile.ts'
import type { RawResponse, Talk } from './raw-socket.ts'
import { type FuzzRequest, PATHS } from './spoiled.ts'
import { SECRET } from './subjects.ts'
import { SOUND } from './wire-shapes.ts'

const ROUTED = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'])
// Refused by `auth.verify` itself.
const FAILING_TOKEN = /^bearer +(?:boom|shapeless)$/i
/** The statuses that a server may give when it is full, and what a handler of the test throws. */
export const DOCUMENTED = new Set(['FST_MCP_SESSIONS_FULL', 'FST_MCP_STREAMS_FULL', 'FST_MCP_CALLS_FULL', 'FST_MCP_AUTH_UNAVAILABLE'])
// Somewhat below Node's 16 KiB.
const LONGEST_HEADERS = 15_000
const OWN_CODES = new Set([-7, -8])
const constructors = new Map(Object.entries(errorCodes))

type Fields = Readonly<Record<string, unknown>>
const isFields = (value: unknown): value is Fields => typeof value === 'object' && value !== null && !Array.isArray(value)

function parse (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** What is wrong with the `error` of a response. */
function wrongError (error: unknown, status: number): string | undefined {
  if (!isFields(error) || !Number.isInteger(error.code) || typeof error.message !== 'string') return 'an error without code and message'
  if (typeof error.code === 'number' && OWN_CODES.has(error.code)) return undefined
  const code = isFields(error.data) ? String(error.data.code) : 'none'
  const Known = constructors.get(code)
  if (Known === undefined) return `an error with the code ${code}, which is not in the catalogue`
  const example = new Known('x', 'y', 'z')
  if (![toRpcError(example).code, toRpcError(example, true).code].includes(Number(error.code))) return `${code} with the JSON-RPC code ${error.code}`
  const own = toStatus(example)
  if (status >= 400 && code !== 'FST_MCP_REFUSED_BY_HOST' && status !== (own === 200 ? 400 : own)) return `${code} with the status ${status}`
  return undefined
}

function wrongMessage (message: unknown, status: number, asked: ReadonlySet<unknown> | undefined): string | undefined {
  if (!isFields(message) || message.jsonrpc !== '2.0') return 'no JSON-RPC message'
  if (typeof message.method === 'string') return 'result' in message || 'error' in message ? 'a message that is request and response' : undefined
  if (('result' in message) === ('error' in message)) return 'a response without exactly one of result and error'
  if ('result' in message && !isFields(message.result)) return 'a result that is no object'
  if (asked !== undefined && message.id != null && !asked.has(message.id)) return `an answer to the id ${JSON.stringify(message.id)}, which was not asked`
  return 'error' in message ? wrongError(message.error, status) : undefined
}

function wrongStream (body: string, asked: ReadonlySet<unknown> | undefined): string | undefined {
  const wrong: (string | undefined)[] = []
  createParser({
    onEvent: ({ event = 'message', data }) => {
      if (event === 'endpoint') wrong.push(/^\/\S*$/.test(data) ? undefined : `the endpoint ${data}`)
      else if (event !== 'message') wrong.push(`the event ${event}`)
      else if (data !== '') wrong.push(wrongMessage(parse(data), 200, asked))
    }
  }).feed(body)
  return wrong.find(what => what !== undefined)
}

/** The ids that a POST asks with, where its body can be read. */
function askedBy ({ method, target, body = '' }: FuzzRequest): Set<unknown> | undefined {
  // As it comes out of UTF-8, which has no lone surrogates.
  const sent = parse(Buffer.from(body).toString())
  if (method !== 'POST' || target !== '/mcp' || sent === undefined) return undefined
  return new Set([sent].flat().map(message => isFields(message) ? message.id : undefined))
}

/** Whether the plugin must have seen it, so that no answer of Fastify's or Node's own is due. */
function isOurs ({ method, target, shape }: FuzzRequest, isStateless: boolean): boolean {
  const paths: readonly string[] = isStateless ? ['/mcp'] : PATHS.slice(0, 3)
  return SOUND.includes(shape) && ROUTED.has(method) && paths.includes(target.split('?')[0] ?? '')
}

// Of Node, and of Fastify where Node could not read the request: they come before any route.
function isOfNode ({ status, body }: RawResponse, { shape, headers }: FuzzRequest): boolean {
  if ([400, 431].includes(status) && (/"message":"(?:Client Error|Exceeded maximum allowed HTTP header size)"/.test(body))) return true
  return body === '' && (!SOUND.includes(shape) || !headers.some(([name]) => name.toLowerCase() === 'host'))
}

function wrongResponse (response: RawResponse, request: FuzzRequest, isStateless: boolean): string | undefined {
  const { status, headers, body } = response
  const type = headers.get('content-type')?.[0] ?? ''
  if (!Number.isInteger(status)) return 'no status'
  if (headers.has('x-injected')) return 'a header that the request put there'
  if (body.includes(SECRET)) return 'what a handler kept to itself'
  const parsed = parse(body)
  const isDocumented = DOCUMENTED.has(codeOf(parsed)) || (request.method === 'HEAD' && status === 503)
  if (status >= 500 && !isDocumented && !request.headers.some(([, value]) => FAILING_TOKEN.test(value))) return `the status ${status} ${codeOf(parsed)}`
  if (type.startsWith('text/event-stream')) return status === 200 ? wrongStream(body, askedBy(request)) : `a stream with the status ${status}`
  if (!response.isWhole || request.method === 'HEAD') return undefined
  if (status < 300 && body === '') return undefined
  if (isOfNode(response, request)) return undefined
  if (!type.startsWith('application/json')) return `the content type "${type}" with the status ${status}`
  const isRpc = [parsed].flat().some(message => isFields(message) && 'jsonrpc' in message)
  if (!isRpc && !isOurs(request, isStateless)) return parsed === undefined ? 'a body that is no JSON' : undefined
  const messages = [parsed].flat()
  return messages.map(message => wrongMessage(message, status, askedBy(request))).find(what => what !== undefined)
}

function codeOf (parsed: unknown): string {
  const error = isFields(parsed) ? parsed.error : undefined
  return isFields(error) && isFields(error.data) ? String(error.data.code) : 'without a code'
}

/** A connection is closed on what is too long, and what is still on its way then can cost the client the answer. */
function isTooLong ({ headers, body = '' }: FuzzRequest): boolean {
  return Buffer.byteLength(body) > LIMITS.body || headers.reduce((sum, [name, value]) => sum + name.length + value.length, 0) > LONGEST_HEADERS
}

/** What is wrong, in words; undefined when nothing is. */
export function judge (request: FuzzRequest, { responses, isLate }: Talk, isStateless: boolean): string | undefined {
  const wrong = responses.map(response => wrongResponse(response, request, isStateless)).find(what => what !== undefined)
  if (wrong !== undefined) return wrong
  if (isLate) return 'no end'
  // A GET may be taken over by another, with the connection that both came on.
  const isDue = SOUND.includes(request.shape) && request.ending === 'read' && request.method !== 'GET' && !isTooLong(request)
  return isDue && responses.length === 0 ? 'no answer' : undefined
}
