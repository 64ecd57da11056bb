import { parseArgs } from 'node:util'

const PROBES = ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25', '2026-07-28', 'browser', 'idle'] as const

/** What is asked of the doctor. */
export interface Order {
  readonly url: URL
  /** Where HTTP+SSE opens its stream; undefined: found out. */
  readonly sse: URL | undefined
  readonly token: string | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly tool: string | undefined
  readonly args: Readonly<Record<string, unknown>>
  /** Seconds; 0: not tried. */
  readonly idle: number
  readonly origin: string | undefined
  /** Milliseconds. */
  readonly timeout: number
  /** Empty: all. */
  readonly only: readonly string[]
  readonly isJson: boolean
  readonly isStrict: boolean
  readonly isInsecure: boolean
}

export const USAGE = `fastify-mcp-sse doctor <url>

Examines a deployed MCP server from outside, and says what to change in app and proxy.

  --tool <name>            call this tool to see whether its chunks come one by one
  --args <json>            its arguments
  --idle <seconds>         how long idle streams are held open, 0: not at all (35)
  --origin <origin>        what a page of this origin may do
  --sse <url>              where HTTP+SSE opens its stream (/sse beside the url)
  --token <token>          bearer token; better MCP_TOKEN in the environment
  --header 'name: value'   goes with every request; may be repeated
  --timeout <seconds>      for each answer (10)
  --only <probe,...>       ${PROBES.join(', ')}
  --insecure               take any certificate
  --strict                 warnings fail too
  --json                   one JSON document
  --help, --version

It ends the sessions that it opens. Those of HTTP+SSE cannot be ended: they are gone when nobody came back
for \`sessions.replay.window\` (5 min unless set).

Exit codes: 0 well, 1 something failed or nothing was examined, 2 wrong usage, 3 not reached, 130 interrupted.
`

const options = {
  tool: { type: 'string' },
  args: { type: 'string', default: '{}' },
  idle: { type: 'string', default: '35' },
  origin: { type: 'string' },
  sse: { type: 'string' },
  token: { type: 'string' },
  header: { type: 'string', multiple: true, default: [] as string[] },
  timeout: { type: 'string', default: '10' },
  only: { type: 'string' },
  insecure: { type: 'boolean', default: false },
  strict: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
  version: { type: 'boolean', default: false }
} as const

const HEADER = /^[\w!#$%&'*+.^`|~-]+:[\t\x20-\x7e]*$/
const TOKEN = /^[\x21-\x7e]+$/
// Timers take no more.
const MOST_SECONDS = 86_400

/** Reads a command line: an order, a wish for help or the version, or what is wrong with it. */
export function readOrder (argv: readonly string[], env: Readonly<Record<string, string | undefined>>): Order | 'help' | 'version' | { wrong: string } {
  const parsed = parse(argv)
  if ('wrong' in parsed) return parsed
  const { values, positionals: [command, target, ...more] } = parsed
  if (values.help) return 'help'
  if (values.version) return 'version'
  if (command !== 'doctor') return { wrong: command === undefined ? 'a command is missing' : `"${command}" is no command, "doctor" is` }
  if (target === undefined) return { wrong: 'the url is missing' }
  // None of what it may be is repeated where it may be a secret.
  if (more.length > 0) return { wrong: `one url is enough, and ${more.length} more words were given: quote what holds spaces` }
  const url = readUrl(target)
  const sse = values.sse === undefined ? undefined : readUrl(values.sse)
  if (url === undefined || (sse === undefined && values.sse !== undefined)) return { wrong: 'a url begins with http:// or https://' }
  if (sse !== undefined && sse.origin !== url.origin) return { wrong: '--sse must be of the origin of the url' }
  const args = readObject(values.args)
  if (args === undefined) return { wrong: '--args is no JSON object' }
  const only = values.only?.split(',').map(name => name.trim()) ?? []
  const unknown = only.find(name => !PROBES.some(probe => probe === name))
  if (unknown !== undefined) return { wrong: `--only: "${unknown}" is none of ${PROBES.join(', ')}` }
  const idle = readSeconds(values.idle)
  const timeout = readSeconds(values.timeout)
  if (idle === undefined || timeout === undefined || timeout === 0) return { wrong: '--idle and --timeout are seconds' }
  // A variable that is set to nothing gives no token.
  const token = [values.token, env.MCP_TOKEN].find(given => given !== undefined && given !== '')
  if (token !== undefined && !TOKEN.test(token)) return { wrong: 'the token holds what no header can' }
  if (!values.header.every(line => HEADER.test(line))) return { wrong: "--header is 'name: value'" }
  if (values.origin !== undefined && new URL(readUrl(values.origin) ?? 'x:').origin !== values.origin) return { wrong: '--origin is like https://app.example' }
  return {
    url,
    sse,
    token,
    headers: Object.fromEntries(values.header.map(line => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()])),
    tool: values.tool,
    args,
    idle,
    origin: values.origin,
    timeout: timeout * 1_000,
    only,
    isJson: values.json,
    isStrict: values.strict,
    isInsecure: values.insecure
  }
}

function parse (argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], options, allowPositionals: true })
  } catch (error) {
    // What follows the first sentence is about positional arguments.
    return { wrong: String(Reflect.get(Object(error), 'message')).replace(/\.\s.*$/s, '') }
  }
}

function readUrl (text: string): URL | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined
  return url !== undefined && /^https?:$/.test(url.protocol) ? url : undefined
}

function readObject (text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.fromEntries(Object.entries(value)) : undefined
  } catch {
    return undefined
  }
}

function readSeconds (text: string): number | undefined {
  const seconds = text.trim() === '' ? NaN : Number(text)
  return seconds >= 0 && seconds <= MOST_SECONDS ? seconds : undefined
}
