import type { Chart } from './chart.ts'
import { type Exchange, isSilence, isTls, type Silence } from './exchange.ts'
import { failRefused, failSilent, gistOf, isGateway } from './refusals.ts'

const REDIRECTS = new Set([301, 302, 303, 307, 308])
const MOST_SKEW_S = 60
// nginx, Apache and Go.
const PLAIN_AT_TLS = /plain HTTP request was sent to HTTPS|speaking plain HTTP to an SSL|HTTP request to an HTTPS server/i

/** Judges the way to the server by its first answer. `ms`: for its body. Whether it is worth going on. */
export async function examineReach (chart: Chart, first: Exchange | Silence, url: URL, ms: number): Promise<boolean> {
  if (isSilence(first)) {
    if (first.silence === 'TIMEOUT') failSilent(chart, 'initialize', first)
    else chart.fail(isTls(first) ? 'tls' : 'unreachable', `${url.host}: ${first.words} (${first.silence})`)
    return false
  }
  chart.measure('headMs', first.headMs)
  if (REDIRECTS.has(first.status)) {
    chart.fail('redirect', `POST was answered ${first.status}, to ${first.header('location') || 'nowhere'}`)
    return false
  }
  if (first.version === '1.0') chart.warn('http-1.0', 'the answer is HTTP/1.0: no stream can be chunked')
  else if (/close/i.test(first.header('connection'))) chart.warn('connection-close', 'the connection is closed after each answer')
  const date = Date.parse(first.header('date'))
  const skew = Math.round((date - Date.now()) / 1_000)
  if (Math.abs(skew) > MOST_SKEW_S) chart.warn('clock', `its clock is ${Math.abs(skew)} s ${skew > 0 ? 'ahead of' : 'behind'} the one here`)
  const text = [400, 502, 503, 504].includes(first.status) ? await first.text(ms) : ''
  if (isGateway(first, text)) {
    failRefused(chart, 'the first request', first, text)
    return false
  }
  if (PLAIN_AT_TLS.test(text)) {
    chart.fail('https-required', `http was spoken on a port of https: ${gistOf(text)}`)
    return false
  }
  return true
}
