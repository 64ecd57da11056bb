import t from 'tap'
import { checkMirrors } from '../lib/eras/agreement.ts'
import { checkMirroredParams, mirroredParams, readMirror } from '../lib/features/mirrors.ts'
import type { MirroredParam, MirrorHeaders } from '../lib/features/mirrors.ts'
import { toRpcError, toStatus } from '../lib/errors.ts'

const MISMATCH = { code: 'FST_MCP_HEADER_MISMATCH' }

function encode (text: string): string {
  return `=?base64?${Buffer.from(text).toString('base64')}?=`
}

function bytes (...values: number[]): string {
  return `=?base64?${Buffer.from(values).toString('base64')}?=`
}

t.test('a mirrored header is literal without both markers', async t => {
  const literal = ['', 'plain', 'two  words', 'tab\tinside', '!~', '=?base64?', '?=', '=?base64?=', '=?base64?aGk=', 'aGk=?=', '=?BASE64?aGk=?=', '=?Base64?aGk=?=',
    '=?utf-8?aGk=?=', '=? base64?aGk=?=', 'x=?base64?aGk=?=', '=?base64?aGk=?=x']
  for (const value of literal) t.equal(readMirror('Mcp-Name', value), value, value)
})

t.test('the whitespace around a mirrored header does not count', async t => {
  for (const blank of [' ', '\t', ' \t \t']) {
    t.equal(readMirror('Mcp-Name', `${blank}a b${blank}`), 'a b')
    t.equal(readMirror('Mcp-Name', `${blank}=?base64?aGk=?=${blank}`), 'hi')
    t.equal(readMirror('Mcp-Name', blank), '')
  }
  t.equal(readMirror('Mcp-Name', encode(' padded ')), ' padded ', 'inside the markers it does')
  t.equal(readMirror('Mcp-Name', `a${' '.repeat(100_000)}b`).length, 100_002)
})

t.test('a mirrored header between both markers is base64 of UTF-8', async t => {
  const texts = ['', 'a', 'ab', 'abc', 'größe', '日本語', '🚀', '\uFEFFmark', 'line\r\nbreak', '\0', encode('nested'), '\uFFFD', '=?base64?', '>>>???', 'x'.repeat(10_000)]
  for (const text of texts) t.equal(readMirror('Mcp-Param-A', encode(text)), text)
})

t.test('a mirrored header with bad base64 between its markers is refused', async t => {
  const bad = ['aGk', 'aGk==', 'aG=k', '=', '==', '====', 'a', 'aGk=aGk=', 'aG k', ' aGk=', 'aGk= ', 'a\tGk=', 'aGk-', 'aG_k', 'aG!k', 'aGl=', 'aG==', 'aGk=?=aGk=', '%%%%']
  for (const payload of bad) t.throws(() => readMirror('Mcp-Name', `=?base64?${payload}?=`), MISMATCH, payload)
  const notUtf8 = [[0x80], [0xff], [0xc3], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xf0, 0x9f, 0x9a], [0xf4, 0x90, 0x80, 0x80], [0x61, 0xe2, 0x82]]
  for (const values of notUtf8) {
    t.throws(() => readMirror('Mcp-Name', bytes(...values)), MISMATCH, String(values))
    t.equal(readMirror('Mcp-Name', encode('é')), 'é', 'and nothing of it stays')
  }
})

t.test('a mirrored header holds visible ASCII, space and tab alone', async t => {
  for (let code = 0; code < 0x180; code++) {
    const value = `a${String.fromCharCode(code)}b`
    const isFine = code === 9 || (code >= 32 && code < 127)
    if (isFine) t.equal(readMirror('Mcp-Name', value), value)
    else t.throws(() => readMirror('Mcp-Name', value), MISMATCH, String(code))
  }
  for (const value of ['\u00A0a', 'a\u00A0', '\n', 'é', '日', '\uD800']) t.throws(() => readMirror('Mcp-Name', value), MISMATCH)
})

t.test('a header mismatch is a 400 with its own JSON-RPC code and names the header', async t => {
  try {
    readMirror('Mcp-Name', '=?base64?%?=')
    t.fail('it must throw')
  } catch (error) {
    t.equal(toStatus(error), 400)
    t.match(toRpcError(error), { code: -32020, message: /^Header Mcp-Name: it is not padded base64/, data: MISMATCH })
  }
})

