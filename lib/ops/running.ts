import type { Stats } from '../mcp.ts'

/** One server of this process, as whoever watches the process sees it. */
export interface Running {
  /** The option `name`. */
  readonly server: string
  readonly stats: () => Stats
  /** Whether it answers this method in any era. */
  readonly hasMethod: (method: string) => boolean
  /** Whether a tool of this name is registered. */
  readonly hasTool: (name: string) => boolean
  /** Why it should get no requests, or null. */
  readonly problem: () => string | null
}

/** The servers of this process, from their registration to the end of their app. */
export const running = new Set<Running>()
