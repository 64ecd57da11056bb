import Fastify, { type FastifyInstance } from 'fastify'
import { mcp } from '../../lib/index.ts'
import { addAskingTools } from './asking-tools.ts'
import { addPlainTools } from './plain-tools.ts'
import { addPrompts } from './sayings.ts'
import { addResources } from './writings.ts'

interface Hello {
  method?: unknown
  params?: { protocolVersion?: unknown }
}

const NEWEST = '2025-11-25'

/**
 * The server that the official conformance runner expects, built on the public API alone.
 * `revision`: what the runner was told to test. Its clients ask for the newest revision with `initialize` whatever that is, and its stable
 * release names an old one in a header, so the server is made to hear the revision that is meant.
 */
export async function conformanceServer (revision: string): Promise<FastifyInstance> {
  const app = Fastify({ logger: { level: process.env.LOG_LEVEL ?? 'fatal' } })
  if (revision <= NEWEST) {
    app.addHook('onRequest', async ({ headers }) => {
      if (headers['mcp-protocol-version'] !== undefined) headers['mcp-protocol-version'] = revision
    })
    app.addHook<{ Body: Hello | undefined }>('preHandler', async ({ body }) => {
      if (body?.method === 'initialize' && body.params !== undefined) body.params.protocolVersion = revision
    })
  }
  await app.register(mcp, { name: 'conformance', version: '1.0.0', streams: { retry: 100 } })
  addPlainTools(app)
  addAskingTools(app)
  addResources(app)
  addPrompts(app)
  return app
}
