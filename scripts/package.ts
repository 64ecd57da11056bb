// Checks what npm would publish: builds, packs, lints the tarball, and uses it from an empty folder.
import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { freePort } from '../test/free-port.ts'

const root = join(import.meta.dirname, '..')
const bin = (name: string) => join(root, 'node_modules/.bin', name)
const exported = ['ToolError', 'default', 'errorCodes', 'mcp', 'memoryStore']
// Entry points beside the main one, and what they export.
const beside = new Map([['introspection', 'introspection'], ['jwt', 'jwt'], ['metrics', 'metrics'], ['redis', 'redisStore'], ['testing', 'storeContract']])

let passed = 0
let failed = 0

async function check (name: string, run: () => Promise<void>): Promise<void> {
  try {
    await run()
    passed++
    console.log(`ok ${name}`)
  } catch (error) {
    failed++
    console.log(`FAILED ${name}: ${reason(error)}`)
  }
}

function reason (error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { stdout = '', stderr = '' } = error as { stdout?: string, stderr?: string }
  return [error.message, stdout, stderr].map(part => part.trim()).filter(Boolean).join('\n')
}

async function run (cwd: string, command: string, ...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(command, args, { cwd, maxBuffer: 1 << 26 })
  return stdout
}

const temp = await mkdtemp(join(tmpdir(), 'fastify-mcp-sse-'))
const app = join(temp, 'app')
await mkdir(app)
let tarball = ''

try {
  await check('build', async () => {
    await rm(join(root, 'dist'), { recursive: true, force: true })
    await run(root, 'npm', 'run', 'build')
  })
  await check('pack', async () => {
    const [packed] = JSON.parse(await run(root, 'npm', 'pack', '--json', '--ignore-scripts', '--pack-destination', temp))
    tarball = join(temp, packed.filename)
    const paths: string[] = packed.files.map((file: { path: string }) => file.path)
    const entries = ['index', 'command', ...beside.keys()].flatMap(name => [`dist/${name}.js`, `dist/${name}.d.ts`, `lib/${name}.ts`])
    for (const path of [...entries, 'README.md', 'LICENSE']) {
      assert(paths.includes(path), `${path} is not in the tarball`)
    }
  })
  await check('publint', async () => { await run(root, bin('publint'), 'run', tarball, '--strict') })
  await check('attw', async () => { await run(root, bin('attw'), tarball, '--profile', 'esm-only', '--no-emoji', '--no-color') })
  await check('install', async () => {
    const { devDependencies } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
    const others = ['fastify', 'zod', '@types/node'].map(name => devDependencies[name] ? `${name}@${devDependencies[name]}` : name)
    await writeFile(join(app, 'package.json'), '{ "private": true }')
    await run(app, 'npm', 'install', '--prefer-offline', '--no-audit', '--no-fund', tarball, ...others)
  })
  await check('import', async () => {
    await loads("import * as mcp from 'fastify-mcp-sse'", 'module')
  })
  await check('require', async () => {
    await loads("const mcp = require('fastify-mcp-sse')", 'commonjs')
  })
  await check('without optional peers', async () => {
    await loadsEntry('introspection')
    await assert.rejects(loadsEntry('jwt'), /jose/)
    await assert.rejects(loadsEntry('metrics'), /prom-client/)
  })
  await check('with optional peers', async () => {
    const { devDependencies } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
    const peers = ['jose', 'prom-client'].map(name => `${name}@${devDependencies[name]}`)
    await run(app, 'npm', 'install', '--prefer-offline', '--no-audit', '--no-fund', ...peers)
    for (const name of beside.keys()) await loadsEntry(name)
  })
  await check('types', async () => { await typechecks() })
  await check('README server', async () => { await serves() })
} finally {
  await rm(temp, { recursive: true, force: true })
}
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed > 0 ? 1 : 0

async function loads (line: string, type: string): Promise<void> {
  const print = 'console.log(JSON.stringify([Object.keys(mcp), typeof mcp.default, typeof mcp.mcp]))'
  const output = await run(app, process.execPath, `--input-type=${type}`, '--eval', `${line}\n${print}`)
  const [names, ...kinds] = JSON.parse(output)
  for (const name of exported) assert(names.includes(name), `${name} is not exported`)
  assert.deepEqual(kinds, ['function', 'function'])
}

async function loadsEntry (name: string): Promise<void> {
  const line = `import * as entry from 'fastify-mcp-sse/${name}'\nconsole.log(JSON.stringify(Object.keys(entry)))`
  assert.deepEqual(JSON.parse(await run(app, process.execPath, '--input-type=module', '--eval', line)), [beside.get(name)])
}

