// Clients that answer questions, one shape for every era: those of a session answer requests on the stream of their call,
// those of 2026-07-28 call again with the answers.
import { ACCEPT, Client, EventStream, open, read, type Reply, type RpcMessage, send, SseClient, type Target } from './client.ts'

/** What a client was asked. `key`: the name of the question, where the client sees it. */
export interface Asked {
  readonly key?: string
  readonly id?: string | number
  readonly method: string
  readonly params: any
}

/** What a client answers: a result, or, in sessions, an error. */
export type Respond = (asked: Asked) => object | { error: { code: number, message: string } }

/** How a call ended, and what came before. */
export interface Outcome {
  readonly result: any
  readonly error: RpcMessage['error']
  readonly asked: readonly Asked[]
  /** The notifications, over all rounds. */
  readonly told: readonly RpcMessage[]
  /** How often the client called: 1 in sessions. */
  readonly rounds: number
}

/** A client of one era. */
export interface Asker {
  run (method: string, params: Record<string, unknown>, respond?: Respond): Promise<Outcome>
}

export interface Era {
  readonly name: string
  readonly revision: string
  readonly transport: 'http+sse' | 'sessions' | 'standalone'
  /** What it can be asked for. */
  readonly forms: boolean
  readonly urls: boolean
}

export const EVERYTHING = { elicitation: { form: {}, url: {} }, sampling: { tools: {} }, roots: { listChanged: true } }
const STATELESS = '2026-07-28'

const session = (revision: string, forms: boolean, urls: boolean, transport: 'http+sse' | 'sessions' = 'sessions'): Era =>
  ({ name: `${transport} at ${revision}`, revision, transport, forms, urls })

export const ERAS: readonly Era[] = [
  session('2024-11-05', false, false, 'http+sse'),
  session('2025-11-25', true, true, 'http+sse'),
  session('2025-03-26', false, false),
  session('2025-06-18', true, false),
  session('2025-11-25', true, true),
  { name: STATELESS, revision: STATELESS, transport: 'standalone', forms: true, urls: true }
]

export interface AskerOptions {
  readonly capabilities?: object
  readonly headers?: Record<string, string>
}

/** Connects a client of an era that declares everything unless it is told otherwise. */
export async function connectAsker (target: Target, era: Era, { capabilities = EVERYTHING, headers = {} }: AskerOptions = {}): Promise<Asker> {
  const { revision, transport } = era
  if (transport === 'standalone') return new Standalone(target, { capabilities, headers })
  if (transport === 'http+sse') return overSse(await SseClient.connect(target, { revision, capabilities, headers }))
  return overSession(target, await Client.connect(target, { revision, capabilities, headers }))
}

export const isQuestion = ({ method, id }: RpcMessage): boolean => method !== undefined && id !== undefined
const isNews = ({ method, id }: RpcMessage): boolean => method !== undefined && id === undefined

/** An answer as it is sent. */
export const answerTo = (id: unknown, answer: object): object => ({ jsonrpc: '2.0', id, ...('error' in answer ? answer : { result: answer }) })

const NO_ANSWER: Respond = ({ method }) => { throw new Error(`nobody expected ${method}`) }

interface Conversation {
  next (): Promise<RpcMessage>
  post (body: object): Promise<Reply>
}

/** Answers what is asked until the call is answered. */
async function converse (id: number, { next, post }: Conversation, respond: Respond): Promise<Outcome> {
  const asked: Asked[] = []
  const told: RpcMessage[] = []
  for (;;) {
    const message = await next()
    if (isNews(message)) told.push(message)
    else if (isQuestion(message)) {
      const question = { id: message.id ?? 0, method: message.method ?? '', params: message.params }
      asked.push(question)
      const { status, text } = await post(answerTo(message.id, respond(question)))
      if (status !== 202) throw new Error(`the answer was refused: ${status} ${text}`)
    } else if (message.id === id) return { result: message.result, error: message.error, asked, told, rounds: 1 }
  }
}

