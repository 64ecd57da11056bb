import type { ServerResponse } from 'node:http'
import { type Http2Session, Http2ServerResponse } from 'node:http2'
import type { Socket } from 'node:net'
import type { FastifyReply } from 'fastify'
import type { Line } from '../eras/channel.ts'
import type { Exchange } from '../eras/handshake.ts'
import type { Outbox } from '../protocol/call.ts'
import type { RequestId } from '../protocol/message.ts'
import type { Http2Connections } from '../ops/http2-connections.ts'
import { ownerOf } from '../protocol/owner.ts'
import { comment, message } from '../sse/frame.ts'
import type { StreamPool } from '../sse/pool.ts'
import type { Room, SseStream } from '../sse/stream.ts'
import type { Accepted } from './accept.ts'
import { type Challenge, isChallenged } from './challenge.ts'

// Fastify's type knows HTTP/1.1 alone.
type RawResponse = ServerResponse | Http2ServerResponse

/** The responses that are still open, and the HTTP/2 connections that outlive theirs, so that closing the server can wait for them. */
export class OpenResponses {
  readonly #responses = new Set<RawResponse>()
  /** What is to be told when a connection of HTTP/1.1 closes: Node emits nothing for a pipelined response whose turn never came. */
  readonly #sockets = new WeakMap<Socket, Set<() => void>>()
  /** With what breaks the connection of each. */
  readonly #sessions = new Map<Http2Session, () => void>()
  /** What of their streams is ours. */
  readonly #own = new WeakSet<object>()
  #onClose: (() => void) | undefined

  /** Every request is seen here: a connection of HTTP/2 stays open after its streams, and the server would wait for its client to end it. */
  meet ({ raw }: FastifyReply): void {
    const response: RawResponse = raw
    if (!(response instanceof Http2ServerResponse)) return
    const { stream, stream: { session } } = response
    this.#own.add(stream)
    if (session === undefined || this.#sessions.has(session)) return
    // The session hides its socket, and a session that is closing does not break when it is destroyed.
    const { socket: { destroySoon } } = session
    this.#sessions.set(session, destroySoon)
    session.once('close', () => {
      this.#sessions.delete(session)
      this.#onClose?.()
    })
  }

  /**
   * Calls back once, when the response is closed; at once when it is already.
   * `onResponse` does not fire when a stream is aborted over HTTP/1.1.
   */
  watch ({ raw, request }: FastifyReply, onClosed: () => void): void {
    const response: RawResponse = raw
    const isHttp2 = response instanceof Http2ServerResponse
    const { socket } = request.raw
    if (isHttp2 ? response.stream.destroyed : response.destroyed || socket.destroyed) return onClosed()
    const closed = (): void => {
      response.off('close', closed)
      this.#sockets.get(socket)?.delete(closed)
      this.#responses.delete(response)
      onClosed()
      this.#onClose?.()
    }
    this.#responses.add(response)
    response.on('close', closed)
    if (!isHttp2) this.#listenersOf(socket).add(closed)
  }

  #listenersOf (socket: Socket): Set<() => void> {
    let listeners = this.#sockets.get(socket)
    if (listeners === undefined) {
      const own = listeners = new Set()
      this.#sockets.set(socket, own)
      socket.once('close', () => { for (const closed of own) closed() })
    }
    return listeners
  }

