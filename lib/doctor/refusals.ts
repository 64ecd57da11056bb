import type { FindingId } from './advice.ts'
import type { Chart } from './chart.ts'
import type { Exchange, Silence } from './exchange.ts'
import { readRpc } from './rpc.ts'

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
const byStatus = new Map<number, FindingId>([[401, 'token-refused'], [421, 'host-refused'], [426, 'https-required']])

/** Says why a request was refused, as far as the server told it. */
export function failRefused (chart: Chart, what: string, { status, type }: Exchange, text: string): void {
  const error = readRpc(text)?.error
  const id = byCode.get(error?.data.code) ?? byStatus.get(status) ?? 'refused'
  const told = error === undefined ? `${type || 'no content-type'}: ${text.trim().slice(0, 80)}` : `${error.message} (${String(error.data.code ?? error.code)})`
  chart.fail(id, `${what} was answered ${status}, ${told}`)
}

/** Says that no response came at all. */
export function failSilent (chart: Chart, what: string, { words, silence }: Silence): void {
  chart.fail('no-answer', `${what}: ${words} (${silence})`)
}
