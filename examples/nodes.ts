// Several processes, one port, one Redis: `npm run example examples/nodes.ts`. `NODES` says how many, `REDIS_URL` where.
import cluster from 'node:cluster'
import { setTimeout } from 'node:timers/promises'
import closeWithGrace from 'close-with-grace'
import Fastify from 'fastify'
import mcp from 'fastify-mcp-sse'
import { redisStore } from 'fastify-mcp-sse/redis'
import { Redis } from 'ioredis'
import { z } from 'zod'

if (cluster.isPrimary) lead()
else await serve()

/** Starts the nodes, and another one for each that dies. */
function lead (): void {
  for (let count = Number(process.env.NODES ?? 3); count > 0; count--) cluster.fork()
  let isClosing = false
  cluster.on('exit', () => { if (!isClosing) cluster.fork() })
  closeWithGrace({ delay: 20_000 }, async () => {
    isClosing = true
    const workers = Object.values(cluster.workers ?? {})
    await Promise.all(workers.map(worker => new Promise(resolve => {
      worker?.once('exit', resolve)
      worker?.kill('SIGTERM')
    })))
  })
}

async function serve (): Promise<void> {
  // Ctrl-C reaches every process: the nodes leave it to the one that leads them.
  process.on('SIGINT', () => {})
  const address = process.env.REDIS_URL ?? 'redis://127.0.0.1:6379'
  const redis = new Redis(address)
  redis.on('error', error => app.log.warn(`Redis at ${new URL(address).host}: ${error.message}`))
  const app = Fastify({ logger: { level: 'warn' } })
  await app.register(mcp, { name: 'cluster', version: '1.0.0', store: redisStore(redis) })
  app.addHook('onClose', async () => { redis.disconnect() })

  app.mcp.tool('count', {
    description: 'Counts, and says which process does it. Hang up, come back with Last-Event-ID, and any node goes on with it.',
    input: z.object({ to: z.number().int().min(1).max(1_000).default(20), pause: z.number().min(0).max(10_000).default(250) })
  }, async function * ({ to, pause }, { signal }) {
    yield `process ${process.pid}: `
    for (let number = 1; number <= to; number++) {
      await setTimeout(pause, undefined, { signal })
      yield `${number} `
    }
  })

  // It takes SIGINT too unless it is told which signals are its own.
  closeWithGrace({ delay: 15_000, logger: app.log, skip: ['SIGINT'] }, async () => {
    await app.mcp.drain()
    await app.close()
  })
  const url = await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT ?? 3000) })
  console.log(`process ${process.pid} serves ${url}/mcp and ${url}/sse`)
}
