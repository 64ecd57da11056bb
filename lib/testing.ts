import assert from 'node:assert/strict'
import type { Store } from './store/store.ts'
import { busCases } from './testing/bus-cases.ts'
import { type Case, tryCase } from './testing/case.ts'
import { counterCases } from './testing/counter-cases.ts'
import { eventCases } from './testing/event-cases.ts'
import { sessionCases } from './testing/session-cases.ts'
import { ticketCases } from './testing/ticket-cases.ts'

export interface StoreUnderTest {
  /** A store that holds nothing yet. */
  create (): Store
  /** Lets milliseconds pass, for real or not. */
  advance (ms: number): Promise<void>
  /** Milliseconds for which the store may at most keep what is over. */
  lag: number
  /** Whether it has a bus. Default: false. */
  bus?: boolean
  /** Whether it has counters. Default: false. */
  counters?: boolean
}

export interface StoreCase {
  /** A sentence of the contract. */
  readonly name: string
  /** Rejects where the store does not keep it, mostly with an AssertionError. */
  run (): Promise<void>
}

/** What every `Store` must do, whatever it is made of, as cases for any test runner. Each has a store of its own. */
export function storeContract ({ create, advance, lag, bus = false, counters = false }: StoreUnderTest): StoreCase[] {
  const parts: Case = {
    name: 'the store has the parts that it should',
    async run ({ open }) {
      const store = await open()
      assert.deepEqual({ bus: store.bus !== null, counters: store.counters !== null, problem: store.problem() }, { bus, counters, problem: null })
    }
  }
  const cases = [parts, ...sessionCases, ...eventCases, ...ticketCases, ...(counters ? counterCases : []), ...(bus ? busCases : [])]
  return cases.map(tried => ({ name: tried.name, run: () => tryCase(tried, create(), { advance, lag }) }))
}
