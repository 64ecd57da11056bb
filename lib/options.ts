import { z } from 'zod'
import type { FastifyHelmetOptions } from '@fastify/helmet'
import { errorCodes } from './errors.ts'
import type { AuthOptions } from './http/auth.ts'
import type { OriginRule } from './http/origins.ts'
import type { Store } from './store/store.ts'
import { must, namesIn, tell, type Telling } from './wording.ts'

const MAX_TIMER = 2_147_483_647
const ms = (minimum: number) => z.int().min(minimum).max(MAX_TIMER)
const count = z.int().min(1)
const path = z.string().regex(/^\/[^?#*:]*$/, 'must be a path that starts with / and has no parameters')

// Goes into URLs as it is, so that two slashes would name a host.
const publicPath = z.string().regex(/^(?:\/(?!\.{1,2}(?:\/|$))(?:[\w.~!$&'()+,;=@-]|%(?!2[ef]|5c)[\da-f]{2})+)*$/i, 'must be a path that starts with /, without a slash at its end')

/** A scheme, a host and perhaps a port. Pages that have none of their own send `null`, which is none. */
export const ORIGIN = /^[a-z][\w+.-]*:\/\/[^/?#@\s]+$/i
const origin = z.custom<OriginRule>(
  value => typeof value === 'string' ? ORIGIN.test(value) : typeof value === 'function' || value instanceof RegExp,
  'must be an origin (a scheme, a host and perhaps a port, without a path or a slash at its end), a RegExp or a function'
)

// Only a name or an address, perhaps with a port: `https://a.example` would never match.
const host = z.string().regex(/^(?:\[[\da-f:.]+\]|[^\s:/?#@[\]]+)(?::\d+)?$/i, 'must be a host, perhaps with a port')
// What `Authorization: Bearer` can carry (RFC 6750, section 2.1).
const bearer = z.string().regex(/^[\w.~+/-]+=*$/, 'must be made of letters, digits and -._~+/, perhaps with = at its end')

const token = z.strictObject({
  token: bearer,
  principal: z.string().min(1),
  scopes: z.array(z.string()).optional()
})

// What a challenge can name (RFC 6749, section 3.3). Clients ask for `offline_access` of their own accord.
const scope = z.string().regex(/^(?!offline_access$)[\x21\x23-\x5B\x5D-\x7E]+$/, 'must be a scope of RFC 6749, and not offline_access')

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/

function isSafe (url: string): boolean {
  if (!URL.canParse(url) || /[?#]/.test(url)) return false
  const { protocol, hostname, username, password } = new URL(url)
  return username + password === '' && (protocol === 'https:' || (protocol === 'http:' && LOOPBACK.test(hostname)))
}

/** Clients compare it letter by letter (RFC 9728, section 3.3), and its path becomes a route. */
function isResource (url: string): boolean {
  if (!isSafe(url)) return false
  const { href, origin, pathname } = new URL(url)
  return (url === href || url === origin) && !/[*:%]/.test(pathname)
}

const auth = z.strictObject({
  tokens: z.array(token).refine(tokens => new Set(tokens.map(({ token }) => token)).size === tokens.length, 'must not hold a token twice').optional().describe('Bearer tokens and the principals that they stand for. Only their hashes are kept.'),
  verify: z.custom<AuthOptions['verify']>(value => value === undefined || typeof value === 'function', 'must be a function')
    .optional().describe('Gives the principal of a token, or null.'),
  resource: z.string().refine(isResource, 'must be a canonical URL: https, or http on loopback, a host in lower case, a plain path, and nothing else').optional()
    .describe('The URL of the server as clients know it. With it, the metadata of RFC 9728 are served.'),
  authorizationServers: z.array(z.string().refine(isSafe, 'must be an https URL, or http on loopback, without a query, a fragment or a password')).min(1).optional()
    .describe('The issuers of its tokens, for the metadata.'),
  scopes: z.array(scope).optional()
    .describe('Scopes that every request needs. The metadata name them.'),
  rootMetadata: z.boolean().optional().describe('Whether this server\'s metadata stand at the root well-known URI too.'),
  hierarchy: z.custom<AuthOptions['hierarchy']>(value => value === undefined || typeof value === 'function', 'must be a function')
    .optional().describe('`(granted, needed) => boolean`: whether a granted scope covers another.')
}).refine(value => value.tokens !== undefined || value.verify !== undefined, 'needs `tokens` or `verify`; `false` opens the server')
  .refine(value => (value.resource === undefined) === (value.authorizationServers === undefined), 'needs `resource` and `authorizationServers` together')
  .refine(value => value.resource !== undefined || value.rootMetadata !== true, 'needs `resource` for `rootMetadata`')

const replay = z.strictObject({
  events: count.default(1_000).describe('The most events that are kept for replay, for each session.'),
  bytes: count.default(262_144).describe('The most characters of their frames.'),
  window: ms(1).default(300_000).describe('Milliseconds in which a client may come back for what it missed, and in which its calls go on.')
})

const hint = z.strictObject({
  ttl: ms(0).optional().describe('Milliseconds, in place of `cache.ttl`.'),
  scope: z.enum(['public', 'private']).optional().describe('In place of `cache.scope`.')
}).optional()

const sealKey = z.custom<string | Uint8Array>(key => (typeof key === 'string' || key instanceof Uint8Array) && Buffer.byteLength(key) >= 32, 'must be text or bytes, 32 bytes or more')

const sessions = z.strictObject({
  idle: ms(2).default(1_800_000).describe('Milliseconds without a request after which a session without open streams or calls ends.'),
  max: count.default(10_000).describe('The most sessions at once; one more is refused with 503.'),
  maxPerPrincipal: count.default(1_000).describe('The most sessions of one principal; one more is refused with 429.'),
  replay: replay.prefault({})
})

const rateLimit = z.strictObject({
  max: count.default(600).describe('The most requests of one principal in each `timeWindow`; without auth, of one address.'),
  timeWindow: ms(1).default(60_000).describe('Milliseconds.'),
  maxPerAddress: count.default(1_200).describe('The most requests of one address, or of one /64 of IPv6, counted before tokens are looked at. Without auth `max` stands in its place.')
})

/** Every option: its default and its sentence. `docs/options.md` shows the same table. */
export const optionsSchema = z.strictObject({
  name: z.string().min(1).default('mcp-server').describe('The name that the server gives itself in `initialize`.'),
  version: z.string().min(1).default('0.0.0').describe('Its version.'),
  title: z.string().optional().describe('Its name for people, from revision 2025-06-18 on.'),
  description: z.string().optional().describe('What it is, for people, from revision 2025-11-25 on.'),
  websiteUrl: z.url('must be a URL').optional().describe('Where people read more, from revision 2025-11-25 on.'),
  icons: z.array(z.looseObject({ src: z.string() })).optional().describe('Its icons, from revision 2025-11-25 on.'),
  instructions: z.string().optional().describe('What a model should know before it uses the server.'),
  prefix: path.or(z.literal('')).default('').describe('Goes before all paths.'),
  publicPath: publicPath.default('').describe('What a proxy takes off the path of every request, such as `/api`: goes before the paths that clients are told.'),
  paths: z.strictObject({
    mcp: path.default('/mcp').describe('Streamable HTTP: POST, GET and DELETE.'),
    sse: path.or(z.literal(false)).default('/sse').describe('HTTP+SSE: the GET that opens the stream. `false` turns this transport off.'),
    messages: path.default('/messages').describe('HTTP+SSE: the POST for messages.')
  }).prefault({}),
  auth: auth.or(z.literal(false)).optional().describe('Who may come in. Without it only loopback clients are served; `false` opens the server.'),
  rateLimit: rateLimit.or(z.literal(false)).default(false).describe('How often clients may come; `false`: as often as they like. Tools may have limits of their own either way.'),
  origins: z.array(origin).default([]).describe('Origins of pages that may call the server, beside its own: as they are (`https://app.example`), as a RegExp, or as a function that gives true. They get CORS.'),
  cors: z.strictObject({
    maxAge: ms(0).default(7_200_000).describe('Milliseconds for which a browser may keep the answer to a preflight.')
  }).prefault({}),
  helmet: z.custom<boolean | FastifyHelmetOptions>(value => typeof value === 'boolean' || (typeof value === 'object' && value !== null && !Array.isArray(value)), 'must be true, false or the options of @fastify/helmet')
    .default(true).describe('Security headers by `@fastify/helmet`: `true`, `false`, or its options over defaults that suit an API.'),
  requireHttps: z.boolean().default(false).describe('Whether plain http is refused with 426, but for loopback clients.'),
  hosts: z.array(host).optional().describe('Values of the Host header that are served, with or without port. Default: all with `auth`, loopback names without.'),
  streams: z.strictObject({
    keepAlive: ms(10).default(15_000).describe('Milliseconds of silence after which a stream gets a comment.'),
    stall: ms(10).default(60_000).describe('Milliseconds after which the connection of a client that reads nothing is broken.'),
    max: count.default(1_000).describe('The most open streams; requests that could need one more are refused with 503.'),
    maxPerPrincipal: count.default(128).describe('The most open streams of one principal; requests that could need one more are refused with 429.'),
    buffer: count.default(65_536).describe('Bytes that may wait in each stream before its tool does.'),
    openAfter: ms(1).default(1_000).describe('Milliseconds after which a POST without an answer becomes a stream.'),
    retry: ms(0).default(1_000).describe('Milliseconds that clients are told to wait before they reconnect.')
  }).prefault({}),
  sessions: sessions.or(z.literal(false)).prefault({}).describe('`false`: stateless mode, any node answers any POST, and HTTP+SSE is off.'),
  tickets: z.strictObject({
    ttl: ms(1).default(30_000).describe('Milliseconds for which a ticket can open its stream.'),
    max: count.default(10_000).describe('The most unused tickets; one more is refused with 503.'),
    maxPerPrincipal: count.default(64).describe('The most unused tickets of one principal; one more is refused with 429.')
  }).prefault({}).describe('For the `EventSource` of a browser, which can send no token.'),
  tools: z.strictObject({
    timeout: ms(1).default(300_000).describe('Milliseconds of work after which a tool is ended. Time in which the client keeps it waiting does not count.'),
    grace: ms(1).default(5_000).describe('Milliseconds after which a tool that ignores the end of its call is logged as abandoned.'),
    maxResult: count.default(10_485_760).describe('The most bytes of a result.')
  }).prefault({}).describe('The same limits hold for reading resources and for making prompts.'),
  health: path.optional().describe('Answers 200 with counts as JSON while the process is well. Off unless named; without auth.'),
  ready: path.optional().describe('The same while it should get requests; 503 when it drains or its store is away. Off unless named; without auth.'),
  drain: z.strictObject({
    timeout: ms(0).default(10_000).describe('Milliseconds that calls in progress have to end when the server closes.')
  }).prefault({}),
  lists: z.strictObject({
    pageSize: count.default(100).describe('Entries in one page of a list.')
  }).prefault({}),
  cache: z.strictObject({
    ttl: ms(0).default(0).describe('Milliseconds for which clients of 2026-07-28 may keep what they were told.'),
    scope: z.enum(['public', 'private']).default('private').describe('`public`: the same for everyone, so that it may be shared between users. Lists that hide anything from anyone stay private.'),
    lists: z.strictObject({
      discover: hint,
      tools: hint,
      prompts: hint,
      resources: hint,
      templates: hint,
      read: hint
    }).prefault({}).describe('`ttl` and `scope` for one list, for `discover`, or for `read`; a resource may say its own.')
  }).prefault({}),
  ask: z.strictObject({
    timeout: ms(1).default(600_000).describe('Milliseconds that a client has for an answer, in sessions.'),
    max: count.default(10_000).describe('The most questions that wait for an answer, in sessions; one more is refused to the handler.'),
    maxPerPrincipal: count.default(256).describe('The most questions to one principal that wait for an answer, in sessions.'),
    keys: z.array(sealKey).min(1).optional().describe('Secrets of at least 32 bytes that seal a `requestState`. The first seals, all open, so that they can be rotated; nodes need the same. Default: a random one for each process.'),
    ttl: ms(1).default(900_000).describe('Milliseconds for which a `requestState` can be brought back.'),
    maxState: count.min(512).default(65_536).describe('The most characters of a `requestState`.')
  }).prefault({}),
  subscriptions: z.strictObject({
    maxPerPrincipal: count.default(16).describe('The most open `subscriptions/listen` of one principal. Without auth only `streams.max` holds.'),
    uris: count.default(1_000).describe('The most resources of one subscription, or of one session. Their URIs together are no longer than `streams.buffer`.')
  }).prefault({}),
  limits: z.strictObject({
    body: count.default(4_194_304).describe('The most bytes of a request body.'),
    batch: count.default(100).describe('The most messages in a batch.'),
    id: count.max(256).default(256).describe('The most characters of a request id and of a progress token.'),
    capabilities: count.default(16_384).describe('The most characters of the capabilities of a client, as JSON.'),
    uri: count.max(65_536).default(4_096).describe('The most characters of the URI of a resource.'),
    calls: count.default(10_000).describe('The most calls in progress; one more is refused with 503.'),
    callsPerSession: count.default(256).describe('The most calls in progress of one session.'),
    callsPerPrincipal: count.default(256).describe('The most calls in progress of one principal; one more is refused with 429.'),
    header: count.min(512).default(1_024).describe('The most characters of `Mcp-Session-Id`, `MCP-Protocol-Version` and `Last-Event-ID`.'),
    depth: count.max(1_000).default(64).describe('The deepest nesting of a request body.'),
    values: count.default(100_000).describe('The most values in a request body: what stands in its arrays and objects.'),
    keys: count.default(50_000).describe('The most keys in a request body, of all its objects together: one costs as much to parse as twenty numbers.')
  }).prefault({}),
  store: z.custom<Store>(value => typeof value === 'object' && value !== null && 'open' in value && typeof value.open === 'function', 'must be a store, such as `memoryStore()` or `redisStore(client)`')
    .optional().describe('Where sessions and events live: `redisStore(client)` for several nodes. Default: `memoryStore()`.')
})

/** The options of `app.register(mcp, options)`. */
export type McpOptions = z.input<typeof optionsSchema>

/** The options with every default filled in. */
export type ResolvedOptions = z.output<typeof optionsSchema>

const SHOWN_OF_AUTH = new Set<PropertyKey | undefined>(['resource', 'authorizationServers', 'scopes', 'rootMetadata', 'hierarchy'])
const KEYS = new Set<PropertyKey | undefined>([undefined, 'keys'])
const MAY_HOLD_SECRETS = new Set<PropertyKey | undefined>(['auth', 'ask'])

const telling: Telling = {
  section: [],
  get names () { return namesIn(optionsSchema) },
  isSecret: ([first, second]) => first === 'auth' ? !SHOWN_OF_AUTH.has(second) : first === 'ask' && KEYS.has(second),
  mayHoldSecrets: ([first]) => MAY_HOLD_SECRETS.has(first)
}

// Fastify reads these of every `register` itself.
const FASTIFY_OPTIONS = new Set(['logLevel', 'logSerializers'])

/** Fills in the defaults of a copy. Throws FST_MCP_OPTION_INVALID, which quotes name and value, and no secret. */
export function resolveOptions (given: McpOptions): ResolvedOptions {
  let wrong: string
  try {
    const copy = copyOf(given)
    const parsed = optionsSchema.safeParse(copy, { error: must })
    if (parsed.success) return parsed.data
    wrong = tell(parsed.error, copy, telling)
  } catch (cause) {
    throw new errorCodes.FST_MCP_OPTION_INVALID('one of them cannot be read', { cause })
  }
  throw new errorCodes.FST_MCP_OPTION_INVALID(wrong)
}

/** Of the options that it has and inherits: a server must not be open because its `auth` is a getter of a class. */
function copyOf (given: McpOptions): object {
  const inherited = Object.keys(optionsSchema.shape).filter(name => name in given && !(name in Object.prototype))
  const names = new Set([...Object.keys(given), ...inherited])
  return Object.fromEntries([...names].filter(name => !FASTIFY_OPTIONS.has(name)).map(name => [name, Reflect.get(given, name)]))
}
