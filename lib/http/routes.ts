import type { FastifyInstance, FastifyReply, FastifyRequest, HTTPMethods } from 'fastify'
import { atLimit, errorCodes } from '../errors.ts'
import { classify, classifyHandshake, type InboundLimits } from '../eras/classify.ts'
import { isStatelessVersion } from '../eras/envelope.ts'
import type { Facts } from '../eras/handshake.ts'
import type { HttpSse } from '../eras/http-sse.ts'
import type { Revision } from '../eras/revisions.ts'
import type { SessionHost } from '../eras/session-host.ts'
import type { Stateless } from '../eras/stateless.ts'
import type { Streamable } from '../eras/streamable.ts'
import type { TicketOffice } from '../eras/ticket-office.ts'
import type { JsonLimits } from '../protocol/json.ts'
import { readableId } from '../protocol/message.ts'
import type { StreamPool } from '../sse/pool.ts'
import { type Awaitable, whenReady } from '../store/store.ts'
import type { SessionInfo } from '../tools/context.ts'
import { readAccept } from './accept.ts'
import { Answer } from './answer.ts'
import type { Authenticate, Principal } from './auth.ts'
import type { Connections } from '../ops/connections.ts'
import { useBodyParser } from './body.ts'
import type { Challenge } from './challenge.ts'
import type { Cors } from './cors.ts'
import type { Rates } from './rates.ts'
import { useRedaction } from './redaction.ts'
import type { Refuse } from './refusal.ts'
import { type OpenResponses, useStraightWay } from './responses.ts'
import { admissionOf, inQuery, issueTicket } from './ticket.ts'

/** `request.mcp`: how a request of an MCP client was understood. Null on every other request. */
export interface RequestMcp {
  readonly transport: 'http+sse' | 'streamable-http'
  /** Null until the session or the header told it. */
  revision: Revision | null
  readonly principal: Principal | null
  session: SessionInfo | null
}

export interface RoutesOptions {
  readonly paths: { readonly mcp: string, readonly sse: string | false, readonly messages: string }
  /** What a proxy takes off the path of every request. */
  readonly publicPath: string
  readonly limits: InboundLimits & JsonLimits & { readonly body: number, readonly header: number }
  readonly openAfter: number
  readonly guard: (request: FastifyRequest) => void
  readonly authenticate: Authenticate
  /** The same for those who open a stream of HTTP+SSE, perhaps with a ticket. */
  readonly authenticateStream: Authenticate
  readonly tickets: TicketOffice
  readonly challenge: Challenge
  readonly refuse: Refuse
  /** Goes into the `config` of each route, for plugins of the host. */
  readonly config: object
  /** Null without `origins`. */
  readonly cors: Cors | null
  readonly rates: Rates
  readonly responses: OpenResponses
  /** Null where there is HTTP/2 alone. */
  readonly http1: Connections | null
  readonly pool: StreamPool
  readonly stateless: Stateless
  readonly streamable: Streamable
  /** Null when HTTP+SSE is off. */
  readonly httpSse: HttpSse | null
  /** Null in stateless mode: there is nothing to GET or DELETE. */
  readonly sessions: SessionHost | null
}

type Handle = (request: FastifyRequest, reply: FastifyReply) => Awaitable<void>
type Handles = Partial<Record<string, Handle>>

