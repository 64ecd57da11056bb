import Fastify from 'fastify'
import mcp, { type McpOptions, type ToolHandle } from 'fastify-mcp-sse'
import { z } from 'zod'
import { ready } from './control.ts'
import { ORIGIN, readWanted, TOKEN } from './wanted.ts'
import { KEEP_ALIVE_MS, produce } from './work.ts'

const STREAM = z.object({ chunks: z.number(), bytes: z.number() })
// What is counted, and never enough.
const PLENTY = 1_000_000_000

const { guarded, stateless, idle, tools } = readWanted()

const guards: McpOptions = {
  auth: { tokens: [{ token: TOKEN, principal: 'bench' }] },
  origins: [ORIGIN],
  rateLimit: { max: PLENTY, maxPerAddress: PLENTY }
}

const app = Fastify()
await app.register(mcp, {
  name: 'bench',
  version: '1.0.0',
  streams: { max: 20_000, keepAlive: KEEP_ALIVE_MS },
  sessions: stateless ? false : { max: 20_000, idle },
  ...(guarded && guards)
})

for (let others = 1; others < tools; others++) {
  const input = z.object({ message: z.string() })
  app.mcp.tool(`echo-${others}`, { description: 'Says it back, as others do', input }, ({ message }) => message)
}
app.mcp.tool('echo', { description: 'Says it back', input: z.object({ message: z.string() }) }, ({ message }) => message)
app.mcp.tool('chunks', { description: 'Streams, and keeps its chunks for the result', input: STREAM }, produce)
app.mcp.tool('watch', { description: 'Streams only', input: STREAM, collect: false }, produce)

let toggled: ToolHandle | null = null
app.mcp.tool('toggle', { description: 'Puts a tool on the list, or takes it off' }, () => {
  toggled?.remove()
  toggled = toggled === null ? app.mcp.tool('toggled', {}, () => 'here') : null
  return 'toggled'
})

ready(Number(new URL(await app.listen({ port: 0, host: '127.0.0.1' })).port), { sessions: () => app.mcp.stats().sessions })
