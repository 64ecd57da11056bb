import { setTimeout as sleep } from 'node:timers/promises'
import { Connection } from '../client/connection.ts'
import { call, nextId } from '../client/requests.ts'
import { Session } from '../client/post-session.ts'
import { streamCall } from '../client/stream-call.ts'
import { expect, type Scenario } from '../scenario.ts'
import type { ServerProcess } from '../server-process.ts'

const BYTES = 20
const SIZES = {
  full: { chunks: 100_000, warm: 3, readers: [1, 100], steady: 400 },
  smoke: { chunks: 100_000, warm: 1, readers: [1, 3], steady: 100 }
}

// `watch` keeps no chunks for its result, so that all memory that grows is memory of waiting frames.
function watch (session: Session, chunks: number): string {
  return session.post(call(nextId(), 'watch', { chunks, bytes: BYTES }, 1))
}

async function stalledReader (port: number, chunks: number): Promise<void> {
  const connection = await Connection.open(port)
  const session = await Session.open(connection, port)
  await new Promise<void>((resolve, reject) => {
    connection.stream(watch(session, chunks), text => {
      if (!text.includes('notifications/progress')) return
      connection.stall()
      resolve()
    }).catch(reject)
  })
}

/** How many chunks were yielded when no more came for `steady` milliseconds. */
async function comesToRest (server: ServerProcess, steady: number): Promise<number> {
  let last = -1
  for (;;) {
    const { produced } = await server.usage()
    if (produced === last) return produced
    last = produced
    await sleep(steady)
  }
}

/** Readers that take the first chunk of a long stream and then read no more. */
export const stalled: Scenario = {
  name: 'stalled',
  async run (server, size) {
    const { chunks, warm, readers, steady } = SIZES[size]
    const [one = 1, many = 100] = readers
    const connection = await Connection.open(server.port)
    const session = await Session.open(connection, server.port)
    // A server that has streamed before has its young heap grown, and what grows then is what readers cost.
    for (let made = 0; made < warm * server.share; made++) await streamCall(connection, watch(session, chunks))

    // Emptied pages go back to the system a moment after the collection.
    await server.usage({ gc: true })
    await sleep(steady)
    const start = await server.usage({ gc: true })
    await stalledReader(server.port, chunks)
    const madeForOne = await comesToRest(server, steady) - start.produced
    const afterOne = await server.usage()
    const growth = (bytes: number): number => bytes / 1024 / 1024
    const grown = growth(afterOne.rss - start.rss)
    expect(madeForOne < chunks, `a reader that stalled was sent all ${chunks.toLocaleString('en')} chunks, and memory grew by ${grown.toFixed(0)} MB`)
    await Promise.all(Array.from({ length: many - one }, async () => { await stalledReader(server.port, chunks) }))
    await comesToRest(server, steady)
    const afterMany = await server.usage()
    const held = await server.usage({ gc: true })
    const single = 'a reader that stalls'
    const crowd = `${many} readers that stall`
    return [
      { work: single, unit: 'chunks produced meanwhile', value: madeForOne },
      { work: single, unit: 'MB resident, growth', value: grown, compare: 'difference' },
      { work: crowd, unit: 'MB resident, growth', value: growth(afterMany.rss - start.rss), compare: 'difference' },
      { work: crowd, unit: 'MB heap held', value: growth(held.heap - start.heap), compare: 'difference' }
    ]
  }
}
