// Runs the official conformance runner against test/conformance/server.ts: `npm run conformance [-- part of a scenario's name]`.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, statSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { conformanceServer } from '../test/conformance/server.ts'

const folder = join(import.meta.dirname, '../test/conformance/runner')
const MIN_NODE = 22
const TIMEOUT_MS = 60_000

/** The releases of the runner: the stable one knows fewer scenarios and checks less. */
const runners = ['stable', 'next'] as const

interface Row {
  scenario: string
  revisions: string[]
  /** The release that has the scenario, and gets it right, if not both do. */
  only?: 'next'
}

const SINCE_BATCHES = ['2025-03-26', '2025-06-18', '2025-11-25']
const SINCE_HEADER = ['2025-06-18', '2025-11-25']
const LATEST = ['2025-11-25']

/** Every scenario of what is served so far, at every revision that has it. */
const table: Row[] = [
  { scenario: 'server-initialize', revisions: SINCE_HEADER },
  { scenario: 'server-session-lifecycle', revisions: SINCE_BATCHES, only: 'next' },
  { scenario: 'ping', revisions: SINCE_HEADER },
  { scenario: 'logging-set-level', revisions: SINCE_HEADER },
  { scenario: 'tools-list', revisions: SINCE_HEADER },
  { scenario: 'tools-call-simple-text', revisions: SINCE_HEADER },
  { scenario: 'tools-call-image', revisions: SINCE_HEADER },
  { scenario: 'tools-call-audio', revisions: SINCE_HEADER },
  { scenario: 'tools-call-embedded-resource', revisions: SINCE_HEADER },
  { scenario: 'tools-call-mixed-content', revisions: SINCE_HEADER },
  { scenario: 'tools-call-with-logging', revisions: SINCE_HEADER },
  { scenario: 'tools-call-error', revisions: SINCE_HEADER },
  { scenario: 'tools-call-with-progress', revisions: SINCE_HEADER },
  { scenario: 'json-schema-2020-12', revisions: LATEST },
  { scenario: 'server-sse-multiple-streams', revisions: LATEST },
  // The stable release names 2025-03-26 in its header: a revision that cannot poll, so it would check nothing.
  { scenario: 'server-sse-polling', revisions: LATEST, only: 'next' },
  { scenario: 'dns-rebinding-protection', revisions: LATEST }
]

interface Check {
  id: string
  status: 'SUCCESS' | 'FAILURE' | 'WARNING' | 'SKIPPED' | 'INFO'
  errorMessage?: string
}

/** The node that can run the runner. */
async function install (): Promise<string> {
  const isRecent = Number.parseInt(process.versions.node) >= MIN_NODE
  const installed = join(folder, 'node_modules/.package-lock.json')
  const isCurrent = existsSync(installed) && statSync(installed).mtimeMs >= statSync(join(folder, 'package-lock.json')).mtimeMs
  const node = isRecent ? process.execPath : join(folder, `node_modules/node-${process.platform}-${process.arch}/bin/node`)
  if (!isCurrent || !existsSync(node)) {
    const args = ['ci', '--no-audit', '--no-fund', '--loglevel=error', ...(isRecent ? ['--omit=optional'] : [])]
    const [code] = await once(spawn('npm', args, { cwd: folder, stdio: 'inherit' }), 'close')
    if (code !== 0) throw new Error(`npm ci in ${folder} ended with ${code}`)
  }
  if (!existsSync(node)) throw new Error(`The conformance runner needs Node >= ${MIN_NODE}`)
  return node
}

/** The checks of one scenario, or why there are none. */
async function run (node: string, runner: string, url: string, scenario: string, revision: string): Promise<Check[] | string> {
  const output = await mkdtemp(join(tmpdir(), 'fastify-mcp-sse-conformance-'))
  try {
    const main = join(folder, `node_modules/conformance-${runner}/dist/index.js`)
    const args = [main, 'server', '--url', url, '--scenario', scenario, '--spec-version', revision, '--output-dir', output]
    const said = await new Promise<string>(resolve => {
      execFile(node, args, { timeout: TIMEOUT_MS }, (_error, stdout, stderr) => resolve(stdout + stderr))
    })
    const [folderOfRun] = await readdir(output)
    return folderOfRun === undefined ? said.trim() : JSON.parse(await readFile(join(output, folderOfRun, 'checks.json'), 'utf8'))
  } finally {
    await rm(output, { recursive: true, force: true })
  }
}

/** What is wrong, one line each. A scenario in which nothing succeeded proves nothing. */
function judge (checks: Check[] | string): string[] {
  if (typeof checks === 'string') return [`the runner gave no checks: ${checks}`]
  const bad = checks.filter(({ status }) => status === 'FAILURE' || status === 'WARNING')
  if (bad.length === 0 && !checks.some(({ status }) => status === 'SUCCESS')) return ['no check succeeded']
  return bad.map(({ id, status, errorMessage = '' }) => `${status} ${id} ${errorMessage}`.trim())
}

const node = await install()
const app = await conformanceServer()
const url = `${await app.listen({ host: '127.0.0.1', port: 0 })}/mcp`
const [filter = ''] = process.argv.slice(2)
let passed = 0
let failed = 0
try {
  for (const { scenario, revisions, only } of table.filter(row => row.scenario.includes(filter))) {
    for (const runner of runners.filter(runner => (only ?? runner) === runner)) {
      for (const revision of revisions) {
        const wrong = judge(await run(node, runner, url, scenario, revision))
        if (wrong.length === 0) passed++
        else failed++
        console.log([`${wrong.length === 0 ? 'ok' : 'FAILED'} ${scenario} ${revision} ${runner}`, ...wrong].join('\n  '))
      }
    }
  }
} finally {
  await app.close()
}
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed > 0 || passed === 0 ? 1 : 0
