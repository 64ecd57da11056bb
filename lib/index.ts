import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { HttpSse } from './eras/http-sse.ts'
import { SessionHost } from './eras/session.ts'
import { Streamable } from './eras/streamable.ts'
import { errorCodes } from './errors.ts'
import { Tools } from './features/tools.ts'
import { OpenResponses } from './http/answer.ts'
import { createAuthenticate } from './http/auth.ts'
import { createGuard } from './http/guard.ts'
import { registerRoutes, type RequestMcp } from './http/routes.ts'
import { Mcp } from './mcp.ts'
import { type McpOptions, resolveOptions } from './options.ts'
import { CallsInProgress } from './protocol/in-progress.ts'
import { notificationOf } from './protocol/message.ts'
import { createMethods } from './protocol/methods.ts'
import { StreamPool } from './sse/pool.ts'
import { memoryStore } from './store/memory.ts'
import { closeServer } from './ops/close.ts'

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

async function plugin (app: FastifyInstance, given: McpOptions): Promise<void> {
  const { name, version, title, instructions, prefix, paths, auth, origins, hosts, limits, ...options } = resolveOptions(given)
  if (Object.hasOwn(app, 'mcp')) throw new errorCodes.FST_MCP_ALREADY_REGISTERED()
  const { streams, sessions: keeps, tools: { pageSize, ...toolLimits } } = options

  const calls = new CallsInProgress()
  const pool = new StreamPool(streams)
  const responses = new OpenResponses()
  const store = (options.store ?? memoryStore()).open(keeps || NO_SESSIONS)
  const onError = (err: unknown): void => app.log.error({ err }, 'the store failed')
  const sessions = keeps === false
    ? null
    : new SessionHost({
      store, pool, idle: keeps.idle, window: keeps.replay.window, retry: streams.retry, onError
    })

  const tools = new Tools({ ...toolLimits, pageSize }, () => sessions?.notifyAll(TOOLS_CHANGED, notificationOf(TOOLS_CHANGED)))
  const identity = { name, version, title, instructions }
  const served = { identity, methods: createMethods(tools, store.sessions), sessions, pool, calls, retry: streams.retry, limits }

  app.decorate('mcp', new Mcp(tools, () => ({
    sessions: store.sessions.size, streams: pool.size, calls: calls.size, abandoned: calls.abandoned
  })))
  if (!app.hasRequestDecorator('mcp')) app.decorateRequest('mcp', null)

  app.register(async scope => registerRoutes(scope, {
    paths,
    limits,
    openAfter: streams.openAfter,
    guard: createGuard({ loopbackOnly: auth === undefined, authenticated: Boolean(auth), hosts, origins }),
    authenticate: createAuthenticate(auth),
    responses,
    pool,
    streamable: new Streamable(served),
    httpSse: sessions === null ? null : new HttpSse(served, sessions),
    sessions
  }), { prefix })

  app.addHook('preClose', () => closeServer({ calls, sessions, pool, responses, store }))
}

const TOOLS_CHANGED = 'notifications/tools/list_changed'

/** Stateless mode keeps nothing, whatever the store. */
const NO_SESSIONS = { idle: 1, max: 1, replay: { events: 1, bytes: 1, window: 1 } }

/**
 * Hosts an MCP server on a Fastify app: `await app.register(mcp, { name: 'docs', version: '1.0.0' })`, then `app.mcp.tool(…)`.
 * Throws FST_MCP_OPTION_INVALID at boot.
 */
export const mcp = fp(plugin, { fastify: '5.x', name: 'fastify-mcp-sse' })
export default mcp

export { type ErrorCode, errorCodes, ToolError } from './errors.ts'
export type { ToolDefinition, ToolHandler } from './feature./tool.ts'
export type { ToolHandle } from './features/tools.ts'
export type { AuthOptions, McpPrincipal, Principal } from './http/auth.ts'
export type { RequestMcp } from './http/routes.ts'
export type { Mcp, Stats } from './mcp.ts'
export type { McpOptions } from './options.ts'
export { memoryStore } from './store/memory.ts'
export type { EventLog, OpenStore, SessionRecord, Sessions, Store, StoreLimits } from './store/store.ts'
export type { CallToolResult, Chunk, ContentBlock, ProgressChunk } from './tools/chunk.ts'
export type { SessionInfo, ToolContext, ToolLog } from './tools/context.ts'
export type { JsonSchema, Schema, StandardSchema } from './tools/schema.ts'
