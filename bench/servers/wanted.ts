import { parseArgs } from 'node:util'

/** The token and the origin that a guarded server lets in. */
export const TOKEN = 'the-token-of-the-bench-of-32-characters'
export const ORIGIN = 'https://app.example'

const HALF_AN_HOUR = 1_800_000

/** What a scenario asks of its servers. */
export interface Wanted {
  /** Clients need a token, come from a page, and are counted. */
  guarded: boolean
  /** There are no sessions. */
  stateless: boolean
  /** Milliseconds after which an untouched session is forgotten. */
  idle: number
  /** How many tools there are that take and give what `echo` does, itself included. */
  tools: number
}

/** Reads the command line of a server. */
export function readWanted (): Wanted {
  const { values } = parseArgs({
    options: {
      guarded: { type: 'boolean', default: false },
      stateless: { type: 'boolean', default: false },
      idle: { type: 'string', default: String(HALF_AN_HOUR) },
      tools: { type: 'string', default: '1' }
    }
  })
  return { ...values, idle: Number(values.idle), tools: Number(values.tools) }
}
