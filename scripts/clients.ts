// Runs the clients that need no window against two examples, one of which asks for a token, over both transports:
// `npm run clients [-- part of a line]`.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root, startChild } from '../test/child.ts'
import { type Errand, type Place, run, type Seen, type Transport, type Visit, visit1, visit2, visitCurl, visitInspector, visitPython, visitRemote } from '../test/clients/headless.ts'

/** What is installed from npm, apart from the project: the Inspector needs a newer Node than the project does. */
const PACKAGES = { '@modelcontextprotocol/inspector': '2.12.0', 'mcp-remote': '0.15.1' } as const
const NODE = { major: 22, minor: 19, package: `node-${process.platform}-${process.arch}`, version: '22.23.3' } as const
/** The Python SDK, the newest that can be had. */
const PYTHON = ['mcp', 'mcp<2'] as const

const AT_ONCE = 2
const INSTALL_MS = 180_000
// For pip to find out what it would install.
const RESOLVE_MS = 60_000

/** A running example, and what its streaming tool says. */
interface Example {
  readonly url: string
  readonly token: string
  readonly tool: string
  readonly args: Record<string, string>
  readonly chunks: readonly string[]
}

interface Client {
  readonly name: string
  readonly visit: Visit
  readonly transports?: readonly Transport[]
  /** It shows what a tool says while it runs. */
  readonly showsProgress: boolean
  /** Without a token it gives up by itself, and asks nobody to sign in. */
  readonly isRefused: boolean
  /** It comes back to a stream of Streamable HTTP, and misses nothing. */
  readonly resumes?: boolean
  /** Why it is not tried with the example that asks for a token. */
  readonly cannotReadAll?: string
}

// What each says of our 401: its status, our message or our code.
const REFUSED = /\b401\b|Authentication is required|FST_MCP_UNAUTHORIZED|FST_MCP_TOKEN_INVALID|auth_required/
const PATHS = { 'HTTP+SSE': '/sse', 'Streamable HTTP': '/mcp' } as const

const home = await mkdtemp(join(tmpdir(), 'fastify-mcp-sse-clients-'))
const place: Place = { home }
const undo: Array<() => unknown> = [() => rm(home, { recursive: true, force: true })]
const lifetime = { teardown: (act: () => unknown) => { undo.push(act) } }
const [filter = ''] = process.argv.slice(2)

let passed = 0
let failed = 0

/** Installs what is missing, in a folder for this table; `npm ci` of the project takes it away. */
async function install (): Promise<{ node: string, main: (name: keyof typeof PACKAGES, path: string) => string }> {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  const isRecent = major > NODE.major || (major === NODE.major && minor >= NODE.minor)
  const manifest = JSON.stringify({ private: true, dependencies: { ...PACKAGES, ...(!isRecent && { [NODE.package]: NODE.version }) } })
  const folder = join(root, 'node_modules/.cache/fastify-mcp-sse-clients', createHash('sha256').update(manifest).digest('hex').slice(0, 12))
  const isDone = join(folder, 'installed')
  if (!existsSync(isDone)) {
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, 'package.json'), manifest)
    const args = ['install', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error']
    const [code] = await once(spawn('npm', args, { cwd: folder, stdio: 'inherit', timeout: INSTALL_MS }), 'close')
    if (code !== 0) throw new Error(`npm install in ${folder} ended with ${code}`)
    await writeFile(isDone, '')
  }
  return {
    node: isRecent ? process.execPath : join(folder, 'node_modules', NODE.package, 'bin/node'),
    main: (name, path) => join(folder, 'node_modules', name, path)
  }
}

