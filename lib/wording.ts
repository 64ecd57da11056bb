import { z } from 'zod'

const TYPES = new Map<string, string>([
  ['object', 'an object'], ['array', 'an array'], ['string', 'a string'], ['number', 'a number'], ['int', 'a whole number'], ['boolean', 'true or false'], ['record', 'an object']
])
const PARTS = new Map<string, string>([['string', 'characters'], ['array', 'entries']])

/** How much of something: characters of a string, entries of an array, or a number itself. */
function amount (origin: string, bound: string, limit: unknown): string {
  const parts = PARTS.get(origin)
  if (parts === undefined) return `must be ${bound} ${String(limit)}`
  return bound === 'at least' && limit === 1 ? 'must not be empty' : `must have ${bound} ${String(limit)} ${parts}`
}

/** Says what a value must be, where its schema has no words of its own: the error map for what whoever starts a server got wrong. */
export const must: z.core.$ZodErrorMap = issue => {
  switch (issue.code) {
    case 'invalid_type': return `must be ${TYPES.get(issue.expected) ?? issue.expected}`
    case 'invalid_value': return `must be ${issue.values.map(value => JSON.stringify(value)).join(' or ')}`
    case 'too_small': return amount(issue.origin, 'at least', issue.minimum)
    case 'too_big': return amount(issue.origin, 'at most', issue.maximum)
    default: return undefined
  }
}

// What only says that a value is of another form.
const OTHER_FORM = new Set<string | undefined>(['invalid_type', 'invalid_value'])
const MUST_BE = 'must be '

/** What is wrong with a value that may have several forms: all that is with the one that it has, or else that it must have one of them. */
function told (issue: z.core.$ZodIssue): z.core.$ZodIssue[] {
  if (issue.code !== 'invalid_union') return [issue]
  const { path } = issue
  const forms = issue.errors.map(found => found.map(inner => ({ ...inner, path: [...path, ...inner.path] })))
  const own = forms.find(found => found.some(inner => inner.path.length > path.length || !OTHER_FORM.has(inner.code)))
  if (own !== undefined) return own.flatMap(told)
  const message = MUST_BE + forms.flat().map(inner => inner.message.replace(MUST_BE, '')).join(' or ')
  return [{ ...issue, message }]
}

/** Every name in a schema of options, with dots. */
export function namesIn (schema: z.core.$ZodType, prefix = ''): string[] {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault) return namesIn(schema.unwrap(), prefix)
  if (schema instanceof z.ZodUnion) return schema.options.flatMap(form => namesIn(form, prefix))
  if (!(schema instanceof z.ZodObject)) return []
  return Object.entries(schema.shape).flatMap(([key, inner]) => [prefix + key, ...namesIn(inner, `${prefix}${key}.`)])
}

// Shorter ones are part of anything.
const SHORTEST = 4
const MANY = 3

/** 0 for the same letters, more the less alike two names are. */
function unlikeness (a: string, b: string): number {
  const [short, long] = a.length < b.length ? [a, b] : [b, a]
  if (short === long) return 0
  if (`${short}s` === long) return 1
  return short.length >= SHORTEST && long.includes(short) ? 2 : Infinity
}

/** What somebody may have meant by a name that is none. */
function meant (wrong: string, names: readonly string[]): string {
  const letters = (name: string): string => name.slice(name.lastIndexOf('.') + 1).toLowerCase()
  const ranked = names.map(name => ({ name, rank: unlikeness(wrong.toLowerCase(), letters(name)) })).filter(({ rank }) => rank < Infinity)
  const best = ranked.filter(({ rank }) => ranked.every(other => other.rank >= rank)).slice(0, MANY)
  return best.length === 0 ? '' : ` (did you mean ${best.map(({ name }) => `\`${name}\``).join(' or ')}?)`
}

// As every option is called.
const NAME = /^[a-z]+$/i

/** How what is wrong with some options is told. */
export interface Telling {
  /** Goes before every name. */
  readonly section: readonly string[]
  /** All that there are, with dots. */
  readonly names: readonly string[]
  isSecret (path: readonly PropertyKey[], value: unknown): boolean
  /** Whether a secret may stand there in the place of a name, as where somebody lists principals by their tokens. */
  mayHoldSecrets (path: readonly PropertyKey[]): boolean
}

/** Says all that is wrong with some options, and repeats no secret. */
export function tell ({ issues }: z.ZodError, given: unknown, telling: Telling): string {
  return issues.flatMap(told).map(issue => describe(issue, given, telling)).join('; ')
}

function describe (issue: z.core.$ZodIssue, given: unknown, telling: Telling): string {
  const path = [...telling.section, ...issue.path]
  if (issue.code === 'unrecognized_keys') return issue.keys.map(key => unknown(path, key, telling.names, telling.mayHoldSecrets(issue.path))).join('; ')
  const name = path.join('.')
  const value = valueAt(given, issue.path)
  // As where an environment variable is not set.
  if (issue.code === 'invalid_type' && value === undefined) return `\`${name}\` is missing`
  return `\`${name}\` ${issue.message}, got ${quote(value, telling.isSecret(issue.path, value))}`
}

/** Says that a name is no option. What is like no other name is not repeated where it may be a secret. */
function unknown (path: readonly PropertyKey[], key: string, names: readonly string[], mayBeSecret: boolean): string {
  const hint = meant(key, names)
  if (NAME.test(key) && (hint !== '' || !mayBeSecret)) return `\`${[...path, key].join('.')}\` is not an option${hint}`
  return path.length === 0 ? 'there is a name that is not an option' : `\`${path.join('.')}\` has a name that is not an option`
}

/** What stands at the path of an issue. */
export function valueAt (given: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((object, key) => Reflect.get(Object(object), key), given)
}

// A URL may hold a password or a key.
const MAY_HOLD_SECRET = /@|\?.*=/s
const MAX_QUOTED = 200

/** Objects are named by their kind alone: a token or a client with its password may be inside. */
export function quote (value: unknown, isSecret: boolean): string {
  switch (typeof value) {
    case 'string': return quoteText(value, isSecret)
    case 'function': return 'a function'
    case 'object': return value === null ? 'null' : Array.isArray(value) ? 'an array' : 'an object'
    case 'number':
    case 'bigint':
    case 'symbol': return isSecret ? `a ${typeof value}` : String(value)
    default: return String(value)
  }
}

function quoteText (text: string, isSecret: boolean): string {
  if (isSecret && text !== '') return 'a secret'
  if (MAY_HOLD_SECRET.test(text)) return 'a text that may hold a secret'
  return JSON.stringify(text.length > MAX_QUOTED ? `${text.slice(0, MAX_QUOTED)}…` : text)
}
