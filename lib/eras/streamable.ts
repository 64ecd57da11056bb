import { randomBytes } from 'node:crypto'
import { errorCodes } from '../errors.ts'
import type { Principal } from '../http/auth.ts'
import type { Call } from '../protocol/call.ts'
import { isRequest, type RequestId, resultOf } from '../protocol/message.ts'
import { ownerOf } from '../protocol/owner.ts'
import { comment } from '../sse/frame.ts'
import type { SseStream } from '../sse/stream.ts'
import { type Awaitable, type Replay, type SessionRecord, whenReady } from '../store/store.ts'
import type { ChannelKind } from './channel.ts'
import type { Inbound, Initialize, Messages } from './classify.ts'
import { nameStream, readEventId } from './event-id.ts'
import {
  checkMessages, type Exchange, type Facts, initializeResult, mayStream, newSession, newSessionId, profileFor, readInitialize,
  type Served, startCalls, takeNotifications, takeResponses
} from './handshake.ts'
import { DirectLine, type Line, type Ready, wholeDirect, wholeKept } from './response-line.ts'
import { resume } from './resume.ts'
import type { Profile } from './revisions.ts'
import type { SessionHost } from './session-host.ts'

// A request without the header comes from a client of this revision (basic/transports, "Protocol Version Header").
const REVISION_WITHOUT_HEADER = '2025-03-26'

/** What belongs to no call, on a stream that the client opened. */
const UNPRIMED: ChannelKind = { primes: false, listens: true, isDisposable: true, onLost: channel => channel.end(), onGap () {} }
const PRIMED: ChannelKind = { ...UNPRIMED, primes: true }

interface LineOf {
  readonly profile: Profile
  readonly owner: string | null
}

/** Streamable HTTP of 2025-03-26, 2025-06-18 and 2025-11-25: with sessions or, in stateless mode, without. */
export class Streamable {
  readonly #served: Served
  // Stream names must not repeat in a session, not even on another node or after a restart.
  readonly #node: string
  #streams = 0

  constructor (served: Served) {
    this.#served = served
    this.#node = served.sessions?.elsewhere?.node ?? randomBytes(4).toString('hex')
  }

