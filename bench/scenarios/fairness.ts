import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { Connection } from '../client/connection.ts'
import { Session } from '../client/post-session.ts'
import { call, echo, isEcho, nextId } from '../client/requests.ts'
import { streamCall } from '../client/stream-call.ts'
import { expect, type Scenario } from '../scenario.ts'

const SIZES = {
  full: { chunks: 100_000, warm: 1_000, milliseconds: 4_000 },
  smoke: { chunks: 10_000, warm: 50, milliseconds: 300 }
}
const PAUSE = 3

interface Reading {
  port: number
  chunks: number
}

/** Reads one stream after another, in a thread of its own: the waits of the other caller must not be those of this reader. */
async function readStreams ({ port, chunks }: Reading): Promise<void> {
  const connection = await Connection.open(port)
  const session = await Session.open(connection, port)
  // Streams must end for the floor's sake: its socket has always room again before a turn of the event loop is over.
  for (let streamed = 1; ; streamed++) {
    await streamCall(connection, session.post(call(nextId(), 'watch', { chunks, bytes: 20 }, 1)))
    parentPort?.postMessage(streamed)
  }
}

async function worstWait (caller: Connection, session: Session, milliseconds: number): Promise<number> {
  const end = performance.now() + milliseconds
  let worst = 0
  while (performance.now() < end) {
    const id = nextId()
    const asked = performance.now()
    const { body } = await caller.request(session.post(echo(id)))
    worst = Math.max(worst, performance.now() - asked)
    expect(isEcho(body, id), `the other caller got a wrong answer: ${body}`)
    await sleep(PAUSE)
  }
  return worst
}

/** A second client calls `echo` while a tool that never waits streams to the first, which reads as fast as it can. */
export const fairness: Scenario = {
  name: 'fairness',
  async run (server, size) {
    const { chunks, warm, milliseconds } = SIZES[size]
    const caller = await Connection.open(server.port)
    const session = await Session.open(caller, server.port)
    const reader = new Worker(new URL(import.meta.url), { workerData: { port: server.port, chunks } satisfies Reading })
    let streamed = 0
    reader.on('message', (count: number) => { streamed = count })
    await once(reader, 'message')
    await worstWait(caller, session, warm)
    const before = streamed
    const worst = await worstWait(caller, session, milliseconds)
    await reader.terminate()
    expect(streamed > before, 'no stream came to its end meanwhile')
    return [{ work: 'another caller while a stream runs flat out', unit: 'ms, worst wait', value: worst }]
  }
}

// The thread runs this same file.
if (!isMainThread) await readStreams(workerData as Reading)
