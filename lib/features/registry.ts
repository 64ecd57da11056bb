import type { ErrorCode } from '../errors.ts'
import { errorCodes, readable } from '../errors.ts'
import type { Principal } from '../http/auth.ts'
import type { Cursors } from './cursor.ts'

/** Whether somebody may see and use what is offered. To everyone else it does not exist. */
export type Visible = (principal: Principal | null) => boolean

/** How long clients may keep what they were told (2026-07-28, server/utilities/caching). */
export interface CacheHint {
  /** Milliseconds. */
  readonly ttl: number
  /** `public`: the same for everyone, so that it may be shared between users. */
  readonly scope: 'public' | 'private'
}

/** What clients see of something in its list. */
export type Listing = Readonly<Record<string, unknown>>

/** Something that a server offers: a tool, a resource, a template or a prompt. */
export interface Offer {
  /** Its name, URI or template: unique in its list, which it orders. */
  readonly key: string
  readonly listing: Listing
  readonly visible: Visible | undefined
  /** What a principal must have been granted to use it. */
  readonly scopes: readonly string[]
}

/** What a registration gives back. */
export interface Handle<Definition, Handler> {
  /** Whether clients are offered it. */
  readonly enabled: boolean
  /**
   * Changes parts of its definition, or its handler; what is left out stays. Calls in progress go on as they began.
   * Throws as its registration does, and then nothing has changed.
   */
  update (changes: Partial<Definition>, handler?: Handler): void
  /** Offers it again. */
  enable (): void
  /** Takes it off its list until `enable`. Calls in progress go on. */
  disable (): void
  /** Takes it off the server for good; false when it was gone already. Calls in progress go on. */
  remove (): boolean
}

export type ListName = 'tools' | 'prompts' | 'resources' | 'templates'

export interface RegistryOptions {
  readonly list: ListName
  readonly cursors: Cursors
  readonly pageSize: number
  readonly duplicate: ErrorCode
  /** Says what is wrong with a definition. */
  readonly invalid: ErrorCode
  /** Whether there are principals, so that something may need scopes. */
  readonly hasAuth: boolean
  /** Tells of a change. `isSeen`: who could see what changed, before or after; `keys`: of what changed. */
  readonly onChange: (isSeen: (principal: Principal | null) => boolean, keys: readonly string[]) => void
  /** A `visible` threw. */
  readonly onError: (error: unknown) => void
}

interface Entry<Item> {
  item: Item
  enabled: boolean
}

/** Whose list it is. */
export interface Viewer {
  readonly principal: Principal | null
  readonly owner: string | null
}

/** One list of what a server offers. */
export class Registry<Item extends Offer> {
  readonly #options: RegistryOptions
  readonly #entries = new Map<string, Entry<Item>>()
  #sorted: readonly Item[] | undefined
  #changed: Item[] = []
  #wasUsed = false
  #isScoped = false

  constructor (options: RegistryOptions) {
    this.#options = options
  }

  /** Whether anything was ever registered, so that the capability was declared. */
  get wasUsed (): boolean {
    return this.#wasUsed
  }

  /** Whether anything of this name is there, for anybody. */
  has (key: string): boolean {
    return this.#entries.has(key)
  }

  /** Whether anything may need scopes. */
  get isScoped (): boolean {
    return this.#isScoped
  }

  /** Whether the list is the same for everyone. */
  get isUniform (): boolean {
    return this.items().every(({ visible }) => visible === undefined)
  }

