import { isDots, readUnits, type Unit } from './uri.ts'
import { type Expression, isLiteral, type Operator, type Part, type Variable } from './uri-expression.ts'
import type { Variables } from './uri-template.ts'

/** Reads the variables out of a URI; undefined when it does not match. */
export type Matcher = (uri: string) => Variables | undefined

type Found = [name: string, value: string | string[]][]

/** What a template asks of a URI, from left to right. */
type Step =
  | { readonly kind: 'literal', readonly keys: readonly string[] }
  /** What follows may be missing, and then `skip` is the step to go on with. */
  | { readonly kind: 'fork', readonly skip: number }
  | Run

/** At least one character, and what they give; undefined when they give nothing safe. */
interface Run {
  readonly kind: 'run'
  readonly takes: Expression['takes']
  /** Between the items of a list: neither first nor last, nor two in a row. */
  readonly separator: string | undefined
  readonly most: number
  readonly read: (units: readonly Unit[]) => Found | undefined
}

/** By position in the URI: where a step ends that begins there and after which all others match. */
type Ends = (number | undefined)[]

// The tables of a match take memory by the length of the URI.
const MAX_LENGTH = 65_536

/** Makes the matcher of a parsed template. */
export function compileMatcher (parts: readonly Part[]): Matcher {
  const steps: Step[] = []
  for (const part of parts) steps.push(...isLiteral(part) ? [literal(part.keys)] : stepsOf(part, steps.length))
  return uri => {
    if (uri.length > MAX_LENGTH) return undefined
    const units = readUnits(uri)
    return typeof units === 'string' ? undefined : walk(steps, units)
  }
}

function literal (keys: Iterable<string>): Step {
  return { kind: 'literal', keys: [...keys] }
}

/** `at` is the number of the first step. */
function stepsOf (expression: Expression, at: number): Step[] {
  const { operator: { sign, first, separator, named }, variables } = expression
  if (named) return [{ kind: 'fork', skip: at + 3 }, literal(first), namedRun(expression)]
  const values = variables.map(variable => valueRun(expression, variable))
  // Each value of these may be missing, the last ones first; of the others all are there, or none.
  if (sign === '/' || sign === '.') {
    const fork: Step = { kind: 'fork', skip: at + 3 * values.length }
    return values.flatMap(value => [fork, literal(first), value])
  }
  const steps = values.flatMap((value, index) => index === 0 ? [value] : [literal(separator), value])
  return first === '' ? steps : [{ kind: 'fork', skip: at + 2 + steps.length }, literal(first), ...steps]
}

function valueRun ({ operator, takes }: Expression, { name, exploded, most }: Variable): Run {
  const separator = exploded ? operator.separator : undefined
  return {
    kind: 'run',
    takes,
    separator,
    most,
    read (units) {
      const values = split(units, separator).map(textOf)
      if (!values.every(value => isSafe(value, operator))) return undefined
      return [[name, exploded ? values : values.join('')]]
    }
  }
}

/** Parameters in any order; one that the template does not name, or that comes twice, makes the URI another one. */
function namedRun ({ operator, takes, variables }: Expression): Run {
  const byKey = new Map(variables.map(variable => [variable.key, variable]))
  return {
    kind: 'run',
    takes,
    separator: operator.separator,
    most: Infinity,
    read (units) {
      const found = new Map<Variable, string[]>()
      for (const parameter of split(units, operator.separator)) {
        const border = parameter.findIndex(({ key }) => key === '=')
        const [name, value] = border === -1 ? [parameter, []] : [parameter.slice(0, border), parameter.slice(border + 1)]
        const variable = byKey.get(name.map(({ key }) => key).join(''))
        if (variable === undefined || value.length > variable.most || !isSafe(textOf(value), operator)) return undefined
        const values = found.get(variable)
        if (values === undefined) found.set(variable, [textOf(value)])
        else if (!variable.exploded) return undefined
        else values.push(textOf(value))
      }
      return [...found].map(([{ name, exploded }, values]) => [name, exploded ? values : values.join('')])
    }
  }
}

function textOf (units: readonly Unit[]): string {
  return units.map(({ value }) => value).join('')
}

function split (units: readonly Unit[], separator: string | undefined): Unit[][] {
  let item: Unit[] = []
  const items = [item]
  for (const unit of units) {
    if (unit.key === separator) items.push(item = [])
    else item.push(unit)
  }
  return items
}

const ROOTED = /^(?:[/\\]|[A-Za-z]:)/

/** Whether a handler may join the value to a path; characters that it may not hold were refused before. What is in a query is no path. */
function isSafe (value: string, { reserved, also }: Operator): boolean {
  if (reserved) return !ROOTED.test(value) && !value.split(/[/?#]/).some(isDots)
  return also.includes('/') || !isDots(value)
}

function walk (steps: readonly Step[], units: readonly Unit[]): Variables | undefined {
  const tables = solve(steps, units)
  const found: Record<string, string | string[]> = Object.create(null)
  let at = 0
  let next = 0
  for (const [index, step] of steps.entries()) {
    if (index < next) continue
    if (step.kind === 'fork') {
      if (tables.get(index + 1)?.[at] === undefined) next = step.skip
      continue
    }
    const end = tables.get(index)?.[at]
    // Only the first step can say so: it looked at all others.
    if (end === undefined) return undefined
    if (step.kind === 'run') {
      const values = step.read(units.slice(at, end))
      if (values === undefined) return undefined
      for (const [name, value] of values) found[name] = value
    }
    at = end
  }
  return found
}

/** The ends of each step, from the last to the first, so that nothing is ever tried twice. */
function solve (steps: readonly Step[], units: readonly Unit[]): Map<number, Ends> {
  const after = new Array<number | undefined>(units.length + 1)
  after[units.length] = units.length
  const tables = new Map<number, Ends>([[steps.length, after]])
  steps.reduceRight((next, step, index) => {
    const ends = endsOf(step, units, next, tables)
    tables.set(index, ends)
    return ends
  }, after)
  return tables
}

function endsOf (step: Step, units: readonly Unit[], next: Ends, tables: Map<number, Ends>): Ends {
  if (step.kind === 'run') return runEnds(step, units, next)
  if (step.kind === 'fork') {
    const skipped = tables.get(step.skip)
    return Array.from(next, (end, index) => end ?? skipped?.[index])
  }
  const { keys } = step
  return Array.from(next, (_, index) => {
    const end = index + keys.length
    return next[end] !== undefined && keys.every((key, offset) => units[index + offset]?.key === key) ? end : undefined
  })
}

function runEnds ({ takes, separator, most }: Run, units: readonly Unit[], next: Ends): Ends {
  // By position: the last one up to there where the run may end.
  const last: number[] = []
  for (let index = 0, found = 0; index <= units.length; index++) {
    if (next[index] !== undefined && units[index - 1]?.key !== separator) found = index
    last.push(found)
  }
  const ends = new Array<number | undefined>(units.length + 1)
  units.reduceRight((stop, { key }, index) => {
    const isSeparator = key === separator
    if (isSeparator ? units[index - 1]?.key === separator : !takes(key)) return index
    const end = last[Math.min(stop, index + most)]
    if (!isSeparator && end !== undefined && end > index) ends[index] = end
    return stop
  }, units.length)
  return ends
}
