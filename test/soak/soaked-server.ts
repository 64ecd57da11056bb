// The server that is soaked, in a process of its own: what it holds is its own. METRICS turns metrics on; LEAK makes it keep an
// object for each call or each stream, as a plugin with a leak would.
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import { getHeapCodeStatistics } from 'node:v8'
import Fastify from 'fastify'
import mcp from 'fastify-mcp-sse'
import { metrics } from 'fastify-mcp-sse/metrics'
import { z } from 'zod'
import { countTimers } from './pending-timers.ts'
import { OPTIONS } from './soak-settings.ts'
import type { Farewell, Question, Ready, Vitals } from './soaked.ts'

const MOST_TOLD = 5
const { METRICS, LEAK } = process.env
const timers = countTimers()

const counts = { requests: 0, calls: 0, streams: 0 }
/** What must not be. */
const troubles: string[] = []
const trouble = (what: string): void => {
  if (troubles.length < MOST_TOLD) troubles.push(what)
}
process.on('warning', ({ name, message }) => trouble(`warning ${name}: ${message}`))
process.on('unhandledRejection', error => trouble(`unhandled rejection: ${error instanceof Error ? error.stack : String(error)}`))

const app = Fastify({ logger: { level: 'error', stream: { write: line => trouble(`log: ${line.slice(0, 600)}`) } } })
/** Of about a hundred bytes each. */
const kept: object[] = []
app.addHook('onRequest', async () => { counts.requests++ })
app.addHook('onSend', async (_request, reply) => {
  if (reply.getHeader('content-type') !== 'text/event-stream') return
  counts.streams++
  if (LEAK === 'stream') kept.push({ at: performance.now(), a: 1, b: 2, c: 3, d: 4, e: 5 })
})

if (METRICS !== undefined) await app.register(metrics)
// Whoever comes is let in under the name that it gives, so that there are ever new principals.
await app.register(mcp, { ...OPTIONS, auth: { verify: token => token.startsWith('soak-') ? { id: token } : null } })
app.mcp.use({
  onResult: ({ method, target }) => {
    counts.calls++
    if (LEAK === 'call') kept.push({ at: performance.now(), method, target, a: 1, b: 2, c: 3 })
  }
})

app.mcp.tool('count', { input: z.object({ to: z.int(), every: z.int() }) }, async function * ({ to, every }, { signal }) {
  for (let number = 1; number <= to; number++) {
    yield `${number} `
    await sleep(every, undefined, { signal })
  }
})
app.mcp.tool('wait', {}, async function * (_args, { signal }) {
  yield 'waiting'
  if (!signal.aborted) await once(signal, 'abort')
})
const LUMP = 'x'.repeat(16_384)
app.mcp.tool('flood', {}, async function * (_args, { signal }) {
  while (!signal.aborted) yield { type: 'progress', progress: performance.now(), message: LUMP }
})
app.mcp.tool('order', {}, async (_args, { ask }) => {
  const { action } = await ask('size', 'Which size?', z.object({ size: z.enum(['S', 'L']) }))
  return action
})
app.mcp.tool('tell', {}, async (_args, { log }) => {
  for (const number of [1, 2, 3]) await log.warning(number)
  return 'told'
})
app.mcp.tool('touch', { input: z.object({ uri: z.string() }) }, ({ uri }) => {
  app.mcp.resourceUpdated(uri)
  return 'touched'
})
app.mcp.tool('change', {}, () => {
  app.mcp.tool('passing', {}, () => 'gone').remove()
  return 'changed'
})
app.mcp.resource('soak://page/{number}', { name: 'page' }, ({ number }) => `page ${number}`)
app.mcp.prompt('greet', { input: z.object({ name: z.string() }) }, ({ name }) => `Greet ${name}.`)

function tally (names: string[]): Record<string, number> {
  const found: Record<string, number> = {}
  for (const name of names) found[name] = (found[name] ?? 0) + 1
  return found
}

const listeners = (): number => [app.server, process].reduce((sum, emitter: NodeJS.EventEmitter) =>
  sum + emitter.eventNames().reduce((count, name) => count + emitter.listenerCount(name), 0), 0)

async function vitals (): Promise<Vitals> {
  // The second pass takes what finalizers of the first let go.
  for (let pass = 0; pass < 2; pass++) {
    globalThis.gc?.()
    await turn()
  }
  const { heapUsed, rss } = process.memoryUsage()
  // What the engine makes of hot functions comes late, and would look like a leak.
  const code = getHeapCodeStatistics()
  const heap = heapUsed - code.code_and_metadata_size - code.bytecode_and_metadata_size
  const stats = app.mcp.stats()
  const resources = tally(process.getActiveResourcesInfo())
  return { heap, rss, stats, ...counts, listeners: listeners(), timers: timers(), resources, troubles }
}

async function close (): Promise<Farewell> {
  await app.close()
  await turn()
  return { timers: timers(), resources: tally(process.getActiveResourcesInfo()), kept: kept.length, troubles }
}

process.on('message', async (question: Question) => {
  if (question === 'vitals') process.send?.(await vitals())
  else process.send?.(await close(), () => process.disconnect())
})

const before = { timers: 0, resources: tally(process.getActiveResourcesInfo()) }
await app.listen({ port: 0, host: '127.0.0.1' })
const { port } = app.server.address() as AddressInfo
process.send?.({ port, before } satisfies Ready)
