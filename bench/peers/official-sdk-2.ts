// The official SDK 2.x on its Fastify app: Streamable HTTP with sessions, and 2026-07-28 without. With the argument `json` it answers
// each call of a session as JSON.
import { randomUUID } from 'node:crypto'
import { createMcpFastifyApp } from '@modelcontextprotocol/fastify'
import { NodeStreamableHTTPServerTransport, toNodeHandler } from '@modelcontextprotocol/node'
import { createMcpHandler, isInitializeRequest, McpServer } from '@modelcontextprotocol/server'
import { z } from 'zod'
import { ready } from '../servers/control.ts'
import { KEEP_ALIVE_MS, produce } from '../servers/work.ts'

const enableJsonResponse = process.argv.includes('json')
const STREAM = z.object({ chunks: z.number(), bytes: z.number() })

function createServer (): McpServer {
  const server = new McpServer({ name: 'bench', version: '1.0.0' })
  server.registerTool('echo', { description: 'Says it back', inputSchema: z.object({ message: z.string() }) }, ({ message }) => {
    return { content: [{ type: 'text', text: message }] }
  })
  const streaming = (name: string, description: string, collect: boolean): void => {
    server.registerTool(name, { description, inputSchema: STREAM }, async (input, { mcpReq }) => {
      const progressToken = mcpReq._meta?.progressToken
      let progress = 0
      let text = ''
      for await (const message of produce(input)) {
        if (collect) text += message
        if (progressToken === undefined) continue
        await mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress: progress++, message } })
      }
      return { content: [{ type: 'text', text }] }
    })
  }
  streaming('chunks', 'Streams, and keeps its chunks for the result', true)
  streaming('watch', 'Streams only', false)
  return server
}

const sessions = new Map<string, NodeStreamableHTTPServerTransport>()
const stateless = toNodeHandler(createMcpHandler(createServer, { keepAliveMs: KEEP_ALIVE_MS }))

async function openSession (): Promise<NodeStreamableHTTPServerTransport> {
  const transport = new NodeStreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    enableJsonResponse,
    keepAliveMs: KEEP_ALIVE_MS,
    onsessioninitialized: id => { sessions.set(id, transport) }
  })
  transport.onclose = () => { sessions.delete(transport.sessionId ?? '') }
  await createServer().connect(transport)
  return transport
}

const app = createMcpFastifyApp()

app.route({
  method: ['GET', 'POST', 'DELETE'],
  url: '/mcp',
  async handler (request, reply) {
    const id = request.headers['mcp-session-id']
    if (id === undefined && !isInitializeRequest(request.body)) {
      reply.hijack()
      return await stateless(request.raw, reply.raw, request.body)
    }
    const known = sessions.get(String(id))
    if (known === undefined && id !== undefined) {
      return await reply.code(404).send({ jsonrpc: '2.0', error: { code: -32001, message: 'Session not found' }, id: null })
    }
    const transport = known ?? await openSession()
    reply.hijack()
    await transport.handleRequest(request.raw, reply.raw, request.body)
  }
})

ready(Number(new URL(await app.listen({ port: 0, host: '127.0.0.1' })).port))
