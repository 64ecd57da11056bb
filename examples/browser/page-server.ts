// A page that watches a tool over a native EventSource, behind a token: open the link that this prints.
// Set MCP_TOKEN, kill this server and start it again: the page carries on. A launch happens once, however often it is asked for.
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import fastifyStatic from '@fastify/static'
import closeWithGrace from 'close-with-grace'
import Fastify from 'fastify'
import mcp from 'fastify-mcp-sse'
import { z } from 'zod'
import { Receipts } from './receipts.ts'

const token = process.env.MCP_TOKEN ?? randomBytes(24).toString('base64url')

const app = Fastify({ logger: true })
await app.register(fastifyStatic, { root: join(import.meta.dirname, 'public') })
await app.register(mcp, { name: 'countdown', version: '1.0.0', auth: { tokens: [{ token, principal: 'page' }] } })

app.mcp.tool('countdown', {
  description: 'Counts down to zero.',
  input: z.object({
    from: z.int().min(1).max(1_000),
    pause: z.int().min(0).max(10_000).default(500).describe('Milliseconds between two numbers')
  })
}, async function * ({ from, pause }, { signal }) {
  for (let left = from; left > 0; left--) {
    yield `${left}… `
    yield { progress: from - left + 1, total: from }
    await setTimeout(pause, undefined, { signal })
  }
  yield 'zero'
})

const launches = new Receipts()
let launched = 0

app.mcp.tool('launch', {
  description: 'Launches a rocket. Called again with the same key it says what the first call did, and launches none.',
  input: z.object({
    key: z.uuid().describe('A new one for each launch, the same one for each repeat of it'),
    pause: z.int().min(0).max(10_000).default(1_000).describe('Milliseconds until it flies')
  }),
  annotations: { destructiveHint: false, idempotentHint: true }
}, async function * ({ key, pause }, { principal, signal }) {
  yield 'on the pad… '
  yield await launches.once(principal?.id ?? '', key, { pause }, async () => {
    await setTimeout(pause, undefined, { signal })
    return `launch number ${++launched}`
  })
})

const url = await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT ?? 3000) })
// What follows the # is never sent to a server, and this line is no line of the log.
console.log(`${url}/#token=${token}`)
closeWithGrace({ delay: 15_000, logger: app.log }, async () => { await app.mcp.drain(); await app.close() })
