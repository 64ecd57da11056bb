import { Server as HttpServer, type IncomingMessage } from 'node:http'
import { Server as HttpsServer } from 'node:https'
import type { Socket } from 'node:net'

const known = new WeakMap<object, FreshSockets>()

/**
 * The connections of a server on which no request has come yet. Browsers and `fetch` open them ahead of need, and Node waits out
 * its header time-out for each when the server closes.
 */
export class FreshSockets {
  readonly #sockets = new Set<Socket>()

  private constructor (server: HttpServer | HttpsServer) {
    server.on(server instanceof HttpsServer ? 'secureConnection' : 'connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => { this.#sockets.delete(socket) })
    })
    server.on('request', ({ socket }: IncomingMessage) => { this.#sockets.delete(socket) })
  }

  /** One for each server, however many scopes it has. Null for HTTP/2, whose connections are met with their first request. */
  static of (server: object): FreshSockets | null {
    if (!(server instanceof HttpServer || server instanceof HttpsServer)) return null
    const sockets = known.get(server) ?? new FreshSockets(server)
    known.set(server, sockets)
    return sockets
  }

  close (): void {
    // One that was upgraded has carried a request, of which the server never told.
    for (const socket of this.#sockets) if (socket.bytesRead === 0) socket.destroy()
  }
}
