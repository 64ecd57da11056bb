import type { FastifyReply, FastifyRequest } from 'fastify'
import { atLimit, codeOf, errorCodes, isTold, logSafely, readable, toRpcError, toStatus } from '../errors.ts'
import { isStatelessVersion } from '../eras/envelope.ts'
import type { TellRefusal } from '../ops/events.ts'
import { errorOf, type RequestId } from '../protocol/message.ts'
import { ownerOf } from '../protocol/owner.ts'
import { type Challenge, isChallenged } from './challenge.ts'

const SECONDS_TO_RETRY = '5'
// Longer than a proxy takes to send on what a limit of its own lets through.
const LINGER_MS = 5_000

/** From this revision on, an error that answers no readable id leaves it out; older clients get JSON-RPC's null. */
const OMITS_ID_SINCE = '2025-11-25'

/** Answers a refusal as a JSON-RPC error, with the HTTP status of its row in the catalogue. */
export type Refuse = (reply: FastifyReply, thrown: unknown, id?: RequestId) => void

export function createRefuse (challenge: Challenge, tell: TellRefusal): Refuse {
  return (reply, thrown, id) => refuse(reply, thrown, { challenge, tell, id })
}

interface RefuseOptions {
  readonly challenge: Challenge
  readonly tell: TellRefusal
  readonly id: RequestId | undefined
}

function refuse (reply: FastifyReply, thrown: unknown, { challenge, tell, id }: RefuseOptions): void {
  const error = readable(thrown)
  const { status, told } = translate(error, reply.request)
  tell(told, ownerOf(reply.request.mcp?.principal ?? null))
  reply.code(status)
  if (isChallenged(status, told)) reply.header('www-authenticate', challenge(told))
  // A connection of HTTP/2 cannot be upgraded.
  if (status === 426 && reply.request.raw.httpVersionMajor === 1) reply.header('upgrade', 'TLS/1.2').header('connection', 'upgrade')
  // Fastify closes the connection, and the reset overtakes the answer where a proxy still sends the body. Node drops what comes.
  if (status === 413) linger(reply.removeHeader('connection').request)
  if ((status === 503 || status === 429) && !reply.hasHeader('retry-after')) reply.header('retry-after', SECONDS_TO_RETRY)
  if (status >= 500 && !isExpected(told)) logSafely(reply.log, error, 'request failed')
  else reply.log.info({ refusal: toRpcError(told) }, 'request refused')
  const isStateless = isStatelessVersion(reply.request.headers['mcp-protocol-version']?.toString())
  reply.header('content-type', 'application/json; charset=utf-8').send(errorOf(id ?? unreadableId(reply.request), told, isStateless, reply.request.id))
}

/** The rest of a body has its time to come, and no more. */
function linger ({ raw }: FastifyRequest): void {
  const timer = setTimeout(() => raw.destroy(), LINGER_MS).unref()
  raw.once('close', () => clearTimeout(timer))
}

/** A server that is full, closing or without its store refuses many, for no fault of any request. */
function isExpected (told: unknown): boolean {
  return isTold(told) && toStatus(told) === 503 && !(told instanceof errorCodes.FST_MCP_AUTH_UNAVAILABLE)
}

function unreadableId (request: FastifyRequest): null | undefined {
  const version = request.headers['mcp-protocol-version']
  return typeof version === 'string' && version >= OMITS_ID_SINCE ? undefined : null
}

/** Fastify's own refusals in the words of the catalogue. What a hook of the host refuses keeps its status. */
function translate (error: unknown, request: FastifyRequest): { status: number, told: unknown } {
  const told = fromFastify(error, request)
  const code = codeOf(told)
  // An error that answers a call from inside JSON-RPC has no status of its own: without a call it is a bad request.
  if (code !== 'FST_MCP_INTERNAL') return { status: toStatus(told) === 200 ? 400 : toStatus(told), told }
  const { statusCode = 500, message = '' } = error instanceof Error && 'statusCode' in error ? error : {}
  if (typeof statusCode !== 'number' || !isRefusal(statusCode)) return { status: 500, told }
  // Why the host itself failed is for its log alone.
  return { status: statusCode, told: statusCode < 500 ? new errorCodes.FST_MCP_REFUSED_BY_HOST(message) : told }
}

function isRefusal (status: number): boolean {
  return Number.isInteger(status) && status >= 400 && status < 600
}

function fromFastify (error: unknown, request: FastifyRequest): unknown {
  switch (error instanceof Error && 'code' in error ? error.code : undefined) {
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE': return new errorCodes.FST_MCP_MEDIA_TYPE_UNSUPPORTED({ cause: error })
    case 'FST_ERR_CTP_BODY_TOO_LARGE': {
      return atLimit('limits.body', new errorCodes.FST_MCP_BODY_TOO_LARGE(String(request.routeOptions.bodyLimit), { cause: error }))
    }
    default: return error
  }
}