const MAX_TIMER = 2_147_483_647
const METHODS: HTTPMethods[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']

/** Registers the routes in a scope of their own: body parser, error shape, guard and auth hold here alone. */
export function registerRoutes (scope: FastifyInstance, options: RoutesOptions): void {
  const { paths, limits, rates, sessions, stateless, streamable, httpSse, tickets, refuse } = options
  useRedaction(scope)
  useStraightWay(scope)
  useBodyParser(scope, limits)
  scope.setErrorHandler((error, _request, reply) => refuse(reply, error))

  // A host's limit for its handlers would break streams; a route can raise it but not lift it. Fastify's types do not show it here.
  const handlerTimeout = Reflect.get(scope.initialConfig, 'handlerTimeout') > 0 ? MAX_TIMER : undefined
  const route = (url: string, transport: RequestMcp['transport'], handles: Handles, authenticate = options.authenticate): void => {
    routeAt(url, transport, handles, authenticate)
    // Clients do ask for it, and a path that is nobody's is logged with its query.
    const twin = `${url}/`
    if (!Object.values(paths).includes(twin) && isFree(scope, twin)) routeAt(twin, transport, handles, authenticate)
  }
  const routeAt = (url: string, transport: RequestMcp['transport'], handles: Handles, authenticate: Authenticate): void => {
    const onRequest = admit(transport, authenticate, options)
    const same = { url, config: { ...options.config, ...options.cors?.config }, exposeHeadRoute: false, bodyLimit: limits.body, handlerTimeout }
    const served = METHODS.filter(method => handles[method] !== undefined)
    for (const method of METHODS) {
      const handle = handles[method] ?? refuseMethod(served)
      scope.route({ ...same, method, onRequest, handler: handlerOf(handle, options) })
    }
    if (options.cors !== null) scope.route({ ...same, ...options.cors.preflight(served.join(', '), options.guard) })
  }
  const answer = (request: FastifyRequest, reply: FastifyReply): Answer => {
    const accepts = readAccept(request.headers.accept)
    if (!accepts.json && !accepts.sse) throw new errorCodes.FST_MCP_NOT_ACCEPTABLE('application/json and text/event-stream')
    const { pool, responses, openAfter } = options
    return new Answer(reply, { pool, responses, openAfter, challenge: options.challenge, accepts })
  }
  const stream = (request: FastifyRequest, reply: FastifyReply): Answer => {
    if (!readAccept(request.headers.accept).sse) throw new errorCodes.FST_MCP_NOT_ACCEPTABLE('text/event-stream')
    return answer(request, reply)
  }
  const facts = (request: FastifyRequest): Facts => factsOf(request, limits.header)

  route(paths.mcp, 'streamable-http', {
    POST: (request, reply) => {
      const own = facts(request)
      const inbound = classify(request.body, own.version, limits)
      const exchange = answer(request, reply)
      return rates.call(inbound, reply, () => inbound.kind === 'standalone' || inbound.kind === 'notice'
        ? stateless.post(inbound, own, exchange)
        : streamable.post(inbound, own, exchange))
    },
    ...(sessions !== null && {
      GET: (request, reply) => {
        const own = refuseStateless(facts(request), reply)
        return streamable.get(sessions, own, stream(request, reply))
      },
      DELETE: (request, reply) => {
        const own = refuseStateless(facts(request), reply)
        return streamable.delete(sessions, own, answer(request, reply))
      }
    })
  })
  if (httpSse === null || paths.sse === false) return
  const { sse, messages } = { sse: paths.sse, messages: paths.messages }
  const publicOf = (request: FastifyRequest, path: string): string => options.publicPath + baseOf(request, scope.prefix, path)
  route(sse, 'http+sse', {
    GET: (request, reply) => httpSse.get(facts(request), endpointOf(publicOf(request, sse), messages), stream(request, reply))
  }, options.authenticateStream)
  const ticket = `${sse.replace(/\/$/, '')}/ticket`
  route(ticket, 'http+sse', {
    POST: (request, reply) => issueTicket(tickets, request, reply, publicOf(request, ticket) + sse)
  })
  route(messages, 'http+sse', {
    POST: (request, reply) => {
      const inbound = classifyHandshake(request.body, limits)
      const own = { ...facts(request), sessionId: inQuery(request, 'sessionId') }
      const exchange = answer(request, reply)
      return rates.call(inbound, reply, () => httpSse.post(inbound, own, exchange))
    }
  })
}

/** Whether neither the router nor a route of the host takes the path already. */
function isFree (scope: FastifyInstance, url: string): boolean {
  const { ignoreTrailingSlash, routerOptions } = scope.initialConfig
  if (ignoreTrailingSlash === true || routerOptions?.ignoreTrailingSlash === true || url.endsWith('//')) return false
  return !METHODS.some(method => scope.hasRoute({ method, url: `${scope.prefix}${url}` }))
}

type OnRequest = (request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void) => void

/** Guard and auth, before the body is read. */
function admit (transport: RequestMcp['transport'], authenticate: Authenticate, { guard, rates, responses, http1 }: RoutesOptions): OnRequest {
  return (request, reply, done) => {
    responses.meet(reply)
    http1?.claim(request.raw)
    const enter = (principal: Principal | null): void => { request.mcp = { transport, principal, revision: null, session: null } }
    // Guard and auth throw errors of the catalogue alone; `done` would let the request in for an undefined.
    const fail = (error: unknown): void => done(error as Error)
    try {
      guard(request)
      const admitted = rates.admit(reply, () => whenReady(authenticate(request), enter))
      if (admitted instanceof Promise) admitted.then(() => done(), fail)
      else done()
    } catch (error) {
      fail(error)
    }
  }
}

function refuseMethod (allowed: HTTPMethods[]): Handle {
  return ({ method }, reply) => {
    reply.header('allow', allowed.join(', '))
    throw new errorCodes.FST_MCP_METHOD_NOT_ALLOWED(method)
  }
}

/** A client of 2026-07-28 has no session to GET or DELETE. Throws FST_MCP_METHOD_NOT_ALLOWED. */
function refuseStateless (facts: Facts, reply: FastifyReply): Facts {
  if (!isStatelessVersion(facts.version)) return facts
  reply.header('allow', 'POST')
  throw new errorCodes.FST_MCP_METHOD_NOT_ALLOWED(facts.request.method)
}

/** A refusal names the request that it answers, as far as its id can be read. */
function handlerOf (handle: Handle, { limits, refuse }: RoutesOptions) {
  return (request: FastifyRequest, reply: FastifyReply): void => {
    const fail = (error: unknown): void => refuse(reply, error, readableId(request.body, limits.id))
    try {
      const answered = handle(request, reply)
      if (answered instanceof Promise) answered.catch(fail)
    } catch (error) {
      fail(error)
    }
  }
}

/** Throws FST_MCP_HEADER_INVALID. */
function factsOf (request: FastifyRequest, maxLength: number): Facts {
  const header = (name: string): string | undefined => {
    const value = request.headers[name]?.toString()
    if (value === undefined || value.length <= maxLength) return value
    throw atLimit('limits.header', new errorCodes.FST_MCP_HEADER_INVALID(name, maxLength))
  }
  const version = header('mcp-protocol-version')
  // From 2026-07-28 on there are no sessions, and what names one is not looked at.
  const hasSessions = !isStatelessVersion(version)
  return {
    request,
    principal: request.mcp?.principal ?? null,
    sessionId: hasSessions ? header('mcp-session-id') : undefined,
    version,
    lastEventId: hasSessions ? header('last-event-id') : undefined,
    admission: admissionOf(request)
  }
}

/** Where a client of this stream posts, as it sees it. */
function endpointOf (base: string, messages: string) {
  return (sessionId: string): string => `${base}${messages}?sessionId=${sessionId}`
}

/** What comes before a path of ours in the URL of the request, whatever prefix or rewriting lies between. */
function baseOf ({ originalUrl }: FastifyRequest, prefix: string, path: string): string {
  // Whoever takes the request for one to a proxy names a host too (RFC 9112, section 3.2.2), which would be anybody's word.
  // So does a path that begins with two slashes, which a router may not care for, and a URL reads `\` as one.
  const seen = originalUrl.replace(/^[a-z][\w+.-]*:\/\/[^/?]*/i, '').replace(/^[/\\]{2,}/, '/').replace(/\/?(?:\?.*)?$/, '')
  // The router may not care for case.
  return seen.toLowerCase().endsWith(path.toLowerCase()) ? seen.slice(0, -path.length) : prefix
}
