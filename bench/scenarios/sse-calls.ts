import { drive, type Lane, percentile } from '../client/drive.ts'
import { echo, isEcho, nextId } from '../client/requests.ts'
import { SseSession } from '../client/sse-session.ts'
import { type Scenario } from '../scenario.ts'

const SIZES = {
  full: { warm: 30_000, calls: 50_000, sessions: 50 },
  smoke: { warm: 20, calls: 100, sessions: 3 }
}

function lane (session: SseSession): Lane {
  return done => {
    const id = nextId()
    session.ask(echo(id), ({ head }, frames) => { done(head.startsWith('HTTP/1.1 202') && isEcho(frames, id)) })
  }
}

/** `tools/call` over HTTP+SSE: posted on one connection, answered on the session's stream. */
export const sseCalls: Scenario = {
  name: 'sse-calls',
  async run (server, size) {
    const { warm, calls, sessions } = SIZES[size]
    const lanes = await Promise.all(Array.from({ length: sessions }, async () => lane(await SseSession.open(server.port))))
    await drive(lanes, warm)
    const before = await server.usage()
    const { seconds, waits } = await drive(lanes, calls)
    const { cpu } = await server.usage()
    const work = `tools/call, HTTP+SSE, ${sessions} sessions`
    return [
      { work, unit: 'µs CPU per call', value: (cpu - before.cpu) / calls },
      { work, unit: 'calls per second', value: calls / seconds },
      { work, unit: 'ms, p99', value: percentile(waits, 0.99) }
    ]
  }
}
