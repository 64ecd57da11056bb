import { _, Ajv, type ErrorObject, type FuncKeywordDefinition, type KeywordCxt, type Options } from 'ajv'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { copyJson } from './json-copy.ts'
import { compilePattern, type Pattern } from './pattern.ts'
import type { CompiledSchema, JsonSchema } from './schema.ts'

const DIALECT_2020 = /^https?:\/\/json-schema\.org\/draft\/2020-12\/schema#?$/
const DIALECT_07 = /^https?:\/\/json-schema\.org\/draft-07\/schema#?$/
const SERVED = 'https://json-schema.org/draft/2020-12/schema and http://json-schema.org/draft-07/schema'

// An error of Ajv can repeat a key of the input, and keys may be as long as the body.
const MAX_QUOTED = 200
const MAX_PATTERNS = 100
// About a second of work; a schema of a few lines can ask for more than the age of the universe.
const MAX_STEPS = 100_000_000
const STEPS_OF_REF = 10
const STEPS_OF_VALUE = 20

const options = { strict: false, validateFormats: false, logger: false } as const satisfies Options

let judge2020: Ajv2020 | undefined
let judge07: Ajv | undefined

/** Judges by the meta-schema of the dialect, once compiled for all; what is judged leaves nothing behind in it. */
function judge (schema: JsonSchema, isDraft07: boolean): void {
  const ajv = isDraft07 ? (judge07 ??= new Ajv(options)) : (judge2020 ??= new Ajv2020(options))
  const meta = isDraft07 ? 'http://json-schema.org/draft-07/schema' : 'https://json-schema.org/draft/2020-12/schema'
  if (ajv.validate(meta, schema) !== true) throw new TypeError(`the schema is invalid: ${ajv.errorsText(ajv.errors, { dataVar: 'schema' })}`)
}

/**
 * Makes a plain JSON Schema ready. It may come from anywhere: nothing is fetched, patterns run in linear time, and a check that
 * would take more than about a second fails instead. Throws a TypeError, or what Ajv throws, when it cannot be used.
 */
export function compileJson (given: JsonSchema): CompiledSchema {
  const json = copyJson(given)
  const { $schema } = json
  const isDraft07 = typeof $schema === 'string' && DIALECT_07.test($schema)
  if (!isDraft07 && $schema !== undefined && !(typeof $schema === 'string' && DIALECT_2020.test($schema))) {
    throw new TypeError(`its $schema ${quote($schema)} is not served; served: ${SERVED}, and without $schema the first`)
  }
  if (json.$async === true) throw new TypeError('`$async` is not part of JSON Schema')
  judge(json, isDraft07)
  const anchors = new Set<string>()
  readNames(json, anchors)

  const meter = new Meter()
  // Each schema has a compiler of its own: names that one schema takes mean nothing to another, and all memory goes with the tool.
  const code = { optimize: false, regExp: patternsOf(meter) }
  const own = { ...options, validateSchema: false, inlineRefs: false, ownProperties: true, code }
  const ajv = isDraft07 ? new Ajv(own) : new Ajv2020(own)
  countRefs(ajv, meter, json, anchors)
  addEquality(ajv, meter)
  const check = ajv.compile(json)
  return {
    json,
    validate (value) {
      meter.reset()
      try {
        if (check(value) === true) return { ok: true, value }
      } catch (error) {
        // Out of steps, or out of stack.
        if (error instanceof RangeError) return { ok: false, message: `arguments cannot be checked: ${error.message}` }
        throw error
      }
      return { ok: false, message: String(check.errors?.slice(0, 1).map(describe)) }
    }
  }
}

function describe ({ instancePath, message }: ErrorObject): string {
  const path = instancePath.length > MAX_QUOTED ? `${instancePath.slice(0, MAX_QUOTED)}...` : instancePath
  return `arguments${path} ${String(message).slice(0, MAX_QUOTED)}`
}

function quote (value: unknown): string {
  return JSON.stringify(value).slice(0, MAX_QUOTED)
}

