import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { errorCodes } from './errors.ts'
import { OpenResponses } from './http/responses.ts'
import { createAuthenticate, withScopes } from './http/auth.ts'
import { createChallenge } from './http/challenge.ts'
import { useCors } from './http/cors.ts'
import { createGuard } from './http/guard.ts'
import { useHeaders } from './http/headers.ts'
import { createMetadata, registerMetadata } from './http/metadata.ts'
import { createOrigins } from './http/origins.ts'
import { createRates } from './http/rates.ts'
import { createRefuse } from './http/refusal.ts'
import { registerRoutes, type RequestMcp } from './http/routes.ts'
import { withTickets } from './http/ticket.ts'
import { Mcp } from './mcp.ts'
import { type McpOptions, resolveOptions } from './options.ts'
import { closeServer } from './ops/close.ts'
import { Connections } from './ops/connections.ts'
import { Drain } from './ops/drain.ts'
import { createEvents } from './ops/events.ts'
import { Handshakes } from './ops/handshakes.ts'
import { registerHealth } from './ops/health.ts'
import { Http2Connections } from './ops/http2-connections.ts'
import { type Running, running } from './ops/running.ts'
import { createServer } from './assembly.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The MCP server of this scope. */
    mcp: Mcp
  }
  interface FastifyRequest {
    /** How a request of an MCP client was understood, null on every other request. */
    mcp: RequestMcp | null
  }
}

// Said once, at boot.
const OPEN = '`auth: false` lets in everybody who reaches this server: ' +
  'set `auth.tokens` or `auth.verify`, or leave `auth` out to serve this machine alone'

async function plugin (app: FastifyInstance, given: McpOptions): Promise<void> {
  const options = resolveOptions(given)
  if (Object.hasOwn(app, 'mcp')) throw new errorCodes.FST_MCP_ALREADY_REGISTERED()
  const { prefix, publicPath, paths, auth, hosts, origins, requireHttps, helmet, streams, limits, rateLimit } = options
  const tell = createEvents(options.name)
  const server = createServer(options, app.prefix, app.log, tell)
  const { pool, store, sessions, stateless, streamable, httpSse, tickets, tools, scopes } = server
  const metadata = createMetadata(auth || {}, app.prefix)
  const responses = new OpenResponses()
  const http1 = Connections.of(app.server)
  const wires = { http1, http2: Http2Connections.of(app.server), handshakes: Handshakes.of(app.server) }

  const drain = new Drain(server, options.drain.timeout, app.log)
  app.decorate('mcp', new Mcp({ ...server, drain: () => drain.run() }))
  if (!app.hasRequestDecorator('mcp')) app.decorateRequest('mcp', null)

  if (auth === false) app.log.warn(OPEN)

  const authenticate = createAuthenticate(auth)
  const challenge = createChallenge({ metadata: metadata?.url, scopes: (auth || {}).scopes ?? [] })
  const isListed = createOrigins(origins)

  app.register(async shared => {
    const config = await useHeaders(shared, { helmet, requireHttps, isCrossOrigin: origins.length > 0 })
    if (metadata !== null) registerMetadata(shared, metadata, config)
    shared.register(async scope => registerRoutes(scope, {
      config,
      cors: origins.length === 0 ? null : useCors(scope, { isListed, maxAge: options.cors.maxAge }),
      paths,
      publicPath,
      limits,
      openAfter: streams.openAfter,
      guard: createGuard({ loopbackOnly: auth === undefined, authenticated: Boolean(auth), hosts, isListed, requireHttps }),
      authenticate: withScopes(authenticate, scopes),
      authenticateStream: withScopes(withTickets(authenticate, tickets), scopes),
      tickets,
      challenge,
      refuse: createRefuse(challenge, tell),
      rates: await createRates(scope, { rateLimit, hasPrincipals: Boolean(auth), tools, counters: store.counters, name: scope.prefix + paths.mcp }),
      responses,
      http1,
      pool,
      stateless,
      streamable,
      httpSse,
      sessions
    }), { prefix })
  })

  const { health, ready } = options
  const problem = (): string | null => drain.isDraining ? 'draining' : store.problem()
  const own: Running = { server: options.name, stats: server.stats, hasMethod: server.hasMethod, hasTool: name => tools.registry.has(name), problem }
  running.add(own)
  app.addHook('onClose', async () => { running.delete(own) })
  app.register(async scope => registerHealth(scope, { health, ready, mcp: app.mcp, store, problem }))
  app.addHook('onReady', async () => { await store.opened() })
  app.addHook('preClose', () => closeServer({ ...server, within: app.initialConfig.pluginTimeout || Infinity, drain, responses, ...wires }))
}

/**
 * Hosts an MCP server on a Fastify app: `await app.register(mcp, { name: 'docs', version: '1.0.0' })`, then `app.mcp.tool(…)`.
 * Throws FST_MCP_OPTION_INVALID at boot.
 */
export const mcp = fp(plugin, { fastify: '5.x', name: 'fastify-mcp-sse' })
export default mcp

export type {
  AuthEvent, CallEndEvent, CallStartEvent, KickEvent, LimitEvent, LimitName, Outcome, ResumeEvent, RouteEvent, StoreEvent
} from './channels.ts'
export { type ErrorCode, errorCodes, McpError, type RpcError, ToolError } from './errors.ts'
export type { HandshakeRevision, Revision } from './eras/revisions.ts'
export type { Completer, CompletionContext, Completions } from './features/completion.ts'
export type { GetPrompt, PromptDefinition } from './features/prompt.ts'
export type { PromptHandle } from './features/prompts.ts'
export type { CacheHint, Handle, Visible } from './features/registry.ts'
export type { ListContext, ListedResource, Read, ResourceDefinition, TemplateDefinition } from './features/resource.ts'
export type { ResourceHandle, TemplateHandle } from './features/resources.ts'
export type { RateLimit, ToolDefinition, ToolHandler } from './features/tool.ts'
export type { ToolHandle } from './features/tools.ts'
export type { Variables, VariablesOf } from './features/uri-template.ts'
export type { AuthOptions, McpPrincipal, Principal } from './http/auth.ts'
export type { OriginRule } from './http/origins.ts'
export type { RequestMcp } from './http/routes.ts'
export type { Mcp, Stats } from './mcp.ts'
export type { McpOptions } from './options.ts'
export type { CallInfo } from './protocol/call-info.ts'
export type { McpHooks } from './protocol/hooks.ts'
export { memoryStore } from './store/memory.ts'
export type {
  Bus, BusListener, Change, Count, Counters, Created, EventLog, LoggedEvent, LogLevel, OpenStore, Replay, SessionRecord, Sessions, Store, StoreLimits,
  TicketRecord, Tickets, UsedTicket
} from './store/store.ts'
export type { Answer, Ask, Root, Roots, Sample, SampleParams, SampleResult, UrlAnswer } from './tools/ask.ts'
export type { CallToolResult, Chunk, ContentBlock, ProgressChunk } from './tools/chunk.ts'
export { content } from './tools/content.ts'
export type { ClientCapabilities, ReadContext, SessionInfo, ToolContext, ToolLog } from './tools/context.ts'
export type { GetPromptResult, PromptMessage } from './tools/prompting.ts'
export type { ReadResourceResult, ResourcePart } from './tools/read.ts'
export type { JsonSchema, Schema, StandardSchema } from './tools/schema.ts'
