import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Test } from 'tap'

export const root = join(import.meta.dirname, '..')

/** A server in a process of its own. */
export interface Child {
  /** Where it listens, as it printed it. */
  readonly url: string
  readonly process: ChildProcess
  /** Everything that it printed so far. */
  output (): string
  stop (signal?: NodeJS.Signals): Promise<void>
}

interface ChildOptions {
  args?: string[]
  port?: number
  /** More of its environment. */
  env?: Record<string, string>
}

/** Starts a program that prints `http://127.0.0.1:<port>` when it listens. `PORT` is 0 unless given. */
export async function startChild (t: Pick<Test, 'teardown'>, file: string, { args = [], port = 0, env: more = {} }: ChildOptions = {}): Promise<Child> {
  // `env -i`: tap adds its coverage to every child, and would count what tsx made of the sources as if it were its own.
  const env = Object.entries({ PATH: process.env.PATH, HOME: process.env.HOME, PORT: port, ...more }).map(([name, value]) => `${name}=${value}`)
  const program = [process.execPath, '--import', 'tsx', '--conditions=fastify-mcp-sse/source', file, ...args]
  const child = spawn('env', ['-i', ...env, ...program], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
  const exited = once(child, 'exit')
  const stop = async (signal: NodeJS.Signals = 'SIGKILL'): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal)
    await exited
  }
  t.teardown(() => stop())

  let output = ''
  const url = await new Promise<string>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', text => {
        output += text
        const [found] = /http:\/\/127\.0\.0\.1:\d+/.exec(output) ?? []
        if (found !== undefined) resolve(found)
      })
    }
    exited.then(([code]) => reject(new Error(`${file} exited with ${code}:\n${output}`)), reject)
  })
  return { url, process: child, output: () => output, stop }
}
