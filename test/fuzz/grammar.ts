// What a well-behaved client says, from which everything else is made.
import { ACCEPT, mirrors, STATELESS } from '../client.ts'
import type { Chance } from './chance.ts'
import { URIS } from './hostile.ts'

export const ERAS = ['http+sse', '2025-03-26', '2025-06-18', '2025-11-25', STATELESS] as const
export type Era = typeof ERAS[number]

/** One HTTP request before it is spoilt. */
export interface Plain {
  method: string
  target: string
  headers: [name: string, value: string][]
  body: string | undefined
}

const TOOLS = ['add', 'echo', 'shape', 'stream', 'flood', 'asks', 'asks-all', 'fails', 'tells', 'codes', 'ignores', 'waits', 'leaves', 'room', 'scoped', 'hidden', 'none'] as const
const CAPABILITIES = { elicitation: { form: {}, url: {} }, sampling: {}, roots: {} }
const META = 'io.modelcontextprotocol/'

const ARGUMENTS: Readonly<Record<string, readonly object[]>> = {
  add: [{ a: 1, b: 2 }],
  echo: [{ code: 'a1', list: ['a', 'b'], deep: { x: [1] } }],
  shape: [{ n: 3 }],
  stream: [{ n: 1 }, { n: 30 }],
  room: [{ room: 'hall' }]
}

type Build = (chance: Chance) => [method: string, params: Record<string, unknown>]

const refs = [{ type: 'ref/prompt', name: 'greet' }, { type: 'ref/resource', uri: 'db://{table}/{id}{?q*}' }, { type: 'ref/resource', uri: 'file:///{+path}' }] as const

const call: Build = chance => {
  const name = chance.pick(TOOLS)
  return ['tools/call', { name, arguments: chance.pick(ARGUMENTS[name] ?? [{}]) }]
}

const requests: readonly Build[] = [
  call, call, call, call,
  () => ['ping', {}],
  chance => [chance.pick(['tools/list', 'prompts/list', 'resources/list', 'resources/templates/list']), chance.is(0.5) ? { cursor: '«cursor»' } : {}],
  chance => ['resources/read', { uri: chance.pick(URIS) }],
  chance => ['prompts/get', chance.pick([{ name: 'greet', arguments: { name: 'Ada', count: '2' } }, { name: 'fails' }, { name: 'asks' }, { name: 'none' }])],
  chance => ['completion/complete', { ref: chance.pick(refs), argument: { name: chance.pick(['name', 'table', 'id', 'path', 'x']), value: 'a' }, context: { arguments: { table: 'users' } } }],
  chance => ['logging/setLevel', { level: chance.pick(['debug', 'emergency', 'loud']) }],
  chance => [chance.pick(['resources/subscribe', 'resources/unsubscribe']), { uri: chance.pick(URIS) }],
  () => ['server/discover', {}],
  chance => ['subscriptions/listen', { notifications: { toolsListChanged: true, resourcesListChanged: chance.is(0.5), resourceSubscriptions: [chance.pick(URIS), 'test://text'] } }],
  chance => ['initialize', initializeParams(chance.pick([...ERAS, '2024-11-05', '1999-01-01']))]
]

const notifications: readonly Build[] = [
  () => ['notifications/initialized', {}],
  chance => ['notifications/cancelled', { requestId: chance.pick<unknown>(['«id»', 1, 2, '__proto__', 'none', null, {}]), reason: 'enough' }],
  () => ['notifications/progress', { progressToken: 1, progress: 1 }],
  () => ['notifications/roots/list_changed', {}],
  () => ['notifications/none', {}]
]

const results: readonly object[] = [
  { action: 'accept', content: { size: 'S' } }, { action: 'accept', content: { size: 7 } }, { action: 'decline' }, { action: 'cancel' }, {},
  { role: 'assistant', content: { type: 'text', text: 'x' }, model: 'm' }, { roots: [{ uri: 'file:///a' }] }
]

function initializeParams (protocolVersion: string): Record<string, unknown> {
  return { protocolVersion, capabilities: CAPABILITIES, clientInfo: { name: 'fuzz', version: '1' } }
}

export function initialize (era: Era): object {
  return { jsonrpc: '2.0', id: 0, method: 'initialize', params: initializeParams(era === 'http+sse' ? '2024-11-05' : era) }
}

function request (chance: Chance, era: Era): object {
  const [method, given] = chance.pick(requests)(chance)
  const token = chance.is(0.4) && { progressToken: chance.pick<unknown>([1, 't', '«id»']) }
  const id = chance.pick<unknown>([chance.below(1_000), `r${chance.below(1_000)}`, 1, 2, '__proto__', ''])
  const meta = era === STATELESS
    ? { [`${META}protocolVersion`]: STATELESS, [`${META}clientCapabilities`]: chance.pick([CAPABILITIES, {}]), ...(chance.is(0.3) && { [`${META}logLevel`]: 'debug' }), ...token }
    : { ...token }
  const again = era === STATELESS && chance.is(0.3) && { requestState: '«state»', inputResponses: { size: chance.pick(results), page: chance.pick(results), title: chance.pick(results) } }
  return { jsonrpc: '2.0', id, method, params: { ...given, ...again, ...(Object.keys(meta).length > 0 && { _meta: meta }) } }
}

function notification (chance: Chance): object {
  const [method, params] = chance.pick(notifications)(chance)
  return { jsonrpc: '2.0', method, params }
}

function response (chance: Chance): object {
  const id = chance.pick<unknown>(['«question»', '«question»', 'none', 1, '__proto__'])
  return chance.is(0.8) ? { jsonrpc: '2.0', id, result: chance.pick(results) } : { jsonrpc: '2.0', id, error: { code: chance.pick([-32603, 1, 1e300]), message: 'no' } }
}

/** One message, or a batch. */
export function messageOf (chance: Chance, era: Era): object {
  const kind = chance.below(20)
  if (kind < 13) return request(chance, era)
  if (kind < 15) return notification(chance)
  if (kind < 17) return response(chance)
  const mixed = [request, request, request, notification, response] as const
  return Array.from({ length: 1 + chance.below(kind === 19 ? 8 : 3) }, () => chance.pick(mixed)(chance, era))
}

/** The headers of an era that every request of a session has. */
export function headersOf (era: Era): [string, string][] {
  const session: [string, string][] = era === 'http+sse' || era === STATELESS ? [] : [['mcp-session-id', '«session»']]
  return [['accept', ACCEPT], ...session, ...(era === '2025-06-18' || era === '2025-11-25' ? [['mcp-protocol-version', era] as [string, string]] : [])]
}

/** A POST as the clients of an era send it. */
export function postOf (era: Era, message: object): Plain {
  const said = 'method' in message && typeof message.method === 'string' ? Object.entries(mirrors(message as { method: string })) : []
  return {
    method: 'POST',
    target: era === 'http+sse' ? '/messages?sessionId=«sse»' : '/mcp',
    headers: [...headersOf(era), ['content-type', 'application/json'], ...(era === STATELESS ? said : [])],
    body: JSON.stringify(message)
  }
}
