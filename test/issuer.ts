// An authorization server on loopback: its metadata, its keys, and what it says of tokens. A test breaks it as it likes.
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, type JWTHeaderParameters, SignJWT } from 'jose'
import type { Test } from 'tap'

export const AUDIENCE = 'https://mcp.example/mcp'

export type Handle = (request: IncomingMessage, response: ServerResponse, body: string) => void

export interface Pair {
  readonly kid: string
  readonly privateKey: CryptoKey
  readonly publicKey: CryptoKey
  readonly jwk: JWK
}

export async function makePair (alg = 'ES256', kid = 'one'): Promise<Pair> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  return { kid, privateKey, publicKey, jwk: { ...await exportJWK(publicKey), kid, alg, use: 'sig' } }
}

/** The claims of a good token. */
export function claimsOf (issuer: string, own: Record<string, unknown> = {}): Record<string, unknown> {
  const now = Math.floor(Date.now() / 1_000)
  return { iss: issuer, aud: AUDIENCE, sub: 'ada', iat: now, exp: now + 300, scope: 'read write', ...own }
}

type Header = Partial<JWTHeaderParameters>

export async function sign ({ privateKey, kid, jwk }: Pair, claims: Record<string, unknown>, header: Header = {}): Promise<string> {
  return new SignJWT(claims).setProtectedHeader({ alg: String(jwk.alg), kid, typ: 'at+jwt', ...header }).sign(privateKey)
}

export function json (value: unknown, status = 200, type = 'application/json'): Handle {
  return (_request, response) => {
    response.writeHead(status, { 'content-type': type }).end(typeof value === 'string' ? value : JSON.stringify(value))
  }
}

export const never: Handle = () => {}
export const hangUp: Handle = request => { request.socket.destroy() }
export const redirectTo = (location: string): Handle => (_request, response) => { response.writeHead(302, { location }).end() }

export class Issuer {
  /** The issuer's name, with its path. */
  readonly url: string
  readonly origin: string
  readonly pair: Pair
  /** What each path answers. */
  readonly paths = new Map<string, Handle>()
  /** Answers in place of everything else: an outage. */
  broken: Handle | undefined
  /** The paths that were asked for. */
  readonly asked: string[] = []
  readonly #server: Server

  private constructor (server: Server, origin: string, path: string, pair: Pair) {
    this.#server = server
    this.origin = origin
    this.url = origin + path
    this.pair = pair
    server.on('request', (request, response) => this.#answer(request, response))
    this.publish(pair)
    const base = path.replace(/\/$/, '')
    this.paths.set(`/.well-known/oauth-authorization-server${base}`, json({ issuer: this.url, jwks_uri: `${origin}/keys` }))
  }

  static async start (t: Test, path = ''): Promise<Issuer> {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    if (typeof address !== 'object' || address === null) throw new Error('no port')
    const issuer = new Issuer(server, `http://127.0.0.1:${address.port}`, path, await makePair())
    t.after(() => issuer.stop())
    return issuer
  }

  publish (...pairs: Pair[]): void {
    this.paths.set('/keys', json({ keys: pairs.map(({ jwk }) => jwk) }))
  }

  count (path: string): number {
    return this.asked.filter(asked => asked === path).length
  }

  /** A good token, but for what a test changes. */
  token (claims: Record<string, unknown> = {}, header: Header = {}, pair = this.pair): Promise<string> {
    return sign(pair, claimsOf(this.url, claims), header)
  }

  stop (): void {
    this.#server.close()
    this.#server.closeAllConnections()
  }

  async #answer (request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = String(request.url)
    this.asked.push(path)
    let body = ''
    for await (const chunk of request.setEncoding('utf8')) body += chunk
    const handle = this.broken ?? this.paths.get(path) ?? json({}, 404)
    handle(request, response, body)
  }
}
