// Each feature once, in a small notebook: `npm run example examples/everything.ts`. Two tokens are let in:
// `Authorization: Bearer ada-may-write` and `Authorization: Bearer bob-may-read`.
import { randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import { setTimeout } from 'node:timers/promises'
import Fastify from 'fastify'
import mcp, { content, McpError, type Principal, ToolError } from 'fastify-mcp-sse'
import { z } from 'zod'

const notes = new Map([
  ['ideas', 'Stream the notes\nRead them aloud\n'],
  ['shopping', 'Milk\nBread\n']
])
const isWriter = (principal: Principal | null): boolean => principal?.scopes?.includes('write') === true
const uriOf = (name: string): string => `notebook://notes/${encodeURIComponent(name)}`

function noteCalled (name: string): string {
  const text = notes.get(name)
  // The model reads this, and can try another name.
  if (text === undefined) throw new ToolError(`There is no note "${name}"`)
  return text
}

const app = Fastify({ logger: { level: 'warn' } })
await app.register(mcp, {
  name: 'notebook',
  version: '1.0.0',
  instructions: 'Reads and writes short notes.',
  auth: {
    tokens: [
      { token: 'ada-may-write', principal: 'ada', scopes: ['write'] },
      { token: 'bob-may-read', principal: 'bob' }
    ]
  },
  // On 2026-07-28 clients may keep what they were told: lists for a second, contents for none.
  cache: { ttl: 1_000, lists: { read: { ttl: 0 } } },
  // Several nodes need the same key. Without one each process makes its own.
  ask: { keys: ['a secret of at least 32 bytes, from your vault'] }
})

// Streams: each yield reaches the client while the tool goes on, and a client that leaves ends it.
app.mcp.tool('recite', {
  description: 'Reads a note aloud, word by word.',
  // Clients of 2026-07-28 repeat this argument in the header `Mcp-Param-Note`, where a proxy can route by it.
  input: z.object({ note: z.string().meta({ 'x-mcp-header': 'Note' }) }),
  annotations: { readOnlyHint: true }
}, async function * ({ note }, { signal, log }) {
  for (const word of noteCalled(note).match(/\S+\s*/g) ?? []) {
    yield word
    await setTimeout(20, undefined, { signal })
  }
  log.info({ recited: note })
})

// Structured output: the value is validated, and its type is the schema's.
app.mcp.tool('measure', {
  description: 'Counts the lines of every note.',
  output: z.array(z.object({ note: z.string(), lines: z.int() })),
  annotations: { readOnlyHint: true }
}, () => [...notes].map(([note, text]) => ({ note, lines: text.split('\n').length - 1 })))

// Content helpers make every kind of block.
app.mcp.tool('show', {
  description: 'Shows what content a tool can give.',
  input: z.object({ note: z.string() })
}, async function * ({ note }) {
  yield content.text(`${note}: `, { annotations: { audience: ['user'] } })
  yield content.image(Buffer.from('R0lGODlhAQABAAAAACw=', 'base64'), 'image/gif')
  yield content.resource(uriOf(note), noteCalled(note), 'text/plain')
  return content.link(uriOf(note), note, { mimeType: 'text/plain' })
})

// A resource with a URI of its own. Its handle tells subscribers when it has changed.
const index = app.mcp.resource('notebook://index', {
  name: 'index', title: 'All notes', mimeType: 'application/json', cache: { ttl: 60_000 }
}, () => JSON.stringify([...notes.keys()]))

// A template serves every note. It lists them, completes their names and gives each as a stream.
const pages = app.mcp.resource('notebook://notes/{name}', {
  name: 'note',
  mimeType: 'text/plain',
  list: () => [...notes.keys()].map(name => ({ uri: uriOf(name), name })),
  complete: { name: value => [...notes.keys()].filter(name => name.startsWith(value)) }
}, ({ name }) => {
  const text = notes.get(name)
  // Nothing: there is no such resource.
  return text === undefined ? null : Readable.from(text.match(/.*\n/g) ?? [])
})

// A prompt, with suggestions for its arguments.
app.mcp.prompt('review', {
  description: 'Asks for a review of a note.',
  input: z.object({ note: z.string(), tone: z.enum(['kind', 'harsh']).default('kind') }),
  complete: { note: value => [...notes.keys()].filter(name => name.startsWith(value)), tone: ['kind', 'harsh'] }
}, ({ note, tone }) => [
  `Review this note. Be ${tone}.`,
  content.resource(uriOf(note), noteCalled(note), 'text/plain')
])

// Asks the user. In sessions the handler waits; on 2026-07-28 it runs again from the top with the answer.
const write = app.mcp.tool('write', {
  description: 'Writes a note, and asks before it replaces one.',
  input: z.object({ note: z.string().min(1), text: z.string() }),
  annotations: { destructiveHint: true },
  // To everyone else this tool does not exist.
  visible: isWriter
}, async ({ note, text }, { ask, once }) => {
  // Made once for the call, however often this runs.
  const receipt = await once('receipt', () => randomUUID())
  if (notes.has(note)) {
    const answer = await ask('replace', `Replace "${note}"?`, z.object({ sure: z.boolean() }))
    if (answer.action !== 'accept' || !answer.content.sure) throw new ToolError('The user keeps the old note')
  }
  const isNew = !notes.has(note)
  notes.set(note, `${text}\n`)
  // Whoever subscribed is told.
  pages.updated(uriOf(note))
  if (isNew) index.updated()
  return receipt
})

// Asks the client's model.
app.mcp.tool('entitle', {
  description: 'Has the model of the client find a title for a note.',
  input: z.object({ note: z.string() })
}, async ({ note }, { sample }) => {
  const answer = await sample('title', {
    messages: [{ role: 'user', content: { type: 'text', text: `A title, please, for: ${noteCalled(note)}` } }],
    maxTokens: 20
  })
  const [block] = [answer.content].flat()
  return block?.type === 'text' ? block.text : 'Untitled'
})

// Asks where the client works, and whether the user agrees, in one round.
app.mcp.tool('locate', { description: 'Tells the folders of the client.' }, async (_args, { roots, ask }) => {
  const [folders, answer] = await Promise.all([
    roots('folders'),
    ask('agree', 'May the notebook see your folders?', z.object({ agree: z.boolean() }))
  ])
  if (answer.action !== 'accept' || !answer.content.agree) return 'The user does not agree'
  return folders.map(({ uri }) => uri).join(' ')
})

// Handles change what is offered while clients are connected: they are told.
app.mcp.tool('lock', {
  description: 'Takes the tool `write` off the list, or puts it back.',
  input: z.object({ locked: z.boolean() }),
  visible: isWriter
}, ({ locked }) => {
  if (locked) write.disable()
  else write.enable()
  return `writing is ${write.enabled ? 'on' : 'off'}`
})

// Hooks run around every request of every client.
const journal: string[] = []
app.mcp.use({
  onCall ({ method, target, principal }) {
    if (target === 'notebook://notes/secret') throw new McpError(4001, 'Not even by name')
    journal.push([principal?.id, method, target].join(' ').trim())
  },
  onError ({ target }, error) {
    journal.push(`${target} failed: ${error instanceof Error ? error.message : error}`)
  }
})
app.mcp.resource('notebook://journal', { name: 'journal', mimeType: 'text/plain', visible: isWriter }, () => journal.join('\n'))

const url = await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT ?? 3000) })
console.log(`Streamable HTTP of every revision at ${url}/mcp, HTTP+SSE at ${url}/sse, with the header
Authorization: Bearer ada-may-write`)