/** Collects what a `$dynamicRef` may name. An `$id` that looks like a place inside a schema can send the compiler in circles. */
function readNames (value: unknown, anchors: Set<string>): void {
  if (typeof value !== 'object' || value === null) return
  for (const [key, member] of Object.entries(value)) {
    if (typeof member !== 'string') readNames(member, anchors)
    else if (key === '$dynamicAnchor') anchors.add(`#${member}`)
    else if (key === '$id' && /#[^A-Za-z_]/.test(member)) throw new TypeError(`the $id ${quote(member)} has a fragment that is not a plain name`)
  }
}

/** Counts the work of one check. */
class Meter {
  #left = MAX_STEPS

  reset (): void {
    this.#left = MAX_STEPS
  }

  spend (steps: number): void {
    this.#left -= steps
    if (this.#left < 0) throw new RangeError(`it takes more than ${MAX_STEPS} steps`)
  }
}

function patternsOf (meter: Meter) {
  const patterns = new Map<string, Pattern>()
  const engine = (source: string) => {
    const pattern = patterns.get(source) ?? compilePattern(source)
    if (patterns.set(source, pattern).size > MAX_PATTERNS) throw new TypeError(`it has more than ${MAX_PATTERNS} patterns`)
    return {
      test (text: string): boolean {
        meter.spend(pattern.size * (text.length + 1))
        return pattern.test(text)
      },
      // Ajv tells patterns apart by this.
      toString: () => source
    }
  }
  // Only written into code that Ajv prints, which is never done here.
  return Object.assign(engine, { code: 'linear' })
}

/** References are where checks multiply, and where Ajv takes for granted what is not there. */
function countRefs (ajv: Ajv, meter: Meter, json: JsonSchema, anchors: Set<string>): void {
  const step = (): void => meter.spend(STEPS_OF_REF)
  for (const keyword of ['$ref', '$dynamicRef']) {
    const definition = ajv.getKeyword(keyword)
    if (typeof definition !== 'object' || !('code' in definition)) continue
    ajv.removeKeyword(keyword).addKeyword({
      ...definition,
      keyword,
      code (cxt: KeywordCxt) {
        const ref = String(cxt.schema)
        const { baseId, opts: { uriResolver }, schemaEnv: { root } } = cxt.it
        // Ajv looks names up in plain objects, and runs the current schema again for a dynamic name that it does not know.
        const isUnknown = keyword === '$ref'
          ? String(uriResolver.resolve(baseId, ref).split('#')[0]) in Object.prototype
          : root.schema === json && !anchors.has(ref)
        if (isUnknown) throw new TypeError(`can't resolve reference ${quote(ref)}`)
        cxt.gen.code(_`${cxt.gen.scopeValue('func', { ref: step })}()`)
        definition.code(cxt)
      }
    })
  }
}

/** `const`, `enum` and `uniqueItems` in linear time; those of Ajv compare pairs, and call what an input names `valueOf`. */
function addEquality (ajv: Ajv, meter: Meter): void {
  const add = (definition: FuncKeywordDefinition & { keyword: string }, message: string): void => {
    ajv.removeKeyword(definition.keyword).addKeyword({ ...definition, errors: false, error: { message } })
  }
  const among = (values: readonly unknown[]) => {
    const allowed = new JsonSet(meter)
    for (const value of values) allowed.add(value)
    return (value: unknown): boolean => allowed.has(value)
  }
  add({ keyword: 'const', compile: (value: unknown) => among([value]) }, 'must be equal to constant')
  add({ keyword: 'enum', schemaType: 'array', compile: among }, 'must be equal to one of the allowed values')
  add({
    keyword: 'uniqueItems',
    type: 'array',
    schemaType: 'boolean',
    compile: (isOn: boolean) => (items: readonly unknown[]) => {
      const seen = new JsonSet(meter)
      return !isOn || items.every(item => seen.add(item))
    }
  }, 'must NOT have duplicate items')
}

/** A set of JSON values, equal whatever the order of their members. */
class JsonSet {
  readonly #meter: Meter
  readonly #flat = new Set<unknown>()
  readonly #deep = new Set<string>()

  constructor (meter: Meter) {
    this.#meter = meter
  }

  has (value: unknown): boolean {
    if (typeof value !== 'object' || value === null) return this.#flat.has(value)
    return this.#deep.size > 0 && this.#deep.has(this.#canonical(value))
  }

  /** Whether it is new. */
  add (value: unknown): boolean {
    if (typeof value !== 'object' || value === null) return this.#flat.size < this.#flat.add(value).size
    return this.#deep.size < this.#deep.add(this.#canonical(value)).size
  }

  #canonical (value: unknown): string {
    if (typeof value !== 'object' || value === null) {
      const text = String(JSON.stringify(value))
      this.#meter.spend(STEPS_OF_VALUE + text.length)
      return text
    }
    this.#meter.spend(STEPS_OF_VALUE)
    if (Array.isArray(value)) return `[${value.map(item => this.#canonical(item)).join()}]`
    const members = Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1)
    return `{${members.map(([key, member]) => `${this.#canonical(key)}:${this.#canonical(member)}`).join()}}`
  }
}
