import { Connection } from '../client/connection.ts'
import { type Lane, measureCalls } from '../client/drive.ts'
import { Session } from '../client/post-session.ts'
import { echo, isEcho, nextId } from '../client/requests.ts'
import type { Figure, Scenario } from '../scenario.ts'

const SIZES = {
  full: { warm: 15_000, batches: 12, calls: 4_000, connections: [16, 64] },
  smoke: { warm: 20, batches: 2, calls: 50, connections: [2, 4] }
}

function lane (connection: Connection, session: Session): Lane {
  return done => {
    const id = nextId()
    connection.ask(session.post(echo(id)), ({ body }) => { done(isEcho(body, id)) })
  }
}

/** `tools/call` answered as JSON; every connection is a client with a session of its own. */
export const calls: Scenario = {
  name: 'calls',
  async run (server, size) {
    const { connections, ...load } = SIZES[size]
    const figures: Figure[] = []
    for (const count of connections) {
      const clients = await Connection.openMany(server.port, count)
      const lanes = await Promise.all(clients.map(async client => lane(client, await Session.open(client, server.port))))
      figures.push(...await measureCalls(server, `tools/call, session POST, ${count} connections`, lanes, load))
      for (const client of clients) client.close()
    }
    return figures
  }
}
