// A connection that breaks costs nothing: its client comes back with the last event id that it saw.
import { once } from 'node:events'
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Client, EventStream, open, read, type RpcMessage, SseClient, until } from './client.ts'
import { gate, type Ongoing, seeded, serve, SESSIONS, settles } from './sockets.ts'

const RESUMABLE = ['http+sse'] as const
const LIST_CHANGED = 'notifications/tools/list_changed'

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index)

/** What a client made use of: the id of the last event, and what its messages say. */
class Reader {
  lastId = ''
  readonly told: unknown[] = []
  /** Whether the call is answered. */
  isOver = false

  /** Reads one event. Events that arrived but were not read are as good as lost. */
  async read (stream: EventStream): Promise<void> {
    const { id, event, data } = await stream.next()
    if (id !== undefined) this.lastId = id
    if (event !== 'message') return
    const { method, params, error, result }: RpcMessage = JSON.parse(data)
    if (method !== undefined) {
      this.told.push(method === 'notifications/progress' ? Number(params.message) : method)
    } else {
      this.told.push(error?.data.code ?? result.content[0].text)
      this.isOver = true
    }
  }

  async readAll (stream: EventStream): Promise<unknown[]> {
    while (!this.isOver) await this.read(stream)
    return this.told
  }
}

for (const transport of RESUMABLE) {
  t.test(`on ${transport} whatever breaks wherever, each event arrives once and in order`, async t => {
    const random = seeded(3)
    const below = (most: number): number => Math.floor(random() * most)
    const { app, peer } = await serve(t, transport)
    const schema = { type: 'object', properties: { to: { type: 'integer' }, waits: { type: 'array' } } }
    app.mcp.tool('count', { input: schema, collect: false }, async function * ({ to, waits }) {
      for (const count of upTo(Number(to))) {
        yield String(count)
        if (Array.isArray(waits) && waits.includes(count)) await turn()
      }
      return 'done'
    })
    let cuts = 0
    let takeovers = 0

    const callAndBreak = async (): Promise<void> => {
      const to = 1 + below(60)
      const patience = 1 + below(15)
      const client = await peer()
      let { stream } = await client.start('count', { to, waits: upTo(to).filter(() => random() < 0.3) }, 'p')
      const reader = new Reader(); let at = 'reading'; let sid: unknown; const tm = setInterval(() => { if (!reader.isOver) console.error('STUCK', at, sid) }, 4000); t.teardown(() => clearInterval(tm))
      while (!reader.isOver) {
        for (let count = 0; !reader.isOver && (count < patience || reader.lastId === ''); count++) await reader.read(stream)
        if (reader.isOver) break
        cuts++
        const isHalfOpen = random() < 0.3
        if (!isHalfOpen) at = 'closing'; await stream.close(); at = 'closed'
        const broken = stream
        at = 'resuming'; stream = await client.resume(reader.lastId); at = 'reading'
        if (!isHalfOpen) continue
        takeovers++
        // The server breaks the old connection, as far as it did not end by itself.
        at = 'broken'; sid = [reader.lastId, broken.events.length, broken.events.at(-1), stream.events.slice(0,3), stream.comments, broken.body.destroyed, broken.body.readableFlowing, reader.told.length]; await broken.closed; at = 'reading'
      }
      at = 'closing'; await stream.close(); at = 'closed'
      t.strictSame(reader.told, [...upTo(to), 'done'])
    }
    for (let round = 0; round < 8; round++) await Promise.all(Array.from({ length: 10 }, callAndBreak))
    t.ok(cuts > 100, `${cuts} cuts`)
    t.ok(takeovers > 20, `${takeovers} connections were taken over half open`)
    await until(() => app.mcp.stats().calls === 0, 'the end of all calls')
  })
}

t.test('x', async t => {
  t.ok(once)
  t.ok(sleep)
  t.ok(Client)
  t.ok(open)
  t.ok(read)
  t.ok(SseClient)
  t.ok(gate)
  t.ok(settles)
  t.ok(LIST_CHANGED)
  const o: Ongoing | undefined = undefined
  t.notOk(o)
})
