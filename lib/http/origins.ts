import { ORIGIN } from '../options.ts'

/** An origin that is compared as it is, an expression that it is tried against, or a function that judges it. */
export type OriginRule = string | RegExp | ((origin: string) => boolean)

// The longest name of a host has 253 characters; the expressions of the user run on no more than this.
const MAX_LENGTH = 512

/** Tells whether an Origin header is one of `rules`. `null`, what is no origin and what is too long never are. */
export function createOrigins (rules: readonly OriginRule[]): (origin: string) => boolean {
  const exact = new Set(rules.filter(rule => typeof rule === 'string').map(origin => origin.toLowerCase()))
  // A copy: one with the flag g or y remembers where it stopped.
  const patterns = rules.filter(rule => rule instanceof RegExp).map(pattern => new RegExp(pattern))
  const judges = rules.filter(rule => typeof rule === 'function')
  const fits = (pattern: RegExp, origin: string): boolean => {
    pattern.lastIndex = 0
    return pattern.test(origin)
  }
  return origin => {
    if (origin.length > MAX_LENGTH || !ORIGIN.test(origin)) return false
    if (exact.has(origin.toLowerCase()) || patterns.some(pattern => fits(pattern, origin))) return true
    // Exactly true: the promise of an async function would let everybody in.
    return judges.some(judge => judge(origin) === true)
  }
}
