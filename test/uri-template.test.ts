import t from 'tap'
import { checkUri, ENCODED, readUri, valueOf } from '../lib/features/uri.ts'
import { UriTemplate, type Variables } from '../lib/features/uri-template.ts'

/** Whole numbers from Mulberry32: the same numbers in each run. */
function seeded (seed: number): (below: number) => number {
  return below => {
    seed = (seed + 0x6D2B79F5) | 0
    let x = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return Math.floor(((x ^ (x >>> 14)) >>> 0) / 4294967296 * below)
  }
}

const INVALID = { code: 'FST_MCP_TEMPLATE_INVALID', statusCode: 500 }
const match = (template: string, uri: string): Variables | undefined => new UriTemplate(template).match(uri)

// RFC 6570, section 3.2, without associative arrays.
const FACTS = {
  count: ['one', 'two', 'three'],
  dom: ['example', 'com'],
  dub: 'me/too',
  hello: 'Hello World!',
  half: '50%',
  var: 'value',
  who: 'fred',
  base: 'http://example.com/home/',
  path: '/foo/bar',
  list: ['red', 'green', 'blue'],
  v: '6',
  x: '1024',
  y: '768',
  empty: '',
  empty_keys: [],
  undef: undefined
}

const EXAMPLES: Record<string, string> = {
  // Levels 1 and 2
  '{var}': 'value',
  '{hello}': 'Hello%20World%21',
  '{half}': '50%25',
  'O{empty}X': 'OX',
  'O{undef}X': 'OX',
  '{+var}': 'value',
  '{+hello}': 'Hello%20World!',
  '{+half}': '50%25',
  '{base}index': 'http%3A%2F%2Fexample.com%2Fhome%2Findex',
  '{+base}index': 'http://example.com/home/index',
  'O{+empty}X': 'OX',
  'O{+undef}X': 'OX',
  '{+path}/here': '/foo/bar/here',
  'here?ref={+path}': 'here?ref=/foo/bar',
  'X{#var}': 'X#value',
  'X{#hello}': 'X#Hello%20World!',
  // Level 3
  'map?{x,y}': 'map?1024,768',
  '{x,hello,y}': '1024,Hello%20World%21,768',
  '?{x,empty}': '?1024,',
  '?{x,undef}': '?1024',
  '?{undef,y}': '?768',
  '{+x,hello,y}': '1024,Hello%20World!,768',
  '{+path,x}/here': '/foo/bar,1024/here',
  '{#x,hello,y}': '#1024,Hello%20World!,768',
  '{#path,x}/here': '#/foo/bar,1024/here',
  '{#half}': '#50%25',
  'foo{#empty}': 'foo#',
  'foo{#undef}': 'foo',
  'X{.var}': 'X.value',
  'X{.x,y}': 'X.1024.768',
  '{.who}': '.fred',
  '{.half,who}': '.50%25.fred',
  'X{.empty}': 'X.',
  'X{.undef}': 'X',
  '{/var}': '/value',
  '{/var,x}/here': '/value/1024/here',
  '{/half,who}': '/50%25/fred',
  '{/who,dub}': '/fred/me%2Ftoo',
  '{/var,empty}': '/value/',
  '{/var,undef}': '/value',
  '{;x,y}': ';x=1024;y=768',
  '{;x,y,empty}': ';x=1024;y=768;empty',
  '{;x,y,undef}': ';x=1024;y=768',
  '{;half}': ';half=50%25',
  '{;v,empty,who}': ';v=6;empty;who=fred',
  '{?x,y}': '?x=1024&y=768',
  '{?x,y,empty}': '?x=1024&y=768&empty=',
  '{?x,y,undef}': '?x=1024&y=768',
  '{?who}': '?who=fred',
  '?fixed=yes{&x}': '?fixed=yes&x=1024',
  '{&x,y,empty}': '&x=1024&y=768&empty=',
  // Level 4
  '{var:3}': 'val',
  '{var:30}': 'value',
  '{list}': 'red,green,blue',
  '{list*}': 'red,green,blue',
  '{count}': 'one,two,three',
  '{+path:6}/here': '/foo/b/here',
  '{+list}': 'red,green,blue',
  '{+list*}': 'red,green,blue',
  '{#path:6}here': '#/foo/bhere',
  '{#list}': '#red,green,blue',
  '{#list*}': '#red,green,blue',
  'www{.dom*}': 'www.example.com',
  'X{.var:3}': 'X.val',
  'X{.list}': 'X.red,green,blue',
  'X{.list*}': 'X.red.green.blue',
  'X{.empty_keys}': 'X',
  'X{.empty_keys*}': 'X',
  '{/var:1}': '/v',
  '{/list}': '/red,green,blue',
  '{/list*}': '/red/green/blue',
  '{/count*}': '/one/two/three',
  '{;hello:5}': ';hello=Hello',
  '{;list}': ';list=red,green,blue',
  '{;list*}': ';list=red;list=green;list=blue',
  '{?var:3}': '?var=val',
  '{?list}': '?list=red,green,blue',
  '{?list*}': '?list=red&list=green&list=blue',
  '{&var:3}': '&var=val',
  '{&list}': '&list=red,green,blue',
  '{&list*}': '&list=red&list=green&list=blue'
}

