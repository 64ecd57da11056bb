// fastify-mcp: its plugin for Streamable HTTP with sessions.
import type { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import Fastify from 'fastify'
import { Sessions, streamableHttp } from 'fastify-mcp'
import { ready } from '../servers/control.ts'
import { createServer } from './classic-tools.ts'

const app = Fastify()
await app.register(streamableHttp, {
  stateful: true,
  mcpEndpoint: '/mcp',
  sessions: new Sessions<StreamableHTTPServerTransport>(),
  createServer: () => createServer().server
})

ready(Number(new URL(await app.listen({ port: 0, host: '127.0.0.1' })).port))
