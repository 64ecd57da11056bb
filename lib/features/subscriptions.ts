import { atLimit, errorCodes } from '../errors.ts'
import type { Principal } from '../http/auth.ts'
import type { ListName } from './registry.ts'

/** Who could see what changed. */
export type IsSeen = (principal: Principal | null) => boolean

/** Somebody who is told of changes. */
export interface Subscriber {
  listChanged (list: ListName, isSeen: IsSeen): void
  updated (uri: string, isSeen: IsSeen): void
  /** The resources that it wants to know of. */
  uris (): Iterable<string>
}

/** Whoever wants to know when a list or a resource changes. */
export class Subscriptions {
  readonly #subscribers = new Set<Subscriber>()

  /** Gives back its undo. */
  add (subscriber: Subscriber): () => void {
    this.#subscribers.add(subscriber)
    return () => { this.#subscribers.delete(subscriber) }
  }

  /** Every resource that somebody wants to know of. */
  uris (): Set<string> {
    return new Set([...this.#subscribers].flatMap(subscriber => [...subscriber.uris()]))
  }

  listChanged (list: ListName, isSeen: IsSeen): void {
    for (const subscriber of this.#subscribers) subscriber.listChanged(list, isSeen)
  }

  updated (uri: string, isSeen: IsSeen): void {
    for (const subscriber of this.#subscribers) subscriber.updated(uri, isSeen)
  }
}

/** Each resource is matched with every template, kept, and sent back. Throws FST_MCP_SUBSCRIPTIONS_FULL. */
export function checkUris (uris: readonly string[], { max, characters }: { max: number, characters: number }, whose: 'session' | 'subscription'): void {
  if (uris.length > max) throw atLimit('subscriptions.uris', new errorCodes.FST_MCP_SUBSCRIPTIONS_FULL(`${max} resources for each ${whose}`))
  const length = uris.reduce((sum, uri) => sum + uri.length, 0)
  if (length > characters) throw atLimit('streams.buffer', new errorCodes.FST_MCP_SUBSCRIPTIONS_FULL(`${characters} characters of URIs for each ${whose}`))
}

/** The notification for a change of each list; resources and their templates share one. */
export const LIST_CHANGED = {
  tools: 'notifications/tools/list_changed',
  prompts: 'notifications/prompts/list_changed',
  resources: 'notifications/resources/list_changed',
  templates: 'notifications/resources/list_changed'
} as const satisfies Record<ListName, string>

export const UPDATED = 'notifications/resources/updated'