  /** Answers a POST. */
  post (inbound: Inbound, facts: Facts, exchange: Exchange): Awaitable<void> {
    if (inbound.kind === 'initialize') return this.#initialize(inbound, facts, exchange)
    const { sessions } = this.#served
    if (sessions === null) return this.#take(inbound, null, facts, exchange)
    return whenReady(sessionOf(sessions, facts), session => this.#take(inbound, session, facts, exchange))
  }

  #initialize ({ id, params }: Initialize, { sessionId, principal }: Facts, exchange: Exchange): Awaitable<void> {
    const { sessions } = this.#served
    const hello = readInitialize(params, this.#served)
    const json = resultOf(id, initializeResult(this.#served, hello.revision))
    if (sessions === null) return exchange.json(json)
    // A client that starts anew may still send the id of a session that is gone: it gets a new one.
    const known = sessionId === undefined ? undefined : sessions.find(sessionId, principal, 'streamable-http')
    return whenReady(known, record => {
      if (record !== undefined) throw new errorCodes.FST_MCP_SESSION_INITIALIZED()
      const session = newSession(newSessionId(), principal, 'streamable-http', hello)
      return whenReady(sessions.create(session), () => exchange.json(json, session.id))
    })
  }

  #take (inbound: Messages, session: SessionRecord | null, facts: Facts, exchange: Exchange): Awaitable<void> {
    const { messages, batch } = inbound
    const profile = profileOfRequest(session, facts.version)
    const owner = ownerOf(facts.principal)
    checkMessages(this.#served, messages, { batch, session, profile, owner })
    this.#served.checkScopes(messages, facts.principal)
    takeNotifications(this.#served, messages, session)
    return whenReady(takeResponses(this.#served, messages, session), () => this.#answer(inbound, session, facts, exchange, profile))
  }

  #answer ({ messages, batch }: Messages, session: SessionRecord | null, facts: Facts, exchange: Exchange, profile: Profile): void {
    const owner = ownerOf(facts.principal)
    const ids = messages.filter(isRequest).map(({ id }) => id)
    if (ids.length === 0) return exchange.accepted()
    if (messages.some(mayStream)) this.#served.pool.admit(owner)
    const calls: Call[] = []
    const outbox = exchange.outbox(ids, batch, {
      line: () => this.#openLine(ids, calls, session, { profile, owner }),
      whole: answers => this.#whole(ids, answers, session, profile)
    })
    const caller = {
      profile,
      principal: facts.principal,
      // All calls go by one record, which is brought up to date while they run.
      session: session && (this.#served.sessions?.peek(session.id)?.record ?? session),
      terms: null,
      request: facts.request,
      outbox,
      calls: this.#served.calls,
      inquiryOf: this.#served.inquiryOf
    }
    if (startCalls(this.#served, messages, caller, calls)) exchange.wait()
  }

  #openLine (ids: readonly RequestId[], calls: readonly Call[], session: SessionRecord | null, { profile: { primes }, owner }: LineOf): Line {
    const { sessions, pool } = this.#served
    const abort = (reason: Error): void => calls.forEach(call => call.abort(reason))
    const onLost = (): void => abort(new errorCodes.FST_MCP_CLIENT_GONE())
    if (sessions === null || session === null) return new DirectLine(pool, owner, onLost)
    const onGap = (): void => abort(new errorCodes.FST_MCP_REPLAY_GAP())
    const kind = { primes, listens: false, isDisposable: false, onLost, onGap }
    return sessions.openChannel(session, { id: nameStream(this.#newName(), ids), kind })
  }

  #whole (ids: readonly RequestId[], answers: readonly Ready[], session: SessionRecord | null, { primes }: Profile): string {
    const { sessions, retry } = this.#served
    if (sessions === null || session === null) return wholeDirect(answers)
    return wholeKept({ events: sessions.events, session: session.id, id: nameStream(this.#newName(), ids), retry, primes }, answers)
  }

  #newName (): string {
    return `${this.#node}${(++this.#streams).toString(36)}`
  }

  /** Answers a GET: opens the session's own stream, or resumes the one that `Last-Event-ID` names. */
  get (sessions: SessionHost, facts: Facts, exchange: Exchange): Awaitable<void> {
    const { pool } = this.#served
    if (sessions.isLeaving) throw new errorCodes.FST_MCP_CLOSING()
    return whenReady(sessionOf(sessions, facts), session => {
      const profile = profileOfRequest(session, facts.version)
      const position = facts.lastEventId === undefined ? undefined : readEventId(facts.lastEventId)
      pool.admit(session.principal)
      if (position === undefined) return exchange.stream(this.#listen(sessions, session, profile, facts.principal))
      return whenReady(sessions.elsewhere?.follow(session, position), followed => {
        if (followed !== undefined) return exchange.stream(followed)
        return whenReady(sessions.replay(session, position), resumed => {
          // Others may have come while the store was asked.
          pool.admit(session.principal)
          exchange.stream(resume(resumed, pool, session.principal) ?? this.#listen(sessions, session, profile, facts.principal, resumed.replay))
        })
      })
    })
  }

  /** `missed`: what is left of the stream that the client had before. */
  #listen (sessions: SessionHost, session: SessionRecord, { primes }: Profile, principal: Principal | null, missed?: Replay): SseStream {
    sessions.live(session).principal = principal
    const stream = sessions.openChannel(session, { id: this.#newName(), kind: primes ? PRIMED : UNPRIMED }).connect()
    // The headers leave with the first bytes.
    stream.write(comment('open'))
    missed?.frames.forEach(frame => stream.write(frame))
    return stream
  }

  /** Answers a DELETE: the client ends its session. */
  delete (sessions: SessionHost, facts: Facts, exchange: Exchange): Awaitable<void> {
    return whenReady(sessionOf(sessions, facts), session => {
      profileOfRequest(session, facts.version)
      return whenReady(sessions.end(session.id, errorCodes.FST_MCP_SESSION_ENDED), () => exchange.done())
    })
  }
}

/** Throws FST_MCP_SESSION_REQUIRED and FST_MCP_SESSION_UNKNOWN. */
function sessionOf (sessions: SessionHost, { sessionId, principal }: Facts): Awaitable<SessionRecord> {
  if (sessionId === undefined) throw new errorCodes.FST_MCP_SESSION_REQUIRED()
  return whenReady(sessions.find(sessionId, principal, 'streamable-http'), record => {
    if (record === undefined) throw new errorCodes.FST_MCP_SESSION_UNKNOWN()
    return record
  })
}

/** The older of what was negotiated and what the header says. Throws FST_MCP_REVISION_UNSUPPORTED. */
function profileOfRequest (session: SessionRecord | null, version: string | undefined): Profile {
  const named = profileFor(version ?? session?.revision ?? REVISION_WITHOUT_HEADER)
  return session === null || named.revision <= session.revision ? named : profileFor(session.revision)
}
