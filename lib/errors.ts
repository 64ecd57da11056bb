import createError, { type FastifyErrorConstructor } from '@fastify/error'
import type { LimitName } from './channels.ts'
import { catalogue, INTERNAL, INVALID_PARAMS, INVALID_REQUEST, RESOURCE_NOT_FOUND, SESSION_NOT_FOUND, TRANSPORT } from './catalogue.ts'

export type ErrorCode = keyof typeof catalogue

type Row = readonly [message: string, status: number, rpc: number]
type ErrorConstructor = FastifyErrorConstructor<{ code: string, statusCode: number }, (string | number | { cause: unknown })[]>

const rows = new Map<unknown, Row>(Object.entries(catalogue))

/** Every error of this plugin, by its code; `instanceof` works across copies of the package. */
// Object.fromEntries forgets which keys it was given.
export const errorCodes = Object.fromEntries(
  Object.entries(catalogue).map(([code, [message, status]]) => [code, createError(code, message, status)])
) as Record<ErrorCode, ErrorConstructor>

/** What a client reads in `error` of a JSON-RPC response. */
export interface RpcError {
  code: number
  message: string
  data?: Record<string, unknown>
}

/**
 * Throw it from a handler or a hook to answer with a JSON-RPC error of your own. Codes of your own lie outside of -32768 to -32000.
 * Specification: basic, "Error Codes".
 */
export class McpError extends Error {
  override name = 'McpError'
  readonly rpc: RpcError

  /** `data`: JSON, or it is left out. Throws a TypeError when `code` is not a whole number. */
  constructor (code: number, message: string, data?: Record<string, unknown>) {
    super(message)
    if (!Number.isInteger(code)) throw new TypeError(`The code of a JSON-RPC error is a whole number, not ${String(code)}`)
    this.rpc = { code, message: this.message, ...(data && { data }) }
  }
}

/**
 * Throw it from a tool to tell the model what went wrong: its message becomes the text of a result with `isError: true`.
 * Any other error is logged whole and told as a generic failure.
 * Specification: server/tools, "Error Handling".
 */
export class ToolError extends Error {
  override name = 'ToolError'
}

function rowOf (error: unknown): Row | undefined {
  return error instanceof Error && 'code' in error ? rows.get(error.code) : undefined
}

/** Adds what a client can act on to the `data` of an error from the catalogue. */
export function withData<E extends Error> (error: E, data: Record<string, unknown>): E {
  return Object.assign(error, { data })
}

const reached = new WeakMap<object, LimitName>()

/** Says which limit an error is about. */
export function atLimit<E extends Error> (limit: LimitName, error: E): E {
  reached.set(error, limit)
  return error
}

/** The limit that an error is about, for the first who asks. */
export function takeLimit (error: unknown): LimitName | undefined {
  const found = reached.get(Object(error))
  reached.delete(Object(error))
  return found
}

const LOOKED_AT = ['name', 'message', 'stack', 'cause', 'code', 'data', 'rpc', 'statusCode']

/** What foreign code threw, if it can be looked at: a Proxy or a getter may throw again, at whoever handles the first error. */
export function readable (thrown: unknown): unknown {
  try {
    for (const key of LOOKED_AT) {
      Reflect.has(Object(thrown), key)
      Reflect.get(Object(thrown), key)
    }
    // Where `instanceof` looks.
    Object.getPrototypeOf(Object(thrown))
    return thrown
  } catch {
    return new TypeError('What was thrown cannot be read')
  }
}

interface Log {
  error (what: object, message: string): void
}

/** A logger reads all of what was thrown, and what was thrown may throw again. */
export function logSafely (log: Log, error: unknown, message: string, what: Record<string, unknown> = {}): void {
  try {
    log.error({ err: error, ...what }, message)
  } catch {
    log.error(what, `${message} with an error that cannot be logged`)
  }
}

/**
 * The JSON-RPC form of an error; what is not from the catalogue is told as FST_MCP_INTERNAL and keeps its text to itself.
 * `isStateless`: in the codes of 2026-07-28, which has given up -32002 and asks servers to leave -32000 to -32019 alone.
 */
export function toRpcError (error: unknown, isStateless = false): RpcError {
  const own = error instanceof McpError ? ownRpcOf(error) : undefined
  if (own !== undefined) return own
  const row = rowOf(error)
  if (row === undefined || !(error instanceof Error) || !('code' in error)) {
    const [message, , code] = catalogue.FST_MCP_INTERNAL
    return { code, message, data: { code: 'FST_MCP_INTERNAL' } }
  }
  const data = { code: String(error.code), ...('data' in error && Object(error.data)) }
  return { code: isStateless ? statelessCode(row) : row[2], message: error.message, data }
}

/** What an application says, if it can be read: it may have changed it since. */
function ownRpcOf ({ rpc }: McpError): RpcError | undefined {
  try {
    const { code, message, data } = rpc
    return Number.isInteger(code) && typeof message === 'string' ? { code, message, ...(data !== undefined && { data }) } : undefined
  } catch {
    return undefined
  }
}

/** `FST_MCP_…`, or the number of an application's own error. */
export function codeOf (error: unknown): string {
  const { code, data } = toRpcError(error)
  try {
    return typeof data?.code === 'string' ? data.code : String(code)
  } catch {
    return String(code)
  }
}

/** An error of another node, from its JSON-RPC form. */
export function revive (told: unknown): Error {
  const { message, data }: { message?: unknown, data?: unknown } = Object(told)
  const { code, ...more }: { code?: unknown } = Object(data)
  // A code that this version does not know stays an internal error.
  const known = typeof code === 'string' && Object.hasOwn(errorCodes, code) ? code as ErrorCode : 'FST_MCP_INTERNAL'
  return Object.assign(new errorCodes[known](), { message: String(message), data: more })
}

function statelessCode ([, status, code]: Row): number {
  if (code === RESOURCE_NOT_FOUND) return INVALID_PARAMS
  if (code !== TRANSPORT && code !== SESSION_NOT_FOUND) return code
  return status >= 400 && status < 500 ? INVALID_REQUEST : INTERNAL
}

/** Whether an error was thrown on purpose, by this plugin or as a McpError, so that a client may read it. */
export function isTold (error: unknown): boolean {
  return error instanceof McpError || (rowOf(error) !== undefined && !(error instanceof errorCodes.FST_MCP_INTERNAL))
}

/** The HTTP status that goes with an error when it answers the request itself. */
export function toStatus (error: unknown): number {
  return rowOf(error)?.[1] ?? (error instanceof McpError ? 200 : 500)
}
