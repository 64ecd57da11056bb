import { Connection } from '../client/connection.ts'
import { percentile } from '../client/drive.ts'
import { call, nextId } from '../client/requests.ts'
import { Session } from '../client/post-session.ts'
import { streamCall, streamFrames } from '../client/stream-call.ts'
import { expect, type Scenario } from '../scenario.ts'

const BYTES = 20
const SIZES = {
  full: { chunks: 10_000, warm: 10, calls: 25 },
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
    for (let made = 0; made < warm; made++) await expectAll(connection, request(), chunks)

    const firsts: number[] = []
    const totals: number[] = []
    const cpu = await server.cpuOf(async () => {
      for (let made = 0; made < calls; made++) {
        const { first, total, length } = await streamCall(connection, request())
        expect(length > chunks * BYTES * 2, `a stream of ${chunks} chunks had only ${length} bytes`)
        firsts.push(first)
        totals.push(total)
      }
    })
    const median = (values: number[]): number => percentile(values.sort((a, b) => a - b), 0.5)
    const work = `a call yielding ${chunks.toLocaleString('en')} chunks of ${BYTES} bytes`
    return [
      { work, unit: 'µs CPU per chunk', value: cpu / (calls * chunks) },
      { work, unit: 'chunks per second', value: chunks / median(totals) * 1000 },
      { work, unit: 'ms to the first chunk', value: median(firsts) }
    ]
  }
}
