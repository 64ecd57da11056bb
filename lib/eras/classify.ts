import { atLimit, errorCodes } from '../errors.ts'
import { isObject, isRequest, type Message, type Params, readMessage, type Request, type RequestId } from '../protocol/message.ts'
import { type Envelope, hasEnvelope, hasValidEnvelope, isStatelessVersion, readEnvelope } from './envelope.ts'

export interface Initialize {
  readonly kind: 'initialize'
  readonly id: RequestId
  readonly params: Params
}

export interface Messages {
  readonly kind: 'messages'
  readonly messages: readonly Message[]
  readonly batch: boolean
}

/** A request that brings everything it needs. */
export interface Standalone {
  readonly kind: 'standalone'
  readonly message: Request
  readonly envelope: Envelope
}

/** A notification of a client without a session: nothing that the server waits for is told this way. */
export interface Notice {
  readonly kind: 'notice'
}

/** What a POST of the handshake revisions brings. */
export type Inbound = Initialize | Messages

export interface InboundLimits {
  /** The longest request id, in characters. */
  readonly id: number
  /** The most messages in a batch. */
  readonly batch: number
  /** The most characters of client capabilities. */
  readonly capabilities: number
}

/**
 * Decides once which era a POST on the MCP path belongs to, by its body and its header MCP-Protocol-Version.
 * Throws what is wrong with either: FST_MCP_PARSE when there is no body, FST_MCP_MESSAGE_INVALID, FST_MCP_ID_INVALID,
 * FST_MCP_BATCH_INVALID, FST_MCP_HEADER_MISMATCH, FST_MCP_ENVELOPE_INVALID, FST_MCP_ENVELOPE_REVISION.
 * Specification: 2026-07-28, basic/versioning and basic/transports/streamable-http.
 */
export function classify (body: unknown, version: string | undefined, limits: InboundLimits): Inbound | Standalone | Notice {
  const isStateless = isStatelessVersion(version)
  if (Array.isArray(body)) {
    if (isStateless || body.some(claimsEnvelope)) throw new errorCodes.FST_MCP_BATCH_UNSUPPORTED()
    return classifyBatch(body, limits)
  }
  const inbound = classifySingle(body, limits)
  if (inbound.kind === 'initialize') {
    if (hasValidEnvelope(inbound.params)) return standalone({ ...inbound, kind: 'request', method: 'initialize' }, version, limits)
    if (isStateless) throw new errorCodes.FST_MCP_HEADER_MISMATCH('MCP-Protocol-Version', 'its revision has no `initialize`')
    return inbound
  }
  const [message] = inbound.messages
  if (message === undefined || message.kind === 'response' || !(isStateless || hasEnvelope(message.params))) return inbound
  return message.kind === 'notification' ? { kind: 'notice' } : standalone(message, version, limits)
}

function standalone (message: Request, version: string | undefined, limits: InboundLimits): Standalone {
  return { kind: 'standalone', message, envelope: readEnvelope(message.params, version, limits) }
}

function claimsEnvelope (entry: unknown): boolean {
  return isObject(entry) && isObject(entry.params) && hasEnvelope(entry.params)
}

/**
 * Reads the body of a POST where the handshake revisions alone are served. Throws as `classify` does.
 * Whether a batch is allowed at all depends on the revision of its session, which is not known here.
 */
export function classifyHandshake (body: unknown, limits: InboundLimits): Inbound {
  return Array.isArray(body) ? classifyBatch(body, limits) : classifySingle(body, limits)
}

function classifySingle (body: unknown, limits: InboundLimits): Inbound {
  if (body === undefined) throw new errorCodes.FST_MCP_PARSE()
  const message = readMessage(body, limits.id)
  if (message.kind === 'request' && message.method === 'initialize') return { kind: 'initialize', id: message.id, params: message.params }
  return { kind: 'messages', messages: [message], batch: false }
}

function classifyBatch (body: unknown[], limits: InboundLimits): Inbound {
  if (body.length === 0) throw new errorCodes.FST_MCP_BATCH_INVALID('it is empty')
  if (body.length > limits.batch) throw atLimit('limits.batch', new errorCodes.FST_MCP_BATCH_INVALID(`it holds more than ${limits.batch} messages`))
  if (body.some(entry => isObject(entry) && entry.method === 'initialize')) {
    throw new errorCodes.FST_MCP_BATCH_INVALID('`initialize` must not be part of one')
  }
  const messages = body.map(entry => readMessage(entry, limits.id))
  const responses = messages.filter(message => message.kind === 'response')
  if (responses.length > 0 && responses.length < messages.length) {
    throw new errorCodes.FST_MCP_BATCH_INVALID('responses must not be mixed with requests and notifications')
  }
  const ids = messages.filter(isRequest).map(({ id }) => id)
  if (new Set(ids).size < ids.length) throw new errorCodes.FST_MCP_BATCH_INVALID('two requests have the same id')
  return { kind: 'messages', messages, batch: true }
}
