import { Connection } from '../client/connection.ts'
import { Session } from '../client/post-session.ts'
import { call, nextId } from '../client/requests.ts'
import { quiet } from '../client/statistics.ts'
import { streamCall, streamFrames } from '../client/stream-call.ts'
import { expect, type Scenario } from '../scenario.ts'

const BYTES = 20
const SIZES = {
  full: { chunks: 10_000, warm: 8, calls: 30 },
  smoke: { chunks: 200, warm: 1, calls: 2 }
}

interface Message {
  method?: string
  params: { progress: number, message: string }
  result?: { content: Array<{ text: string }> }
}

async function expectAll (connection: Connection, request: string, chunks: number): Promise<void> {
  const { frames } = await streamFrames(connection, request)
  const messages = frames.map(({ data }) => JSON.parse(data) as Message)
  const sent = messages.filter(({ method }) => method === 'notifications/progress')
  const rising = sent.every(({ params }, index) => index === 0 || params.progress > (sent[index - 1]?.params.progress ?? 0))
  const text = sent.map(({ params }) => params.message).join('')
  expect(sent.length === chunks && rising, `${sent.length} of ${chunks} chunks came`)
  expect(text === 'x'.repeat(chunks * BYTES), 'the chunks hold another text than was yielded')
  expect(messages.at(-1)?.result?.content[0]?.text === text, 'the result is not the sum of its chunks')
}

/** One caller, one streaming call after another. */
export const chunks: Scenario = {
  name: 'chunks',
  async run (server, size) {
    const { chunks, warm, calls } = SIZES[size]
    const connection = await Connection.open(server.port)
    const session = await Session.open(connection, server.port)
    const request = (): string => session.post(call(nextId(), 'chunks', { chunks, bytes: BYTES }, 1))
    for (let made = 0; made < warm * server.share; made++) await expectAll(connection, request(), chunks)

    const costs: number[] = []
    const firsts: number[] = []
    const totals: number[] = []
    for (let made = 0; made < calls * server.share; made++) {
      const before = await server.usage()
      const { first, total, length } = await streamCall(connection, request())
      const { cpu } = await server.usage()
      expect(length > chunks * BYTES * 2, `a stream of ${chunks} chunks had only ${length} bytes`)
      costs.push((cpu - before.cpu) / chunks)
      firsts.push(first)
      totals.push(total)
    }
    const work = `a call yielding ${chunks.toLocaleString('en')} chunks of ${BYTES} bytes`
    return [
      { work, unit: 'µs CPU per chunk', value: quiet(costs) },
      { work, unit: 'chunks per second', value: chunks / quiet(totals) * 1000 },
      { work, unit: 'ms to the first chunk', value: quiet(firsts) }
    ]
  }
}
