import type { Cluster } from '../cluster/cluster.ts'
import type { Listeners } from '../eras/listen.ts'
import type { SessionHost } from '../eras/session-host.ts'
import { errorCodes } from '../errors.ts'
import type { OpenResponses } from '../http/responses.ts'
import type { CallsInProgress } from '../protocol/in-progress.ts'
import type { StreamPool } from '../sse/pool.ts'
import type { Drain } from './drain.ts'
import type { Connections } from './connections.ts'
import type { Handshakes } from './handshakes.ts'
import type { Http2Connections } from './http2-connections.ts'
import type { OpenStore } from '../store/store.ts'
import { atMost } from './at-most.ts'

export interface Closable {
  /** Milliseconds that Fastify waits for its hooks. */
  readonly within: number
  readonly drain: Drain
  readonly calls: CallsInProgress
  readonly sessions: SessionHost | null
  readonly listeners: Listeners
  readonly pool: StreamPool
  readonly responses: OpenResponses
  readonly store: OpenStore
  readonly cluster: Cluster | null
  /** Null where there is HTTP/2 alone. */
  readonly http1: Connections | null
  readonly http2: Http2Connections
  /** Null without TLS. */
  readonly handshakes: Handshakes | null
}

// A client that still reads needs far less; one that does not is not waited for.
const FLUSH_MS = 500
// What a store that hangs may cost: all that it keeps expires.
const STORE_MS = 250
// All that comes after the drain, on a busy machine.
const CLOSE_MS = 2_000

/** Ends everything with an answer: calls in an error, streams after their last event. Bounded, whatever the clients and tools do. */
export async function closeServer (closable: Closable): Promise<void> {
  const { within, drain, calls, sessions, listeners, pool, responses, store, cluster, http1, http2, handshakes } = closable
  await drain.run(Math.max(0, within - CLOSE_MS))
  pool.refuse()
  calls.abort(new errorCodes.FST_MCP_CLOSING())
  // An aborted call answers within this turn.
  await new Promise(resolve => setImmediate(resolve))
  sessions?.close(new errorCodes.FST_MCP_CLOSING())
  listeners.close()
  pool.close()
  await Promise.all([responses.closed(FLUSH_MS, http2), http1?.close(FLUSH_MS)])
  http2.close()
  handshakes?.close()
  cluster?.close()
  await atMost(STORE_MS, Promise.resolve(store.close()))
}
