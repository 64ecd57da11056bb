// Many streams at once, whose connections break at random and which go on at random nodes. Each chunk says whose it is and which:
// what is missing, comes twice or belongs to somebody else is a fault.
import { setTimeout as sleep } from 'node:timers/promises'
import type { EventSourceMessage } from 'eventsource-parser'
import { Client, EventStream, type RpcMessage } from '../client.ts'
import { Chance } from '../fuzz/chance.ts'

export interface ChroniclePlan {
  readonly url: string
  readonly seed: number
  /** Calls in all. */
  readonly streams: number
  /** How many sessions go on at once, on each transport. */
  readonly lanes: number
  /** Nodes are killed meanwhile: calls may end in an error, and sessions of HTTP+SSE may be gone. */
  readonly isHurt: boolean
}

export interface Account {
  /** Calls that were answered. */
  answered: number
  /** Calls that ended in an error or were lost, because a node was killed. */
  lost: number
  /** Calls whose connection broke before their first event: there is nothing to come back to. */
  unseen: number
  /** Connections that were opened again. */
  resumed: number
  /** Event ids. */
  readonly ids: Set<string>
  /** What must not be, the first of them. */
  readonly faults: string[]
}

interface Counted {
  readonly tag: string
  readonly chunks: number
  readonly size: number
  readonly every: number
}

const MOST_FAULTS = 10
const MOST_ATTEMPTS = 500
const BATCH = 6
/** What a call may end in whose node was killed. */
const ENDED_WITH_NODE = new Set(['FST_MCP_NODE_GONE', 'FST_MCP_REPLAY_GAP', 'FST_MCP_CLOSING'])

/** One call and what is known of its answer. */
class Count {
  readonly id: number
  readonly args: Counted
  readonly #account: Account
  readonly #isHurt: boolean
  next = 1
  isOver = false
  /** Nobody waits for its answer any more, which may come all the same. */
  #isGivenUp = false

  constructor (id: number, args: Counted, account: Account, isHurt: boolean) {
    this.id = id
    this.args = args
    this.#account = account
    this.#isHurt = isHurt
  }

  get body (): object {
    const { tag, ...rest } = this.args
    return { jsonrpc: '2.0', id: this.id, method: 'tools/call', params: { name: 'count', arguments: { tag, ...rest }, _meta: { progressToken: tag } } }
  }

