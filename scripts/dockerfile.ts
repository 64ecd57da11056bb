// Runs the steps of deploy/Dockerfile without Docker: each stage in a folder of its own, with the Node and the npm of this machine
// in the place of its base image. Then starts its CMD as its USER, asks its HEALTHCHECK, calls a tool and stops it.
import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { type Instruction, instructionsOf, isInContext, wordsOf } from '../test/container-file.ts'
import { freePort } from '../test/free-port.ts'

interface Stage {
  /** The root of its file system. */
  readonly root: string
  workdir: string
  readonly env: Record<string, string>
  user: string
  command: string[]
  health: string[]
}

const root = join(import.meta.dirname, '..')
const TOKEN = 'a-token-of-the-check'
// Less than any grace in deploy/: DRAIN_TIMEOUT and what the delay of close-with-grace adds.
const SHUTDOWN_MS = 15_000
const inherited = { PATH: process.env.PATH, HOME: process.env.HOME }

let passed = 0
let failed = 0

async function check (name: string, run: () => Promise<void>): Promise<void> {
  const started = Date.now()
  try {
    await run()
    passed++
    console.log(`ok ${name} (${Date.now() - started} ms)`)
  } catch (error) {
    failed++
    const { stdout = '', stderr = '' } = error as { stdout?: string, stderr?: string }
    console.log(`FAILED ${name}: ${error}\n${stdout}${stderr}`.trimEnd())
  }
}

