// One client for every era, for what a server offers on all of them alike.
import { request } from 'node:http'
import type { FastifyInstance } from 'fastify'
import type { McpOptions } from 'fastify-mcp-sse'
import type { Test } from 'tap'
import { ACCEPT, Client, createApp, EventStream, listen, readJson, type Reply, REVISIONS, type RpcMessage, send, SseClient, within } from './client.ts'

/** Each way to be served: HTTP+SSE, Streamable HTTP with sessions and without, and requests that stand for themselves. */
export const ERAS = ['http+sse', ...REVISIONS, 'sessionless', '2026-07-28'] as const
export type Era = typeof ERAS[number]

/** The revision that an era is answered in. */
export function revisionOf (era: Era): Exclude<Era, 'http+sse' | 'sessionless'> {
  if (era === 'http+sse') return '2024-11-05'
  return era === 'sessionless' ? '2025-11-25' : era
}

/** A request whose answer may never come. */
interface Running {
  /** The answer; undefined when there is none. */
  readonly answer: Promise<RpcMessage | undefined>
  /** Gives it up, as the era does: by cancelling it, or by leaving. */
  stop (): Promise<unknown>
}

/** What a client of any era can do. */
export interface Peer {
  readonly era: Era
  readonly capabilities: any
  /** What the server says of itself. */
  readonly serverInfo: any
  request (method: string, params?: object): Promise<RpcMessage>
  /** POSTs one request and gives the bare text of its answer, without its id. */
  raw (method: string, params?: object): Promise<string>
  start (method: string, params?: object): Running
  /** Opens what the server tells of changes on; null where nothing is told. */
  hear (resources?: string[]): Promise<EventStream | null>
}

const META = 'io.modelcontextprotocol/'

/** A header that mirrors a name, as clients of 2026-07-28 write it. */
const mirror = (value: string): string => /^[!-~]*$/.test(value) ? value : `=?base64?${Buffer.from(value).toString('base64')}?=`

/** A client of 2026-07-28. */
export class StandaloneClient {
  readonly url: string
  readonly headers: Record<string, string>
  #ids = 0

  constructor (url: string, headers: Record<string, string> = {}) {
    this.url = url
    this.headers = headers
  }

  nextId (): number {
    return ++this.#ids
  }

  /** The body and the headers of one request. */
  write (id: number, method: string, params: object = {}): { headers: Record<string, string>, body: object } {
    const { _meta, ...rest }: Record<string, unknown> = { ...params }
    const name = ['resources/read'].includes(method) ? rest.uri : ['tools/call', 'prompts/get'].includes(method) ? rest.name : undefined
    return {
      headers: {
        accept: ACCEPT,
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': method,
        ...(typeof name === 'string' && { 'mcp-name': mirror(name) }),
        ...this.headers
      },
      body: {
        jsonrpc: '2.0',
        id,
        method,
        params: { ...rest, _meta: { [`${META}protocolVersion`]: '2026-07-28', [`${META}clientCapabilities`]: {}, ...Object(_meta) } }
      }
    }
  }

  post (method: string, params?: object): Promise<Reply> {
    return send(this.url, '/mcp', { method: 'POST', ...this.write(this.nextId(), method, params) })
  }

  stream (method: string, params?: object): Promise<EventStream> {
    return EventStream.open(this.url, '/mcp', { method: 'POST', ...this.write(this.nextId(), method, params) })
  }
}

function first (reply: Reply): RpcMessage {
  const answer = reply.messages.find(({ method }) => method === undefined)
  if (answer === undefined) throw new Error(`no answer: ${reply.status} ${reply.text}`)
  return answer
}

const withoutId = ({ id: _, ...rest }: RpcMessage): string => JSON.stringify(rest)

/** Sends a request whose connection can be broken before anything came back. */
function ask (url: string, headers: Record<string, string>, body: object): { answer: Promise<RpcMessage | undefined>, leave: () => Promise<void> } {
  const outgoing = request(new URL('/mcp', url), { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, agent: false })
  outgoing.on('error', () => {})
  const closed = new Promise<void>(resolve => { outgoing.once('close', resolve) })
  const answer = new Promise<RpcMessage | undefined>((resolve, reject) => {
    outgoing.once('close', () => resolve(undefined))
    outgoing.once('response', response => {
      let text = ''
      response.on('error', () => {}).setEncoding('utf8').on('data', chunk => { text += chunk }).on('end', () => {
        const json = text.startsWith('{') ? text : text.split('\n').findLast(line => line.startsWith('data: {'))?.slice('data: '.length)
        if (json === undefined) return resolve(undefined)
        try {
          resolve(readJson(json))
        } catch (error) {
          reject(error)
        }
      })
    })
  })
  outgoing.end(JSON.stringify(body))
  return { answer, leave: async () => { outgoing.destroy(); await closed } }
}

