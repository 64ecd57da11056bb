import { errorCodes } from '../errors.ts'
import { ENCODED, readUri } from './uri.ts'

/** How an expression is written and read (RFC 6570, appendix A). */
export interface Operator {
  readonly sign: string
  /** What it writes first; '' when it writes nothing of its own, and then it cannot be left out of a URI. */
  readonly first: string
  readonly separator: string
  readonly named: boolean
  readonly ifEmpty: string
  /** Whether its values keep reserved characters. */
  readonly reserved: boolean
  /** Raw characters that its values may hold in a URI, beside those of every value. */
  readonly also: string
  /** What its values never hold, raw or encoded as it is here. */
  readonly never: string
}

export interface Variable {
  readonly name: string
  /** What the name of a parameter is compared with, which is the text of a decoded one. */
  readonly key: string
  readonly exploded: boolean
  /** The most characters of the value that are written and read. */
  readonly most: number
}

/** 1 for each character of ASCII, by its code in the text of a decoded URI, that belongs to it; all others do. */
export type CharClass = Uint8Array

export function holds (chars: CharClass, code: number): boolean {
  return code > 127 || chars[code] === 1
}

export interface Expression {
  readonly operator: Operator
  readonly variables: readonly Variable[]
  /** What its values may hold. */
  readonly chars: CharClass
}

export interface Literal {
  readonly text: string
  /** What the text of a decoded URI is compared with. */
  readonly key: string
}

/** A template is literals and expressions in turn. */
export type Part = Literal | Expression

export function isLiteral (part: Part): part is Literal {
  return 'text' in part
}

/** All variables of a template, in its order. */
export function variablesOf (parts: readonly Part[]): Variable[] {
  return parts.flatMap(part => isLiteral(part) ? [] : part.variables)
}

const PATH = '%2F%5C'
const plain = { named: false, ifEmpty: '', reserved: false, also: '', never: PATH }
const list: Operator[] = [
  { ...plain, sign: '', first: '', separator: ',' },
  { ...plain, sign: '+', first: '', separator: ',', reserved: true, also: '/?#[]&,;', never: '%5C' },
  { ...plain, sign: '#', first: '#', separator: ',', reserved: true, also: '/?#[]&,;', never: '%5C' },
  // A dot is unreserved, but then nobody could tell where the next value begins.
  { ...plain, sign: '.', first: '.', separator: '.', never: `${PATH}.` },
  { ...plain, sign: '/', first: '/', separator: '/' },
  { ...plain, sign: ';', first: ';', separator: ';', named: true, also: ';' },
  { ...plain, sign: '?', first: '?', separator: '&', named: true, ifEmpty: '=', also: '/?,;&', never: '' },
  { ...plain, sign: '&', first: '&', separator: '&', named: true, ifEmpty: '=', also: '/?,;&', never: '' }
]
const operators = new Map(list.map(operator => [operator.sign, operator]))

