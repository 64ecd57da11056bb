import { errorCodes, withData } from '../errors.ts'
import { isLevel } from '../features/logging.ts'
import { isObject, type Params } from '../protocol/message.ts'
import type { LogLevel } from '../store/store.ts'
import { type Profile, STATELESS_REVISIONS, statelessProfileOf } from './revisions.ts'

const PREFIX = 'io.modelcontextprotocol/'
const PROTOCOL_VERSION = `${PREFIX}protocolVersion`
const CLIENT_CAPABILITIES = `${PREFIX}clientCapabilities`
const CLIENT_INFO = `${PREFIX}clientInfo`
const LOG_LEVEL = `${PREFIX}logLevel`

const DATE = /^\d{4}-\d{2}-\d{2}$/

/** What a request of 2026-07-28 says of itself in `_meta` (basic, "Statelessness"). */
export interface Envelope {
  readonly profile: Profile
  /** What the client can be asked for during this request. */
  readonly capabilities: object
  /** The least severe log message that the client wants for this request; null: none at all. */
  readonly logLevel: LogLevel | null
}

/** Whether a header MCP-Protocol-Version names a revision whose requests stand for themselves. Revisions are dates, so they compare as strings. */
export function isStatelessVersion (version: string | undefined): boolean {
  return version !== undefined && version >= STATELESS_REVISIONS[0] && DATE.test(version)
}

/** Whether a message claims to stand for itself. */
export function hasEnvelope ({ _meta: meta }: Params): boolean {
  return isObject(meta) && meta[PROTOCOL_VERSION] !== undefined
}

/** Whether the claim holds, which decides who answers an `initialize`. */
export function hasValidEnvelope ({ _meta: meta }: Params): boolean {
  if (!isObject(meta)) return false
  const { [PROTOCOL_VERSION]: version, [CLIENT_CAPABILITIES]: capabilities } = meta
  return typeof version === 'string' && isStatelessVersion(version) && isObject(capabilities)
}

/**
 * Reads the envelope of a request. `version`: the header MCP-Protocol-Version, which must say the same.
 * Throws FST_MCP_ENVELOPE_INVALID, FST_MCP_HEADER_MISMATCH and FST_MCP_ENVELOPE_REVISION.
 */
export function readEnvelope ({ _meta: given }: Params, version: string | undefined, limits: { readonly capabilities: number }): Envelope {
  const meta = isObject(given) ? given : {}
  const missing = [PROTOCOL_VERSION, CLIENT_CAPABILITIES].filter(key => meta[key] === undefined)
  if (missing.length > 0) throw new errorCodes.FST_MCP_ENVELOPE_INVALID(`it lacks ${missing.map(key => `\`${key}\``).join(' and ')}`)
  const { [PROTOCOL_VERSION]: revision, [CLIENT_CAPABILITIES]: capabilities, [CLIENT_INFO]: clientInfo, [LOG_LEVEL]: logLevel } = meta
  const refuse = (key: string, what: string): Error => new errorCodes.FST_MCP_ENVELOPE_INVALID(`\`${key}\` must be ${what}`)
  if (typeof revision !== 'string') throw refuse(PROTOCOL_VERSION, 'a string')
  if (!isObject(capabilities)) throw refuse(CLIENT_CAPABILITIES, 'an object')
  if (clientInfo !== undefined && !isObject(clientInfo)) throw refuse(CLIENT_INFO, 'an object')
  if (logLevel !== undefined && !isLevel(logLevel)) throw refuse(LOG_LEVEL, 'one of the eight levels of RFC 5424')
  if (JSON.stringify(capabilities).length > limits.capabilities) throw refuse(CLIENT_CAPABILITIES, `at most ${limits.capabilities} characters long`)
  if (version === undefined) throw new errorCodes.FST_MCP_HEADER_MISMATCH('MCP-Protocol-Version', 'it is missing')
  if (version !== revision) throw new errorCodes.FST_MCP_HEADER_MISMATCH('MCP-Protocol-Version', 'it differs from the body')
  const profile = statelessProfileOf(revision)
  if (profile === undefined) {
    throw withData(new errorCodes.FST_MCP_ENVELOPE_REVISION(revision, STATELESS_REVISIONS.join(', ')), { supported: STATELESS_REVISIONS, requested: revision })
  }
  return { profile, capabilities, logLevel: logLevel ?? null }
}
