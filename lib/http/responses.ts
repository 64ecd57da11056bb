import { OutgoingMessage, type ServerResponse } from 'node:http'
import { type Http2Session, Http2ServerResponse } from 'node:http2'
import type { Socket } from 'node:net'
import type { FastifyInstance, FastifyReply } from 'fastify'
import type { Http2Connections } from '../ops/http2-connections.ts'
import { SseStream } from '../sse/stream.ts'
import { ChunkedSink } from './chunked-sink.ts'

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
    // Its turn has not come yet.
    if (!isHttp2 && response.socket === null) this.#listenersOf(socket).add(closed)
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

// Under which Fastify keeps what a hook has promised to send after the body.
const TRAILERS = 'fastify.reply.trailers'

let trailersKey: symbol | undefined

/** Only Fastify can send trailers, and only it knows of them. */
function mayHaveTrailers (reply: FastifyReply): boolean {
  trailersKey ??= Object.getOwnPropertySymbols(reply).find(({ description }) => description === TRAILERS)
  return trailersKey === undefined || Reflect.get(reply, trailersKey) !== null
}

/** Whether nobody else reads it or waits for its end. */
function isUntouched (stream: SseStream): boolean {
  return stream.readableFlowing === null && stream.listenerCount('end') === 0 && !stream.destroyed
}

// Whoever looks at the responses of a process has put others in their place.
const { write, end } = OutgoingMessage.prototype

/** Whether its head has left, or somebody looks at what is written to it, as `app.inject` does. */
function isWatched (response: ServerResponse): boolean {
  return response.headersSent || response.write !== write || response.end !== end
}

/**
 * Writes our streams to their responses where Fastify would pipe them, once every `onSend` hook has had them: what it keeps for a stream
 * while it is open is a quarter of an idle one. A stream that a hook reads or replaces, a response that
 * somebody watches, HTTP/2 and trailers go their usual way.
 */
export function useStraightWay (scope: FastifyInstance): void {
  scope.addHook('onRoute', route => {
    // After the hooks of the app, and after those that others have given the route.
    route.onSend = [route.onSend ?? []].flat().concat((_request, reply: FastifyReply, payload, done) => {
      const response: RawResponse = reply.raw
      const isOurs = payload instanceof SseStream && isUntouched(payload)
      if (!isOurs || response instanceof Http2ServerResponse || isWatched(response) || mayHaveTrailers(reply)) return done(null, payload)
      try {
        // Fastify and Node have two types for the same.
        response.writeHead(reply.statusCode, Object(reply.getHeaders()))
      } catch (error) {
        // A header of the host that is none. Node has set the words of the status already.
        response.statusMessage = ''
        return done(Object(error))
      }
      payload.sendTo(response.chunkedEncoding ? new ChunkedSink(response) : response)
    })
  })
}
