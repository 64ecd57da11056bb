import { errorCodes, readable } from '../errors.ts'
import type { Principal } from '../http/auth.ts'
import type { Awaitable } from '../store/store.ts'
import { runCallback } from '../tools/callback.ts'
import type { Task } from '../tools/context.ts'
import { type ReadResourceResult, runRead, tellFailure, unknownResource } from '../tools/read.ts'
import { quote } from '../wording.ts'
import { complete, type CompletionRequest } from './completion.ts'
import { byKey, type Handle, type Listing, type Offer, Registry, type RegistryOptions, type Viewer } from './registry.ts'
import { buildResource, buildTemplate, type Found, listingOf, type Resource, type ResourceDefinition, type Template, type TemplateDefinition } from './resource.ts'
import type { HandlerLimits } from './tool.ts'
import { UriTemplate } from './uri-template.ts'
import { checkUri, readUri } from './uri.ts'

/** What the registration of a resource gives back. */
export interface ResourceHandle extends Handle<ResourceDefinition, unknown> {
  readonly uri: string
  /** Tells whoever subscribed that its contents have changed (`notifications/resources/updated`). */
  updated (): void
}

/** What the registration of a template gives back. */
export interface TemplateHandle extends Handle<TemplateDefinition, unknown> {
  readonly uriTemplate: string
  /** The URI for variables. Throws FST_MCP_URI_INVALID when they give one that nobody may read. */
  uri (variables: Record<string, string | readonly string[] | undefined>): string
  /** Tells whoever subscribed that the contents of one of its resources have changed. */
  updated (uri: string): void
}

export interface ResourcesOptions extends Omit<RegistryOptions, 'list' | 'duplicate' | 'invalid'> {
  /** The most characters of a URI. */
  readonly maxUri: number
  /** Tells that a resource has changed. */
  readonly onUpdate: (uri: string) => void
}

/** The resources of one server: those with a URI of their own, and the templates of others. */
export class Resources {
  readonly registry: Registry<Resource>
  readonly templates: Registry<Template>
  readonly #limits: HandlerLimits
  readonly #maxUri: number
  readonly #onUpdate: (uri: string) => void

  constructor (limits: HandlerLimits, options: ResourcesOptions) {
    const onChange = together(options.onChange)
    const common = { ...options, onChange, duplicate: 'FST_MCP_RESOURCE_DUPLICATE', invalid: 'FST_MCP_RESOURCE_INVALID' } as const
    this.registry = new Registry({ ...common, list: 'resources' })
    this.templates = new Registry({ ...common, list: 'templates' })
    this.#limits = limits
    this.#maxUri = options.maxUri
    this.#onUpdate = options.onUpdate
  }

  /** Whether a principal may be told that another node has changed this. */
  mayTell (key: string, principal: Principal | null): boolean {
    return this.registry.mayTell(key, principal) && this.templates.mayTell(key, principal)
  }

  get wasUsed (): boolean {
    return this.registry.wasUsed || this.templates.wasUsed
  }

  /** Whether anything may need scopes. */
  get isScoped (): boolean {
    return this.registry.isScoped || this.templates.isScoped
  }

  /** Whether the list is the same for everyone: what a template lists may depend on who asks. */
  get isUniform (): boolean {
    return this.registry.isUniform && this.templates.isUniform && this.templates.items().every(({ list }) => list === undefined)
  }

  add (uri: string, definition: ResourceDefinition & TemplateDefinition, read: unknown): ResourceHandle | TemplateHandle {
    if (typeof uri !== 'string') throw new errorCodes.FST_MCP_RESOURCE_INVALID(String(uri), 'its URI must be a string')
    if (typeof definition !== 'object' || definition === null) throw new errorCodes.FST_MCP_RESOURCE_INVALID(uri, `its definition must be an object, got ${quote(definition, false)}`)
    return uri.includes('{') ? this.#addTemplate(uri, definition, read) : this.#addResource(uri, definition, read)
  }

