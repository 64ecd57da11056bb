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

/**
 * The name of a stream tells which request it answers, so that the loss of its events can be told even when
 * nothing else of it is known any more. A batch has no single one.
 */
export function nameStream (unique: string, ids: readonly RequestId[]): string {
  const [id] = ids
  if (id === undefined || ids.length > 1) return unique
  return `${unique}.${typeof id === 'number' ? `i${id}` : `s${Buffer.from(id).toString('base64url')}`}`
}

/** The request that a stream answers, if its name tells. */
export function requestOf (stream: string): RequestId | undefined {
  const encoded = stream.slice(stream.indexOf('.') + 1)
  if (encoded === stream) return undefined
  const value = encoded.slice(1)
  if (encoded.startsWith('s')) return Buffer.from(value, 'base64url').toString()
  const id = Number(value)
  return encoded.startsWith('i') && Number.isSafeInteger(id) ? id : undefined
}
