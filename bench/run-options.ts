import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { type Adapter, type Board, boards, clusterBoard, peerBoard, truantBoard } from './boards.ts'
import { peers } from './peer-adapters.ts'
import type { Size } from './scenario.ts'

export interface Options {
  size: Size
  rounds: number
  /** What is left to run of them. */
  boards: Board[]
  /** Whether the packages of the peers are needed. */
  peers: boolean
  json: string
  /** The folder for CPU profiles, when they are wanted. */
  profiles: string | null
}

function namesOf (boards: Board[]): string {
  return boards.flatMap(({ scenarios }) => scenarios).map(({ name }) => name).join(', ')
}

const USAGE = `npm run bench -- [--smoke] [--cluster | --peers] [--only name] [--rounds n] [--servers floor,ours] [--json file] [--profile]
  --smoke    a little of everything: proves that it works; its figures mean nothing
  --cluster  nodes that share a Redis, beside the memory store: ${namesOf([clusterBoard])}
  --peers    servers made with packages of others, which it installs: ${peers.map(({ name }) => name).join(', ')}
  --only     one scenario (may be given again): ${namesOf(boards)}
  --rounds   how often each is measured; the table shows the median (3, with --peers 1)
  --servers  what is compared with what; floor,floor shows how exact the instrument is
  --json     where every figure goes (bench/results/latest.json)
  --profile  write CPU profiles beside it, and print the functions and the lines that took most`

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
  if (cluster && values.peers) throw new Error('--cluster and --peers are two runs')
  const isWhole = smoke && values.only === undefined && values.servers === undefined
  const others = values.peers ? [peerBoard] : cluster ? [clusterBoard] : null
  const all = others ?? (isWhole ? [...boards, clusterBoard, truantBoard] : boards)
  const { only, servers } = { only: values.only, servers: values.servers?.split(',') }
  for (const name of only ?? []) named('--only', name, all.flatMap(({ scenarios }) => scenarios))
  for (const name of servers ?? []) named('--servers', name, all.flatMap(({ servers }) => servers))
  const chosen = all.flatMap(board => restricted(board, only, servers))
  if (chosen.length === 0) throw new Error(`--servers ${values.servers}: none of these scenarios is measured by all of them`)
  return {
    size: smoke ? 'smoke' : 'full', rounds, boards: chosen, peers: values.peers, json, profiles: profile ? resolve(json, '../profiles') : null
  }
}

/** What the command line leaves of a board: none or one. */
function restricted (board: Board, only: string[] | undefined, names: string[] | undefined): Board[] {
  const scenarios = board.scenarios.filter(({ name }) => only?.includes(name) ?? true)
  const servers = names?.map(name => board.servers.find(server => server.name === name)) ?? board.servers
  const isWhole = (list: Array<Adapter | undefined>): list is Adapter[] => !list.includes(undefined)
  return scenarios.length > 0 && isWhole(servers) ? [{ scenarios, servers }] : []
}

function named<Named extends { name: string }> (option: string, name: string, list: Named[]): Named {
  const found = list.find(item => item.name === name)
  if (found === undefined) throw new Error(`${option} ${name}: one of ${list.map(({ name }) => name).join(', ')}`)
  return found
}
