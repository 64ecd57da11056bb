import { setTimeout as sleep } from 'node:timers/promises'
import { type Answer, Connection, dechunk } from './client/connection.ts'
import { call, echo, nextId } from './client/requests.ts'
import { Session } from './client/post-session.ts'
import { SseSession } from './client/sse-session.ts'
import { streamFrames } from './client/stream-call.ts'

/** One request's whole answer, with what must differ between two servers (ids, the date) masked in its own length. */
export interface Exchange {
  request: string
  headers: string[]
  body: string
}

const EVENT_ID = /^id: (.*)_/gm
const SESSION_ID = /(sessionId=|mcp-session-id: )(\S+)/gi
const DATE = /^(date: ).*$/i
// Long enough for what a server says on a stream of its own accord.
const OPENING = 100

function masked (text: string): string {
  return text
    .replace(EVENT_ID, (_, stream: string) => `id: ${'x'.repeat(stream.length)}_`)
    .replace(SESSION_ID, (_, name: string, id: string) => name + 'x'.repeat(id.length))
}

function exchange (request: string, { head, body }: Answer): Exchange {
  const [status = '', ...lines] = masked(head).split('\r\n')
  const headers = lines.map(line => line.replace(/^[^:]+/, name => name.toLowerCase()).replace(DATE, '$1*'))
  return { request, headers: [status, ...headers.sort()], body: masked(body) }
}

/** Asks a server once for everything that the scenarios measure. */
export async function recordExchanges (port: number): Promise<Exchange[]> {
  const taken: Exchange[] = []
  const take = (request: string, answer: Answer): void => { taken.push(exchange(request, answer)) }

  const connection = await Connection.open(port)
  const names = ['initialize', 'notifications/initialized']
  const session = await Session.open(connection, port, answer => { take(`POST /mcp ${names.shift()}`, answer) })
  take('POST /mcp tools/call', await connection.request(session.post(echo(nextId()))))
  const streamed = call(nextId(), 'chunks', { chunks: 3, bytes: 20 }, 1)
  take('POST /mcp tools/call, streamed', await streamFrames(connection, session.post(streamed)))

  let opening = ''
  const listener = await Connection.open(port)
  const head = await listener.stream(session.get(), text => { opening += text })
  await sleep(OPENING)
  take('GET /mcp', { head, body: dechunk(opening) })

  const old = await SseSession.open(port, (head, opening) => { take('GET /sse', { head, body: dechunk(opening) }) })
  const [accepted, frames] = await old.request(echo(nextId()))
  take('POST /messages tools/call', accepted)
  take('the answer on GET /sse', { head: '', body: dechunk(frames) })
  return taken
}
