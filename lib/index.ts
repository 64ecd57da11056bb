import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Served } from './eras/handshake.ts'
import { HttpSse } from './eras/http-sse.ts'
import { Listeners } from './eras/listen.ts'
import { SessionHost } from './eras/session.ts'
import { completer, discoverResult, Stateless } from './eras/stateless.ts'
import { Streamable } from './eras/streamable.ts'
import { errorCodes } from './errors.ts'
import { Cursors } from './features/cursor.ts'
import { Prompts } from './features/prompts.ts'
import type { ListName } from './features/registry.ts'
import { Resources } from './features/resources.ts'
import { type IsSeen, Subscriptions } from './features/subscriptions.ts'
import { Tools } from './features/tools.ts'
import { OpenResponses } from './http/answer.ts'
import { createAuthenticate } from './http/auth.ts'
import { createGuard } from './http/guard.ts'
import { registerRoutes, type RequestMcp } from './http/routes.ts'
import { Mcp } from './mcp.ts'
import { type McpOptions, type ResolvedOptions, resolveOptions } from './options.ts'
import { Hooks } from './protocol/hooks.ts'
import { CallsInProgress } from './protocol/in-progress.ts'
import { createSessionMethods, createStandaloneMethods, type Offered } from './protocol/methods.ts'
import { Questions } from './protocol/questions.ts'
import { randomKey, Seal } from './protocol/seal.ts'
import { StreamPool } from './sse/pool.ts'
import { memoryStore } from './store/memory.ts'
import type { OpenStore } from './store/store.ts'
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
  const options = resolveOptions(given)
  if (Object.hasOwn(app, 'mcp')) throw new errorCodes.FST_MCP_ALREADY_REGISTERED()
  const { name, version, title, description, websiteUrl, icons, instructions, prefix, paths, auth, hosts, origins, streams, limits } = options
  const identity = defined({ name, version, title, description, websiteUrl, icons })

  const calls = new CallsInProgress()
  const pool = new StreamPool(streams)
  const responses = new OpenResponses()
  const store = (options.store ?? memoryStore()).open(options.sessions || NO_SESSIONS)
  const subscriptions = new Subscriptions()
  const hooks = new Hooks(options.tools.timeout)
  const questions = new Questions(options.ask.timeout)
  const sessions = createSessions(app, options, store, pool)
  if (sessions !== null) subscriptions.add(sessions)

  const offered = createOffered(app, options, subscriptions, sessions)
  const { tools, prompts, resources } = offered
  const complete = completer(identity)
  const served: Served = {
    identity,
    instructions,
    offered,
    desk: { methods: createSessionMethods(offered), hooks, complete: result => result },
    questions,
    sessions,
    pool,
    calls,
    retry: streams.retry,
    limits
  }
  const listeners = new Listeners({
    pool,
    subscriptions,
    complete,
    limits: options.subscriptions,
    declares: list => list === 'tools' || (list === 'prompts' ? prompts.registry.wasUsed : resources.wasUsed),
    knows: (uri, principal) => resources.find(uri, principal) !== undefined
  })
  const discover = (): object => discoverResult(offered, instructions)
  const stateless = new Stateless({
    served,
    desk: { methods: createStandaloneMethods(offered, discover), hooks, complete },
    listeners,
    seal: new Seal({ keys: options.ask.keys ?? [randomKey()], ttl: options.ask.ttl, maxBytes: options.ask.maxState }),
    audience: `${prefix}${paths.mcp} ${name}`
  })

  app.decorate('mcp', new Mcp({
    tools,
    prompts,
    resources,
    hooks,
    stats: () => ({
      sessions: store.sessions.size,
      streams: pool.size,
      calls: calls.size,
      subscriptions: listeners.size,
      questions: questions.size,
      abandoned: calls.abandoned
    })
  }))
  if (!app.hasRequestDecorator('mcp')) app.decorateRequest('mcp', null)

  app.register(async scope => registerRoutes(scope, {
    paths,
    limits,
    openAfter: streams.openAfter,
    guard: createGuard({ loopbackOnly: auth === undefined, authenticated: Boolean(auth), hosts, origins }),
    authenticate: createAuthenticate(auth),
    responses,
    pool,
    stateless,
    streamable: new Streamable(served),
    httpSse: sessions === null ? null : new HttpSse(served, sessions),
    sessions
  }), { prefix })

  app.addHook('preClose', () => closeServer({ calls, sessions, listeners, pool, responses, store }))
}

