import type { AnnotationsSchema, IconsSchema } from '@modelcontextprotocol/core'
import { z } from 'zod'
import { copyJson } from '../tools/json-copy.ts'
import { must, quote, valueAt } from '../wording.ts'
import type { Visible } from './registry.ts'
import { areScopes, SCOPES_RULE } from './scopes.ts'

/** What everything that is offered may say of itself. */
export interface Shown {
  /** For people. */
  title?: string
  /** For the model. */
  description?: string
  icons?: z.infer<typeof IconsSchema>['icons']
  _meta?: Record<string, unknown>
  /** Who sees it and may use it: to everyone else it does not exist. Must be quick, and answer the same until something changes. */
  visible?: Visible
  /** What a principal must have been granted to use it, beside `auth.scopes`. It is still listed. Needs the option `auth`. */
  scopes?: readonly string[]
  /** False registers it without offering it yet. Default: true. */
  enabled?: boolean
}

export type Annotations = z.infer<typeof AnnotationsSchema>

export const annotationsSchema = z.strictObject({
  audience: z.array(z.enum(['user', 'assistant'])).optional(),
  priority: z.number().min(0).max(1).optional(),
  lastModified: z.string().optional()
})

/** Checked at registration, so that no client refuses a whole list for one entry. */
export const shownFields = {
  title: z.string().optional(),
  description: z.string().optional(),
  icons: z.array(z.looseObject({ src: z.string() })).optional(),
  _meta: z.record(z.string(), z.unknown()).optional()
}

const controlsSchema = z.looseObject({
  visible: z.custom<Visible>(value => value === undefined || typeof value === 'function', 'must be a function').optional(),
  scopes: z.custom<readonly string[] | undefined>(value => value === undefined || areScopes(value), SCOPES_RULE).optional(),
  enabled: z.boolean().optional()
})

/** What clients see of a definition: the common fields and those of `schema`. `refuse` makes the error for what is wrong. */
export function readShown<Fields extends object> (
  given: object, schema: z.ZodType<Fields>, hints: ReadonlyMap<string, string>, refuse: (reason: string) => Error
): { visible: Visible | undefined, scopes: readonly string[], shown: Fields } {
  const read = <T>(parsed: z.ZodSafeParseResult<T>): T => {
    if (parsed.success) return parsed.data
    throw refuse(parsed.error.issues.map(issue => describe(issue, given, hints)).join('; '))
  }
  const { visible, scopes = [], enabled: _, ...rest } = read(controlsSchema.safeParse(given, { error: must }))
  const shown = read(schema.safeParse(rest, { error: must }))
  try {
    // One entry that JSON cannot say would break the list for everybody.
    copyJson(shown)
  } catch (error) {
    throw refuse(`it cannot be listed: ${String(Object(error).message)}`)
  }
  return { visible, scopes: Object.freeze([...scopes]), shown }
}

function describe (issue: z.core.$ZodIssue, given: object, hints: ReadonlyMap<string, string>): string {
  if (issue.code !== 'unrecognized_keys') return `\`${issue.path.join('.')}\` ${issue.message}, got ${quote(valueAt(given, issue.path), false)}`
  return issue.keys.map(key => {
    const hint = hints.get(key)
    return `\`${[...issue.path, key].join('.')}\` is not part of a definition${hint === undefined ? '' : `; ${hint}`}`
  }).join('; ')
}

const MAX_TIMEOUT = 2_147_483_647

/** Milliseconds, as timers take them. */
export function checkTimeout (timeout: number, refuse: (reason: string) => Error): number {
  if (Number.isInteger(timeout) && timeout >= 1 && timeout <= MAX_TIMEOUT) return timeout
  throw refuse(`\`timeout\` must be a whole number of milliseconds from 1 to ${MAX_TIMEOUT}, got ${String(timeout)}`)
}
