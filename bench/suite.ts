import { fork } from 'node:child_process'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, cpus } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { compareExchanges } from './bytes.ts'
import { type Adapter, type Board } from './boards.ts'
import { compile } from './compile.ts'
import { recordings } from './exchanges.ts'
import { type Options, readOptions } from './run-options.ts'
import { hottest } from './profile.ts'
import type { Job, Outcome } from './round.ts'
import type { Size } from './scenario.ts'
import { type Row, type Sample, summarize, table } from './table.ts'

const PATIENCE = 120_000
const HOT = 25

const passed: string[] = []
const failed: string[] = []

function check (what: string, problem: string): void {
  const right = problem === ''
  const list = right ? passed : failed
  list.push(what)
  if (!right) console.error(`FAILED ${what}\n${problem}`)
}

/** Does a job in a fresh process, which starts a fresh server. */
async function work (built: string, job: Job): Promise<Outcome> {
  return await new Promise((resolve, reject) => {
    const load = fork(join(built, 'round.js'), { execArgv: [] })
    const impatience = setTimeout(() => load.kill(), PATIENCE)
    load.once('message', outcome => { resolve(outcome as Outcome) })
    load.once('exit', (code, signal) => {
      clearTimeout(impatience)
      reject(new Error(`its process ended with ${signal ?? code}`))
    })
    load.send(job)
  })
}

async function compareBytes (built: string, { servers }: Board, size: Size): Promise<void> {
  const [floor, ...others] = servers.filter(({ name, sameBytes }) => name === 'floor' || sameBytes === true)
  if (floor === undefined || others.length === 0) return
  for (const { name, args } of recordings) {
    const answers = async ({ file }: Adapter) =>
      (await work(built, { kind: 'recording', name, size, file: serverFile(built, file), args, flags: [] })).exchanges
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

async function measure (built: string, { scenarios: chosen, servers }: Board, { rounds, size, profiles }: Options): Promise<Row[]> {
  const samples: Sample[] = []
  for (const { name: scenario, args: wanted } of chosen) {
    for (let round = 0; round < rounds; round++) {
      for (const [column, { name, file, args, scenarios }] of servers.entries()) {
        if (scenarios?.includes(scenario) === false) continue
        const folder = profiles === null ? '' : join(profiles, `${scenario}-${name}`)
        const flags = folder === '' ? [] : ['--cpu-prof', `--cpu-prof-dir=${folder}`]
        const job: Job = {
          kind: 'scenario', name: scenario, size, file: serverFile(built, file), args: [...wanted?.(size) ?? [], ...args ?? []], flags
        }
        const problem = await work(built, job).then(
          ({ figures }) => {
            samples.push({ column, round, figures })
            return ''
          },
          (error: Error) => error.message
        )
        check(`${scenario}, round ${round + 1}: ${name}`, problem)
        if (folder !== '' && problem === '') console.log(`\n${scenario}, ${name}: own time\n${(await hottest(folder, HOT)).join('\n')}`)
      }
    }
  }
  return summarize(samples, servers.length, rounds)
}

function serverFile (built: string, file: string): string {
  return join(built, 'servers', file.replace(/\.ts$/, '.js'))
}

async function run (options: Options): Promise<void> {
  if (options.profiles !== null) await rm(options.profiles, { recursive: true, force: true })
  const begin = Date.now()
  const built = await compile()
  const tables = []
  for (const part of options.boards) {
    await compareBytes(built, part, options.size).catch((error: Error) => { check('every server answers', error.message) })
    const rows = await measure(built, part, options)
    const names = part.servers.map(({ name }) => name)
    tables.push({ servers: names, rows })
    if (rows.length > 0) console.log(`\n${table(rows, names)}\n`)
  }
  const machine = { node: process.version, cores: availableParallelism(), cpu: cpus()[0]?.model }
  const json = { date: new Date().toISOString(), machine, size: options.size, rounds: options.rounds, tables }
  await mkdir(dirname(resolve(options.json)), { recursive: true })
  await writeFile(options.json, JSON.stringify(json, null, 2) + '\n')
  console.log(`${((Date.now() - begin) / 1000).toFixed(0)} s, ${options.json}`)
  console.log(`${passed.length} passed, ${failed.length} failed`)
  if (failed.length > 0) process.exitCode = 1
}

// A process that a signal ends takes nothing away with it unless it exits by itself.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1))

const options = readOptions(process.argv.slice(2))
if (options !== null) await run(options)
