import type { FastifyInstance } from 'fastify'

const REDACTED = '[redacted]'
// A host may have the router take `;` for `?`.
const QUERY = /[?;#]/
// The path stands among the headers of HTTP/2.
const SECRET = new Set<PropertyKey>(['authorization', 'mcp-session-id', 'last-event-id', ':path'])
// Where pino keeps the serializers of a logger.
const SERIALIZERS = Symbol.for('pino.serializers')

/**
 * Keeps tokens, tickets and session ids out of what is logged of the requests to the routes of a scope, and of their answers:
 * the serializers of the host, or else Fastify's, read both without them. Must be called before the routes are added.
 */
export function useRedaction (scope: FastifyInstance): void {
  const ofApp: object = Object(Reflect.get(scope.log, SERIALIZERS))
  scope.addHook('onRoute', route => {
    const given = route.logSerializers ?? ofApp
    const own = Object.fromEntries(['req', 'res'].flatMap(name => {
      const serialize: unknown = Reflect.get(given, name) ?? Reflect.get(ofApp, name)
      return typeof serialize === 'function' ? [[name, (value: unknown) => serialize(redacted(value))]] : []
    }))
    // What lies behind it comes from the scopes around this one.
    route.logSerializers = route.logSerializers === undefined ? own : Object.assign(Object.create(route.logSerializers), own)
  })
}

/** A request or a reply as the log may see it, and the raw ones behind them. */
const VIEW: ProxyHandler<object> = {
  get (target, key) {
    const value: unknown = Reflect.get(target, key)
    switch (key) {
      case 'url':
      case 'originalUrl': return withoutQuery(value)
      case 'query': return {}
      case 'headers': return withoutSecrets(value)
      case 'rawHeaders': return Array.isArray(value) ? value.map((text, index) => index % 2 === 0 ? text : headerOf(lower(value[index - 1]), text)) : value
      case 'getHeader': return typeof value === 'function' ? (name: unknown) => headerOf(lower(name), value.call(target, name)) : value
      case 'getHeaders': return typeof value === 'function' ? () => withoutSecrets(value.call(target)) : value
      case 'raw':
      case 'request': return redacted(value)
      default: return value
    }
  }
}

function redacted (value: unknown): unknown {
  return typeof value === 'object' && value !== null ? new Proxy(value, VIEW) : value
}

function withoutQuery (url: unknown): unknown {
  if (typeof url !== 'string') return url
  const start = url.search(QUERY)
  return start < 0 ? url : `${url.slice(0, start + 1)}${REDACTED}`
}

const HEADERS: ProxyHandler<object> = {
  get: (target, name) => headerOf(name, Reflect.get(target, name))
}

function withoutSecrets (headers: unknown): object {
  return new Proxy(Object(headers), HEADERS)
}

function lower (name: unknown): string {
  return String(name).toLowerCase()
}

/** `name`: in lower case. */
function headerOf (name: PropertyKey, value: unknown): unknown {
  if (!SECRET.has(name) || value === undefined) return value
  return name === ':path' ? withoutQuery(value) : REDACTED
}
