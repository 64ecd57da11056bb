import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, cpus } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { compareExchanges } from './bytes.ts'
import { type Adapter, type Board } from './boards.ts'
import { compile } from './compile.ts'
import { recordings } from './exchanges.ts'
import { installPeers } from './peer-packages.ts'
import { type Options, readOptions } from './run-options.ts'
import { hottest, hottestLines } from './profile.ts'
import type { Job, Outcome } from './round.ts'
import type { Figure, Scenario, Size } from './scenario.ts'
import { type Row, type Sample, summarize, table } from './table.ts'

// Milliseconds for a job; a peer does a part of what others do.
const PATIENCE = 120_000
const PEER_PATIENCE = 60_000
// Of what a scenario does, where peers are measured: there are many, and some are slow.
const PEER_SHARE = 0.3
const HOT = 25

const passed: string[] = []
const failed: string[] = []

function check (what: string, problem: string): void {
  const right = problem === ''
  const list = right ? passed : failed
  list.push(what)
  if (!right) console.error(`FAILED ${what}\n${problem}`)
}

/** Does a job in a fresh process, which starts a fresh server; both are gone when it is done. */
async function work (built: string, job: Job, patience: number): Promise<Outcome> {
  const load = fork(join(built, 'round.js'), { execArgv: [] })
  let outcome: Outcome | undefined
  let problem: string | undefined
  const impatience = setTimeout(() => {
    problem = `it was not done in ${patience / 1000} s`
    load.kill()
  }, patience)
  load.once('message', said => { outcome = said as Outcome })
  load.send(job)
  // What it said last may come after its exit, but not after the end of its channel.
  const [[code, signal]] = await Promise.all([once(load, 'exit'), once(load, 'disconnect')])
  clearTimeout(impatience)
  problem ??= outcome === undefined ? `its process ended with ${signal ?? code}` : outcome.problem
  if (outcome === undefined || problem !== undefined) throw new Error(problem)
  return outcome
}

async function compareBytes (built: string, { servers }: Board, size: Size): Promise<void> {
  const [floor, ...others] = servers.filter(({ name, sameBytes }) => name === 'floor' || sameBytes === true)
  if (floor === undefined || others.length === 0) return
  for (const { name, args } of recordings) {
    const answers = async ({ file }: Adapter) =>
      (await work(built, { kind: 'recording', name, size, file: serverFile(built, file), args, flags: [] }, PATIENCE)).exchanges
    const expected = await answers(floor)
    for (const other of others) {
      const notes = new Map<string, string[]>()
      for (const { request, body, headers } of compareExchanges(expected, await answers(other))) {
        check(`${other.name} answers ${request} in the floor's bytes`, body)
        if (headers !== '') notes.set(headers, [...notes.get(headers) ?? [], request])
      }
      for (const [headers, requests] of notes) {
        console.error(`note: ${other.name} answers with other headers than the floor: ${requests.join('; ')}\n${headers}`)
      }
    }
  }
}

/** What a server of others was not measured by. */
interface Absence {
  scenario: string
  server: string
  reason: string
}

async function measure (built: string, { scenarios: chosen, servers }: Board, options: Options): Promise<{ rows: Row[], absences: Absence[] }> {
  const { rounds } = options
  const samples: Sample[] = []
  const absences: Absence[] = []
  for (const piece of chosen) {
    const scenario = piece.name
    for (const { name, lacks } of servers) {
      const reason = lacks?.[scenario]
      if (reason !== undefined) absences.push({ scenario, server: name, reason })
    }
    for (let round = 0; round < rounds; round++) {
      for (const [column, adapter] of servers.entries()) {
        const { name: server, scenarios } = adapter
        if (scenarios?.includes(scenario) === false) continue
        if (absences.some(absence => absence.scenario === scenario && absence.server === server)) continue
        const problem = await measureOnce(built, piece, adapter, options).then(
          figures => {
            samples.push({ column, round, figures })
            return ''
          },
          (error: Error) => error.message
        )
        if (adapter.isPeer === true && problem !== '') absences.push({ scenario, server, reason: problem })
        else check(`${scenario}, round ${round + 1}: ${server}`, problem)
      }
    }
  }
  return { rows: summarize(samples, servers.length, rounds), absences }
}

async function measureOnce (built: string, { name: scenario, args: wanted }: Scenario, adapter: Adapter, options: Options): Promise<Figure[]> {
  const { size, peers, profiles } = options
  const { name, file, args, argsFor, isPeer } = adapter
  const folder = profiles === null ? '' : join(profiles, `${scenario}-${name}`)
  const flags = folder === '' ? [] : ['--cpu-prof', `--cpu-prof-dir=${folder}`]
  const job: Job = {
    kind: 'scenario',
    name: scenario,
    size,
    file: serverFile(built, file),
    args: [...wanted?.(size) ?? [], ...argsFor?.[scenario] ?? args ?? []],
    flags,
    share: peers ? PEER_SHARE : 1
  }
  const { figures } = await work(built, job, isPeer === true ? PEER_PATIENCE : PATIENCE)
  if (folder !== '') {
    console.log(`\n${scenario}, ${name}: own time\n${(await hottest(folder, HOT)).join('\n')}`)
    console.log((await hottestLines(folder, HOT)).join('\n'))
  }
  return figures
}

function serverFile (built: string, file: string): string {
  return join(built, 'servers', file.replace(/\.ts$/, '.js'))
}

async function run (options: Options): Promise<void> {
  if (options.profiles !== null) await rm(options.profiles, { recursive: true, force: true })
  const begin = Date.now()
  if (options.peers) await installPeers()
  const built = await compile()
  const tables = []
  for (const part of options.boards) {
    await compareBytes(built, part, options.size).catch((error: Error) => { check('every server answers', error.message) })
    const { rows, absences } = await measure(built, part, options)
    const names = part.servers.map(({ name }) => name)
    tables.push({ servers: names, rows, absences })
    if (rows.length > 0) console.log(`\n${table(rows, names)}\n`)
    for (const { scenario, server, reason } of absences) console.log(`left out of ${scenario}: ${server}, ${reason.trim().replace(/\s*\n\s*/g, '; ')}`)
  }
  const machine = { node: process.version, cores: availableParallelism(), cpu: cpus()[0]?.model }
  const json = { date: new Date().toISOString(), machine, size: options.size, rounds: options.rounds, tables }
  await mkdir(dirname(resolve(options.json)), { recursive: true })
  await writeFile(options.json, JSON.stringify(json, null, 2) + '\n')
  if (options.size === 'smoke') console.log('a smoke run: its figures mean nothing')
  console.log(`${((Date.now() - begin) / 1000).toFixed(0)} s, ${options.json}`)
  console.log(`${passed.length} passed, ${failed.length} failed`)
  if (failed.length > 0) process.exitCode = 1
}

// A process that a signal ends takes nothing away with it unless it exits by itself.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1))

const options = readOptions(process.argv.slice(2))
if (options !== null) await run(options)
