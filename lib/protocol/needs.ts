import type { Prompts } from '../features/prompts.ts'
import type { Offer } from '../features/registry.ts'
import type { Resources } from '../features/resources.ts'
import type { Scopes } from '../features/scopes.ts'
import type { Tools } from '../features/tools.ts'
import type { Principal } from '../http/auth.ts'
import { isObject, type Message, type Params } from './message.ts'

/** Refuses messages whose principal lacks a scope that one of them needs. Throws FST_MCP_SCOPE_INSUFFICIENT. */
export type CheckScopes = (messages: readonly Message[], principal: Principal | null) => void

interface Needed {
  readonly tools: Tools
  readonly prompts: Prompts
  readonly resources: Resources
}

/**
 * Looks up what a request is about as its method will, and so before anything of it has begun. What cannot be found needs nothing:
 * its method tells that it is not known. `maxUris`: of one subscription.
 */
export function createScopeCheck ({ tools, prompts, resources }: Needed, scopes: Scopes, maxUris: number): CheckScopes {
  const isScoped = (): boolean => tools.registry.isScoped || prompts.registry.isScoped || resources.isScoped
  const offersOf = (method: string, params: Params, principal: Principal | null): (Offer | undefined)[] => {
    const { name, uri, ref, notifications } = params
    const resource = (of: unknown): Offer | undefined => resources.isScoped && typeof of === 'string' ? resources.find(of, principal)?.resource : undefined
    const prompt = (of: unknown): Offer | undefined => typeof of === 'string' ? prompts.registry.find(of, principal) : undefined
    switch (method) {
      case 'tools/call': return typeof name === 'string' ? [tools.registry.find(name, principal)] : []
      case 'prompts/get': return [prompt(name)]
      case 'resources/read':
      case 'resources/subscribe': return [resource(uri)]
      case 'completion/complete': {
        if (!isObject(ref)) return []
        if (ref.type === 'ref/prompt') return [prompt(ref.name)]
        return typeof ref.uri === 'string' ? [resources.templates.find(ref.uri, principal)] : []
      }
      case 'subscriptions/listen': {
        const uris = isObject(notifications) ? notifications.resourceSubscriptions : undefined
        // Too many are refused whatever they need.
        return Array.isArray(uris) && uris.length <= maxUris ? uris.map(resource) : []
      }
      default: return []
    }
  }

  return (messages, principal) => {
    if (!isScoped()) return
    const own = messages.flatMap(message => message.kind === 'request' ? offersOf(message.method, message.params, principal) : [])
    scopes.check(principal, own.flatMap(offer => offer?.scopes ?? []))
  }
}