t.test('the examples of RFC 6570 are written as it says', async t => {
  for (const [template, uri] of Object.entries(EXAMPLES)) {
    // An expression after another's literal would begin the path: the scheme stands in front.
    t.equal(new UriTemplate(`x:${template}`).expand(FACTS), `x:${uri}`, template)
  }
})

t.test('what is written beside the examples', async t => {
  const write = (template: string, variables: Variables) => new UriTemplate(template).expand(variables)
  t.equal(write('x:é/%C3%a9{y}', { y: 'ü😀' }), 'x:%C3%A9/%C3%a9%C3%BC%F0%9F%98%80')
  t.equal(write('x:{y:2}', { y: '😀😀😀' }), 'x:%F0%9F%98%80%F0%9F%98%80', 'a prefix counts characters')
  t.equal(write('x:{y}', { y: "!'()*" }), 'x:%21%27%28%29%2A')
  t.equal(write('x:{y}/{+z}', { y: '%2F', z: '%2F %' }), 'x:%252F/%2F%20%25', 'a triplet is let through where reserved characters are')
  t.equal(write('x:{?a%20b}', { 'a%20b': '1' }), 'x:?a%20b=1')
  t.equal(write('x:{constructor}{?toString,__proto__}', {}), 'x:', 'nothing is inherited')
  t.equal(write('x:{?y*}', { y: ['', 'a'] }), 'x:?y=&y=a')
  for (const y of ['\uD800', ['a', 'b\uDC00']]) {
    for (const template of ['x:{y}', 'x:{+y}']) t.throws(() => write(template, { y }), { code: 'FST_MCP_URI_INVALID' })
  }
})

