// New versions go out under load: processes that are stopped and started again, hundreds of streaming calls, the official clients.
import t, { type Test } from 'tap'
import { startChild } from './child.ts'
import { send, within } from './client.ts'
import { Fleet } from './cluster/fleet.ts'
import { OVER_HTTP, OVER_SSE, STANDALONE } from './cluster/guests.ts'
import { rollOver } from './cluster/weather.ts'
import { startRedis, withRedis } from './redis-server.ts'

type Guest = Awaited<ReturnType<typeof OVER_HTTP[string]>>

t.setTimeout(300_000)

const CHUNKS = 20
const PAUSE_MS = 50
const ABREAST = 10
const PATIENCE_MS = 60_000
// A client of SDK 1.32 comes back fifty times, also when it was closed.
const streams = { retry: 10 }

/** One call, held to all of its chunks, each once and in order. */
async function counts (t: Test, guest: Guest, tag: string): Promise<void> {
  const heard: string[] = []
  const onprogress = ({ message = '' }: { message?: string }): void => { heard.push(message.trimEnd()) }
  const answer = await within(guest.call('count', { tag, chunks: CHUNKS, every: PAUSE_MS }, { onprogress }), tag, PATIENCE_MS)
  const whole = Array.from({ length: CHUNKS }, (_, index) => `${tag}:${index + 1}`)
  // Of what comes in one packet with the answer the clients tell only the answer: the last chunks alone may be missing.
  if (answer === `${tag} counted to ${CHUNKS}` && heard.length > 0 && heard.every((chunk, index) => chunk === whole[index])) return
  t.strictSame([answer, heard], [`${tag} counted to ${CHUNKS}`, whole], tag)
}

t.test('nodes are replaced one after the other, and no call of hundreds at once loses anything', withRedis, async t => {
  const redis = await startRedis(t)
  const fleet = await Fleet.start(t, { redis, packageName: 'ioredis', size: 3, options: { ask: { keys: ['k'.repeat(32)] } } })
  const welcomes = Object.values({ ...OVER_HTTP, ...STANDALONE })
  const guests = await Promise.all(Array.from({ length: 24 }, (_, index) => welcomes[index % welcomes.length]?.(t, fleet.url))) as Guest[]
  const replaced = new Set<number | undefined>()
  const over = new AbortController()
  const { signal } = over
  let count = 0
  let most = 0
  const watch = (async () => {
    while (!signal.aborted) {
      const calls = (await fleet.stats().catch(() => [])).map(({ calls = 0 }) => calls)
      most = Math.max(most, calls.reduce((sum, some) => sum + some, 0))
      await new Promise(resolve => setTimeout(resolve, 50))
    }
  })()
  const work = guests.flatMap((guest, index) => Array.from({ length: ABREAST }, async (_, lane) => {
    for (let round = 0; !signal.aborted; round++) {
      await counts(t, guest, `${index}.${lane}.${round}`)
      count++
    }
  }))
  for (const node of fleet.nodes) replaced.add(node.process.pid)
  await rollOver(fleet, 'SIGTERM', () => fleet.nodes.every(({ process: { pid } }) => !replaced.has(pid)))
  over.abort()
  await Promise.all([...work, watch])
  t.ok(most >= 100, `${most} calls at once`)
  t.ok(count >= guests.length * ABREAST, `${count} calls came to their end`)
  await Promise.all(guests.map(guest => guest.leave()))
})

t.test('one node that is told to stop brings every call to its end first, over each transport', async t => {
  const node = await startChild(t, 'test/cluster/member.ts', { env: { OPTIONS: JSON.stringify({ streams }) } })
  const welcomes = Object.values({ ...OVER_HTTP, ...OVER_SSE, ...STANDALONE })
  const guests = await Promise.all(Array.from({ length: 20 }, (_, index) => welcomes[index % welcomes.length]?.(t, node.url))) as Guest[]
  const calls = guests.flatMap((guest, index) => Array.from({ length: ABREAST }, (_, lane) => counts(t, guest, `${index}.${lane}`)))
  const inProgress = async (): Promise<number> => JSON.parse((await send(node.url, '/stats')).text).calls
  while (await inProgress() < calls.length);
  const stopped = node.stop('SIGTERM')
  await Promise.all(calls)
  await within(stopped, 'the process to end')
  t.equal(node.process.exitCode, 0)
  t.equal(calls.length, 200)
})

t.test('what outlasts the drain is told so, over each transport', async t => {
  const node = await startChild(t, 'test/cluster/member.ts', { env: { OPTIONS: JSON.stringify({ streams, drain: { timeout: 500 } }) } })
  const guests = await Promise.all(Object.values({ ...OVER_HTTP, ...OVER_SSE, ...STANDALONE }).map(welcome => welcome(t, node.url)))
  const hanging = guests.map(async guest => {
    const ended = { error: undefined as unknown }
    await new Promise<void>(resolve => {
      guest.call('hang', {}, { onprogress: () => resolve() }).catch(error => { ended.error = error }).finally(resolve)
    })
    return ended
  })
  const ended = await within(Promise.all(hanging), 'all calls to begin')
  t.ok(ended.every(({ error }) => error === undefined), 'they are in progress')
  await within(node.stop('SIGTERM'), 'the process to end')
  t.equal(node.process.exitCode, 0)
  for (const { error } of ended) t.match(error, { message: /The server is closing/ })
})
