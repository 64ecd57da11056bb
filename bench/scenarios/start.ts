import { Connection } from '../client/connection.ts'
import { ACCEPT, initialize, post } from '../client/requests.ts'
import { percentile } from '../client/statistics.ts'
import { expect, type Scenario } from '../scenario.ts'
import type { ServerProcess } from '../server-process.ts'
import type { Boot } from '../servers/control.ts'

const STARTS = { full: 9, smoke: 1 }

/** What the start of a server took that does answer. */
async function bootOf (server: ServerProcess): Promise<Boot> {
  const connection = await Connection.open(server.port)
  const { head, body } = await connection.request(post(server.port, '/mcp', ACCEPT, initialize('2025-11-25')))
  connection.close()
  expect(head.startsWith('HTTP/1.1 200') && body.includes('"protocolVersion":"2025-11-25"'), `a started server does not answer:\n${head}\n\n${body}`)
  expect(server.boot !== null, 'a server did not say what its start took')
  return server.boot ?? { wall: Number.NaN, cpu: Number.NaN }
}

/** Fresh processes, from the first import until they listen. */
export const start: Scenario = {
  name: 'start',
  async run (server, size) {
    const boots = [await bootOf(server)]
    while (boots.length < STARTS[size]) {
      const fresh = await server.again()
      boots.push(await bootOf(fresh).finally(() => fresh.stop()))
    }
    const work = 'a start, from import to listening'
    return [
      { work, unit: 'ms', value: percentile(boots.map(({ wall }) => wall), 0.5) },
      { work, unit: 'ms CPU', value: percentile(boots.map(({ cpu }) => cpu), 0.5) }
    ]
  }
}
