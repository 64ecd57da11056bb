import type { FindingId } from './advice.ts'
import type { Chart } from './chart.ts'
import { type Exchange, isSilence, type Silence } from './exchange.ts'
import { PostLine, readTold, type Told } from './line.ts'
import type { IdleStream, Patient, Visit } from './patient.ts'
import { failRefused, failSilent, gistOf } from './refusals.ts'
import { textOf } from './rpc.ts'
import { examineCall, failStream, judgeStream } from './streamed.ts'

const PINGS = 6
const FIRST_EVENT_MS = 1_000
const VISIBLE_ASCII = /^[\x21-\x7e]+$/
const GET_STREAM = 'GET stream'
const NOWHERE = 'doctor-0000-nobody-has-this-session'

/** Whoever does not offer the transport answers so. */
const ABSENT = new Set([404, 405, 501])

const hello = (revision: string): object => ({
  jsonrpc: '2.0', id: 0, method: 'initialize', params: { protocolVersion: revision, capabilities: {}, clientInfo: { name: 'doctor', version: '1.0.0' } }
})

interface Session {
  readonly line: PostLine
  /** Undefined when the server keeps none. */
  readonly id: string | undefined
  readonly headers: Readonly<Record<string, string>>
}

/** Sends `initialize`. */
export async function initialize (patient: Patient, revision: string, visit: Visit = {}): Promise<Told | Silence> {
  const answer = await patient.ask({ ...visit, message: hello(revision) })
  return isSilence(answer) ? answer : readTold(answer, 0, patient.order.timeout)
}

/** Examines Streamable HTTP at one revision with sessions. */
export async function examineSessions (chart: Chart, patient: Patient, revision: string): Promise<void> {
  const told = await initialize(patient, revision)
  if (isSilence(told)) return failSilent(chart, 'initialize', told)
  const session = readSession(chart, patient, revision, told)
  if (session === undefined) return
  const { line, headers, id } = session
  const part = id === undefined ? undefined : patient.owe({ method: 'DELETE', headers })
  const notified = await patient.ask({ headers, message: { jsonrpc: '2.0', method: 'notifications/initialized' } })
  if (!await examinePings(chart, line)) return
  judgeNotified(chart, notified)
  await examineAnswers(chart, patient, revision, session)
  await examineGet(chart, patient, headers)
  await examineCall(chart, patient, line)
  if (!patient.streams.some(({ name }) => name === GET_STREAM)) patient.streams.push(idleStream(patient, revision))
  if (part === undefined) return
  const ended = await part()
  if (!isSilence(ended) && ![200, 202, 204, 405].includes(ended.status)) chart.warn('delete-status', `DELETE was answered ${ended.status}`)
}

function readSession (chart: Chart, patient: Patient, revision: string, { exchange, answer, text }: Told): Session | undefined {
  const { status, type } = exchange
  if (ABSENT.has(status) || (status === 400 && /2026-07-28/.test(text))) {
    chart.skip(`initialize was answered ${status}: not offered here`)
    return undefined
  }
  if (status !== 200) {
    failRefused(chart, 'initialize', exchange, text)
    return undefined
  }
  chart.measure('initializeMs', exchange.headMs)
  if (!exchange.isStream && type !== 'application/json') chart.fail('content-type', `initialize was answered as ${type || 'nothing named'}`)
  const negotiated = answer?.result?.protocolVersion
  if (typeof negotiated !== 'string') {
    chart.fail('initialize-failed', `initialize was answered without a protocolVersion: ${answer?.error?.message ?? gistOf(text)}`)
    return undefined
  }
  if (negotiated !== revision) chart.warn('revision-other', `asked for ${revision}, the server speaks ${negotiated}`)
  const id = exchange.header('mcp-session-id') || undefined
  if (id === undefined) chart.note('no Mcp-Session-Id: the server keeps no sessions, or a proxy drops it')
  else if (!VISIBLE_ASCII.test(id)) chart.fail('session-id-form', 'the session id holds more than visible ASCII')
  const headers = headersOf(id, negotiated)
  return { id, headers, line: new PostLine(patient, () => headers) }
}

function headersOf (id: string | undefined, revision: string): Record<string, string> {
  return { ...(id !== undefined && { 'mcp-session-id': id }), ...(revision >= '2025-06-18' && { 'mcp-protocol-version': revision }) }
}

/** Several, each on a connection of its own, so that a balancer may send each to another node. Whether the session is there for all. */
async function examinePings (chart: Chart, line: PostLine): Promise<boolean> {
  const took: number[] = []
  const refused: Told[] = []
  for (let n = 0; n < PINGS; n++) {
    const told = await line.request('ping')
    if (isSilence(told)) {
      failSilent(chart, 'ping', told)
      return false
    }
    if (told.answer?.result === undefined) refused.push(told)
    else took.push(told.answeredAt - told.exchange.startedAt)
  }
  chart.measure('pingMs', took.sort((a, b) => a - b)[Math.floor(took.length / 2)] ?? 0)
  const [first] = refused
  if (first === undefined) return true
  const statuses = refused.map(({ exchange }) => exchange.status)
  if (statuses.every(status => status === 404)) {
    chart.fail('sessions-scattered', `${refused.length} of ${PINGS} pings found no session: there are several nodes that do not share them`)
  } else if (statuses.every(status => status === 400)) {
    chart.fail('session-header-lost', `${refused.length} of ${PINGS} pings were answered 400: the session id does not get through`)
  } else {
    chart.fail('request-failed', `ping was answered ${statuses.join(', ')}`)
  }
  return false
}

