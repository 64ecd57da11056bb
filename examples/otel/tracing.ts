// A span for each call, as the semantic conventions of OpenTelemetry for MCP have it, and active in all that its handler does.
import { AsyncLocalStorage } from 'node:async_hooks'
import { createHash } from 'node:crypto'
import { channel, subscribe } from 'node:diagnostics_channel'
import { type Attributes, type Context, context, type ContextManager, ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import type { CallEndEvent, CallInfo, CallStartEvent } from 'fastify-mcp-sse'

const storage = new AsyncLocalStorage<Context>()
const propagator = new W3CTraceContextPropagator()
// A client says what it likes.
const textOf = (carrier: object, key: string): string | undefined => {
  const value: unknown = Reflect.get(carrier, key)
  return typeof value === 'string' ? value : undefined
}
const getter = { keys: Object.keys, get: textOf }
const spans = new WeakMap<CallInfo, Span>()

/** The active context is what the storage holds, which the plugin binds to each call. */
const manager: ContextManager = {
  active: () => storage.getStore() ?? ROOT_CONTEXT,
  with: (active, work, self, ...args) => storage.run(active, () => work.apply(self, args)),
  bind: (active, target) => typeof target === 'function'
    ? new Proxy(target, { apply: (work, self, args) => storage.run(active, () => Reflect.apply(work, self, args)) })
    : target,
  enable: () => manager,
  disable: () => manager
}

/** Traces the calls of every server of this process, from now on. Register a tracer provider first. */
export function traceCalls (): void {
  context.setGlobalContextManager(manager)
  const tracer = trace.getTracer('fastify-mcp-sse')
  channel('fastify-mcp-sse:call:start').bindStore(storage, message => {
    const { call } = message as CallStartEvent
    const { method, target, request } = call
    // A client says in the message whose child the call is, since one HTTP request may carry several; the request itself is a link then.
    const asked = parentIn(call.params._meta)
    const carried = parentIn(request.headers)
    const link = asked && carried && trace.getSpanContext(carried)
    const parent = asked ?? carried ?? context.active()
    const name = target === undefined || method === 'resources/read' ? method : `${method} ${target.slice(0, 100)}`
    const span = tracer.startSpan(name.slice(0, 200), {
      kind: SpanKind.SERVER, attributes: attributesOf(call), links: link ? [{ context: link }] : []
    }, parent)
    spans.set(call, span)
    return trace.setSpan(parent, span)
  })
  subscribe('fastify-mcp-sse:call:end', message => finish(message as CallEndEvent))
}

/** Undefined where there is no parent, or none that is valid. */
function parentIn (carrier: unknown): Context | undefined {
  const extracted = propagator.extract(ROOT_CONTEXT, Object(carrier), getter)
  return trace.getSpanContext(extracted) && extracted
}

function attributesOf ({ id, method, target, params, revision, session, request }: CallInfo): Attributes {
  return {
    'mcp.method.name': method,
    'mcp.protocol.version': revision,
    'jsonrpc.request.id': String(id),
    'network.transport': 'tcp',
    'network.protocol.name': 'http',
    'network.protocol.version': request.raw.httpVersion,
    // Without auth the id alone lets whoever reads it act in the session; its hash still tells which calls belong together.
    'mcp.session.id': session === null ? undefined : createHash('sha256').update(session.id).digest('hex').slice(0, 16),
    ...(method === 'tools/call' && { 'gen_ai.tool.name': target, 'gen_ai.operation.name': 'execute_tool' }),
    ...(method === 'prompts/get' && { 'gen_ai.prompt.name': target }),
    // A query may hold a secret, and what stands before a host.
    ...(method.startsWith('resources/') && typeof params.uri === 'string' && { 'mcp.resource.uri': params.uri.replace(/[?#].*$/s, '').replace(/\/\/[^/]*@/, '//') })
  }
}

function finish ({ call, outcome, code, rpcCode, error, duration, firstChunk, chunks, bytes, blocked }: CallEndEvent): void {
  const span = spans.get(call)
  // It began before anybody traced.
  if (span === undefined) return
  if (firstChunk !== undefined) span.addEvent('first chunk', {}, Date.now() - duration + firstChunk)
  span.setAttributes({ 'mcp_server.outcome': outcome, 'mcp_server.chunks': chunks, 'mcp_server.bytes': bytes, 'mcp_server.blocked_ms': blocked })
  // What clients make up would be as many names as they like.
  if (code === 'FST_MCP_METHOD_NOT_FOUND') span.updateName('unknown method')
  else if (code?.endsWith('_UNKNOWN')) span.updateName(call.method)
  if (rpcCode !== undefined) span.setAttributes({ 'rpc.response.status_code': String(rpcCode), 'mcp_server.code': code })
  // Of JSON-RPC errors only these are the server's; the others are its client's.
  const isFault = rpcCode === -32603 || (rpcCode !== undefined && rpcCode <= -32000 && rpcCode >= -32099)
  if (isFault || outcome === 'tool_error') {
    span.setAttribute('error.type', isFault ? String(rpcCode) : 'tool_error')
    span.setStatus({ code: SpanStatusCode.ERROR, message: error instanceof Error ? error.message : undefined })
    if (error instanceof Error) span.recordException(error)
  }
  span.end()
}
