// Somebody with a browser and a client of MCP: what the official clients keep of an authorization, and who allows it, page by page.
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { Client, type OAuthClientProvider, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client'
import { UnauthorizedError as UnauthorizedError1 } from '@modelcontextprotocol/sdk/client/auth.js'
import { Client as Client1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as Http1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import type { Test } from 'tap'

/** One request of a client, to the server or to the authorization server. */
interface Seen {
  readonly method: string
  readonly url: URL
  readonly headers: Headers
  readonly body: string
  readonly status: number
  readonly challenge: string | null
}

type Kept<Method extends 'clientInformation' | 'tokens' | 'discoveryState'> = Awaited<ReturnType<NonNullable<OAuthClientProvider[Method]>>>

/** Gives every authorization that is asked for, by following the redirects and sending the form of the sign-in page. */
class Visitor {
  readonly name: string
  readonly redirectUrl = 'http://127.0.0.1/callback'
  readonly clientMetadata = {
    client_name: 'A <client>', redirect_uris: [this.redirectUrl], grant_types: ['authorization_code', 'refresh_token'], token_endpoint_auth_method: 'none'
  }

  /** What its client sent, in order. Give `fetch` to the transport. */
  readonly seen: Seen[] = []
  /** The authorization requests that its client sent it to. */
  readonly asked: URL[] = []
  /** The text of the pages that it allowed. */
  readonly pages: string[] = []
  /** What came back to the client with the last redirect. */
  callback = new URLSearchParams()
  readonly #cookies = new Map<string, string>()
  #client: Kept<'clientInformation'>
  #tokens: Kept<'tokens'>
  #discovered: Kept<'discoveryState'>
  #verifier = ''

  constructor (name: string) {
    this.name = name
  }

  readonly fetch = async (input: string | URL, init: RequestInit = {}): Promise<Response> => {
    const response = await fetch(input, init)
    this.seen.push({
      method: init.method ?? 'GET',
      url: new URL(input),
      headers: new Headers(init.headers),
      body: String(init.body ?? ''),
      status: response.status,
      challenge: response.headers.get('www-authenticate')
    })
    return response
  }

  /** The requests to a path. */
  to (path: string, method = 'POST'): Seen[] {
    return this.seen.filter(one => one.url.pathname === path && one.method === method)
  }

  clientInformation () { return this.#client }
  saveClientInformation (client: Kept<'clientInformation'>): void { this.#client = client }
  tokens () { return this.#tokens }
  saveTokens (tokens: Kept<'tokens'>): void { this.#tokens = tokens }
  discoveryState () { return this.#discovered }
  saveDiscoveryState (state: Kept<'discoveryState'>): void { this.#discovered = state }
  codeVerifier (): string { return this.#verifier }
  saveCodeVerifier (verifier: string): void { this.#verifier = verifier }

  async redirectToAuthorization (url: URL): Promise<void> {
    this.asked.push(url)
    let next = await this.#visit(url)
    while (!next.href.startsWith(this.redirectUrl)) next = await this.#visit(next)
    this.callback = next.searchParams
  }

  /** Gives where a page leads to: by itself, or when its form is sent. */
  async #visit (url: URL): Promise<URL> {
    const response = await this.#browse(url)
    const location = response.headers.get('location')
    if (location !== null) return new URL(location, url)
    const page = await response.text()
    if (!page.includes('<form method="post">')) throw new Error(`${url.href} answers ${response.status}: ${page}`)
    this.pages.push(page)
    const sent = await this.#browse(url, { method: 'POST', body: new URLSearchParams(page.includes('name="name"') ? { name: this.name } : {}) })
    return new URL(sent.headers.get('location') ?? '', url)
  }

  async #browse (url: URL, init: RequestInit = {}): Promise<Response> {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const response = await fetch(url, { ...init, headers: { cookie }, redirect: 'manual' })
    for (const [, name = '', value = ''] of response.headers.getSetCookie().map(line => /^([^=]+)=([^;]*)/.exec(line) ?? [])) {
      if (value === '') this.#cookies.delete(name)
      else this.#cookies.set(name, value)
    }
    return response
  }
}

/** An official client that is signed in, whichever it is. */
export interface SignedIn {
  readonly visitor: Visitor
  sessionId (): string | undefined
  /** The text of the result. */
  call (name: string, args?: Record<string, unknown>): Promise<string>
}

interface Way {
  readonly sessionId?: string | undefined
  finishAuth (code: string, iss?: string): Promise<void>
}

interface Official {
  callTool (params: { name: string, arguments: Record<string, unknown> }): Promise<object>
  close (): Promise<void>
}

const textOf = (result: object): string => JSON.parse(JSON.stringify(result)).content.map(({ text }: { text: string }) => text).join('')

/** Connects; wherever the client stops for its user, it goes on when the user has come back. */
async function signIn (t: Test, visitor: Visitor, client: Official, open: () => { way: Way, connected: Promise<void> }): Promise<SignedIn> {
  t.teardown(() => client.close())
  let way: Way
  const withUser = async <T>(act: () => Promise<T>): Promise<T> => {
    try {
      return await act()
    } catch (error) {
      if (!(error instanceof UnauthorizedError || error instanceof UnauthorizedError1)) throw error
      await way.finishAuth(visitor.callback.get('code') ?? '', visitor.callback.get('iss') ?? undefined)
      return act()
    }
  }
  const connect = (): Promise<void> => {
    const opened = open()
    way = opened.way
    return opened.connected
  }
  await withUser(connect)
  return {
    visitor,
    sessionId: () => way.sessionId,
    call: async (name, args = {}) => textOf(await withUser(() => client.callTool({ name, arguments: args })))
  }
}

/** With the client of 2.4: of 2026-07-28 with `auto`, else of the session revisions. */
export function signIn2 (t: Test, resource: string, name: string, mode: 'auto' | 'legacy' = 'auto'): Promise<SignedIn> {
  const visitor = new Visitor(name)
  const client = new Client({ name: 'test', version: '1.0.0' }, { versionNegotiation: { mode } })
  return signIn(t, visitor, client, () => {
    const way = new StreamableHTTPClientTransport(new URL(resource), { authProvider: visitor, fetch: visitor.fetch })
    return { way, connected: client.connect(way) }
  })
}

/** With the client of 1.32. */
export function signIn1 (t: Test, resource: string, name: string): Promise<SignedIn> {
  const visitor = new Visitor(name)
  const client = new Client1({ name: 'test', version: '1.0.0' })
  return signIn(t, visitor, client, () => {
    const way = new Http1(new URL(resource), { authProvider: visitor, fetch: visitor.fetch })
    return { way, connected: client.connect(way) }
  })
}

/** A port that is known before the server behind it: only bytes go through. */
export async function openPort (t: Test): Promise<{ url: string, leadTo: (url: string) => void }> {
  let target = 0
  const server = createServer(outer => {
    const inner = connect(target, '127.0.0.1')
    outer.pipe(inner).pipe(outer)
    outer.on('error', () => {}).on('close', () => inner.destroy())
    inner.on('error', () => {}).on('close', () => outer.destroy())
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => { server.close() })
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, leadTo: url => { target = Number(new URL(url).port) } }
}
