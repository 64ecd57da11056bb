// The example that traces calls, as a process of its own that sends its spans to a collector over OTLP.
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import t, { type Test } from 'tap'
import { startChild } from './child.ts'
import { Client as RawClient, StatelessClient, until } from './client.ts'

interface Span {
  traceId: string
  spanId: string
  parentSpanId?: string
  name: string
  kind: number
  status: { code?: number, message?: string }
  events: { name: string, timeUnixNano: string }[]
  links: { traceId: string }[]
  attributes: Record<string, unknown>
  /** Milliseconds. */
  duration: number
  /** Milliseconds from the start to the event of this name. */
  until (event: string): number
}

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const TRACEPARENT = `00-${TRACE}-00f067aa0ba902b7-01`
const OTHER = '0af7651916cd43dd8448eb211c80319c'
const SERVER = 2
const ERROR = 2

const msBetween = (from: string, to: string): number => Number(BigInt(to) - BigInt(from)) / 1e6

/** A collector of OTLP over HTTP, as JSON. */
async function collect (t: Test) {
  const spans: Span[] = []
  const resources: unknown[] = []
  const server = createServer(async (request: IncomingMessage, response) => {
    if (request.method !== 'POST' || request.url !== '/v1/traces' || request.headers['content-type'] !== 'application/json') {
      response.writeHead(400).end()
      return
    }
    for (const { resource, scopeSpans } of JSON.parse(await text(request)).resourceSpans) {
      resources.push(flat(resource.attributes)['service.name'])
      for (const span of scopeSpans.flatMap((scope: any) => scope.spans)) {
        const start = span.startTimeUnixNano
        spans.push({
          ...span,
          attributes: flat(span.attributes),
          duration: msBetween(start, span.endTimeUnixNano),
          until: (event: string) => msBetween(start, span.events.find(({ name }: { name: string }) => name === event).timeUnixNano)
        })
      }
    }
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const find = async (name: string, fits: (span: Span) => boolean = () => true): Promise<Span> => {
    const found = (): Span | undefined => spans.find(span => span.name === name && fits(span))
    await until(() => found() !== undefined, `the span "${name}"`)
    return found() as Span
  }
  return { url: `http://127.0.0.1:${port}`, spans, resources, find }
}

const flat = (attributes: { key: string, value: Record<string, unknown> }[]): Record<string, unknown> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]))

t.test('a call of the official client is a span of its trace, from the request to the end of the stream', async t => {
  const collector = await collect(t)
  const child = await startChild(t, 'examples/otel/traced-server.ts', { env: { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url } })
  const client = new Client({ name: 'test', version: '1.0.0' })
  t.teardown(() => client.close())
  const transport = new StreamableHTTPClientTransport(new URL('/mcp', child.url))
  await client.connect(transport)
  const _meta = { traceparent: TRACEPARENT, tracestate: 'vendor=1' }
  await client.callTool({ name: 'browse', arguments: { shelf: 'history' }, _meta }, { onprogress () {} })

  const call = await collector.find('tools/call browse')
  t.match(call, {
    traceId: TRACE,
    parentSpanId: '00f067aa0ba902b7',
    traceState: 'vendor=1',
    kind: SERVER,
    links: [],
    attributes: {
      'mcp.method.name': 'tools/call',
      'mcp.protocol.version': /^20\d\d-\d\d-\d\d$/,
      'jsonrpc.request.id': /^\d+$/,
      'mcp.session.id': /^[\da-f]{16}$/,
      'gen_ai.tool.name': 'browse',
      'gen_ai.operation.name': 'execute_tool',
      'network.transport': 'tcp',
      'network.protocol.name': 'http',
      'network.protocol.version': '1.1',
      'mcp_server.outcome': 'ok',
      'mcp_server.chunks': 2
    }
  })
  t.notOk('error.type' in call.attributes)
  t.not(call.status.code, ERROR)
  t.ok(call.duration >= 400 && call.duration < 10_000, `two books, 200 ms each, in a span of ${call.duration} ms`)
  t.ok(call.until('first chunk') >= 19 && call.until('first chunk') < call.duration - 350, `the first after ${call.until('first chunk')} ms`)
  t.strictSame(call.events.map(({ name }) => name).sort(), ['book', 'book', 'first chunk'], 'the span is active after each yield')

  const lookUp = await collector.find('look up')
  t.match(lookUp, { traceId: TRACE, parentSpanId: call.spanId }, 'a span made inside of the tool is a child of the call')
  t.ok(lookUp.duration >= 19 && lookUp.duration < call.duration, `${lookUp.duration} ms`)

  await client.listTools()
  const list = await collector.find('tools/list')
  t.notOk(list.parentSpanId, 'who brings no parent begins a trace')
  t.strictSame([...new Set(collector.resources)], ['books'])
  t.notOk(JSON.stringify(collector.spans).includes(String(transport.sessionId)), 'the session id stays here')
})

