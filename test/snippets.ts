// The code blocks of the documentation, and how each is exercised. A comment in front of a block says what it is:
//
//   ```js with a `listen` and     a program: runs in a process of its own, and the page's curl lines call it
//   its import of fastify
//   ```js, ```ts                  a fragment: runs with `app`, `mcp`, `z`, `McpError`, `ToolError` and `setTimeout` in scope; one with
//                                 `app.register(mcp` gets an app without the plugin, and one that listens is called by the curl lines
//                                 one that reads REDIS_URL finds a Redis there
//   ```sh                         runs in bash; assignments hold for the rest of the page, and fragments find them in `process.env`
//   ```text                       what the block before it printed
//   <!-- result of: tool {…} -->  the JSON result of a call
//   <!-- answer of: method {…} -->
//                                 the JSON result of any other request in a session, or its error
//   <!-- stateless answer of: method {…} -->
//                                 the same on 2026-07-28, from a client that declares nothing
//   <!-- frames of: tool {…} -->  the events of a call with a progress token
//   <!-- reply of: GET /path -->  the JSON that the app answers
//   <!-- goes on: … -->           what the curl that is still open printed since
//   <!-- cancelled: tool {…} -->  without a block: the call ends when it is cancelled
//   <!-- example: file -->        the command that starts an example: it runs, and the page's commands lead to it
//   <!-- leads to: file -->       the configuration of a client that cannot be run here: JSON or commands. What stands in it leads an official
//                                 client to the running example, and a token in it lets it in
//   <!-- beside: file -->         a fragment that imports this file, as if it were in its folder
//   <!-- not run: reason -->      anything else
import { type ChildProcess, spawn } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { format, isDeepStrictEqual } from 'node:util'
import { Client as OfficialClient, SSEClientTransport, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import Fastify, { type FastifyInstance } from 'fastify'
import mcp, { McpError, ToolError } from 'fastify-mcp-sse'
import type { Test } from 'tap'
import ts from 'typescript'
import { setTimeout } from 'node:timers/promises'
import { z } from 'zod'
import { root, startChild } from './child.ts'
import { ACCEPT, Client, type RpcMessage, send, until, within } from './client.ts'
import { type RedisServer, startRedis } from './redis-server.ts'

export interface Snippet {
  readonly page: string
  readonly line: number
  /** Undefined for a comment without a block. */
  readonly language: string | undefined
  readonly note: string
  readonly code: string
  /** Where the code is in the page. */
  readonly start: number
}

const SNIPPET = /^<!-- (cancelled: .+) -->$|(?:^<!-- (.+) -->\n)?^```(\w+)\n([^]*?)^```$/gm

export function snippetsOf (page: string, text: string): Snippet[] {
  return Array.from(text.matchAll(SNIPPET), ({ 0: whole, 1: alone, 2: note = '', 3: language, 4: code = '', index }) => ({
    page, line: text.slice(0, index).split('\n').length, language, note: alone ?? note, code, start: index + whole.length - code.length - 3
  }))
}

export const isProgram = ({ code }: Snippet): boolean => code.includes('app.listen(') && /^.*\b(?:from|require)\b.*'fastify'/m.test(code)
export const isCode = ({ language }: Snippet): boolean => language === 'js' || language === 'ts'

const PROVIDED = { Fastify, mcp, McpError, ToolError, setTimeout, z }
const PROVIDED_IMPORTS: Record<keyof typeof PROVIDED, string> = {
  Fastify: "import Fastify from 'fastify'",
  mcp: "import mcp from 'fastify-mcp-sse'",
  McpError: "import { McpError } from 'fastify-mcp-sse'",
  ToolError: "import { ToolError } from 'fastify-mcp-sse'",
  setTimeout: "import { setTimeout } from 'node:timers/promises'",
  z: "import { z } from 'zod'"
}

/** A fragment as a module of its own, as the type checker reads it. */
export function moduleOf (snippet: Snippet): string {
  if (isProgram(snippet)) return snippet.code
  const code = importing(snippet, path => `../${path}`)
  const imports = Object.entries(PROVIDED_IMPORTS).filter(([name]) => !new RegExp(`import .*\\b${name}\\b.* from`).test(snippet.code))
  return `${imports.map(([, line]) => line).join('\n')}\ndeclare const app: import('fastify').FastifyInstance\n${code}\nexport {}\n`
}

/** The code of a snippet, with the file that it is said to be beside where that is. */
function importing ({ note, code }: Snippet, locate: (path: string) => string): string {
  const [, path] = /^beside: (.+)$/.exec(note) ?? []
  return path === undefined ? code : code.replace(`'./${basename(path)}'`, `'${locate(path)}'`)
}

/** Comments that only the clock sends are no part of a page. */
function clean (text: string): string {
  return text.replace(/[ \r]+$/gm, '').replace(/^: keep-alive$/gm, '').replace(/\n{3,}/g, '\n\n').trim()
}

/** What differs from run to run, made equal. */
function normalize (text: string): string {
  return clean(text)
    .replace(/(sessionId=|mcp-session-id: |id: )[\w-]{24}/g, '$1SESSION')
    .replace(/(ticket(?:":"|=))[\w-]{32}/g, '$1TICKET')
    .replace(/\b[0-9a-f]{8}[0-9a-z]+((?:\.[is][\w-]+)?_\d)/g, 'STREAM$1')
    .replace(/("timestamp": ?")[^"]+/g, '$1TIME')
    .replace(/("uptime": ?)\d+/g, '$10')
    .replace(/^date: .*$/gim, 'date: DATE')
    .replace(/http:\/\/127\.0\.0\.1:\d+\//g, 'http://localhost:3000/')
    .replace(/\b\d+ ms\b/g, 'N ms')
    .replace(/("\w+Ms": ?)\d+/g, '$10')
    .replace(/(request(?:"?: ?["']| ))req-\w+/g, '$1REQUEST')
    .replace(/("requestState":") ?[\w-]+/g, '$1STATE')
    .replace(/"id":"[\w-]{8,12}-(\d+)"/g, '"id":"NODE-$1"')
}

/** A curl, or a few, in a terminal. */
class Terminal {
  readonly process: ChildProcess
  readonly #closed: Promise<unknown>
  #output = ''
  #read = 0
  isOver = false

  constructor (script: string, env: Record<string, string>) {
    // `env -i`, as in child.ts: what tsx makes of the sources is not what tap counts.
    const variables = Object.entries({ PATH: process.env.PATH, ...env }).map(([name, value]) => `${name}=${value}`)
    this.process = spawn('env', ['-i', ...variables, 'bash', '-c', script], { stdio: ['ignore', 'pipe', 'inherit'], detached: true })
    this.process.stdout?.setEncoding('utf8').on('data', text => { this.#output += text })
    this.#closed = new Promise<void>(resolve => this.process.on('close', () => {
      this.isOver = true
      resolve()
    }))
  }

  get output (): string {
    return this.#output
  }

  /** What it printed since it was last asked: the expected text as soon as that is there, else all that comes. */
  async read (expected: string): Promise<string> {
    const fresh = (): string => this.#output.slice(this.#read)
    const isThere = (): boolean => expected.trim() !== '' && normalize(fresh()) === normalize(expected)
    // Nothing is expected while the pages are written: then whatever came in this time is it.
    const patience = expected.trim() === '' ? 3_000 : 20_000
    await within(until(() => this.isOver || isThere(), 'the output'), 'the output', patience).catch(() => {})
    const text = fresh()
    this.#read = this.#output.length
    return text
  }

  async end (): Promise<void> {
    const { pid } = this.process
    try {
      // The curl is a child of this bash, in a group of their own.
      if (!this.isOver && pid !== undefined) process.kill(-pid, 'SIGKILL')
    } catch {
      // It ended a moment ago.
    }
    await this.#closed
  }
}

/** One page of the documentation while its blocks are run, from the first to the last. */
export class Page {
  readonly #t: Test
  readonly #folder: string
  readonly #env: Record<string, string> = {}
  readonly #terminals: Terminal[] = []
  readonly #apps: FastifyInstance[] = []
  #app: FastifyInstance | undefined
  #redis: Promise<RedisServer> | undefined
  #url: string | undefined
  /** The example that runs at it. */
  #running: string | undefined
  #printed: (expected: string) => string | Promise<string> = () => ''
  #count = 0

  constructor (t: Test) {
    this.#t = t
    this.#folder = t.testdir({})
    t.teardown(() => Promise.all(this.#terminals.map(terminal => terminal.end())))
  }

  /** Exercises one block. What it really gave, when the page shows something else; else undefined. */
  async run (snippet: Snippet): Promise<string | undefined> {
    const { note, language, code } = snippet
    const [, kind = '', rest = ''] = /^([\w ]+): (.+)$/.exec(note) ?? []
    switch (kind) {
      case 'not run': return undefined
      case 'result of': return differentJson(code, (await this.#call(rest)).result)
      case 'answer of': return differentJson(code, await this.#answer(rest))
      case 'stateless answer of': return differentJson(code, await this.#standalone(rest))
      case 'frames of': return differentText(code, (await this.#call(rest)).text)
      case 'reply of': return differentJson(code, (await (await this.#ready()).inject({ method: 'GET', url: rest.replace('GET ', '') })).json())
      case 'goes on': return differentText(code, await this.#open().read(code))
      case 'cancelled': return await this.#cancel(rest)
      case 'example': return await this.#example(code, rest)
      case 'leads to': return await this.#lead(code, rest)
    }
    if (language === 'sh') return await this.#shell(code)
    if (language === 'text') return differentText(code, await this.#printed(code))
    if (!isCode(snippet)) throw new Error('nothing says how this block is run')
    return isProgram(snippet) ? await this.#program(code) : await this.#fragment(importing(snippet, path => pathToFileURL(join(root, path)).href))
  }

  /** Whether every app of the page could start. */
  async end (): Promise<void> {
    for (const app of this.#apps) await app.ready()
  }

  async #program (code: string): Promise<undefined> {
    const file = join(this.#folder, `program${++this.#count}.${code.includes(' = require(') ? 'cjs' : 'mjs'}`)
    await writeFile(file, code)
    this.#url = (await startChild(this.#t, file)).url
  }

  async #example (command: string, file: string): Promise<undefined> {
    if (!command.includes(file)) throw new Error(`it does not start ${file}`)
    this.#url = (await startChild(this.#t, file)).url
    this.#running = file
  }

  /** Follows every URL of a configuration, with its token and, where it has one, without. */
  async #lead (code: string, file: string): Promise<undefined> {
    if (file !== this.#running || this.#url === undefined) throw new Error(`${file} does not run`)
    if (code.startsWith('{')) JSON.parse(code)
    const urls = code.match(/http:\/\/localhost:3000\/[\w/-]*/g) ?? []
    // However a client writes it, a variable is the page's token.
    const [, token] = /Bearer ([^"'\s]+)/.exec(code.replace(/\$\{?[\w:-]*(?:TOKEN|token)\}?/g, this.#env.MCP_TOKEN ?? '')) ?? []
    if (urls.length === 0) throw new Error('it leads nowhere')
    for (const url of urls) {
      const target = url.replace('http://localhost:3000', this.#url)
      await visit(target, token)
      const isOpen = token === undefined || await visit(target, undefined).then(() => true, () => false)
      if (token !== undefined && isOpen) throw new Error(`${url} takes no notice of the token`)
    }
  }

  async #fragment (code: string): Promise<undefined> {
    const imports = code.match(/^import .+$/gm) ?? []
    const body = code.replace(/^import .+$/gm, '').replaceAll('http://localhost:3000', this.#url ?? '')
    const names = Object.keys(PROVIDED).filter(name => !imports.some(line => new RegExp(`\\b${name}\\b.* from`).test(line)))
    const source = `${imports.join('\n')}\nexport default async ({ app, console, process, ${names.join(', ')} }) => {\n${body}\n}\n`
    const file = join(this.#folder, `fragment${++this.#count}.mjs`)
    const compilerOptions = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, verbatimModuleSyntax: true }
    await writeFile(file, ts.transpileModule(source, { compilerOptions }).outputText)
    if (code.includes('REDIS_URL')) this.#env.REDIS_URL = `redis://127.0.0.1:${(await (this.#redis ??= startRedis(this.#t))).port}`
    let printed = ''
    const log = (...values: unknown[]): void => { printed += `${format(...values)}\n` }
    const app = code.includes('.register(mcp') ? this.#useApp(Fastify()) : await this.#ready()
    const { default: run } = await import(pathToFileURL(file).href)
    const process = { env: { ...this.#env, PORT: '0' } }
    await within(run({ ...PROVIDED, app, process, console: { log } }), 'the end of a fragment')
    const address = app.server.address()
    if (code.includes('app.listen(') && typeof address === 'object') this.#url = `http://127.0.0.1:${address?.port}`
    this.#printed = () => printed
  }

  #useApp (app: FastifyInstance): FastifyInstance {
    this.#t.teardown(() => app.close())
    this.#apps.push(app)
    this.#app = app
    return app
  }

  async #ready (): Promise<FastifyInstance> {
    if (this.#app !== undefined) return this.#app
    const app = this.#useApp(Fastify())
    await app.register(mcp, { name: 'page', version: '1.0.0' })
    return app
  }

  async #shell (code: string): Promise<undefined> {
    this.#url ??= await (await this.#ready()).listen({ port: 0, host: '127.0.0.1' })
    const script = code.replaceAll('http://localhost:3000', this.#url)
    const [, variable] = /^(\w+)=.+\n$/.exec(script) ?? []
    if (variable === undefined) {
      const terminal = new Terminal(script, this.#env)
      this.#terminals.push(terminal)
      this.#printed = expected => terminal.read(expected)
    } else {
      const terminal = new Terminal(`${script}printf %s "$${variable}"`, this.#env)
      const value = (await terminal.read('')).replace(/.*paste-yours/, () => this.#paste(variable))
      if (value === '') throw new Error(`$${variable} is empty`)
      this.#env[variable] = value
    }
  }

  /** What a reader copies from a terminal. */
  #paste (variable: string): string {
    if (variable === 'ENDPOINT') return /^data: (\/messages.+)$/m.exec(this.#open().output)?.[1] ?? ''
    return this.#terminals.at(-1)?.output.match(/^id: .+$/gm)?.at(-1)?.slice('id: '.length) ?? ''
  }

  #open (): Terminal {
    const terminal = this.#terminals.findLast(({ isOver, output }) => !isOver && output.includes('event: '))
    if (terminal === undefined) throw new Error('no stream is open')
    return terminal
  }

  async #call (call: string): Promise<{ text: string, result: unknown }> {
    const { name, args } = readCall(call)
    const client = await Client.connect(await this.#ready())
    const { text, messages } = await client.post({
      jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: args, _meta: { progressToken: 'a' } }
    })
    return { text, result: messages.find(({ id }) => id === 1)?.result }
  }

  async #answer (request: string): Promise<unknown> {
    const { name, args } = readCall(request)
    const client = await Client.connect(await this.#ready())
    return outcomeOf(await client.request(name, args))
  }

  async #standalone (request: string): Promise<unknown> {
    const { name, args } = readCall(request)
    const meta = { 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientCapabilities': {} }
    const target: unknown = Reflect.get(args, 'name') ?? Reflect.get(args, 'uri')
    const { messages } = await send(await this.#ready(), '/mcp', {
      method: 'POST',
      headers: { accept: ACCEPT, 'mcp-protocol-version': '2026-07-28', 'mcp-method': name, ...(typeof target === 'string' && { 'mcp-name': target }) },
      body: { jsonrpc: '2.0', id: 1, method: name, params: { ...args, _meta: meta } }
    })
    return outcomeOf(messages.find(({ id }) => id === 1))
  }

  async #cancel (call: string): Promise<undefined> {
    const { name, args } = readCall(call)
    const app = await this.#ready()
    const client = await Client.connect(app)
    const answer = client.post({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: args } })
    await until(() => app.mcp.stats().calls === 1, 'the call')
    await client.cancel(1)
    if ((await answer).messages.length > 0 || app.mcp.stats().calls > 0) throw new Error('the call was not cancelled')
  }
}

/** Connects as a client does that was given this URL and token. */
async function visit (url: string, token: string | undefined): Promise<void> {
  const Way = url.endsWith('/sse') ? SSEClientTransport : StreamableHTTPClientTransport
  const client = new OfficialClient({ name: 'page', version: '1.0.0' })
  try {
    await client.connect(new Way(new URL(url), { requestInit: { headers: { ...(token !== undefined && { authorization: `Bearer ${token}` }) } } }))
    if ((await client.listTools()).tools.length === 0) throw new Error(`${url} has no tools`)
  } finally {
    await client.close()
  }
}

function readCall (call: string): { name: string, args: object } {
  const [, name = '', args = '{}'] = /^(\S+)(?: (.+))?$/.exec(call) ?? []
  return { name, args: JSON.parse(args) }
}

function outcomeOf (message: RpcMessage | undefined): unknown {
  return message?.error === undefined ? message?.result : { error: message.error }
}

function differentJson (shown: string, real: unknown): string | undefined {
  // A request id in the text of a failure is another each time.
  const equalized = (text: string): unknown => text.trim() === '' ? undefined : JSON.parse(normalize(text))
  return isDeepStrictEqual(equalized(shown), equalized(JSON.stringify(real))) ? undefined : layOut(real)
}

function differentText (shown: string, real: string): string | undefined {
  return normalize(shown) === normalize(real) ? undefined : clean(real)
}

const WIDTH = 110

/** JSON as somebody would write it: on one line where there is room. */
function layOut (value: unknown, indent = ''): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const deeper = `${indent}  `
  const [open, close] = Array.isArray(value) ? ['[', ']'] : ['{ ', ' }']
  const parts = Array.isArray(value)
    ? value.map(item => layOut(item, deeper))
    : Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${layOut(item, deeper)}`)
  const line = `${open}${parts.join(', ')}${close}`
  if (line.length + indent.length <= WIDTH && !line.includes('\n')) return line
  return `${open.trim()}\n${deeper}${parts.join(`,\n${deeper}`)}\n${indent}${close.trim()}`
}
