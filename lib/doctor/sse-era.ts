import type { Chart } from './chart.ts'
import type { EventReader } from './event-reader.ts'
import { type Exchange, isSilence, type Silence } from './exchange.ts'
import { SseLine } from './line.ts'
import type { Patient } from './patient.ts'
import { failRefused, failSilent } from './refusals.ts'
import { examineUnknown, judgeNotified, judgeStatuses } from './sessions.ts'
import { examineCall, failStream, findHarmless, judgeStream } from './streamed.ts'

const PINGS = 6
const NOBODY = { jsonrpc: '2.0', id: 'doctor', method: 'ping' }
const hello = { protocolVersion: '2024-11-05', capabilities: {}, clientInfo: { name: 'doctor', version: '1.0.0' } }
const LATER = '2025-11-25'
const UNAVAILABLE = new Set([400, 404, 405, 406, 410, 501])

/** Examines HTTP+SSE (2024-11-05). */
export async function examineSse (chart: Chart, patient: Patient): Promise<void> {
  const { sse, url } = patient.order
  // A server of this transport alone may be given by its stream.
  const beside = new URL(url.pathname.endsWith('/sse') ? url : new URL('sse', url))
  const places = sse === undefined ? [beside, url] : [sse]
  let seen = ''
  for (const place of places) {
    const stream = await openStream(patient, place)
    if (isSilence(stream)) return failStream(chart, `GET ${place.pathname}`, stream)
    if (stream.status === 200 && stream.isStream && await examineStream(chart, patient, place, stream, sse !== undefined || place === beside)) return
    seen ||= `GET ${place.pathname} was answered ${stream.status}`
    if (stream.status >= 300 && !UNAVAILABLE.has(stream.status)) return failRefused(chart, `GET ${place.pathname}`, stream, await stream.text(patient.order.timeout))
    stream.close()
  }
  if (sse === undefined) chart.skip(`${seen}: not offered here (--sse says where)`)
  else chart.fail('endpoint-missing', seen)
}

const openStream = (patient: Patient, url: URL, lastId?: string): Promise<Exchange | Silence> =>
  patient.ask({ method: 'GET', url, headers: { accept: 'text/event-stream', ...(lastId !== undefined && { 'last-event-id': lastId }) } })

/** `isSure`: that it should be one of this transport. Whether it is. */
async function examineStream (chart: Chart, patient: Patient, place: URL, stream: Exchange, isSure: boolean): Promise<boolean> {
  const reader = stream.reader()
  const first = await reader.find(({ event }) => event === 'endpoint', patient.order.timeout)
  if (first === undefined) {
    if (isSure) chart.fail('endpoint-missing', `GET ${place.pathname} is a stream, and no event \`endpoint\` came within ${patient.order.timeout / 1_000} s`)
    return isSure
  }
  patient.sse = place
  chart.measure('headMs', stream.headMs)
  chart.measure('firstEventMs', first.at - stream.startedAt)
  judgeStream(chart, 'the stream', stream)
  const endpoint = endpointOf(first.data, place)
  if (endpoint === undefined) {
    chart.fail('endpoint-origin', `the endpoint is ${first.data}, on another origin than ${place.origin}`)
  } else if (await reaches(chart, patient, place, endpoint)) {
    await examineSession(chart, patient, place, endpoint, reader)
  }
  stream.close()
  return true
}

/** Undefined when it is on another origin. */
function endpointOf (text: string, place: URL): URL | undefined {
  const endpoint = URL.canParse(text, place.href) ? new URL(text, place) : undefined
  return endpoint?.origin === place.origin ? endpoint : undefined
}

/** Posts notifications, each on a connection of its own. Whether all arrive. */
async function reaches (chart: Chart, patient: Patient, place: URL, endpoint: URL): Promise<boolean> {
  const answers: Exchange[] = []
  for (let n = 0; n < PINGS; n++) {
    const answer = await patient.ask({ url: endpoint, message: { jsonrpc: '2.0', method: 'notifications/doctor' } })
    if (isSilence(answer)) {
      failSilent(chart, `POST ${endpoint.pathname}`, answer)
      return false
    }
    answers.push(answer)
  }
  const refused = answers.filter(({ status }) => status >= 300)
  const [first] = refused
  if (first === undefined) {
    for (const answer of answers) judgeNotified(chart, answer)
    return true
  }
  if (refused.length < PINGS && refused.every(({ status }) => status === 404)) {
    chart.fail('sessions-scattered', `${refused.length} of ${PINGS} POSTs found no session: there are several nodes that do not share them`)
  } else if (first.status === 404 || first.status === 405) {
    chart.fail('endpoint-unreachable', `the stream is at ${place.pathname}, its endpoint at ${endpoint.pathname}, and a POST there was answered ${first.status}`)
  } else {
    failRefused(chart, `POST ${endpoint.pathname}`, first, await first.text(patient.order.timeout))
  }
  return false
}

async function examineSession (chart: Chart, patient: Patient, place: URL, endpoint: URL, reader: EventReader): Promise<void> {
  const line = new SseLine(patient, endpoint, reader)
  const told = await line.request('initialize', hello)
  if (isSilence(told)) return failSilent(chart, 'initialize', told)
  if (told.answer?.result === undefined) {
    chart.fail('request-failed', `initialize was answered ${told.exchange.status}, and on the stream ${told.answer?.error?.message ?? 'nothing came'}`)
    return
  }
  judgeNotified(chart, await patient.ask({ url: endpoint, message: { jsonrpc: '2.0', method: 'notifications/initialized' } }))
  const ping = await line.request('ping')
  if (isSilence(ping)) return failSilent(chart, 'ping', ping)
  chart.measure('pingMs', ping.answeredAt - ping.exchange.startedAt)
  await judgeStatuses(chart, patient, [
    { id: 'session-unknown-status', what: 'a session that does not exist', visit: { url: foreign(endpoint), message: NOBODY }, allowed: [404], harms: true }
  ])
  await examineUnknown(chart, line)
  await learnHarmless(patient, place)
  await examineCall(chart, patient, line)
  patient.streams.push({ name: 'HTTP+SSE stream', key: 'sseStream', open: () => openStream(patient, place), resume: lastId => openStream(patient, place, lastId) })
}

/** What a tool does is told since 2025-03-26 alone: it is asked in a session of a later revision on the same transport. */
async function learnHarmless (patient: Patient, place: URL): Promise<void> {
  if (patient.order.tool !== undefined || patient.harmless !== undefined) return
  const stream = await openStream(patient, place)
  if (isSilence(stream)) return
  const reader = stream.reader()
  const first = await reader.find(({ event }) => event === 'endpoint', patient.order.timeout)
  const endpoint = first && endpointOf(first.data, place)
  if (endpoint !== undefined) {
    const line = new SseLine(patient, endpoint, reader)
    await line.request('initialize', { ...hello, protocolVersion: LATER })
    await patient.ask({ url: endpoint, message: { jsonrpc: '2.0', method: 'notifications/initialized' } })
    patient.harmless = await findHarmless(line)
  }
  stream.close()
}

/** The endpoint of a session that there is not. */
function foreign (endpoint: URL): URL {
  const url = new URL(endpoint)
  for (const name of url.searchParams.keys()) url.searchParams.set(name, '00000000-0000-4000-8000-000000000000')
  return url
}
