// The server that is soaked, seen from the clients' process.
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import type { Stats } from '../../lib/mcp.ts'
import { within } from '../client.ts'

export type Question = 'vitals' | 'close'
export type Leak = 'call' | 'stream'

export interface Ready {
  readonly port: number
  /** As it was before it listened. */
  readonly before: { readonly timers: number, readonly resources: Record<string, number> }
}

/** What a server holds, after its garbage was collected. */
export interface Vitals {
  /** Bytes, without compiled code. */
  readonly heap: number
  readonly rss: number
  readonly stats: Stats
  /** Since the start. */
  readonly requests: number
  readonly calls: number
  readonly streams: number
  /** On the process and the HTTP server. */
  readonly listeners: number
  readonly timers: number
  /** How many of each kind keep the process alive. */
  readonly resources: Record<string, number>
  /** Warnings, unhandled rejections and errors in the log, the first of them. */
  readonly troubles: readonly string[]
}

/** What is left after `app.close()`. */
export interface Farewell {
  readonly timers: number
  readonly resources: Record<string, number>
  /** What a leak has kept. */
  readonly kept: number
  readonly troubles: readonly string[]
}

// A machine that is busy is waited for; a process that hangs is not.
const PATIENCE_MS = 30_000

export class Soaked {
  readonly ready: Ready
  readonly #child: ChildProcess
  readonly #gone: Promise<unknown>

  private constructor (child: ChildProcess, gone: Promise<unknown>, ready: Ready) {
    this.#child = child
    this.#gone = gone
    this.ready = ready
  }

  static async start ({ metrics, leak }: { metrics: boolean, leak?: Leak }): Promise<Soaked> {
    const child = fork('test/soak/soaked-server.ts', [], {
      cwd: new URL('../..', import.meta.url),
      env: { PATH: process.env.PATH, HOME: process.env.HOME, ...(metrics && { METRICS: 'on' }), ...(leak && { LEAK: leak }) },
      execArgv: ['--expose-gc', '--import', 'tsx', '--conditions=fastify-mcp-sse/source']
    })
    const gone = once(child, 'exit')
    const [ready] = await within(Promise.race([once(child, 'message'), gone.then(([code]) => { throw new Error(`the server ended with ${code}`) })]), 'a server to listen')
    return new Soaked(child, gone, ready)
  }

  async #ask (question: Question): Promise<any> {
    const answer = Promise.race([once(this.#child, 'message'), this.#gone.then(() => { throw new Error('the server is gone') })])
    this.#child.send(question)
    const [said] = await within(answer, `its ${question}`, PATIENCE_MS)
    return said
  }

  vitals (): Promise<Vitals> {
    return this.#ask('vitals')
  }

  close (): Promise<Farewell> {
    return this.#ask('close')
  }

  /** Waits until the process ends by itself, and gives its exit code and how long that took. */
  async ended (): Promise<{ code: number | null, ms: number }> {
    const start = performance.now()
    await within(this.#gone, 'the process to end by itself')
    return { code: this.#child.exitCode, ms: performance.now() - start }
  }

  kill (): void {
    this.#child.kill('SIGKILL')
  }
}
