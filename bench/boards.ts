import { peers, truant } from './peer-adapters.ts'
import type { Scenario } from './scenario.ts'
import { calls, guardedCalls, manyTools, sseAnswers } from './scenarios/session-calls.ts'
import { chunks } from './scenarios/chunks.ts'
import { fairness } from './scenarios/fairness.ts'
import { idle } from './scenarios/idle.ts'
import { listChanged } from './scenarios/list-changed.ts'
import { nodeCalls } from './scenarios/node-calls.ts'
import { nodeChunks } from './scenarios/node-chunks.ts'
import { sessionLives } from './scenarios/session-lives.ts'
import { sseCalls } from './scenarios/sse-calls.ts'
import { start } from './scenarios/start.ts'
import { stalled } from './scenarios/stalled.ts'
import { statelessCalls } from './scenarios/stateless-calls.ts'

/** A server that the suite can measure: a file that serves what its scenarios ask for and ends in `ready(port)` of `servers/control.ts`. */
export interface Adapter {
  name: string
  /** Below `servers/`. */
  file: string
  args?: string[]
  /** In place of `args`, for the scenarios named. */
  argsFor?: Record<string, string[]>
  /** Names of the scenarios that it can take part in; all of its board unless named. */
  scenarios?: string[]
  /** Why it takes no part in a scenario, where that is worth a line. */
  lacks?: Record<string, string>
  /** Made by others: what it cannot do is told, and fails nothing. */
  isPeer?: boolean
  /** Its answers must be the floor's, byte for byte but for ids. */
  sameBytes?: boolean
}

/** What makes one table. */
export interface Board {
  scenarios: Scenario[]
  /** The first is what the others are compared with. */
  servers: Adapter[]
}

const floor: Adapter = { name: 'floor', file: 'floor.ts' }
const ours: Adapter = { name: 'ours', file: 'ours.ts', sameBytes: true }

export const boards: Board[] = [
  {
    scenarios: [
      calls, guardedCalls, sseAnswers, statelessCalls, sseCalls, chunks, idle, listChanged, sessionLives, stalled, fairness
    ],
    servers: [floor, ours]
  },
  {
    scenarios: [manyTools],
    servers: [
      { name: '1 tool', file: 'ours.ts', args: ['--tools', '1'] },
      { name: '200 tools', file: 'ours.ts', args: ['--tools', '200'] }
    ]
  },
  {
    scenarios: [start],
    servers: [
      { name: 'Fastify', file: 'launch.ts', args: ['plain'] },
      { name: 'all imports', file: 'launch.ts', args: ['imports'] },
      { name: 'ours', file: 'launch.ts', args: ['hello'] }
    ]
  }
]

/** One memory against nodes that share a Redis, behind one port. */
export const clusterBoard: Board = {
  scenarios: [nodeCalls, nodeChunks],
  servers: [
    { name: 'memory', file: 'clustered.ts', args: ['0'] },
    { name: '1 node', file: 'clustered.ts', args: ['1'] },
    { name: '2 nodes', file: 'clustered.ts', args: ['2'] },
    { name: '4 nodes', file: 'clustered.ts', args: ['4'] }
  ]
}

/** Servers made with packages of others, which must be installed first. */
export const peerBoard: Board = {
  scenarios: [calls, sseCalls, chunks, idle, stalled, fairness],
  servers: [floor, ours, ...peers]
}

/** A peer that fails: it is left out, and the run goes on. */
export const truantBoard: Board = { scenarios: [calls, sseCalls], servers: [floor, truant] }
