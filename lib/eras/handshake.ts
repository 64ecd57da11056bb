import { randomFillSync } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { atLimit, errorCodes } from '../errors.ts'
import type { Principal } from '../http/auth.ts'
import { Call, type Caller, type Outbox } from '../protocol/call.ts'
import { type Desk, dispatch } from '../protocol/dispatch.ts'
import type { CallsInProgress } from '../protocol/in-progress.ts'
import { isObject, isRequest, type Message, type Params, type RequestId } from '../protocol/message.ts'
import type { CheckScopes } from '../protocol/needs.ts'
import { ownerOf } from '../protocol/owner.ts'
import { type Questions, SessionInquiry } from '../protocol/questions.ts'
import type { StreamPool } from '../sse/pool.ts'
import type { SseStream } from '../sse/stream.ts'
import { type Awaitable, type SessionRecord, whenReady } from '../store/store.ts'
import type { Opening } from './response-line.ts'
import { capabilitiesOf, type Declared } from './capabilities.ts'
import { type HandshakeRevision, negotiate, type Profile, profileOf, REVISIONS } from './revisions.ts'
import type { SessionHost } from './session-host.ts'
import type { Admission } from './ticket-office.ts'

/** How the server introduces itself: `Implementation` of the latest revision. */
type Identity = Readonly<Record<string, unknown>> & { readonly name: string, readonly version: string }

/** What the eras of the handshake share: one server's sessions, methods and streams. */
export interface Served {
  readonly identity: Identity
  readonly instructions: string | undefined
  readonly offered: Declared
  /** What answers the methods of the handshake revisions. */
  readonly desk: Desk
  readonly questions: Questions
  readonly inquiryOf: Caller['inquiryOf']
  readonly checkScopes: CheckScopes
  /** Null in stateless mode. */
  readonly sessions: SessionHost | null
  readonly pool: StreamPool
  readonly calls: CallsInProgress
  /** Milliseconds that a client is told to wait before it comes back. */
  readonly retry: number
  readonly limits: { readonly capabilities: number, readonly calls: number, readonly callsPerSession: number, readonly callsPerPrincipal: number }
}

/** What an era reads of an HTTP request, beside its body. */
export interface Facts {
  readonly request: FastifyRequest
  readonly principal: Principal | null
  readonly sessionId: string | undefined
  /** The header MCP-Protocol-Version. */
  readonly version: string | undefined
  readonly lastEventId: string | undefined
  /** What let a client in that brought no bearer token. */
  readonly admission: Admission | undefined
}

/** How an era answers an HTTP request. */
export interface Exchange {
  /** 202, nothing to say. */
  accepted (): void
  /** 200, nothing to say. */
  done (): void
  /** Breaks the connection without an answer. */
  drop (): void
  json (body: string, sessionId?: string): void
  stream (stream: SseStream): void
  /** Collects the answers to the requests of one POST and sends them as JSON or, once something else is to be told before, as a stream. */
  outbox (ids: readonly RequestId[], batch: boolean, opening: Opening): Outbox
  /** From now on the client may leave. */
  watch (): void
  /** Whether the client takes a stream. */
  canStream (): boolean
  /** What was dispatched goes on: from now on the client may leave, and the stream opens when the wait grows long. */
  wait (): void
}

const ID_BYTES = 18
// Random bits for this many ids cost little more than for one (0.1 instead of 2.2 µs each).
const IDS = 64
const bits = Buffer.alloc(ID_BYTES * IDS)
let used = bits.length

/** 144 random bits in visible ASCII (basic/transports, "Session Management"). */
export function newSessionId (): string {
  if (used === bits.length) {
    randomFillSync(bits)
    used = 0
  }
  used += ID_BYTES
  return bits.toString('base64url', used - ID_BYTES, used)
}

export interface Hello {
  readonly revision: HandshakeRevision
  readonly capabilities: object
}

/** A session as it begins: initialized by `hello`, or, over HTTP+SSE, usable before and without it. */
export function newSession (
  id: string, principal: Principal | null, transport: SessionRecord['transport'], hello: Hello | null, { ticket = null, home = null }: Partial<Pick<SessionRecord, 'ticket' | 'home'>> = {}
): SessionRecord {
  return {
    id,
    principal: ownerOf(principal),
    transport,
    revision: hello?.revision ?? REVISIONS[0],
    initialized: hello !== null,
    capabilities: hello?.capabilities ?? null,
    logLevel: null,
    subscriptions: [],
    ticket,
    home
  }
}

/** Reads the params of `initialize`, whose capabilities are kept with the session. Throws FST_MCP_PARAMS_INVALID. */
export function readInitialize ({ protocolVersion, capabilities = {}, clientInfo = {} }: Params, { limits }: Served): Hello {
  if (typeof protocolVersion !== 'string') throw new errorCodes.FST_MCP_PARAMS_INVALID('`protocolVersion` must be a string')
  if (!isObject(capabilities)) throw new errorCodes.FST_MCP_PARAMS_INVALID('`capabilities` must be an object')
  if (JSON.stringify(capabilities).length > limits.capabilities) {
    throw new errorCodes.FST_MCP_PARAMS_INVALID(`\`capabilities\` must not be longer than ${limits.capabilities} characters`)
  }
  if (!isObject(clientInfo)) throw new errorCodes.FST_MCP_PARAMS_INVALID('`clientInfo` must be an object')
  return { revision: negotiate(protocolVersion), capabilities }
}

