// Sends every single request to another node: what no client and no session id can rely on.
import { once } from 'node:events'
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Test } from 'tap'

/** How many bytes of a stream pass before its connection breaks; undefined: all. Those of its first packet always do. */
export type Fate = () => number | undefined

export class Balancer {
  /** Where the nodes are. */
  readonly nodes: string[]
  /** Those that get nothing, as a health check would have it. */
  readonly down = new Set<string>()
  /** The node and the line of every request. */
  readonly log: { node: string, line: string }[] = []
  fate: Fate = () => undefined
  /** Which of so many nodes is next. */
  readonly #choose: (count: number) => number
  readonly #sockets = new Set<Socket>()
  readonly #server = createServer((incoming, reply) => {
    this.#pass(incoming, reply).catch(error => reply.destroy(error))
  })

  private constructor (nodes: readonly string[], choose: (count: number) => number) {
    this.nodes = [...nodes]
    this.#choose = choose
    this.#server.on('connection', socket => {
      this.#sockets.add(socket)
      socket.on('close', () => this.#sockets.delete(socket))
    })
  }

  /** One node after the other, unless `choose` says which. */
  static async start (t: Test, nodes: readonly string[], choose?: (count: number) => number): Promise<Balancer> {
    let turn = 0
    const balancer = new Balancer(nodes, choose ?? (count => turn++ % count))
    balancer.#server.listen(0, '127.0.0.1')
    await once(balancer.#server, 'listening')
    t.teardown(() => {
      balancer.cut()
      balancer.#server.close()
    })
    return balancer
  }

  get url (): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** Breaks all connections to clients. */
  cut (): void {
    this.#sockets.forEach(socket => socket.destroy())
  }

  async #pass (incoming: IncomingMessage, reply: ServerResponse): Promise<void> {
    const body: Buffer[] = []
    for await (const chunk of incoming) body.push(chunk)
    const up = this.nodes.filter(node => !this.down.has(node))
    const first = this.#choose(up.length)
    // A node that refuses the connection has heard nothing, so the next one may.
    const order = [...up.slice(first), ...up.slice(0, first)]
    for (const node of order) {
      if (await this.#try(node, incoming, Buffer.concat(body), reply)) return
    }
    reply.writeHead(502).end()
  }

  async #try (node: string, { method, url = '/', headers }: IncomingMessage, body: Buffer, reply: ServerResponse): Promise<boolean> {
    const outgoing = request(new URL(url, node), { method, headers: { ...headers, connection: 'close' }, agent: false })
    reply.on('close', () => outgoing.destroy())
    const wasHeard = new Promise<boolean>(resolve => {
      outgoing.on('error', error => {
        const isRefused = 'code' in error && error.code === 'ECONNREFUSED'
        if (!isRefused) reply.destroy()
        resolve(!isRefused)
      })
      outgoing.on('response', response => {
        this.log.push({ node, line: `${method} ${url}` })
        this.#answer(response, reply)
        resolve(true)
      })
    })
    outgoing.end(body)
    return wasHeard
  }

  #answer (response: IncomingMessage, reply: ServerResponse): void {
    const { connection, 'keep-alive': keepAlive, ...headers } = response.headers
    reply.writeHead(response.statusCode ?? 502, headers)
    reply.flushHeaders()
    response.on('error', () => reply.destroy())
    response.on('close', () => { if (!response.complete) reply.destroy() })
    const isStream = headers['content-type']?.startsWith('text/event-stream') === true
    pass(response, reply, isStream ? this.fate() : undefined)
  }
}

/** Breaks the connection after so many bytes: in the middle of an event, as connections break. */
function pass (response: IncomingMessage, reply: ServerResponse, most = Infinity): void {
  let left = Infinity
  response.on('data', (chunk: Buffer) => {
    if (chunk.length > left) {
      response.pause()
      reply.write(chunk.subarray(0, left), () => reply.destroy())
      return
    }
    left = left === Infinity ? most : left - chunk.length
    if (reply.write(chunk)) return
    response.pause()
    reply.once('drain', () => response.resume())
  })
  response.on('end', () => reply.end())
}
