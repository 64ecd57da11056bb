import { type Lane, measureCalls } from '../client/drive.ts'
import { echo, isEcho, nextId } from '../client/requests.ts'
import { SseSession } from '../client/sse-session.ts'
import type { Figure, Scenario } from '../scenario.ts'

const SIZES = {
  full: { warm: 15_000, batches: 12, calls: 4_000, sessions: [50, 200] },
  smoke: { warm: 20, batches: 2, calls: 50, sessions: [3, 5] }
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
    const { sessions, ...load } = SIZES[size]
    const figures: Figure[] = []
    for (const count of sessions) {
      const opened = await Promise.all(Array.from({ length: count }, async () => await SseSession.open(server.port)))
      figures.push(...await measureCalls(server, `tools/call, HTTP+SSE, ${count} sessions`, opened.map(lane), load))
      for (const session of opened) session.close()
    }
    return figures
  }
}
