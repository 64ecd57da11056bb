import { errorCodes } from '../errors.ts'
import type { Outbox } from '../protocol/call.ts'
import { resultOf } from '../protocol/message.ts'
import { ownerOf } from '../protocol/owner.ts'
import { comment, encode } from '../sse/frame.ts'
import { type Awaitable, type SessionRecord, whenReady } from '../store/store.ts'
import type { Channel } from './channel.ts'
import type { Inbound, Initialize, Messages } from './classify.ts'
import { readEventId } from './event-id.ts'
import {
  checkCalls, checkMessages, type Exchange, type Facts, initializeResult, newSession, newSessionId, profileFor, readInitialize, type Served,
  startCalls, takeNotifications, takeResponses
} from './handshake.ts'
import { resume } from './resume.ts'
import type { SessionHost } from './session-host.ts'
import type { Admission } from './ticket-office.ts'

/** Where a client of the stream at this URL posts its messages. */
export type EndpointOf = (sessionId: string) => string

/** HTTP+SSE of 2024-11-05: one stream for everything the server says, a POST for everything the client says. */
export class HttpSse {
  readonly #served: Served
  readonly #sessions: SessionHost
  /** How many POSTs wait for room on each stream. */
  readonly #waiting = new WeakMap<Channel, number>()

  constructor (served: Served, sessions: SessionHost) {
    this.#served = served
    this.#sessions = sessions
  }

  /**
   * Answers the GET: a new session, or the one whose `Last-Event-ID` the client brings back.
   * An unknown or foreign id opens a new session too, since an `EventSource` never recovers from an error; but a used ticket
   * opens nothing. Throws FST_MCP_TICKET_INVALID.
   */
  get (facts: Facts, endpointOf: EndpointOf, exchange: Exchange): Awaitable<void> {
    const { pool } = this.#served
    pool.admit(ownerOf(facts.principal))
    const position = facts.lastEventId === undefined ? undefined : readEventId(facts.lastEventId)
    const known = position && this.#sessions.find(position.stream, facts.principal, 'http+sse')
    return whenReady(known, session => {
      if (session === undefined || position === undefined) return this.#open(facts, endpointOf, exchange)
      const resumed = whenReady(this.#bind(session, facts.admission), () => this.#sessions.replay(session, position))
      return whenReady(resumed, resumed => {
        const endpoint = encode({ event: 'endpoint', data: endpointOf(session.id) })
        const stream = resumed.channel && resumed.replay?.isTold !== false && resume(resumed, pool, session.principal, endpoint)
        if (stream) return exchange.stream(stream)
        // More was lost than can be told, and a new session tells that.
        this.#sessions.expire(session.id)
        return this.#open(facts, endpointOf, exchange)
      })
    })
  }

  /** From now on a fresh ticket comes back to this session. */
  #bind (session: SessionRecord, admission: Admission | undefined): Awaitable<void> {
    if (admission === undefined || admission.isUsed) return
    session.ticket = admission.ticket
    return this.#sessions.update(session)
  }

