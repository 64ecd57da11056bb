import type { FastifyBaseLogger } from 'fastify'
import { Cluster } from './cluster/cluster.ts'
import { Changes } from './eras/changes.ts'
import { type Served, sessionInquiries } from './eras/handshake.ts'
import { HttpSse } from './eras/http-sse.ts'
import { Listeners } from './eras/listen.ts'
import { SessionHost, type SessionsOptions } from './eras/session-host.ts'
import { completer, discoverResult, Stateless } from './eras/stateless.ts'
import { Streamable } from './eras/streamable.ts'
import { TicketOffice } from './eras/ticket-office.ts'
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
import type { TellRefusal } from './ops/events.ts'
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
export interface Server extends Omit<McpParts, 'drain'> {
  readonly calls: CallsInProgress
  readonly pool: StreamPool
  readonly store: OpenStore
  /** Null where there is one node. */
  readonly cluster: Cluster | null
  /** Null in stateless mode. */
  readonly sessions: SessionHost | null
  readonly listeners: Listeners
  readonly scopes: Scopes
  readonly stateless: Stateless
  readonly streamable: Streamable
  /** Null when HTTP+SSE is off. */
  readonly httpSse: HttpSse | null
  readonly tickets: TicketOffice
  /** Whether it answers this method in any era. */
  readonly hasMethod: (method: string) => boolean
}

const LISTS = ['tools', 'prompts', 'resources', 'templates'] as const satisfies ListName[]

/** Stateless mode keeps nothing, whatever the store. */
const NO_SESSIONS = { idle: 1, max: 1, replay: { events: 1, bytes: 1, window: 1 } }

/** `scopePrefix`: of the scope that the server was registered in. `tell`: where refusals are counted. */
export function createServer (options: ResolvedOptions, scopePrefix: string, log: FastifyBaseLogger, tell: TellRefusal): Server {
  const { instructions, prefix, paths, name, streams, limits, ask } = options
  const calls = new CallsInProgress()
  const pool = new StreamPool({ ...streams, server: name })
  // The same on all nodes, and no other server's.
  const server = `${scopePrefix}${prefix}${paths.mcp} ${name}`
  const store = (options.store ?? memoryStore()).open({ ...options.sessions || NO_SESSIONS, tickets: options.tickets, server })
  const onError = createOutage(store, log)
  const cluster = store.bus === null ? null : new Cluster(store.bus, pool, onError)
  const sessions = createSessions(options, { store, pool, cluster, onError })
  const subscriptions = new Subscriptions()
  if (sessions !== null) subscriptions.add(sessions.audience)
  const hooks = new Hooks(options.tools.timeout)
  const questions = new Questions({ ...ask, node: cluster?.node, tell })
  sessions?.elsewhere?.onResponse(questions)
  const scopes = new Scopes(options.auth || {})
  const offered = createOffered(options, { subscriptions, cluster, sessions, scopes, log })
  const { tools, prompts, resources } = offered

  const identity = identityOf(options)
  const complete = completer(identity)
  const sessionDesk = { methods: createSessionMethods(offered), hooks, complete: (result: object) => result, tell, server: name }
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
  const standalone = createStandaloneMethods(offered, () => discoverResult(offered, instructions))
  const stateless = new Stateless({
    served,
    desk: { methods: standalone, hooks, complete, tell, server: name },
    listeners,
    seal: new Seal({ keys: ask.keys ?? [randomKey()], ttl: ask.ttl, maxBytes: ask.maxState }),
    timeout: options.tools.timeout,
    audience: server
  })
  return {
    hasMethod: (method: string) => sessionDesk.methods.has(method) || standalone.has(method),
    tools,
    prompts,
    resources,
    hooks,
    calls,
    pool,
    store,
    cluster,
    sessions,
    listeners,
    scopes,
    stateless,
    streamable: new Streamable(served),
    httpSse: sessions === null ? null : new HttpSse(served, sessions),
    tickets: new TicketOffice({ store, ...options.tickets }),
    stats: () => ({
      sessions: store.sessions.size,
      streams: pool.size,
      queued: pool.queued,
      calls: calls.size,
      subscriptions: listeners.size,
      questions: questions.size,
      abandoned: calls.abandoned
    })
  }
}

function createSessions (options: ResolvedOptions, parts: Pick<SessionsOptions, 'store' | 'pool' | 'cluster' | 'onError'>): SessionHost | null {
  const { sessions, streams, subscriptions } = options
  if (sessions === false) return null
  return new SessionHost({
    ...parts,
    idle: sessions.idle,
    window: sessions.replay.window,
    retry: streams.retry,
    maxPerPrincipal: sessions.maxPerPrincipal,
    uris: subscriptions.uris
  })
}

/** An outage of the store is told of once, when it begins. */
function createOutage (store: OpenStore, log: FastifyBaseLogger): (error: unknown) => void {
  let isAway = false
  return error => {
    const isKnown = isAway && store.problem() !== null
    isAway = error instanceof errorCodes.FST_MCP_STORE_UNAVAILABLE
    if (!isAway) logSafely(log, error, 'the store failed')
    else if (!isKnown) log.warn({ problem: store.problem() ?? String(error) }, 'the store is away')
  }
}

interface OfferedParts {
  readonly subscriptions: Subscriptions
  readonly cluster: Cluster | null
  readonly sessions: SessionHost | null
  readonly scopes: Scopes
  readonly log: FastifyBaseLogger
}

/** What the server offers, with nothing in it yet. */
function createOffered (options: ResolvedOptions, { subscriptions, cluster, sessions, scopes, log }: OfferedParts): Offered {
  const { name, version, tools: limits, lists: { pageSize }, cache, ask } = options
  // Any node reads the cursors of another.
  const [first = `${name} ${version}`, ...others] = ask.keys ?? []
  const cursors = new Cursors([first, ...others])
  const onError = (err: unknown): void => logSafely(log, err, '`visible` failed, and so hid what it belongs to')
  const hasAuth = Boolean(options.auth)
  const registry = (list: ListName) => ({
    cursors, pageSize, hasAuth, onError, onChange: (isSeen: IsSeen, keys: readonly string[]) => changes.list(list, isSeen, keys)
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
  const tools = new Tools(limits, registry('tools'))
  const prompts = new Prompts(limits, registry('prompts'))
  const resources = new Resources(limits, { ...registry('resources'), maxUri: options.limits.uri, onUpdate: uri => changes.updated(uri) })
  // What changes among the templates is told as a change of the resources.
  const lists = { tools: tools.registry, prompts: prompts.registry, resources, templates: resources.templates }
  const changes = new Changes({
    subscriptions,
    cluster,
    isShown: (list, key, principal) => lists[list].mayTell(key, principal),
    isKnown: (uri, principal) => {
      const found = resources.find(uri, principal)
      return found !== undefined && isGranted(principal, found.resource.scopes)
    },
    usedLists: () => LISTS.filter(list => lists[list].wasUsed)
  })
  return { tools, prompts, resources, cache, memory: sessions }
}

/** `Implementation` of the specification. */
function identityOf ({ name, version, title, description, websiteUrl, icons }: ResolvedOptions): Served['identity'] {
  const more = Object.entries({ title, description, websiteUrl, icons }).filter(([, value]) => value !== undefined)
  return { name, version, ...Object.fromEntries(more) }
}
