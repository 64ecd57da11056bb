import Fastify from 'fastify'
import mcp from 'fastify-mcp-sse'
import { z } from 'zod'
import { ready } from './control.ts'
import { KEEP_ALIVE_MS, produce } from './work.ts'

const STREAM = z.object({ chunks: z.number(), bytes: z.number() })

const app = Fastify()
await app.register(mcp, { name: 'bench', version: '1.0.0', streams: { max: 20_000, keepAlive: KEEP_ALIVE_MS }, sessions: { max: 20_000 } })

app.mcp.tool('echo', { description: 'Says it back', input: z.object({ message: z.string() }) }, ({ message }) => message)
app.mcp.tool('chunks', { description: 'Streams, and keeps its chunks for the result', input: STREAM }, produce)
app.mcp.tool('watch', { description: 'Streams only', input: STREAM, collect: false }, produce)

ready(Number(new URL(await app.listen({ port: 0, host: '127.0.0.1' })).port))
