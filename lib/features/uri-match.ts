import { holds, isLiteral, type Part } from './uri-expression.ts'
import { isLonger, type LiteralStep, type Run, type Step, stepsOf } from './uri-step.ts'
import type { Variables } from './uri-template.ts'

/** Reads the variables out of the text of a decoded URI; undefined when it does not match. */
export type Matcher = (text: string) => Variables | undefined

/** By position in the text: where a step ends that begins there and after which all others match. 0 when there is none. */
type Ends = Int32Array

/** Makes the matcher of a parsed template. */
export function compileMatcher (parts: readonly Part[]): Matcher {
  const first = stepsOf(parts)
  const literals = parts.filter(isLiteral).map(({ key }) => key)
  const suffix = parts.slice(-1).filter(isLiteral).map(({ key }) => key).join('')
  return text => text.endsWith(suffix) && holdsAll(literals, text) ? walk(first, text) : undefined
}

/** Whether a text begins with the first literal, and has the others in their order somewhere behind. */
function holdsAll ([prefix = '', ...others]: readonly string[], text: string): boolean {
  if (!text.startsWith(prefix)) return false
  let at = prefix.length
  return others.every(literal => {
    const found = text.indexOf(literal, at)
    at = found + literal.length
    return found !== -1
  })
}

function walk (first: Step, text: string): Variables | undefined {
  const runs: { run: Run, part: string }[] = []
  // From the first step on that the characters in front alone do not decide.
  let tables: Map<Step, Ends> | undefined
  let at = 0
  let step = first
  while (step.kind !== 'end') {
    if (step.kind !== 'literal' && !step.isSure) tables ??= solve(step, text, at)
    if (step.kind === 'fork') {
      const isThere = tables === undefined ? text.startsWith(step.next.text, at) : tables.get(step.next)?.[at] !== 0
      step = isThere ? step.next : step.skip
      continue
    }
    const end = tables === undefined ? endOf(step, text, at) : tables.get(step)?.[at]
    if (end === undefined || end === 0) return undefined
    if (step.kind === 'run') runs.push({ run: step, part: text.slice(at, end) })
    at = end
    step = step.next
  }
  return at === text.length ? read(runs) : undefined
}

function read (runs: readonly { run: Run, part: string }[]): Variables | undefined {
  const found: Record<string, string | string[]> = Object.create(null)
  for (const { run, part } of runs) {
    const values = run.read(part)
    if (values === undefined) return undefined
    for (const [name, value] of values) found[name] = value
  }
  return found
}

/** Where a step ends that can end in one place only; 0 when it cannot begin here. */
function endOf (step: LiteralStep | Run, text: string, at: number): number {
  if (step.kind === 'literal') return text.startsWith(step.text, at) ? at + step.text.length : 0
  const { chars, separator, most } = step
  let end = at
  while (end < text.length && holds(chars, text.charCodeAt(end))) end++
  const part = text.slice(at, end)
  if (part === '' || isLonger(part, most)) return 0
  const isBroken = separator !== '' && (part.startsWith(separator) || part.endsWith(separator) || part.includes(separator + separator))
  return isBroken ? 0 : end
}

/** The ends of a step and all behind it, from the last to the first, so that nothing is ever tried twice. */
function solve (first: Step, text: string, from: number): Map<Step, Ends> {
  const tables = new Map<Step, Ends>()
  const endsOf = (step: Step): Ends => {
    const known = tables.get(step)
    if (known !== undefined) return known
    const ends = new Int32Array(text.length + 1)
    tables.set(step, ends)
    if (step.kind === 'end') ends[text.length] = text.length
    else if (step.kind === 'run') fillRun(ends, step, { text, from, next: endsOf(step.next) })
    else if (step.kind === 'fork') fillFork(ends, endsOf(step.next), endsOf(step.skip))
    else fillLiteral(ends, step, { text, from, next: endsOf(step.next) })
    return ends
  }
  endsOf(first)
  return tables
}

interface Rest {
  readonly text: string
  readonly from: number
  readonly next: Ends
}

function fillLiteral (ends: Ends, { text: literal }: LiteralStep, { text, from, next }: Rest): void {
  for (let at = text.indexOf(literal, from); at !== -1; at = text.indexOf(literal, at + 1)) {
    const end = at + literal.length
    if (next[end] !== 0) ends[at] = end
  }
}

function fillFork (ends: Ends, there: Ends, skipped: Ends): void {
  ends.set(skipped)
  for (const [at, end] of there.entries()) {
    if (end !== 0) ends[at] = end
  }
}

function fillRun (ends: Ends, { chars, separator, most }: Run, { text, from, next }: Rest): void {
  const border = separator === '' ? -1 : separator.charCodeAt(0)
  // By position: the last one up to there where the run may end.
  const last = new Int32Array(text.length + 1)
  for (let at = from, found = 0; at <= text.length; at++) {
    if (next[at] !== 0 && text.charCodeAt(at - 1) !== border) found = at
    last[at] = found
  }
  let stop = text.length
  // As far as `most` characters reach.
  let limit = text.length
  let room = most
  for (let at = text.length - 1; at >= from; at--) {
    const code = text.charCodeAt(at)
    if (isLow(code)) at--
    if (room > 0) room--
    else limit -= isLow(text.charCodeAt(limit - 1)) ? 2 : 1
    const isBorder = code === border
    if (isBorder ? text.charCodeAt(at - 1) === border : !holds(chars, code)) stop = at
    else if (!isBorder) {
      const end = last[Math.min(stop, limit)]
      if (end !== undefined && end > at) ends[at] = end
    }
  }
}

/** Whether it is the second half of a character, of which no URI holds only one. */
function isLow (code: number): boolean {
  return code >= 0xDC00 && code <= 0xDFFF
}
