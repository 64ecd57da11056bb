import { Connection } from '../client/connection.ts'
import { drive, type Lane, percentile } from '../client/drive.ts'
import { echo, isEcho, nextId } from '../client/requests.ts'
import { Session } from '../client/post-session.ts'
import { type Figure, type Scenario } from '../scenario.ts'

const SIZES = {
  full: { warm: 30_000, calls: 50_000, connections: [16, 64] },
  smoke: { warm: 20, calls: 100, connections: [2, 4] }
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
    const { warm, calls, connections } = SIZES[size]
    const figures: Figure[] = []
    for (const count of connections) {
      const clients = await Connection.openMany(server.port, count)
      const lanes = await Promise.all(clients.map(async client => lane(client, await Session.open(client, server.port))))
      await drive(lanes, warm)
      const before = await server.usage()
      const { seconds, waits } = await drive(lanes, calls)
      const { cpu } = await server.usage()
      const work = `tools/call, session POST, ${count} connections`
      figures.push(
        { work, unit: 'µs CPU per call', value: (cpu - before.cpu) / calls },
        { work, unit: 'calls per second', value: calls / seconds },
        { work, unit: 'ms, p99', value: percentile(waits, 0.99) }
      )
      for (const client of clients) client.close()
    }
    return figures
  }
}
