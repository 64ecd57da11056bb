import type { McpOptions } from 'fastify-mcp-sse'

const IDLE_MS = 3_000
const WINDOW_MS = 1_500
/** Milliseconds after which what a client left behind is over: its stream may be away for the window, and was touched at half of the idle time. */
export const OVER_MS = WINDOW_MS + IDLE_MS * 1.5 + 300

/** Short times, so that everything that can expire does so many times in a run; and little is kept, so that a leak is not lost in it. */
export const OPTIONS = {
  name: 'soak',
  version: '1.0.0',
  streams: { keepAlive: 500, stall: 1_000, openAfter: 50, retry: 100, max: 100_000 },
  sessions: { idle: IDLE_MS, max: 100_000, replay: { events: 100, bytes: 16_384, window: WINDOW_MS } },
  tickets: { ttl: 5_000, max: 100_000 },
  tools: { timeout: 10_000, grace: 2_000 },
  ask: { timeout: 400 },
  drain: { timeout: 500 }
} satisfies McpOptions
