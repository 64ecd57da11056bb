import { type Connection, dechunk, endsChunks } from './connection.ts'
import { type Frame, parseFrames } from './frames.ts'

export interface StreamCall {
  /** Milliseconds from the request to the first chunk, and to the end. */
  first: number
  total: number
  length: number
}

// Long enough for the mark of the end, which may come in two pieces.
const TAIL = 8

/** Makes a call that is answered as a stream, and reads it to its end as cheaply as can be. */
export async function streamCall (connection: Connection, request: string): Promise<StreamCall> {
  let first = 0
  let length = 0
  let tail = ''
  const asked = performance.now()
  await new Promise<void>((resolve, reject) => {
    connection.stream(request, text => {
      if (first === 0 && text.includes('notifications/progress')) first = performance.now()
      length += text.length
      tail = (tail + text.slice(-TAIL)).slice(-TAIL)
      if (endsChunks(tail)) resolve()
    }).catch(reject)
  })
  connection.endStream()
  return { first: first - asked, total: performance.now() - asked, length }
}

/** The same, keeping everything: what a client would have seen. */
export async function streamFrames (connection: Connection, request: string): Promise<{ head: string, body: string, frames: Frame[] }> {
  let chunked = ''
  let end = (): void => {}
  const ended = new Promise<void>(resolve => { end = resolve })
  const head = await connection.stream(request, text => {
    chunked += text
    if (endsChunks(chunked.slice(-TAIL))) end()
  })
  await ended
  connection.endStream()
  const body = dechunk(chunked)
  return { head, body, frames: parseFrames(body) }
}
