import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { z } from 'zod'
import { produce } from '../servers/work.ts'

const STREAM = { chunks: z.number(), bytes: z.number() }

/** The suite's tools on the official SDK 1.x, a chunk a progress notification. A server of this SDK serves one session. */
export function createServer (): McpServer {
  const server = new McpServer({ name: 'bench', version: '1.0.0' })
  server.registerTool('echo', { description: 'Says it back', inputSchema: { message: z.string() } }, ({ message }) => {
    return { content: [{ type: 'text', text: message }] }
  })
  const streaming = (name: string, description: string, collect: boolean): void => {
    server.registerTool(name, { description, inputSchema: STREAM }, async (input, { _meta, sendNotification }) => {
      const progressToken = _meta?.progressToken
      let progress = 0
      let text = ''
      for await (const message of produce(input)) {
        if (collect) text += message
        if (progressToken === undefined) continue
        await sendNotification({ method: 'notifications/progress', params: { progressToken, progress: progress++, message } })
      }
      return { content: [{ type: 'text', text }] }
    })
  }
  streaming('chunks', 'Streams, and keeps its chunks for the result', true)
  streaming('watch', 'Streams only', false)
  return server
}
