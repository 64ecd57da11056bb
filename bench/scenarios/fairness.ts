import { setTimeout as sleep } from 'node:timers/promises'
import { Connection } from '../client/connection.ts'
import { call, echo, isEcho, nextId } from '../client/requests.ts'
import { Session } from '../client/post-session.ts'
import { streamCall } from '../client/stream-call.ts'
import { expect, type Scenario } from '../scenario.ts'

const SIZES = {
  full: { chunks: 100_000, warm: 1_000, milliseconds: 4_000 },
  smoke: { chunks: 10_000, warm: 50, milliseconds: 300 }
}
const PAUSE = 3

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
    const [reader, caller] = [await Connection.open(server.port), await Connection.open(server.port)]
    const [streaming, calling] = [await Session.open(reader, server.port), await Session.open(caller, server.port)]
    let streamed = 0
    const over = new AbortController()
    // Streams must end for the floor's sake: its socket has always room again before a turn of the event loop is over.
    const streams = (async () => {
      for (; !over.signal.aborted; streamed++) {
        await streamCall(reader, streaming.post(call(nextId(), 'watch', { chunks, bytes: 20 }, 1)))
      }
    })()
    await worstWait(caller, calling, warm)
    const worst = await worstWait(caller, calling, milliseconds)
    over.abort()
    await streams
    expect(streamed > 1, 'no stream came to its end meanwhile')
    return [{ work: 'another caller while a stream runs flat out', unit: 'ms, worst wait', value: worst }]
  }
}
