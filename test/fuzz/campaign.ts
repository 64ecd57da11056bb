// Throws what the generator makes at every server, and says what went wrong.
import type { AddressInfo } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { FastifyInstance } from 'fastify'
import { Client, SseClient, StatelessClient, STATELESS, until, within } from '../client.ts'
import { Chance } from './chance.ts'
import { Episode } from './episode.ts'
import { type Era, ERAS } from './grammar.ts'
import { shrink } from './shrink.ts'
import type { FuzzRequest } from './spoiled.ts'
import { CONFIGURATIONS, type LogLine, startSubject } from './subjects.ts'
import { DOCUMENTED } from './verdict.ts'

export interface Finding {
  readonly seed: number
  readonly subject: string
  readonly what: string
  /** What led to it, the last one smallest; none where it cannot be told. */
  readonly requests: readonly FuzzRequest[]
}

export interface Report {
  readonly seed: number
  /** How many requests were sent to each server. */
  readonly sent: Readonly<Record<string, number>>
  /** How often each status was answered. */
  readonly statuses: Readonly<Record<string, number>>
  /** Bytes of the heap after the first half, and after the second. */
  readonly heap: readonly [first: number, second: number]
  readonly findings: readonly Finding[]
}

export interface CampaignOptions {
  readonly seed: number
  /** Whether there is time for one more episode in a half. */
  readonly goesOn: (half: 0 | 1, episodes: number) => boolean
}

const LANES = 6
const MOST_FINDINGS = 8
// What `verify` gave wrong, and what a handler was told when it asked and its call was over.
const OF_HANDLERS = /^FST_MCP_(?:PRINCIPAL_INVALID|ASK_|ANSWER_|CAPABILITY_)/
const NOTHING = { streams: 0, calls: 0, subscriptions: 0, questions: 0 }

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')

async function heapAfterCollection (): Promise<number> {
  for (let times = 0; times < 3; times++) {
    collect()
    await new Promise(resolve => setImmediate(resolve))
  }
  return process.memoryUsage().heapUsed
}

/** One server and those who throw at it. */
class Field {
  readonly name: string
  readonly app: FastifyInstance
  readonly foreign: string[] = []
  sent = 0

  constructor (name: string, app: FastifyInstance) {
    this.name = name
    this.app = app
  }

  get port (): number {
    return (this.app.server.address() as AddressInfo).port
  }

  /** Whatever is offered changes, so that clients are told. */
  churn (chance: Chance): void {
    const { mcp } = this.app
    mcp.resourceUpdated('test://text')
    const name = `extra-${chance.below(1_000)}-${this.sent}`
    const handle = mcp.tool(name, {}, () => 'x')
    if (chance.is(0.5)) handle.disable()
    handle.remove()
  }
}

export class Campaign {
  readonly #options: CampaignOptions
  readonly #findings: Finding[] = []
  readonly #statuses = new Map<number, number>()
  readonly #fields: Field[] = []

  private constructor (options: CampaignOptions) {
    this.#options = options
  }

  static async run (options: CampaignOptions): Promise<Report> {
    const campaign = new Campaign(options)
    const undo = campaign.#watchProcess()
    try {
      return await campaign.#run()
    } finally {
      undo()
    }
  }

