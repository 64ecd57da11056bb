import { createReadStream, type ReadStream } from 'node:fs'
import { open, readdir, realpath, stat } from 'node:fs/promises'
import { extname, isAbsolute, join, relative, resolve, sep } from 'node:path'
import { ToolError } from 'fastify-mcp-sse'

/** Documents above this size are listed, not read as a text, and no line may be longer. */
const MAX_BYTES = 8 * 1024 * 1024
const SNIFFED_BYTES = 1024
const TABLES = new Set(['.csv', '.tsv'])

export interface Document {
  /** Relative to the folder, as clients see it. */
  name: string
  path: string
  size: number
  /** Why its text is not read, undefined when it is. */
  skipped: 'binary' | 'unreadable' | 'too large' | 'only for analyze' | undefined
}

/** One folder of text documents, and nothing outside it. */
export class Folder {
  readonly root: string

  private constructor (root: string) {
    this.root = root
  }

  static async open (path: string): Promise<Folder> {
    const root = await realpath(path)
    await readdir(root)
    return new Folder(root)
  }

  /** Every file, in the order of names. Symbolic links and hidden files are left out. */
  async * documents (signal: AbortSignal): AsyncGenerator<Document> {
    for await (const path of walk(this.root, signal)) {
      const name = relative(this.root, path).replaceAll(sep, '/')
      yield { name, path, ...await inspect(path) }
    }
  }

  /** The documents whose text is read. */
  async * texts (signal: AbortSignal): AsyncGenerator<Document> {
    for await (const document of this.documents(signal)) {
      if (document.skipped === undefined) yield document
    }
  }

  /** A CSV at the top of the folder, if there is one whose name needs no quoting in a shell. */
  async table (): Promise<string | undefined> {
    const entries = await readdir(this.root, { withFileTypes: true })
    return entries.filter(entry => entry.isFile() && /^\w[\w.-]*$/.test(entry.name) && isTable(entry.name)).map(({ name }) => name).sort()[0]
  }

  /** The file of text that a client named, wherever `..` and symbolic links lead, as long as they stay in the folder. */
  async find (name: string): Promise<{ path: string, size: number }> {
    const path = await realpath(resolve(this.root, name)).catch(() => null)
    const inside = path === null ? '..' : relative(this.root, path)
    const stats = path === null || inside.startsWith('..') || isAbsolute(inside) ? null : await stat(path)
    // The same words for both, so that nobody learns what is outside.
    if (path === null || !stats?.isFile()) throw new ToolError(`There is no file "${name}" in the folder`)
    const { size, skipped } = await inspect(path)
    if (skipped === 'binary' || skipped === 'unreadable') throw new ToolError(`The file "${name}" is ${skipped}`)
    return { path, size }
  }
}

async function * walk (folder: string, signal: AbortSignal): AsyncGenerator<string> {
  const entries = await readdir(folder, { withFileTypes: true })
  entries.sort((a, b) => a.name < b.name ? -1 : 1)
  for (const entry of entries) {
    signal.throwIfAborted()
    if (entry.name.startsWith('.') || entry.name === 'node_modules') continue
    const path = join(folder, entry.name)
    // False for symbolic links, wherever they point.
    if (entry.isDirectory()) yield * walk(path, signal)
    else if (entry.isFile()) yield path
  }
}

function isTable (path: string): boolean {
  return TABLES.has(extname(path).toLowerCase())
}

async function inspect (path: string): Promise<Pick<Document, 'size' | 'skipped'>> {
  const file = await open(path).catch(() => null)
  if (file === null) return { size: 0, skipped: 'unreadable' }
  try {
    const { size } = await file.stat()
    const { buffer, bytesRead } = await file.read(Buffer.alloc(SNIFFED_BYTES))
    if (buffer.subarray(0, bytesRead).includes(0)) return { size, skipped: 'binary' }
    if (size <= MAX_BYTES) return { size, skipped: undefined }
    return { size, skipped: isTable(path) ? 'only for analyze' : 'too large' }
  } finally {
    await file.close()
  }
}

export function readText (path: string, signal: AbortSignal): ReadStream {
  return createReadStream(path, { encoding: 'utf8', signal })
}

/** The lines of a text that arrives in pieces; only one line is ever held. */
export async function * linesOf (text: AsyncIterable<string>): AsyncGenerator<string> {
  let rest = ''
  for await (const piece of text) {
    const lines = (rest + piece).split(/\r?\n/)
    rest = lines.pop() ?? ''
    if (rest.length > MAX_BYTES) throw new ToolError(`A line is longer than ${MAX_BYTES} characters`)
    yield * lines
  }
  if (rest !== '') yield rest
}
