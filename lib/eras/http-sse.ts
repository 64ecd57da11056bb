import type { Letter } from '../cluster/letters.ts'
import { atLimit, errorCodes } from '../errors.ts'
import type { Principal } from '../http/auth.ts'
import type { Outbox } from '../protocol/call.ts'
import { isRequest, resultOf } from '../protocol/message.ts'
import { ownerOf } from '../protocol/owner.ts'
import { comment, encode } from '../sse/frame.ts'
import type { SseStream } from '../sse/stream.ts'
import { type Awaitable, type SessionRecord, whenReady } from '../store/store.ts'
import type { Channel, ChannelKind } from './channel.ts'
import type { Inbound, Initialize, Messages } from './classify.ts'
import { type Position, readEventId } from './event-id.ts'
import {
  checkCalls, checkMessages, type Exchange, type Facts, initializeResult, newSession, newSessionId, profileFor, readInitialize, type Served,
  startCalls, takeNotifications, takeResponses
} from './handshake.ts'
import { resume } from './resume.ts'
import type { SessionHost } from './session-host.ts'
import type { Admission } from './ticket-office.ts'

/** Where a client of the stream at this URL posts its messages. */
export type EndpointOf = (sessionId: string) => string

/** Who posted, and the request that its calls belong to. */
type Poster = Pick<Facts, 'principal' | 'request'>

