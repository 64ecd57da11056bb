// Runs the official conformance runner against test/conformance/server.ts: every scenario that its releases have for servers, at every
// revision. `npm run conformance [-- part of a line]`, such as `-- caching` or `-- "2025-06-18 next"`.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, statSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { conformanceServer } from '../test/conformance/server.ts'

const folder = join(import.meta.dirname, '../test/conformance/runner')
const MIN_NODE = 22
// For all scenarios of one revision, which take 5 s.
const TIMEOUT_MS = 180_000

/** The releases of the runner: the stable one knows fewer scenarios and checks less. */
const runners = ['stable', 'next'] as const
type Runner = typeof runners[number]

/** One scenario, at one revision that the runner has it for. */
interface Row {
  runner: Runner
  scenario: string
  revision: string
}

/** Rows that fail for a reason outside of this project. One that passes fails the run, so that none stays here for longer than it must. */
const exceptions: readonly { row: string, because: string }[] = []

const nameOf = ({ scenario, revision, runner }: Row): string => `${scenario} ${revision} ${runner}`

interface Check {
  id: string
  status: 'SUCCESS' | 'FAILURE' | 'WARNING' | 'SKIPPED' | 'INFO'
  errorMessage?: string
}

/** Those of one scenario, or what the runner said instead. */
type Checks = Check[] | string

/** Runs a release of the runner; everything that it said. */
type Run = (runner: Runner, args: readonly string[]) => Promise<string>

/** Installs what is missing and finds the node that can run the runner. */
async function install (): Promise<Run> {
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
  return (runner, args) => new Promise(resolve => {
    const main = join(folder, `node_modules/conformance-${runner}/dist/index.js`)
    execFile(node, [main, ...args], { timeout: TIMEOUT_MS }, (_error, stdout, stderr) => resolve(stdout + stderr))
  })
}

/** Every scenario that a release has for servers, at every revision that it has it for. */
async function list (run: Run, runner: Runner): Promise<Row[]> {
  const said = await run(runner, ['list', '--server'])
  const rows = [...said.matchAll(/^ *- (\S+) \[(.+)\]$/gm)].flatMap(([, scenario = '', tags = '']) => {
    // Extensions (Tasks, Skills) are no part of a revision, and this server declares none.
    return tags.split(',').filter(tag => tag !== 'extension').map(revision => ({ runner, scenario, revision }))
  })
  if (rows.length === 0) throw new Error(`The runner listed nothing: ${said}`)
  return rows
}

/** The scenarios that a revision requires of servers, frozen at its release; none where there is no such set. */
async function required (run: Run, revision: string): Promise<string[]> {
  const said = await run('next', ['list', '--requirements', revision])
  const [, names = ''] = /^Server scenarios.*\n((?: +- .+\n)+)/m.exec(said) ?? []
  return names.split('\n').flatMap(line => line.replace(/^ *- /, '') || [])
}

/** Runs every scenario of one revision, one after another, against a server of its own. The checks of each, or why there are none. */
async function check (run: Run, runner: Runner, revision: string): Promise<(scenario: string) => Checks> {
  const app = await conformanceServer(revision)
  const output = await mkdtemp(join(tmpdir(), 'fastify-mcp-sse-conformance-'))
  try {
    const url = `${await app.listen({ host: '127.0.0.1', port: 0 })}/mcp`
    const said = await run(runner, ['server', '--url', url, '--suite', 'all', '--spec-version', revision, '--output-dir', output])
    const found = new Map<string, Check[]>()
    for (const name of await readdir(output)) {
      const [, scenario = ''] = /^server-(.+)-\d{4}-\d{2}-\d{2}T[\d-]+Z$/.exec(name) ?? []
      found.set(scenario, JSON.parse(await readFile(join(output, name, 'checks.json'), 'utf8')))
    }
    return scenario => found.get(scenario) ?? said.trim()
  } finally {
    await app.close()
    await rm(output, { recursive: true, force: true })
  }
}

/** What is wrong, one line each. A scenario in which nothing succeeded proves nothing. */
function judge (checks: Checks): string[] {
  if (typeof checks === 'string') return [`the runner gave no checks: ${checks}`]
  const bad = checks.filter(({ status }) => status === 'FAILURE' || status === 'WARNING')
  // That what was sent is valid is said even when all of it was errors.
  const proof = checks.some(({ id, status }) => status === 'SUCCESS' && id !== 'wire-schema-valid')
  if (bad.length === 0 && !proof) return ['no check succeeded']
  return bad.map(({ id, status, errorMessage = '' }) => `${status} ${id} ${errorMessage}`.trim())
}

/** Beside the verdict: how much was checked, and what was not. */
function countOf (checks: Checks): string {
  if (typeof checks === 'string') return ''
  const skipped = checks.filter(({ status }) => status === 'SKIPPED').map(({ id }) => id)
  return ` (${checks.length} checks${skipped.length > 0 ? `, skipped: ${skipped.join(', ')}` : ''})`
}

const passed = new Set<string>()
const failed = new Set<string>()
const clean = new Set<string>()

function report (name: string, wrong: readonly string[], remark = ''): void {
  const exception = exceptions.find(({ row }) => row === name)
  const isRight = (wrong.length === 0) === (exception === undefined)
  ;(isRight ? passed : failed).add(name)
  if (wrong.length === 0) clean.add(name)
  const verdict = !isRight ? 'FAILED' : exception === undefined ? 'ok' : 'ok, fails as known:'
  const lines = exception === undefined ? wrong : [isRight ? exception.because : 'it passes: take it off the exceptions']
  console.log([`${verdict} ${name}${remark}`, ...lines].join('\n  '))
}

const run = await install()
const all = (await Promise.all(runners.map(runner => list(run, runner)))).flat()
const [filter = ''] = process.argv.slice(2)
const revisions = [...new Set(all.map(({ revision }) => revision))]
for (const runner of runners) {
  for (const revision of revisions) {
    const rows = all.filter(row => row.runner === runner && row.revision === revision && nameOf(row).includes(filter))
    if (rows.length === 0) continue
    const checksOf = await check(run, runner, revision)
    for (const row of rows) {
      const checks = checksOf(row.scenario)
      report(nameOf(row), judge(checks), countOf(checks))
    }
  }
}

for (const revision of revisions) {
  const names = await required(run, revision)
  if (names.length === 0 || filter !== '') continue
  const missing = names.filter(scenario => !clean.has(nameOf({ scenario, revision, runner: 'next' })))
  report(`required set of ${revision}`, missing, ` (${names.length} scenarios)`)
}
for (const { row } of exceptions.filter(({ row }) => row.includes(filter) && !passed.has(row) && !failed.has(row))) {
  failed.add(row)
  console.log(`FAILED ${row}\n  it is an exception, and no runner has it`)
}
console.log(`${passed.size} passed, ${failed.size} failed`)
process.exitCode = failed.size > 0 || passed.size === 0 ? 1 : 0
