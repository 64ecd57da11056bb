import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { peers, truant } from './peer-adapters.ts'
import type { Scenario, Size } from './scenario.ts'
import { clusterScenarios, peerScenarios, scenarios } from './scenarios.ts'
import { type Adapter, clusters, servers } from './servers.ts'

/** What makes one table. */
export interface Run {
  /** The names of the scenarios to run. */
  only: string[]
  /** The first is what the others are compared with. */
  servers: Adapter[]
}

export interface Options {
  size: Size
  rounds: number
  runs: Run[]
  /** Whether the packages of the peers are needed. */
  peers: boolean
  json: string
  /** The folder for CPU profiles, when they are wanted. */
  profiles: string | null
}

const USAGE = `npm run bench -- [--smoke] [--cluster | --peers] [--only name] [--rounds n] [--servers floor,ours] [--json file] [--profile]
  --smoke    a little of everything: proves that it works, times nothing
  --cluster  nodes that share a Redis, beside the memory store: ${clusterScenarios.map(({ name }) => name).join(', ')}
  --peers    servers made with packages of others, which it installs: ${peers.map(({ name }) => name).join(', ')}
  --only     one scenario (may be given again): ${scenarios.map(({ name }) => name).join(', ')}
  --rounds   how often each is measured; the table shows the median (3, with --peers 1)
  --servers  what is compared with what; floor,floor shows how exact the instrument is
  --json     where every figure goes (bench/results/latest.json)
  --profile  write CPU profiles beside it, and print the functions that took most`

/** The command line, or null when there is nothing to run: help was asked for, or the line was wrong, which is then said. */
export function readOptions (args: string[]): Options | null {
  try {
    const options = parse(args)
    if (options === null) console.log(USAGE)
    return options
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n\n${USAGE}`)
    process.exitCode = 1
    return null
  }
}

function parse (args: string[]): Options | null {
  const { values } = parseArgs({
    args,
    options: {
      smoke: { type: 'boolean', default: false },
      cluster: { type: 'boolean', default: false },
      peers: { type: 'boolean', default: false },
      only: { type: 'string', multiple: true },
      rounds: { type: 'string' },
      servers: { type: 'string' },
      json: { type: 'string', default: 'bench/results/latest.json' },
      profile: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false }
    }
  })
  if (values.help) return null
  const { smoke, cluster, json, profile } = values
  const rounds = Number(values.rounds ?? (smoke || profile || values.peers ? 1 : 3))
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error(`--rounds must be a whole number above 0: ${values.rounds}`)
  const run = (scenarios: Scenario[], servers: Adapter[]): Run => ({
    only: (values.only ?? scenarios.map(({ name }) => name)).map(name => named('--only', name, scenarios).name),
    servers: values.servers?.split(',').map(name => named('--servers', name, servers)) ?? servers
  })
  const [plain, clustered] = [() => run(scenarios, servers), () => run(clusterScenarios, clusters)]
  if (cluster && values.peers) throw new Error('--cluster and --peers are two runs')
  const unable: Run = { only: ['calls', 'sse-calls'], servers: [...servers.slice(0, 1), truant] }
  const isWhole = smoke && values.only === undefined && values.servers === undefined
  const others = values.peers ? [run(peerScenarios, [...servers, ...peers])] : cluster ? [clustered()] : null
  const runs = others ?? (isWhole ? [plain(), clustered(), unable] : [plain()])
  return { size: smoke ? 'smoke' : 'full', rounds, runs, peers: values.peers, json, profiles: profile ? resolve(json, '../profiles') : null }
}

function named<Named extends { name: string }> (option: string, name: string, list: Named[]): Named {
  const found = list.find(item => item.name === name)
  if (found === undefined) throw new Error(`${option} ${name}: one of ${list.map(({ name }) => name).join(', ')}`)
  return found
}
