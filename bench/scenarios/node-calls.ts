import { Connection } from '../client/connection.ts'
import { type Lane, measureCalls } from '../client/drive.ts'
import { Session } from '../client/post-session.ts'
import { echo, isEcho, nextId } from '../client/requests.ts'
import type { Scenario } from '../scenario.ts'

const SIZES = {
  full: { warm: 4_000, batches: 8, calls: 2_000, connections: 16 },
  smoke: { warm: 20, batches: 2, calls: 50, connections: 4 }
}

/** `tools/call` answered as JSON, each session at another node than the one that opened it. */
export const nodeCalls: Scenario = {
  name: 'node-calls',
  async run (server, size) {
    const { connections, ...load } = SIZES[size]
    const clients: Connection[] = []
    const sessions: Session[] = []
    for (let count = 0; count < connections; count++) {
      const client = await Connection.open(server.port)
      clients.push(client)
      sessions.push(await Session.open(client, server.port))
    }
    const lanes = sessions.map((session, index): Lane => done => {
      const id = nextId()
      clients[(index + 1) % connections]?.ask(session.post(echo(id)), ({ body }) => { done(isEcho(body, id)) })
    })
    return await measureCalls(server, `tools/call, session POST, ${connections} connections`, lanes, load)
  }
}