  /** `build` makes the item of a definition anew whenever that changes. Throws what `build` throws, and the code for a key that is taken. */
  register<Definition extends { enabled?: boolean }, Handler> (
    key: string, definition: Definition, handler: Handler, build: (definition: Definition, handler: Handler) => Item
  ): Handle<Definition, Handler> {
    if (this.#entries.has(key)) throw new errorCodes[this.#options.duplicate](key)
    const entry: Entry<Item> = { item: this.#admit(build(definition, handler)), enabled: definition.enabled !== false }
    this.#entries.set(key, entry)
    this.#wasUsed = true
    if (entry.enabled) this.#change(entry.item)
    const isHere = (): boolean => this.#entries.get(key) === entry
    const turn = (enabled: boolean): void => {
      if (!isHere() || entry.enabled === enabled) return
      entry.enabled = enabled
      this.#change(entry.item)
    }
    return {
      get enabled () {
        return isHere() && entry.enabled
      },
      update: (changes, newHandler = handler) => {
        const changed = { ...definition, ...changes }
        const before = entry.item
        entry.item = this.#admit(build(changed, newHandler))
        definition = changed
        handler = newHandler
        if (isHere() && entry.enabled) this.#change(before, entry.item)
        // What is not spoken of stays, also when `enable` and `disable` said otherwise since.
        if (changes.enabled !== undefined) turn(changes.enabled)
      },
      enable: () => turn(true),
      disable: () => turn(false),
      remove: () => {
        if (!isHere()) return false
        this.#entries.delete(key)
        if (entry.enabled) this.#change(entry.item)
        return true
      }
    }
  }

  /** On an open server nobody has any scopes, and what needs them must not run for everybody. */
  #admit (item: Item): Item {
    if (item.scopes.length === 0) return item
    if (!this.#options.hasAuth) throw new errorCodes[this.#options.invalid](item.key, '`scopes` needs the option `auth`: without it nobody has any')
    this.#isScoped = true
    return item
  }

  #change (...items: Item[]): void {
    this.#sorted = undefined
    this.#changed.push(...items)
    if (this.#changed.length > items.length) return
    // What changes together is told of once.
    queueMicrotask(() => {
      const changed = this.#changed
      this.#changed = []
      const isSeen = (principal: Principal | null): boolean => changed.some(item => this.#isVisible(item, principal))
      this.#options.onChange(isSeen, [...new Set(changed.map(({ key }) => key))])
    })
  }

  #isVisible ({ visible }: Item, principal: Principal | null): boolean {
    try {
      const answer: unknown = visible === undefined || visible(principal)
      if (typeof answer === 'boolean') return answer
      // A promise that nobody looks at would bring the process down when it rejects.
      if (answer instanceof Promise) answer.catch(() => {})
      this.#options.onError(new TypeError(`\`visible\` must answer with a boolean at once, got ${answer instanceof Promise ? 'a promise' : typeof answer}`))
    } catch (error) {
      this.#options.onError(readable(error))
    }
    return false
  }

  /** Undefined when it is missing, disabled or hidden from the principal: nobody can tell these apart. */
  find (key: string, principal: Principal | null): Item | undefined {
    const entry = this.#entries.get(key)
    return entry !== undefined && entry.enabled && this.#isVisible(entry.item, principal) ? entry.item : undefined
  }

  /** Whether a principal may be told that another node has changed this. What is not here hides nothing. */
  mayTell (key: string, principal: Principal | null): boolean {
    const entry = this.#entries.get(key)
    return entry === undefined || this.#isVisible(entry.item, principal)
  }

  /** What is offered, in the order of keys, which stays put while others come and go. */
  items (): readonly Item[] {
    this.#sorted ??= [...this.#entries.values()].flatMap(({ item, enabled }) => enabled ? [item] : []).sort(byKey)
    return this.#sorted
  }

  /** What of it a principal may see. */
  visibleTo (principal: Principal | null): readonly Item[] {
    return this.items().filter(item => this.#isVisible(item, principal))
  }

  /** One page. Throws FST_MCP_CURSOR_INVALID. */
  page (cursor: unknown, viewer: Viewer): { items: Listing[], nextCursor?: string } {
    return this.paginate(this.visibleTo(viewer.principal), cursor, viewer)
  }

  /** One page of a list that is ordered by key. Throws FST_MCP_CURSOR_INVALID. */
  paginate (sorted: readonly Pick<Offer, 'key' | 'listing'>[], cursor: unknown, { owner }: Viewer): { items: Listing[], nextCursor?: string } {
    const { list, cursors, pageSize } = this.#options
    const after = cursor === undefined ? undefined : cursors.read(cursor, list, owner)
    const found = after === undefined ? 0 : sorted.findIndex(({ key }) => key > after)
    const start = found < 0 ? sorted.length : found
    const page = sorted.slice(start, start + pageSize)
    const items = page.map(({ listing }) => listing)
    const last = page.at(-1)
    return start + page.length < sorted.length && last !== undefined ? { items, nextCursor: cursors.write(list, owner, last.key) } : { items }
  }
}

export function byKey (a: { readonly key: string }, b: { readonly key: string }): number {
  return a.key < b.key ? -1 : 1
}
