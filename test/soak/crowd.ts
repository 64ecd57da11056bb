// The clients of a soak: so many that hold a stream, and errands that they run meanwhile, chosen by a seed.
import { setTimeout as sleep } from 'node:timers/promises'
import { Chance } from '../fuzz/chance.ts'
import { ERRANDS } from './errands.ts'
import { EventRegular, type Ledger, ListenRegular, type Regular, SessionRegular } from './regular.ts'
import { Door } from './soak-door.ts'

const KINDS = [EventRegular, SessionRegular, ListenRegular] as const
const MOST_FAULTS = 10
/** Errands at once. A machine that is busy gets fewer in a second, and not all of them late. */
const MOST_ERRANDS = 80
const TICK_MS = 20
const ENTERING = 32

const weighted = Object.entries(ERRANDS)
const total = weighted.reduce((sum, [, { weight }]) => sum + weight, 0)

export class Crowd {
  readonly ledger: Ledger = { done: {}, keepAlives: 0, changes: 0, faults: [], left: [] }
  readonly #door: Door
  readonly #chance: Chance
  readonly #regulars: Regular[]
  readonly #errands = new Set<Promise<void>>()
  faults = 0

  constructor (port: number, seed: number, streams: number) {
    this.#door = new Door(port)
    this.#chance = new Chance(seed)
    this.#regulars = Array.from({ length: streams }, (_, index) => new (this.#kind(index))(this.#door, this.ledger))
  }

  #kind (index: number): typeof KINDS[number] {
    return KINDS[index % KINDS.length] ?? EventRegular
  }

  /** Errands that were run. */
  get done (): number {
    return Object.keys(ERRANDS).reduce((sum, name) => sum + (this.ledger.done[name] ?? 0), 0)
  }

  async enter (): Promise<void> {
    await this.#each(regular => regular.enter(), 'entered')
  }

  async #each (act: (regular: Regular) => Promise<void>, what: string): Promise<void> {
    const rest = this.#regulars.values()
    await Promise.all(Array.from({ length: ENTERING }, async () => {
      for (const regular of rest) await act(regular).then(() => this.#count(what), error => this.#fault(what, regular, error))
    }))
  }

  #count (name: string): void {
    this.ledger.done[name] = (this.ledger.done[name] ?? 0) + 1
  }

  #fault (what: string, regular: Regular, error: unknown): void {
    this.faults++
    if (this.ledger.faults.length < MOST_FAULTS) this.ledger.faults.push(`${what}, ${regular.constructor.name}: ${error instanceof Error ? error.message : String(error)}`)
  }

  /** Runs about so many errands in a second until it holds. */
  async work (rate: number, isOver: () => boolean): Promise<void> {
    let due = 0
    let last = performance.now()
    while (!isOver()) {
      await sleep(TICK_MS)
      const now = performance.now()
      // What a busy machine has missed is not caught up with.
      due = Math.min(MOST_ERRANDS, due + rate * (now - last) / 1_000)
      last = now
      for (; due >= 1 && this.#errands.size < MOST_ERRANDS; due--) this.#start()
    }
    await Promise.all(this.#errands)
  }

  #start (): void {
    const regular = this.#chance.pick(this.#regulars)
    const [name, { run }] = this.#choose()
    const chance = new Chance(this.#chance.below(2 ** 31))
    if (regular.isBusy) return
    regular.isBusy = true
    const errand: Promise<void> = run(regular, chance).then(() => this.#count(name), async error => {
      this.#fault(name, regular, error)
      await regular.leave(chance).then(() => regular.enter()).catch(() => {})
    }).finally(() => {
      regular.isBusy = false
      this.#errands.delete(errand)
    })
    this.#errands.add(errand)
  }

  #choose (): typeof weighted[number] {
    let at = this.#chance.below(total * 1_000) / 1_000
    return weighted.find(([, { weight }]) => (at -= weight) < 0) ?? this.#chance.pick(weighted)
  }

  /** All leave: some end their session, the others hang up or reset the connection. */
  async leave (): Promise<void> {
    await this.#each(regular => regular.leave(this.#chance), 'left')
  }

  /** Asks for the sessions that were left, once their time is over: a store looks, and finds that they are. */
  async lookBack (): Promise<void> {
    const body = { jsonrpc: '2.0', id: 1, method: 'ping' }
    const rest = this.ledger.left.values()
    await Promise.all(Array.from({ length: ENTERING }, async () => {
      for (const { id, token } of rest) {
        await this.#door.send('/mcp', { method: 'POST', headers: { authorization: `Bearer ${token}`, 'mcp-session-id': id }, body })
      }
    }))
  }

  close (): void {
    this.#door.close()
  }
}
