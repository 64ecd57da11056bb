import { createServer } from 'node:net'
import { once } from 'node:events'
import t from 'tap'
import { z } from 'zod'
import { errorCodes } from '../lib/errors.ts'
import { compilePattern } from '../lib/tools/pattern.ts'
import { compileSchema, type JsonSchema, type Schema, type Verdict } from '../lib/tools/schema.ts'

const DRAFT_07 = 'http://json-schema.org/draft-07/schema#'
const DRAFT_2020 = 'https://json-schema.org/draft/2020-12/schema'

const compile = (schema: JsonSchema) => compileSchema(schema, 'input', 'tool')

/** What compiling says against a schema; every refusal is short and has its code. */
function refusal (schema: unknown): string {
  try {
    compileSchema(schema as Schema, 'input', 'tool')
  } catch (error) {
    if (!(error instanceof errorCodes.FST_MCP_SCHEMA_INVALID)) throw error
    t.ok(error.message.length < 700, 'a refusal is short')
    return error.message
  }
  return 'not refused'
}

function verdict (schema: JsonSchema, value: unknown): Verdict {
  const judged = compile(schema).validate(value)
  if (judged instanceof Promise) throw new Error('a plain JSON Schema judges at once')
  return judged
}

const isValid = (schema: JsonSchema, value: unknown): boolean => verdict(schema, value).ok

function timed<T> (run: () => T): [result: T, ms: number] {
  const start = performance.now()
  return [run(), performance.now() - start]
}

function nest (depth: number, inner: unknown = {}): unknown {
  let value = inner
  for (let level = 0; level < depth; level++) value = { next: value }
  return value
}

