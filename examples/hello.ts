import { setTimeout } from 'node:timers/promises'
import Fastify from 'fastify'
import mcp from 'fastify-mcp-sse'
import { z } from 'zod'

const app = Fastify({ logger: true })
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

await app.listen({ port: Number(process.env.PORT ?? 3000) })
