// Runs the tests with the real parts that are on this machine: `npm test [-- tap arguments]`.
import { spawn } from 'node:child_process'
import { accessSync, constants, readdirSync, readFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'

// One row for each part that a test drives; the test reads the binary's path from `env`.
// Files that import what `drivenBy` names are nothing without it.
const parts = [
  {
    name: 'chromium',
    binaries: ['chromium', 'chromium-browser', 'google-chrome'],
    env: 'MCP_TEST_CHROMIUM',
    leftOut: 'neither the browser example nor pages of other origins were driven'
  },
  {
    name: 'redis-server',
    binaries: ['redis-server'],
    env: 'MCP_TEST_REDIS',
    drivenBy: / from '\.\/(?:redis-server|neighbours|cluster\/\w+)\.ts'/,
    leftOut: 'nothing was tried with several nodes'
  },
  {
    name: 'nginx',
    binaries: ['nginx'],
    env: 'MCP_TEST_NGINX',
    drivenBy: / from '\.\/proxy\/nginx\.ts'/,
    leftOut: 'nothing was tried behind a proxy'
  },
  {
    name: 'haproxy',
    binaries: ['haproxy'],
    env: 'MCP_TEST_HAPROXY',
    drivenBy: / from '\.\/proxy\/haproxy\.ts'/,
    leftOut: 'nothing was tried behind a proxy'
  }
]

// Debian keeps servers in sbin, which is not on a user's PATH.
const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/bin', '/usr/sbin'].filter(Boolean)

function find (binaries: string[]): string | undefined {
  const paths = binaries.flatMap(binary => folders.map(folder => join(folder, binary)))
  return paths.find(path => {
    try {
      accessSync(path, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

const env = { ...process.env }
const missing = parts.filter(part => {
  env[part.env] ||= find(part.binaries) ?? ''
  return env[part.env] === ''
})
const strict = process.env.CI === 'true'
// The rest of tap's report is for machines.
env.TAP_REPORTER ??= 'terse'

const args = process.argv.slice(2)
if (missing.length > 0 && !strict) args.push('--allow-incomplete-coverage')

// These say themselves what they leave out.
const CAN_DO_WITHOUT = new Set(['deploy.test.ts', 'docs.test.ts', 'examples.test.ts', 'metrics.test.ts'])
const tests = join(import.meta.dirname, '../test')
const needs = (file: string): boolean => {
  const source = readFileSync(join(tests, file), 'utf8')
  return missing.some(({ drivenBy }) => drivenBy?.test(source))
}
if (!strict) {
  const files = readdirSync(tests).filter(file => file.endsWith('.test.ts') && !CAN_DO_WITHOUT.has(file) && needs(file))
  args.push(...files.map(file => `--exclude=test/${file}`))
}

// Ctrl-C reaches tap as well; leaving first would cut off its report.
process.on('SIGINT', () => {})
const tap = spawn(join(import.meta.dirname, '../node_modules/.bin/tap'), args, { env, stdio: 'inherit' })
tap.on('error', error => {
  console.error(error.message)
  process.exitCode = 1
})
tap.on('close', code => {
  for (const part of missing) {
    console.log(`${strict ? 'failed' : 'left out'}: ${part.name} is not on this machine; ${part.leftOut}`)
  }
  process.exitCode = strict && missing.length > 0 ? 1 : code ?? 1
})
