import type { FastifyReply } from 'fastify'
import type { Line, Opening, Ready } from '../eras/response-line.ts'
import type { Exchange } from '../eras/handshake.ts'
import type { Outbox } from '../protocol/call.ts'
import type { RequestId } from '../protocol/message.ts'
import { ownerOf } from '../protocol/owner.ts'
import { comment, message } from '../sse/frame.ts'
import type { StreamPool } from '../sse/pool.ts'
import type { Room, SseStream } from '../sse/stream.ts'
import type { Accepted } from './accept.ts'
import { type Challenge, isChallenged } from './challenge.ts'
import type { OpenResponses } from './responses.ts'

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
  #opening!: Opening
  #line: Line | undefined
  #batch = false
  #expected = 0
  readonly #ready: Ready[] = []
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
    else this.#headers().send(message(body))
  }

  #headers (): FastifyReply {
    return this.#reply
      .header('content-type', 'text/event-stream')
      .header('cache-control', 'no-cache, no-transform')
      .header('x-accel-buffering', 'no')
  }

  stream (stream: SseStream): void {
    if (this.#isWatched) this.#stream = stream
    else this.#watch(() => stream.destroy())
    // The client has gone already.
    if (stream.destroyed) return
    this.#headers().send(stream)
  }

  watch (): void {
    if (!this.#isWatched) this.#watch(() => this.#left())
  }

  /** A stream that is open keeps no more than itself. */
  #watch (onClosed: () => void): void {
    this.#isWatched = true
    this.#options.responses.watch(this.#reply, onClosed)
  }

  outbox (ids: readonly RequestId[], batch: boolean, opening: Opening): Outbox {
    this.#expected = ids.length
    this.#batch = batch
    this.#opening = opening
    return this
  }

  wait (): void {
    if (this.#line === undefined && this.#options.accepts.sse) {
      this.#timer = setTimeout(() => this.#openQuietly(), this.#options.openAfter).unref()
    }
    this.watch()
  }

  /** Nothing is to be told yet, but the headers leave with the first bytes. */
  #openQuietly (): void {
    this.#open(comment('open'))
  }

  /** A hook of the host may have put its own stream before ours, or failed before ours was sent: Fastify then ends that alone. */
  #left (): void {
    clearTimeout(this.#timer)
    this.#stream?.destroy()
    // Before there is a stream nobody else notices that the client has gone.
    if (this.#line === undefined && this.#expected > 0) this.#useLine(this.#opening.line()).leave()
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
    const line = this.#opening.line()
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
    const line = this.#line ?? (this.#options.accepts.json || this.#expected === 1 ? undefined : this.#open())
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
    // Known at once, so a stream of one event needs no stream object.
    else if (!this.#options.accepts.json) this.#headers().send(this.#whole())
    else this.json(this.#batch ? `[${jsons.join(',')}]` : jsons.join())
  }

  #whole (): string {
    try {
      return this.#opening.whole(this.#ready)
    } catch (error) {
      // A store that fails in what it should keep leaves a client that waits.
      this.drop()
      throw error
    }
  }

  closeStream (): boolean {
    return this.#open()?.closeStream?.() ?? false
  }
}
