import { channels, type RouteEvent } from '../channels.ts'
import { errorCodes, revive, toRpcError } from '../errors.ts'
import type { Bus, BusListener } from '../store/store.ts'

/** What a node says to another, as JSON. */
export type Letter = Readonly<Record<string, unknown>>

/** Takes one kind of letter. What it gives, or a promise of it, answers whoever asked. */
type Take = (letter: Letter, from: string) => unknown

interface Asked {
  isTaken: boolean
  readonly timer: NodeJS.Timeout
  settle (answer: Letter | null): void
  fail (error: unknown): void
}

// How soon whoever asks learns that a lease has ended.
const CHECK_MS = 250
// A node that is there takes a letter at once, unless it was lost on its way.
const CHECKS_TO_TAKE = 12
// Longer than any lease lasts that is not renewed.
const ATTEMPTS = 60

/** Letters to the other nodes of one server, and their answers. */
export class Letters implements BusListener {
  readonly #bus: Bus
  readonly #takers = new Map<string, Take>()
  /** Kinds of which this node takes its own too. */
  readonly #ordered = new Set<string>()
  readonly #gapListeners: ((isEmptied: boolean) => void)[] = []
  /** The last question of each node that was taken. */
  readonly #taken = new Map<string, number>()
  readonly #asked = new Map<number, Asked>()
  readonly #onError: (error: unknown) => void
  readonly #unlisten: () => void
  #count = 0

  /** `onError`: a letter that nobody waits for failed. */
  constructor (bus: Bus, onError: (error: unknown) => void) {
    this.#bus = bus
    this.#onError = onError
    this.#takers.set('taken', ({ ref }) => this.#markTaken(ref))
    this.#takers.set('answer', letter => this.#answered(letter))
    this.#unlisten = bus.listen(this)
  }

  get node (): string {
    return this.#bus.node
  }

  /** Who takes letters of this kind. */
  on (kind: string, take: Take): void {
    this.#takers.set(kind, take)
  }

  /** Who takes letters of this kind, its own too: all nodes get them in the same order. */
  onOrdered (kind: string, take: Take): void {
    this.#ordered.add(kind)
    this.#takers.set(kind, take)
  }

  /** Calls back when letters may have been lost; with true when all that the store has kept was. */
  onLoss (listener: (isEmptied: boolean) => void): void {
    this.#gapListeners.push(listener)
  }

  isAlive (node: string): Promise<boolean> {
    return this.#bus.isAlive(node)
  }

  /** Says something to one node. Whoever needs to know that it arrived asks. */
  tell (node: string, kind: string, letter: Letter): void {
    this.#bus.send(node, { ...letter, kind, from: this.node }).catch(this.#onError)
  }

  /** Says something to all other nodes. Resolves when it is said, or could not be: what is said after that comes after it. */
  async tellAll (kind: string, letter: Letter): Promise<void> {
    await this.#bus.broadcast({ ...letter, kind, from: this.node }).catch(this.#onError)
  }

  /** Says something to all nodes, this one too, in the same order. `otherwise`: it could not be said. */
  tellInOrder (kind: string, letter: Letter, otherwise: () => void): void {
    this.#bus.broadcast({ ...letter, kind, from: this.node }).then(isTold => { if (!isTold) otherwise() }, error => {
      this.#onError(error)
      otherwise()
    })
  }

  /**
   * Asks one node, and waits for its answer as long as it lives: null when it is gone.
   * Rejects with what it refused with, and with FST_MCP_STORE_UNAVAILABLE.
   */
  async ask (node: string, kind: string, letter: Letter): Promise<Letter | null> {
    const answer = this.#ask(node, kind, letter)
    return channels.route.hasSubscribers ? timed(kind, answer) : answer
  }

  #ask (node: string, kind: string, letter: Letter): Promise<Letter | null> {
    const ref = ++this.#count
    const answer = new Promise<Letter | null>((resolve, reject) => {
      let checks = 0
      const check = async (): Promise<void> => {
        if (!await this.#bus.isAlive(node)) return asked.settle(null)
        if (!asked.isTaken && ++checks > CHECKS_TO_TAKE) throw new errorCodes.FST_MCP_STORE_UNAVAILABLE('a message to another node was lost')
      }
      const lookAfter = (): void => { check().catch(asked.fail) }
      const end = (): void => {
        clearInterval(asked.timer)
        this.#asked.delete(ref)
      }
      const asked: Asked = {
        isTaken: false,
        timer: setInterval(lookAfter, CHECK_MS).unref(),
        settle: answer => {
          end()
          resolve(answer)
        },
        fail: error => {
          end()
          reject(error)
        }
      }
      this.#asked.set(ref, asked)
      lookAfter()
    })
    this.#bus.send(node, { ...letter, kind, from: this.node, ref }).catch(error => this.#asked.get(ref)?.fail(error))
    return answer
  }

  onMessage (message: unknown): void {
    // What other nodes of this server sent.
    const { kind, from, ref, ...letter } = Object(message) as Letter
    if (typeof kind !== 'string' || typeof from !== 'string') return
    if (from === this.node && !this.#ordered.has(kind)) return
    const take = this.#takers.get(kind)
    if (take === undefined) return
    if (kind === 'taken' || kind === 'answer') {
      take({ ...letter, ref }, from)
      return
    }
    if (typeof ref !== 'number') {
      this.#take(take, letter, from).catch(this.#onError)
      return
    }
    // A client of the store that lost its connection may have sent it twice.
    if (ref <= (this.#taken.get(from) ?? 0)) return
    this.#taken.set(from, ref)
    this.tell(from, 'taken', { ref })
    this.#take(take, letter, from).then(
      answer => this.#reply(from, { ref, answer }),
      error => this.#reply(from, { ref, error: toRpcError(error) })
    )
  }

  /** Somebody waits for it as long as this node lives, so that it is said again when it could not be. */
  #reply (to: string, letter: Letter, attempts = ATTEMPTS): void {
    this.#bus.send(to, { ...letter, kind: 'answer', from: this.node }).catch(error => {
      if (attempts === 0) this.#onError(error)
      else setTimeout(() => this.#reply(to, letter, attempts - 1), CHECK_MS).unref()
    })
  }

  /** In the same tick, so that letters are taken in the order in which they came. */
  async #take (take: Take, letter: Letter, from: string): Promise<unknown> {
    return take(letter, from)
  }

  onGap (isEmptied: boolean): void {
    for (const asked of this.#asked.values()) asked.fail(new errorCodes.FST_MCP_STORE_UNAVAILABLE('the answer of another node may have been lost'))
    for (const listener of this.#gapListeners) listener(isEmptied)
  }

  #markTaken (ref: unknown): void {
    const asked = this.#asked.get(Number(ref))
    if (asked !== undefined) asked.isTaken = true
  }

  #answered ({ ref, answer = {}, error }: Letter): void {
    const asked = this.#asked.get(Number(ref))
    if (error === undefined) asked?.settle(answer as Letter)
    else asked?.fail(revive(error))
  }

  close (): void {
    this.#unlisten()
    for (const asked of this.#asked.values()) asked.fail(new errorCodes.FST_MCP_CLOSING())
  }
}

function timed (kind: string, answer: Promise<Letter | null>): Promise<Letter | null> {
  const startedAt = performance.now()
  const tell = (outcome: RouteEvent['outcome']): void => channels.route.publish({ kind, duration: performance.now() - startedAt, outcome })
  answer.then(told => tell(told === null ? 'gone' : 'ok'), () => tell('failed'))
  return answer
}
