import type { ListName } from '../features/registry.ts'
import { type IsSeen, LIST_CHANGED, type Subscriber, UPDATED } from '../features/subscriptions.ts'
import { notificationOf } from '../protocol/message.ts'
import type { Session } from './session.ts'

/** The sessions at work, as they are told of changes. */
export class Audience implements Subscriber {
  readonly #live: ReadonlyMap<string, Session>
  /** By the resources that they subscribed to. */
  readonly #sessions = new Map<string, Set<Session>>()
  readonly #known = new WeakMap<Session, readonly string[]>()

  constructor (live: ReadonlyMap<string, Session>) {
    this.#live = live
  }

  /** One serialisation for all who listen. */
  listChanged (list: ListName, isSeen: IsSeen): void {
    const method = LIST_CHANGED[list]
    const json = notificationOf(method)
    for (const session of this.#live.values()) {
      if (session.hears && isSeen(session.principal)) session.notify(method, json)
    }
  }

  updated (uri: string, isSeen: IsSeen): void {
    const json = notificationOf(UPDATED, { uri })
    for (const session of this.#sessions.get(uri) ?? []) {
      if (session.hears && isSeen(session.principal)) session.notify(uri, json)
    }
  }

  uris (): Iterable<string> {
    return this.#sessions.keys()
  }

  /** Finds a session by what it is subscribed to now. */
  index (session: Session): void {
    const { record: { subscriptions }, foretold } = session
    this.#index(session, foretold.length === 0 ? subscriptions : [...subscriptions, ...foretold.flat()])
  }

  forget (session: Session): void {
    this.#index(session, [])
  }

  #index (session: Session, uris: readonly string[]): void {
    const known = this.#known.get(session) ?? []
    if (known === uris || known.length + uris.length === 0) return
    this.#known.set(session, uris)
    for (const uri of known) if (!uris.includes(uri)) this.#remove(uri, session)
    for (const uri of uris) this.#add(uri, session)
  }

  #add (uri: string, session: Session): void {
    const sessions = this.#sessions.get(uri)
    if (sessions === undefined) this.#sessions.set(uri, new Set([session]))
    else sessions.add(session)
  }

  #remove (uri: string, session: Session): void {
    const sessions = this.#sessions.get(uri)
    if (sessions?.delete(session) === true && sessions.size === 0) this.#sessions.delete(uri)
  }

  clear (): void {
    this.#sessions.clear()
  }
}