/** Null in stateless mode. */
function createSessions (app: FastifyInstance, options: ResolvedOptions, store: OpenStore, pool: StreamPool): SessionHost | null {
  const { sessions, streams, subscriptions } = options
  if (sessions === false) return null
  return new SessionHost({
    store,
    pool,
    idle: sessions.idle,
    window: sessions.replay.window,
    retry: streams.retry,
    uris: subscriptions.uris,
    onError: err => app.log.error({ err }, 'the store failed')
  })
}

/** What the server offers, with nothing in it yet. */
function createOffered (app: FastifyInstance, options: ResolvedOptions, subscriptions: Subscriptions, sessions: SessionHost | null): Offered {
  const { name, version, tools: limits, lists: { pageSize }, cache, ask } = options
  // Any node reads the cursors of another.
  const cursors = new Cursors(ask.keys?.[0] ?? `${name} ${version}`)
  const onError = (err: unknown): void => app.log.error({ err }, '`visible` failed, and so hid what it belongs to')
  const registry = (list: ListName) => ({ cursors, pageSize, onError, onChange: (isSeen: IsSeen) => subscriptions.listChanged(list, isSeen) })
  const resources: Resources = new Resources(limits, {
    ...registry('resources'),
    maxUri: options.limits.uri,
    onUpdate: uri => subscriptions.updated(uri, principal => resources.find(uri, principal) !== undefined)
  })
  return { tools: new Tools(limits, registry('tools')), prompts: new Prompts(limits, registry('prompts')), resources, cache, memory: sessions }
}

function defined<T extends object> (fields: T): T {
  // Nothing but what is undefined is left out, so the type stays.
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T
}

/** Stateless mode keeps nothing, whatever the store. */
const NO_SESSIONS = { idle: 1, max: 1, replay: { events: 1, bytes: 1, window: 1 } }

/**
 * Hosts an MCP server on a Fastify app: `await app.register(mcp, { name: 'docs', version: '1.0.0' })`, then `app.mcp.tool(…)`.
 * Throws FST_MCP_OPTION_INVALID at boot.
 */
export const mcp = fp(plugin, { fastify: '5.x', name: 'fastify-mcp-sse' })
export default mcp

export { type ErrorCode, errorCodes, McpError, type RpcError, ToolError } from './errors.ts'
export type { HandshakeRevision, Revision } from './eras/revisions.ts'
export type { Completer, CompletionContext, Completions } from './features/completion.ts'
export type { GetPrompt, PromptDefinition } from './features/prompt.ts'
export type { PromptHandle } from './features/prompts.ts'
export type { CacheHint, Handle, Visible } from './features/registry.ts'
export type { ListContext, ListedResource, Read, ResourceDefinition, TemplateDefinition } from './features/resource.ts'
export type { ResourceHandle, TemplateHandle } from './features/resources.ts'
export type { ToolDefinition, ToolHandler } from './features/tool.ts'
export type { ToolHandle } from './features/tools.ts'
export type { Variables, VariablesOf } from './features/uri-template.ts'
export type { AuthOptions, McpPrincipal, Principal } from './http/auth.ts'
export type { RequestMcp } from './http/routes.ts'
export type { Mcp, Stats } from './mcp.ts'
export type { McpOptions } from './options.ts'
export type { CallInfo, McpHooks } from './protocol/hooks.ts'
export { memoryStore } from './store/memory.ts'
export type { EventLog, OpenStore, SessionRecord, Sessions, Store, StoreLimits } from './store/store.ts'
export type { Answer, Ask, Root, Roots, Sample, SampleParams, SampleResult, UrlAnswer } from './tools/ask.ts'
export type { CallToolResult, Chunk, ContentBlock, ProgressChunk } from './tools/chunk.ts'
export { content } from './tools/content.ts'
export type { ReadContext, SessionInfo, ToolContext, ToolLog } from './tools/context.ts'
export type { GetPromptResult, PromptMessage } from './tools/prompting.ts'
export type { ReadResourceResult, ResourcePart } from './tools/read.ts'
export type { JsonSchema, Schema, StandardSchema } from './tools/schema.ts'
