// A server that an authorization server stands before: a client without a token is told where to get one, registers there, has its user
// sign in, and comes back with a JWT. When a tool needs more than the token says, it goes once more.
import Fastify from 'fastify'
import mcp, { type Principal } from 'fastify-mcp-sse'
import { jwt } from 'fastify-mcp-sse/jwt'
import { z } from 'zod'
import { startIdentityProvider } from './oauth/identity-provider.ts'

const port = Number(process.env.PORT ?? 3000)
// As clients know it, letter by letter: tokens are issued for it.
const resource = new URL('/mcp', process.env.PUBLIC_URL ?? `http://localhost:${port}`).href

// Yours: const issuer = 'https://login.example'
const { issuer } = await startIdentityProvider({ resource, scopes: ['notes:read', 'notes:write'] })

const app = Fastify({ logger: true })
await app.register(mcp, {
  name: 'oauth',
  version: '1.0.0',
  auth: {
    verify: jwt({ issuer, audience: resource }),
    resource,
    authorizationServers: [issuer],
    scopes: ['notes:read']
  }
})

const notes = new Map<string, string[]>()

function notesOf (principal: Principal | null): string[] {
  const owner = JSON.stringify([principal?.issuer, principal?.id])
  const own = notes.get(owner) ?? []
  notes.set(owner, own)
  return own
}

app.mcp.tool('whoami', { description: 'Says who calls.' }, (_args, { principal }) => `${principal?.id} may ${principal?.scopes?.join(' and ')}`)

app.mcp.tool('notes', { description: 'Reads your notes aloud.' }, function * (_args, { principal }) {
  for (const note of notesOf(principal)) yield `${note}\n`
})

app.mcp.tool('note', {
  description: 'Takes a note.',
  input: z.object({ text: z.string().max(1_000) }),
  scopes: ['notes:write']
}, ({ text }, { principal }) => `note ${notesOf(principal).push(text)}`)

await app.listen({ port })
console.log(`give your client ${resource}`)
