import { Server as HttpServer, type IncomingMessage } from 'node:http'
import { Server as HttpsServer } from 'node:https'
import { Socket } from 'node:net'

const known = new WeakMap<object, FreshSockets>()

// After these a connection is no longer one of HTTP.
const HANDED_ON = ['upgrade', 'connect']

/**
 * The connections of a server on which no whole request has come yet. Browsers and `fetch` open them ahead of need, and Node waits out
 * its time-outs for each when the server closes: a minute for the head of a request, five for its body.
 */
export class FreshSockets {
  /** With the request whose body is still to come. */
  readonly #sockets = new Map<Socket, IncomingMessage | null>()

  private constructor (server: HttpServer | HttpsServer) {
    server.on(server instanceof HttpsServer ? 'secureConnection' : 'connection', (socket: Socket) => {
      this.#sockets.set(socket, null)
      socket.once('close', () => { this.#sockets.delete(socket) })
    })
    server.prependListener('request', ({ socket }: IncomingMessage) => { this.#sockets.delete(socket) })
    for (const event of HANDED_ON) this.#leave(server, event)
  }

  /** Whoever listens takes the connection over. Only then: Node answers such a request itself while nobody does. */
  #leave (server: HttpServer, event: string): void {
    const leave = (_request: IncomingMessage, socket: Socket): void => { this.#sockets.delete(socket) }
    const isAlone = (): boolean => server.listeners(event).every(listener => listener === leave)
    const listen = (): void => { if (!server.listeners(event).includes(leave)) server.prependListener(event, leave) }
    if (!isAlone()) listen()
    server.on('newListener', (name, listener) => { if (name === event && listener !== leave) listen() })
    server.on('removeListener', name => { if (name === event && isAlone()) server.off(event, leave) })
  }

  /** One for each server, however many scopes it has. Null for HTTP/2, whose connections are met with their first request. */
  static of (server: object): FreshSockets | null {
    if (!(server instanceof HttpServer || server instanceof HttpsServer)) return null
    const sockets = known.get(server) ?? new FreshSockets(server)
    known.set(server, sockets)
    return sockets
  }

  /** The head of a request of ours has come. */
  expect (request: IncomingMessage): void {
    // `app.inject` has none.
    if (request.socket instanceof Socket) this.#sockets.set(request.socket, request)
  }

  /** So has its body. */
  arrived ({ socket }: IncomingMessage): void {
    this.#sockets.delete(socket)
  }

  close (): void {
    for (const [socket, request] of this.#sockets) if (request?.complete !== true) socket.destroy()
  }
}