  /** Whether the message was of this call. */
  take (message: RpcMessage): boolean {
    const { tag, chunks } = this.args
    const isChunk = message.method === 'notifications/progress' && message.params.progressToken === tag
    if (this.#isGivenUp) return isChunk || message.id === this.id
    if (isChunk) {
      if (this.isOver) fault(this.#account, `${tag}: a chunk after the answer`)
      const said = String(message.params.message).trimEnd()
      if (said !== `${tag}:${this.next}`) fault(this.#account, `${tag}: ${said} in the place of ${this.next}`)
      this.next++
      return true
    }
    if (message.method !== undefined || message.id !== this.id) return false
    if (this.isOver) fault(this.#account, `${tag}: answered twice`)
    this.isOver = true
    if (message.error !== undefined) this.#failed(message.error)
    else if (this.next !== chunks + 1) fault(this.#account, `${tag}: answered after ${this.next - 1} of ${chunks} chunks`)
    else if (!JSON.stringify(message.result).includes(`${tag} counted to ${chunks}`)) fault(this.#account, `${tag}: answered with ${JSON.stringify(message.result).slice(0, 200)}`)
    else this.#account.answered++
    return true
  }

  #failed ({ message, data }: NonNullable<RpcMessage['error']>): void {
    if (this.#isHurt && ENDED_WITH_NODE.has(data.code)) this.#account.lost++
    else fault(this.#account, `${this.args.tag}: ${message}`)
  }

  lose (why: string): void {
    if (this.isOver) return
    this.isOver = this.#isGivenUp = true
    if (this.#isHurt) this.#account.lost++
    else fault(this.#account, `${this.args.tag}: ${why} after ${this.next - 1} chunks`)
  }
}

function fault (account: Account, what: string): void {
  if (account.faults.length < MOST_FAULTS) account.faults.push(what)
}

/** The numbers of one stream follow each other. */
class Numbering {
  readonly #account: Account
  readonly #isHurt: boolean
  last: string | undefined

  constructor (account: Account, isHurt: boolean) {
    this.#account = account
    this.#isHurt = isHurt
  }

  take ({ id }: EventSourceMessage): void {
    if (id === undefined) return
    const [name, number] = split(id)
    const [lastName, lastNumber] = this.last === undefined ? [name, number - 1] : split(this.last)
    if (name !== lastName) fault(this.#account, `${id} after ${this.last}`)
    // Who tells of a node's death does not know how far it had come.
    else if (number !== lastNumber + 1 && !(this.#isHurt && number > lastNumber)) fault(this.#account, `${id} after ${this.last}`)
    if (this.#account.ids.has(id)) fault(this.#account, `${id} twice`)
    this.#account.ids.add(id)
    this.last = id
  }
}

function split (id: string): [name: string, number: number] {
  const at = id.lastIndexOf('_')
  return [id.slice(0, at), Number(id.slice(at + 1))]
}

/** Reads a stream to its end, or until `isDone`. Some take their time. */
async function drain (stream: EventStream, chance: Chance, take: (event: EventSourceMessage) => void, isDone: () => boolean): Promise<void> {
  const isSlow = chance.is(0.2)
  for (;;) {
    if (isSlow && chance.is(0.2)) {
      stream.body.pause()
      await sleep(chance.below(60))
      stream.body.resume()
    }
    const event = await stream.next().catch(() => undefined)
    if (event === undefined) return
    take(event)
    if (isDone()) return
  }
}

class Chronicle {
  readonly #plan: ChroniclePlan
  readonly #account: Account = { answered: 0, lost: 0, unseen: 0, resumed: 0, ids: new Set(), faults: [] }
  #started = 0

  constructor (plan: ChroniclePlan) {
    this.#plan = plan
  }

  async run (): Promise<Account> {
    const lanes = Array.from({ length: this.#plan.lanes }, (_, lane) => lane)
    await Promise.all(lanes.flatMap(lane => [
      this.#lane(new Chance(this.#plan.seed + 2 * lane), (chance, name) => this.#overHttp(chance, name), `h${lane}`),
      this.#lane(new Chance(this.#plan.seed + 2 * lane + 1), (chance, name) => this.#overSse(chance, name), `s${lane}`)
    ]))
    return this.#account
  }

  async #lane (chance: Chance, session: (chance: Chance, name: string) => Promise<void>, name: string): Promise<void> {
    for (let round = 0; this.#started < this.#plan.streams && this.#account.faults.length < MOST_FAULTS; round++) {
      await session(chance, `${name}.${round}`).catch(error => {
        if (!this.#plan.isHurt) fault(this.#account, `${name}.${round}: ${error.stack}`)
      })
    }
  }

  #counts (chance: Chance, name: string): Count[] {
    this.#started += BATCH
    return Array.from({ length: BATCH }, (_, index) => {
      const args = { tag: `${name}.${index}`, chunks: 1 + chance.below(12), size: chance.pick([0, 0, 0, 40, 400, 20_000]), every: chance.pick([0, 1, 1, 4]) }
      return new Count(1_000 + index, args, this.#account, this.#plan.isHurt)
    })
  }

  /** A session of Streamable HTTP: each call is a stream, and several go on at once. */
  async #overHttp (chance: Chance, name: string): Promise<void> {
    const client = await again(() => connected(this.#plan.url))
    await Promise.all(this.#counts(chance, name).map(async count => {
      const numbering = new Numbering(this.#account, this.#plan.isHurt)
      const take = (event: EventSourceMessage): void => {
        numbering.take(event)
        if (event.data === '') return
        const message: RpcMessage = JSON.parse(event.data)
        if (!count.take(message)) fault(this.#account, `${count.args.tag} got ${event.data.slice(0, 200)}`)
      }
      let stream = await again(() => client.stream(count.body))
      if (stream.status !== 200) return count.lose(`POST was answered with ${stream.status}`)
      for (let attempts = 0; attempts < MOST_ATTEMPTS; attempts++) {
        await drain(stream, chance, take, () => false)
        if (count.isOver) return
        if (numbering.last === undefined) {
          this.#account.unseen++
          return
        }
        const next = await client.get(numbering.last).catch(() => undefined)
        if (next === undefined || next.status !== 200) {
          if (!this.#plan.isHurt && next?.status !== 503 && next !== undefined) return count.lose(`GET was answered with ${next.status}`)
          await sleep(50)
          continue
        }
        this.#account.resumed++
        stream = next
      }
      count.lose('was never answered')
    }))
    const { status } = await again(() => client.delete())
    if (status !== 200 && !this.#plan.isHurt) fault(this.#account, `${name}: DELETE was answered with ${status}`)
  }

  /** A session of HTTP+SSE: one stream for all calls, whose POSTs go anywhere. */
  async #overSse (chance: Chance, name: string): Promise<void> {
    const { url, isHurt } = this.#plan
    const counts = this.#counts(chance, name)
    const numbering = new Numbering(this.#account, isHurt)
    let endpoint: string | undefined
    let isGone = false
    const take = (event: EventSourceMessage): void => {
      if (event.event === 'endpoint') {
        if (endpoint !== undefined && endpoint !== event.data) {
          isGone = true
          return
        }
        endpoint = event.data
      }
      numbering.take(event)
      if (event.event === 'endpoint') return
      const message: RpcMessage = JSON.parse(event.data)
      if (!counts.some(count => count.take(message))) fault(this.#account, `${name} got ${event.data.slice(0, 200)}`)
    }
    const isDone = (): boolean => isGone || counts.every(({ isOver }) => isOver)
    let [stream, first] = await opened(url)
    take(first)
    const posts = Promise.all(counts.map(count => post(url, endpoint ?? '', count)))
    for (let attempts = 0; attempts < MOST_ATTEMPTS && !isDone(); attempts++) {
      await drain(stream, chance, take, isDone)
      if (isDone()) break
      const next = await EventStream.open(url, '/sse', { headers: { 'last-event-id': numbering.last ?? '' } }).catch(() => undefined)
      if (next === undefined || next.status !== 200) {
        if (!isHurt && next?.status !== 503 && next !== undefined) fault(this.#account, `${name}: GET was answered with ${next.status}`)
        await sleep(50)
        continue
      }
      this.#account.resumed++
      stream = next
    }
    counts.forEach(count => count.lose(isGone ? 'its session was gone' : 'was never answered'))
    await posts
    await stream.close()
  }
}

async function post (url: string, endpoint: string, count: Count): Promise<void> {
  const client = new Client(url, { path: endpoint })
  const { status } = await again(() => client.post(count.body)).catch(() => ({ status: 0 }))
  if (status !== 202) count.lose(`POST was answered with ${status}`)
}

/** What is refused for the moment is asked again, as clients do. */
async function again<T extends { readonly status: number }> (ask: () => Promise<T>): Promise<T> {
  for (let attempts = 0; ; attempts++) {
    const answer = await ask()
    if (answer.status !== 503 || attempts === MOST_ATTEMPTS) return answer
    await sleep(20)
  }
}

/** A node that leaves takes no new stream, and says so by breaking the connection. */
async function opened (url: string): Promise<[EventStream, EventSourceMessage]> {
  for (let attempts = 0; ; attempts++) {
    try {
      const stream = await EventStream.open(url, '/sse')
      return [stream, await stream.next()]
    } catch (error) {
      if (attempts === MOST_ATTEMPTS) throw error
      await sleep(20)
    }
  }
}

async function connected (url: string): Promise<Client & { readonly status: number }> {
  const client = await Client.connect(url)
  return Object.assign(client, { status: client.sessionId === undefined ? 503 : 200 })
}

/** Gives what happened. Every fault is a bug. */
export function chronicle (plan: ChroniclePlan): Promise<Account> {
  return new Chronicle(plan).run()
}
