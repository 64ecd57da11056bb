// A real redis-server of a test's own, on a free port of loopback.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { createClient } from 'redis'
import type { Test } from 'tap'
import type { RedisClient } from 'fastify-mcp-sse/redis'
import { freePort } from './free-port.ts'

const executablePath = process.env.MCP_TEST_REDIS ?? 'redis-server'

/** What a test that needs a server takes as its options. Files that need one all the way are left out by `npm test`. */
export const withRedis = { skip: process.env.MCP_TEST_REDIS === '' ? 'redis-server is not on this machine' : false as const }

export interface RedisServer {
  readonly port: number
  readonly process: ChildProcess
  /** Kills it, and starts it again on the same port, with nothing in it. */
  restart (): Promise<void>
  stop (): Promise<void>
}

export async function startRedis (t: Test, ...args: string[]): Promise<RedisServer> {
  const folder = await mkdtemp(join(tmpdir(), 'mcp-redis-'))
  const port = await freePort()
  const start = async (): Promise<ChildProcess> => {
    const options = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'no', ...args]
    const child = spawn(executablePath, options, { stdio: ['ignore', 'pipe', 'inherit'] })
    let output = ''
    await new Promise<void>((resolve, reject) => {
      child.once('error', reject)
      child.once('exit', code => reject(new Error(`redis-server exited with ${code}:\n${output}`)))
      child.stdout.setEncoding('utf8').on('data', text => {
        output += text
        if (output.includes('Ready to accept connections')) resolve()
      })
    })
    return child
  }
  let child = await start()
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }
  t.teardown(async () => {
    await stop()
    await rm(folder, { recursive: true, force: true })
  })
  return {
    port,
    get process () { return child },
    stop,
    async restart () {
      await stop()
      child = await start()
    }
  }
}

export interface Client {
  readonly client: RedisClient
  close (): void
}

/** Connects a client of each package, as an application would. */
export const connectors: Record<'ioredis' | 'redis', (port: number) => Promise<Client>> = {
  async ioredis (port) {
    const client = new Redis(port, '127.0.0.1')
    client.on('error', () => {})
    await once(client, 'ready')
    return { client, close: () => client.disconnect() }
  },
  async redis (port) {
    const client = createClient({ url: `redis://127.0.0.1:${port}` })
    client.on('error', () => {})
    await client.connect()
    return { client, close: () => client.destroy() }
  }
}