t.test('a template that nobody could read is refused, with the reason', async t => {
  const many = Array.from({ length: 33 }, (_, index) => `v${index}`)
  const bad: [template: string, reason: RegExp][] = [
    ['', /scheme/], ['/users/{id}', /scheme/], ['{scheme}:x', /scheme/], ['{+all}', /scheme/], ['Users:x', /scheme/], ['1x:y', /scheme/],
    ['x:{', /braces/], ['x:}', /braces/], ['x:{a', /braces/], ['x:a}', /braces/], ['x:{a{b}}', /braces/], ['x:{{a}}', /braces/],
    ['x:{}', /empty/], ['x:{?}', /not a name/], ['x:{a,}', /not a name/], ['x:{,a}', /operator "," is reserved/],
    ['x:{=a}', /reserved/], ['x:{!a}', /reserved/], ['x:{@a}', /reserved/], ['x:{|a}', /reserved/],
    ['x:{$a}', /"\$" is not known/], ['x:{-a}', /not known/], ['x:{ a}', /not known/], ['x:{😀}', /"😀" is not known/],
    ['x:{a b}', /not a name/], ['x:{a-b}', /not a name/], ['x:{a..b}', /not a name/], ['x:{a.}', /not a name/], ['x:{?.a}', /not a name/],
    ['x:{aé}', /not a name/], ['x:{%zz}', /not a name/], ['x:{%ff}', /not a name/], ['x:{*}', /not known/], ['x:{?*}', /not a name/],
    ['x:{a:}', /prefix/], ['x:{a:0}', /prefix/], ['x:{a:01}', /prefix/], ['x:{a:10000}', /prefix/], ['x:{a:x}', /prefix/], ['x:{a:3*}', /prefix/],
    ['x:{a*:3}', /prefix/], ['x:{a**}', /prefix/], ['x:{a:-1}', /prefix/],
    ['x:{a}/{a}', /"a" is there twice/], ['x:{a,a}', /twice/], ['x:{a:1}/{a}', /twice/], ['x:{?a,%61}', /"%61" is there twice/],
    [`x:${'a'.repeat(2047)}`, /longer than 2048/], [`x:{?${many}}`, /more than 32/],
    ['x:{a}{b}', /where "a" ends and "b" begins/], ['x:{a}{+b}', /where/], ['x:{+a}{b}', /where/], ['x:{a}{.b}', /where/], ['x:{/a}{b}', /where/],
    ['x:{+a}{/b}', /where/], ['x:{+a}{;b}', /where/], ['x:{+a}{&b}', /where/], ['x:{#a}{?b}', /where/], ['x:{#a}{#b}', /where/],
    ['x:{?a}{&b}', /where/], ['x:{?a}{?b}', /where/], ['x:{/a}{/b}', /where/], ['x:{.a}{.b}', /where/], ['x:{;a}{;b}', /where/],
    ['x:{a}{/b}{c}', /"a" ends and "c"/], ['x:{+a}{?b}{/c}', /"a" ends and "c"/], ['x:{/a}{?b}{/c}', /"a" ends and "c"/],
    ['x:{/list*,path:4}', /where the list "list" ends/], ['x:{a*,b}', /where the list/], ['x:{+a*,b*}', /where the list/],
    ['x:a b{c}', /holds " "/], ['x:<{a}>', /holds "<"/], ['x:\\{a}', /which no URI may/], ['x:"', /no URI/], ['x:^', /no URI/], ['x:`', /no URI/], ['x:|', /no URI/],
    ['x:%', /malformed/], ['x:%4{a}', /malformed/], ['x:%ff', /UTF-8/], ['x:\n', /control/], ['x:%00', /control/], ['x:\uD800', /surrogate/]
  ]
  for (const [template, message] of bad) t.throws(() => new UriTemplate(template), { ...INVALID, message }, JSON.stringify(template.slice(0, 30)))
  for (const other of [undefined, null, 7, {}, ['x:']]) {
    t.throws(() => Reflect.construct(UriTemplate, [other]), { ...INVALID, message: /must be a string/ })
  }
  const most = new UriTemplate(`x:{?${many.slice(1)}}`)
  t.equal(most.names.length, 32)
  t.equal(new UriTemplate(`x:${'a'.repeat(2046)}`).template.length, 2048)
})

t.test('a template tells its text and its names', async t => {
  const { template, names } = new UriTemplate('users://{id}/{+rest}{?page,tags*,a.b:3}')
  t.equal(template, 'users://{id}/{+rest}{?page,tags*,a.b:3}')
  t.strictSame(names, ['id', 'rest', 'page', 'tags', 'a.b'])
  t.strictSame(new UriTemplate('config://main').names, [])
})

