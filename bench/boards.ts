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
  /** Names of the scenarios that it can take part in; all of its board unless named. */
  scenarios?: string[]
  /** Its answers must be the floor's, byte for byte but for ids. */
  sameBytes?: boolean
}

/** What makes one table. */
export interface Board {
  scenarios: Scenario[]
  /** The first is what the others are compared with. */
  servers: Adapter[]
}

export const boards: Board[] = [
  {
    scenarios: [
      calls, guardedCalls, sseAnswers, statelessCalls, sseCalls, chunks, idle, listChanged, sessionLives, stalled, fairness
    ],
    servers: [
      { name: 'floor', file: 'floor.ts' },
      { name: 'ours', file: 'ours.ts', sameBytes: true }
    ]
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