/** The result of `initialize` (basic/lifecycle). Without sessions nothing can be told later, so nothing is promised. */
export function initializeResult ({ identity, instructions, offered, sessions }: Served, revision: HandshakeRevision): object {
  const profile = profileFor(revision)
  return {
    protocolVersion: revision,
    capabilities: capabilitiesOf(offered, profile.declaresCompletions, sessions !== null),
    serverInfo: profile.convertIdentity(identity),
    ...(instructions !== undefined && { instructions })
  }
}

/** The profile of a revision that a store gave back, or a header named. Throws FST_MCP_REVISION_UNSUPPORTED. */
export function profileFor (revision: string): Profile {
  const profile = profileOf(revision)
  if (profile === undefined) throw new errorCodes.FST_MCP_REVISION_UNSUPPORTED(revision, REVISIONS.join(', '))
  return profile
}

/** Only what runs handlers may need a stream. */
export function mayStream (message: Message): boolean {
  return isRequest(message) && STREAMING.has(message.method)
}

const STREAMING = new Set(['tools/call', 'prompts/get', 'resources/read'])

/** How the calls of the handshake revisions ask their client: through its session. */
export function sessionInquiries (questions: Questions): Caller['inquiryOf'] {
  return call => call.session === null ? null : new SessionInquiry(questions, call, call.session.id)
}

/** Starts the requests of one POST. True when one of them is still at work. */
export function startCalls (served: Served, messages: readonly Message[], caller: Caller, calls: Call[]): boolean {
  let isWaiting = false
  const { profile, session, request: { mcp } } = caller
  if (mcp !== null) {
    mcp.revision = profile.revision
    mcp.session = session
  }
  for (const message of messages) {
    if (message.kind !== 'request') continue
    const call = new Call(message.id, message.method, message.params, caller)
    calls.push(call)
    const done = dispatch(call, served.desk)
    if (!(done instanceof Promise)) continue
    isWaiting = true
    served.calls.add(call, done)
    if (session !== null) served.sessions?.track(session, call, done)
  }
  return isWaiting
}

/** What a client tells without waiting for an answer. Unknown notifications are ignored, as JSON-RPC wants. */
export function takeNotifications (served: Served, messages: readonly Message[], session: SessionRecord | null): void {
  for (const message of messages) {
    if (message.kind !== 'notification' || message.method !== 'notifications/cancelled' || session === null) continue
    const { requestId, reason } = message.params
    if (typeof requestId !== 'string' && typeof requestId !== 'number') continue
    const why = typeof reason === 'string' ? reason : 'no reason given'
    const call = served.sessions?.peek(session.id)?.calls.get(requestId)
    if (call === undefined) served.sessions?.elsewhere?.cancelled(session.id, requestId, why)
    else call.abort(new errorCodes.FST_MCP_CANCELLED(why))
  }
}

/** Hands answers to whoever asked. Throws FST_MCP_RESPONSE_UNEXPECTED when nobody of the session did, after those that somebody waits for. */
export function takeResponses (served: Served, messages: readonly Message[], session: SessionRecord | null): Awaitable<void> {
  const responses = messages.filter(message => message.kind === 'response')
  const unexpected = responses.filter(response => session === null || !served.questions.answer(session.id, response))
  if (unexpected.length === 0) return
  const { elsewhere = null } = served.sessions ?? {}
  return whenReady(elsewhere !== null && session !== null && elsewhere.answer(session.id, unexpected), isTaken => {
    if (!isTaken) throw new errorCodes.FST_MCP_RESPONSE_UNEXPECTED(JSON.stringify(unexpected[0]?.id))
  })
}

/** Refuses calls that would be too many. Throws FST_MCP_CALLS_FULL and FST_MCP_QUOTA_EXCEEDED. */
export function checkCalls ({ limits, calls }: Pick<Served, 'limits' | 'calls'>, requests: number, owner: string | null): void {
  if (requests === 0) return
  if (calls.size + requests > limits.calls) throw atLimit('limits.calls', new errorCodes.FST_MCP_CALLS_FULL())
  const { callsPerPrincipal: most } = limits
  if (owner !== null && calls.owners.of(owner) + requests > most) {
    throw atLimit('limits.callsPerPrincipal', new errorCodes.FST_MCP_QUOTA_EXCEEDED(most, 'calls'))
  }
}

/** Where the messages of a POST belong, and how they came. */
interface Posted {
  readonly batch: boolean
  readonly session: SessionRecord | null
  readonly profile: Profile
  readonly owner: string | null
}

/** Refuses what no message of these may be: an id that is in use, a batch where there are none, one call too many. */
export function checkMessages (served: Served, messages: readonly Message[], { batch, session, profile, owner }: Posted): void {
  if (batch && !profile.batches) throw new errorCodes.FST_MCP_BATCH_UNSUPPORTED()
  const inProgress = session === null ? undefined : served.sessions?.peek(session.id)?.calls
  const requests = messages.filter(isRequest).length
  const ofSession = (inProgress?.size ?? 0) + requests
  if (session !== null && requests > 0 && ofSession > served.limits.callsPerSession) {
    throw atLimit('limits.callsPerSession', new errorCodes.FST_MCP_CALLS_FULL())
  }
  checkCalls(served, requests, owner)
  for (const message of messages) {
    if (message.kind === 'request' && inProgress?.has(message.id) === true) throw new errorCodes.FST_MCP_ID_IN_USE(JSON.stringify(message.id))
  }
}
