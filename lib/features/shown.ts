import type { AnnotationsSchema, IconsSchema } from '@modelcontextprotocol/core'
import { z } from 'zod'
import type { Visible } from './registry.ts'

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
const shownFields = {
  title: z.string().optional(),
  description: z.string().optional(),
  icons: z.array(z.looseObject({ src: z.string() })).optional(),
  _meta: z.record(z.string(), z.unknown()).optional()
}

const controls = {
  visible: z.custom<Visible>(value => value === undefined || typeof value === 'function', 'must be a function').optional(),
  enabled: z.boolean().optional()
}

/** What clients see of a definition: the common fields and `fields`. `refuse` makes the error for what is wrong. */
export function readShown<Fields extends z.ZodRawShape> (given: object, fields: Fields, hints: ReadonlyMap<string, string>, refuse: (reason: string) => Error) {
  const parsed = z.strictObject({ ...shownFields, ...controls, ...fields }).safeParse(given)
  if (!parsed.success) throw refuse(parsed.error.issues.map(issue => describe(issue, hints)).join('; '))
  const { visible, enabled: _, ...shown } = parsed.data
  return { visible, shown }
}

function describe (issue: z.core.$ZodIssue, hints: ReadonlyMap<string, string>): string {
  if (issue.code !== 'unrecognized_keys') return `\`${issue.path.join('.')}\`: ${issue.message}`
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
