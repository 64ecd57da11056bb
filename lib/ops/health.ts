import type { FastifyInstance, FastifyReply } from 'fastify'
import type { Mcp } from '../mcp.ts'
import type { OpenStore } from '../store/store.ts'

export interface HealthOptions {
  readonly health: string | undefined
  readonly ready: string | undefined
  readonly mcp: Mcp
  readonly store: OpenStore
  /** Why it should get no requests, or null. */
  readonly problem: () => string | null
}

/** Serves the paths that probes of load balancers and orchestrators ask: whether the process is well, and whether it should get requests. */
export function registerHealth (scope: FastifyInstance, { health, ready, mcp, store, problem: problemOf }: HealthOptions): void {
  const answer = (reply: FastifyReply, status: string): void => {
    const { sessions, streams, calls } = mcp.stats()
    const node = store.bus?.node
    reply.header('cache-control', 'no-store').send({
      status, timestamp: new Date().toISOString(), uptime: Math.round(process.uptime()), sessions, streams, calls, ...(node !== undefined && { node })
    })
  }
  // Probes come every few seconds, and would fill the log.
  const logLevel = 'warn'
  if (health !== undefined) scope.get(health, { logLevel }, (_request, reply) => answer(reply, 'ok'))
  if (ready === undefined) return
  scope.get(ready, { logLevel }, (_request, reply) => {
    const problem = problemOf()
    if (problem !== null) reply.code(503)
    answer(reply, problem ?? 'ok')
  })
}
