import cors from '@fastify/cors'
import helmet from '@fastify/helmet'
import rateLimit from '@fastify/rate-limit'
import Fastify from 'fastify'
import { z } from 'zod'

// What somebody has anyway who puts a route of their own behind the same plugins, and checks what comes in.
const app = Fastify({ logger: { level: 'error' } })
await app.register(cors, { origin: false })
await app.register(helmet)
await app.register(rateLimit, { global: false })

const MESSAGE = z.object({ id: z.number(), params: z.object({ protocolVersion: z.string() }) })

app.post('/mcp', async request => {
  const { id, params: { protocolVersion } } = MESSAGE.parse(request.body)
  return { jsonrpc: '2.0', id, result: { protocolVersion, capabilities: {}, serverInfo: { name: 'plain', version: '1.0.0' } } }
})

export const port = Number(new URL(await app.listen({ port: 0, host: '127.0.0.1' })).port)
