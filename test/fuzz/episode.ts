// The life of one client that does not behave, from its first request to its last.
import type { Chance } from './chance.ts'
import { STATELESS } from '../client.ts'
import { type Era, headersOf, initialize, postOf } from './grammar.ts'
import { type RawResponse, RawSocket, type Talk } from './raw-socket.ts'
import { type FuzzRequest, stepOf } from './spoiled.ts'
import { CONFIGURATIONS } from './subjects.ts'
import { judge } from './verdict.ts'
import { owed, piecesOf } from './wire-shapes.ts'

export interface EpisodeOptions {
  readonly chance: Chance
  readonly era: Era
  readonly subject: string
  readonly port: number
  /** Ids of sessions that others began. */
  readonly foreign: string[]
}

/** What came of one request. */
export interface Step {
  readonly talk: Talk
  readonly wrong: string | undefined
  /** Everything that was sent so far, this request last. */
  readonly trace: readonly FuzzRequest[]
}

// No request of a client that waits lasts longer than a handler or a question may.
const PATIENCE_MS = 20_000
const MOST_HELD = 3
const MOST_FOREIGN = 8

/** Streams that have no end of their own. */
function isEnough (request: FuzzRequest): (response: RawResponse) => boolean {
  return ({ headers, body }) => {
    if (!String(headers.get('content-type')).startsWith('text/event-stream')) return false
    return body !== '' && (request.method === 'GET' || request.ending === 'hold' || body.includes('notifications/subscriptions/acknowledged'))
  }
}

export class Episode {
  readonly #options: EpisodeOptions
  readonly #live = new Map<string, string>()
  readonly #held: RawSocket[] = []
  readonly #trace: FuzzRequest[] = []
  readonly #token: string

  constructor (options: EpisodeOptions) {
    this.#options = options
    this.#token = options.chance.pick(['ada', 'bob'])
  }

  async * run (): AsyncGenerator<Step> {
    const { chance, era } = this.#options
    try {
      if (chance.is(0.9)) for (const request of opening(era)) yield await this.send(request)
      for (let left = 4 + chance.below(8); left > 0; left--) {
        yield await this.send(stepOf(chance, era))
        if (chance.is(0.2) || this.#held.length > MOST_HELD) this.#held.shift()?.close()
      }
    } finally {
      for (const socket of this.#held) socket.close()
    }
  }

  /** Sends one request, with what is known by now in the place of «marks». */
  async send (given: FuzzRequest): Promise<Step> {
    const { subject, port, foreign } = this.#options
    for (const { text } of this.#held) this.#learn(text)
    const request = this.#dress(given)
    this.#trace.push(given)
    const socket = new RawSocket(port)
    const manners = { ending: request.ending, owed: owed(request.shape), isHead: request.method === 'HEAD', isEnough: isEnough(request), patience: PATIENCE_MS }
    const talk = await socket.talk(piecesOf(request, request.shape, request.salt), manners)
    if (request.ending === 'hold') this.#held.push(socket)
    this.#learn(socket.text)
    for (const name of ['session', 'sse']) {
      const id = this.#live.get(name)
      if (id !== undefined && !foreign.includes(id)) foreign.push(id)
    }
    foreign.splice(0, foreign.length - MOST_FOREIGN)
    const isStateless = CONFIGURATIONS[subject]?.options.sessions === false
    return { talk, wrong: judge(request, talk, isStateless), trace: [...this.#trace] }
  }

  #learn (text: string): void {
    const learn = (name: string, pattern: RegExp): void => {
      const found = [...text.matchAll(pattern)].at(-1)?.[1]
      if (found !== undefined) this.#live.set(name, found)
    }
    learn('session', /^mcp-session-id: ([\w-]+)/gim)
    learn('sse', /sessionId=([\w-]+)/g)
    learn('event', /^id: ([\w.-]+)/gm)
    learn('cursor', /"nextCursor":"([^"]+)"/g)
    learn('state', /"requestState":"([^"]+)"/g)
    learn('question', /"id":"?([\w-]+)"?,"method":/g)
    learn('id', /"progressToken":"?([\w-]+)/g)
  }

  #dress (given: FuzzRequest): FuzzRequest {
    const { foreign, subject } = this.#options
    const known = (text: string): string => text.replace(/«(\w+)»/g, (_mark, name) => (name === 'foreign' ? foreign[0] : this.#live.get(name)) ?? 'none')
    const headers = given.headers.map(([name, value]): [string, string] => [name, known(value)])
    const add = (name: string, value: string): void => {
      if (!headers.some(([other]) => other.toLowerCase() === name)) headers.unshift([name, value])
    }
    if (CONFIGURATIONS[subject]?.options.auth) add('authorization', `Bearer ${this.#token}`)
    add('host', 'localhost')
    return { ...given, target: known(given.target), headers, body: given.body === undefined ? undefined : known(given.body) }
  }
}

/** How a client of an era begins. */
function opening (era: Era): FuzzRequest[] {
  const sound = { shape: 'whole', ending: 'read', salt: 0 } as const
  if (era === STATELESS) return []
  const hello = { ...postOf(era, initialize(era)), ...sound }
  if (era === 'http+sse') return [{ method: 'GET', target: '/sse', headers: headersOf(era), body: undefined, ...sound, ending: 'hold' }, hello]
  return [{ ...hello, headers: hello.headers.filter(([name]) => name !== 'mcp-session-id') }]
}