t.test('a URI gives the variables of its template', async t => {
  const cases: [template: string, uri: string, variables: Record<string, string | string[]> | undefined][] = [
    ['config://main', 'config://main', {}],
    ['config://main', 'config://main2', undefined],
    ['config://main', 'config://mai', undefined],
    ['config://main', '', undefined],
    ['config://main', 'config://m%61in', {}],
    ['x:é%2f', 'x:%C3%A9%2F', {}],
    ['x:a%2Fb', 'x:a/b', undefined],
    ['x:a/b', 'x:a%2Fb', undefined],
    // Simple
    ['users://{id}', 'users://7', { id: '7' }],
    ['users://{id}', 'users://', undefined],
    ['users://{id}', 'users://a/b', undefined],
    ['users://{id}', 'Users://a', undefined],
    ['users://{id}', '%75sers://a', undefined],
    ['users://{id}', "users://a:b@c!$'()*+=-._~", { id: "a:b@c!$'()*+=-._~" }],
    ['users://{id}', 'users://%F0%9F%98%80é😀%2C%3f%23%26%20', { id: '😀é😀,?#& ' }],
    ['users://{id}', 'users://50%25', { id: '50%' }],
    ['users://{id}/posts/{post}', 'users://a/posts/posts', { id: 'a', post: 'posts' }],
    ['x:{a,b}', 'x:1,2', { a: '1', b: '2' }],
    ['x:{a,b}', 'x:1', undefined],
    ['x:{a,b}', 'x:1,2,3', undefined],
    ['x:{a*}', 'x:1,2,%2C', { a: ['1', '2', ','] }],
    ['x:{a*}', 'x:1', { a: ['1'] }],
    ['x:{a*}', 'x:,1', undefined],
    ['x:{a*}', 'x:1,', undefined],
    ['x:{a*}', 'x:1,,2', undefined],
    ['x:{a:3}', 'x:abc', { a: 'abc' }],
    ['x:{a:3}', 'x:abcd', undefined],
    ['x:{a:3}', 'x:%C3%A9😀%F0%9F%98%80', { a: 'é😀😀' }],
    ['x:{a:3}d', 'x:abcd', { a: 'abc' }],
    ['x:{name}.{ext}', 'x:a.tar.gz', { name: 'a.tar', ext: 'gz' }],
    ['x:{__proto__}/{constructor}', 'x:a/b', { ['__proto__']: 'a', constructor: 'b' }],
    // Reserved
    ['file:///{+path}', 'file:///a/b?c#d&e;f,[g]', { path: 'a/b?c#d&e;f,[g]' }],
    ['file:///{+path}', 'file:///', undefined],
    ['file:///{+path}{?rev}', 'file:///a/b?rev=1', { path: 'a/b', rev: '1' }],
    ['file:///{+path}{?rev}{#at}', 'file:///a/b#c', { path: 'a/b', at: 'c' }],
    ['file:///{+path}{?rev}', 'file:///a%3Fb', undefined],
    ['file:///{+path}/meta/{id}', 'file:///a/meta/b/meta/c', { path: 'a/meta/b', id: 'c' }],
    ['x:{+a,b}', 'x:1,2,3', { a: '1,2', b: '3' }],
    ['x:{+a*}', 'x:1,2/3', { a: ['1', '2/3'] }],
    ['x:{+a*}', 'x:1%2C2', undefined],
    ['x:{+a}', 'x:1%2C2', { a: '1,2' }],
    ['x:{+a:3}/{b}', 'x:a/b/c', { a: 'a/b', b: 'c' }],
    ['x:y{#a}', 'x:y#1/2', { a: '1/2' }],
    ['x:y{#a}', 'x:y', {}],
    ['x:y{#a}', 'x:y#', undefined],
    ['x:y{#a,b}', 'x:y#1,2', { a: '1', b: '2' }],
    ['x:y{#a,b}', 'x:y#1', undefined],
    // Path segments and labels
    ['x:y{/a}', 'x:y', {}],
    ['x:y{/a}', 'x:y/', undefined],
    ['x:y{/a,b}', 'x:y/1', { a: '1' }],
    ['x:y{/a,b}', 'x:y/1/2', { a: '1', b: '2' }],
    ['x:y{/a,b}', 'x:y/1/2/3', undefined],
    ['x:y{/a,b}/edit', 'x:y/1/edit', { a: '1' }],
    ['x:y{/a,b}/edit', 'x:y/edit', {}],
    ['x:y{/a*}/edit', 'x:y/edit/1/edit', { a: ['edit', '1'] }],
    ['x:y{/a*}', 'x:y/1//2', undefined],
    ['x:{y}{/a}', 'x:1/2', { y: '1', a: '2' }],
    ['x:y{.a}', 'x:y.1', { a: '1' }],
    ['x:y{.a}', 'x:y.1.2', undefined],
    ['x:y{.a}', 'x:y.1%2E2', undefined],
    ['x:y{.a,b}', 'x:y.1.2', { a: '1', b: '2' }],
    ['x:y{.a*}', 'x:y.1.2.3', { a: ['1', '2', '3'] }],
    // Parameters
    ['x:y{;a,b}', 'x:y;b=2;a', { a: '', b: '2' }],
    ['x:y{;a,b}', 'x:y', {}],
    ['x:y{;a}', 'x:y;c=1', undefined],
    ['x:y{;a}', 'x:y;a=1/2', undefined],
    ['x:y{;a*}/z', 'x:y;a=1;a=2/z', { a: ['1', '2'] }],
    ['x:y{?a,b}', 'x:y', {}],
    ['x:y{?a,b}', 'x:y?', undefined],
    ['x:y{?a,b}', 'x:y?b=2&a=1', { a: '1', b: '2' }],
    ['x:y{?a,b}', 'x:y?a=', { a: '' }],
    ['x:y{?a,b}', 'x:y?a', { a: '' }],
    ['x:y{?a,b}', 'x:y?a=b=c', { a: 'b=c' }],
    ['x:y{?a,b}', 'x:y?a=1&a=2', undefined],
    ['x:y{?a,b}', 'x:y?a=1&', undefined],
    ['x:y{?a,b}', 'x:y?&a=1', undefined],
    ['x:y{?a,b}', 'x:y?a=1&&b=1', undefined],
    ['x:y{?a,b}', 'x:y?a=1&c=2', undefined],
    ['x:y{?a,b}', 'x:y?=1', undefined],
    ['x:y{?a,b}', 'x:y?a=1#f', undefined],
    ['x:y{?a,b}', 'x:y?%61=%26%3D&b=../a/?,;+%5C', { a: '&=', b: '../a/?,;+\\' }],
    ['x:y{?a%20b}', 'x:y?a%20b=1', { 'a%20b': '1' }],
    ['x:y{?a*,b}', 'x:y?a=1&b=2&a=3', { a: ['1', '3'], b: '2' }],
    ['x:y{?a:2}', 'x:y?a=12', { a: '12' }],
    ['x:y{?a:2}', 'x:y?a=123', undefined],
    ['x:y?f=1{&a}', 'x:y?f=1&a=2', { a: '2' }],
    ['x:y{?a}&f=1', 'x:y?a=2&f=1', { a: '2' }],
    ['x:y{?a}{#f}', 'x:y?a=2#f', { a: '2', f: 'f' }]
  ]
  for (const [template, uri, variables] of cases) {
    const found = match(template, uri)
    t.strictSame(found && Object.entries(found).sort(), variables && Object.entries(variables).sort(), `${template} ${uri}`)
    t.equal(Object.getPrototypeOf(found ?? Object.create(null)), null, 'nothing is inherited')
  }
})

