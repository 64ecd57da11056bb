import type { FindingId } from './advice.ts'
import type { Chart } from './chart.ts'
import type { Exchange, Silence } from './exchange.ts'
import { readRpc, textOf } from './rpc.ts'

const byCode = new Map<unknown, FindingId>([
  ['FST_MCP_PEER_FORBIDDEN', 'peer-refused'],
  ['FST_MCP_HOST_FORBIDDEN', 'host-refused'],
  ['FST_MCP_ORIGIN_FORBIDDEN', 'origin-refused'],
  ['FST_MCP_HTTPS_REQUIRED', 'https-required'],
  ['FST_MCP_UNAUTHORIZED', 'auth-required'],
  ['FST_MCP_TOKEN_INVALID', 'token-refused'],
  ['FST_MCP_SCOPE_INSUFFICIENT', 'scope-insufficient'],
  ['FST_MCP_SESSION_UNKNOWN', 'sessions-scattered'],
  ['FST_MCP_SESSION_REQUIRED', 'session-header-lost']
])
const GATEWAY = new Set([502, 503, 504])
const MOST_OF_A_PAGE = 4_096
const MOST_CHARACTERS = 80
const byStatus = new Map<number, FindingId>([[401, 'token-refused'], [421, 'host-refused'], [426, 'https-required']])

/** Says why a request was refused, as far as the server told it. */
export function failRefused (chart: Chart, what: string, exchange: Exchange, text: string): void {
  const { status, type } = exchange
  const error = readRpc(text)?.error
  const told = error === undefined ? `${type || 'no content-type'}: ${gistOf(text)}` : `${error.message} (${textOf(error.data.code ?? error.code)})`
  const id = reasonOf(exchange, text)
  const seems = id === 'token-dropped' ? ' as if no token had come, it seems to be dropped on the way' : ''
  chart.fail(id, `${what} was answered ${status}${seems}, ${told}`)
}

function reasonOf (exchange: Exchange, text: string): FindingId {
  const { status, isAuthorized } = exchange
  const code = readRpc(text)?.error?.data.code
  const challenge = exchange.header('www-authenticate')
  // Who saw a token and does not take it says so (RFC 6750, section 3.1).
  const sawNone = code === undefined ? challenge !== '' && !/\berror=/i.test(challenge) : code === 'FST_MCP_UNAUTHORIZED'
  if (status === 401 && isAuthorized && sawNone) return 'token-dropped'
  if (isGateway(exchange, text)) return 'app-unreachable'
  return byCode.get(code) ?? byStatus.get(status) ?? 'refused'
}

/** Whether a proxy answered for an app that it does not reach: an app says it in JSON. */
export function isGateway ({ status, type }: Exchange, text: string): boolean {
  return GATEWAY.has(status) && type !== 'application/json' && readRpc(text) === undefined
}

/** The title of a page; of anything else its beginning. */
export function gistOf (text: string): string {
  const beginning = text.slice(0, MOST_OF_A_PAGE)
  const title = /<title>([^<]*)<\/title>/i.exec(beginning)?.[1]
  return (title ?? beginning).trim().slice(0, MOST_CHARACTERS)
}

/** Says that no response came at all. */
export function failSilent (chart: Chart, what: string, { words, silence }: Silence): void {
  chart.fail('no-answer', `${what}: ${words} (${silence})`)
}
