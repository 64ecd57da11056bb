// One node of a server, in a process of its own. REDIS is a port, or the node is the only one; PACKAGE is the client of Redis, OPTIONS and
// STORE are JSON.
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'
import mcp, { content } from 'fastify-mcp-sse'
import { redisStore } from 'fastify-mcp-sse/redis'
import { z } from 'zod'
import { connectors } from '../redis-server.ts'

const { PORT, REDIS, PACKAGE = 'ioredis', OPTIONS = '{}', STORE = '{}' } = process.env
const redis = REDIS === undefined ? undefined : await connectors[PACKAGE as keyof typeof connectors](Number(REDIS))
const app = Fastify({ logger: { level: 'error' } })
await app.register(mcp, { name: 'member', version: '1.0.0', ...JSON.parse(OPTIONS), store: redis && redisStore(redis.client, JSON.parse(STORE)) })

const counting = z.object({ tag: z.string(), chunks: z.number(), size: z.number().default(0), every: z.number().default(0) })

let yielded = 0
/** Each chunk says whose it is, and which. */
app.mcp.tool('count', { input: counting }, async function * ({ tag, chunks, size, every }, { signal }) {
  for (let number = 1; number <= chunks; number++) {
    if (every > 0) await sleep(every, undefined, { signal })
    yielded++
    yield { type: 'progress', progress: number, message: `${tag}:${number}${' '.repeat(size)}` }
  }
  return `${tag} counted to ${chunks}`
})
app.mcp.tool('hang', {}, async function * (_args, { signal }) {
  yield 'hanging'
  await once(signal, 'abort')
  console.log(`hang ended with ${signal.reason.code}`)
})
app.mcp.tool('asks', {}, async (_args, { ask, roots }) => {
  const { action } = await ask('size', 'Which size?', z.object({ size: z.enum(['S', 'L']) }))
  const [root] = await roots('roots')
  return `${action} ${root?.name}`
})
app.mcp.tool('says', {}, async (_args, { log }) => {
  for (const number of [1, 2, 3]) await log.info(number)
  return 'said'
})
app.mcp.tool('pid', {}, () => String(process.pid))
app.mcp.tool('update', { input: z.object({ uri: z.string() }) }, ({ uri }) => {
  app.mcp.resourceUpdated(uri)
  return content.text('updated')
})
app.mcp.tool('change', {}, () => {
  app.mcp.tool('extra', {}, () => 'extra').remove()
  return 'changed'
})
app.mcp.resource('docs://readme', { name: 'readme' }, () => '# Read me')

app.get('/stats', () => ({ ...app.mcp.stats(), yielded, pid: process.pid, memory: process.memoryUsage().heapUsed }))

process.once('SIGTERM', async () => {
  // What was on its way when the balancer was told is still answered.
  await app.mcp.drain()
  await app.close()
  redis?.close()
})

console.log(await app.listen({ port: Number(PORT), host: '127.0.0.1' }))

// A test that was killed cannot end it.
const parent = process.ppid
setInterval(() => { if (process.ppid !== parent) process.exit(1) }, 1_000).unref()