t.test('no value leads out of the folder that a handler joins it to', async t => {
  const everywhere = ['%00', '\0', '%0a', '\n', '%1f', '%7f', '\x7f', '%C2%85', '\\', '%5c', '%', '%2', '%zz', '%ff', '%C0%AF', '%ED%A0%80', '\uD800', ' ', '"', '<', '{', '|', '^', '`']
  const bad: Record<string, string[]> = {
    'x:{v}': [...everywhere, '.', '..', '%2e', '%2e%2e', '.%2E', '%2e.', 'a/b', 'a%2fb', '%2F', '..%2f..%2fetc'],
    'x:{v*}': ['a,..', '..,a', '%2e', 'a,b%2Fc', 'a,%00'],
    'x:{v:3}': ['..', '%2e%2e', 'a%2F'],
    'x:y{/v}': ['/..', '/%2e%2e', '/a%2Fb', '/%5C'],
    'x:y{/v*}': ['/a/../b', '/..', '/a/%2e%2e', '/.', '//etc', '/a%2f..'],
    'x:y{.v}': ['..', '...', '.a%2Fb', '.%2e', '.%00'],
    'x:y{;v}': [';v=..', ';v=%2e%2e', ';v=a%2fb', ';v=%5c', ';v=%00'],
    'x:{+v}': [
      ...everywhere, '/etc', '%2Fetc', '//etc', '%5Cetc', 'C:', 'c:/x', 'C%3A/x', '%43:x', '.', '..', '../a', 'a/..', 'a/../b', 'a/./b', './a',
      '%2e%2e/a', '%2e%2e%2fa', '..%2fa', 'a%2f..%2fb', 'a/.%2e', 'a%2F%2E', 'a/..?b', '..#b', 'a/..%3Fb'
    ],
    'x:{+v*}': ['a,/etc', 'a,..', '../a,b', 'a,C:'],
    'x:y{#v}': ['#/etc', '#..', '#a/%2e%2e', '#C:x', '#%5C', '#%00'],
    'x:y{?v}': ['?v=%00', '?v=%0A', '?v=\n', '?v=%7F', '?v=%C2%9F', '?v=%', '?v=%ff', '?v=a b', '?%00=1']
  }
  for (const [template, uris] of Object.entries(bad)) {
    for (const rest of uris) {
      const uri = new UriTemplate(template).expand({}) + rest
      t.equal(match(template, uri), undefined, `${template} ${JSON.stringify(uri)}`)
    }
  }
  t.same(match('x:{v}', 'x:%252e%252E%252f'), { v: '%2e%2E%2f' }, 'decoded once only')
  t.same(match('x:{+v}', 'x:%252e%252e/a'), { v: '%2e%2e/a' })
  t.same(match('x:{v}', 'x:...'), { v: '...' })
  t.same(match('x:{+v}', 'x:a/.../..b/b..//CC:'), { v: 'a/.../..b/b..//CC:' })
})

