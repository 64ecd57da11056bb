import type { Chart } from './chart.ts'
import { type Exchange, isSilence } from './exchange.ts'
import type { Patient } from './patient.ts'
import { failSilent } from './refusals.ts'
import { initialize } from './sessions.ts'

const SESSION = ['authorization', 'content-type', 'mcp-protocol-version', 'mcp-session-id']
const asked: readonly [era: string, method: string, headers: readonly string[]][] = [
  ['sessions', 'POST', SESSION],
  ['sessions', 'GET', ['authorization', 'last-event-id', 'mcp-protocol-version', 'mcp-session-id']],
  ['sessions', 'DELETE', ['authorization', 'mcp-protocol-version', 'mcp-session-id']],
  ['2026-07-28', 'POST', ['authorization', 'content-type', 'mcp-method', 'mcp-name', 'mcp-protocol-version']]
]
const EXPOSED = ['mcp-session-id', 'mcp-protocol-version', 'www-authenticate', 'retry-after']
const EXPOSED_WITH_LIMITS = ['ratelimit', 'ratelimit-limit', 'ratelimit-remaining', 'ratelimit-reset']

/** Examines what a browser lets a page of `--origin` do. */
export async function examinePage (chart: Chart, patient: Patient, origin: string): Promise<void> {
  for (const [era, method, headers] of asked) {
    const answer = await patient.ask({
      method: 'OPTIONS',
      headers: { origin, 'access-control-request-method': method, 'access-control-request-headers': headers.join(',') },
      isAnonymous: true
    })
    if (isSilence(answer)) return failSilent(chart, 'a preflight', answer)
    answer.close()
    const what = `the preflight of ${method} (${era})`
    if (answer.status < 200 || answer.status > 299) return chart.fail('cors-refused', `${what} was answered ${answer.status}`)
    if (!judgeOrigin(chart, what, answer, origin)) return
    const methods = listOf(answer, 'access-control-allow-methods')
    // A POST and a GET need no leave.
    if (method === 'DELETE' && !methods.includes('delete') && !methods.includes('*')) chart.fail('cors-methods', `${what} allows ${methods.join(', ') || 'none'}`)
    const allowed = listOf(answer, 'access-control-allow-headers')
    const refused = headers.filter(name => !allowed.includes(name) && (name === 'authorization' || !allowed.includes('*')))
    if (refused.length > 0) chart.fail('cors-headers', `${what} does not allow ${refused.join(', ')}`)
  }
  const told = await initialize(patient, '2025-11-25', { headers: { origin } })
  if (isSilence(told)) return failSilent(chart, 'initialize of a page', told)
  const { exchange } = told
  const id = exchange.header('mcp-session-id')
  if (id !== '') patient.owe({ method: 'DELETE', headers: { 'mcp-session-id': id } })
  if (!judgeOrigin(chart, 'the answer to initialize', exchange, origin)) return
  const exposed = listOf(exchange, 'access-control-expose-headers')
  const limits = EXPOSED_WITH_LIMITS.filter(name => exchange.header(name) !== '')
  const hidden = [...EXPOSED, ...limits].filter(name => !exposed.includes(name) && !exposed.includes('*'))
  if (hidden.length === 0) return
  const said = `not exposed to pages: ${hidden.join(', ')}`
  if (hidden.includes('mcp-session-id') && id !== '') chart.fail('cors-expose', said)
  else chart.warn('cors-expose', said)
}

/** Whether the origin is let in. */
function judgeOrigin (chart: Chart, what: string, answer: Exchange, origin: string): boolean {
  const allowed = answer.header('access-control-allow-origin')
  if (allowed !== origin && allowed !== '*') {
    chart.fail('cors-origin', `${what} allows ${allowed === '' ? 'no origin' : allowed}`)
    return false
  }
  if (allowed !== '*' && !listOf(answer, 'vary').includes('origin')) chart.warn('cors-vary', `${what} names the origin without Vary: Origin`)
  return true
}

function listOf (answer: Exchange, name: string): string[] {
  return answer.header(name).toLowerCase().split(',').map(part => part.trim()).filter(part => part !== '')
}