t.test('what a reference names is never fetched', async t => {
  let connections = 0
  const server = createServer(socket => {
    connections++
    socket.destroy()
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (typeof address !== 'object' || address === null) return t.fail('no port')
  const url = `http://127.0.0.1:${address.port}/schema.json`

  for (const keyword of ['$ref', '$dynamicRef']) {
    t.ok(refusal({ type: 'object', properties: { a: { [keyword]: url } } }).includes(url), `${keyword} is named`)
    t.ok(refusal({ [keyword]: `${url}#a` }).includes(`${url}#a`))
  }
  t.ok(refusal({ $schema: DRAFT_07, properties: { a: { $ref: url } } }).includes(url))
  t.ok(refusal({ $id: url, properties: { a: { $ref: 'other.json' } } }).includes('other.json'))
  t.ok(refusal({ $schema: url, type: 'object' }).includes(url))
  t.match(refusal({ $ref: `${url}#${'x'.repeat(200_000)}` }), url)
  await new Promise(resolve => setTimeout(resolve, 50))
  t.equal(connections, 0)
  server.close()
})

t.test('a reference to what is not there is refused, whatever it is called', async t => {
  for (const ref of ['#/nowhere', '#nothing', 'toString', './toString', '__proto__', 'constructor#', 'hasOwnProperty#/x', 'a.json']) {
    for (const $schema of [DRAFT_2020, DRAFT_07]) t.match(refusal({ $schema, allOf: [{ $ref: ref }] }), /can't resolve reference/, `${ref} in ${$schema}`)
  }
  for (const ref of ['#', '#nope', '#/$defs/a', 'a']) t.match(refusal({ $defs: { a: {} }, allOf: [{ $dynamicRef: ref }] }), `can't resolve reference "${ref}"`)
  t.match(refusal({ $schema: DRAFT_07, $ref: '#/definitions/a', definitions: { a: { $id: 'https://r/#/definitions/b' }, b: {} } }), /not a plain name/)
  // Two names for each other's places once sent the compiler round for ever.
  const circle = { $id: 'https://r/', allOf: [{ $ref: 'https://r/#/definitions/a' }] }
  const definitions = { a: { $id: 'https://r/#/definitions/b' }, b: { $id: 'https://r/#/definitions/a' } }
  t.match(refusal({ $schema: DRAFT_07, ...circle, definitions }), /not a plain name/)
  t.match(refusal({ $ref: '#/$defs/a', $defs: { a: { $ref: '#/$defs/b' }, b: { $ref: '#/$defs/a' } } }), /references nest too deep/)
  const chain = Object.fromEntries(Array.from({ length: 2_000 }, (_, index) => [`a${index}`, { allOf: [{ $ref: `#/$defs/a${index + 1}` }] }]))
  t.match(refusal({ $ref: '#/$defs/a0', $defs: chain }), /references nest too deep/)
})

t.test('references within a schema work', async t => {
  const tree: JsonSchema = { type: 'object', properties: { children: { type: 'array', items: { $ref: '#' } } }, additionalProperties: false }
  for (const schema of [tree, { ...tree, $schema: DRAFT_07 }, { ...tree, $id: 'https://example.com/tree' }]) {
    t.ok(isValid(schema, { children: [{ children: [] }, {}] }))
    t.notOk(isValid(schema, { children: [{ children: [{ a: 1 }] }] }))
  }
  const list = { $ref: '#/$defs/list', $defs: { list: { type: 'object', properties: { next: { $ref: '#/$defs/list' } }, required: ['value'] } } }
  t.ok(isValid(list, { value: 1, next: { value: 2 } }))
  t.notOk(isValid(list, { value: 1, next: { } }))
  const dynamic = { $dynamicAnchor: 'node', type: 'object', properties: { next: { $dynamicRef: '#node' } } }
  t.ok(isValid(dynamic, { next: { next: {} } }))
  t.notOk(isValid(dynamic, { next: { next: 1 } }))
  t.notOk(isValid({ allOf: [{ $ref: '#name' }], $defs: { a: { $anchor: 'name', type: 'object' } } }, 1))
  t.notOk(isValid({ $schema: DRAFT_07, allOf: [{ $ref: '#name' }], definitions: { a: { $id: '#name', type: 'object' } } }, 1))
  t.notOk(isValid({ properties: { schema: { $ref: DRAFT_2020 } } }, { schema: { type: 7 } }), 'the meta-schema is known')
})

t.test('one schema means nothing to another', async t => {
  t.match(refusal({ $id: DRAFT_2020, type: 'object' }), /already exists/)
  t.ok(isValid({ type: 'object' }, {}), 'the meta-schema is still there')
  const $id = 'https://example.com/same'
  t.notOk(isValid({ $id, $defs: { a: { $id: '/part' } }, type: 'string' }, 1))
  t.ok(isValid({ $id, $defs: { a: { $id: '/part', type: 'number' } }, type: 'number' }, 1))
  t.match(refusal({ $ref: $id }), `can't resolve reference ${$id}`)
})

t.test('a dialect that is not served is refused', async t => {
  for (const $schema of ['http://json-schema.org/draft-04/schema#', 'https://json-schema.org/draft/2019-09/schema', 'x', '', 7, null, {}]) {
    const said = refusal({ $schema, type: 'object' })
    t.ok(said.includes(`its $schema ${JSON.stringify($schema)} is not served; served: ${DRAFT_2020} and http://json-schema.org/draft-07/schema`), said)
  }
  for (const $schema of [DRAFT_2020, `${DRAFT_2020}#`, 'http://json-schema.org/draft/2020-12/schema', undefined]) {
    t.notOk(isValid({ $schema, prefixItems: [{ type: 'string' }] }, [1]), 'read as 2020-12')
  }
  for (const $schema of [DRAFT_07, 'http://json-schema.org/draft-07/schema', 'https://json-schema.org/draft-07/schema']) {
    t.notOk(isValid({ $schema, items: [{ type: 'string' }] }, [1]), 'read as draft-07')
    t.ok(isValid({ $schema, prefixItems: [{ type: 'string' }] }, [1]))
  }
  t.match(refusal({ $async: true }), /`\$async` is not part of JSON Schema$/)
  t.match(refusal({ $schema: DRAFT_07, type: 'objekt' }), /the schema is invalid: schema\/type must be/)
})

t.test('a schema beyond bounds is refused', async t => {
  const deep = (levels: number) => nest(levels - 1) as JsonSchema
  t.equal(refusal(deep(64)), 'not refused')
  t.match(refusal(deep(65)), /it nests deeper than 64 levels$/)
  t.match(refusal(deep(100_000)), /it nests deeper than 64 levels$/)
  const wide = (values: number): JsonSchema => ({ enum: Array.from({ length: values - 1 }, (_, index) => index) })
  t.equal(refusal(wide(10_000)), 'not refused')
  t.match(refusal(wide(10_001)), /it holds more than 10000 values$/)
  t.match(refusal({ default: Array(2 ** 32 - 1).fill(0, 0, 1) }), /undefined/)
  t.equal(refusal({ title: 'x'.repeat(262_144 - 12) }), 'not refused')
  t.match(refusal({ title: 'x'.repeat(262_144 - 11) }), /it is larger than 262144 bytes$/)
  t.match(refusal({ title: '€'.repeat(100_000) }), /it is larger than 262144 bytes$/)
  const long = 'x'.repeat(2 ** 20)
  t.match(refusal({ examples: Array(9_000).fill(long) }), /it is larger/)
  t.match(refusal({ [long]: true }), /it is larger/)
  const twice = Array.from({ length: 60 }).reduce<object>(inner => ({ a: inner, b: inner }), {})
  t.match(refusal(twice), /it holds more than 10000 values$/, 'what is shared counts wherever it stands')
  const shared = { type: 'string' }
  t.equal(refusal({ properties: { a: shared, b: shared } }), 'not refused')
})

t.test('what JSON cannot say is refused', async t => {
  const circle: JsonSchema = { type: 'object' }
  circle.properties = { circle }
  const list: unknown[] = []
  list.push(list)
  const broken = (): never => { throw new Error('no') }
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  const bad: [schema: unknown, says: RegExp][] = [
    [circle, /it is a circle/], [{ enum: list }, /it is a circle/],
    [{ default: () => {} }, /type function/], [{ default: 1n }, /type bigint/], [{ default: Symbol('a') }, /type symbol/], [{ enum: [undefined] }, /type undefined/],
    [{ default: NaN }, /it holds NaN/], [{ default: -Infinity }, /it holds -Infinity/], [{ default: new Date() }, /of a class/], [{ default: new Map() }, /of a class/],
    [{ get type () { return broken() } }, /: no$/], [{ default: new Proxy({}, { ownKeys: broken }) }, /: no$/], [new Proxy({}, { has: broken }), /: no$/],
    [proxy, /revoked/], [{ default: proxy }, /revoked/], [new Proxy({}, { getPrototypeOf: broken }), /: no$/],
    [{ get type () { throw new Proxy({}, { get: broken }) } }, /cannot be read$/],
    [{ get type () { throw 'x'.repeat(1e6) } }, /xxx$/]
  ]
  for (const [schema, says] of bad) t.match(refusal(schema), says)
  t.strictSame(compile({ type: 'object', default: undefined, [Symbol('kind')]: 1 }).json, { type: 'object' })
  t.ok(isValid(Object.assign(Object.create(null), { type: 'object' }), {}))
})

t.test('a key cannot pollute', async t => {
  for (const text of ['{"__proto__":{"a":1}}', '{"properties":{"__proto__":{"type":"object"}}}', '{"$defs":{"a":{"default":{"__proto__":{}}}}}']) {
    t.match(refusal(JSON.parse(text)), /it holds the key "__proto__"$/)
  }
  const odd = { $defs: { constructor: { $anchor: 'valueOf', $id: 'toString', type: 'object' } }, properties: { prototype: {}, constructor: {} } }
  t.equal(refusal(odd), 'not refused')
  t.strictSame(Object.keys(Object.prototype), [])

  const names = { type: 'object', properties: { toString: { type: 'string' }, constructor: { type: 'number' } }, required: ['valueOf'] }
  t.match(verdict(names, {}), { ok: false, message: "arguments must have required property 'valueOf'" })
  t.ok(isValid(names, { valueOf: 1 }), 'what every object inherits is not there')
})

t.test('a schema is kept as it was, and shown as it was given', async t => {
  const text = JSON.stringify({
    $schema: DRAFT_2020,
    $id: 'https://example.com/all',
    $comment: 'c',
    type: 'object',
    $defs: { name: { $anchor: 'name', type: 'string', minLength: 1 }, dynamic: { $dynamicAnchor: 'node' } },
    properties: { name: { $ref: '#name' }, tags: { type: 'array', prefixItems: [true], uniqueItems: true, contains: { const: 'a' } } },
    patternProperties: { '^x-': { format: 'uri', 'x-unknown': [null, 1.5, false] } },
    if: { required: ['a'] },
    then: { required: ['b'] },
    else: { not: { required: ['c'] } },
    allOf: [{ anyOf: [true, {}] }],
    oneOf: [{}],
    dependentRequired: { a: ['b'] },
    additionalProperties: false,
    default: { name: 'n' }
  })
  const given: JsonSchema = JSON.parse(text)
  const { json, validate } = compile(given)
  t.equal(JSON.stringify(json), text)
  t.match(validate({ name: '' }), { ok: false })

  Object.assign(given, { properties: {}, patternProperties: { '': {} }, additionalProperties: true })
  const { $defs } = json
  t.equal(JSON.stringify(json), text)
  t.match(validate({ name: '' }), { ok: false })
  t.throws(() => Object.assign(json, { type: 'string' }), TypeError)
  t.throws(() => Object.assign(Object($defs).name, { type: 'number' }), TypeError)
})

t.test('the JSON Schema form of a Standard Schema is copied and bounded too', async t => {
  const standard = (shown: () => unknown): unknown =>
    ({ '~standard': { version: 1, vendor: 'acme', validate: (value: unknown) => ({ value }), jsonSchema: { input: shown, output: shown } } })
  const own: JsonSchema = { type: 'object', title: 'first' }
  const { json } = compileSchema(standard(() => own) as Schema, 'output', 'tool')
  own.title = 'second'
  t.strictSame(json, { type: 'object', title: 'first' })
  t.ok(Object.isFrozen(json))
  t.match(refusal(standard(() => nest(100))), /deeper than 64/)
  t.match(refusal(standard(() => ({ default: 1n }))), /bigint/)
  t.match(refusal(standard(() => undefined)), /it is undefined$/)
  t.match(refusal(standard(() => [])), /it is an array$/)
  t.match(refusal(standard(() => null)), /it is null$/)
  t.match(refusal({ '~standard': null }), /cannot be used/)
  t.match(refusal({ '~standard': { vendor: 'x'.repeat(1e6) } }), /xxx$/)
  // Its patterns are run by its own library.
  t.equal(refusal(z.object({ a: z.string().regex(/(?=a)a/) })), 'not refused')
})

t.test('deep and large input ends in a verdict', async t => {
  const list = { $ref: '#/$defs/list', $defs: { list: { type: 'object', properties: { next: { $ref: '#/$defs/list' } }, additionalProperties: false } } }
  t.ok(isValid(list, nest(1_000)))
  t.notOk(isValid(list, nest(1_000, 1)))
  const { validate } = compile(list)
  t.match(validate(nest(1_000_000)), { ok: false, message: /^arguments cannot be checked: / }, 'out of stack')
  t.match(validate(nest(10)), { ok: true }, 'and the next is checked as ever')
  t.match(verdict(list, nest(900, 1)), { ok: false, message: /^arguments(\/next){40}\.\.\. must be object$/ }, 'the path is cut')

  const any = { const: nest(60) }
  t.notOk(isValid(any, nest(1_000)))
  const unique = { $ref: '#/$defs/list', $defs: { list: { type: 'array', uniqueItems: true, items: { $ref: '#/$defs/list' } } } }
  let deep: unknown[] = []
  for (let level = 0; level < 1_000; level++) deep = [deep]
  t.ok(isValid(unique, deep))
  for (const items of [{ $ref: '#/$defs/a' }, { type: 'integer' }]) {
    t.ok(isValid({ $defs: { a: { allOf: [{ $ref: '#/$defs/b' }] }, b: {} }, items }, Array(2_000_000).fill(1)), 'a full body of small items')
  }
  const key = 'k'.repeat(4_000_000)
  t.ok(Object(verdict({ additionalProperties: { type: 'string' } }, { [key]: 1 })).message.length <= 400)
})

t.test('a schema that asks for endless work gets an end', async t => {
  const $defs = Object.fromEntries(Array.from({ length: 60 }, (_, index) =>
    [`a${index}`, index < 59 ? { allOf: Array(2).fill({ $ref: `#/$defs/a${index + 1}` }) } : {}]))
  const [judged, ms] = timed(() => verdict({ $ref: '#/$defs/a0', $defs }, {}))
  t.match(judged, { ok: false, message: 'arguments cannot be checked: it takes more than 100000000 steps' })
  t.ok(ms < 3_000, `in ${ms} ms`)
  t.match(verdict({ allOf: [{ $ref: '#' }] }, {}), { ok: false, message: /^arguments cannot be checked: / })
  t.throws(() => compile({ enum: [{}] }).validate({ get a (): never { throw new Error('mine') } }), { message: 'mine' }, 'what a value throws is not hidden')
})

t.test('no pattern runs longer than its text', async t => {
  const text = `${'a'.repeat(50_000)}!`
  for (const pattern of ['^(a+)+$', '^(a|a)*$', '^(a|aa)+$', '(a*)*b', '^(([a-z])+.)+[A-Z]([a-z])+$']) {
    for (const [schema, value] of [[{ pattern }, text], [{ patternProperties: { [pattern]: false } }, { [text]: 1 }]] as const) {
      const [judged, ms] = timed(() => verdict(schema, value))
      t.equal(judged.ok, 'patternProperties' in schema, pattern)
      t.ok(ms < 500, `${pattern} in ${ms} ms`)
    }
  }
  const [judged, ms] = timed(() => verdict({ pattern: '(?:a|b|\\b){0,500}a(?:a|b){400}\\B$' }, 'ab'.repeat(2 ** 20)))
  t.match(judged, { ok: false, message: /^arguments cannot be checked: it takes more than/ })
  t.ok(ms < 2_000, `in ${ms} ms`)
  t.ok(isValid({ pattern: '^[A-Za-z0-9+/]*={0,2}$' }, 'QUJD'.repeat(2 ** 20)), 'four megabytes of Base64')
  // Ajv must not take one pattern for another.
  const two = { properties: { a: { pattern: '^a$' }, b: { pattern: '^b$' }, c: { pattern: '^a$' } } }
  t.ok(isValid(two, { a: 'a', b: 'b', c: 'a' }))
  t.match(verdict(two, { a: 'a', b: 'a' }), { ok: false, message: 'arguments/b must match pattern "^b$"' })
})

t.test('a pattern that cannot run in linear time is refused', async t => {
  for (const pattern of ['(?=a)', 'a(?!b)', '(?<=a)b', '(?<!a)b']) t.match(refusal({ pattern }), `pattern "${pattern}" cannot run in linear time: lookaround`)
  for (const pattern of ['(a)\\1', '(?<x>a)\\k<x>']) t.match(refusal({ patternProperties: { [pattern]: {} } }), `pattern "${pattern}" cannot run in linear time: a backreference`)
  for (const pattern of ['(', '[b-a]', 'a{2,1}', '\\-', '\\Qa\\E', '(?P<a>b)', '[[:alpha:]]', '\\p{Greek}', ']']) {
    t.match(refusal({ pattern }), `pattern "${pattern}" is not a regular expression of ECMA-262 with the flag \`u\``)
  }
  for (const pattern of ['a{1001}', '(?:a{100}){100}', '\\p{Script_Extensions=Greek}']) t.match(refusal({ pattern }), /cannot run in linear time: .*invalid/)
  t.match(refusal({ pattern: '(?i:a)' }), /modifiers|is not a regular expression/, 'which one depends on Node.js')
  t.match(refusal({ pattern: 'a{1000}'.repeat(6) }), /is too large: it repeats too much$/)
  t.match(refusal({ pattern: 'a'.repeat(2_001) }), /is longer than 2000 characters$/)
  const many = (count: number): JsonSchema => ({ patternProperties: Object.fromEntries(Array.from({ length: count }, (_, index) => [`p${index}`, {}])) })
  t.equal(refusal(many(100)), 'not refused')
  t.match(refusal(many(101)), /it has more than 100 patterns$/)
})

t.test('modifiers are refused wherever ECMA-262 has them', async t => {
  const native = globalThis.RegExp
  t.teardown(() => { globalThis.RegExp = native })
  globalThis.RegExp = Object.assign(() => /a/, native) as unknown as RegExpConstructor
  const error = t.throws(() => compilePattern('(?i:a)'))
  globalThis.RegExp = native
  t.match(error, { message: 'pattern "(?i:a)" cannot run in linear time: modifiers' })
})

t.test('a pattern means what ECMA-262 says', async t => {
  const texts = [
    '', 'a', 'A', 'b', 'c', 'd', 'e', 'z', '-', '!', '+', ',', 'ab', 'aab', 'foo bar', 'xfoo', 'a b', '\t', '\n', 'a\n', '\na', '\r', '\u2028', '\u2029', '\u00a0', '\v', '\f',
    '\ufeff', '\u180e', '\u0085', '\u200b', '\u3000', '😀', 'x😀y', '\ud83d', '\ude00', '\ud83da', 'é', 'É', 'ß', 'Ω', 'λ', '中', '1', '42', '-1.5e3', '١', 'Ⅷ', '_', '[', ']', ':',
    '/', '\\', '$', '^', '.', '{', '}', '|', '\0', '\x01', '\b', '\x1f', '€', ' ', '\u0300', '\ue000', 'ǅ', 'me@example.com', 'a.b+c@sub.example.org', '2024-02-29',
    '2024-02-29T12:34:56Z', '2024-02-29T12:34:56.789+01:00', 'https://example.com/a?b#c', '127.0.0.1', '256.1.1.1', '#ff0000', '#FFF', '+41 79 123 45 67',
    '123e4567-e89b-12d3-a456-426614174000', 'v1.2.3-beta.1', 'snake_case', 'kebab-case', 'camelCase', 'x-header', 'SGVsbG8=', 'a,b,c', '12:34', 'USD', 'en-GB', 'π=3'
  ]
  const patterns = [
    // As they are met
    '^\\d+$', '^[\\w.+-]+@[\\w-]+(?:\\.\\w+)+$', '^[a-zA-Z0-9._%+-]+@[a-zA-Z0-9.-]+\\.[a-zA-Z]{2,}$', '^\\d{4}-\\d{2}-\\d{2}$',
    '^\\d{4}-[01]\\d-[0-3]\\dT[0-2]\\d:[0-5]\\d:[0-5]\\d(?:\\.\\d+)?(?:Z|[+-]\\d\\d:\\d\\d)$', '^https?:\\/\\/', '^(?:(?:25[0-5]|2[0-4]\\d|1?\\d?\\d)(?:\\.|$)){4}$',
    '^#(?:[0-9a-fA-F]{3}){1,2}$', '^\\+?[\\d\\s()-]{7,}$', '^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$', '^v?\\d+\\.\\d+\\.\\d+(?:-[\\w.]+)?$', '^[a-z][a-z0-9_]*$',
    '^[a-z]+(?:-[a-z]+)*$', '^[A-Za-z0-9+/]*={0,2}$', '^-?(?:0|[1-9]\\d*)(?:\\.\\d+)?(?:[eE][+-]?\\d+)?$', '^x-', '^[A-Z]{3}$', '^[a-z]{2}(?:-[A-Z]{2})?$',
    '^$', '^\\S+$', '^\\s*$', '\\S', '^[^\\s@]+@[^\\s@]+$', '^(?<year>\\d{4})-(?<month>\\d\\d)', '^[^,]+(,[^,]+)*$', 'foo|bar', '\\bfoo\\b', 'o\\B', '(?:a|b)*?b', 'a+?', 'a??$',
    // Where the two languages differ
    '\\u0041', '[\\u0041-\\u005a]', '\\u{1F600}', '\\u{61}', '\\ud83d\\ude00', '[\\ud83d\\ude00]', '\\ud83d', '[\\ud83d]', '\\ud83d\\u0061', '^[^\\ud800-\\udfff]*$',
    '\\x41', '\\cA', '[\\cA]', '\\0', '\\t', '\\n', '\\v', '\\f', '\\r', '[\\b]', '\\b', '[^]', '^[^]$', '[]', '[]|a', '\\s', '[\\s]', '[^\\s]', '[\\S]', '[^\\S]', '\\D', '\\W', '[\\D]',
    '.', '^.$', '^..$', 'a$', '^a', '[[:alpha:]', '[a[b]', '[a&&b]', '[!--]', '[\\-]', '[a-]', '[-a]', '[a-c-e]', '[\\d-]', '[\\d\\-x]', '[\\]]', '[\\\\]', '[.$^|{}]',
    '\\$', '\\^', '\\.', '\\/', '\\{', '\\}', '\\|', '\\\\', '€', '😀', '[😀]', '^😀?$', 'a{2}', 'a{1,}b', '^a{0}$', ' ',
    '\\p{L}', '^\\P{L}$', '\\p{Lu}', '\\p{Ll}', '\\p{N}', '\\p{Nd}', '\\p{P}', '\\p{S}', '\\p{Sc}', '\\p{Zs}', '\\p{M}', '\\p{C}', '\\p{Co}', '[^\\p{L}\\d]', '[\\P{L}]', '\\p{Any}',
    '\\p{Letter}', '\\p{Uppercase_Letter}', '\\p{gc=Lu}', '\\p{General_Category=Decimal_Number}', '\\p{Cased_Letter}', '\\p{Punctuation}', '\\p{Symbol}', '\\p{Control}',
    '\\p{Script=Greek}', '\\p{sc=Han}', '\\p{Alphabetic}', '\\p{Lowercase}', '\\p{Uppercase}', '\\p{White_Space}', '\\p{Emoji}'
  ]
  for (const pattern of patterns) {
    const native = new RegExp(pattern, 'u')
    const { test } = compilePattern(pattern)
    t.strictSame(texts.filter(text => test(text)), texts.filter(text => native.test(text)), pattern)
  }
})

t.test('every character is in the same sets', async t => {
  for (const pattern of ['^\\d', '^\\w', '^\\s', '^\\S', '^.', '^[^\\s\\d]', '^[\\u0100-\\u{1FFFF}]', '^[\\W]']) {
    const native = new RegExp(pattern, 'u')
    const { test } = compilePattern(pattern)
    let differing = 0
    for (let code = 0; code <= 0x10FFFF; code += code < 0x3100 || (code > 0xFE00 && code < 0x10100) ? 1 : 61) {
      const char = String.fromCodePoint(code)
      if (test(char) !== native.test(char)) differing++
    }
    t.equal(differing, 0, pattern)
  }
})

t.test('equal values are found in linear time', async t => {
  const unique = { type: 'array', uniqueItems: true, items: { type: 'object' } }
  const items = Array.from({ length: 400_000 }, (_, id) => ({ id }))
  const [judged, ms] = timed(() => verdict(unique, items))
  t.match(judged, { ok: true })
  t.ok(ms < 4_000, `${items.length} objects in ${ms} ms`)
  t.match(verdict(unique, [...items, { id: 7 }]), { ok: false, message: 'arguments must NOT have duplicate items' })

  const plain = { uniqueItems: true }
  for (const distinct of [[1, '1'], [{}, '{}'], [[], '[]'], [null, 'null', false], [{ a: 1 }, { a: '1' }], [[1, 2], [2, 1], ['1,2'], [[1, 2]]], [{ 'a":1,"b': 1 }, { a: 1, b: 1 }]]) {
    t.ok(isValid(plain, distinct), JSON.stringify(distinct))
  }
  for (const equal of [[1, 1], [1, 1.0], [0, -0], ['a', 'a'], [null, null], [[], []], [{ a: 1, b: [2] }, { b: [2], a: 1 }], [{ valueOf: 1 }, { valueOf: 1 }]]) {
    t.notOk(isValid(plain, equal), JSON.stringify(equal))
    t.ok(isValid({ uniqueItems: false }, equal))
    t.ok(isValid({ const: equal[0] }, equal[1]))
    t.ok(isValid({ enum: ['x', equal[0]] }, equal[1]))
  }
  t.match(verdict({ enum: ['a', { toString: 1 }] }, { toString: 2 }), { ok: false, message: 'arguments must be equal to one of the allowed values' })
  t.match(verdict({ const: 'a' }, {}), { ok: false, message: 'arguments must be equal to constant' })
  t.notOk(isValid({ const: { a: null } }, null))
  t.match(refusal({ enum: 7 }), /the schema is invalid/)
})