const TEMPLATES = [
  'x://{a}/{b}', 'x:{a,b}', 'x:{l*}', 'x:{a:3}/z', 'x:{+a}', 'x:{+a}/to/{b}', 'x:{+a}{?b}{#c}', 'x:{+l*}', 'x:y{#a}', 'x:y{/a,b}', 'x:y{/l*}/z', 'x:{a}.{b}',
  'x:y{.a,b}', 'x:y{.l*}', 'x:y{;a,l*}', 'x:y{?a,b,l*}', 'x:y?f=1{&a,l*}', 'x:{a}{/l*}{?b}{#c}', 'x:é%2F{a}{;b}{/l*}'
].map(template => new UriTemplate(template))

t.test('random values come back as they were written', async t => {
  const random = seeded(1)
  const alphabet = ['a', 'B', '7', '-', '_', '~', ' ', 'é', '😀', '!', '$', "'", '(', '*', '=', '@', '%', '"', '<', '|']
  const word = () => `w${Array.from({ length: random(5) }, () => alphabet[random(alphabet.length)]).join('')}`
  for (let round = 0; round < 200; round++) {
    const variables: Record<string, string | string[]> = { a: word(), b: word(), c: word(), l: Array.from({ length: 1 + random(3) }, word) }
    for (const { template, names } of TEMPLATES) {
      // A triplet is let through in reserved expansion, and a prefix is all that is written.
      const same = JSON.stringify(variables).replace(/%/g, template.includes('+') || template.includes('#') ? '' : '%')
      const given: Record<string, string | string[]> = JSON.parse(same)
      if (template.includes(':3') && typeof given.a === 'string') given.a = [...given.a].slice(0, 3).join('')
      const uri = new UriTemplate(template).expand(given)
      const found = match(template, uri)
      const wanted = names.map(name => [name, given[name]])
      if (JSON.stringify(found && names.map(name => [name, found[name]])) !== JSON.stringify(wanted)) t.strictSame(found, wanted, `${template} ${uri}`)
    }
  }
  t.pass('3,800 URIs')
})