t.test('parents come from the message, else from the HTTP request, and invalid ones are ignored', async t => {
  const collector = await collect(t)
  const child = await startChild(t, 'examples/otel/traced-server.ts', { env: { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url } })
  const client = await RawClient.connect(child.url)
  const ping = async (id: string, _meta: object | undefined, traceparent?: string): Promise<Span> => {
    await client.post({ jsonrpc: '2.0', id, method: 'ping', params: { _meta } }, traceparent === undefined ? {} : { traceparent })
    return collector.find('ping', ({ attributes }) => attributes['jsonrpc.request.id'] === id)
  }
  const header = `00-${OTHER}-b7ad6b7169203331-01`
  t.match(await ping('header', undefined, header), { traceId: OTHER, parentSpanId: 'b7ad6b7169203331' })
  t.match(await ping('both', { traceparent: TRACEPARENT }, header), { traceId: TRACE, links: [{ traceId: OTHER }] })
  for (const [index, traceparent] of ['nonsense', 7, {}, { toString: 1 }, null, `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`, 'x'.repeat(10_000)].entries()) {
    const span = await ping(`bad-${index}`, { traceparent, tracestate: traceparent })
    t.notOk(span.parentSpanId, JSON.stringify(traceparent).slice(0, 50))
    t.not(span.traceId, TRACE)
  }
})

t.test('calls that fail say how, and no client makes names of spans', async t => {
  const collector = await collect(t)
  const child = await startChild(t, 'examples/otel/traced-server.ts', { env: { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url } })
  const client = await RawClient.connect(child.url)
  await client.call('browse', { shelf: 'none' })
  const sorry = await collector.find('tools/call browse')
  t.match(sorry, { status: { code: ERROR, message: 'There is no shelf "none"' }, attributes: { 'error.type': 'tool_error' } })
  t.notOk('rpc.response.status_code' in sorry.attributes, 'the answer is a result')
  t.ok(sorry.events.some(({ name }) => name === 'exception'))

  await client.call('made-up')
  const unknown = await collector.find('tools/call')
  t.match(unknown, { attributes: { 'rpc.response.status_code': '-32602', 'mcp_server.code': 'FST_MCP_TOOL_UNKNOWN' } })
  t.notOk('error.type' in unknown.attributes || unknown.status.code === ERROR, 'a mistake of the client is no failure of the server')
  await client.request('made/up')
  t.match(await collector.find('unknown method'), { attributes: { 'rpc.response.status_code': '-32601', 'mcp.method.name': 'made/up' } })
  await client.request('resources/read', { uri: `shelf://history?key=secret${'x'.repeat(300)}` })
  t.match(await collector.find('resources/read'), { attributes: { 'mcp.resource.uri': 'shelf://history' } })
  await client.request('resources/read', { uri: 'shelf://none' })
  t.match(await collector.find('resources/read', ({ attributes }) => attributes['mcp.resource.uri'] === 'shelf://none'), {
    status: { code: ERROR, message: /There is no shelf "none"/ }, attributes: { 'error.type': '-32603', 'mcp_server.code': 'FST_MCP_HANDLER_FAILED' }
  })
  await new StatelessClient(child.url).request('prompts/get', { name: 'none' })
  const stateless = await collector.find('unknown method', ({ attributes }) => attributes['mcp.method.name'] === 'prompts/get')
  t.match(stateless, { attributes: { 'mcp.protocol.version': '2026-07-28', 'gen_ai.prompt.name': 'none', 'rpc.response.status_code': '-32601' } })
  t.notOk('mcp.session.id' in stateless.attributes, 'there is no session')
  await client.call('x'.repeat(5_000))
  t.equal((await collector.find('tools/call', ({ attributes }) => String(attributes['gen_ai.tool.name']).startsWith('x'))).attributes['gen_ai.tool.name'], 'x'.repeat(256))
})

t.test('without a collector the spans are printed, and SIGTERM ends it in order', async t => {
  const child = await startChild(t, 'examples/otel/traced-server.ts')
  await (await RawClient.connect(child.url)).call('browse', { shelf: 'poetry' })
  await until(() => child.output().includes("name: 'tools/call browse'"), 'the span')
  await child.stop('SIGTERM')
  t.equal(child.process.exitCode, 0)
})