async function standalone (url: string, headers: Record<string, string>): Promise<Peer> {
  const client = new StandaloneClient(url, headers)
  const { result } = first(await client.post('server/discover'))
  const request = async (method: string, params?: object): Promise<RpcMessage> => first(await client.post(method, params))
  return {
    era: '2026-07-28',
    capabilities: result.capabilities,
    serverInfo: result._meta[`${META}serverInfo`],
    request,
    raw: async (method, params) => withoutId(await request(method, params)),
    start (method, params) {
      const written = client.write(client.nextId(), method, params)
      const { answer, leave } = ask(url, written.headers, written.body)
      return { answer, stop: leave }
    },
    async hear (resourceSubscriptions = []) {
      const all = { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true, resourceSubscriptions }
      const stream = await client.stream('subscriptions/listen', { notifications: all })
      await stream.message(({ method }) => method === 'notifications/subscriptions/acknowledged')
      return stream
    }
  }
}

async function overHttp (url: string, headers: Record<string, string>, era: Era): Promise<Peer> {
  const client = await Client.connect(url, { revision: revisionOf(era), headers })
  return {
    era,
    capabilities: client.server.capabilities,
    serverInfo: client.server.serverInfo,
    request: (method, params) => client.request(method, params),
    raw: async (method, params) => withoutId(await client.request(method, params)),
    start (method, params) {
      const id = client.nextId()
      const { answer, leave } = ask(url, client.headers, { jsonrpc: '2.0', id, method, params })
      return { answer, stop: era === 'sessionless' ? leave : () => client.cancel(id) }
    },
    async hear (resources = []) {
      if (era === 'sessionless') return null
      for (const uri of resources) await client.request('resources/subscribe', { uri })
      return client.get()
    }
  }
}

async function overSse (url: string, headers: Record<string, string>): Promise<Peer> {
  const client = await SseClient.open(url, { headers })
  const hello = { protocolVersion: '2024-11-05', capabilities: {}, clientInfo: { name: 'peer', version: '1.0.0' } }
  const { result } = await client.request('initialize', hello)
  return {
    era: 'http+sse',
    capabilities: result.capabilities,
    serverInfo: result.serverInfo,
    request: (method, params) => client.request(method, params),
    raw: async (method, params) => withoutId(await client.request(method, params)),
    start (method, params) {
      const id = client.nextId()
      const sent = client.post({ jsonrpc: '2.0', id, method, params })
      let isClosed = false
      client.stream.closed.then(() => { isClosed = true })
      // Others read the same stream, so that nothing may be taken from it here.
      const wait = async (): Promise<RpcMessage | undefined> => {
        await sent
        for (;;) {
          const answer = client.stream.messages.find(message => message.id === id && message.method === undefined)
          if (answer !== undefined || isClosed) return answer
          await new Promise(resolve => setTimeout(resolve, 2))
        }
      }
      return {
        answer: wait(),
        stop: async () => {
          await sent
          return client.notify('notifications/cancelled', { requestId: id })
        }
      }
    },
    async hear (resources = []) {
      for (const uri of resources) await client.request('resources/subscribe', { uri })
      return client.stream
    }
  }
}

export interface Offering {
  readonly app: FastifyInstance
  /** Lines of the log, parsed. */
  readonly logs: { level: number, msg: string, err?: { code?: string, message: string } }[]
  /** Another client, of anybody whose bearer token is given. */
  peer (token?: string): Promise<Peer>
  /** Resolves when no call is in progress any more. */
  idle (): Promise<void>
}

/** An app on a free port for clients of one era. Everything is to be registered before the first `peer`, or told as a change. */
export async function offer (t: Test, era: Era, options: McpOptions = {}): Promise<Offering> {
  const logs: Offering['logs'] = []
  const stream = { write: (line: string) => { logs.push(JSON.parse(line)) } }
  const app = await createApp(t, { ...options, ...(era === 'sessionless' && { sessions: false as const }) }, { logger: { level: 'warn', stream } })
  let listening: Promise<string> | undefined
  return {
    app,
    logs,
    async peer (token) {
      const url = await (listening ??= listen(app))
      const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` }
      if (era === '2026-07-28') return standalone(url, headers)
      return era === 'http+sse' ? overSse(url, headers) : overHttp(url, headers, era)
    },
    async idle () {
      await within((async () => {
        while (app.mcp.stats().calls > 0) await new Promise(resolve => setTimeout(resolve, 2))
      })(), 'the end of all calls')
    }
  }
}

/** Bearer tokens are the names of their principals. */
export const AUTH = { tokens: ['alice', 'bob'].map(name => ({ token: name, principal: name })) }

/** What never comes. */
export const never = new Promise<never>(() => {})
