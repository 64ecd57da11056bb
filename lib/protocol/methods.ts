import { errorCodes } from '../errors.ts'
import { readCompletion } from '../features/completion.ts'
import { isLevel } from '../features/logging.ts'
import { checkMirroredParams } from '../features/mirrors.ts'
import type { Prompts } from '../features/prompts.ts'
import type { CacheHint, Viewer } from '../features/registry.ts'
import type { Resources } from '../features/resources.ts'
import type { Tools } from '../features/tools.ts'
import type { Awaitable, Change, SessionRecord } from '../store/store.ts'
import type { Call } from './call.ts'
import { ownerOf } from './owner.ts'

/** What answers one JSON-RPC method: a result, at once or later. */
type Method = (call: Call) => Awaitable<object>

export type Methods = ReadonlyMap<string, Method>

/** What a session remembers, where there are sessions. */
export interface SessionMemory {
  update (session: SessionRecord, change: Change): Awaitable<void>
  /** Throws FST_MCP_SUBSCRIPTIONS_FULL. */
  subscribe (session: SessionRecord, uri: string): Awaitable<void>
  unsubscribe (session: SessionRecord, uri: string): Awaitable<void>
}

interface CacheHints extends CacheHint {
  /** By the name of a list, or `discover`. */
  readonly lists: Readonly<Record<string, Partial<CacheHint>>>
}

/** What a server offers, as its methods need it. */
export interface Offered {
  readonly tools: Tools
  readonly prompts: Prompts
  readonly resources: Resources
  readonly cache: CacheHints
  /** Null in stateless mode. */
  readonly memory: SessionMemory | null
}

/** `ttlMs` and `cacheScope` (2026-07-28, server/utilities/caching). */
function hintOf ({ ttl, scope }: CacheHint): object {
  return { ttlMs: ttl, cacheScope: scope }
}

function viewerOf ({ principal }: Call): Viewer {
  return { principal, owner: ownerOf(principal) }
}

/** The methods that every revision shares. A kind of offer whose capability was not declared has none. */
function createShared ({ tools, prompts, resources, cache }: Offered): [string, Method][] {
  /** A list that differs between principals must not be shared between them, whatever the options say. */
  const hint = (call: Call, name: string, registries: readonly { readonly isUniform: boolean }[]): object => {
    if (!call.profile.isStateless) return {}
    const given = { ...cache, ...cache.lists[name] }
    return hintOf(registries.every(({ isUniform }) => isUniform) ? given : { ...given, scope: 'private' })
  }
  const declared = (isDeclared: boolean, { method }: Call): void => {
    if (!isDeclared) throw new errorCodes.FST_MCP_METHOD_NOT_FOUND(method)
  }
  return [
    ['tools/list', call => {
      const { items, ...rest } = tools.registry.page(call.params.cursor, viewerOf(call))
      return { ...rest, tools: items.map(call.profile.convertTool), ...hint(call, 'tools', [tools.registry]) }
    }],
    ['tools/call', call => {
      const { params, profile } = call
      const tool = tools.find(params, call)
      if (profile.isStateless && tool.mirrored.length > 0) checkMirroredParams(call.request.headers, tool.mirrored, params.arguments)
      const result = tools.call(tool, params, call)
      if (result instanceof Promise) return result.then(value => profile.convertResult(value, tool.isWrapped))
      return profile.convertResult(result, tool.isWrapped)
    }],
    ['prompts/list', call => {
      declared(prompts.registry.wasUsed, call)
      const { items, ...rest } = prompts.registry.page(call.params.cursor, viewerOf(call))
      return { ...rest, prompts: items.map(call.profile.convertListing), ...hint(call, 'prompts', [prompts.registry]) }
    }],
    ['prompts/get', async call => {
      declared(prompts.registry.wasUsed, call)
      const result = await prompts.get(call.params, call)
      return { ...result, messages: result.messages.map(message => ({ ...message, content: call.profile.convertBlock(message.content) })) }
    }],
    ['resources/list', async call => {
      declared(resources.wasUsed, call)
      const { items, ...rest } = await resources.list(call.params.cursor, viewerOf(call), call)
      return { ...rest, resources: items.map(call.profile.convertListing), ...hint(call, 'resources', [resources]) }
    }],
    ['resources/templates/list', call => {
      declared(resources.wasUsed, call)
      const { items, ...rest } = resources.templates.page(call.params.cursor, viewerOf(call))
      return { ...rest, resourceTemplates: items.map(call.profile.convertListing), ...hint(call, 'templates', [resources.templates]) }
    }],
    ['resources/read', async call => {
      declared(resources.wasUsed, call)
      const found = resources.get(call.params, call.principal)
      const result = await resources.read(found, call)
      if (!call.profile.isStateless) return result
      const own = { ...cache, ...cache.lists.read, ...found.resource.cache }
      // What the client's own answers made is nobody else's, and holds for this once.
      if (call.params.inputResponses !== undefined || call.params.requestState !== undefined) return { ...result, ...hintOf({ ttl: 0, scope: 'private' }) }
      const isForAll = found.resource.visible === undefined && found.resource.scopes.length === 0
      return { ...result, ...hintOf(isForAll ? own : { ...own, scope: 'private' }) }
    }],
    ['completion/complete', call => {
      declared(prompts.registry.wasUsed || resources.wasUsed, call)
      const request = readCompletion(call.params)
      if (request.ref.type === 'ref/prompt') return prompts.complete(request, call)
      if (request.ref.type === 'ref/resource') return resources.complete(request, call)
      throw new errorCodes.FST_MCP_PARAMS_INVALID('`ref.type` must be ref/prompt or ref/resource')
    }]
  ]
}

/** The methods of the handshake revisions, by name. Without a session there is nothing that could remember, and nothing was declared. */
export function createSessionMethods (offered: Offered): Methods {
  const { resources, memory } = offered
  const remember = (call: Call): { session: SessionRecord, memory: SessionMemory } => {
    const { session, method } = call
    if (session === null || memory === null) throw new errorCodes.FST_MCP_METHOD_NOT_FOUND(method)
    return { session, memory }
  }
  const empty = (done: Awaitable<void>): Awaitable<object> => done instanceof Promise ? done.then(() => ({})) : {}
  return new Map<string, Method>([
    ...createShared(offered),
    ['ping', () => ({})],
    ['logging/setLevel', call => {
      const { session, memory } = remember(call)
      const { level } = call.params
      if (!isLevel(level)) throw new errorCodes.FST_MCP_PARAMS_INVALID('`level` must be one of the eight levels of RFC 5424')
      return empty(memory.update(session, record => { record.logLevel = level }))
    }],
    ['resources/subscribe', call => {
      const { session, memory } = remember(call)
      if (!resources.wasUsed) throw new errorCodes.FST_MCP_METHOD_NOT_FOUND(call.method)
      return empty(memory.subscribe(session, resources.get(call.params, call.principal).uri))
    }],
    ['resources/unsubscribe', call => {
      const { session, memory } = remember(call)
      const { uri } = call.params
      if (typeof uri !== 'string') throw new errorCodes.FST_MCP_PARAMS_INVALID('`uri` must be a string')
      return empty(memory.unsubscribe(session, uri))
    }]
  ])
}

/** The methods of 2026-07-28, by name. `discover`: what `server/discover` answers. */
export function createStandaloneMethods (offered: Offered, discover: () => object): Methods {
  const { cache } = offered
  return new Map<string, Method>([
    ...createShared(offered),
    ['server/discover', () => ({ ...discover(), ...hintOf({ ...cache, ...cache.lists.discover }) })]
  ])
}
