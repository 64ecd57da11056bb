import { errorCodes } from '../errors.ts'

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/
const JSON_TYPE = /^application\/(?:[\w.-]+\+)?json *(?:;|$)/i
const MAX_BYTES = 524_288

/** Whether an identity provider may be there: https, or http on this machine, without a password. */
export function isTrusted (url: string): boolean {
  if (!URL.canParse(url)) return false
  const { protocol, hostname, username, password } = new URL(url)
  return username + password === '' && (protocol === 'https:' || (protocol === 'http:' && LOOPBACK.test(hostname)))
}

export interface ReadOptions {
  readonly signal: AbortSignal
  readonly headers?: Record<string, string>
  /** Makes it a POST. */
  readonly form?: URLSearchParams
  /** Whether the answer must call itself JSON. */
  readonly isStrict?: boolean
}

/** Reads JSON, bounded in size. Follows no redirect. Throws a TypeError without anything that was sent or answered. */
export async function readJson (url: string, { signal, headers, form, isStrict = false }: ReadOptions): Promise<unknown> {
  const { origin, pathname } = new URL(url)
  const fail = (what: string, cause?: unknown): TypeError => new TypeError(`${origin}${pathname} ${what}`, { cause })
  let response: Response
  try {
    response = await fetch(url, { method: form ? 'POST' : 'GET', body: form, headers: { accept: 'application/json', ...headers }, redirect: 'error', signal })
  } catch (error) {
    throw fail('cannot be reached', error)
  }
  const { status, body } = response
  const isJson = !isStrict || JSON_TYPE.test(response.headers.get('content-type') ?? '')
  if (status !== 200 || body === null || !isJson) {
    // Else its connection stays in use.
    await body?.cancel()
    throw fail(isJson ? `answered ${status}` : `answered ${status}, and no JSON`)
  }
  const chunks: Uint8Array[] = []
  let size = 0
  try {
    for await (const chunk of body) {
      size += chunk.byteLength
      if (size > MAX_BYTES) throw fail(`answered more than ${MAX_BYTES} bytes`)
      chunks.push(chunk)
    }
  } catch (error) {
    throw fail('did not answer to the end', error)
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString())
  } catch {
    // The parser's own error quotes the text.
    throw fail('did not answer JSON')
  }
}

/** Tells the client to come back (503), and the log why. */
export function unavailable (cause: unknown): Error {
  return new errorCodes.FST_MCP_AUTH_UNAVAILABLE({ cause })
}
