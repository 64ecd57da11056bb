import { Server as HttpServer, type IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Server as TlsServer, type TLSSocket } from 'node:tls'

const known = new WeakMap<object, Connections>()

// After these a connection is no longer one of HTTP.
const HANDED_ON = ['upgrade', 'connect']
// How often it is looked whether all is answered, while the server closes.
const LOOK_MS = 10

/** The response that is being written on a connection; null between two, undefined before the first. Node has no other word for it. */
function current (socket: Socket): { readonly req: unknown } | null | undefined {
  return Reflect.get(socket, '_httpMessage')
}

/**
 * The connections of a server over HTTP/1.1, so that closing it waits for none in vain: Node waits a minute for the rest of a head, five
 * for a body, and for connections whose last answer came while it closed. What the host answers is not touched.
 */
export class Connections {
  readonly #sockets = new Set<Socket>()
  /** On which no request has come. */
  readonly #fresh = new Set<Socket>()
  /** With the last request of ours. */
  readonly #ours = new Map<Socket, IncomingMessage>()

  private constructor (server: HttpServer | TlsServer) {
    server.on(server instanceof TlsServer ? 'secureConnection' : 'connection', (socket: Socket | TLSSocket) => {
      // A server that speaks both.
      if ('alpnProtocol' in socket && socket.alpnProtocol === 'h2') return
      this.#sockets.add(socket)
      this.#fresh.add(socket)
      socket.once('close', () => this.#forget(socket))
    })
    server.prependListener('request', ({ socket }: IncomingMessage) => { this.#fresh.delete(socket) })
    for (const event of HANDED_ON) this.#leave(server, event)
  }

  /** One for each server, however many scopes it has. Null where there is HTTP/2 alone. */
  static of (server: object): Connections | null {
    if (!(server instanceof HttpServer || server instanceof TlsServer)) return null
    const connections = known.get(server) ?? new Connections(server)
    known.set(server, connections)
    return connections
  }

  #forget (socket: Socket): void {
    this.#sockets.delete(socket)
    this.#fresh.delete(socket)
    this.#ours.delete(socket)
  }

  /** Whoever listens takes the connection over. Only then: Node answers such a request itself while nobody does. */
  #leave (server: HttpServer | TlsServer, event: string): void {
    const leave = (_request: IncomingMessage, socket: Socket): void => this.#forget(socket)
    const isAlone = (): boolean => server.listeners(event).every(listener => listener === leave)
    const listen = (): void => { if (!server.listeners(event).includes(leave)) server.prependListener(event, leave) }
    if (!isAlone()) listen()
    server.on('newListener', (name, listener) => { if (name === event && listener !== leave) listen() })
    server.on('removeListener', name => { if (name === event && isAlone()) server.off(event, leave) })
  }

  /** The head of a request of ours has come. */
  claim (request: IncomingMessage): void {
    // Over HTTP/2 and with `app.inject` there is none.
    if (this.#sockets.has(request.socket)) this.#ours.set(request.socket, request)
  }

  /** Whether a request of ours is not answered yet: its body is on its way, or whoever should say something does not. */
  #isAtWork (socket: Socket): boolean {
    const request = current(socket)?.req
    return request !== undefined && request === this.#ours.get(socket)
  }

  /** Waits for answers of ours for at most `ms`, then breaks what nobody waits for. */
  async close (ms: number): Promise<void> {
    const deadline = performance.now() + ms
    const isWaiting = (): boolean => [...this.#sockets].some(socket => this.#isAtWork(socket))
    while (isWaiting() && performance.now() < deadline) await sleep(LOOK_MS)
    for (const socket of this.#sockets) {
      if (this.#fresh.has(socket) || current(socket) === null || this.#isAtWork(socket)) socket.destroy()
    }
  }
}
