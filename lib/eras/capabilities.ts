import type { Prompts } from '../features/prompts.ts'
import type { Resources } from '../features/resources.ts'

/** What a server offers, as far as its capabilities tell. */
export interface Declared {
  readonly prompts: Prompts
  readonly resources: Resources
}

/**
 * The capabilities of a server: tools always, everything else once some of it was registered, since a client does not ask again.
 * `hasCompletions`: the revision knows that capability. `tells`: whether the client can be told of anything later.
 */
export function capabilitiesOf ({ prompts, resources }: Declared, hasCompletions: boolean, tells: boolean): object {
  const hasPrompts = prompts.registry.wasUsed
  const hasResources = resources.wasUsed
  const changing = tells ? { listChanged: true } : {}
  const declared: Record<string, object> = tells ? { logging: {}, tools: changing } : { tools: changing }
  if (hasPrompts) declared.prompts = changing
  if (hasResources) declared.resources = tells ? { listChanged: true, subscribe: true } : {}
  if ((hasPrompts || hasResources) && hasCompletions) declared.completions = {}
  return declared
}
