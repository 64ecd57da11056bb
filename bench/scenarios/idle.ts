import { setTimeout as sleep } from 'node:timers/promises'
import { Connection } from '../client/connection.ts'
import { Session } from '../client/post-session.ts'
import { expect, type Scenario } from '../scenario.ts'
import { KEEP_ALIVE_MS } from '../servers/work.ts'

const SECOND = 1_000

const SIZES = {
  full: { warm: 200, streams: 5_000, settle: 500, watch: 4 * KEEP_ALIVE_MS },
  smoke: { warm: 5, streams: 30, settle: 20, watch: 50 }
}
// How many clients arrive at once.
const ABREAST = 32

async function openStreams (port: number, count: number): Promise<void> {
  let left = count
  await Promise.all(Array.from({ length: ABREAST }, async () => {
    const poster = await Connection.open(port)
    while (left-- > 0) {
      const session = await Session.open(poster, port)
      const listener = await Connection.open(port)
      const head = await listener.stream(session.get(), () => {})
      expect(head.startsWith('HTTP/1.1 200') && head.includes('text/event-stream'), `GET opened no stream:\n${head}`)
    }
    poster.close()
  }))
}

/** Sessions that hold their GET stream open and say nothing. */
export const idle: Scenario = {
  name: 'idle',
  async run (server, size) {
    const { warm, settle, watch } = SIZES[size]
    const streams = SIZES[size].streams * server.share
    const settled = async (count: number) => {
      await openStreams(server.port, count)
      await sleep(settle)
      return await server.usage({ gc: true })
    }
    const before = await settled(warm)
    const after = await settled(streams)
    await sleep(watch)
    const later = await server.usage()
    const work = `an idle stream, of ${streams.toLocaleString('en')}`
    return [
      { work, unit: 'KB resident', value: (after.rss - before.rss) / streams / 1024 },
      { work, unit: 'KB heap', value: (after.heap - before.heap) / streams / 1024 },
      { work, unit: 'µs CPU to open, with its session', value: (after.cpu - before.cpu) / streams },
      { work, unit: 'µs CPU a second, kept alive', value: (later.cpu - after.cpu) / (warm + streams) / (watch / SECOND) }
    ]
  }
}
