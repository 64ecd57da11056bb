// The official SDK 1.x on Fastify: Streamable HTTP with sessions, and HTTP+SSE. With the argument `json` it answers each call as JSON.
import { randomUUID } from 'node:crypto'
import { SSEServerTransport } from '@modelcontextprotocol/sdk/server/sse.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import { isInitializeRequest } from '@modelcontextprotocol/sdk/types.js'
import Fastify from 'fastify'
import { ready } from '../servers/control.ts'
import { KEEP_ALIVE_MS } from '../servers/work.ts'
import { createServer } from './classic-tools.ts'

const enableJsonResponse = process.argv.includes('json')
const sessions = new Map<string, StreamableHTTPServerTransport>()
const streams = new Map<string, SSEServerTransport>()

async function openSession (): Promise<StreamableHTTPServerTransport> {
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    enableJsonResponse,
    keepAliveMs: KEEP_ALIVE_MS,
    onsessioninitialized: id => { sessions.set(id, transport) }
  })
  transport.onclose = () => { sessions.delete(transport.sessionId ?? '') }
  await createServer().connect(transport)
  return transport
}

const app = Fastify()

app.route({
  method: ['GET', 'POST', 'DELETE'],
  url: '/mcp',
  async handler (request, reply) {
    const id = request.headers['mcp-session-id']
    const known = sessions.get(String(id))
    if (known === undefined && id !== undefined) {
      return await reply.code(404).send({ jsonrpc: '2.0', error: { code: -32001, message: 'Session not found' }, id: null })
    }
    if (known === undefined && !isInitializeRequest(request.body)) {
      return await reply.code(400).send({ jsonrpc: '2.0', error: { code: -32000, message: 'No valid session ID provided' }, id: null })
    }
    const transport = known ?? await openSession()
    reply.hijack()
    await transport.handleRequest(request.raw, reply.raw, request.body)
  }
})

app.get('/sse', async (_request, reply) => {
  const transport = new SSEServerTransport('/messages', reply.raw)
  streams.set(transport.sessionId, transport)
  transport.onclose = () => { streams.delete(transport.sessionId) }
  reply.hijack()
  await createServer().connect(transport)
})

app.post<{ Querystring: { sessionId?: string } }>('/messages', async (request, reply) => {
  const transport = streams.get(request.query.sessionId ?? '')
  if (transport === undefined) return await reply.code(404).send('Session not found')
  reply.hijack()
  await transport.handlePostMessage(request.raw, reply.raw, request.body)
})

ready(Number(new URL(await app.listen({ port: 0, host: '127.0.0.1' })).port))
