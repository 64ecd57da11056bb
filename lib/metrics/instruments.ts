import { Counter, Gauge, Histogram, type OpenMetricsContentType, type Registry } from 'prom-client'
import { type CallEndEvent, type Channel, channels } from '../channels.ts'
import { errorCodes } from '../errors.ts'
import type { Stats } from '../mcp.ts'
import { invalid } from '../identity/settings.ts'
import { type Running, running } from '../ops/running.ts'

// In seconds, as Prometheus wants it: a call may take a millisecond or minutes.
const CALL_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300]
const STORE_BUCKETS = [0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 2.5]
const SECOND = 1_000

const GAUGES: [name: string, help: string, key: keyof Stats][] = [
  ['sessions', 'Sessions in the store', 'sessions'],
  ['streams', 'Open SSE streams', 'streams'],
  ['queued_bytes', 'Bytes that wait in streams because their clients read slowly', 'queued'],
  ['calls_in_progress', 'Calls in progress', 'calls'],
  ['subscriptions', 'Open subscriptions/listen', 'subscriptions'],
  ['questions', 'Questions to clients that wait for an answer', 'questions'],
  ['abandoned_calls', 'Tools that ignored the end of their call, since the start', 'abandoned']
]

/**
 * Counts in a registry what the servers of this process do. `maxTools`: the most names of tools that become a label; what is beyond
 * is counted as `other`. What it gives ends it, and takes all out of the registry. Throws FST_MCP_OPTION_INVALID, and leaves the
 * registry as it was, when that holds one of these already.
 */
export function count (registry: Registry | Registry<OpenMetricsContentType>, maxTools: number): () => void {
  const names: string[] = []
  const clear = (): void => names.forEach(name => registry.removeSingleMetric(name))
  const named = <const Label extends string>(name: string, help: string, ...labelNames: Label[]) => {
    const full = `mcp_server_${name}`
    if (registry.getSingleMetric(full) !== undefined) {
      clear()
      throw invalid(`\`metrics.registry\` holds \`${full}\` already: it takes one registration`)
    }
    names.push(full)
    return { name: full, help: `${help}.`, labelNames, registers: [registry] }
  }
  const gauge = (name: string, help: string, valueOf: (server: Running) => number): void => {
    const made: Gauge<'server'> = new Gauge({
      ...named(name, help, 'server'),
      collect () {
        made.reset()
        for (const one of running) made.inc({ server: one.server }, valueOf(one))
      }
    })
  }
  for (const [name, help, key] of GAUGES) gauge(name, help, ({ stats }) => stats()[key])
  gauge('ready', 'How many servers of this name should get requests', ({ problem }) => problem() === null ? 1 : 0)

  const ofTool = ['server', 'tool'] as const
  const durations = new Histogram({ ...named('operation_duration_seconds', 'How long calls took', 'server', 'method', 'tool', 'outcome'), buckets: CALL_BUCKETS })
  const errors = new Counter(named('call_errors_total', 'Calls that went wrong, by what went wrong', 'server', 'tool', 'code'))
  const firstChunks = new Histogram({ ...named('time_to_first_chunk_seconds', 'How long calls took to send their first chunk', ...ofTool), buckets: CALL_BUCKETS })
  const chunks = new Counter(named('chunks_total', 'Chunks that were sent', ...ofTool))
  const bytes = new Counter(named('sent_bytes_total', 'Bytes of chunks and responses', ...ofTool))
  const blocked = new Counter(named('blocked_seconds_total', 'How long calls waited for their clients to read', ...ofTool))
  const resumes = new Counter(named('resumes_total', 'Streams that clients came back for', 'server'))
  const replayed = new Counter(named('replayed_events_total', 'Events that were sent again', 'server'))
  const gaps = new Counter(named('gaps_total', 'Streams of which events were lost when their clients came back', 'server'))
  const kicks = new Counter(named('kicks_total', 'Connections of streams that the server broke', 'server', 'reason'))
  const limits = new Counter(named('limits_hit_total', 'Refusals by a limit', 'server', 'limit'))
  const auth = new Counter(named('auth_failures_total', 'Requests that were refused for their token', 'server', 'code'))
  const store = new Histogram({ ...named('store_duration_seconds', 'How long commands to Redis took', 'command', 'failed'), buckets: STORE_BUCKETS })
  const routes = new Histogram({ ...named('route_duration_seconds', 'How long other nodes took to answer', 'kind', 'outcome'), buckets: STORE_BUCKETS })

  const tools = new Set<string>()
  // Clients name what they like, and every name would be a series.
  const isOf = (server: string, has: (one: Running) => boolean): boolean => [...running].some(one => one.server === server && has(one))
  const methodOf = ({ server, code, call: { method } }: CallEndEvent): string =>
    code !== 'FST_MCP_METHOD_NOT_FOUND' && isOf(server, one => one.hasMethod(method)) ? method : 'other'
  const toolOf = ({ server, call: { method, target = '' } }: CallEndEvent): string => {
    if (method !== 'tools/call') return ''
    if (tools.has(target)) return target
    if (tools.size >= maxTools || !isOf(server, one => one.hasTool(target))) return 'other'
    tools.add(target)
    return target
  }

  const undo = [
    on(channels.callEnd, event => {
      const { server, outcome, code, duration, firstChunk } = event
      const tool = toolOf(event)
      durations.observe({ server, method: methodOf(event), tool, outcome }, duration / SECOND)
      // Who gives a call up does nothing wrong, and what the application calls its own errors is its own.
      if (code !== undefined && outcome !== 'cancelled') errors.inc({ server, tool, code: Object.hasOwn(errorCodes, code) ? code : 'McpError' })
      if (firstChunk !== undefined) firstChunks.observe({ server, tool }, firstChunk / SECOND)
      chunks.inc({ server, tool }, event.chunks)
      bytes.inc({ server, tool }, event.bytes)
      blocked.inc({ server, tool }, event.blocked / SECOND)
    }),
    on(channels.resume, ({ server, replayed: events, isComplete }) => {
      resumes.inc({ server })
      replayed.inc({ server }, events)
      gaps.inc({ server }, isComplete ? 0 : 1)
    }),
    on(channels.kick, ({ server, reason }) => kicks.inc({ server, reason })),
    on(channels.limit, ({ server, limit }) => limits.inc({ server, limit })),
    on(channels.auth, ({ server, code }) => auth.inc({ server, code })),
    on(channels.store, ({ command, duration, failed }) => store.observe({ command, failed: String(failed) }, duration / SECOND)),
    on(channels.route, ({ kind, duration, outcome }) => routes.observe({ kind, outcome }, duration / SECOND))
  ]
  return () => {
    for (const end of undo) end()
    clear()
  }
}

function on<Event> (channel: Channel<Event>, take: (event: Event) => void): () => void {
  channel.subscribe(take)
  return () => { channel.unsubscribe(take) }
}
