import type { Chart } from './chart.ts'
import { type Exchange, isSilence } from './exchange.ts'
import type { Patient } from './patient.ts'
import { failRefused, failSilent, isGateway } from './refusals.ts'
import { fieldsOf, parseJson, textOf } from './rpc.ts'
import { initialize } from './sessions.ts'

const WELL_KNOWN = '/.well-known/oauth-protected-resource'
const METADATA = /\bresource_metadata="([^"]+)"/i
const MOST_SERVERS = 3

/** Examines who is let in, and what those are told who are not. Whether the visitor is. */
export async function examineAdmission (chart: Chart, patient: Patient): Promise<boolean> {
  const { token, headers, only } = patient.order
  const hasToken = token !== undefined || headers.authorization !== undefined
  const stranger = await initialize(patient, '2025-11-25', { isAnonymous: true })
  if (isSilence(stranger)) {
    failSilent(chart, 'initialize', stranger)
    return false
  }
  owe(patient, stranger.exchange)
  if (stranger.exchange.status === 401) {
    await examineChallenge(chart, patient, stranger.exchange)
    if (!hasToken) {
      // What a page may do can be seen without one.
      const isPageAlone = only.length > 0 && only.every(name => name === 'browser')
      if (isPageAlone) chart.note('a token is asked for: --token or MCP_TOKEN gives one')
      else chart.fail('auth-required', 'a token is asked for, and none was given: the rest cannot be examined')
      return false
    }
  } else if ([403, 421, 426].includes(stranger.exchange.status) || isGateway(stranger.exchange, stranger.text)) {
    failRefused(chart, 'initialize', stranger.exchange, stranger.text)
    return false
  } else if (hasToken && stranger.answer?.result !== undefined) {
    chart.note('no token is asked for')
  }
  if (!hasToken) return true
  const known = await initialize(patient, '2025-11-25')
  if (isSilence(known)) {
    failSilent(chart, 'initialize with the token', known)
    return false
  }
  owe(patient, known.exchange)
  const isRefused = [401, 403].includes(known.exchange.status)
  if (isRefused) failRefused(chart, 'initialize with the token', known.exchange, known.text)
  return !isRefused
}

/** Ends the session that the question opened. */
function owe (patient: Patient, exchange: Exchange): void {
  const id = exchange.header('mcp-session-id')
  if (exchange.status === 200 && id !== '') patient.owe({ method: 'DELETE', headers: { 'mcp-session-id': id } })
}

async function examineChallenge (chart: Chart, patient: Patient, refused: Exchange): Promise<void> {
  const challenge = refused.header('www-authenticate')
  if (challenge === '') return chart.fail('challenge-missing', 'the 401 has no WWW-Authenticate: clients do not learn how to get a token')
  const named = METADATA.exec(challenge)?.[1]
  const { url } = patient.order
  const path = new URL(`${WELL_KNOWN}${url.pathname === '/' ? '' : url.pathname}`, url)
  const place = named === undefined ? path : URL.canParse(named, url.href) ? new URL(named, url) : undefined
  const metadata = place && await readJson(patient, place)
  if (metadata === undefined) {
    // Tokens that are handed out by other ways need no metadata.
    if (named === undefined) chart.note(`the challenge "${challenge}" names no resource_metadata, so clients get their tokens by other ways`)
    else chart.fail('metadata-unreachable', `${named} answers no JSON object`)
    return
  }
  if (named === undefined) chart.warn('challenge-metadata', `${path.href} answers, and the challenge "${challenge}" does not lead there`)
  if (place?.href !== path.href && await readJson(patient, path) === undefined) chart.warn('metadata-well-known', `${path.href} answers no JSON object`)
  const resource = textOf(metadata.resource)
  if (resource !== url.href && `${resource}/` !== url.href) {
    chart.fail('metadata-resource', `the metadata speak for ${resource}, and ${url.href} was asked`)
  }
  const { authorization_servers: servers } = metadata
  const issuers = Array.isArray(servers) ? servers.slice(0, MOST_SERVERS) : []
  if (issuers.length === 0) chart.warn('authorization-server', 'the metadata name no authorization server')
  for (const issuer of issuers) await examineIssuer(chart, patient, textOf(issuer))
}

/** RFC 8414 and OpenID Connect differ in where the metadata are. */
async function examineIssuer (chart: Chart, patient: Patient, issuer: string): Promise<void> {
  if (!/^https?:/.test(issuer) || !URL.canParse(issuer)) return chart.warn('authorization-server', `"${issuer}" is no URL`)
  const { pathname, origin } = new URL(issuer)
  const path = pathname === '/' ? '' : pathname.replace(/\/$/, '')
  const places = [`/.well-known/oauth-authorization-server${path}`, `/.well-known/openid-configuration${path}`, `${path}/.well-known/openid-configuration`]
  for (const place of new Set(places)) {
    const metadata = await readJson(patient, new URL(place, origin))
    if (metadata === undefined) continue
    if (metadata.issuer !== issuer) chart.warn('authorization-server', `${issuer} calls itself ${textOf(metadata.issuer)}`)
    return
  }
  chart.warn('authorization-server', `${issuer} gives no metadata, or not to this machine`)
}

/** Asks without the token. Undefined when no JSON object comes. */
async function readJson (patient: Patient, url: URL): Promise<Readonly<Record<string, unknown>> | undefined> {
  if (!/^https?:$/.test(url.protocol)) return undefined
  const answer = await patient.ask({ method: 'GET', url, headers: { accept: 'application/json' }, isAnonymous: true })
  if (isSilence(answer)) return undefined
  const json = fieldsOf(parseJson(await answer.text(patient.order.timeout)))
  return answer.status === 200 && Object.keys(json).length > 0 ? json : undefined
}
