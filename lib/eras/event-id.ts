import type { RequestId } from '../protocol/message.ts'

/** Where a client stopped reading: the stream, and the number of the last event it saw. */
export interface Position {
  readonly stream: string
  readonly seq: number
}

const EVENT_ID = /^([\w.-]{1,512})_(\d{1,15})$/

/** Undefined when the text is not one of our event ids. */
export function readEventId (text: string): Position | undefined {
  const [, stream, seq] = EVENT_ID.exec(text) ?? []
  return stream === undefined || seq === undefined ? undefined : { stream, seq: Number(seq) }
}

// Leaves room for the number, within what EVENT_ID takes.
const LONGEST_NAME = 480
const LONE_SURROGATE = /\p{Surrogate}/u

/**
 * The name of a stream tells which requests it answers, so that the loss of its events can be told even when
 * nothing else of it is known any more. Requests for which there is no room are left out.
 */
export function nameStream (unique: string, ids: readonly RequestId[]): string {
  let name = unique
  for (const id of ids) {
    // An id with a lone surrogate does not survive the encoding, and would name another request.
    if (typeof id === 'string' && LONE_SURROGATE.test(id)) continue
    const longer = `${name}.${typeof id === 'number' ? `i${id}` : `s${Buffer.from(id).toString('base64url')}`}`
    if (longer.length <= LONGEST_NAME) name = longer
  }
  return name
}

/** The requests that a stream answers, as far as its name tells; none when the name is not one of ours. */
export function requestsOf (stream: string): RequestId[] {
  const ids = stream.split('.').slice(1).map(readId)
  return ids.every(id => id !== undefined) ? ids : []
}

function readId (encoded: string): RequestId | undefined {
  const value = encoded.slice(1)
  if (encoded.startsWith('s')) return Buffer.from(value, 'base64url').toString()
  const id = Number(value)
  return encoded.startsWith('i') && Number.isSafeInteger(id) ? id : undefined
}