const agreeing: [headers: MirrorHeaders, method: string, params: Record<string, unknown>][] = [
  [{ 'mcp-method': 'tools/list' }, 'tools/list', {}],
  [{ 'mcp-method': '\ttools/list ' }, 'tools/list', {}],
  [{ 'mcp-method': 'tools/list', 'mcp-name': 'anything' }, 'tools/list', { name: 'else' }],
  [{ 'mcp-method': '=?base64?aGk=?=' }, '=?base64?aGk=?=', {}],
  [{ 'mcp-method': 'tools/call', 'mcp-name': 'add' }, 'tools/call', { name: 'add', uri: 'x' }],
  [{ 'mcp-method': 'tools/call', 'mcp-name': ' add\t' }, 'tools/call', { name: 'add' }],
  [{ 'mcp-method': 'tools/call', 'mcp-name': encode('add') }, 'tools/call', { name: 'add' }],
  [{ 'mcp-method': 'prompts/get', 'mcp-name': encode('grüße') }, 'prompts/get', { name: 'grüße' }],
  [{ 'mcp-method': 'resources/read', 'mcp-name': 'file:///a' }, 'resources/read', { uri: 'file:///a', name: 'x' }],
  [{ 'mcp-method': 'tools/call' }, 'tools/call', { name: 5 }],
  [{ 'mcp-method': 'tools/call' }, 'tools/call', {}],
  [{ 'mcp-method': 'tools/call' }, 'tools/call', Object.create({ name: 'inherited' })],
  [{ 'mcp-method': 'tools/call', 'mcp-name': '' }, 'tools/call', { name: '' }],
  [{ 'mcp-method': 'resources/read' }, 'resources/read', { uri: null }]
]

t.test('mirrored headers that agree with the body pass', async t => {
  for (const [headers, method, params] of agreeing) {
    t.doesNotThrow(() => checkMirrors(headers, method, params), JSON.stringify([headers, params]))
  }
})

const disagreeing: [headers: MirrorHeaders, method: string, params: Record<string, unknown>, says: RegExp][] = [
  [{}, 'tools/list', {}, /^Header Mcp-Method: it is required$/],
  [{ 'mcp-method': undefined }, 'tools/list', {}, /^Header Mcp-Method: it is required$/],
  [{ 'mcp-method': ['tools/list', 'tools/list'] }, 'tools/list', {}, /^Header Mcp-Method: it must come once$/],
  [{ 'mcp-method': 'tools/list, tools/list' }, 'tools/list', {}, /Mcp-Method: it must equal the method/],
  [{ 'mcp-method': 'TOOLS/LIST' }, 'tools/list', {}, /Mcp-Method: it must equal/],
  [{ 'mcp-method': '' }, 'tools/list', {}, /Mcp-Method: it must equal/],
  [{ 'mcp-method': 'tools/call' }, 'tools/list', {}, /Mcp-Method: it must equal/],
  [{ 'mcp-method': encode('tools/list') }, 'tools/list', {}, /Mcp-Method: it must equal/],
  [{ 'mcp-method': 'é' }, 'é', {}, /Mcp-Method: only visible ASCII/],
  [{ 'mcp-method': 'tools/call' }, 'tools/call', { name: 'add' }, /^Header Mcp-Name: it is required$/],
  [{ 'mcp-method': 'tools/call', 'mcp-name': ['add'] }, 'tools/call', { name: 'add' }, /Mcp-Name: it must come once/],
  [{ 'mcp-method': 'tools/call', 'mcp-name': 'ADD' }, 'tools/call', { name: 'add' }, /Mcp-Name: it must equal `params.name`/],
  [{ 'mcp-method': 'tools/call', 'mcp-name': encode('ADD') }, 'tools/call', { name: 'add' }, /Mcp-Name: it must equal `params.name`/],
  [{ 'mcp-method': 'tools/call', 'mcp-name': encode('add') }, 'tools/call', { name: encode('add') }, /Mcp-Name: it must equal `params.name`/],
  [{ 'mcp-method': 'tools/call', 'mcp-name': '=?base64?YWR?=' }, 'tools/call', { name: 'add' }, /Mcp-Name: it is not padded base64/],
  [{ 'mcp-method': 'prompts/get', 'mcp-name': 'x' }, 'prompts/get', { name: 'add', uri: 'x' }, /Mcp-Name: it must equal `params.name`/],
  [{ 'mcp-method': 'resources/read', 'mcp-name': 'x' }, 'resources/read', { uri: 'file:///a', name: 'x' }, /Mcp-Name: it must equal `params.uri`/]
]

