import { isDots, valueOf } from './uri.ts'
import { type CharClass, type Expression, holds, isLiteral, type Operator, type Part, type Variable } from './uri-expression.ts'

type Found = [name: string, value: string | string[]][]

/** What a template asks of the text of a decoded URI, and what it asks after that. */
export type Step = LiteralStep | Fork | Run | { readonly kind: 'end' }

export interface LiteralStep {
  readonly kind: 'literal'
  readonly text: string
  readonly next: Step
}

/** What follows may be missing, and then `skip` is the step to go on with. */
interface Fork {
  readonly kind: 'fork'
  readonly next: LiteralStep
  readonly skip: Step
  /** Whether the next character tells which. */
  readonly isSure: boolean
}

/** At least one character, and what they give; undefined when they give nothing safe. */
export interface Run {
  readonly kind: 'run'
  /** What it may hold, the separator included. */
  readonly chars: CharClass
  /** Between the items of a list: neither first nor last, nor two in a row. '' when it is no list. */
  readonly separator: string
  readonly most: number
  readonly read: (text: string) => Found | undefined
  readonly next: Step
  /** Whether it ends where something comes that it cannot hold, and nowhere before. */
  readonly isSure: boolean
}

/** The first step of a parsed template. */
export function stepsOf (parts: readonly Part[]): Step {
  return parts.reduceRight<Step>((next, part) => isLiteral(part) ? literal(part.key, next) : expressionSteps(part, next), { kind: 'end' })
}

function literal (text: string, next: Step): LiteralStep {
  return { kind: 'literal', text, next }
}

function expressionSteps (expression: Expression, next: Step): Step {
  const { operator: { sign, first, separator, named }, variables } = expression
  if (named) return fork(literal(first, namedRun(expression, next)), next)
  // Each value of these may be missing, the last ones first; of the others all are there, or none.
  if (sign === '/' || sign === '.') {
    return variables.reduceRight((rest, variable) => fork(literal(first, valueRun(expression, variable, rest)), next), next)
  }
  const values = variables.reduceRight((rest, variable, index) => {
    const value = valueRun(expression, variable, rest)
    return index === 0 ? value : literal(separator, value)
  }, next)
  return first === '' ? values : fork(literal(first, values), next)
}

function fork (next: LiteralStep, skip: Step): Fork {
  return { kind: 'fork', next, skip, isSure: !startsOf(skip).includes(next.text) }
}

function run (expression: Expression, { separator, most, read }: Pick<Run, 'separator' | 'most' | 'read'>, next: Step): Run {
  const chars = expression.chars.slice()
  for (const char of separator) chars[char.charCodeAt(0)] = 1
  return { kind: 'run', chars, separator, most, read, next, isSure: ![...startsOf(next)].some(start => holds(chars, start.charCodeAt(0))) }
}

/** The characters that can come first where an expression ends: never those of a value, as a template that has one there is refused. */
function startsOf (step: Step): string {
  if (step.kind === 'fork') return step.next.text.charAt(0) + startsOf(step.skip)
  return step.kind === 'literal' ? step.text.charAt(0) : ''
}

function valueRun (expression: Expression, { name, exploded, most }: Variable, next: Step): Run {
  const { operator } = expression
  const separator = exploded ? operator.separator : ''
  const read: Run['read'] = text => {
    const values = (exploded ? text.split(separator) : [text]).map(valueOf)
    if (!values.every(value => isSafe(value, operator))) return undefined
    return [[name, exploded ? values : values.join('')]]
  }
  return run(expression, { separator, most, read }, next)
}

/** Parameters in any order; one that the template does not name, or that comes twice, makes the URI another one. */
function namedRun (expression: Expression, next: Step): Run {
  const { operator, variables } = expression
  const byKey = new Map(variables.map(variable => [variable.key, variable]))
  const read: Run['read'] = text => {
    const found = new Map<Variable, string[]>()
    for (const parameter of text.split(operator.separator)) {
      const [key = ''] = parameter.split('=', 1)
      const variable = byKey.get(key)
      const written = parameter.slice(key.length + 1)
      const value = valueOf(written)
      if (variable === undefined || isLonger(written, variable.most) || !isSafe(value, operator)) return undefined
      const values = found.get(variable)
      if (values === undefined) found.set(variable, [value])
      else if (!variable.exploded) return undefined
      else values.push(value)
    }
    return [...found].map(([{ name, exploded }, values]) => [name, exploded ? values : values.join('')])
  }
  return run(expression, { separator: operator.separator, most: Infinity, read }, next)
}

/** Whether a text has more characters than that; its length counts those beyond U+FFFF twice. */
export function isLonger (text: string, most: number): boolean {
  return text.length > most && [...text].length > most
}

const ROOTED = /^(?:[/\\]|[A-Za-z]:)/

/** Whether a handler may join the value to a path; characters that it may not hold were refused before. What is in a query is no path. */
function isSafe (value: string, { reserved, also }: Operator): boolean {
  if (reserved) return !ROOTED.test(value) && !value.split(/[/?#]/).some(isDots)
  return also.includes('/') || !isDots(value)
}
