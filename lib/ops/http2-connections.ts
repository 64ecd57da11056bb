import type { Http2Session, ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import type { EventEmitter } from 'node:events'

const known = new WeakMap<object, Http2Connections>()

/** The connections of a server over HTTP/2, each with its open streams, the host's and ours. */
export class Http2Connections {
  readonly #sessions = new Map<Http2Session, Set<ServerHttp2Stream>>()

  private constructor (server: EventEmitter) {
    server.on('session', (session: ServerHttp2Session) => {
      const streams = new Set<ServerHttp2Stream>()
      this.#sessions.set(session, streams)
      session.on('stream', stream => {
        streams.add(stream)
        stream.once('close', () => { streams.delete(stream) })
      })
      session.once('close', () => { this.#sessions.delete(session) })
    })
  }

  /** One for each server, however many scopes it has. */
  static of (server: EventEmitter): Http2Connections {
    const connections = known.get(server) ?? new Http2Connections(server)
    known.set(server, connections)
    return connections
  }

  /** The streams that are open on a connection. */
  streams (session: Http2Session): ReadonlySet<ServerHttp2Stream> {
    return new Set(this.#sessions.get(session))
  }

  /** Breaks the connections on which nothing is open. */
  close (): void {
    for (const [session, streams] of this.#sessions) if (streams.size === 0) session.destroy()
  }
}
