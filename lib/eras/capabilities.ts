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
  const changing = (): object => tells ? { listChanged: true } : {}
  return {
    ...(tells && { logging: {} }),
    tools: changing(),
    ...(hasPrompts && { prompts: changing() }),
    ...(hasResources && { resources: { ...changing(), ...(tells && { subscribe: true }) } }),
    ...((hasPrompts || hasResources) && hasCompletions && { completions: {} })
  }
}
