// The clients that need no window, each as somebody uses it: it lists the tools of a server, calls one and shows what it was told.
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Client as Client2, SSEClientTransport as Sse2, StreamableHTTPClientTransport as Http2 } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { Client as Client1 } from '@modelcontextprotocol/sdk/client/index.js'
import { SSEClientTransport as Sse1 } from '@modelcontextprotocol/sdk/client/sse.js'
import { StreamableHTTPClientTransport as Http1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { root } from '../child.ts'
import { until } from '../client.ts'
import { snippetsOf } from '../snippets.ts'

export type Transport = 'HTTP+SSE' | 'Streamable HTTP'

/** What a client is to do. */
export interface Errand {
  readonly transport: Transport
  readonly endpoint: string
  /** Empty where it has none. */
  readonly token: string
  readonly tool: string
  readonly args: Record<string, string>
}

/** What a client showed. `told` is undefined where it shows no progress. */
export interface Seen {
  readonly tools: readonly string[]
  readonly told?: readonly string[]
  readonly text: string
}

export type Visit = (errand: Errand) => Promise<Seen>

/** Where programs are run that keep settings, tokens and downloads: nothing of the user's is read or written. */
export interface Place {
  readonly home: string
}

const TIMEOUT_MS = 40_000
const INFO = { name: 'clients', version: '1.0.0' }

/** What pip and npm are told of the network is the machine's affair. */
const KEPT = /^(?:PATH|npm_config_cache|PIP_.+|SSL_.+|NODE_EXTRA_CA_CERTS|https?_proxy|no_proxy)$/i

function environment ({ home }: Place, more: Record<string, string> = {}): Record<string, string> {
  const kept = Object.entries(process.env).flatMap(([name, value]) => KEPT.test(name) && value !== undefined ? [[name, value] as const] : [])
  return { ...Object.fromEntries(kept), HOME: home, ...more }
}

/** Runs a program to its end; what it printed. */
export async function run (
  place: Place, file: string, args: readonly string[], more: Record<string, string> = {}, timeout = TIMEOUT_MS
): Promise<string> {
  const promise = promisify(execFile)(file, [...args], { env: environment(place, more), timeout, killSignal: 'SIGKILL', maxBuffer: 1 << 26 })
  promise.child.stdin?.end()
  return (await promise).stdout
}

interface Connected {
  listTools (): Promise<{ tools: Array<{ name: string }> }>
  close (): Promise<void>
}

type Told = (progress: { message?: string | undefined }) => void

async function tour (client: Connected, call: (onprogress: Told) => Promise<object>): Promise<Seen> {
  try {
    const { tools } = await client.listTools()
    const told: string[] = []
    const result = await call(({ message }) => { if (message !== undefined) told.push(message) })
    return { tools: tools.map(({ name }) => name), told, text: textOf(result) }
  } finally {
    await client.close()
  }
}

function textOf (result: object): string {
  // Two versions of the protocol's types meet here.
  const { content } = result as { content: Array<{ text: string }> }
  return content.map(({ text }) => text).join('')
}

const requestInit = ({ token }: Errand) => ({ headers: { ...(token !== '' && { authorization: `Bearer ${token}` }) } })
const signal = (): AbortSignal => AbortSignal.timeout(TIMEOUT_MS)

/** `@modelcontextprotocol/sdk` 1.x. */
export async function visit1 (errand: Errand): Promise<Seen> {
  const client = new Client1(INFO)
  const Way = errand.transport === 'HTTP+SSE' ? Sse1 : Http1
  await client.connect(new Way(new URL(errand.endpoint), { requestInit: requestInit(errand) }), { signal: signal() })
  return tour(client, onprogress => client.callTool({ name: errand.tool, arguments: errand.args }, undefined, { onprogress, signal: signal() }))
}

/** `@modelcontextprotocol/client` 2.x: of 2026-07-28 with `auto`, else of the session revisions. */
export function visit2 (mode: 'auto' | 'legacy'): Visit {
  return async errand => {
    const client = new Client2(INFO, { versionNegotiation: { mode } })
    const Way = errand.transport === 'HTTP+SSE' ? Sse2 : Http2
    await client.connect(new Way(new URL(errand.endpoint), { requestInit: requestInit(errand) }), { signal: signal() })
    return tour(client, onprogress => client.callTool({ name: errand.tool, arguments: errand.args }, { onprogress, signal: signal() }))
  }
}

/** `mcp-remote`, driven over its stdin and stdout as a host does. */
export function visitRemote (place: Place, node: string, main: string, protocol: 'legacy' | 'auto'): Visit {
  return async ({ transport, endpoint, token, tool, args }) => {
    const auth = token === '' ? [] : ['--header', 'Authorization:${AUTH_HEADER}'] // eslint-disable-line no-template-curly-in-string -- it fills this in itself
    const way = transport === 'HTTP+SSE' ? 'sse-only' : 'http-only'
    const client = new Client2(INFO, { versionNegotiation: { mode: 'legacy' } })
    const bridge = new StdioClientTransport({
      command: node,
      args: [main, endpoint, '--transport', way, '--protocol', protocol, ...auth],
      env: environment(place, { AUTH_HEADER: `Bearer ${token}` }),
      stderr: 'ignore'
    })
    await client.connect(bridge, { signal: signal() })
    return tour(client, onprogress => client.callTool({ name: tool, arguments: args }, { onprogress, signal: signal() }))
  }
}

/** The Inspector's command line, one run for each request. It prints results, and no progress. */
export function visitInspector (place: Place, node: string, main: string, era: 'legacy' | 'modern'): Visit {
  return async ({ transport, endpoint, token, tool, args }) => {
    const auth = token === '' ? [] : ['--header', `Authorization: Bearer ${token}`]
    const base = [main, '--cli', endpoint, '--transport', transport === 'HTTP+SSE' ? 'sse' : 'http', '--protocol-era', era, '--stored-auth-only', '--format', 'json', ...auth]
    const ask = async (...more: string[]) => JSON.parse(await run(place, node, [...base, ...more])).result
    const { tools } = await ask('--method', 'tools/list')
    const pairs = Object.entries(args).map(([name, value]) => `${name}=${value}`)
    const result = await ask('--method', 'tools/call', '--tool-name', tool, '--tool-arg', ...pairs)
    return { tools: tools.map(({ name }: { name: string }) => name), text: textOf(result) }
  }
}

/** The Python SDK: test/clients/visit.py. */
export function visitPython (place: Place, python: string, mode: 'auto' | 'legacy'): Visit {
  return async ({ endpoint, token, tool, args }) => {
    const program = join(import.meta.dirname, 'visit.py')
    const output = await run(place, python, [program, endpoint, tool, JSON.stringify(args), mode], { MCP_TOKEN: token })
    const lines = (word: string) => [...output.matchAll(new RegExp(`^${word} (.+)$`, 'gm'))].map(([, json = '']) => JSON.parse(json))
    return { tools: lines('tools')[0], told: lines('progress'), text: lines('result')[0] }
  }
}

/** The commands of docs/clients.md, with another server, token and tool than the page's. */
export function visitCurl (place: Place): Visit {
  const page = readFileSync(join(root, 'docs/clients.md'), 'utf8')
  const section = (heading: string): string[] => {
    const [, text = ''] = page.split(`### ${heading}\n`)
    const [own = ''] = text.split(/^##/m)
    return snippetsOf(heading, own).filter(({ language }) => language === 'sh').map(({ code }) => code)
  }
  return async ({ transport, endpoint, token, tool, args }) => {
    const { origin } = new URL(endpoint)
    const fill = (code: string): string => code
      .replaceAll('http://localhost:3000', origin)
      .replaceAll('"name":"recite","arguments":{"note":"ideas"}', JSON.stringify({ name: tool, arguments: args }).slice(1, -1))
    if (transport === 'Streamable HTTP') {
      return readStream(await run(place, 'bash', ['-c', section('curl over Streamable HTTP').map(fill).join('')], { MCP_TOKEN: token }))
    }
    const [open = '', , ...posts] = section('curl over HTTP+SSE').map(fill)
    const stream = spawn('bash', ['-c', `exec ${open}`], { env: environment(place, { MCP_TOKEN: token }), stdio: ['ignore', 'pipe', 'ignore'] })
    let output = ''
    stream.stdout.setEncoding('utf8').on('data', text => { output += text })
    try {
      const endpointOf = (): string => /^data: (\/messages.+)$/m.exec(output)?.[1] ?? ''
      await until(() => endpointOf() !== '' || stream.exitCode !== null, 'the endpoint')
      await run(place, 'bash', ['-c', posts.join('')], { MCP_TOKEN: token, ENDPOINT: endpointOf() })
      await until(() => (output.includes('"content"') && output.includes('"tools":[')) || stream.exitCode !== null, 'the results')
    } finally {
      await stop(stream)
    }
    return readStream(output)
  }
}

async function stop (child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null && child.kill('SIGKILL')) await once(child, 'exit')
}

/** Reads what curl printed: events, and JSON on lines of its own. */
function readStream (output: string): Seen {
  const messages = [...output.matchAll(/^(?:data: )?(\{.+\})$/gm)].map(([, json = '']) => JSON.parse(json))
  const results = messages.flatMap(({ result }) => result ?? [])
  const told = messages.flatMap(({ params }) => params?.message ?? [])
  const tools = results.flatMap(({ tools }) => tools ?? []).map(({ name }: { name: string }) => name)
  const call = results.find(({ content }) => content !== undefined)
  if (call === undefined) throw new Error(`no result in what curl printed: ${output}`)
  return { tools, told, text: textOf(call) }
}
