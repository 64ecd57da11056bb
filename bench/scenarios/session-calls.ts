import { Connection } from '../client/connection.ts'
import { type Lane, measureCalls } from '../client/drive.ts'
import { Session } from '../client/post-session.ts'
import { ACCEPT, ACCEPT_STREAM, echo, isEcho, isEchoEvent, nextId } from '../client/requests.ts'
import type { Figure, Scenario } from '../scenario.ts'
import { ORIGIN, TOKEN } from '../servers/wanted.ts'

const LOAD = {
  full: { warm: 15_000, batches: 12, calls: 4_000 },
  smoke: { warm: 20, batches: 2, calls: 50 }
}

interface SessionCalls extends Pick<Scenario, 'name' | 'args'> {
  /** `count`: of connections. */
  work: (count: number) => string
  connections?: { full: number[], smoke: number[] }
  /** Headers of every request beside those of the session. */
  headers?: string
  accept?: string
}

/** `tools/call` over a session; every connection is a client with a session of its own. */
function sessionCalls ({ work, connections = { full: [16], smoke: [2] }, headers = '', accept = ACCEPT, ...scenario }: SessionCalls): Scenario {
  const isRight = accept === ACCEPT_STREAM ? isEchoEvent : isEcho
  return {
    ...scenario,
    async run (server, size) {
      const figures: Figure[] = []
      for (const count of connections[size]) {
        const clients = await Connection.openMany(server.port, count)
        const lanes = await Promise.all(clients.map(async (client): Promise<Lane> => {
          const session = await Session.open(client, server.port, { headers })
          return done => {
            const id = nextId()
            client.ask(session.post(echo(id), accept), ({ body }) => { done(isRight(body, id)) })
          }
        }))
        figures.push(...await measureCalls(server, work(count), lanes, LOAD[size]))
        for (const client of clients) client.close()
      }
      return figures
    }
  }
}

/** Answered as JSON. */
export const calls = sessionCalls({
  name: 'calls',
  work: count => `tools/call, session POST, ${count} connections`,
  connections: { full: [16, 64], smoke: [2, 4] }
})

/** What a page sends that has a token. */
export const CREDENTIALS = `authorization: Bearer ${TOKEN}\r\norigin: ${ORIGIN}\r\n`

/** Each with a token, from a page of another origin, and counted; the floor looks at none of it. */
export const guardedCalls = sessionCalls({
  name: 'guarded-calls',
  args: () => ['--guarded'],
  work: count => `tools/call, guarded, ${count} connections`,
  headers: CREDENTIALS
})

/** Answered as a stream of two events that the client could come back for. */
export const sseAnswers = sessionCalls({
  name: 'sse-answers',
  work: count => `tools/call answered as SSE, ${count} connections`,
  connections: { full: [16, 64], smoke: [2, 4] },
  accept: ACCEPT_STREAM
})

/** To servers that differ by how many tools they have. */
export const manyTools = sessionCalls({
  name: 'many-tools',
  work: () => 'tools/call of one among other tools'
})
