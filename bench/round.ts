import { boards, clusterBoard } from './boards.ts'
import { Connection } from './client/connection.ts'
import { type Exchange, recordExchanges } from './exchanges.ts'
import type { Figure, Size } from './scenario.ts'
import { ServerProcess } from './server-process.ts'

/** One scenario or one recording, done once to one server: what `suite.ts` asks of this process, which is the load. */
export interface Job {
  kind: 'scenario' | 'recording'
  name: string
  size: Size
  file: string
  args: string[]
  flags: string[]
}

export interface Outcome {
  figures: Figure[]
  exchanges: Exchange[]
}

async function work ({ kind, name, size }: Job, server: ServerProcess): Promise<Outcome> {
  if (kind === 'recording') return { figures: [], exchanges: await recordExchanges(name, server.port) }
  const chosen = [...boards, clusterBoard].flatMap(({ scenarios }) => scenarios).find(scenario => scenario.name === name)
  if (chosen === undefined) throw new Error(`there is no scenario ${name}`)
  return { figures: await chosen.run(server, size), exchanges: [] }
}

process.once('message', (job: Job) => {
  ServerProcess.start(job.file, job.flags, job.args).then(async server => {
    const leave = (): void => { server.stop().finally(() => process.exit(1)) }
    process.once('SIGTERM', leave)
    process.once('disconnect', leave)
    const outcome = await work(job, server)
    Connection.closeAll()
    await server.stop()
    process.send?.(outcome, () => process.exit())
  }).catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : error)
    process.exit(1)
  })
})
