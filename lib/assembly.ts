import type { FastifyBaseLogger } from 'fastify'
import { type Served, sessionInquiries } from './eras/handshake.ts'
import { HttpSse } from './eras/http-sse.ts'
import { Listeners } from './eras/listen.ts'
import { SessionHost } from './eras/session-host.ts'
import { completer, discoverResult, Stateless } from './eras/stateless.ts'
import { Streamable } from './eras/streamable.ts'
import { errorCodes, logSafely } from './errors.ts'
import { Cursors } from './features/cursor.ts'
import { Prompts } from './features/prompts.ts'
import type { ListName } from './features/registry.ts'
import { Resources } from './features/resources.ts'
import { Scopes } from './features/scopes.ts'
import { type IsSeen, Subscriptions } from './features/subscriptions.ts'
import { Tools } from './features/tools.ts'
import type { Principal } from './http/auth.ts'
import type { McpParts } from './mcp.ts'
import type { ResolvedOptions } from './options.ts'
import { Hooks } from './protocol/hooks.ts'
import { CallsInProgress } from './protocol/in-progress.ts'
import { createSessionMethods, createStandaloneMethods, type Offered } from './protocol/methods.ts'
import { createScopeCheck } from './protocol/needs.ts'
import { Questions } from './protocol/questions.ts'
import { randomKey, Seal } from './protocol/seal.ts'
import { StreamPool } from './sse/pool.ts'
import { memoryStore } from './store/memory.ts'
import type { OpenStore } from './store/store.ts'

/** One MCP server, put together: what it offers, and the eras that offer it. */
export interface Server extends McpParts {
  readonly calls: CallsInProgress
  readonly pool: StreamPool
  readonly store: OpenStore
  /** Null in stateless mode. */
  readonly sessions: SessionHost | null
  readonly listeners: Listeners
  readonly scopes: Scopes
  readonly stateless: Stateless
  readonly streamable: Streamable
  /** Null when HTTP+SSE is off. */
  readonly httpSse: HttpSse | null
}

/** Stateless mode keeps nothing, whatever the store. */
const NO_SESSIONS = { idle: 1, max: 1, replay: { events: 1, bytes: 1, window: 1 } }

/** `scopePrefix`: of the scope that the server was registered in. */
export function createServer (options: ResolvedOptions, scopePrefix: string, log: FastifyBaseLogger): Server {
  const { instructions, prefix, paths, name, streams, limits, ask } = options
  const calls = new CallsInProgress()
  const pool = new StreamPool(streams)
  const store = (options.store ?? memoryStore()).open(options.sessions || NO_SESSIONS)
  const sessions = createSessions(options, store, pool, log)
  const subscriptions = new Subscriptions()
  if (sessions !== null) subscriptions.add(sessions)
  const hooks = new Hooks(options.tools.timeout)
  const questions = new Questions(ask)
  const scopes = new Scopes(options.auth || {})
  const offered = createOffered(options, { subscriptions, sessions, scopes, log })
  const { tools, prompts, resources } = offered

  const identity = identityOf(options)
  const complete = completer(identity)
  const sessionDesk = { methods: createSessionMethods(offered), hooks, complete: (result: object) => result }
  const served: Served = {
    identity,
    instructions,
    offered,
    desk: sessionDesk,
    questions,
    inquiryOf: sessionInquiries(questions),
    checkScopes: createScopeCheck(offered, scopes, options.subscriptions.uris),
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
    // What is kept and sent back for each subscription is bounded.
    knows: (uri, principal) => uri.length <= limits.uri && resources.find(uri, principal) !== undefined
  })
  const stateless = new Stateless({
    served,
    desk: { methods: createStandaloneMethods(offered, () => discoverResult(offered, instructions)), hooks, complete },
    listeners,
    seal: new Seal({ keys: ask.keys ?? [randomKey()], ttl: ask.ttl, maxBytes: ask.maxState }),
    timeout: options.tools.timeout,
    audience: `${scopePrefix}${prefix}${paths.mcp} ${name}`
  })
  return {
    tools,
    prompts,
    resources,
    hooks,
    calls,
    pool,
    store,
    sessions,
    listeners,
    scopes,
    stateless,
    streamable: new Streamable(served),
    httpSse: sessions === null ? null : new HttpSse(served, sessions),
    stats: () => ({
      sessions: store.sessions.size,
      streams: pool.size,
      calls: calls.size,
      subscriptions: listeners.size,
      questions: questions.size,
      abandoned: calls.abandoned
    })
  }
}

function createSessions (options: ResolvedOptions, store: OpenStore, pool: StreamPool, log: FastifyBaseLogger): SessionHost | null {
  const { sessions, streams, subscriptions } = options
  if (sessions === false) return null
  return new SessionHost({
    store,
    pool,
    idle: sessions.idle,
    window: sessions.replay.window,
    retry: streams.retry,
    maxPerPrincipal: sessions.maxPerPrincipal,
    uris: subscriptions.uris,
    onError: err => logSafely(log, err, 'the store failed')
  })
}

interface Surroundings {
  readonly subscriptions: Subscriptions
  readonly sessions: SessionHost | null
  readonly scopes: Scopes
  readonly log: FastifyBaseLogger
}

/** What the server offers, with nothing in it yet. */
function createOffered (options: ResolvedOptions, { subscriptions, sessions, scopes, log }: Surroundings): Offered {
  const { name, version, tools: limits, lists: { pageSize }, cache, ask } = options
  // Any node reads the cursors of another.
  const [first = `${name} ${version}`, ...others] = ask.keys ?? []
  const cursors = new Cursors([first, ...others])
  const onError = (err: unknown): void => logSafely(log, err, '`visible` failed, and so hid what it belongs to')
  const hasAuth = Boolean(options.auth)
  const registry = (list: ListName) => ({
    cursors, pageSize, hasAuth, onError, onChange: (isSeen: IsSeen) => subscriptions.listChanged(list, isSeen)
  })
  const isGranted = (principal: Principal | null, needed: readonly string[]): boolean => {
    try {
      scopes.check(principal, needed)
      return true
    } catch (error) {
      if (!(error instanceof errorCodes.FST_MCP_SCOPE_INSUFFICIENT)) logSafely(log, error, '`auth.hierarchy` failed, and so nobody was told of an update')
      return false
    }
  }
  const resources: Resources = new Resources(limits, {
    ...registry('resources'),
    maxUri: options.limits.uri,
    onUpdate: uri => {
      // Templates take their time to match, and most who listen are one principal, or nobody.
      const seen = new Map<Principal | null, boolean>()
      subscriptions.updated(uri, principal => {
        const known = seen.get(principal)
        if (known !== undefined) return known
        const found = resources.find(uri, principal)
        const isSeen = found !== undefined && isGranted(principal, found.resource.scopes)
        seen.set(principal, isSeen)
        return isSeen
      })
    }
  })
  return { tools: new Tools(limits, registry('tools')), prompts: new Prompts(limits, registry('prompts')), resources, cache, memory: sessions }
}

/** `Implementation` of the specification. */
function identityOf ({ name, version, title, description, websiteUrl, icons }: ResolvedOptions): Served['identity'] {
  const more = Object.entries({ title, description, websiteUrl, icons }).filter(([, value]) => value !== undefined)
  return { name, version, ...Object.fromEntries(more) }
}
