// The official SDK 2.x on its Fastify app: 2026-07-28 without sessions, the earlier revisions with them. With the argument `json` it
// answers each call of a session as JSON.
import { randomUUID } from 'node:crypto'
import { createMcpFastifyApp } from '@modelcontextprotocol/fastify'
import { NodeStreamableHTTPServerTransport, toNodeHandler, toWebRequest } from '@modelcontextprotocol/node'
import { createMcpHandler, isInitializeRequest, isLegacyRequest, McpServer } from '@modelcontextprotocol/server'
import { z } from 'zod'
import { ready } from '../servers/control.ts'
import { KEEP_ALIVE_MS, produce } from '../servers/work.ts'

const enableJsonResponse = process.argv[2] === 'json'
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
const stateless = toNodeHandler(createMcpHandler(createServer, { legacy: 'reject', keepAliveMs: KEEP_ALIVE_MS }))

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
    const known = sessions.get(String(id))
    if (known === undefined && (id !== undefined || !isInitializeRequest(request.body))) {
      // What belongs to no session and opens none may be of the revision that has none.
      if (id === undefined && !await isLegacyRequest(await toWebRequest(request.raw, request.body))) {
        reply.hijack()
        return await stateless(request.raw, reply.raw, request.body)
      }
      const code = id === undefined ? 400 : 404
      return await reply.code(code).send({ jsonrpc: '2.0', error: { code: -32000, message: 'No such session' }, id: null })
    }
    const transport = known ?? await openSession()
    reply.hijack()
    await transport.handleRequest(request.raw, reply.raw, request.body)
  }
})

ready(Number(new URL(await app.listen({ port: 0, host: '127.0.0.1' })).port))
