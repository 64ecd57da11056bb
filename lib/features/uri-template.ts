import { type DecodedUri, encodeValue, readUri } from './uri.ts'
import { type Expression, isLiteral, type Part, parseTemplate, type Variable, variablesOf } from './uri-expression.ts'
import { compileMatcher, type Matcher } from './uri-match.ts'

const MAX_LENGTH = 65_536

/** The values of a template's variables, by name. It has no prototype, and no member for what is missing in the URI. */
export type Variables = Readonly<Record<string, string | readonly string[] | undefined>>

/**
 * A URI template (RFC 6570, levels 1 to 4, without associative arrays) of a resource; parsed once, read many times.
 * Throws FST_MCP_TEMPLATE_INVALID. Specification: server/resources, "Resource Templates".
 */
export class UriTemplate {
  readonly template: string
  /** The names of the variables, in the order of the template. */
  readonly names: readonly string[]
  readonly #scheme: string
  readonly #parts: readonly Part[]
  readonly #matcher: Matcher

  constructor (template: string) {
    this.#parts = parseTemplate(template)
    this.template = template
    this.#scheme = template.slice(0, template.indexOf(':') + 1)
    this.names = variablesOf(this.#parts).map(({ name }) => name)
    this.#matcher = compileMatcher(this.#parts)
  }

  /** Writes the URI. Undefined and empty lists are left out. Throws FST_MCP_URI_INVALID when a value holds a lone surrogate. */
  expand (variables: Record<string, string | readonly string[] | undefined>): string {
    return this.#parts.map(part => isLiteral(part) ? encodeValue(part.text, true) : expandExpression(part, variables)).join('')
  }

  /**
   * The variables of a URI, percent-decoded once; undefined when it is not one of this template, or gives a value that is
   * not safe to join to a path. Values of a query are not looked at.
   *
   * - Where a border could be in several places, the earlier variable takes as much as it can: `{name}.{ext}` reads `a.tar.gz` as `a.tar` and `gz`.
   * - The scheme is compared as it is written; elsewhere `a` and `%61` are the same, `/` and `%2F` are not.
   * - `{x}` and `{+x}` are there and not empty; what other expressions write may be missing, but `{/x}`, `{.x}` and `{#x}` are not empty.
   * - `:@!$'()*+=` and letters beyond ASCII may be raw; `,`, `/`, `?` and `;` too in a query, where `+` is a plus and no space.
   * - A list comes back from `{x*}` only.
   * - A triplet in a value (`%252e` gives `%2e`) is one that `{+x}` and `{#x}` write as it is: only there does `expand` give another URI.
   * - Parameters after `;`, `?` and `&` come in any order, each once unless exploded.
   *
   * Takes time by the length of the URI, and where a border could be in several places time and memory by that times the
   * length of the template: check the length first. Beyond 65,536 characters nothing matches.
   * For many templates, decode the URI once with `readUri`.
   */
  match (uri: string | DecodedUri): Variables | undefined {
    const given = typeof uri === 'string' ? uri : uri.uri
    if (given.length > MAX_LENGTH || !given.startsWith(this.#scheme)) return undefined
    return this.#matcher(typeof uri === 'string' ? readUri(uri).text : uri.text)
  }
}

function expandExpression ({ operator, variables: specified }: Expression, variables: Variables): string {
  const { first, separator, named, ifEmpty, reserved } = operator
  const name = (variable: Variable, text: string): string => {
    if (!named) return text
    return variable.name + (text === '' ? ifEmpty : `=${text}`)
  }
  const written = specified.flatMap(variable => {
    // Not what Object.prototype has.
    const value = Object.hasOwn(variables, variable.name) ? variables[variable.name] : undefined
    if (value === undefined) return []
    if (typeof value === 'string') return [name(variable, encodeValue([...value].slice(0, variable.most).join(''), reserved))]
    const items = value.map(item => encodeValue(item, reserved))
    if (items.length === 0) return []
    return variable.exploded ? items.map(item => name(variable, item)) : [name(variable, items.join(','))]
  })
  return written.length === 0 ? '' : first + written.join(separator)
}

/**
 * The variables of a template, inferred from its text:
 * `'users://{id}/posts{?page,tags*}'` gives `{ id: string, page?: string, tags?: string[] }`.
 */
export type VariablesOf<Template extends string> = string extends Template ? Variables : Flat<Collect<Template>>

type Flat<T> = { [Name in keyof T]: T[Name] }

type Collect<Template extends string, Found = unknown> = Template extends `${string}{${infer Text}}${infer Rest}`
  ? Collect<Rest, Found & FromExpression<Text>>
  : Found

type FromExpression<Text extends string> = Text extends `${'#' | '.' | '/' | ';' | '?' | '&'}${infer List}`
  ? Partial<FromList<List>>
  : Text extends `+${infer List}` ? FromList<List> : FromList<Text>

type FromList<List extends string, Found = unknown> = List extends `${infer Head},${infer Rest}`
  ? FromList<Rest, Found & FromVariable<Head>>
  : Found & FromVariable<List>

type FromVariable<Text extends string> = Text extends `${infer Name}*`
  ? Record<Name, string[]>
  : Text extends `${infer Name}:${string}` ? Record<Name, string> : Record<Text, string>
