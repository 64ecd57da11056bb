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
  /** See `ServerProcess`. */
  share?: number
}

export interface Outcome {
  figures: Figure[]
  exchanges: Exchange[]
  /** Why nothing was measured, when nothing was. */
  problem?: string
}

async function work ({ kind, name, size }: Job, server: ServerProcess): Promise<Outcome> {
  if (kind === 'recording') return { figures: [], exchanges: await recordExchanges(name, server.port) }
  const chosen = [...boards, clusterBoard].flatMap(({ scenarios }) => scenarios).find(scenario => scenario.name === name)
  if (chosen === undefined) throw new Error(`there is no scenario ${name}`)
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