function overSession (target: Target, client: Client): Asker {
  return {
    async run (method, params, respond = NO_ANSWER) {
      const id = client.nextId()
      const opened = await open(target, '/mcp', { method: 'POST', headers: client.headers, body: { jsonrpc: '2.0', id, method, params } })
      if (String(opened.headers['content-type']).startsWith('application/json')) {
        const { messages: [{ result, error } = { result: undefined, error: undefined }] } = await read(opened)
        return { result, error, asked: [], told: [], rounds: 1 }
      }
      const stream = new EventStream(opened)
      return converse(id, { next: () => stream.message(), post: body => client.post(body) }, respond)
    }
  }
}

function overSse (client: SseClient): Asker {
  return {
    async run (method, params, respond = NO_ANSWER) {
      const id = client.nextId()
      await client.post({ jsonrpc: '2.0', id, method, params })
      return converse(id, { next: () => client.stream.message(), post: body => client.post(body) }, respond)
    }
  }
}

const PREFIX = 'io.modelcontextprotocol/'
const NAMED_BY: Record<string, string> = { 'tools/call': 'name', 'prompts/get': 'name', 'resources/read': 'uri' }

/** One request of 2026-07-28 and the last message of its response. */
export interface Round extends Reply {
  readonly last: RpcMessage
}

export interface StandaloneOptions extends AskerOptions {
  readonly logLevel?: string
}

/** A client of 2026-07-28. */
export class Standalone implements Asker {
  readonly target: Target
  readonly capabilities: object
  readonly headers: Record<string, string>
  readonly logLevel: string | undefined
  #ids = 0

  constructor (target: Target, { capabilities = EVERYTHING, headers = {}, logLevel }: StandaloneOptions = {}) {
    this.target = target
    this.capabilities = capabilities
    this.headers = headers
    this.logLevel = logLevel
  }

  /** What a request looks like. */
  init (method: string, params: Record<string, unknown> = {}): { method: string, headers: Record<string, string>, body: object } {
    const named = NAMED_BY[method]
    const { _meta, ...rest } = params
    const meta = {
      [`${PREFIX}protocolVersion`]: STATELESS,
      [`${PREFIX}clientCapabilities`]: this.capabilities,
      ...(this.logLevel !== undefined && { [`${PREFIX}logLevel`]: this.logLevel }),
      ...Object(_meta)
    }
    return {
      method: 'POST',
      headers: {
        accept: ACCEPT,
        'mcp-protocol-version': STATELESS,
        'mcp-method': method,
        ...(named !== undefined && { 'mcp-name': String(params[named]) }),
        ...this.headers
      },
      body: { jsonrpc: '2.0', id: ++this.#ids, method, params: { ...rest, _meta: meta } }
    }
  }

  /** One request, whole. */
  async round (method: string, params?: Record<string, unknown>): Promise<Round> {
    const reply = await send(this.target, '/mcp', this.init(method, params))
    const last = reply.messages.at(-1)
    if (last === undefined) throw new Error(`no answer to ${method}: ${reply.status} ${reply.text}`)
    return { ...reply, last }
  }

  /** The answers to the questions of a round. */
  answers ({ last }: Round, respond: Respond, asked: Asked[] = []): Record<string, unknown> {
    const questions = Object.entries<{ method: string, params: unknown }>(last.result.inputRequests)
    return Object.fromEntries(questions.map(([key, { method, params }]) => {
      const question = { key, method, params }
      asked.push(question)
      return [key, respond(question)]
    }))
  }

  async run (method: string, params: Record<string, unknown>, respond: Respond = NO_ANSWER): Promise<Outcome> {
    const asked: Asked[] = []
    const told: RpcMessage[] = []
    let brought = {}
    for (let rounds = 1; ; rounds++) {
      const round = await this.round(method, { ...params, ...brought })
      told.push(...round.messages.filter(isNews))
      const { result, error } = round.last
      if (result?.resultType !== 'input_required') return { result, error, asked, told, rounds }
      brought = { requestState: result.requestState, inputResponses: this.answers(round, respond, asked) }
    }
  }
}
