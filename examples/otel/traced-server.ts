// Calls as traces: `npm run example examples/otel/traced-server.ts`. OTEL_EXPORTER_OTLP_ENDPOINT says where they go, else they are printed.
import { setTimeout } from 'node:timers/promises'
import { trace } from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { BasicTracerProvider, BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import closeWithGrace from 'close-with-grace'
import Fastify from 'fastify'
import mcp, { ToolError } from 'fastify-mcp-sse'
import { z } from 'zod'
import { traceCalls } from './tracing.ts'

const provider = new BasicTracerProvider({
  resource: resourceFromAttributes({ 'service.name': process.env.OTEL_SERVICE_NAME ?? 'books' }),
  spanProcessors: [process.env.OTEL_EXPORTER_OTLP_ENDPOINT === undefined
    ? new SimpleSpanProcessor(new ConsoleSpanExporter())
    : new BatchSpanProcessor(new OTLPTraceExporter(), { scheduledDelayMillis: 1_000 })],
  // Clients name methods, tools and URIs.
  spanLimits: { attributeValueLengthLimit: 256 }
})
trace.setGlobalTracerProvider(provider)
traceCalls()

const app = Fastify({ logger: { level: 'warn' } })
await app.register(mcp, { name: 'books', version: '1.0.0' })
app.addHook('onClose', () => provider.shutdown())

const shelves = new Map([['history', ['SPQR', 'The Guns of August']], ['poetry', ['Howl']]])
const tracer = trace.getTracer('books')

app.mcp.tool('browse', {
  description: 'Tells the books of a shelf, one by one.',
  input: z.object({ shelf: z.string() })
}, async function * ({ shelf }, { signal }) {
  // A span of your own is a child of the call's.
  const books = await tracer.startActiveSpan('look up', async span => {
    await setTimeout(20, undefined, { signal }).finally(() => span.end())
    return shelves.get(shelf)
  })
  if (books === undefined) throw new ToolError(`There is no shelf "${shelf}"`)
  for (const book of books) {
    yield `${book}\n`
    await setTimeout(200, undefined, { signal })
    // The call's span is active here too, after each yield.
    trace.getActiveSpan()?.addEvent('book', { book })
  }
})

app.mcp.resource('shelf://{shelf}', { name: 'shelf' }, ({ shelf }) => {
  const books = shelves.get(shelf)
  if (books === undefined) throw new ToolError(`There is no shelf "${shelf}"`)
  return books.join('\n')
})

closeWithGrace({ delay: 10_000 }, () => app.close())
const url = await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT ?? 3000) })
console.log(`${url}/mcp and ${url}/sse`)
