// fastmcp: Streamable HTTP with sessions, and the /sse that it serves beside. With the argument `json` it answers each call as JSON.
import { FastMCP } from 'fastmcp'
import { z } from 'zod'
import { ready } from '../servers/control.ts'
import { sparePort } from '../servers/spare-port.ts'
import { produce } from '../servers/work.ts'

const STREAM = z.object({ chunks: z.number(), bytes: z.number() })

const silence = (): void => {}
const server = new FastMCP({
  name: 'bench',
  version: '1.0.0',
  logger: { debug: silence, error: silence, info: silence, log: silence, warn: silence },
  // The load answers no pings and has no roots. What keeps a stream alive is the comment of the SDK every 15 s.
  ping: { enabled: false },
  roots: { enabled: false }
})

server.addTool({
  name: 'echo',
  description: 'Says it back',
  parameters: z.object({ message: z.string() }),
  execute: async ({ message }) => message
})
for (const [name, description, collect] of [
  ['chunks', 'Streams, and keeps its chunks for the result', true],
  ['watch', 'Streams only', false]
] as const) {
  server.addTool({
    name,
    description,
    parameters: STREAM,
    async execute (input, { reportProgress }) {
      let progress = 0
      let text = ''
      for await (const message of produce(input)) {
        if (collect) text += message
        await reportProgress({ progress: progress++, message })
      }
      return text
    }
  })
}

// It takes no port 0.
const port = await sparePort()
await server.start({ transportType: 'httpStream', httpStream: { port, host: '127.0.0.1', enableJsonResponse: process.argv.includes('json') } })
ready(port)
