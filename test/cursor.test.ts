import t from 'tap'
import { Cursors } from '../lib/features/cursor.ts'

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
const INVALID = { code: 'FST_MCP_CURSOR_INVALID', message: 'The cursor is not one that this server issued' }
const lists = ['tools', 'prompts', 'resources', 'templates']
const owners = [null, '', 'null', 'alice', 'Alice', 'alice"]', '\uD800', '\uD801', '\uFFFD', 'é', 'e\u0301']

function isRead (cursors: Cursors, cursor: unknown, list = 'tools', owner: string | null = null): boolean {
  try {
    cursors.read(cursor, list, owner)
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === INVALID.code) return false
    throw error
  }
}

t.test('a cursor gives back its key, on every node and each time the same', async t => {
  const [one, two] = [new Cursors(['secret']), new Cursors([Buffer.from('secret')])]
  const keys = ['', 'add', 'file:///a b', 'größe', '日本語', '🚀', '\uFEFF', '\0\n\r"\\', '\uD800', '\uDC00\uD800', '\\ud800', 'null', '"', '__proto__']
  for (const key of keys) {
    for (const list of lists) {
      for (const owner of owners) {
        const cursor = one.write(list, owner, key)
        t.equal(two.read(cursor, list, owner), key)
        t.equal(two.write(list, owner, key), cursor)
        t.match(cursor, /^[\w-]+$/)
      }
    }
  }
})

t.test('keys that UTF-8 would mix up have cursors of their own', async t => {
  const cursors = new Cursors(['secret'])
  const keys = ['\uD800', '\uD801', '\uDC00', '\uFFFD', '\\ud800', '"\\ud800"', 'é', 'e\u0301', '', '\0']
  t.equal(new Set(keys.map(key => cursors.write('tools', null, key))).size, keys.length)
  for (const key of keys) t.equal(cursors.read(cursors.write('tools', null, key), 'tools', null), key)
})

t.test('a cursor is read for its own list and owner alone', async t => {
  const cursors = new Cursors(['secret'])
  const all = lists.flatMap(list => owners.map(owner => ({ list, owner, cursor: cursors.write(list, owner, 'add') })))
  t.equal(new Set(all.map(({ cursor }) => cursor)).size, all.length)
  for (const { list, owner, cursor } of all) {
    const readers = all.filter(other => isRead(cursors, cursor, other.list, other.owner))
    t.strictSame(readers, [{ list, owner, cursor }])
  }
})

t.test('the parts of a cursor do not run into each other', async t => {
  const cursors = new Cursors(['secret'])
  const parts: [list: string, owner: string | null, last: string][] = [
    ['tools', 'a', 'bc'], ['tools', 'ab', 'c'], ['tool', 'sa', 'bc'], ['toolsa', '', 'bc'], ['tools', '', 'abc'], ['tools', 'a"]\n"b', 'c'], ['tools', 'a\n', 'bc'],
    ['tools', 'a', '\nbc'], ['tools","a', null, 'bc'], ['tools', null, 'abc']
  ]
  const tags = parts.map(part => cursors.write(...part).slice(0, 21))
  t.equal(new Set(tags).size, parts.length)
  for (const [list, owner, last] of parts) {
    const readers = parts.filter(other => isRead(cursors, cursors.write(list, owner, last), other[0], other[1]))
    for (const reader of readers) t.strictSame(reader.slice(0, 2), [list, owner])
  }
})

t.test('a cursor with any one bit changed is refused', async t => {
  const cursors = new Cursors(['secret'])
  for (const key of ['', 'a', 'ab', 'abc']) {
    const cursor = cursors.write('tools', null, key)
    const read: string[] = []
    let tried = 0
    for (let index = 0; index < cursor.length; index++) {
      for (let bit = 1; bit < 64; bit *= 2) {
        const forged = `${cursor.slice(0, index)}${ALPHABET[ALPHABET.indexOf(cursor.charAt(index)) ^ bit]}${cursor.slice(index + 1)}`
        tried++
        if (isRead(cursors, forged)) read.push(forged)
      }
    }
    t.equal(tried, cursor.length * 6)
    t.strictSame(read, [])
    t.ok(isRead(cursors, cursor))
  }
})