t.test('mirrored headers that disagree with the body are refused', async t => {
  for (const [headers, method, params, message] of disagreeing) {
    t.throws(() => checkMirrors(headers, method, params), { ...MISMATCH, message }, JSON.stringify([headers, params]))
  }
})

const text = { type: 'string', 'x-mcp-header': 'Region' }

t.test('the annotations of a schema are found at any depth of properties', async t => {
  const schema = {
    type: 'object',
    properties: {
      region: text,
      count: { type: 'integer', 'x-mcp-header': 'COUNT' },
      nested: { type: 'object', properties: { properties: { type: 'object', properties: { deep: { 'x-mcp-header': 'a!#$%&\'*+-.^_`|~9', type: 'boolean' } } } } },
      ['__proto__']: { type: 'string', 'x-mcp-header': 'Proto' },
      plain: { type: 'number', description: 'x-mcp-header' },
      anything: true
    }
  }
  t.strictSame(mirroredParams(schema), [
    { header: 'mcp-param-region', name: 'Region', path: ['region'], type: 'string' },
    { header: 'mcp-param-count', name: 'COUNT', path: ['count'], type: 'integer' },
    { header: 'mcp-param-a!#$%&\'*+-.^_`|~9', name: 'a!#$%&\'*+-.^_`|~9', path: ['nested', 'properties', 'deep'], type: 'boolean' },
    { header: 'mcp-param-proto', name: 'Proto', path: ['__proto__'], type: 'string' }
  ])
})

t.test('what only looks like an annotation is none', async t => {
  const harmless: Record<string, unknown>[] = [
    {},
    { type: 'object', properties: { 'x-mcp-header': { type: 'number' } } },
    { properties: { a: { properties: { 'x-mcp-header': { type: 'string' } } } } },
    { properties: { a: { const: { 'x-mcp-header': 'A' }, default: { 'x-mcp-header': 'A' }, enum: [{ 'x-mcp-header': 'A' }], examples: [{ 'x-mcp-header': 'A' }] } } },
    { anyOf: [{ default: { 'x-mcp-header': 'A' } }, { properties: { 'x-mcp-header': { type: 'string' } } }] },
    { $defs: { 'x-mcp-header': { type: 'string' } }, definitions: { 'x-mcp-header': true }, patternProperties: { 'x-mcp-header': {} } },
    { dependentSchemas: { 'x-mcp-header': {} }, dependentRequired: { 'x-mcp-header': ['a'] }, dependencies: { 'x-mcp-header': ['a'] } },
    { required: ['x-mcp-header'], additionalProperties: false, items: null, title: 'x-mcp-header' },
    { properties: null },
    { properties: ['a'] }
  ]
  for (const schema of harmless) t.strictSame(mirroredParams(schema), [], JSON.stringify(schema))
})

t.test('an annotation that only properties do not lead to is refused', async t => {
  const schema = ['items', 'contains', 'additionalProperties', 'unevaluatedProperties', 'unevaluatedItems', 'propertyNames',
    'not', 'if', 'then', 'else', 'contentSchema', 'x-unknown']
  const list = ['oneOf', 'anyOf', 'allOf', 'prefixItems', 'items', 'x-unknown']
  const map = ['$defs', 'definitions', 'patternProperties', 'dependentSchemas', 'dependencies']
  const inner = [text, { type: 'object', properties: { region: text } }, { properties: { default: text } }]
  for (const below of inner) {
    const cases: [keys: string[], value: unknown][] = [[schema, below], [list, [true, below]], [map, { const: below }]]
    for (const [key, value] of cases.flatMap(([keys, value]) => keys.map((key): [string, unknown] => [key, value]))) {
      t.throws(() => mirroredParams({ [key]: value }), { name: 'TypeError', message: `\`x-mcp-header\` is somewhere under \`${key}\`, but only \`properties\` may lead to it` })
      t.throws(() => mirroredParams({ properties: { a: { properties: { b: { [key]: value } } } } }), { name: 'TypeError', message: `under \`a.b.${key}\`` })
    }
  }
  t.throws(() => mirroredParams({ items: { items: { anyOf: [{ not: text }] } } }), { name: 'TypeError', message: 'somewhere under `items`' })
  t.throws(() => mirroredParams({ properties: [text] }), { name: 'TypeError', message: 'somewhere under `properties`' })
  t.throws(() => mirroredParams({ type: 'string', 'x-mcp-header': 'A' }), { name: 'TypeError', message: /is on the schema itself/ })
})