// Unreserved, and what clients often leave raw although simple expansion encodes it.
const EVERYWHERE = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:@!$'()*+="
const SCHEME = /^[a-z][a-z0-9+.-]*:/
const TOKENS = /\{[^{}]*\}|[{}]|[^{}]+/g
const NAME = /^(?:\w|%[\da-fA-F]{2})+(?:\.(?:\w|%[\da-fA-F]{2})+)*$/
const SPECIFIER = /^([^*:]*)(?:(\*)|:([1-9]\d{0,3}))?$/
const NOT_LITERAL = /[\s"<>\\^`|]/
const MAX_LENGTH = 2048
const MAX_VARIABLES = 32

/** Takes a template apart. Throws FST_MCP_TEMPLATE_INVALID. */
export function parseTemplate (template: string): Part[] {
  const refuse: Refuse = reason => new errorCodes.FST_MCP_TEMPLATE_INVALID(String(template).slice(0, MAX_LENGTH), reason)
  if (typeof template !== 'string') throw refuse(`it must be a string, got ${typeof template}`)
  if (template.length > MAX_LENGTH) throw refuse(`it is longer than ${MAX_LENGTH} characters`)
  if (!SCHEME.test(template)) throw refuse('it must begin with a scheme in lower case, such as `file:`')
  const parts = [...template.matchAll(TOKENS)].map(([token]) => {
    if (token === '{' || token === '}') throw refuse('its braces do not pair')
    return token.startsWith('{') ? parseExpression(token.slice(1, -1), refuse) : parseLiteral(token, refuse)
  })
  const variables = variablesOf(parts)
  if (variables.length > MAX_VARIABLES) throw refuse(`it has more than ${MAX_VARIABLES} variables`)
  const twice = variables.find(({ key }, index) => variables.findIndex(other => other.key === key) !== index)
  if (twice !== undefined) throw refuse(`the variable "${twice.name}" is there twice`)
  return parts.map((part, index) => isLiteral(part) ? part : besideOthers(part, parts.slice(index + 1), refuse))
}

type Refuse = (reason: string) => Error

function parseLiteral (text: string, refuse: Refuse): Literal {
  const { text: key, fault } = readUri(text)
  if (fault !== undefined) throw refuse(fault)
  const [bad] = NOT_LITERAL.exec(text) ?? []
  if (bad !== undefined) throw refuse(`it holds ${JSON.stringify(bad)}, which no URI may`)
  return { text, key }
}

function parseExpression (text: string, refuse: Refuse): Expression {
  if (text === '') throw refuse('an expression is empty')
  const [sign = ''] = /^[^\w%]/u.exec(text) ?? []
  if (sign !== '' && '=,!@|'.includes(sign)) throw refuse(`the operator "${sign}" is reserved`)
  const operator = operators.get(sign)
  if (operator === undefined) throw refuse(`the operator "${sign}" is not known`)
  const variables = text.slice(sign.length).split(',').map(specifier => parseVariable(specifier, refuse))
  const [exploded] = variables.slice(0, -1).filter(({ exploded }) => exploded)
  if (exploded !== undefined && !operator.named) {
    throw refuse(`nobody can tell where the list "${exploded.name}" ends; put it last in its expression`)
  }
  // Reserved expansion leaves a comma of a value raw, so an encoded one would come back as a border.
  const isList = operator.reserved && (variables.length > 1 || variables.some(({ exploded }) => exploded))
  return { operator, variables, chars: charsOf(operator.also, isList ? `${operator.never}%2C` : operator.never) }
}

function parseVariable (specifier: string, refuse: Refuse): Variable {
  const [, name, star, most] = SPECIFIER.exec(specifier) ?? []
  if (name === undefined) throw refuse(`"${specifier}" is not a variable; what may follow a name is \`*\` or a prefix from \`:1\` to \`:9999\``)
  const { text: key, fault } = readUri(name)
  if (!NAME.test(name) || fault !== undefined) throw refuse(`"${name}" is not a name of a variable`)
  return { name, key, exploded: star !== undefined, most: most === undefined ? Infinity : Number(most) }
}

function charsOf (also: string, never: string): CharClass {
  const chars = new Uint8Array(128)
  // Beyond ASCII, all but the official syntax leaves characters raw.
  for (const char of EVERYWHERE + also + ENCODED) chars[char.charCodeAt(0)] = 1
  return without(chars, never)
}

function without (chars: CharClass, never: string): CharClass {
  const { text } = readUri(never)
  return chars.map((taken, code) => text.includes(String.fromCharCode(code)) ? 0 : taken)
}

/** The expression as it can be read in front of those that follow it without a literal between. */
function besideOthers (expression: Expression, rest: Part[], refuse: Refuse): Expression {
  const { operator, chars, variables } = expression
  const border = rest.findIndex(isLiteral)
  const followers = (border === -1 ? rest : rest.slice(0, border)).filter(part => 'operator' in part)
  // Where a query or a fragment may begin, the rest of a path does not hold one.
  const atEnd = operator.sign === '+' && followers.some(({ operator: { first } }) => first === '?' || first === '#')
  const ends = atEnd ? '?#%3F%23' : ''
  for (const follower of followers) {
    const { first } = follower.operator
    if (first === '' || first === operator.first || (holds(chars, first.charCodeAt(0)) && !ends.includes(first))) {
      const [left, right] = [variables[0]?.name, follower.variables[0]?.name]
      throw refuse(`nobody can tell where "${left}" ends and "${right}" begins; put a literal between them or both in one expression`)
    }
  }
  return { ...expression, chars: without(chars, ends) }
}
