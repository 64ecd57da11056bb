import { setTimeout as sleep } from 'node:timers/promises'
import { Connection } from '../client/connection.ts'
import { drive, type Lane, measureCalls } from '../client/drive.ts'
import { Session } from '../client/post-session.ts'
import { echo, isEcho, nextId } from '../client/requests.ts'
import { expect, type Figure, type Scenario } from '../scenario.ts'
import type { ServerProcess } from '../server-process.ts'

const SIZES = {
  full: { warm: 3_000, batches: 10, calls: 500, connections: 16, abandoned: 5_000, idle: 10_000, comeBack: 1 },
  // Each of them comes back, because a session that is asked for is forgotten then, and not at the next sweep.
  smoke: { warm: 5, batches: 2, calls: 10, connections: 2, abandoned: 20, idle: 500, comeBack: 20 }
}
// Ours sweeps every ten seconds.
const PATIENCE = 20_000
const POLL = 50

/** Opens a session and uses it once; null when the answer was wrong. */
async function used (connection: Connection, port: number): Promise<Session | null> {
  const session = await Session.open(connection, port)
  const id = nextId()
  const { body } = await connection.request(session.post(echo(id)))
  return isEcho(body, id) ? session : null
}

/** A whole life: opened, used, and ended by its client. */
async function live (connection: Connection, port: number): Promise<boolean> {
  const session = await used(connection, port)
  if (session === null) return false
  const { head } = await connection.request(session.delete())
  return head.startsWith('HTTP/1.1 200')
}

function lanesOf (connections: Connection[], work: (connection: Connection) => Promise<boolean>): Lane[] {
  return connections.map(connection => done => { work(connection).then(done, () => { done(false) }) })
}

async function closed (server: ServerProcess, connections: Connection[], { warm, batches, calls }: (typeof SIZES)['full']): Promise<Figure[]> {
  let lives = 0
  const lanes = lanesOf(connections, async connection => {
    lives++
    return await live(connection, server.port)
  })
  await drive(lanes, warm)
  lives = 0
  const before = await server.usage({ gc: true })
  const work = 'a session opened, used once, ended'
  const figures = await measureCalls(server, work, lanes, { warm: 0, batches, calls }, 'session')
  const after = await server.usage({ gc: true })
  expect(after.sessions === 0, `${after.sessions} sessions are left that their clients ended`)
  return [...figures, { work, unit: 'B heap kept', value: (after.heap - before.heap) / lives, compare: 'difference' }]
}

async function abandoned (server: ServerProcess, connections: Connection[], { abandoned, idle, comeBack }: (typeof SIZES)['full']): Promise<Figure[]> {
  const sessions: Session[] = []
  const lanes = lanesOf(connections, async connection => {
    const session = await used(connection, server.port)
    if (session !== null) sessions.push(session)
    return session !== null
  })
  const before = await server.usage({ gc: true })
  await drive(lanes, abandoned)
  const held = await server.usage({ gc: true })
  expect(held.sessions === sessions.length, `${held.sessions} of ${sessions.length} sessions were there when they were measured`)

  await sleep(idle + POLL)
  const [connection] = connections
  for (const session of sessions.slice(0, comeBack)) {
    const answer = await connection?.request(session.post(echo(nextId())))
    expect(answer?.head.startsWith('HTTP/1.1 404') === true, `a session came back after it had expired:\n${answer?.head}`)
  }
  const impatient = performance.now() + PATIENCE
  while ((await server.usage()).sessions > 0) {
    expect(performance.now() < impatient, 'expired sessions are not forgotten')
    await sleep(POLL)
  }
  const after = await server.usage({ gc: true })
  const work = 'a session that nobody ended'
  return [
    { work, unit: 'B heap held', value: (held.heap - before.heap) / sessions.length },
    { work, unit: 'B heap kept once expired', value: (after.heap - before.heap) / sessions.length, compare: 'difference' }
  ]
}

/** Sessions that come and go, those that their clients end and those that just stay away. */
export const sessionLives: Scenario = {
  name: 'sessions',
  args: size => ['--idle', String(SIZES[size].idle)],
  async run (server, size) {
    const connections = await Connection.openMany(server.port, SIZES[size].connections)
    return [...await closed(server, connections, SIZES[size]), ...await abandoned(server, connections, SIZES[size])]
  }
}
