import { Connection } from '../client/connection.ts'
import { measureCalls } from '../client/drive.ts'
import { isEcho, loneEcho, nextId, standaloneEcho } from '../client/requests.ts'
import type { Figure, Scenario } from '../scenario.ts'

const SIZES = {
  full: { warm: 15_000, batches: 12, calls: 4_000, connections: 16 },
  smoke: { warm: 20, batches: 2, calls: 50, connections: 2 }
}

/** `tools/call` where there are no sessions, as clients of either era make it. */
export const statelessCalls: Scenario = {
  name: 'stateless-calls',
  args: () => ['--stateless'],
  async run (server, size) {
    const { connections, ...load } = SIZES[size]
    const figures: Figure[] = []
    for (const [work, request] of [['stateless 2025-11-25', loneEcho], ['2026-07-28', standaloneEcho]] as const) {
      const clients = await Connection.openMany(server.port, connections)
      const lanes = clients.map(client => (done: (right: boolean) => void): void => {
        const id = nextId()
        client.ask(request(server.port, id), ({ body }) => { done(isEcho(body, id)) })
      })
      figures.push(...await measureCalls(server, `tools/call, ${work}, ${connections} connections`, lanes, load))
      for (const client of clients) client.close()
    }
    return figures
  }
}
