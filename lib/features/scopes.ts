import { errorCodes, withData } from '../errors.ts'
import type { Principal } from '../http/auth.ts'

/** Whether a granted scope covers a needed one, beside itself. */
export type Hierarchy = (granted: string, needed: string) => boolean

export interface ScopesOptions {
  /** What every request needs. */
  readonly scopes?: readonly string[] | undefined
  readonly hierarchy?: Hierarchy | undefined
}

// RFC 6749, section 3.3.
const SCOPE = /^[\x21\x23-\x5B\x5D-\x7E]+$/
// A client asks for it of its own accord (2026-07-28, basic/authorization, "Refresh Tokens").
const NEVER_NEEDED = 'offline_access'

export const SCOPES_RULE = `must be an array of scopes (RFC 6749), none of them ${NEVER_NEEDED}`

/** Whether something may need these scopes. */
export function areScopes (value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every(scope => typeof scope === 'string' && SCOPE.test(scope) && scope !== NEVER_NEEDED)
}

/** What principals must have been granted. */
export class Scopes {
  readonly #server: readonly string[]
  readonly #hierarchy: Hierarchy | undefined

  constructor ({ scopes = [], hierarchy }: ScopesOptions) {
    this.#server = [...scopes]
    this.#hierarchy = hierarchy
  }

  /** `own`: what an operation needs beside what every request does. Throws FST_MCP_SCOPE_INSUFFICIENT, whose data name all of it. */
  check (principal: Principal | null, own: readonly string[]): void {
    if (this.#server.length + own.length === 0) return
    const scopes = [...new Set([...this.#server, ...own])]
    // The type is a promise of whoever wrote `verify`.
    const granted: readonly string[] = Array.isArray(principal?.scopes) ? principal.scopes : []
    const missing = scopes.filter(needed => !granted.some(scope => this.#covers(scope, needed)))
    if (missing.length > 0) throw withData(new errorCodes.FST_MCP_SCOPE_INSUFFICIENT(missing.join(' ')), { scopes })
  }

  #covers (granted: string, needed: string): boolean {
    if (granted === needed) return true
    if (this.#hierarchy === undefined) return false
    const answer: unknown = this.#hierarchy(granted, needed)
    if (typeof answer === 'boolean') return answer
    // A promise that nobody looks at would bring the process down when it rejects.
    if (answer instanceof Promise) answer.catch(() => {})
    throw new errorCodes.FST_MCP_INTERNAL({ cause: new TypeError('`auth.hierarchy` must answer with a boolean at once') })
  }
}
