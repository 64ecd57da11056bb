// Streams over a folder of text documents: `npm start [folder]`.
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import closeWithGrace from 'close-with-grace'
import Fastify from 'fastify'
import mcp from 'fastify-mcp-sse'
import { z } from 'zod'
import { analyzeCsv, csvReport } from './documents/csv.ts'
import { Folder, linesOf, readText } from './documents/folder.ts'

const folder = await Folder.open(process.argv[2] ?? join(import.meta.dirname, '../docs')).catch((error: Error) => {
  console.error(`Cannot read the folder: ${error.message}`)
  process.exit(1)
})

const app = Fastify({ logger: { level: 'warn' } })
await app.register(mcp, {
  name: 'documents',
  version: '1.0.0',
  instructions: 'Lists, summarizes and searches the text documents of one folder, and analyzes its CSV files.'
})

app.mcp.tool('scan', {
  title: 'List documents',
  description: 'Lists every file of the folder with its size, as it is found.',
  annotations: { readOnlyHint: true }
}, async function * (_, { signal }) {
  let count = 0
  for await (const { name, size, skipped } of folder.documents(signal)) {
    count++
    yield `${name}, ${size} bytes${skipped === undefined ? '' : ` (${skipped})`}\n`
  }
  return `${count} files`
})

app.mcp.tool('summarize', {
  title: 'Summarize documents',
  description: 'Reads every document and tells its size, its words and its most frequent terms.',
  input: z.object({
    prefix: z.string().default('').describe('Only documents whose name starts so'),
    pause: z.int().min(0).max(10_000).default(0).describe('Milliseconds after each document, so that people can watch')
  }),
  annotations: { readOnlyHint: true }
}, async function * ({ prefix, pause }, { signal }) {
  const documents = []
  for await (const document of folder.texts(signal)) {
    if (document.name.startsWith(prefix)) documents.push(document)
  }
  const summaries = []
  for (const { name, size, path } of documents) {
    const { words, terms } = await countWords(readText(path, signal))
    const mostly = terms.length === 0 ? '' : `, mostly ${terms.join(', ')}`
    const summary = `${name}: ${size} bytes, ${words} words${mostly}`
    yield { progress: summaries.push(summary), total: documents.length, message: summary }
    await setTimeout(pause, undefined, { signal })
  }
  return summaries.join('\n')
})

app.mcp.tool('search', {
  title: 'Search documents',
  description: 'Finds a text in all documents, whatever its case, and gives each line that holds it.',
  input: z.object({ text: z.string().min(1) }),
  annotations: { readOnlyHint: true }
}, async function * ({ text }, { signal }) {
  const wanted = text.toLowerCase()
  let found = 0
  for await (const { name, path } of folder.texts(signal)) {
    let number = 0
    for await (const line of linesOf(readText(path, signal))) {
      number++
      if (!line.toLowerCase().includes(wanted)) continue
      found++
      yield `${name}:${number}: ${line.trim().slice(0, 200)}\n`
    }
  }
  return `${found} lines`
})

app.mcp.tool('analyze', {
  title: 'Analyze a CSV',
  description: 'Reads a CSV file of any size and tells count, minimum, maximum, mean and distinct values of each column.',
  input: z.object({ file: z.string().describe('Its path in the folder') }),
  output: csvReport,
  annotations: { readOnlyHint: true }
}, async function * ({ file }, { signal }) {
  const { path, size } = await folder.find(file)
  return yield * analyzeCsv(path, size, signal)
})

const port = Number(process.env.PORT ?? 3000)
const url = await app.listen({ host: '127.0.0.1', port }).catch((error: NodeJS.ErrnoException) => {
  console.error(error.code === 'EADDRINUSE' ? `port ${port} is taken: try PORT=${port + 1} npm start` : error.message)
  process.exit(1)
})
closeWithGrace({ delay: 15_000, logger: app.log }, async () => { await app.mcp.drain(); await app.close() })

const post = (params: string): string => `curl -sN ${url}/mcp -H content-type:application/json -H "mcp-session-id: $SESSION" -d '${params}'`
const call = (id: number, params: object): string => post(JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params }))
const hello = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'curl', version: '1.0.0' } }
const initialize = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params: hello })
const table = await folder.table()
const third = table === undefined ? { name: 'search', arguments: { text: 'stream' } } : { name: 'analyze', arguments: { file: table } }

console.log(`Serving the documents of ${folder.root}; another folder: npm start <folder>

  Streamable HTTP  ${url}/mcp
  HTTP+SSE         ${url}/sse

Open a session, then watch two tools stream. In another terminal:

SESSION=$(curl -si ${url}/mcp -H content-type:application/json -d '${initialize}' | awk '/^mcp-session-id/ { print $2 }' | tr -d '\\r')
${call(2, { name: 'summarize', arguments: { pause: 300 }, _meta: { progressToken: 'a' } })}
${call(3, { ...third, _meta: { progressToken: 'b' } })}
`)

/** Words of three letters and fewer say little about a text. */
async function countWords (text: AsyncIterable<string>): Promise<{ words: number, terms: string[] }> {
  const counts = new Map<string, number>()
  let words = 0
  for await (const line of linesOf(text)) {
    for (const word of line.toLowerCase().match(/\p{L}+/gu) ?? []) {
      words++
      if (word.length > 3) counts.set(word, (counts.get(word) ?? 0) + 1)
    }
  }
  const ranked = [...counts].sort(([, a], [, b]) => b - a)
  return { words, terms: ranked.slice(0, 3).map(([term]) => term) }
}
