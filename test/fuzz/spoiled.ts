// One step of a client that does not behave: what it sends, and how.
import type { Chance } from './chance.ts'
import { type Era, ERAS, headersOf, messageOf, type Plain, postOf } from './grammar.ts'
import { HEADER_NAMES, HEADER_VALUES, LIVE, valuesFor } from './hostile.ts'
import { garble, mutate } from './json-tree.ts'
import type { Ending } from './raw-socket.ts'
import { BROKEN, SOUND } from './wire-shapes.ts'

/** Everything that it takes to send a request again. */
export interface FuzzRequest extends Plain {
  shape: string
  ending: Ending
  /** Decides what the shape leaves open. */
  salt: number
}

export const PATHS = ['/mcp', '/sse', '/messages', '/.well-known/oauth-protected-resource/mcp', '/.well-known/oauth-protected-resource'] as const
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND', 'SEARCH'] as const
const TARGETS = [
  ...PATHS, '/messages?sessionId=«session»', '/messages?sessionId=«foreign»', '/messages?sessionId=', '/messages?sessionId=__proto__', '/messages?sessionId=«sse»&sessionId=«sse»',
  '/messages?sessionId[]=«sse»', '/messages?%', '/messages?sessionId=%ff%0d%0aX-Injected:1', '/messages?__proto__=1', `/messages?${'a=1&'.repeat(400)}`, '/sse?x=%0d%0aX-Injected:1', '/sse?sessionId=«sse»',
  '/sse?a=%0a%0adata:x', '/mcp?', '/mcp#x', '/mcp/', '//mcp', '/MCP', '/mcp%00', '/mc%70', '/mcp/../mcp', '/%', '/mcp;a=b', '/__proto__', '/'
] as const

const bare = (method: string, target: string, headers: [string, string][] = [], body?: string): Plain => ({ method, target, headers, body })

/** A request of a session that is no message. */
function plainOf (chance: Chance, era: Era): Plain {
  const headers = headersOf(era)
  if (era === 'http+sse') return bare('GET', '/sse', [...headers, ...chance.is(0.5) ? [['last-event-id', chance.pick(valuesFor('last-event-id'))] as [string, string]] : []])
  const kind = chance.below(4)
  if (kind === 0) return bare('GET', '/mcp', headers)
  if (kind === 1) return bare('GET', '/mcp', [...headers, ['last-event-id', '«event»']])
  if (kind === 2) return bare('DELETE', '/mcp', headers)
  return bare('OPTIONS', chance.pick(PATHS), [['origin', chance.pick(valuesFor('origin'))], ['access-control-request-method', chance.pick(METHODS)], ['access-control-request-headers', 'mcp-param-room, x']])
}

function spoilHeaders (headers: [string, string][], chance: Chance): [string, string][] {
  const name = chance.pick([...HEADER_NAMES, ...headers.map(([name]) => name)])
  const value = chance.pick([...valuesFor(name), ...valuesFor(name), ...HEADER_VALUES])
  const others = headers.filter(([other]) => other !== name)
  return chance.pick([
    () => others,
    () => [...others, [name, value]],
    () => [...others, [name, value]],
    () => [...headers, [name, value]],
    () => [...headers, ...headers],
    () => headers.map(([other, given]) => [other.toUpperCase(), ` ${given}\t`])
  ] as (() => [string, string][])[])()
}

function spoil (request: Plain, message: object | undefined, chance: Chance): Plain {
  const spoilt = { ...request }
  const isText = message !== undefined
  if (isText && chance.is(0.7)) spoilt.body = mutate(message, chance)
  if (isText && chance.is(0.1)) spoilt.body = garble(spoilt.body ?? '', chance)
  for (let left = chance.below(3); left > 0; left--) spoilt.headers = spoilHeaders(spoilt.headers, chance)
  if (chance.is(0.1)) spoilt.target = chance.pick(TARGETS)
  if (chance.is(0.08)) spoilt.method = chance.pick(METHODS)
  if (chance.is(0.05)) spoilt.target = spoilt.target.replace('«sse»', chance.pick(LIVE))
  return spoilt
}

/** The next thing that a client of an era does. */
export function stepOf (chance: Chance, era: Era): FuzzRequest {
  const dress = chance.is(0.1) ? chance.pick(ERAS) : era
  const message = chance.is(0.85) ? messageOf(chance, era) : undefined
  const plain = message === undefined ? plainOf(chance, dress) : postOf(dress, message)
  const request = chance.is(0.8) ? spoil(plain, message, chance) : plain
  const salt = chance.below(2 ** 31)
  if (chance.is(0.1)) return { ...request, shape: chance.pick(BROKEN), ending: chance.pick(['half', 'half', 'abort']), salt }
  return { ...request, shape: chance.is(0.7) ? 'whole' : chance.pick(SOUND), ending: chance.pick(['read', 'read', 'read', 'read', 'read', 'hold', 'leave', 'abort', 'half']), salt }
}
