// A proxy in a process of its own, in the foreground, with a folder of its own.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { until } from '../client.ts'

export interface Proxy {
  /** With the scheme that its configuration asks for. */
  readonly url: string
  /** Reads its configuration again. Resolves when the workers from before are gone, and what was open through them is broken. */
  reload (): Promise<void>
}

export interface Program {
  readonly binary: string
  readonly args: (folder: string) => string[]
  /** File names and what is in them. */
  readonly files: (folder: string) => Record<string, string>
  readonly port: number
  /** What it prints each time that it has read its configuration and hears signals. */
  readonly ready: RegExp
  readonly reload: NodeJS.Signals
  /** What it prints for each worker from before that is gone. */
  readonly gone: RegExp
  /** Ends the workers as well. */
  readonly stop: NodeJS.Signals
}

export function makeFolder (t: Test, name: string): string {
  const folder = mkdtempSync(join(tmpdir(), `mcp-${name}-`))
  // Started by root, nginx hands over to somebody else.
  chmodSync(folder, 0o755)
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

export async function startDaemon (t: Test, program: Program, scheme: string): Promise<Proxy> {
  const folder = makeFolder(t, 'proxy')
  for (const [name, text] of Object.entries(program.files(folder))) writeFileSync(join(folder, name), text)
  const child = spawn(program.binary, program.args(folder), { stdio: ['ignore', 'pipe', 'pipe'] })
  const exited = once(child, 'exit')
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', text => { output += text })
  t.teardown(async () => {
    if (isRunning(child)) child.kill(program.stop)
    await exited
  })
  while (!await answers(program.port)) {
    if (!isRunning(child)) throw new Error(`${program.binary} ended:\n${output}`)
  }
  const count = (mark: RegExp): number => output.match(mark)?.length ?? 0
  await until(() => count(program.ready) > 0, `${program.binary} to be ready`)
  return {
    url: `${scheme}://127.0.0.1:${program.port}`,
    async reload () {
      const [ready, gone] = [count(program.ready), count(program.gone)]
      child.kill(program.reload)
      // Now and then haproxy does not hear a signal that comes right after its start.
      const again = setInterval(() => { if (count(program.ready) === ready) child.kill(program.reload) }, 2_000)
      await until(() => count(program.ready) > ready && count(program.gone) > gone, 'the workers from before to go').catch(error => {
        throw new Error(`${error.message}:\n${output}`)
      }).finally(() => clearInterval(again))
    }
  }
}

function isRunning ({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode === null && signalCode === null
}

async function answers (port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    await new Promise(resolve => setTimeout(resolve, 10))
    return false
  } finally {
    socket.destroy()
  }
}
