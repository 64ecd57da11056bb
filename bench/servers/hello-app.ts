import { setTimeout } from 'node:timers/promises'
import Fastify from 'fastify'
import mcp from 'fastify-mcp-sse'
import { z } from 'zod'

// The server of examples/hello.ts, with a log that says nothing.
const app = Fastify({ logger: { level: 'error' } })
await app.register(mcp, { name: 'hello', version: '1.0.0' })

app.mcp.tool('hello', {
  description: 'Greets somebody, word by word.',
  input: z.object({ name: z.string() })
}, async function * ({ name }, { signal }) {
  for (const word of ['Hello', name, 'and', 'welcome']) {
    yield `${word} `
    await setTimeout(200, undefined, { signal })
  }
})

export const port = Number(new URL(await app.listen({ port: 0, host: '127.0.0.1' })).port)
