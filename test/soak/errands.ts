// What clients of a soak do beside holding their stream. Each errand ends by itself, and rejects when it was served wrongly.
import { setTimeout as sleep } from 'node:timers/promises'
import type { RpcMessage } from '../client.ts'
import type { Chance } from '../fuzz/chance.ts'
import { EventRegular, freshToken, ListenRegular, type Regular } from './regular.ts'
import type { Knock } from './soak-door.ts'

type Errand = (regular: Regular, chance: Chance) => Promise<void>

const answered = (id: number) => (message: RpcMessage): boolean => message.id === id && message.method === undefined

/** A call that has begun. */
async function underWay (regular: Regular, name: string, args: object = {}) {
  const id = regular.nextId()
  const book = await regular.start(id, name, args)
  await book.begun()
  return { id, book }
}

async function ended (regular: Regular, name: string, args: object): Promise<RpcMessage> {
  const answer = await regular.ask('tools/call', { name, arguments: args })
  if (answer.result === undefined) throw new Error(`${name} was answered with ${JSON.stringify(answer).slice(0, 300)}`)
  return answer
}

async function count (regular: Regular, chance: Chance): Promise<void> {
  const id = regular.nextId()
  const to = 1 + chance.below(5)
  const every = chance.below(3)
  const book = await regular.start(id, 'count', { to, every })
  await book.next(answered(id), 'a count to end')
}

async function cancelled (regular: Regular): Promise<void> {
  const { id, book } = await underWay(regular, 'wait')
  await regular.cancel(id, book)
}

async function abandoned (regular: Regular, chance: Chance): Promise<void> {
  const { book } = await underWay(regular, 'count', { to: 20, every: 10 })
  await regular.abandon(book, chance)
}

/** Reads nothing of a flood until it is thrown out, or leaves before. */
async function stalled (regular: Regular, chance: Chance): Promise<void> {
  const { book } = await underWay(regular, 'flood')
  book.stall()
  await sleep(chance.below(2_500))
  await book.leave(chance.is(0.5))
  if (regular instanceof EventRegular) await regular.enter()
}

/** A question that is answered, or left alone until its time is up. */
async function asked (regular: Regular, chance: Chance): Promise<void> {
  if (regular instanceof ListenRegular) {
    await regular.ask('tools/call', { name: 'order', arguments: {} })
    return
  }
  const id = regular.nextId()
  const book = await regular.start(id, 'order', {})
  const question = await book.next(({ method }) => method === 'elicitation/create', 'a question')
  if (chance.is(0.4)) {
    const done = book.next(answered(id), 'an answer').catch(() => undefined)
    await regular.reply(question, { action: 'accept', content: { size: 'L' } })
    await done
  } else if (chance.is(0.5)) {
    await book.next(answered(id), 'the end of a question')
  } else await regular.abandon(book, chance)
}

const PLAIN: readonly (readonly [string, object])[] = [
  ['tools/list', {}],
  ['resources/templates/list', {}],
  ['resources/read', { uri: 'soak://page/3' }],
  ['prompts/get', { name: 'greet', arguments: { name: 'Ada' } }]
]

async function plain (regular: Regular, chance: Chance): Promise<void> {
  const [method, params] = chance.pick(PLAIN)
  const { result, error } = await regular.ask(method, params)
  if (result === undefined) throw new Error(`${method} was answered with ${JSON.stringify(error)}`)
}

async function subscribed (regular: Regular, chance: Chance): Promise<void> {
  const uri = `soak://page/${chance.below(7)}`
  if (!(regular instanceof ListenRegular)) await regular.ask(chance.is(0.6) ? 'resources/subscribe' : 'resources/unsubscribe', { uri })
  if (chance.is(0.1)) await ended(regular, 'touch', { uri })
}

const hello = { jsonrpc: '2.0', id: 1, method: 'ping' }
/** What nobody should get anything for. */
const REFUSED: readonly ((regular: Regular) => readonly [status: number, path: string, knock: Knock])[] = [
  () => [401, '/mcp', { method: 'POST', headers: { authorization: `Bearer foreign-${freshToken()}` }, body: hello }],
  ({ token }) => [404, '/mcp', { method: 'POST', headers: { authorization: `Bearer ${token}`, 'mcp-session-id': freshToken() }, body: hello }],
  ({ token }) => [400, '/mcp', { method: 'POST', headers: { authorization: `Bearer ${token}` }, body: '{"jsonrpc":' }],
  ({ token }) => [406, '/mcp', { method: 'POST', headers: { authorization: `Bearer ${token}`, accept: 'text/html' }, body: hello }],
  ({ token }) => [405, '/mcp', { method: 'GET', headers: { authorization: `Bearer ${token}`, 'mcp-protocol-version': '2026-07-28' } }],
  ({ token }) => [404, `/messages?sessionId=${freshToken()}`, { method: 'POST', headers: { authorization: `Bearer ${token}` }, body: hello }],
  () => [401, `/sse?ticket=${freshToken()}`, {}]
]

async function refused (regular: Regular, chance: Chance): Promise<void> {
  if (chance.is(0.3)) {
    const { error } = await regular.ask('tools/call', { name: freshToken(), arguments: {} })
    if (error === undefined) throw new Error('a tool that is not there was called')
    return
  }
  const [status, path, knock] = chance.pick(REFUSED)(regular)
  const said = await regular.door.send(path, knock)
  if (said.status !== status) throw new Error(`${path} was answered with ${said.status}, not with ${status}`)
}

const change: Errand = async regular => { await ended(regular, 'change', {}) }
const tell: Errand = async regular => { await ended(regular, 'tell', {}) }

/** Each errand, and how often it is run. Those that everybody hears of are rare: they cost as much as all streams together. */
export const ERRANDS: Record<string, { readonly run: Errand, readonly weight: number }> = {
  count: { run: count, weight: 30 },
  plain: { run: plain, weight: 30 },
  tell: { run: tell, weight: 6 },
  refused: { run: refused, weight: 10 },
  subscribed: { run: subscribed, weight: 6 },
  cancelled: { run: cancelled, weight: 8 },
  abandoned: { run: abandoned, weight: 6 },
  asked: { run: asked, weight: 3 },
  stalled: { run: stalled, weight: 0.4 },
  change: { run: change, weight: 0.2 },
  'turned over': { run: (regular, chance) => regular.turnOver(chance), weight: 12 }
}