async function typechecks (): Promise<void> {
  const body = `
const app = Fastify()
await app.register(mcp, { name: 'typed', version: '1.0.0' })
app.mcp.tool('hello', { input: z.object({ name: z.string() }) }, async function * ({ name }, { signal }) {
  const text: string = name
  const aborted: boolean = signal.aborted
  yield text + aborted
})
throw new ToolError('x')
`
  const esm = "import Fastify from 'fastify'\nimport { z } from 'zod'\nimport mcp, { ToolError } from 'fastify-mcp-sse'\n" +
    "import { introspection } from 'fastify-mcp-sse/introspection'\nimport { jwt } from 'fastify-mcp-sse/jwt'\n" +
    "await Fastify().register(mcp, { auth: { verify: jwt({ issuer: 'https://a.example', audience: 'https://b.example' }) } })\n" +
    "await Fastify().register(mcp, { auth: { verify: introspection({ url: 'https://a.example', clientId: 'a', clientSecret: 'b' }) } })\n"
  const cjs = "import Fastify = require('fastify')\nimport zod = require('zod')\nimport pack = require('fastify-mcp-sse')\n" +
    'const { z } = zod\nconst { mcp, ToolError } = pack\n'
  const required = "import { createRequire } from 'node:module'\n" +
    "const pack: typeof import('fastify-mcp-sse') = createRequire(import.meta.url)('fastify-mcp-sse')\nexport const plugin: Function = pack.default\n"
  await writeFile(join(app, 'esm.mts'), esm + body)
  await writeFile(join(app, 'cjs.cts'), `${cjs}async function main () {${body}}\nmain()\n`)
  await writeFile(join(app, 'required.mts'), required)
  await run(app, bin('tsc'), '--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2023', '--types', 'node',
    'esm.mts', 'cjs.cts', 'required.mts')
}

/** Runs the first server of the README and calls its first tool, as a client would. */
async function serves (): Promise<void> {
  const readme = await readFile(join(root, 'README.md'), 'utf8')
  const blocks = [...readme.matchAll(/^```(?:ts|js)\n(.*?)^```$/gms)].map(([, block = '']) => block)
  const source = blocks.find(block => block.includes('app.listen'))
  assert(source, 'README.md has no server')
  await writeFile(join(app, 'server.mjs'), source)

  const port = await freePort()
  const server = spawn(process.execPath, ['server.mjs'], {
    cwd: app, env: { ...process.env, PORT: String(port) }, stdio: ['ignore', 'pipe', 'pipe']
  })
  let output = ''
  for (const stream of [server.stdout, server.stderr]) stream.setEncoding('utf8').on('data', text => { output += text })
  try {
    await call(`http://127.0.0.1:${port}/mcp`, server)
    await examines(`http://127.0.0.1:${port}/mcp`)
  } catch (error) {
    throw new Error(`${reason(error)}\n${output}`)
  } finally {
    if (server.exitCode === null && server.kill('SIGKILL')) await once(server, 'exit')
  }
}

/** The command line, as npm installed it, finds the server in good health. */
async function examines (url: string): Promise<void> {
  const help = await run(app, 'npx', '--no-install', 'fastify-mcp-sse', 'doctor', '--help')
  assert(help.startsWith('fastify-mcp-sse doctor <url>'), help)
  const { exitCode, probes } = JSON.parse(await run(app, 'npx', '--no-install', 'fastify-mcp-sse', 'doctor', url, '--json', '--idle', '0'))
  assert.equal(exitCode, 0)
  assert.equal(probes.filter(({ verdict }: { verdict: string }) => verdict === 'ok').length, 7)
}

async function call (url: string, server: ChildProcess): Promise<void> {
  const headers: Record<string, string> = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
  const post = async (message: object) => {
    const body = JSON.stringify({ jsonrpc: '2.0', ...message })
    const response = await fetch(url, { method: 'POST', headers, body, signal: AbortSignal.timeout(10_000) })
    const text = await response.text()
    assert(response.ok, `${response.status} ${text}`)
    return { response, text }
  }
  const ask = async (id: number, method: string, params: object) => {
    const { response, text } = await post({ id, method, params })
    const isStream = response.headers.get('content-type')?.startsWith('text/event-stream')
    const lines = isStream ? [...text.matchAll(/^data: (.+)$/gm)].map(([, data = '']) => data) : [text]
    const answer = lines.map(line => JSON.parse(line)).find(message => message.id === id)
    assert(answer?.result, `${method} was answered ${text}`)
    return { response, result: answer.result }
  }

  const started = Date.now()
  const protocolVersion = '2025-11-25'
  const hello = { protocolVersion, capabilities: {}, clientInfo: { name: 'check', version: '1.0.0' } }
  const initialize = async (): ReturnType<typeof ask> => {
    try {
      return await ask(1, 'initialize', hello)
    } catch (error) {
      const isStarting = error instanceof TypeError && server.exitCode === null && Date.now() - started < 15_000
      if (!isStarting) throw error
      await sleep(50)
      return initialize()
    }
  }
  const { response } = await initialize()
  const session = response.headers.get('mcp-session-id')
  assert(session, 'initialize was answered without a session id')
  headers['mcp-session-id'] = session
  headers['mcp-protocol-version'] = protocolVersion
  await post({ method: 'notifications/initialized' })

  const { result: { tools } } = await ask(2, 'tools/list', {})
  assert(tools.length > 0, 'the server lists no tool')
  const [tool] = tools
  const { result } = await ask(3, 'tools/call', { name: tool.name, arguments: sample(tool.inputSchema) })
  assert(Array.isArray(result.content) && !result.isError, `${tool.name} answered ${JSON.stringify(result)}`)
}

interface Schema {
  type?: string
  enum?: unknown[]
  default?: unknown
  minimum?: number
  properties?: Record<string, Schema>
  required?: string[]
}

/** The least value that a plain schema takes. */
function sample (schema: Schema): unknown {
  if (schema.default !== undefined) return schema.default
  if (schema.enum) return schema.enum[0]
  switch (schema.type) {
    case 'string': return 'fastify'
    case 'number':
    case 'integer': return Math.max(1, schema.minimum ?? 1)
    case 'boolean': return true
    case 'array': return []
    default: return Object.fromEntries((schema.required ?? []).map(name => [name, sample(schema.properties?.[name] ?? {})]))
  }
}
