// A server that asks for a bearer token: a static one for the build, JWTs for people. The issuer below stands in for your
// authorization server; it signs for whoever asks, so it listens on loopback alone.
import { once } from 'node:events'
import { createServer } from 'node:http'
import Fastify from 'fastify'
import mcp from 'fastify-mcp-sse'
import { jwt } from 'fastify-mcp-sse/jwt'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'

const audience = 'https://mcp.example/mcp'
const build = 'build-may-read'

const { privateKey, publicKey } = await generateKeyPair('ES256')
const keys = [{ ...await exportJWK(publicKey), kid: 'demo', alg: 'ES256', use: 'sig' }]

const server = createServer((request, response) => {
  const answers = new Map<string | undefined, object>([
    ['/.well-known/oauth-authorization-server', { issuer, jwks_uri: `${issuer}/keys` }],
    ['/keys', { keys }]
  ])
  const answer = answers.get(request.url)
  response.writeHead(answer === undefined ? 404 : 200, { 'content-type': 'application/json' }).end(JSON.stringify(answer ?? {}))
})
server.listen(0, '127.0.0.1').unref()
await once(server, 'listening')
const address = server.address()
const issuer = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`

function tokenOf (subject: string, scope: string): Promise<string> {
  return new SignJWT({ scope })
    .setProtectedHeader({ alg: 'ES256', kid: 'demo', typ: 'at+jwt' })
    .setIssuer(issuer).setAudience(audience).setSubject(subject).setIssuedAt().setExpirationTime('1h')
    .sign(privateKey)
}

const app = Fastify({ logger: true })
await app.register(mcp, {
  name: 'bearer',
  version: '1.0.0',
  auth: {
    tokens: [{ token: build, principal: 'build', scopes: ['read'] }],
    verify: jwt({ issuer, audience })
  }
})

app.mcp.tool('whoami', { description: 'Says who calls.' }, (_args, { principal }) => {
  return `${principal?.id}, known to ${principal?.issuer ?? 'this server'}, may ${principal?.scopes?.join(' and ')}`
})

app.mcp.tool('write', {
  description: 'Only for those who may write.',
  visible: principal => principal?.scopes?.includes('write') === true
}, () => 'written')

console.log(`the build's token:\n${build}\na token of ada, who may write:\n${await tokenOf('ada', 'read write')}`)
await app.listen({ port: Number(process.env.PORT ?? 3000) })