t.test('what matches is written back as an equivalent URI', async t => {
  const random = seeded(2)
  const alphabet = ['a', 'b', 'l', '.', '..', '/', '%2F', '%2f', '%2e', '?', '#', '&', ';', ',', '%2C', '=', ':', '@', '+', '%20', '%C3%A9', 'é', '%00', '%5C', 'to', 'z']
  const starts = ['', '/a', '?a=', '&l=', ';a=', '.a', '#a', 'a', '/z']
  let matched = 0
  for (let round = 0; round < 3_000; round++) {
    const rest = (starts[random(starts.length)] ?? '') + Array.from({ length: random(7) }, () => alphabet[random(alphabet.length)]).join('')
    for (const template of TEMPLATES) {
      const uri = (/^[^{]*/.exec(template.template)?.[0] ?? '') + rest
      const found = template.match(uri)
      if (found === undefined) continue
      matched++
      const written = template.expand(found)
      // The order of a query, and how a parameter without a value is written, are free.
      const parameters = (text: string) => text.split(/[&;?]/).map(part => part.replace(/=$/, '')).sort().join()
      const same = /[?&;]/.test(template.template) ? parameters : String
      if (same(decodeURIComponent(written)) !== same(decodeURIComponent(uri))) t.equal(written, uri, template.template)
      for (const name of template.names) {
        for (const value of [found[name] ?? []].flat()) {
          if (/[\0-\x1f\x7f]/.test(value)) t.fail(`${template.template} ${uri}`) // eslint-disable-line no-control-regex -- these are looked for
          const isQuery = new RegExp(`[?&][^}]*${name}`).test(template.template)
          if (!isQuery && /^\/|\\|(?:^|\/)\.\.?(?:\/|$)/.test(value)) t.fail(`${template.template} ${uri}`)
        }
      }
    }
  }
  t.ok(matched > 2_000, `${matched} matched`)
})

t.test('a long URI takes time by its length only', async t => {
  const greedy = new UriTemplate(`x:${Array.from({ length: 31 }, (_, index) => `{+v${index}}a`).join('')}{/w*}!`)
  const timeOf = (length: number): number => {
    const uri = `x:${'a'.repeat(length)}`
    const start = performance.now()
    t.equal(greedy.match(uri), undefined)
    return performance.now() - start
  }
  timeOf(4_000)
  t.ok(timeOf(32_000) < 2_000, 'backtracking would take longer than the universe')
  const simple = new UriTemplate('x:{v}')
  t.equal(simple.match(`x:${'a'.repeat(65_534)}`)?.v?.length, 65_534)
  t.equal(simple.match(`x:${'a'.repeat(65_535)}`), undefined)
})

t.test('a URI that is decoded once matches any number of templates', async t => {
  const uri = 'x:a%2Fb/%C3%a9%41?q=%26'
  const decoded = readUri(uri)
  t.equal(decoded.uri, uri)
  t.equal(decoded.fault, undefined)
  t.equal(valueOf(decoded.text), 'x:a/b/éA?q=&')
  for (const template of ['x:{+a}', 'x:{a}/{b}{?q}', 'x:a%2fb/{b}{?q}', 'x:a/b/{b}{?q}', 'y:{+a}', 'x:{a}A?q={b}', 'x:{+a}é{+b}']) {
    t.strictSame(new UriTemplate(template).match(decoded), match(template, uri), template)
  }
  t.same(new UriTemplate('x:{+a}é{+b}').match(decoded), { a: 'a/b/', b: 'A?q=&' })
  t.same(new UriTemplate('x:{a}/{b}{?q}').match(decoded), undefined, 'the encoded slash is one of the value')
  t.same(new UriTemplate('x:a%2fb/{b}{?q}').match(decoded), { b: 'éA', q: '&' })
  for (const bad of ['x:a%', 'x:%ff', 'x:%00', 'x:\n', 'x:\uD800']) {
    const { text, fault } = readUri(bad)
    t.equal(text, '')
    t.type(fault, 'string')
    t.equal(new UriTemplate('x:{+a}').match(readUri(bad)), undefined)
  }
})

t.test('an encoded character that is not unreserved is never taken for a raw one', async t => {
  for (let code = 0x20; code < 0x7F; code++) {
    const char = String.fromCharCode(code)
    const { text } = readUri(`%${code.toString(16)}`)
    t.equal(valueOf(text), char)
    const isUnreserved = /[\w.~-]/.test(char)
    t.equal(text === char, isUnreserved, char)
    t.equal(ENCODED.includes(text), !isUnreserved, char)
  }
  t.equal(new Set(ENCODED).size, 29)
})

t.test('what can be read in one way and what can be read in several follow the same rules', async t => {
  const cases: [template: string, uri: string, variables: Record<string, string | string[]> | undefined][] = [
    // Literals are looked for before anything else.
    ['x:{a}/b/{c}/d', 'x:1/b/2/d', { a: '1', c: '2' }],
    ['x:{a}/b/{c}/d', 'x:1/d/2/b', undefined],
    ['x:{a}/b/{c}/d', 'x:1/c/2/d', undefined],
    ['x:{a}/b/{c}/b', 'x:1/b', undefined],
    ['x:aa{b}aa', 'x:aaa', undefined],
    ['x:a{/b}', 'x:ab', undefined],
    ['x:{a}/{b}', 'x:1/2/3', undefined],
    // A list ends in one place, or in several.
    ['x:{a*}/b', 'x:1,2/b', { a: ['1', '2'] }],
    ['x:{a*}/b', 'x:1,,2/b', undefined],
    ['x:{a*}1', 'x:1,1', undefined],
    ['x:{a*}1', 'x:1,21', { a: ['1', '2'] }],
    ['x:{a*}1', 'x:1,,21', undefined],
    ['x:y{/a*}/b/c', 'x:y/b/c/b/c', { a: ['b', 'c'] }],
    ['x:y{/a*}/b', 'x:y//b', undefined],
    ['x:y{?a,b}&b', 'x:y?a=1&b&b', { a: '1', b: '' }],
    // A prefix counts characters, of which some are two units of UTF-16.
    ['x:{a:2}', 'x:😀😀', { a: '😀😀' }],
    ['x:{a:2}', 'x:😀😀😀', undefined],
    ['x:{a:2}/b', 'x:é😀%F0%9F%98%80/b', undefined],
    ['x:{a:2}b{c}', 'x:😀b😀b😀', { a: '😀', c: '😀b😀' }],
    ['x:{a:3}b{c}', 'x:😀b😀b😀', { a: '😀b😀', c: '😀' }],
    ['x:{a:1}b{c:3}', 'x:😀b😀b😀', { a: '😀', c: '😀b😀' }],
    ['x:{a:1}b{c:2}', 'x:😀b😀b😀', undefined],
    ['x:{a}😀{b}', 'x:😁😀😂', { a: '😁', b: '😂' }],
    ['x:{?a:2}', 'x:?a=😀😀', { a: '😀😀' }],
    ['x:{?a:2}', 'x:?a=%26%26', { a: '&&' }],
    ['x:{?a:2}', 'x:?a=%26%26%26', undefined],
    ['x:{a}/{b}{/c,d}{?e}', 'x:1/2/3?e=4', { a: '1', b: '2', c: '3', e: '4' }]
  ]
  for (const [template, uri, variables] of cases) {
    const found = match(template, uri)
    t.strictSame(found && Object.entries(found).sort(), variables && Object.entries(variables).sort(), `${template} ${uri}`)
  }
})

t.test('a long URI whose borders could be anywhere takes time by its length only', async t => {
  const templates = [
    `x:${Array.from({ length: 31 }, (_, index) => `{+v${index}}a`).join('')}{/w*}!`,
    `x:${Array.from({ length: 31 }, (_, index) => `{+v${index}:9999}a`).join('')}{?w*}&!`,
    `x:{v}{/w*}${'/a'.repeat(900)}!`
  ].map(template => new UriTemplate(template))
  const uris = ['a'.repeat(32_000), '/a'.repeat(16_000), ',a'.repeat(16_000), '%2Fa'.repeat(8_000), '😀a'.repeat(8_000), '?a&'.repeat(10_000)]
  const start = performance.now()
  for (const uri of uris) {
    for (const template of templates) template.match(`x:${uri}&!`)
  }
  t.ok(performance.now() - start < 5_000, 'backtracking would take longer than the universe')
  t.equal(templates[0]?.match(`x:${'a'.repeat(61)}a!`)?.v0, 'a')
})

t.test('a URI that is safe to look at is given back', async t => {
  const good = [
    'x:', 'file:///a/b', 'HTTPS://example.com:80/a?b=c#d', 'urn:a:b', 'x:...', 'x:a/..b/.c/d..', 'x:%252e%252e', 'x:%20', 'x:é😀', 'x:%F0%9F%98%80', 'x+y.z-1:a',
    'x:a//b', 'x:?q=..', 'x:..%3F'
  ]
  for (const uri of good) t.equal(checkUri(uri, 100), uri)
  t.equal(checkUri('x:abc', 5), 'x:abc')
})

t.test('any other URI is refused, with the reason', async t => {
  const bad: [uri: unknown, reason: RegExp][] = [
    [undefined, /string/], [null, /string/], [7, /string/], [{}, /string/], [['x:'], /string/],
    ['', /empty/], ['x:abcd'.padEnd(101, 'a'), /longer than 100 characters/],
    ['abc', /no scheme/], ['/a', /no scheme/], [':a', /no scheme/], ['1x:a', /no scheme/], ['%78:a', /no scheme/], ['a/b:c', /no scheme/], ['é:a', /no scheme/],
    ['x:a b', /space/], [' x:a', /space/], ['x:\\', /backslash/], ['x:%5c', /backslash/], ['x:%5C', /backslash/],
    ...['\0', '\n', '\x1f', '\x7f', '\x85', '%00', '%0a', '%0D', '%1f', '%7F', '%C2%80'].map((text): [string, RegExp] => [`x:a${text}b`, /control/]),
    ['x:%', /malformed/], ['x:%4', /malformed/], ['x:%zz', /malformed/], ['x:%41%', /malformed/],
    ['x:%ff', /UTF-8/], ['x:%C3', /UTF-8/], ['x:%C0%AF', /UTF-8/], ['x:%ED%A0%80', /UTF-8/], ['x:%C3a%A9', /UTF-8/],
    ['x:\uD800', /surrogate/], ['x:\uDC00a', /surrogate/],
    ...[
      '..', '.', 'a/..', '/../a', 'a/./b', '%2e%2e/a', '/.%2e/', '/%2E./', '/%2e', 'a%2f..%2fb', 'a%2F%2e%2e', '/..?q', '/..#f', '?q=a/../b', '#../a', '?..'
    ].map((text): [string, RegExp] => [`x:${text}`, /dot segment/])
  ]
  for (const [uri, message] of bad) {
    t.throws(() => checkUri(uri, 100), { code: 'FST_MCP_URI_INVALID', statusCode: 200, message }, JSON.stringify(uri))
  }
})