/** HTTP+SSE of 2024-11-05: one stream for everything the server says, a POST for everything the client says. */
export class HttpSse {
  readonly #served: Served
  readonly #sessions: SessionHost
  readonly #kind: ChannelKind = {
    primes: false,
    listens: true,
    isDisposable: false,
    onLost: ({ session: { record } }) => this.#sessions.expire(record.id),
    onGap: ({ session }) => session.abortCalls(new errorCodes.FST_MCP_REPLAY_GAP())
  }

  /** How many POSTs wait for room on each stream. */
  readonly #waiting = new WeakMap<Channel, number>()

  constructor (served: Served, sessions: SessionHost) {
    this.#served = served
    this.#sessions = sessions
    sessions.elsewhere?.onPost((session, letter) => this.#receive(session, letter))
  }

  /**
   * Answers the GET: a new session, or the one whose `Last-Event-ID` the client brings back.
   * An unknown or foreign id opens a new session too, since an `EventSource` never recovers from an error; but a used ticket
   * opens nothing. Throws FST_MCP_TICKET_INVALID.
   */
  get (facts: Facts, endpointOf: EndpointOf, exchange: Exchange): Awaitable<void> {
    // Nor does it recover from a refusal; from a connection that breaks it does.
    if (this.#sessions.isLeaving) return exchange.drop()
    const { pool } = this.#served
    pool.admit(ownerOf(facts.principal))
    const position = facts.lastEventId === undefined ? undefined : readEventId(facts.lastEventId)
    const known = position && this.#sessions.find(position.stream, facts.principal, 'http+sse')
    return whenReady(known, session => {
      if (session === undefined || position === undefined) return this.#open(facts, endpointOf, exchange)
      const greeting = encode({ event: 'endpoint', data: endpointOf(session.id) })
      const resumed = whenReady(this.#bind(session, facts.admission), () => this.#resume(session, position, greeting, facts))
      return whenReady(resumed, stream => {
        // More was lost than can be told, and a new session tells that.
        if (stream === undefined) {
          this.#sessions.expire(session.id)
          return this.#open(facts, endpointOf, exchange)
        }
        exchange.stream(stream)
      })
    })
  }

  /** The stream of a session from where its client left it. `greeting` goes before everything. */
  #resume (session: SessionRecord, position: Position, greeting: string, { principal, request }: Facts): Awaitable<SseStream | undefined> {
    const { elsewhere } = this.#sessions
    return whenReady(elsewhere !== null && session.home === null ? elsewhere.adopt(session) : undefined, last => {
      if (last !== undefined) this.#openChannel(session, Math.max(last, position.seq))
      // Where another node was faster to adopt it, it is there now.
      return whenReady(elsewhere?.follow(session, position, greeting), followed => {
        if (followed !== undefined) return followed
        return whenReady(this.#sessions.replay(session, position), resumed => {
          if (resumed.channel === undefined || resumed.replay?.isTold === false) return undefined
          this.#served.pool.admit(session.principal)
          Object.assign(this.#sessions.live(session), { principal, request })
          return resume(resumed, this.#served.pool, session.principal, greeting)
        })
      })
    })
  }

  /** From now on a fresh ticket comes back to this session. */
  #bind (session: SessionRecord, admission: Admission | undefined): Awaitable<void> {
    if (admission === undefined || admission.isUsed) return
    return this.#sessions.update(session, record => { record.ticket = admission.ticket })
  }

  #open ({ principal, lastEventId, admission, request }: Facts, endpointOf: EndpointOf, exchange: Exchange): Awaitable<void> {
    if (admission?.isUsed) throw new errorCodes.FST_MCP_TICKET_INVALID()
    const session = newSession(newSessionId(), principal, 'http+sse', null, { ticket: admission?.ticket, home: this.#sessions.elsewhere?.node })
    return whenReady(this.#sessions.create(session), () => {
      this.#admit(session)
      const channel = this.#openChannel(session)
      Object.assign(this.#sessions.live(session), { principal, request })
      const stream = channel.attach()
      if (lastEventId !== undefined) stream.write(comment('the session of this Last-Event-ID is gone: this is a new one'))
      stream.write(encode({ event: 'endpoint', id: `${session.id}_0`, retry: this.#served.retry, data: endpointOf(session.id) }))
      exchange.stream(stream)
    })
  }

  /** Others may have come while the store was asked. Throws as `StreamPool.admit`, and then ends the new session. */
  #admit ({ id, principal }: SessionRecord): void {
    const { pool } = this.#served
    if (pool.hasRoom(principal)) return
    this.#sessions.expire(id)
    pool.admit(principal)
  }

  #openChannel (session: SessionRecord, last = 0): Channel {
    return this.#sessions.openChannel(session, { id: session.id, kind: this.#kind, last })
  }

  /**
   * Answers a POST with 202; what it asks for travels on the stream. A request waits until the stream has room for its answer.
   * Throws FST_MCP_SESSION_REQUIRED and FST_MCP_SESSION_UNKNOWN.
   */
  post (inbound: Inbound, facts: Facts, exchange: Exchange): Awaitable<void> {
    if (facts.sessionId === undefined) throw new errorCodes.FST_MCP_SESSION_REQUIRED()
    return whenReady(this.#sessions.find(facts.sessionId, facts.principal, 'http+sse'), session => {
      if (session === undefined) throw new errorCodes.FST_MCP_SESSION_UNKNOWN()
      const accepted = (): void => exchange.accepted()
      const channel = this.#sessions.peek(session.id)?.channel(session.id)
      if (channel !== undefined) return this.#proceed(inbound, session, channel, facts, accepted)
      const { elsewhere } = this.#sessions
      return whenReady(elsewhere !== null && elsewhere.post(session, { inbound, principal: facts.principal }), isTaken => {
        if (!isTaken) throw this.#unserved()
        accepted()
      })
    })
  }

  /** Why there is no stream here. One that was left to the other nodes is there again once its client has come back. */
  #unserved (): Error {
    return this.#sessions.isLeaving ? new errorCodes.FST_MCP_CLOSING() : new errorCodes.FST_MCP_SESSION_UNKNOWN()
  }

  /** What a client of this node's stream posted to another node. */
  #receive (id: string, letter: Letter): Awaitable<void> {
    const session = this.#sessions.peek(id)
    const channel = session?.channel(id)
    if (session === undefined || channel === undefined || session.request === null) throw this.#unserved()
    const { record, request } = session
    // What another node of this server has read and checked.
    const { inbound, principal } = letter as { inbound: Inbound, principal: Principal | null }
    return this.#proceed(inbound, record, channel, { principal, request }, () => {})
  }

  #proceed (inbound: Inbound, session: SessionRecord, channel: Channel, poster: Poster, accepted: () => void): Awaitable<void> {
    const proceed = (): Awaitable<void> => inbound.kind === 'initialize'
      ? this.#initialize(inbound, session, channel, accepted)
      : this.#take(inbound, session, channel, poster, accepted)
    // What stops the calls that fill the stream must not wait for them.
    const asks = inbound.kind === 'initialize' || inbound.messages.some(isRequest)
    return asks ? this.#whenRoom(channel, session.principal, proceed) : proceed()
  }

  /**
   * Those who wait together go on one by one, as far as each leaves room for the next.
   * Throws FST_MCP_SESSION_UNKNOWN, and FST_MCP_CALLS_FULL and FST_MCP_QUOTA_EXCEEDED when too many wait already.
   */
  #whenRoom (channel: Channel, owner: string | null, proceed: () => Awaitable<void>): Awaitable<void> {
    const room = channel.room()
    if (room === false) throw new errorCodes.FST_MCP_SESSION_UNKNOWN()
    if (room === true) return proceed()
    if (this.#count(channel, 0) >= this.#served.limits.callsPerSession) {
      throw atLimit('limits.callsPerSession', new errorCodes.FST_MCP_CALLS_FULL())
    }
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

  #initialize ({ id, params }: Initialize, session: SessionRecord, channel: Channel, accepted: () => void): Awaitable<void> {
    const { revision, capabilities } = readInitialize(params, this.#served)
    const begin = (record: SessionRecord): void => {
      // Two may be on their way at once.
      if (record.initialized) throw new errorCodes.FST_MCP_SESSION_INITIALIZED()
      Object.assign(record, { revision, capabilities, initialized: true })
    }
    return whenReady(this.#sessions.update(session, begin), () => {
      channel.send(resultOf(id, initializeResult(this.#served, revision)), id)
      accepted()
    })
  }

  #take ({ messages, batch }: Messages, session: SessionRecord, channel: Channel, poster: Poster, accepted: () => void): Awaitable<void> {
    const profile = profileFor(session.revision)
    checkMessages(this.#served, messages, { batch, session, profile, owner: session.principal })
    const { principal, request } = poster
    this.#served.checkScopes(messages, principal)
    takeNotifications(this.#served, messages, session)
    return whenReady(takeResponses(this.#served, messages, session), () => {
      accepted()
      const { calls, inquiryOf } = this.#served
      this.#sessions.live(session).principal = principal
      const outbox = outboxOf(channel)
      startCalls(this.#served, messages, { profile, principal, session, terms: null, request, outbox, calls, inquiryOf }, [])
    })
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
