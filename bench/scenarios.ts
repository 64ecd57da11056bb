import type { Scenario } from './scenario.ts'
import { calls } from './scenarios/session-calls.ts'
import { chunks } from './scenarios/chunks.ts'
import { fairness } from './scenarios/fairness.ts'
import { idle } from './scenarios/idle.ts'
import { sseCalls } from './scenarios/sse-calls.ts'
import { stalled } from './scenarios/stalled.ts'

export const scenarios: Scenario[] = [calls, sseCalls, chunks, idle, stalled, fairness]
