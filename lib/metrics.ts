import type { FastifyInstance } from 'fastify'
import { type OpenMetricsContentType, Registry } from 'prom-client'
import { z } from 'zod'
import { toStatus } from './errors.ts'
import { settle } from './identity/settings.ts'
import { count } from './metrics/instruments.ts'
import { createScraperCheck } from './metrics/scraper.ts'

export interface MetricsOptions {
  /** Where they are served. Default: `/metrics`. `false`: nowhere; `registry` is then yours. */
  path?: string | false
  /** A bearer token that whoever asks must send. Only its hash is kept. */
  token?: string
  /**
   * Addresses and subnets from which they may be asked for, such as `10.0.0.0/8`: of the peer, and all that proxies pass on.
   * Default: loopback, unless there is a `token`.
   */
  addresses?: string[]
  /** A registry of your own, with what else you measure. Default: a new one. */
  registry?: Registry | Registry<OpenMetricsContentType>
  /** The most names of tools that become labels; calls of the others are counted as `other`. Default: 100. */
  maxTools?: number
}

const LOOPBACK = ['127.0.0.0/8', '::1']

const schema = z.strictObject({
  path: z.string().startsWith('/').or(z.literal(false)).default('/metrics'),
  token: z.string().regex(/^\S+$/, 'must be a token without spaces').optional(),
  addresses: z.array(z.string()).min(1).optional(),
  registry: z.custom<MetricsOptions['registry']>(value => typeof Object(value).registerMetric === 'function', 'must be a Registry of prom-client').optional(),
  maxTools: z.int().min(0).default(100)
}).refine(({ path, registry }) => path !== false || registry !== undefined, 'needs a `registry` where it has no `path`')

// Fastify reads these of every `register` itself.
const ofFastify = new Set(['prefix', 'logLevel', 'logSerializers'])

/**
 * Counts what the servers of this process do, and serves it to Prometheus: `await app.register(metrics, { token })`. Nothing is
 * measured before. Throws FST_MCP_OPTION_INVALID at boot.
 */
export async function metrics (app: FastifyInstance, given: MetricsOptions): Promise<void> {
  const own = Object.fromEntries(Object.entries(given).filter(([name]) => !ofFastify.has(name)))
  const { path, token, addresses = token === undefined ? LOOPBACK : undefined, registry = new Registry(), maxTools } = settle('metrics', schema, own)
  const check = createScraperCheck(token, addresses)
  const end = count(registry, maxTools)
  app.addHook('onClose', async () => end())
  if (path === false) return
  app.get(path, {
    // Scrapes come every few seconds, and would fill the log.
    logLevel: 'warn',
    onRequest: async (request, reply) => {
      try {
        check(request)
      } catch (error) {
        if (toStatus(error) === 401) reply.header('www-authenticate', 'Bearer')
        throw error
      }
    }
  }, async (_request, reply) => {
    reply.header('content-type', registry.contentType).header('cache-control', 'no-store')
    return registry.metrics()
  })
}
