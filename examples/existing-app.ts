// An app that was there before, with routes and plugins of its own. Its answers stay what they were.
import cors from '@fastify/cors'
import helmet from '@fastify/helmet'
import Fastify from 'fastify'
import mcp, { ToolError } from 'fastify-mcp-sse'
import { z } from 'zod'

const page = 'https://app.example'
const orders = new Map([
  ['a1', { id: 'a1', item: 'lamp', steps: ['ordered', 'packed', 'sent'] }],
  ['b2', { id: 'b2', item: 'desk', steps: ['ordered'] }]
])

const app = Fastify({ logger: true })
await app.register(helmet)
await app.register(cors, { origin: page })

app.setErrorHandler((error: Error, _request, reply) => reply.code(500).send({ problem: error.message }))

app.get('/orders', async () => [...orders.values()])

app.get<{ Params: { id: string } }>('/orders/:id', async ({ params }, reply) => {
  return orders.get(params.id) ?? reply.code(404).send({ problem: 'no such order' })
})

// The plugin's own routes get what MCP clients in a page need beyond that.
await app.register(mcp, { name: 'orders', version: '1.0.0', prefix: '/ai', origins: [page] })

app.mcp.tool('track', {
  description: 'Tells what happened to an order so far.',
  input: z.object({ id: z.string() })
}, async function * ({ id }) {
  const order = orders.get(id)
  if (order === undefined) throw new ToolError(`There is no order "${id}"`)
  for (const step of order.steps) yield `${order.item} ${step}\n`
})

await app.listen({ port: Number(process.env.PORT ?? 3000) })
