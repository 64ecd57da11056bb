import type { Cluster } from '../cluster/cluster.ts'
import type { Letter } from '../cluster/letters.ts'
import { errorCodes } from '../errors.ts'
import type { RequestId, Response } from '../protocol/message.ts'
import type { Questions } from '../protocol/questions.ts'
import type { StreamPool } from '../sse/pool.ts'
import type { SseStream } from '../sse/stream.ts'
import { type Awaitable, type OpenStore, type SessionRecord, whenReady } from '../store/store.ts'
import type { Position } from './event-id.ts'
import { resume } from './resume.ts'
import type { Session } from './session.ts'
import type { SessionHost } from './session-host.ts'

// A stream of Streamable HTTP begins with the node that writes it.
const NODE_LENGTH = 8
// The id of a question begins with the node that asks.
const QUESTION_ID = /^([\da-f]{8})-\d+$/

/** What other nodes do for the sessions of a server, and this one for them. */
export class Elsewhere {
  readonly #host: SessionHost
  readonly #cluster: Cluster
  readonly #store: OpenStore
  readonly #pool: StreamPool

  constructor (host: SessionHost, cluster: Cluster, store: OpenStore, pool: StreamPool) {
    this.#host = host
    this.#cluster = cluster
    this.#store = store
    this.#pool = pool
    const { letters } = cluster
    const about = (kind: string, take: (session: string, letter: Letter) => void): void => {
      letters.on(kind, letter => take(String(letter.session), letter))
    }
    about('changed', (session, { uri }) => host.inBackground(() => this.#reload(session, typeof uri === 'string' ? [uri] : [])))
    about('ended', session => this.#ended(session))
    about('cancelled', (session, { id, reason }) => host.peek(session)?.calls.get(id as RequestId)?.abort(new errorCodes.FST_MCP_CANCELLED(String(reason))))
    about('deaf', session => this.#claim(session))
    letters.onOrdered('listening', ({ session, isClaim }, from) => this.#listened(String(session), from, isClaim === true))
    letters.onLoss(isEmptied => this.#reconcile(isEmptied))
    letters.on('attach', (letter, from) => this.#attach(letter, from))
  }

  get node (): string {
    return this.#cluster.node
  }

  /** Looks how the sessions at work here are kept, since word of a change or of their end may have been lost; or has them kept again. */
  #reconcile (isEmptied: boolean): void {
    const { sessions } = this.#store
    for (const record of this.#host.records()) {
      // It may be that nobody hears any more.
      this.#claim(record.id)
      this.#host.inBackground(async () => {
        if (isEmptied) await sessions.restore(record)
        else if (!await this.#reload(record.id, [])) this.#ended(record.id)
      })
    }
  }

  /** Reads the record of a session that is at work here; false when none is kept. `foretold`: resources that another node has subscribed it to. */
  async #reload (id: string, foretold: readonly string[]): Promise<boolean> {
    const { audience } = this.#host
    const live = this.#host.peek(id)
    if (live === undefined) return true
    live.foretold = [...live.foretold, foretold]
    audience.index(live)
    try {
      const record = await this.#store.sessions.get(id)
      Object.assign(live.record, record)
      return record !== undefined
    } finally {
      live.foretold = live.foretold.filter(list => list !== foretold)
      // What is over is told of nothing.
      if (this.#host.peek(id) === live) audience.index(live)
    }
  }

  /** Its record has changed. `uri`: of a resource that it subscribed to, of which the other nodes are to tell it from now on. */
  changed (session: string, uri?: string): Promise<void> {
    return this.#cluster.letters.tellAll('changed', { session, uri })
  }

  /** It is over. */
  ended (session: string): void {
    this.#cluster.letters.tellAll('ended', { session })
  }

  #ended (session: string): void {
    this.#host.stop(session, errorCodes.FST_MCP_SESSION_ENDED)
    this.#store.events.drop(session)
  }

  /** Its client gives up a call that is not here. */
  cancelled (session: string, id: RequestId, reason: string): void {
    this.#cluster.letters.tellAll('cancelled', { session, id, reason })
  }

  /** What belongs to no call goes to a stream of this node, from the moment on at which all nodes know. HTTP+SSE has one stream alone. */
  listening (live: Session): void {
    const { id, transport } = live.record
    if (transport === 'http+sse') return
    // One that hears already goes on.
    if (live.listeners.length === 1) live.isMuted = true
    this.#cluster.letters.tellInOrder('listening', { session: id }, () => { live.isMuted = false })
  }

  /** It has no more streams here for what belongs to no call. */
  deaf ({ id, transport }: SessionRecord): void {
    if (transport !== 'http+sse') this.#cluster.letters.tellAll('deaf', { session: id })
  }

  /** All nodes get these in the same order, so that all take the same one for the last. */
  #listened (session: string, from: string, isClaim: boolean): void {
    const live = this.#host.peek(session)
    if (live === undefined) return
    // There is one that hears: whoever claims must not have known.
    if (isClaim && from !== this.node && live.hears) this.listening(live)
    else live.isMuted = from !== this.node
  }

  /** An older stream hears again, unless another does. */
  #claim (session: string): void {
    const live = this.#host.peek(session)
    if (live?.isMuted === true && live.listeners.length > 0) this.#cluster.letters.tellAll('listening', { session, isClaim: true })
  }

  /** The stream that a client comes back to, where another node writes it. Undefined: it is written here, or by nobody any more. */
  follow (record: SessionRecord, { stream, seq }: Position, greeting = ''): Awaitable<SseStream | undefined> {
    const writer = record.transport === 'http+sse' ? record.home : stream.slice(0, NODE_LENGTH)
    if (writer === null || writer === this.node || this.#host.peek(record.id)?.channel(stream) !== undefined) return undefined
    return this.#cluster.follow(writer, record.principal, { session: record.id, stream, seq, greeting })
  }

  /** Gives another node the stream that its client comes back to. */
  #attach ({ session, stream, seq, greeting, ...follower }: Letter, from: string): Awaitable<Letter> {
    return whenReady(this.#store.sessions.get(String(session)), record => {
      if (record === undefined) return { isFollowed: false }
      return whenReady(this.#host.replay(record, { stream: String(stream), seq: Number(seq) }), resumed => {
        // The one stream of HTTP+SSE ends with its session, and no part of it can be told as lost.
        const isWhole = record.transport !== 'http+sse' || (resumed.channel !== undefined && resumed.replay?.isTold !== false)
        const sent = isWhole ? resume(resumed, this.#pool, record.principal, String(greeting)) : undefined
        if (sent !== undefined) this.#cluster.relay.send(sent, from, follower)
        return { isFollowed: sent !== undefined }
      })
    })
  }

  /** Hands answers to the nodes that asked, whose names begin the ids. False when one of them is not waited for. */
  async answer (session: string, responses: readonly Response[]): Promise<boolean> {
    const taken = await Promise.all(responses.map(async response => {
      const [, node] = QUESTION_ID.exec(String(response.id)) ?? []
      if (node === undefined || node === this.node) return false
      const answer = await this.#cluster.letters.ask(node, 'response', { session, response })
      return answer?.isTaken === true
    }))
    return taken.every(Boolean)
  }

  /**
   * Has the node of a session's stream take what its client posted here. False when that node is gone. Throws what it refuses with, and
   * FST_MCP_CLOSING while the stream is on its way to another node.
   */
  async post ({ id, home }: SessionRecord, letter: Letter): Promise<boolean> {
    if (home === null) throw new errorCodes.FST_MCP_CLOSING()
    if (home === this.node) return false
    if (await this.#cluster.letters.ask(home, 'post', { ...letter, session: id }) !== null) return true
    const now = await this.#store.sessions.get(id)
    if (now !== undefined && now.home !== home) throw new errorCodes.FST_MCP_CLOSING()
    return false
  }

  /** Who takes answers that other nodes were posted. */
  onResponse (questions: Questions): void {
    this.#cluster.letters.on('response', ({ session, response }) => ({ isTaken: questions.answer(String(session), response as Response) }))
  }

  /** Who takes what other nodes were posted for a session whose stream is here. */
  onPost (take: (session: string, letter: Letter) => Awaitable<void>): void {
    this.#cluster.letters.on('post', letter => take(String(letter.session), letter))
  }

  /**
   * Takes over the stream of a session whose node has left in good order. Gives the number of its last event, and undefined
   * when another node was faster.
   */
  async adopt (record: SessionRecord): Promise<number | undefined> {
    let isMine = false
    await this.#store.sessions.update(record, kept => {
      isMine = kept.home === null
      kept.home ??= this.node
    })
    return isMine ? this.#store.events.takeOver(record.id, record.id) : undefined
  }

  /** Leaves the streams of these sessions to the other nodes. */
  async leave (records: readonly SessionRecord[]): Promise<void> {
    const kept = records.filter(({ home }) => home === this.node)
    await Promise.allSettled(kept.map(record => this.#store.sessions.update(record, kept => { kept.home = null })))
  }
}