/** What Docker would be sent: the files of the repository that .dockerignore lets through. */
async function makeContext (folder: string): Promise<string[]> {
  const { stdout } = await promisify(execFile)('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: root, maxBuffer: 1 << 26 })
  const ignore = await readFile(join(root, '.dockerignore'), 'utf8')
  const files = stdout.split('\0').filter(path => path !== '' && isInContext(ignore, path))
  for (const path of files) await cp(join(root, path), join(folder, path), { recursive: true })
  return files
}

async function copy ({ flags, rest }: Instruction, stage: Stage, context: string, stages: Map<string, Stage>): Promise<void> {
  const words = rest.split(/\s+/)
  const to = words.at(-1) ?? ''
  const from = flags.from === undefined ? context : stages.get(flags.from)?.root
  assert(from !== undefined, `there is no stage ${flags.from}`)
  const target = join(stage.root, to.startsWith('/') ? to : join(stage.workdir, to))
  for (const source of words.slice(0, -1)) {
    const path = join(from, source)
    const isFolder = await readdir(path).then(() => true, () => false)
    await cp(path, !isFolder && to.endsWith('/') ? join(target, basename(source)) : target, { recursive: true, verbatimSymlinks: true })
  }
}

async function step (instruction: Instruction, stage: Stage, context: string, stages: Map<string, Stage>): Promise<void> {
  const { name, rest } = instruction
  switch (name) {
    case 'WORKDIR':
      stage.workdir = rest
      await mkdir(join(stage.root, rest), { recursive: true })
      return
    case 'ENV':
      for (const [, key = '', value = ''] of rest.matchAll(/(\w+)=(\S+)/g)) stage.env[key] = value
      return
    case 'COPY': return await copy(instruction, stage, context, stages)
    case 'RUN':
      await promisify(execFile)('sh', ['-c', rest], { cwd: join(stage.root, stage.workdir), env: { ...inherited, ...stage.env }, maxBuffer: 1 << 26 })
      return
    case 'USER': stage.user = rest; return
    case 'CMD': stage.command = wordsOf(rest); return
    case 'HEALTHCHECK': stage.health = wordsOf(rest.replace(/^CMD /, '')); return
    case 'EXPOSE': return
    default: assert.fail(`${name} is not known here`)
  }
}

const temp = await mkdtemp(join(tmpdir(), 'mcp-image-'))
// The user of the image reads what root has built.
await chmod(temp, 0o755)
const context = join(temp, 'context')
const stages = new Map<string, Stage>()
let image: Stage | undefined

try {
  await check('the context holds sources alone', async () => {
    const files = await makeContext(context)
    assert(files.includes('lib/index.ts') && files.includes('package-lock.json'))
    assert.deepEqual(files.filter(path => !/^(?:lib\/|package|tsconfig|deploy\/tsconfig\.json$|examples\/production\.ts$)/.test(path)), [])
  })
  for (const instruction of instructionsOf(await readFile(join(root, 'deploy/Dockerfile'), 'utf8'))) {
    const { name, rest, line } = instruction
    if (failed > 0) break
    if (name === 'FROM') {
      const [, , stage = 'image'] = rest.split(/\s+/)
      image = { root: join(temp, stage), workdir: '/', env: {}, user: '0:0', command: [], health: [] }
      stages.set(stage, image)
      continue
    }
    const here = image
    assert(here !== undefined, 'FROM comes first')
    await check(`line ${line}: ${name} ${rest.slice(0, 80)}`, () => step(instruction, here, context, stages))
  }
  if (failed === 0 && image !== undefined) await tryImage(image)
} finally {
  await rm(temp, { recursive: true, force: true })
}
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed > 0 ? 1 : 0

async function tryImage (image: Stage): Promise<void> {
  const modules = await readdir(join(image.root, image.workdir, 'node_modules'))
  await check('the image holds what runs, and nothing that builds or tests', async () => {
    assert(modules.includes('fastify') && modules.includes('ioredis') && modules.includes('prom-client'))
    assert.deepEqual(modules.filter(name => ['typescript', 'tap', 'tsx', 'eslint', 'playwright-core'].includes(name)), [])
  })

  const url = `http://127.0.0.1:${await freePort()}`
  // Of what the image sets only the address is another: nothing here listens beyond loopback.
  const env = { ...inherited, ...image.env, HOST: '127.0.0.1', PORT: new URL(url).port, MCP_TOKENS: `check:${TOKEN}` }
  const [uid, gid] = image.user.split(':').map(Number)
  // Only root can become somebody else; everybody else is not root already.
  const identity = process.getuid?.() === 0 ? { uid, gid } : {}
  const start = ([program = '', ...args]: string[]): ChildProcess => {
    return spawn(program, args, { cwd: join(image.root, image.workdir), env, stdio: ['ignore', 'pipe', 'pipe'], ...identity })
  }
  const healthOf = async (): Promise<unknown> => (await once(start(image.health), 'exit'))[0]

  await check('HEALTHCHECK fails where nothing listens', async () => { assert.equal(await healthOf(), 1) })
  const server = start(image.command)
  let output = ''
  for (const stream of [server.stdout, server.stderr]) stream?.setEncoding('utf8').on('data', text => { output += text })
  const exited = once(server, 'exit')
  try {
    await check('CMD starts, and logs JSON', async () => {
      for (const end = Date.now() + 20_000; !output.includes('Server listening'); await sleep(20)) {
        assert(server.exitCode === null && Date.now() < end, `it did not start:\n${output}`)
      }
      for (const line of output.trim().split('\n')) JSON.parse(line)
    })
    await check('it does not run as root', async () => {
      const status = await readFile(`/proc/${server.pid}/status`, 'utf8')
      assert.doesNotMatch(status, /^Uid:.*\t0\b/m)
    })
    await check('HEALTHCHECK passes', async () => { assert.equal(await healthOf(), 0) })
    await check('a call without a token is refused', async () => { assert.equal((await count(url, 1, 'none')).status, 401) })
    await check('a tool streams', async () => {
      const text = await (await count(url, 2, TOKEN)).text()
      assert.match(text, /notifications\/progress[^]*"text":"1 2 "/)
    })
    await check('SIGTERM lets a call come to its end, and node exits with 0', async () => {
      const response = await count(url, 10, TOKEN)
      const started = Date.now()
      server.kill('SIGTERM')
      assert.match(await response.text(), /"text":"1 2 3 4 5 6 7 8 9 10 "/)
      assert.deepEqual(await exited, [0, null], output)
      assert(Date.now() - started < SHUTDOWN_MS)
    })
  } finally {
    if (server.exitCode === null && server.signalCode === null) server.kill('SIGKILL')
  }
}

/** Calls the tool of the image as a client of 2026-07-28; the answer begins with the first number. */
function count (url: string, to: number, token: string): Promise<Response> {
  const META = 'io.modelcontextprotocol/'
  const _meta = { progressToken: 'a', [`${META}protocolVersion`]: '2026-07-28', [`${META}clientCapabilities`]: {} }
  return fetch(`${url}/mcp`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token}`,
      accept: 'application/json, text/event-stream',
      'content-type': 'application/json',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': 'tools/call',
      'mcp-name': 'count'
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'count', arguments: { to, pause: 100 }, _meta } }),
    signal: AbortSignal.timeout(20_000)
  })
}
