// Requests over HTTP/1.1 and HTTP/2, whose answers are gunzipped as they come.
import { once } from 'node:events'
import { request as requestHttp } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { request as requestHttps } from 'node:https'
import { constants, createGunzip } from 'node:zlib'
import type { Readable } from 'node:stream'
import type { Test } from 'tap'
import { ACCEPT, type Opened, within } from '../client.ts'

export type Ask = (method: string, path: string, headers?: Record<string, string>, body?: object) => Promise<Opened>
export type Protocol = 'HTTP/1.1' | 'HTTP/2'

const HEADERS = { accept: ACCEPT, 'content-type': 'application/json' }

export interface AskerOptions {
  /** Trusted over TLS, which HTTP/2 needs. */
  readonly ca?: Buffer
  /** Where the client is: an address of loopback. */
  readonly localAddress?: string
}

/** HTTP/2 keeps to one connection. */
export function askerOf (t: Test, protocol: Protocol, url: string, { ca, localAddress }: AskerOptions = {}): Ask {
  if (protocol === 'HTTP/1.1') {
    const request = url.startsWith('https:') ? requestHttps : requestHttp
    return async (method, path, headers, body) => {
      const outgoing = request(new URL(path, url), { method, ca, localAddress, agent: false, headers: { ...HEADERS, ...headers } })
      outgoing.on('error', () => {}).end(body === undefined ? undefined : JSON.stringify(body))
      const [response] = await within(once(outgoing, 'response'), `${method} ${path}`)
      t.equal(response.httpVersion, '1.1')
      return { status: response.statusCode, headers: response.headers, body: plain(response, response.headers) }
    }
  }
  const session = connectHttp2(url, { ca })
  session.on('error', () => {})
  t.teardown(() => session.destroy())
  return async (method, path, headers, body) => {
    const stream = session.request({ ':method': method, ':path': path, ...HEADERS, ...headers })
    stream.on('error', () => {}).end(body === undefined ? undefined : JSON.stringify(body))
    const [head] = await within(once(stream, 'response'), `${method} ${path}`)
    t.equal(session.alpnProtocol, 'h2')
    return { status: head[':status'], headers: head, body: plain(stream, head) }
  }
}

function plain (body: Readable, headers: Record<string, unknown>): Readable {
  if (headers['content-encoding'] !== 'gzip') return body
  const gunzip = createGunzip({ finishFlush: constants.Z_SYNC_FLUSH })
  body.on('close', () => { if (!body.readableEnded) gunzip.destroy() })
  gunzip.on('close', () => body.destroy())
  return body.pipe(gunzip)
}