t.test('an annotation names a token, once, on a type that a header can say', async t => {
  const annotate = (name: unknown, type: unknown = 'string') => mirroredParams({ properties: { a: { type, 'x-mcp-header': name } } })
  for (const name of [undefined, null, 5, true, ['A'], { A: 1 }]) t.throws(() => annotate(name), { name: 'TypeError', message: '`x-mcp-header` of `a` must be a string' })
  for (const name of ['', ' ', 'a b', 'a:b', 'a\r\nb', 'a\n', '\ta', 'a/b', 'a(b', 'a,b', 'a"b', 'a@b', 'a[b', 'a{b', 'a\\b', 'é', 'a\u007F', '日']) {
    t.throws(() => annotate(name), { name: 'TypeError', message: /`x-mcp-header` of `a` must be a token of RFC 9110/ }, JSON.stringify(name))
  }
  for (const type of ['string', 'integer', 'boolean']) t.match(annotate('A', type), [{ type }])
  for (const type of [null, 'number', 'object', 'array', 'null', 'String', ['string'], ['string', 'null']]) {
    t.throws(() => annotate('A', type), { name: 'TypeError', message: /`a` needs `type` to be one of string, integer, boolean/ })
  }
  t.throws(() => mirroredParams({ properties: { a: { 'x-mcp-header': 'A', enum: ['x'] } } }), { name: 'TypeError', message: /needs `type`/ })
  t.throws(() => mirroredParams({ properties: { a: text, b: { properties: { c: { type: 'integer', 'x-mcp-header': 'rEGION' } } } } }),
    { name: 'TypeError', message: '`x-mcp-header` "rEGION" is there twice (upper and lower case are the same)' })
  t.equal(mirroredParams({ properties: { a: text, b: { type: 'string', 'x-mcp-header': 'Region2' } } }).length, 2)
})

function param (type: MirroredParam['type'], ...path: string[]): MirroredParam {
  return { header: 'mcp-param-a', name: 'A', path, type }
}

const fitting: [type: MirroredParam['type'], value: unknown, header: string | undefined][] = [
  ['string', 'eu', 'eu'], ['string', 'eu', ' eu\t'], ['string', 'eu', encode('eu')], ['string', '', ''], ['string', '', '=?base64??='], ['string', ' a ', encode(' a ')],
  ['string', '日本', encode('日本')], ['string', encode('a'), encode(encode('a'))], ['string', '42', '42'], ['string', '=?base64?a', '=?base64?a'],
  ['integer', 42, '42'], ['integer', 42, '42.0'], ['integer', 42.0, '42.000'], ['integer', -7, '-7'], ['integer', 0, '0'], ['integer', 0, '-0'], ['integer', -0, '0'],
  ['integer', 42, encode('42')], ['integer', Number.MAX_SAFE_INTEGER, '9007199254740991'], ['integer', Number.MIN_SAFE_INTEGER, '-9007199254740991.0'],
  ['boolean', true, 'true'], ['boolean', false, 'false'], ['boolean', false, encode('false')],
  ['string', null, undefined], ['string', undefined, undefined], ['integer', null, undefined], ['boolean', undefined, undefined],
  ['string', 5, undefined], ['integer', {}, undefined], ['integer', 4.5, undefined], ['boolean', 1, undefined]
]

t.test('arguments and the headers that mirror them agree', async t => {
  for (const [type, value, header] of fitting) {
    t.doesNotThrow(() => checkMirroredParams({ 'mcp-param-a': header }, [param(type, 'a')], { a: value }), JSON.stringify([type, value, header]))
  }
  t.doesNotThrow(() => checkMirroredParams({ 'mcp-param-other': 'x' }, [], { a: 1 }), 'a header that no property declares does not count')
})

