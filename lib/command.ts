#!/usr/bin/env node
import { readFileSync, realpathSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { examine } from './doctor/examination.ts'
import { exitCodeOf, writeJson, writeText } from './doctor/findings-report.ts'
import { type Order, readOrder, USAGE } from './doctor/order.ts'

/** What a command line is run in. */
export interface Terminal {
  readonly env: Readonly<Record<string, string | undefined>>
  /** Aborts when the user interrupts. */
  readonly signal: AbortSignal
  readonly hasColours: boolean
  /** Whether somebody waits in front of it. */
  readonly isWatched: boolean
  out (text: string): void
  err (text: string): void
}

/** Runs a command line, without the program's own name. Gives the exit code: 0, 1, 2, 3 or 130. */
export async function run (argv: readonly string[], { env, signal, hasColours, isWatched, out, err }: Terminal): Promise<number> {
  const order = readOrder(argv, env)
  if (order === 'help') {
    out(USAGE)
    return 0
  }
  if (order === 'version') {
    out(`${readVersion()}\n`)
    return 0
  }
  if ('wrong' in order) {
    err(`${order.wrong}\ntry --help\n`)
    return 2
  }
  if (isWatched) err(expectation(order))
  const charts = await examine(order, signal)
  if (signal.aborted) {
    err('interrupted\n')
    return 130
  }
  out(order.isJson ? writeJson(charts, order) : writeText(charts, order, hasColours))
  return exitCodeOf(charts, order.isStrict)
}

/** How long it takes, as far as that is known: the URL may hold a secret, its host does not. */
function expectation ({ url, idle, only }: Order): string {
  const holds = idle > 0 && (only.length === 0 || only.includes('idle'))
  return `examining ${url.host}${holds ? `, whose streams are held open for ${idle} s: see --idle` : ''}\n`
}

/** Of the package: its file is beside the folder of this one, in the source as in what is published. */
function readVersion (): string {
  const { version }: { version: string } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  return version
}

async function main (): Promise<void> {
  const interrupt = new AbortController()
  process.once('SIGINT', () => interrupt.abort())
  process.once('SIGTERM', () => interrupt.abort())
  process.exitCode = await run(process.argv.slice(2), {
    env: process.env,
    signal: interrupt.signal,
    hasColours: [process.stdout.isTTY, process.env.NO_COLOR === undefined].every(Boolean),
    isWatched: process.stderr.isTTY,
    out: text => { process.stdout.write(text) },
    err: text => { process.stderr.write(text) }
  })
}

// npm runs a link to this file; a test imports it.
if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) await main()
