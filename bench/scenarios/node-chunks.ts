import { Connection, endsChunks } from '../client/connection.ts'
import { Session } from '../client/post-session.ts'
import { call, echo, get, nextId } from '../client/requests.ts'
import { percentile } from '../client/statistics.ts'
import { expect, type Figure, type Scenario } from '../scenario.ts'
import type { ServerProcess } from '../server-process.ts'

const SIZES = {
  full: { streams: 16, chunks: 250, pause: 20 },
  smoke: { streams: 4, chunks: 60, pause: 10 }
}
const STAMP = /^id: (\S+)\n(?:.+\n)*?data: .*"message":"(\d+)"/gm
// Nanoseconds after which a client that came back is there.
const SETTLED = 100_000_000n
const NODE = /\r\nx-node: (\d+)/i

/** The chunks of one stream, as they come. */
class Ticks {
  /** Milliseconds from the yield to here. */
  readonly waits: number[] = []
  readonly stamps: bigint[] = []
  lastId = ''
  node = ''
  readonly ended: Promise<void>
  #text = ''
  #end = (): void => {}

  constructor (connection: Connection, request: string) {
    this.ended = new Promise((resolve, reject) => {
      this.#end = resolve
      connection.stream(request, text => { this.#read(text) }).then(head => { this.node = NODE.exec(head)?.[1] ?? '' }, reject)
    })
  }

  #read (text: string): void {
    const now = process.hrtime.bigint()
    this.#text += text.replaceAll('\r', '')
    STAMP.lastIndex = 0
    let read = 0
    for (const { 0: whole, 1: id = '', 2: stamp = '', index } of this.#text.matchAll(STAMP)) {
      this.stamps.push(BigInt(stamp))
      this.waits.push(Number(now - BigInt(stamp)) / 1e6)
      this.lastId = id
      read = index + whole.length
    }
    this.#text = this.#text.slice(read)
    if (endsChunks(text)) this.#end()
  }
}

interface Streaming {
  readonly connection: Connection
  readonly session: Session
  readonly ticks: Ticks
}

async function start ({ port }: ServerProcess, { streams, chunks, pause }: (typeof SIZES)['full']): Promise<Streaming[]> {
  const started: Streaming[] = []
  for (let count = 0; count < streams; count++) {
    const connection = await Connection.open(port)
    const session = await Session.open(connection, port)
    started.push({ connection, session, ticks: new Ticks(connection, session.post(call(nextId(), 'ticks', { chunks, pause }, 1))) })
  }
  return started
}

function figures (work: string, waits: number[]): Figure[] {
  return [{ work, unit: 'ms, p50', value: percentile(waits, 0.5) }, { work, unit: 'ms, p99', value: percentile(waits, 0.99) }]
}

async function direct (server: ServerProcess, size: (typeof SIZES)['full']): Promise<Figure[]> {
  const streaming = await start(server, size)
  await Promise.all(streaming.map(async ({ ticks }) => { await ticks.ended }))
  for (const { ticks, connection } of streaming) {
    expect(ticks.stamps.length === size.chunks, `${ticks.stamps.length} of ${size.chunks} chunks came`)
    connection.close()
  }
  return figures('a chunk, from its yield to its client', streaming.flatMap(({ ticks }) => ticks.waits))
}

/** A connection to another node than the one that is named, where there are several. */
async function elsewhere ({ port }: ServerProcess, session: Session, node: string, nodes: Set<string>): Promise<Connection> {
  for (;;) {
    const connection = await Connection.open(port)
    const { head } = await connection.request(session.post(echo(nextId())))
    if (nodes.size === 1 || NODE.exec(head)?.[1] !== node) return connection
    connection.close()
  }
}

/** Every client hangs up and comes back, where there are several nodes to another one. */
async function resumed (server: ServerProcess, size: (typeof SIZES)['full']): Promise<Figure[]> {
  const streaming = await start(server, size)
  const isUnderWay = (): boolean => streaming.every(({ ticks }) => ticks.stamps.length > size.chunks / 10)
  while (!isUnderWay()) await new Promise(resolve => setTimeout(resolve, size.pause))
  const nodes = new Set(streaming.map(({ ticks }) => ticks.node))
  const waits = await Promise.all(streaming.map(async ({ connection, session, ticks }) => {
    connection.close()
    const again = await elsewhere(server, session, ticks.node, nodes)
    const rest = new Ticks(again, get(server.port, '/mcp', `${session.headers}last-event-id: ${ticks.lastId}\r\n`))
    const back = process.hrtime.bigint()
    await rest.ended
    again.close()
    const came = new Set([...ticks.stamps, ...rest.stamps]).size
    expect(came === size.chunks && came === ticks.stamps.length + rest.stamps.length, `${came} of ${size.chunks} chunks came`)
    expect(nodes.size === 1 || rest.node !== ticks.node, 'a client came back to the same node')
    // What was yielded before the client was back is no matter of latency.
    return rest.waits.filter((_, index) => (rest.stamps[index] ?? 0n) > back + SETTLED)
  }))
  return figures('a chunk, after the client came back elsewhere', waits.flat())
}

/** Chunks of tools that take their time. */
export const nodeChunks: Scenario = {
  name: 'node-chunks',
  async run (server, size) {
    return [...await direct(server, SIZES[size]), ...await resumed(server, SIZES[size])]
  }
}