const ANOTHER = /is not of the type that was declared/
const unfitting: [type: MirroredParam['type'], value: unknown, header: string | string[] | undefined, says: RegExp][] = [
  ['string', { a: 1 }, 'x', ANOTHER], ['string', ['x'], 'x', ANOTHER], ['string', true, 'true', ANOTHER], ['string', 42, '42', ANOTHER],
  ['integer', '42', '42', ANOTHER], ['integer', 4.5, '4', ANOTHER], ['boolean', 'true', 'true', ANOTHER],
  ['string', 'eu', undefined, /^Header Mcp-Param-A: it is required$/], ['string', '', undefined, /it is required/], ['integer', 0, undefined, /it is required/],
  ['boolean', false, undefined, /it is required/], ['string', 'eu', ['eu'], /it must come once/],
  ['string', 'eu', 'us', /^Header Mcp-Param-A: it must equal `a` of the arguments$/], ['string', 'eu', 'EU', /it must equal/], ['string', 'eu', encode('us'), /it must equal/],
  ['string', ' eu', ' eu', /it must equal/], ['string', 'eu', '=?BASE64?ZXU=?=', /it must equal/], ['string', encode('a'), encode('a'), /it must equal/],
  ['string', 'é', 'e\u0301', /only visible ASCII/], ['string', 'é', encode('e\u0301'), /it must equal/], ['string', 'é', 'é', /only visible ASCII/],
  ['string', '\uD800', encode('\uD800'), /it must equal/], ['string', 'eu', '=?base64?ZXU?=', /not padded base64/],
  ['integer', 42, '43', /it must equal/], ['integer', 42, '42.5', /it must equal/], ['integer', 42, '', /it must equal/], ['integer', 0, '', /it must equal/],
  ['integer', 42, '42.00000000000000000001', /it must equal/], ['integer', Number.MAX_SAFE_INTEGER, '9007199254740990.6', /it must equal/], ['integer', 42, '0x2a', /it must equal/],
  ['integer', 42, '042', /it must equal/], ['integer', 42, '+42', /it must equal/], ['integer', 42, '4.2e1', /it must equal/], ['integer', 42, '42.', /it must equal/],
  ['integer', 42, '4 2', /it must equal/], ['integer', 42, 'NaN', /it must equal/], ['integer', 42, '-42', /it must equal/],
  ['integer', 2 ** 53, '9007199254740992', /beyond ±\(2\^53−1\)/], ['integer', -(2 ** 53), '-9007199254740992', /beyond/], ['integer', 1e300, undefined, /beyond/],
  ['boolean', true, 'false', /it must equal/], ['boolean', true, 'True', /it must equal/], ['boolean', false, '0', /it must equal/], ['boolean', true, '', /it must equal/],
  ['string', null, 'null', /^Header Mcp-Param-A: `a` is not among the arguments$/], ['string', undefined, '', /is not among/], ['boolean', null, 'false', /is not among/],
  ['integer', undefined, ['1'], /is not among/]
]

t.test('arguments and the headers that should mirror them disagree', async t => {
  for (const [type, value, header, message] of unfitting) {
    t.throws(() => checkMirroredParams({ 'mcp-param-a': header }, [param(type, 'a')], { a: value }), { ...MISMATCH, message }, JSON.stringify([type, value, header]))
  }
})

t.test('a mirrored argument is looked up through own properties of objects', async t => {
  const deep = [param('string', 'a', 'b')]
  t.doesNotThrow(() => checkMirroredParams({ 'mcp-param-a': 'x' }, deep, { a: { b: 'x' } }))
  t.throws(() => checkMirroredParams({ 'mcp-param-a': 'y' }, deep, { a: { b: 'x' } }), { ...MISMATCH, message: /must equal `a.b`/ })
  for (const args of [undefined, null, 'text', 5, [], [{ b: 'x' }], {}, { a: null }, { a: 'x' }, { a: [] }, { a: {} }, { b: 'x' }, { a: Object.create({ b: 'x' }) }]) {
    t.doesNotThrow(() => checkMirroredParams({}, deep, args), JSON.stringify(args))
    t.throws(() => checkMirroredParams({ 'mcp-param-a': 'x' }, deep, args), { ...MISMATCH, message: /`a.b` is not among the arguments/ }, JSON.stringify(args))
  }
  for (const name of ['__proto__', 'constructor', 'toString']) t.doesNotThrow(() => checkMirroredParams({}, [param('string', name, 'name')], {}), name)
  t.throws(() => checkMirroredParams({}, [param('string', '__proto__')], JSON.parse('{"__proto__":"x"}')), MISMATCH, 'its own one counts')
})

t.test('every mirrored argument is compared', async t => {
  const params = mirroredParams({ properties: { region: text, count: { type: 'integer', 'x-mcp-header': 'Count' } } })
  t.doesNotThrow(() => checkMirroredParams({ 'mcp-param-region': 'eu', 'mcp-param-count': '2.0' }, params, { region: 'eu', count: 2 }))
  t.throws(() => checkMirroredParams({ 'mcp-param-region': 'eu', 'mcp-param-count': '3' }, params, { region: 'eu', count: 2 }), { ...MISMATCH, message: /Mcp-Param-Count/ })
  t.throws(() => checkMirroredParams({ 'mcp-param-region': 'us', 'mcp-param-count': '2' }, params, { region: 'eu', count: 2 }), { ...MISMATCH, message: /Mcp-Param-Region/ })
})
