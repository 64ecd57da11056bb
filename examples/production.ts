// A server for production: its environment says everything, and it refuses to start without what it needs. docs/deploying.md runs it.
import { setTimeout } from 'node:timers/promises'
import closeWithGrace from 'close-with-grace'
import Fastify from 'fastify'
import mcp from 'fastify-mcp-sse'
import { metrics } from 'fastify-mcp-sse/metrics'
import { redisStore } from 'fastify-mcp-sse/redis'
import { Redis } from 'ioredis'
import { z } from 'zod'

const list = z.string().transform(text => text.split(',').map(entry => entry.trim()).filter(entry => entry !== ''))
const { data: env, error } = z.object({
  PORT: z.coerce.number().default(3000),
  HOST: z.string().default('127.0.0.1'),
  LOG_LEVEL: z.string().default('info'),
  // principal:token,principal:token
  MCP_TOKENS: list.pipe(z.array(z.templateLiteral([z.string(), ':', z.string()])).min(1)),
  // Secrets of at least 32 bytes, the same at every node; the first seals.
  MCP_KEYS: list.pipe(z.array(z.string().min(32)).min(1)).optional(),
  // The names by which clients know the server. Without them every name is served.
  MCP_HOSTS: list.optional(),
  REDIS_URL: z.url().optional(),
  // The proxies whose X-Forwarded-* is believed: addresses, networks, loopback, linklocal, uniquelocal.
  TRUST_PROXY: z.string().optional(),
  DRAIN_TIMEOUT: z.coerce.number().int().min(0).default(10_000),
  // Who may ask for /metrics: addresses and networks, or whoever sends the token. Without either nobody is served.
  METRICS_ADDRESSES: list.optional(),
  METRICS_TOKEN: z.string().optional()
}).refine(({ REDIS_URL, MCP_KEYS }) => REDIS_URL === undefined || MCP_KEYS !== undefined, {
  path: ['MCP_KEYS'], message: 'is needed with REDIS_URL: several nodes share their keys'
}).safeParse(process.env)
if (error !== undefined) {
  console.error(z.prettifyError(error))
  process.exit(1)
}

const app = Fastify({
  logger: { level: env.LOG_LEVEL },
  trustProxy: env.TRUST_PROXY ?? false,
  // Above the idle time-out of any proxy before it: one that reuses a connection must never find it just closed.
  keepAliveTimeout: 310_000
})
const redis = env.REDIS_URL === undefined ? undefined : new Redis(env.REDIS_URL)
redis?.on('error', error => app.log.warn(error.message))
await app.register(mcp, {
  name: 'production',
  version: '1.0.0',
  auth: {
    tokens: env.MCP_TOKENS.map(entry => {
      const [principal = '', ...token] = entry.split(':')
      return { principal, token: token.join(':') }
    })
  },
  hosts: env.MCP_HOSTS,
  ask: { keys: env.MCP_KEYS },
  store: redis && redisStore(redis),
  health: '/health',
  ready: '/ready',
  drain: { timeout: env.DRAIN_TIMEOUT }
})
app.addHook('onClose', async () => { redis?.disconnect() })

app.mcp.tool('count', {
  description: 'Counts, with a pause before each number.',
  annotations: { readOnlyHint: true },
  input: z.object({ to: z.int().min(1).max(1_000).default(20), pause: z.int().min(0).max(10_000).default(250) })
}, async function * ({ to, pause }, { signal }) {
  for (let number = 1; number <= to; number++) {
    await setTimeout(pause, undefined, { signal })
    yield `${number} `
  }
})

const { METRICS_ADDRESSES: addresses, METRICS_TOKEN: token } = env
if (addresses !== undefined || token !== undefined) await app.register(metrics, { addresses, token })

// Its delay is what ends a shutdown that hangs: more than the drain and the end of all streams take.
closeWithGrace({ delay: env.DRAIN_TIMEOUT + 5_000, logger: app.log }, async () => { await app.mcp.drain(); await app.close() })
await app.listen({ host: env.HOST, port: env.PORT })
