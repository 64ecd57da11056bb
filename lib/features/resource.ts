import { z } from 'zod'
import { errorCodes } from '../errors.ts'
import type { Awaitable } from '../store/store.ts'
import type { ReadContext, ToolContext } from '../tools/context.ts'
import type { ReadOptions, ReadResourceResult, ResourcePart } from '../tools/read.ts'
import { type Completer, type Completers, readCompleters } from './completion.ts'
import type { CacheHint, Offer } from './registry.ts'
import { type Annotations, annotationsSchema, checkTimeout, readShown, type Shown, shownFields } from './shown.ts'
import type { HandlerLimits } from './tool.ts'
import type { UriTemplate, Variables, VariablesOf } from './uri-template.ts'

/** What a resource is, beside what it holds. */
export interface ResourceDefinition extends Shown {
  /** Default: the URI or the template. */
  name?: string
  /** The media type. Bytes are sent as text when it says that they are. */
  mimeType?: string
  /** Bytes, if they are known beforehand. */
  size?: number
  annotations?: Annotations
  /** How long clients may keep its contents, and whether they may share them. Default: the option `cache`. */
  cache?: Partial<CacheHint>
  /** Milliseconds of work before a read is ended. Default: the option `tools.timeout`. */
  timeout?: number
}

/** A resource of a template, as its `list` gives it. */
export interface ListedResource extends Omit<ResourceDefinition, 'cache' | 'timeout' | 'visible' | 'scopes' | 'enabled'> {
  uri: string
}

/** What a template is, beside what its resources hold. */
export interface TemplateDefinition<Names extends string = string> extends Omit<ResourceDefinition, 'size'> {
  /** The resources that `resources/list` shows; each URI must fit the template. All templates list at once, with the longest of their timeouts. */
  list?: (context: ListContext) => Awaitable<readonly ListedResource[]>
  /** Suggestions for the variables. */
  complete?: { [name in Names]?: Completer }
}

/** What the `list` of a template knows. */
export type ListContext = Pick<ToolContext, 'principal' | 'request' | 'signal'>

type Piece = string | Uint8Array | ResourcePart

type ReadReturn = Piece | NodeJS.ReadableStream | readonly (string | ResourcePart)[] | ReadResourceResult | null | undefined

/**
 * Gives what a resource holds: text, bytes, a Node `Readable`, parts, or nothing when there is no such resource.
 * A generator gives it piece by piece.
 */
export type Read<Uri extends string> = (variables: VariablesOf<Uri>, context: ReadContext) =>
  | ReadReturn | Promise<ReadReturn>
  | AsyncGenerator<Piece, ReadReturn | void> | Generator<Piece, ReadReturn | void>

/** A resource or a template as it is registered. */
export interface Resource extends Offer {
  readonly read: ReadOptions
  readonly cache: Partial<CacheHint>
}

export interface Template extends Resource {
  readonly template: UriTemplate
  readonly list: TemplateDefinition['list']
  readonly completers: Completers
}

/** A resource as it was asked for. */
export interface Found {
  readonly resource: Resource
  readonly uri: string
  readonly variables: Variables
}

const cacheFields = z.strictObject({ ttl: z.int().min(0).optional(), scope: z.enum(['public', 'private']).optional() })

const commonFields = {
  ...shownFields,
  name: z.string().min(1).optional(),
  mimeType: z.string().min(1).optional(),
  annotations: annotationsSchema.optional()
}
const size = z.int().min(0).optional()

const templateSchema = z.strictObject({ ...commonFields, cache: cacheFields.optional() })
const resourceSchema = z.strictObject({ ...commonFields, cache: cacheFields.optional(), size })
const listedSchema = z.strictObject({ ...commonFields, uri: z.string(), size })

const HINTS = new Map([['uri', 'it is the first argument'], ['uriTemplate', 'it is the first argument']])

function buildRead (definition: ResourceDefinition, handler: unknown, limits: HandlerLimits, refuse: (reason: string) => Error): ReadOptions {
  // Its parameters are checked where it is registered.
  if (!isHandler(handler)) throw refuse(`its reader must be a function, got ${typeof handler}`)
  const { timeout = limits.timeout, mimeType } = definition
  return { handler, mimeType, timeout: checkTimeout(timeout, refuse), grace: limits.grace, maxResult: limits.maxResult }
}

function isHandler (value: unknown): value is ReadOptions['handler'] {
  return typeof value === 'function'
}

/** Makes a resource ready. Throws FST_MCP_RESOURCE_INVALID. */
export function buildResource (uri: string, definition: ResourceDefinition, handler: unknown, limits: HandlerLimits): Resource {
  const refuse = (reason: string): Error => new errorCodes.FST_MCP_RESOURCE_INVALID(uri, reason)
  const { timeout: _, ...rest } = definition
  const { visible, scopes, shown: { cache = {}, name = uri, ...shown } } = readShown(rest, resourceSchema, HINTS, refuse)
  return { key: uri, visible, scopes, listing: Object.freeze({ uri, name, ...shown }), cache, read: buildRead(definition, handler, limits, refuse) }
}

/** Makes a template ready. Throws FST_MCP_RESOURCE_INVALID. */
export function buildTemplate (template: UriTemplate, definition: TemplateDefinition, handler: unknown, limits: HandlerLimits): Template {
  const key = template.template
  const refuse = (reason: string): Error => new errorCodes.FST_MCP_RESOURCE_INVALID(key, reason)
  const { timeout: _, list, complete, ...rest } = definition
  if (list !== undefined && typeof list !== 'function') throw refuse('`list` must be a function')
  const { visible, scopes, shown: { cache = {}, name = key, ...shown } } = readShown(rest, templateSchema, HINTS, refuse)
  return {
    key,
    visible,
    scopes,
    listing: Object.freeze({ uriTemplate: key, name, ...shown }),
    cache,
    read: buildRead(definition, handler, limits, refuse),
    template,
    list,
    completers: readCompleters(complete, template.names, refuse)
  }
}

/** What the `list` of a template gave, as `resources/list` shows it. Throws FST_MCP_RESOURCE_INVALID. */
export function listingOf (template: Template, given: unknown, maxUri: number): Pick<Offer, 'key' | 'listing'> {
  const refuse = (reason: string): Error => new errorCodes.FST_MCP_RESOURCE_INVALID(template.key, reason)
  if (typeof given !== 'object' || given === null) throw refuse('its `list` gave something other than a resource')
  const { shown } = readShown(given, listedSchema, HINTS, refuse)
  const { uri, name = uri, mimeType = template.read.mimeType, ...rest } = shown
  // Nobody could read it.
  if (uri.length > maxUri || template.template.match(uri) === undefined) throw refuse(`its \`list\` gave ${JSON.stringify(uri)}, which is not a URI of the template`)
  return { key: uri, listing: { uri, name, ...(mimeType !== undefined && { mimeType }), ...rest } }
}
