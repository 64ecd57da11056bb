import type { Adapter } from './boards.ts'

/**
 * Servers made with the packages that `peers/package.json` names. A package that can answer a call
 * as JSON is told to where calls are what is measured.
 */
export const peers: Adapter[] = [
  {
    name: 'sdk 1',
    file: '../peers/official-sdk-1.ts',
    argsFor: { calls: ['json'] },
    isPeer: true
  },
  {
    name: 'sdk 2',
    file: '../peers/official-sdk-2.ts',
    argsFor: { calls: ['json'] },
    lacks: { 'sse-calls': 'what it has of HTTP+SSE is a deprecated copy of that of sdk 1' },
    isPeer: true
  },
  {
    name: 'fastify-mcp',
    file: '../peers/fastify-mcp-server.ts',
    lacks: { 'sse-calls': 'its plugin for HTTP+SSE serves one client: the second gets 500, "Already connected to a transport"' },
    isPeer: true
  },
  {
    name: 'fastmcp',
    file: '../peers/fastmcp-server.ts',
    argsFor: { calls: ['json'] },
    isPeer: true
  }
]

/** What a peer that cannot do anything looks like. */
export const truant: Adapter = { name: 'truant', file: 'truant.ts', lacks: { 'sse-calls': 'it has none' }, isPeer: true }
