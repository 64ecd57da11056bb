// As many nodes as the first argument says, on one port and a Redis of their own; 0: one process with the memory store.
import { spawn } from 'node:child_process'
import cluster, { type Worker } from 'node:cluster'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'
import mcp, { memoryStore, type Store } from 'fastify-mcp-sse'
import { redisStore } from 'fastify-mcp-sse/redis'
import { Redis } from 'ioredis'
import { z } from 'zod'
import { type Question, ready, type Ready, type Usage } from './control.ts'
import { sparePort } from './spare-port.ts'

const nodes = Number(process.argv[2])
if (cluster.isWorker) ready(await serve(redisStore(connect())))
else if (nodes === 0) ready(await serve(memoryStore()))
else await lead()

function connect (): Redis {
  const redis = new Redis(Number(process.env.REDIS_PORT), '127.0.0.1')
  // Redis may leave a moment before its nodes.
  redis.on('error', () => {})
  return redis
}

async function serve (store: Store): Promise<number> {
  const app = Fastify()
  // The load sees by it whether a stream goes on at another node.
  app.addHook('onRequest', async (_request, reply) => { reply.header('x-node', process.pid) })
  await app.register(mcp, { name: 'bench', version: '1.0.0', store })
  app.mcp.tool('echo', { input: z.object({ message: z.string() }) }, ({ message }) => message)
  app.mcp.tool('ticks', {
    description: 'Says the time, in nanoseconds that all processes share',
    input: z.object({ chunks: z.number(), pause: z.number() }),
    collect: false
  }, async function * ({ chunks, pause }) {
    for (let made = 0; made < chunks; made++) {
      await sleep(pause)
      yield String(process.hrtime.bigint())
    }
  })
  return Number(new URL(await app.listen({ port: 0, host: '127.0.0.1' })).port)
}

async function lead (): Promise<void> {
  const port = await sparePort()
  const redis = spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'], { stdio: ['ignore', 'pipe', 'inherit'] })
  process.once('exit', () => redis.kill('SIGKILL'))
  let output = ''
  for await (const text of redis.stdout.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
    output += text
    if (output.includes('Ready to accept connections')) break
  }
  redis.stdout.resume()
  const workers = Array.from({ length: nodes }, () => cluster.fork({ REDIS_PORT: port }))
  const [first] = await Promise.all(workers.map(async worker => await hear<Ready>(worker)))
  process.on('message', (question: Question) => { tell(workers, question) })
  process.on('disconnect', () => process.exit())
  process.send?.(first)
}

async function hear<Heard> (worker: Worker): Promise<Heard> {
  const [heard] = await once(worker, 'message')
  return heard
}

/** What all nodes use together, without Redis. */
async function tell (workers: Worker[], question: Question): Promise<void> {
  const usages = await Promise.all(workers.map(async worker => {
    worker.send(question)
    return await hear<Usage>(worker)
  }))
  const sum = (part: keyof Usage): number => usages.reduce((sum, usage) => sum + usage[part], 0)
  process.send?.({ cpu: sum('cpu'), rss: sum('rss'), heap: sum('heap'), produced: sum('produced'), sessions: sum('sessions') } satisfies Usage)
}
