import { Connection } from './client/connection.ts'
import { type Exchange, recordExchanges } from './exchanges.ts'
import type { Figure, Size } from './scenario.ts'
import { clusterScenarios, scenarios } from './scenarios.ts'
import { ServerProcess } from './server-process.ts'

/** One scenario done once to one server: what `suite.ts` asks of this process, which is the load. */
export interface Job {
  /** A scenario's name, or none: then the server's answers are recorded. */
  scenario?: string
  size: Size
  file: string
  args?: string[] | undefined
  flags: string[]
}

export interface Outcome {
  figures: Figure[]
  exchanges: Exchange[]
}

async function work ({ scenario, size }: Job, server: ServerProcess): Promise<Outcome> {
  if (scenario === undefined) return { figures: [], exchanges: await recordExchanges(server.port) }
  const chosen = [...scenarios, ...clusterScenarios].find(({ name }) => name === scenario)
  if (chosen === undefined) throw new Error(`there is no scenario ${scenario}`)
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
