import { Connection } from '../client/connection.ts'
import { awake } from '../client/drive.ts'
import { Listener, openListeners } from '../client/listener.ts'
import { Session } from '../client/post-session.ts'
import { call, nextId } from '../client/requests.ts'
import { percentile, quiet } from '../client/statistics.ts'
import { expect, type Scenario } from '../scenario.ts'

const SIZES = {
  full: { streams: 1_000, warm: 10, triggers: 31 },
  smoke: { streams: 20, warm: 1, triggers: 2 }
}
// Milliseconds after which nobody else will hear of it.
const PATIENCE = 5_000
const NOTICE = '{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}'

/** A tool that changes the list of tools, which every open stream is told. */
export const listChanged: Scenario = {
  name: 'list-changed',
  async run (server, size) {
    const { streams, warm, triggers } = SIZES[size]
    const listeners: Listener[] = []
    let told = 0
    let onAll = (): void => {}
    const onNotice = (): void => { if (++told === streams) onAll() }
    await openListeners(server.port, streams, () => {
      const listener = new Listener(NOTICE, onNotice)
      listeners.push(listener)
      return listener.onText
    })
    const caller = await Connection.open(server.port)
    const session = await Session.open(caller, server.port)

    const trigger = async (): Promise<number> => {
      told = 0
      let impatience
      const all = new Promise<void>((resolve, reject) => {
        onAll = resolve
        impatience = setTimeout(() => { reject(new Error(`${told} of ${streams} streams were told of a change`)) }, PATIENCE)
      })
      const asked = performance.now()
      const answered = caller.request(session.post(call(nextId(), 'toggle', {})))
      await all
      const took = performance.now() - asked
      clearTimeout(impatience)
      const { body } = await answered
      expect(body.includes('toggled'), `the list was not changed: ${body}`)
      return took
    }
    const waits: number[] = []
    const costs: number[] = []
    for (let made = 0; made < warm + triggers; made++) {
      const before = await server.usage()
      const took = await awake(trigger)
      const { cpu } = await server.usage()
      if (made < warm) continue
      waits.push(took)
      costs.push((cpu - before.cpu) / streams)
    }
    for (const listener of listeners) {
      const [frames, heard] = [listener.frames(), warm + triggers]
      const isRight = frames.every(({ id, data }, index) => id.endsWith(`_${index + 1}`) && data === NOTICE)
      expect(frames.length === heard && listener.heard === heard, `a stream was told of ${frames.length} of ${heard} changes`)
      expect(isRight, `a stream was told something else: ${JSON.stringify(frames)}`)
    }
    const work = `a changed list told to ${streams.toLocaleString('en')} streams`
    return [
      { work, unit: 'ms until the last has it', value: percentile(waits, 0.5) },
      { work, unit: 'µs CPU per stream', value: quiet(costs) }
    ]
  }
}
