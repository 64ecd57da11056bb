import { errorCodes } from '../errors.ts'
import { isObject, type Message, type Params, readMessage, type RequestId } from '../protocol/message.ts'

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

/** What one POST brings, decided once and by its body alone. */
export type Inbound = Initialize | Messages

export interface InboundLimits {
  /** The longest request id, in characters. */
  readonly id: number
  /** The most messages in a batch. */
  readonly batch: number
}

/**
 * Reads the body of a POST. Throws what is wrong with it: FST_MCP_PARSE when there is none, FST_MCP_MESSAGE_INVALID,
 * FST_MCP_ID_INVALID, FST_MCP_BATCH_INVALID.
 * Whether a batch is allowed at all depends on the revision of its session, which is not known here.
 */
export function classify (body: unknown, limits: InboundLimits): Inbound {
  if (body === undefined) throw new errorCodes.FST_MCP_PARSE()
  if (Array.isArray(body)) return classifyBatch(body, limits)
  const message = readMessage(body, limits.id)
  if (message.kind === 'request' && message.method === 'initialize') return { kind: 'initialize', id: message.id, params: message.params }
  return { kind: 'messages', messages: [message], batch: false }
}

function classifyBatch (body: unknown[], limits: InboundLimits): Inbound {
  if (body.length === 0) throw new errorCodes.FST_MCP_BATCH_INVALID('it is empty')
  if (body.length > limits.batch) throw new errorCodes.FST_MCP_BATCH_INVALID(`it holds more than ${limits.batch} messages`)
  if (body.some(entry => isObject(entry) && entry.method === 'initialize')) {
    throw new errorCodes.FST_MCP_BATCH_INVALID('`initialize` must not be part of one')
  }
  const messages = body.map(entry => readMessage(entry, limits.id))
  const responses = messages.filter(message => message.kind === 'response')
  if (responses.length > 0 && responses.length < messages.length) {
    throw new errorCodes.FST_MCP_BATCH_INVALID('responses must not be mixed with requests and notifications')
  }
  const ids = messages.flatMap(message => message.kind === 'request' ? [message.id] : [])
  if (new Set(ids).size < ids.length) throw new errorCodes.FST_MCP_BATCH_INVALID('two requests have the same id')
  return { kind: 'messages', messages, batch: true }
}
