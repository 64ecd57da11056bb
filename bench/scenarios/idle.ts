import { setTimeout as sleep } from 'node:timers/promises'
import { openListeners } from '../client/listener.ts'
import type { Scenario } from '../scenario.ts'
import { KEEP_ALIVE_MS } from '../servers/work.ts'

const SECOND = 1_000

const SIZES = {
  full: { warm: 200, streams: 5_000, settle: 500, watch: 4 * KEEP_ALIVE_MS },
  smoke: { warm: 5, streams: 30, settle: 20, watch: 50 }
}

/** Sessions that hold their GET stream open and say nothing. */
export const idle: Scenario = {
  name: 'idle',
  async run (server, size) {
    const { warm, settle, watch } = SIZES[size]
    const streams = SIZES[size].streams * server.share
    const open = async (count: number) => {
      await openListeners(server.port, count, () => () => {})
      await sleep(settle)
      return await server.usage()
    }
    await open(warm)
    const before = await server.usage({ gc: true })
    // A collection that is asked for is not part of what opening takes: it goes through the whole heap.
    const opened = await open(streams)
    const after = await server.usage({ gc: true })
    await sleep(watch)
    const later = await server.usage()
    const work = `an idle stream, of ${streams.toLocaleString('en')}`
    return [
      { work, unit: 'KB resident', value: (after.rss - before.rss) / streams / 1024 },
      { work, unit: 'KB heap', value: (after.heap - before.heap) / streams / 1024 },
      { work, unit: 'µs CPU to open, with its session', value: (opened.cpu - before.cpu) / streams },
      { work, unit: 'µs CPU a second, kept alive', value: (later.cpu - after.cpu) / (warm + streams) / (watch / SECOND) }
    ]
  }
}