  #addResource (uri: string, definition: ResourceDefinition, read: unknown): ResourceHandle {
    checkUri(uri, this.#maxUri)
    const handle = this.registry.register(uri, definition, read, (changed, reader) => buildResource(uri, changed, reader, this.#limits))
    return Object.assign(handle, { uri, updated: () => this.#onUpdate(uri) })
  }

  #addTemplate (uriTemplate: string, definition: TemplateDefinition, read: unknown): TemplateHandle {
    const template = new UriTemplate(uriTemplate)
    const handle = this.templates.register(uriTemplate, definition, read, (changed, reader) => buildTemplate(template, changed, reader, this.#limits))
    const uri: TemplateHandle['uri'] = variables => checkUri(template.expand(variables), this.#maxUri)
    return Object.assign(handle, { uriTemplate, uri, updated: (changed: string) => this.updated(changed) })
  }

  /** Tells that a resource has changed. Throws FST_MCP_URI_INVALID. */
  updated (uri: string): void {
    this.#onUpdate(checkUri(uri, this.#maxUri))
  }

  /** The resource for a URI: one of its own before a template, and of templates the first by name. Undefined when nobody would read it. */
  find (uri: string, principal: Principal | null): Found | undefined {
    const resource = this.registry.find(uri, principal)
    if (resource !== undefined) return { resource, uri, variables: {} }
    const decoded = readUri(uri)
    for (const template of this.templates.visibleTo(principal)) {
      const variables = template.template.match(decoded)
      if (variables !== undefined) return { resource: template, uri, variables }
    }
    return undefined
  }

  /** Throws FST_MCP_URI_INVALID and FST_MCP_RESOURCE_UNKNOWN. */
  get ({ uri: given }: Readonly<Record<string, unknown>>, principal: Principal | null): Found {
    const uri = checkUri(given, this.#maxUri)
    const found = this.find(uri, principal)
    if (found === undefined) throw unknownResource(uri)
    return found
  }

  read ({ resource, uri, variables }: Found, task: Task): ReadResourceResult | Promise<ReadResourceResult> {
    return runRead(resource.read, uri, variables, task)
  }

  /** One page of the resources that have a URI of their own and of those that the templates list. Throws FST_MCP_CURSOR_INVALID. */
  async list (cursor: unknown, viewer: Viewer, task: Task): Promise<{ items: Listing[], nextCursor?: string }> {
    const own: readonly Pick<Offer, 'key' | 'listing'>[] = this.registry.visibleTo(viewer.principal)
    const listing = this.templates.visibleTo(viewer.principal).filter(({ list }) => list !== undefined)
    if (listing.length === 0) return this.registry.paginate(own, cursor, viewer)
    const listed: Pick<Offer, 'key' | 'listing'>[] = []
    await runCallback({
      timeout: Math.max(...listing.map(template => template.read.timeout)),
      grace: this.#limits.grace,
      what: { list: 'resources' },
      call: () => Promise.all(listing.map(async template => { listed.push(...await listTemplate(template, task, this.#maxUri)) })),
      read: () => {}
    }, task)
    const all = new Map([...listed, ...own].map(item => [item.key, item]))
    return this.registry.paginate([...all.values()].sort(byKey), cursor, viewer)
  }

  /** Suggests values for a variable of a template. Throws FST_MCP_PARAMS_INVALID. */
  complete (request: CompletionRequest, task: Task): Awaitable<object> {
    const { uri } = request.ref
    const template = typeof uri === 'string' ? this.templates.find(uri, task.principal) : undefined
    if (template === undefined) throw new errorCodes.FST_MCP_PARAMS_INVALID('`ref.uri` must be the template of a resource')
    const { key, completers, template: { names }, read: { timeout, grace } } = template
    return complete({ names, completers, timeout, grace, what: { template: key } }, request, task)
  }
}

/** Clients know one list of resources and templates, and are told of it once. */
function together (tell: RegistryOptions['onChange']): RegistryOptions['onChange'] {
  let changes: { isSeen: Parameters<typeof tell>[0], keys: readonly string[] }[] = []
  return (isSeen, keys) => {
    changes.push({ isSeen, keys })
    if (changes.length > 1) return
    queueMicrotask(() => {
      const told = changes
      changes = []
      tell(principal => told.some(({ isSeen }) => isSeen(principal)), told.flatMap(({ keys }) => keys))
    })
  }
}

/** Throws FST_MCP_HANDLER_FAILED. */
async function listTemplate (template: Template, task: Task, maxUri: number): Promise<Pick<Offer, 'key' | 'listing'>[]> {
  const { principal, request, signal } = task
  try {
    const listed = await template.list?.({ principal, request, signal })
    if (!Array.isArray(listed)) throw new errorCodes.FST_MCP_RESOURCE_INVALID(template.key, 'its `list` must give an array')
    return listed.map(resource => listingOf(template, resource, maxUri))
  } catch (error) {
    // Whoever honours the signal throws what ended the call.
    if (signal.aborted) throw error
    throw tellFailure(readable(error), task, { template: template.key })
  }
}