export function judgeNotified (chart: Chart, notified: Exchange | Silence): void {
  if (isSilence(notified)) return failSilent(chart, 'a notification', notified)
  const { status } = notified
  const say = `a notification was answered ${status}, not 202`
  if (status >= 300) chart.fail('notification-status', say)
  else if (status !== 202) chart.warn('notification-status', say)
}

interface Case {
  readonly id: FindingId
  readonly what: string
  readonly visit: Visit
  readonly allowed: readonly number[]
  /** Whether clients go wrong by it. */
  readonly harms?: boolean
}

/** Sends what is wrong on purpose, and looks at the status. */
export async function judgeStatuses (chart: Chart, patient: Patient, cases: readonly Case[]): Promise<void> {
  for (const { id, what, visit, allowed, harms = false } of cases) {
    const answer = await patient.ask(visit)
    if (isSilence(answer)) return failSilent(chart, what, answer)
    answer.close()
    const said = `${what} was answered ${answer.status}, not ${allowed.join(' or ')}`
    if (allowed.includes(answer.status)) continue
    if (harms) chart.fail(id, said)
    else chart.warn(id, said)
  }
}

async function examineAnswers (chart: Chart, patient: Patient, revision: string, { id, headers, line }: Session): Promise<void> {
  const message = { jsonrpc: '2.0', id: 'doctor', method: 'ping' }
  await judgeStatuses(chart, patient, [
    ...(id === undefined
      ? []
      : [
          { id: 'session-unknown-status', what: 'a session that does not exist', visit: { headers: { ...headers, 'mcp-session-id': NOWHERE }, message }, allowed: [404], harms: true },
          { id: 'session-missing-status', what: 'a request without a session', visit: { headers: headersOf(undefined, revision), message }, allowed: [400] }
        ] as const),
    ...(revision < '2025-06-18'
      ? []
      : [{ id: 'revision-status', what: 'MCP-Protocol-Version: 1999-01-01', visit: { headers: { ...headers, 'mcp-protocol-version': '1999-01-01' }, message }, allowed: [400] }] as const),
    { id: 'accept-status', what: 'a GET that takes text/html alone', visit: { method: 'GET', headers: { ...headers, accept: 'text/html' } }, allowed: [406, 405] }
  ])
  await examineUnknown(chart, line)
}

/** A method that nobody has. */
export async function examineUnknown (chart: Chart, line: { request (method: string): Promise<Told | Silence> }): Promise<void> {
  const told = await line.request('doctor/unknown')
  if (isSilence(told)) return failSilent(chart, 'an unknown method', told)
  const code = told.answer?.error?.code
  if (code !== -32601) chart.warn('method-unknown', `an unknown method was answered ${told.exchange.status} with the code ${textOf(code)}`)
}

const getStream = (patient: Patient, headers: Readonly<Record<string, string>>): Promise<Exchange | Silence> =>
  patient.ask({ method: 'GET', headers: { ...headers, accept: 'text/event-stream' } })

async function examineGet (chart: Chart, patient: Patient, headers: Readonly<Record<string, string>>): Promise<void> {
  const stream = await getStream(patient, headers)
  if (isSilence(stream)) return failStream(chart, 'the GET stream', stream)
  if (stream.status === 405) {
    chart.note('no GET stream is offered')
  } else if (stream.status !== 200) {
    failRefused(chart, 'GET', stream, await stream.text(patient.order.timeout))
  } else if (!stream.isStream) {
    chart.fail('content-type', `GET was answered as ${stream.type || 'nothing named'}`)
  } else {
    chart.measure('headMs', stream.headMs)
    judgeStream(chart, 'the GET stream', stream)
    const first = await stream.reader().find(() => true, FIRST_EVENT_MS)
    if (first !== undefined) chart.measure('firstEventMs', first.at - stream.startedAt)
  }
  stream.close()
}

/** The GET stream of a session of its own. */
function idleStream (patient: Patient, revision: string): IdleStream {
  let headers: Record<string, string> = {}
  return {
    name: GET_STREAM,
    key: 'getStream',
    async open () {
      const told = await initialize(patient, revision)
      if (isSilence(told)) return told
      headers = headersOf(told.exchange.header('mcp-session-id') || undefined, revision)
      if (headers['mcp-session-id'] !== undefined) patient.owe({ method: 'DELETE', headers })
      const notified = await patient.ask({ headers, message: { jsonrpc: '2.0', method: 'notifications/initialized' } })
      if (!isSilence(notified)) notified.close()
      return getStream(patient, headers)
    },
    resume: lastId => getStream(patient, { ...headers, 'last-event-id': lastId })
  }
}
