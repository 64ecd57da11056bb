import type { LogLevel } from '../store/store.ts'

/** The levels of RFC 5424 as MCP names them, least severe first (server/utilities/logging). */
const LEVELS = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'] as const satisfies LogLevel[]

/** What a session hears before it sets a level of its own: the specification leaves it to the server. */
export const DEFAULT_LEVEL: LogLevel = 'info'

const rank = new Map<unknown, number>(LEVELS.map((level, index) => [level, index]))

export function isLevel (value: unknown): value is LogLevel {
  return rank.has(value)
}

/** Whether a client that asked for `threshold` is told of `level`. */
export function isLoud (level: LogLevel, threshold: LogLevel): boolean {
  return LEVELS.indexOf(level) >= LEVELS.indexOf(threshold)
}
