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
  /** See `ServerProcess`. */
  share?: number
}

export interface Outcome {
  figures: Figure[]
  exchanges: Exchange[]
  /** Why nothing was measured, when nothing was. */
  problem?: string
}

async function work ({ scenario, size }: Job, server: ServerProcess): Promise<Outcome> {
  if (scenario === undefined) return { figures: [], exchanges: await recordExchanges(server.port) }
  const chosen = [...scenarios, ...clusterScenarios].find(({ name }) => name === scenario)
  if (chosen === undefined) throw new Error(`there is no scenario ${scenario}`)
  return { figures: await chosen.run(server, size), exchanges: [] }
}

async function begin (job: Job): Promise<void> {
  const server = await ServerProcess.start(job.file, job.flags, job.args)
  server.share = job.share ?? 1
  const leave = (): void => { server.stop().finally(() => process.exit(1)) }
  process.once('SIGTERM', leave)
  process.once('disconnect', leave)
  // A connection that breaks while nobody waits for it ends the round; the others that break with it say no more.
  const broken = new Promise<never>((_resolve, reject) => { process.on('uncaughtException', reject) })
  const outcome = await Promise.race([work(job, server), broken]).catch(failure)
  Connection.closeAll()
  await server.stop()
  process.send?.(outcome, () => process.exit())
}

function failure (error: unknown): Outcome {
  return { figures: [], exchanges: [], problem: error instanceof Error ? error.message : String(error) }
}

process.once('message', (job: Job) => {
  begin(job).catch((error: unknown) => { process.send?.(failure(error), () => process.exit()) })
})