  async #run (): Promise<Report> {
    for (const name of Object.keys(CONFIGURATIONS)) {
      this.#fields.push(new Field(name, await startSubject(name, line => this.#logged(name, line))))
    }
    const heap: [number, number] = [0, 0]
    for (const half of [0, 1] as const) {
      const lanesOf = (field: Field, index: number) => Array.from({ length: LANES }, (_, lane) => this.#lane(field, half, index * LANES + lane))
      await Promise.all(this.#fields.flatMap(lanesOf))
      await Promise.all(this.#fields.map(field => this.#quiet(field)))
      heap[half] = await heapAfterCollection()
    }
    for (const field of this.#fields) await this.#stillServes(field)
    await Promise.all(this.#fields.map(field => this.#close(field)))
    const findings = []
    for (const finding of this.#findings) findings.push({ ...finding, requests: await shrink(finding) })
    const sent = Object.fromEntries(this.#fields.map(({ name, sent }) => [name, sent]))
    return { seed: this.#options.seed, sent, statuses: Object.fromEntries(this.#statuses), heap, findings }
  }

  #found (subject: string, what: string, requests: readonly FuzzRequest[] = []): void {
    const isKnown = this.#findings.some(finding => finding.subject === subject && finding.what === what)
    if (!isKnown && this.#findings.length < MOST_FINDINGS) this.#findings.push({ seed: this.#options.seed, subject, what, requests })
  }

  #logged (name: string, { msg, err }: LogLine): void {
    const code = err?.code ?? ''
    if (!DOCUMENTED.has(code) && !OF_HANDLERS.test(code)) this.#found(name, `logged: ${msg}: ${err?.stack ?? 'nothing more'}`)
  }

  #watchProcess (): () => void {
    const watch = (event: string) => {
      const listener = (reason: unknown): void => this.#found('process', `${event}: ${reason instanceof Error ? reason.stack : String(reason)}`)
      process.on(event, listener)
      return () => { process.off(event, listener) }
    }
    const undo = ['unhandledRejection', 'uncaughtException', 'warning'].map(watch)
    return () => { for (const each of undo) each() }
  }

  async #lane (field: Field, half: 0 | 1, number: number): Promise<void> {
    const chance = new Chance((this.#options.seed * 2 + half) * 100 + number)
    for (let episodes = 0; this.#options.goesOn(half, episodes) && this.#findings.length < MOST_FINDINGS; episodes++) {
      const { name: subject, port, foreign } = field
      const era = ERAS[(episodes + number) % ERAS.length] as Era
      const episode = new Episode({ chance, era, subject, port, foreign })
      for await (const { talk, wrong, trace } of episode.run()) {
        field.sent++
        for (const { status } of talk.responses) this.#statuses.set(status, (this.#statuses.get(status) ?? 0) + 1)
        if (wrong !== undefined) this.#found(field.name, wrong, trace)
        if (chance.is(0.05)) field.churn(chance)
      }
    }
  }

  /** Once all clients are gone, nothing is left of them but their sessions. */
  async #quiet ({ name, app }: Field): Promise<void> {
    const counts = (): object => {
      const { streams, calls, subscriptions, questions } = app.mcp.stats()
      return { streams, calls, subscriptions, questions }
    }
    try {
      await until(() => JSON.stringify(counts()) === JSON.stringify(NOTHING), 'quiet')
    } catch {
      this.#found(name, `left when all clients are gone: ${JSON.stringify(counts())}`)
    }
    const { sessions } = app.mcp.stats()
    const { options: { sessions: limits } } = CONFIGURATIONS[name] ?? { options: {} }
    if (sessions > (limits === false ? 0 : limits?.max ?? 0)) this.#found(name, `${sessions} sessions`)
  }

  async #stillServes ({ name, app, port }: Field): Promise<void> {
    const url = `http://127.0.0.1:${port}`
    const headers = { authorization: 'Bearer eve' }
    const isStateless = CONFIGURATIONS[name]?.options.sessions === false
    for (const era of ERAS) {
      if (era === 'http+sse' && isStateless) continue
      const add = async (): Promise<string | undefined> => {
        // The limits of a minute ago, and sessions that nobody ended, are in the way for a while.
        const client = era === 'http+sse'
          ? await SseClient.connect(url, { headers })
          : era === STATELESS ? new StatelessClient(url, { headers }) : await Client.connect(url, { revision: era, headers })
        const { result } = await client.call('add', { a: 1, b: 2 })
        if (client instanceof SseClient) await client.close()
        else if (client.sessionId !== undefined) await client.delete()
        return result?.content[0].text
      }
      let last: unknown
      const deadline = Date.now() + 10_000
      do last = await add().catch(error => error)
      while (last !== '3' && Date.now() < deadline && await new Promise(resolve => setTimeout(resolve, 50, true)))
      if (last !== '3') this.#found(name, `does not serve ${era} any more: ${String(last)}`)
    }
    await until(() => app.mcp.stats().streams === 0, 'the end of the last streams').catch(error => this.#found(name, String(error)))
  }

  async #close ({ name, app }: Field): Promise<void> {
    await within(app.close(), 'the server to close').catch(error => this.#found(name, String(error)))
  }
}