/** A Python with the newest SDK that its index has whole. Where no index has one, why: then nothing of Python is tried. */
async function installPython (): Promise<{ name: string, python: string } | string> {
  const venv = join(home, 'python')
  try {
    await run(place, 'python3', ['-m', 'venv', venv])
  } catch (error) {
    return `python3 makes no virtual environment: ${lastLine(error)}`
  }
  const pip = (args: readonly string[], timeout: number): Promise<string> => {
    // Which index it asks stands in the user's own settings.
    const user = { HOME: process.env.HOME ?? home }
    return run(place, join(venv, 'bin/pip'), ['install', '--quiet', '--retries', '0', '--timeout', '15', ...args], user, timeout)
  }
  const reasons: string[] = []
  for (const requirement of PYTHON) {
    try {
      await pip(['--dry-run', requirement], RESOLVE_MS)
    } catch (error) {
      reasons.push(`${requirement}: ${lastLine(error)}`)
      continue
    }
    await pip([requirement], INSTALL_MS)
    const python = join(venv, 'bin/python')
    const version = await run(place, python, ['-c', 'from importlib.metadata import version; print(version("mcp"))'])
    return { name: `Python SDK ${version.trim()}`, python }
  }
  return `pip finds no mcp with all that it needs (${reasons.join('; ')})`
}

function reason (error: unknown): string {
  const { stderr = '', message = String(error) } = error as { stderr?: string, message?: string }
  return `${message}\n${stderr}`.trim()
}

function lastLine (error: unknown): string {
  return reason(error).split('\n').at(-1) ?? ''
}

