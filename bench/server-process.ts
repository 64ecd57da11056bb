import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import type { Boot, Question, Ready, Usage } from './servers/control.ts'

const PATIENCE = 5_000

/** A server of the suite in a process of its own, seen from the load's side. */
export class ServerProcess {
  readonly port: number
  /** What its start took, where it says so. */
  readonly boot: Boot | null
  /** Starts another like it. */
  readonly again: () => Promise<ServerProcess>
  /** The part of its calls and streams that a scenario makes: less than 1 where there are many servers to measure. */
  share = 1
  readonly #child: ChildProcess

  private constructor (child: ChildProcess, { port, boot }: Ready, again: () => Promise<ServerProcess>) {
    this.#child = child
    this.port = port
    this.boot = boot
    this.again = again
  }

  static async start (file: string, flags: string[], args: string[] = []): Promise<ServerProcess> {
    // Some packages greet on stdout.
    const child = fork(file, args, { execArgv: ['--expose-gc', ...flags], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
    return new ServerProcess(child, await hear<Ready>(child), async () => await ServerProcess.start(file, flags, args))
  }

  async usage (question: Question = { gc: false }): Promise<Usage> {
    this.#child.send(question)
    return await hear<Usage>(this.#child)
  }

  async stop (): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const gone = once(this.#child, 'exit')
    this.#child.disconnect()
    // One that is too busy to see its parent leave is not waited for.
    const impatience = setTimeout(() => this.#child.kill('SIGKILL'), PATIENCE)
    await gone
    clearTimeout(impatience)
  }
}

async function hear<Heard> (child: ChildProcess): Promise<Heard> {
  return await new Promise((resolve, reject) => {
    const onExit = (code: number | null): void => { reject(new Error(`the server process ended with code ${code}`)) }
    child.once('exit', onExit)
    child.once('message', heard => {
      child.off('exit', onExit)
      resolve(heard as Heard)
    })
  })
}
