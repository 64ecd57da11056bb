import type { Scenario } from './scenario.ts'
import { calls } from './scenarios/session-calls.ts'
import { chunks } from './scenarios/chunks.ts'
import { fairness } from './scenarios/fairness.ts'
import { idle } from './scenarios/idle.ts'
import { nodeCalls } from './scenarios/node-calls.ts'
import { nodeChunks } from './scenarios/node-chunks.ts'
import { sseCalls } from './scenarios/sse-calls.ts'
import { stalled } from './scenarios/stalled.ts'

export const scenarios: Scenario[] = [calls, sseCalls, chunks, idle, stalled, fairness]

/** What several nodes are measured by. */
export const clusterScenarios: Scenario[] = [nodeCalls, nodeChunks]

/** What servers of others are measured by. */
export const peerScenarios: Scenario[] = [calls, sseCalls, chunks, idle, stalled, fairness]
