import { examineAdmission } from './admission.ts'
import { Chart } from './chart.ts'
import { isSilence } from './exchange.ts'
import { examineIdle } from './idling.ts'
import type { Order } from './order.ts'
import { examinePage } from './page.ts'
import { Patient } from './patient.ts'
import { examineReach } from './reach.ts'
import { examineSessions } from './sessions.ts'
import { examineSse } from './sse-era.ts'
import { examineStateless } from './stateless-era.ts'

const ERAS = ['2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05', '2026-07-28']
const titles = new Map([['2024-11-05', 'HTTP+SSE 2024-11-05'], ['2026-07-28', 'Streamable HTTP 2026-07-28']])
const titleOf = (era: string): string => titles.get(era) ?? `Streamable HTTP ${era}`

/** Examines a server, one probe after the other. Whatever happens, its sessions are ended and nothing is left open. */
export async function examine (order: Order, signal: AbortSignal): Promise<Chart[]> {
  const patient = new Patient(order, signal)
  const charts: Chart[] = []
  const probe = async (id: string, title: string, look: (chart: Chart) => Promise<void>): Promise<void> => {
    const isAsked = order.only.length === 0 || order.only.includes(id) || !(id in asked)
    if (!isAsked || signal.aborted) return
    const chart = new Chart(id, title, () => patient.isDone)
    charts.push(chart)
    if (patient.limited !== undefined) return chart.skip('the rate limit was reached')
    await look(chart).catch((error: unknown) => chart.fail('probe-broken', `the probe broke: ${String(Reflect.get(Object(error), 'message'))}`))
    if (patient.limited !== undefined) chart.close('warn', 'rate-limited', `429, Retry-After: ${patient.limited}; the rest was left out`)
  }
  const asked = Object.fromEntries([...ERAS, 'browser', 'idle'].map(id => [id, true]))
  try {
    let isIn = false
    await probe('reach', 'The way there', async chart => { isIn = await reach(chart, patient) })
    if (!isIn) return charts
    await probe('admission', 'Who is let in', async chart => { isIn = await examineAdmission(chart, patient) })
    const blocked = patient.limited === undefined && !isIn ? 'the visitor is not let in' : undefined
    const whenIn = (look: (chart: Chart) => Promise<void>) => async (chart: Chart): Promise<void> =>
      blocked === undefined ? look(chart) : chart.skip(blocked)
    for (const era of ERAS) {
      await probe(era, titleOf(era), whenIn(async chart => {
        if (era === '2024-11-05') await examineSse(chart, patient)
        else if (era === '2026-07-28') await examineStateless(chart, patient)
        else await examineSessions(chart, patient, era)
      }))
    }
    if (blocked === undefined) judgeEras(charts, patient)
    await probe('browser', 'A page in a browser', async chart => {
      if (order.origin === undefined) chart.skip('--origin names the origin of the page')
      else await examinePage(chart, patient, order.origin)
    })
    await probe('idle', 'Idle streams', whenIn(chart => examineIdle(chart, patient)))
    if (!charts.some(isExamined)) judgeNothing(charts)
    return charts
  } finally {
    await patient.close()
  }
}

/** A stream beside the url does not make the url one of MCP, unless the stream alone was asked for. */
function judgeEras (charts: readonly Chart[], { order, sse }: Patient): void {
  const { pathname } = order.url
  const eras = charts.filter(({ id }) => ERAS.includes(id))
  const isServed = eras.some(({ id, verdict }) => verdict !== 'skipped' && (id !== '2024-11-05' || sse?.pathname === pathname || order.only.length > 0))
  if (isServed || eras.length === 0 || order.sse !== undefined) return
  const what = order.only.length === 0 ? 'no revision of MCP' : `none of ${eras.map(({ id }) => id).join(', ')}`
  charts[0]?.fail('not-mcp', `${pathname} answers, and speaks ${what}${sse === undefined ? '' : `; ${sse.pathname} does`}`)
}

/** Whether something of the server itself was seen, beyond the way to it. */
function isExamined ({ id, verdict, measures, findings }: Chart): boolean {
  if (id === 'reach' || id === 'admission' || verdict === 'skipped') return false
  return Object.keys(measures).length > 0 || findings.length === 0 || findings.some(finding => finding.id !== 'rate-limited')
}

/** A visit that saw nothing must not look well. */
function judgeNothing (charts: readonly Chart[]): void {
  const isTold = charts.some(({ verdict }) => verdict === 'fail')
  if (!isTold) charts[0]?.close('fail', 'nothing-examined', 'every probe was skipped: nothing is known of the server')
}

/** The first request is any POST: what matters is the way that it takes. */
async function reach (chart: Chart, patient: Patient): Promise<boolean> {
  const first = await patient.ask({ message: { jsonrpc: '2.0', id: 'reach', method: 'ping' } })
  const isThere = await examineReach(chart, first, patient.order.url, patient.order.timeout)
  if (!isSilence(first)) first.close()
  return isThere
}