  get #isEmpty (): boolean {
    return this.#responses.size === 0 && this.#sessions.size === 0
  }

  /** Resolves when all are closed. Those that are not after `ms` are broken, unless the host answers on them: their clients do not read. */
  async closed (ms: number, http2: Http2Connections): Promise<void> {
    for (const session of this.#sessions.keys()) session.close()
    if (this.#isEmpty) return
    let timer
    await new Promise<void>(resolve => {
      this.#onClose = () => { if (this.#isEmpty) resolve() }
      timer = setTimeout(() => {
        for (const response of this.#responses) response.destroy()
        for (const [session, destroySoon] of this.#sessions) if ([...http2.streams(session)].every(stream => this.#own.has(stream))) destroySoon()
        resolve()
      }, ms).unref()
    })
    clearTimeout(timer)
  }
}

export interface AnswerOptions {
  readonly pool: StreamPool
  readonly responses: OpenResponses
  /** What the client's Accept header allows. */
  readonly accepts: Accepted
  /** Milliseconds after which a waiting request is answered as a stream, so that its connection is not idle. */
  readonly openAfter: number
  readonly challenge: Challenge
}

/**
 * The response to one HTTP request. It is JSON when everything is known before anything else is to be told,
 * a stream from the first notification on, or when the wait grows long.
 */
export class Answer implements Exchange, Outbox {
  readonly #reply: FastifyReply
  readonly #options: AnswerOptions
  #openLine!: () => Line
  #line: Line | undefined
  #batch = false
  #expected = 0
  readonly #ready: { id: RequestId, json: string }[] = []
  #timer: NodeJS.Timeout | undefined
  #stream: SseStream | undefined
  #isWatched = false

  constructor (reply: FastifyReply, options: AnswerOptions) {
    this.#reply = reply
    this.#options = options
  }

  accepted (): void {
    this.#reply.code(202).send()
  }

  done (): void {
    this.#reply.code(200).send()
  }

  drop (): void {
    this.#reply.raw.destroy()
  }

  canStream (): boolean {
    return this.#options.accepts.sse
  }

  canAsk (): boolean {
    return this.#open() !== undefined
  }

  json (body: string, sessionId?: string): void {
    if (sessionId !== undefined) this.#reply.header('mcp-session-id', sessionId)
    if (this.#options.accepts.json) this.#reply.header('content-type', 'application/json; charset=utf-8').send(body)
    // Known at once, so a stream of one event needs no stream object.
    else this.#reply.header('content-type', 'text/event-stream').header('cache-control', 'no-cache, no-transform').send(message(body))
  }

  stream (stream: SseStream): void {
    this.#stream = stream
    this.watch()
    // The client has gone already.
    if (stream.destroyed) return
    this.#reply
      .header('content-type', 'text/event-stream')
      .header('cache-control', 'no-cache, no-transform')
      .header('x-accel-buffering', 'no')
      .send(stream)
  }

  watch (): void {
    if (this.#isWatched) return
    this.#isWatched = true
    this.#options.responses.watch(this.#reply, this.#left)
  }

  outbox (ids: readonly RequestId[], batch: boolean, openLine: () => Line): Outbox {
    this.#expected = ids.length
    this.#batch = batch
    this.#openLine = openLine
    return this
  }

  wait (): void {
    if (this.#line === undefined && this.#options.accepts.sse) {
      this.#timer = setTimeout(this.#openQuietly, this.#options.openAfter).unref()
    }
    this.watch()
  }

  /** Nothing is to be told yet, but the headers leave with the first bytes. */
  readonly #openQuietly = (): void => {
    this.#open(comment('open'))
  }

  /** A hook of the host may have put its own stream before ours, or failed before ours was sent: Fastify then ends that alone. */
  readonly #left = (): void => {
    clearTimeout(this.#timer)
    this.#stream?.destroy()
    // Before there is a stream nobody else notices that the client has gone.
    if (this.#line === undefined && this.#expected > 0) this.#useLine(this.#openLine()).leave()
  }

  /** From here on everything goes out on the line, what was ready first. */
  #useLine (line: Line): Line {
    this.#line = line
    for (const { id, json } of this.#ready) line.send(json, id)
    return line
  }

  #open (greeting?: string): Line | undefined {
    clearTimeout(this.#timer)
    const { accepts, pool } = this.#options
    if (this.#line !== undefined || !accepts.sse) return this.#line
    // Calls that were admitted while there was room can be more than there is room for.
    if (!pool.hasRoom(ownerOf(this.#reply.request.mcp?.principal ?? null))) return undefined
    const line = this.#openLine()
    const stream = line.connect()
    if (greeting !== undefined) stream.write(greeting)
    this.stream(stream)
    return this.#useLine(line)
  }

  send (json: string): Room {
    // A client that takes JSON alone misses nothing of the result.
    return this.#open()?.send(json) ?? true
  }

  respond (id: RequestId, json: string, status = 200, error?: unknown): void {
    // One status cannot speak for all of a batch.
    if (this.#line === undefined && !this.#batch) this.#head(status, error)
    const line = this.#line ?? (this.#options.accepts.json ? undefined : this.#open())
    if (line === undefined) this.#ready.push({ id, json })
    else line.send(json, id)
    this.#settle()
  }

  #head (status: number, error: unknown): void {
    this.#reply.code(status)
    if (isChallenged(status, error)) this.#reply.header('www-authenticate', this.#options.challenge(error))
  }

  skip (): void {
    this.#settle()
  }

  #settle (): void {
    if (--this.#expected > 0) return
    clearTimeout(this.#timer)
    const jsons = this.#ready.map(({ json }) => json)
    if (this.#line !== undefined) this.#line.end()
    // Every request was cancelled: there is nothing to say.
    else if (jsons.length === 0) this.accepted()
    else this.json(this.#batch ? `[${jsons.join(',')}]` : jsons.join())
  }

  closeStream (): boolean {
    return this.#open()?.closeStream?.() ?? false
  }
}
