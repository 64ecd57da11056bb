export type Fields = Readonly<Record<string, unknown>>

/** A JSON-RPC message of a server that may be any. */
export interface Rpc {
  readonly id: unknown
  readonly method: unknown
  readonly result: Fields | undefined
  readonly error: { readonly code: unknown, readonly message: string, readonly data: Fields } | undefined
}

/** The members of what is an object; of anything else none. */
export function fieldsOf (value: unknown): Fields {
  return typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value)) : {}
}

export function parseJson (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** What a server gave where text belongs: to make text of an object may throw. */
export function textOf (value: unknown): string {
  return typeof value === 'object' && value !== null ? 'an object' : String(value)
}

/** Reads a message; undefined when it is none. */
export function readRpc (text: string): Rpc | undefined {
  const { jsonrpc, id, method, result, error } = fieldsOf(parseJson(text))
  if (jsonrpc !== '2.0') return undefined
  const { code, message, data } = fieldsOf(error)
  return {
    id,
    method,
    result: result === undefined ? undefined : fieldsOf(result),
    error: error === undefined ? undefined : { code, message: textOf(message), data: fieldsOf(data) }
  }
}