t.test('a cursor that was cut, grew or is spelled otherwise is refused', async t => {
  const cursors = new Cursors(['secret'])
  const cursor = cursors.write('tools', null, 'some?key>~')
  for (let length = 0; length < cursor.length; length++) {
    t.notOk(isRead(cursors, cursor.slice(0, length)))
    t.notOk(isRead(cursors, cursor.slice(cursor.length - length)))
  }
  for (const more of ['A', 'AAAA', '=', '==', ' ', '\n', '!', '.', cursor]) {
    t.notOk(isRead(cursors, cursor + more), JSON.stringify(more))
    t.notOk(isRead(cursors, more + cursor), JSON.stringify(more))
  }
  const special = Array.from({ length: 100 }, (_, index) => cursors.write('tools', null, `${index}`)).find(text => /-.*_|_.*-/.test(text)) ?? ''
  t.ok(isRead(cursors, special))
  for (const spelling of [special.replaceAll('-', '+'), special.replaceAll('_', '/'), `${special.slice(0, 4)}\n${special.slice(4)}`]) t.notOk(isRead(cursors, spelling))
})

t.test('what is no cursor at all is refused', async t => {
  const cursors = new Cursors(['secret'])
  const plain = Buffer.from('"add"').toString('base64url')
  const foreign = [undefined, null, 5, true, {}, [], [cursors.write('tools', null, 'add')], '', 'add', 'dDphZGQ', plain, 'A'.repeat(21) + plain, '__proto__', '\uD800', '日本語',
    new Cursors(['another']).write('tools', null, 'add'), new Cursors(['secret ']).write('tools', null, 'add'), new Cursors(['']).write('tools', null, 'add')]
  for (const cursor of foreign) t.throws(() => cursors.read(cursor, 'tools', null), INVALID, String(cursor))
})

t.test('a cursor holds a key of 65,536 characters and no more', async t => {
  const cursors = new Cursors(['secret'])
  const longest = Math.max(...['a', 'é', '日', '🚀', '\0', '"', '\uD800'].map(text => {
    const key = text.repeat(65_536 / text.length)
    const cursor = cursors.write('resources', 'alice', key)
    t.equal(cursors.read(cursor, 'resources', 'alice'), key)
    t.throws(() => cursors.write('resources', 'alice', `${key}a`), { code: 'FST_MCP_INTERNAL', cause: { message: 'No cursor can hold a key of more than 65536 characters' } })
    return cursor.length
  }))
  t.equal(longest, 524_312)
  t.notOk(isRead(cursors, 'A'.repeat(longest)))
  t.notOk(isRead(cursors, 'A'.repeat(longest + 1)))
})

t.test('a text longer than any cursor is refused before any work', async t => {
  const cursors = new Cursors(['secret'])
  const long = 'A'.repeat(524_313)
  const { from } = Buffer
  t.teardown(() => { Buffer.from = from })
  let decoded = 0
  Buffer.from = new Proxy(from, { apply: (target, self, args) => { decoded++; return Reflect.apply(target, self, args) } })
  // Counted before anything is asserted: a reporter may decode too.
  const read = [long, long.slice(1)].map(text => ({ isRead: isRead(cursors, text), decoded }))
  t.strictSame(read, [{ isRead: false, decoded: 0 }, { isRead: false, decoded: 1 }])
})

t.test('the first secret writes and all read, so that they can be rotated', async t => {
  const before = new Cursors(['old']).write('tools', null, 'add')
  const rotating = new Cursors(['new', 'old'])
  t.equal(rotating.read(before, 'tools', null), 'add')
  const after = rotating.write('tools', null, 'add')
  t.equal(new Cursors(['new']).read(after, 'tools', null), 'add')
  t.throws(() => new Cursors(['old']).read(after, 'tools', null), INVALID)
})
