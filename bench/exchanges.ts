import { setTimeout as sleep } from 'node:timers/promises'
import { type Answer, Connection, dechunk } from './client/connection.ts'
import { ACCEPT_STREAM, call, echo, loneEcho, nextId, standaloneEcho } from './client/requests.ts'
import { Session } from './client/post-session.ts'
import { SseSession } from './client/sse-session.ts'
import { streamFrames } from './client/stream-call.ts'
import { CREDENTIALS } from './scenarios/session-calls.ts'

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

type Take = (request: string, answer: Answer) => void

/** Asks a server once for what the scenarios measure that are to be compared. */
export interface Recording {
  name: string
  /** What it asks of the server, as scenarios do. */
  args: string[]
  record: (port: number, take: Take) => Promise<void>
}

async function recordSessions (port: number, take: Take): Promise<void> {
  const connection = await Connection.open(port)
  const names = ['initialize', 'notifications/initialized']
  const session = await Session.open(connection, port, { onAnswer: answer => { take(`POST /mcp ${names.shift()}`, answer) } })
  take('POST /mcp tools/call', await connection.request(session.post(echo(nextId()))))
  const asEvents = await connection.request(session.post(echo(nextId()), ACCEPT_STREAM))
  // A stream that is known at once may say its length.
  take('POST /mcp tools/call, as SSE', { ...asEvents, body: /content-length/i.test(asEvents.head) ? asEvents.body : dechunk(asEvents.body) })
  const streamed = call(nextId(), 'chunks', { chunks: 3, bytes: 20 }, 1)
  take('POST /mcp tools/call, streamed', await streamFrames(connection, session.post(streamed)))

  let told = ''
  const listener = await Connection.open(port)
  const head = await listener.stream(session.get(), text => { told += text })
  await sleep(OPENING)
  take('GET /mcp', { head, body: dechunk(told) })
  told = ''
  take('POST /mcp tools/call, which changes a list', await connection.request(session.post(call(nextId(), 'toggle', {}))))
  await sleep(OPENING)
  take('the change on GET /mcp', { head: '', body: dechunk(told) })
  take('DELETE /mcp', await connection.request(session.delete()))

  const old = await SseSession.open(port, (head, opening) => { take('GET /sse', { head, body: dechunk(opening) }) })
  const [accepted, frames] = await old.request(echo(nextId()))
  take('POST /messages tools/call', accepted)
  take('the answer on GET /sse', { head: '', body: dechunk(frames) })
}

async function recordGuarded (port: number, take: Take): Promise<void> {
  const connection = await Connection.open(port)
  const session = await Session.open(connection, port, { headers: CREDENTIALS })
  take('POST /mcp tools/call, guarded', await connection.request(session.post(echo(nextId()))))
}

async function recordStateless (port: number, take: Take): Promise<void> {
  const connection = await Connection.open(port)
  take('POST /mcp tools/call, stateless', await connection.request(loneEcho(port, nextId())))
  take('POST /mcp tools/call, 2026-07-28', await connection.request(standaloneEcho(port, nextId())))
}

export const recordings: Recording[] = [
  { name: 'sessions', args: [], record: recordSessions },
  { name: 'guarded', args: ['--guarded'], record: recordGuarded },
  { name: 'stateless', args: ['--stateless'], record: recordStateless }
]

export async function recordExchanges (name: string, port: number): Promise<Exchange[]> {
  const recording = recordings.find(recording => recording.name === name)
  if (recording === undefined) throw new Error(`there is no recording ${name}`)
  const taken: Exchange[] = []
  await recording.record(port, (request, answer) => { taken.push(exchange(request, answer)) })
  return taken
}
