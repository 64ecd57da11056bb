import type { Chart } from './chart.ts'
import { isSilence } from './exchange.ts'
import { PostLine } from './line.ts'
import type { Patient } from './patient.ts'
import { failRefused, failSilent } from './refusals.ts'
import type { Fields } from './rpc.ts'
import { examineUnknown, judgeNotified, judgeStatuses } from './sessions.ts'
import { examineCall } from './streamed.ts'

const REVISION = '2026-07-28'
const META = 'io.modelcontextprotocol/'
const meta = (revision: string): Fields =>
  ({ [`${META}protocolVersion`]: revision, [`${META}clientCapabilities`]: {}, [`${META}clientInfo`]: { name: 'doctor', version: '1.0.0' } })

const headersOf = (method: string, params: Fields = {}, revision = REVISION): Record<string, string> =>
  ({ 'mcp-protocol-version': revision, 'mcp-method': method, ...(typeof params.name === 'string' && { 'mcp-name': mirrored(params.name) }) })

/** A name that no header can hold goes as base64. Specification: basic/transports/streamable-http, "Custom Headers from Tool Parameters". */
function mirrored (name: string): string {
  const isPlain = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/.test(name) && !name.startsWith('=?base64?')
  return isPlain ? name : `=?base64?${Buffer.from(name).toString('base64')}?=`
}

const messageOf = (method: string, more: Fields = {}, revision = REVISION): object =>
  ({ jsonrpc: '2.0', id: 'doctor', method, params: { ...more, _meta: meta(revision) } })

/** Examines Streamable HTTP of 2026-07-28. */
export async function examineStateless (chart: Chart, patient: Patient): Promise<void> {
  const line = new PostLine(patient, headersOf, meta(REVISION))
  const told = await line.request('server/discover')
  if (isSilence(told)) return failSilent(chart, 'server/discover', told)
  const { exchange, answer, text } = told
  const served = answer?.result?.supportedVersions
  if (!Array.isArray(served) || !served.includes(REVISION)) {
    const isOther = answer?.error !== undefined || exchange.status < 500
    if (isOther) chart.skip(`server/discover was answered ${exchange.status}: not offered here`)
    else failRefused(chart, 'server/discover', exchange, text)
    return
  }
  chart.measure('discoverMs', told.answeredAt - exchange.startedAt)
  judgeNotified(chart, await patient.ask({
    headers: headersOf('notifications/doctor'), message: { jsonrpc: '2.0', method: 'notifications/doctor', params: { _meta: meta(REVISION) } }
  }))
  const discover = 'server/discover'
  await judgeStatuses(chart, patient, [
    { id: 'revision-status', what: 'revision 2999-01-01', visit: { headers: headersOf(discover, {}, '2999-01-01'), message: messageOf(discover, {}, '2999-01-01') }, allowed: [400] },
    { id: 'mismatch-status', what: 'Mcp-Method that differs from the body', visit: { headers: headersOf('tools/list'), message: messageOf(discover) }, allowed: [400] },
    { id: 'method-unknown', what: 'an unknown method', visit: { headers: headersOf('doctor/unknown'), message: messageOf('doctor/unknown') }, allowed: [404] },
    { id: 'get-status', what: 'GET', visit: { method: 'GET', headers: { 'mcp-protocol-version': REVISION, accept: 'text/event-stream' } }, allowed: [405] }
  ])
  await examineUnknown(chart, line)
  await examineCall(chart, patient, line)
  const listen = 'subscriptions/listen'
  patient.streams.push({
    name: listen,
    key: 'listenStream',
    open: () => patient.ask({ headers: headersOf(listen), message: messageOf(listen, { notifications: { toolsListChanged: true } }) })
  })
}