  #open ({ principal, lastEventId, admission }: Facts, endpointOf: EndpointOf, exchange: Exchange): Awaitable<void> {
    if (admission?.isUsed) throw new errorCodes.FST_MCP_TICKET_INVALID()
    const session = newSession(newSessionId(), principal, 'http+sse', null, admission?.ticket)
    return whenReady(this.#sessions.create(session), () => {
      const channel = this.#openChannel(session)
      this.#sessions.live(session).principal = principal
      const stream = channel.attach()
      if (lastEventId !== undefined) stream.write(comment('the session of this Last-Event-ID is gone: this is a new one'))
      stream.write(encode({ event: 'endpoint', id: `${session.id}_0`, retry: this.#served.retry, data: endpointOf(session.id) }))
      exchange.stream(stream)
    })
  }

  #openChannel (session: SessionRecord): Channel {
    const abortCalls = (reason: Error): void => this.#sessions.peek(session.id)?.calls.forEach(call => call.abort(reason))
    return this.#sessions.openChannel(session, {
      id: session.id,
      primes: false,
      listens: true,
      isDisposable: false,
      onLost: () => this.#sessions.expire(session.id),
      onGap: () => abortCalls(new errorCodes.FST_MCP_REPLAY_GAP())
    })
  }

  /**
   * Answers a POST with 202; what it asks for travels on the stream. A request waits until the stream has room for its answer.
   * Throws FST_MCP_SESSION_REQUIRED and FST_MCP_SESSION_UNKNOWN.
   */
  post (inbound: Inbound, facts: Facts, exchange: Exchange): Awaitable<void> {
    if (facts.sessionId === undefined) throw new errorCodes.FST_MCP_SESSION_REQUIRED()
    return whenReady(this.#sessions.find(facts.sessionId, facts.principal, 'http+sse'), session => {
      const channel = session && this.#sessions.peek(session.id)?.channels.get(session.id)
      if (session === undefined || channel === undefined) throw new errorCodes.FST_MCP_SESSION_UNKNOWN()
      const proceed = (): Awaitable<void> => inbound.kind === 'initialize'
        ? this.#initialize(inbound, session, channel, exchange)
        : this.#take(inbound, session, channel, facts, exchange)
      // What stops the calls that fill the stream must not wait for them.
      const asks = inbound.kind === 'initialize' || inbound.messages.some(message => message.kind === 'request')
      return asks ? this.#whenRoom(channel, session.principal, proceed) : proceed()
    })
  }

  /**
   * Those who wait together go on one by one, as far as each leaves room for the next.
   * Throws FST_MCP_SESSION_UNKNOWN, and FST_MCP_CALLS_FULL and FST_MCP_QUOTA_EXCEEDED when too many wait already.
   */
  #whenRoom (channel: Channel, owner: string | null, proceed: () => Awaitable<void>): Awaitable<void> {
    const room = channel.room()
    if (room === false) throw new errorCodes.FST_MCP_SESSION_UNKNOWN()
    if (room === true) return proceed()
    if (this.#count(channel, 0) >= this.#served.limits.callsPerSession) throw new errorCodes.FST_MCP_CALLS_FULL()
    // Each holds a body, so they count as calls of whoever sent them.
    const { calls: { owners } } = this.#served
    checkCalls(this.#served, 1, owner)
    this.#count(channel, 1)
    owners.add(owner)
    return room.then(() => {
      this.#count(channel, -1)
      owners.remove(owner)
      return this.#whenRoom(channel, owner, proceed)
    })
  }

  #count (channel: Channel, change: number): number {
    const count = (this.#waiting.get(channel) ?? 0) + change
    this.#waiting.set(channel, count)
    return count
  }

  #initialize ({ id, params }: Initialize, session: SessionRecord, channel: Channel, exchange: Exchange): Awaitable<void> {
    if (session.initialized) throw new errorCodes.FST_MCP_SESSION_INITIALIZED()
    const { revision, capabilities } = readInitialize(params, this.#served)
    Object.assign(session, { revision, capabilities, initialized: true })
    return whenReady(this.#sessions.update(session), () => {
      channel.send(resultOf(id, initializeResult(this.#served, revision)), id)
      exchange.accepted()
    })
  }

  #take ({ messages, batch }: Messages, session: SessionRecord, channel: Channel, facts: Facts, exchange: Exchange): void {
    const profile = profileFor(session.revision)
    checkMessages(this.#served, messages, { batch, session, profile, owner: session.principal })
    this.#served.checkScopes(messages, facts.principal)
    takeNotifications(this.#served, messages, session)
    takeResponses(this.#served, messages, session)
    exchange.accepted()
    const { calls, inquiryOf } = this.#served
    const { principal, request } = facts
    this.#sessions.live(session).principal = principal
    const outbox = outboxOf(channel)
    startCalls(this.#served, messages, { profile, principal, session, terms: null, request, outbox, calls, inquiryOf }, [])
  }
}

/** All calls of the session share its one stream. */
function outboxOf (channel: Channel): Outbox {
  return {
    send: json => channel.send(json),
    respond: (id, json) => { channel.send(json, id) },
    skip: () => {},
    closeStream: () => false,
    canAsk: () => true
  }
}