/** Stands before a server and cuts every connection once, as soon as a text has gone through. */
async function cutAfter (text: string, target: string): Promise<{ url: string, wasCut: () => boolean }> {
  const sockets = new Set<Socket>()
  let isDone = false
  const server = createServer(client => {
    const upstream = connect(Number(new URL(target).port), '127.0.0.1')
    for (const [socket, other] of [[client, upstream], [upstream, client]] as const) {
      sockets.add(socket)
      socket.on('error', () => {}).on('close', () => {
        sockets.delete(socket)
        other.destroy()
      })
    }
    client.pipe(upstream)
    upstream.on('data', data => {
      client.write(data)
      if (isDone || !data.includes(text)) return
      isDone = true
      // What is on its way is delivered first.
      setTimeout(() => sockets.forEach(socket => socket.destroy()), 50)
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  lifetime.teardown(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  const address = server.address()
  return { url: `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`, wasCut: () => isDone }
}

/** Whether a client saw all that the example has. */
function judge (seen: Seen, { tool, chunks }: Example, { showsProgress }: Client): string {
  assert(seen.tools.includes(tool), `it lists ${seen.tools.join(', ')}`)
  assert.equal(seen.text, chunks.join(''))
  if (!showsProgress) {
    assert.equal(seen.told, undefined)
    return `${seen.tools.length} tools, the whole result`
  }
  const told = seen.told ?? []
  // The TypeScript clients drop progress that shares a packet with the result, which on a busy machine is the last of it.
  assert(told.length > 0, 'no progress')
  assert.deepEqual(told, chunks.slice(0, told.length))
  return `${seen.tools.length} tools, ${told.length} of ${chunks.length} chunks on the way`
}

interface Row {
  readonly name: string
  readonly act: () => Promise<string>
}

function rowsOf (client: Client, examples: readonly Example[]): Row[] {
  const transports = client.transports ?? ['HTTP+SSE', 'Streamable HTTP'] as const
  const readable = examples.filter(({ token }) => token === '' || client.cannotReadAll === undefined)
  return transports.flatMap(transport => readable.flatMap(example => {
    const errand: Errand = { ...example, transport, endpoint: `${example.url}${PATHS[transport]}` }
    const rows: Row[] = [{
      name: `${client.name}, ${transport}, ${example.token === '' ? 'without' : 'with'} a token`,
      act: async () => judge(await client.visit(errand), example, client)
    }]
    if (example.token === '' && client.resumes === true && transport === 'Streamable HTTP') {
      rows.push({
        name: `${client.name}, ${transport}, when its connection is cut`,
        act: async () => {
          const { url, wasCut } = await cutAfter(JSON.stringify(example.chunks[1]), example.url)
          const seen = await client.visit({ ...errand, endpoint: `${url}${PATHS[transport]}` })
          assert(wasCut(), 'it was not cut')
          return judge(seen, example, client)
        }
      })
    }
    if (example.token === '' || !client.isRefused) return rows
    return [...rows, {
      name: `${client.name}, ${transport}, where its token is missing`,
      act: async () => {
        await assert.rejects(client.visit({ ...errand, token: '' }), error => REFUSED.test(reason(error)))
        return 'refused'
      }
    }]
  }))
}

async function check ({ name, act }: Row): Promise<void> {
  try {
    const remark = await act()
    passed++
    console.log(`ok ${name}: ${remark}`)
  } catch (error) {
    failed++
    console.log(`not ok ${name}\n  ${reason(error).replaceAll('\n', '\n  ')}`)
  }
}

/** A note that takes half a second to recite: on a busy machine a short one comes in one packet, its result with it. */
async function writeNote ({ url, token, args, chunks }: Example): Promise<void> {
  const text = chunks.join('').trim()
  await visit2('legacy')({ transport: 'Streamable HTTP', endpoint: `${url}/mcp`, token, tool: 'write', args: { ...args, text } })
}

async function versionOf (name: string): Promise<string> {
  return JSON.parse(await readFile(join(root, 'node_modules', name, 'package.json'), 'utf8')).version
}

try {
  const [{ node, main }, python] = await Promise.all([install(), installPython()])
  const [open, closed] = await Promise.all(['hello', 'everything'].map(name => startChild(lifetime, `examples/${name}.ts`)))
  const examples: Example[] = [
    { url: open?.url ?? '', token: '', tool: 'hello', args: { name: 'Ada' }, chunks: ['Hello ', 'Ada ', 'and ', 'welcome '] },
    { url: closed?.url ?? '', token: 'ada-may-write', tool: 'recite', args: { note: 'long' }, chunks: Array.from({ length: 30 }, (_, index) => `word${index + 1}${index < 29 ? ' ' : '\n'}`) }
  ]
  const [, notebook] = examples
  if (notebook !== undefined) await writeNote(notebook)
  const [client, sdk] = await Promise.all([versionOf('@modelcontextprotocol/client'), versionOf('@modelcontextprotocol/sdk')])
  const inspector = main('@modelcontextprotocol/inspector', 'clients/launcher/build/index.js')
  const remote = main('mcp-remote', 'dist/proxy.js')
  const both = { showsProgress: true, isRefused: true }
  const pythons: Client[] = typeof python === 'string'
    ? []
    : [
        { name: python.name, visit: visitPython(place, python.python, 'legacy'), resumes: true, ...both },
        { name: `${python.name} of 2026-07-28`, visit: visitPython(place, python.python, 'auto'), transports: ['Streamable HTTP'], ...both }
      ]
  const clients: Client[] = [
    { name: `client ${client}`, visit: visit2('legacy'), resumes: true, ...both },
    { name: `client ${client} of 2026-07-28`, visit: visit2('auto'), transports: ['Streamable HTTP'], ...both },
    { name: `sdk ${sdk}`, visit: visit1, resumes: true, ...both },
    { name: `Inspector ${PACKAGES['@modelcontextprotocol/inspector']}`, visit: visitInspector(place, node, inspector, 'legacy'), showsProgress: false, isRefused: true },
    { name: `Inspector ${PACKAGES['@modelcontextprotocol/inspector']} of 2026-07-28`, visit: visitInspector(place, node, inspector, 'modern'), transports: ['Streamable HTTP'], showsProgress: false, isRefused: true },
    { name: `mcp-remote ${PACKAGES['mcp-remote']}`, visit: visitRemote(place, node, remote, 'legacy'), showsProgress: true, isRefused: false, resumes: true },
    { name: `mcp-remote ${PACKAGES['mcp-remote']} of 2026-07-28`, visit: visitRemote(place, node, remote, 'auto'), transports: ['Streamable HTTP'], showsProgress: true, isRefused: false, cannotReadAll: 'it hands on an output schema that is an array, which clients of sessions refuse' },
    ...pythons,
    { name: 'curl', visit: visitCurl(place), ...both }
  ]
  const rows = clients.flatMap(client => rowsOf(client, examples)).filter(({ name }) => name.includes(filter))
  const rest = rows.values()
  await Promise.all(Array.from({ length: AT_ONCE }, async () => { for (const row of rest) await check(row) }))
  if (typeof python === 'string') console.log(`left out: the Python SDK, since ${python}`)
} finally {
  for (const act of undo.reverse()) await act()
}
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed > 0 || passed === 0 ? 1 : 0
