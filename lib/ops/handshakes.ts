import type { Socket } from 'node:net'
import { Server } from 'node:tls'

const known = new WeakMap<object, Handshakes>()

/** The connections of a server over TLS that are not secure yet: Node gives each two minutes, also while the server closes. */
export class Handshakes {
  /** By their other end: what becomes of one is told with another socket. */
  readonly #sockets = new Map<string, Socket>()

  private constructor (server: Server) {
    server.on('connection', (socket: Socket) => {
      const end = otherEnd(socket)
      this.#sockets.set(end, socket)
      socket.once('close', () => { if (this.#sockets.get(end) === socket) this.#sockets.delete(end) })
    })
    server.on('secureConnection', (socket: Socket) => { this.#sockets.delete(otherEnd(socket)) })
  }

  /** One for each server, however many scopes it has. Null without TLS. */
  static of (server: object): Handshakes | null {
    if (!(server instanceof Server)) return null
    const handshakes = known.get(server) ?? new Handshakes(server)
    known.set(server, handshakes)
    return handshakes
  }

  close (): void {
    for (const socket of this.#sockets.values()) socket.destroy()
  }
}

function otherEnd ({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}
