import t from 'tap'
import { toRpcError, toStatus } from '../lib/errors.ts'
import { randomKey, Seal } from '../lib/protocol/seal.ts'
import type { SealOptions } from '../lib/protocol/seal.ts'

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
const INVALID = { code: 'FST_MCP_STATE_INVALID' }
const secret = 'a secret that has thirty-two byt'

function create (options: Partial<SealOptions> = {}): Seal {
  return new Seal({ keys: [secret], ttl: 1000, maxBytes: 4096, ...options })
}

/** Why a token was refused, as the log reads it. */
function reason (seal: Seal, token: unknown, binding = 'b'): string {
  try {
    seal.open(token, binding)
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === INVALID.code && error.cause instanceof Error ? error.cause.message : `another: ${error}`
  }
  return 'opened'
}

t.test('what was sealed opens for the same binding', async t => {
  const seal = create()
  const values = [null, true, 0, -1.5, '', 'text', 'größe 🚀', '\uD800', '\0', [], [1, [2]], {}, { until: 0, value: 1 }, { 'a b': { c: null } }, JSON.parse('{"__proto__":{"a":1}}')]
  for (const value of values) {
    for (const binding of ['', 'b', 'größe', '\uD800', 'x'.repeat(100_000)]) t.strictSame(seal.open(seal.seal(value, binding), binding), value)
  }
  t.equal(seal.open(seal.seal(undefined, 'b'), 'b'), undefined)
})

t.test('a sealed token is URL-safe, never the same twice and shows nothing', async t => {
  const seal = create()
  const tokens = Array.from({ length: 200 }, () => seal.seal({ answer: 'strawberry' }, 'for the principal'))
  t.equal(new Set(tokens).size, 200)
  t.equal(new Set(tokens.map(token => Buffer.from(token, 'base64url').toString('hex', 9, 21))).size, 200, 'nor is its nonce')
  for (const token of tokens) {
    t.match(token, /^[\w-]+$/)
    const bytes = Buffer.from(token, 'base64url').toString('latin1')
    t.notOk(['strawberry', 'answer', 'principal', secret, 'until'].some(word => bytes.includes(word)))
  }
})

t.test('a sealed token opens for no other binding', async t => {
  const seal = create()
  const bindings = ['', 'b', 'B', 'b ', 'bb', 'b\0', 'é', 'e\u0301', '\uD800', '\uD801', '\uFFFD', 'ÿ']
  for (const binding of bindings) {
    const token = seal.seal(1, binding)
    for (const other of bindings.filter(other => other !== binding)) {
      t.equal(reason(seal, token, other), 'it was changed, or sealed for something else')
    }
  }
})

t.test('a sealed token with any one character changed is refused', async t => {
  const seal = create()
  for (const value of ['', 'a', 'ab']) {
    const token = seal.seal(value, 'b')
    let tried = 0
    const opened: string[] = []
    for (let index = 0; index < token.length; index++) {
      for (let bit = 1; bit < 64; bit *= 2) {
        const other = ALPHABET[ALPHABET.indexOf(token.charAt(index)) ^ bit]
        const forged = `${token.slice(0, index)}${other}${token.slice(index + 1)}`
        tried++
        if (['opened', 'another'].some(word => reason(seal, forged).startsWith(word))) opened.push(forged)
      }
    }
    t.equal(tried, token.length * 6)
    t.strictSame(opened, [])
    t.equal(seal.open(token, 'b'), value)
  }
})

t.test('a sealed token that was cut or grew is refused', async t => {
  const seal = create()
  const token = seal.seal({ a: 1 }, 'b')
  for (let length = 0; length < token.length; length++) {
    t.throws(() => seal.open(token.slice(0, length), 'b'), INVALID)
    t.throws(() => seal.open(token.slice(token.length - length), 'b'), INVALID)
  }
  for (const more of ['A', 'AA', 'AAA', 'AAAA', token, '-TAMPERED', '.', '=', ' ', '\n', '\0']) {
    t.throws(() => seal.open(token + more, 'b'), INVALID)
    t.throws(() => seal.open(more + token, 'b'), INVALID)
  }
})

t.test('a sealed token has one spelling', async t => {
  const seal = create()
  let token = seal.seal('ab', 'b')
  while (!/-.*_|_.*-/.test(token) || token.length % 4 === 0) token = seal.seal('ab', 'b')
  const spellings = [token.replaceAll('-', '+'), token.replaceAll('_', '/'), Buffer.from(token, 'base64url').toString('base64'), `${token}=`, `${token}==`, ` ${token}`, `${token} `,
    `${token.slice(0, 8)}\n${token.slice(8)}`, `${token}!`, `${token.slice(0, -1)}${ALPHABET[ALPHABET.indexOf(token.charAt(token.length - 1)) + 1]}`]
  for (const spelling of spellings) t.equal(reason(seal, spelling), 'it is not canonical base64url', spelling)
})

t.test('the log learns why a token is refused, the client does not', async t => {
  let now = 0
  const seal = create({ now: () => now })
  const token = seal.seal(1, 'b')
  const bytes = Buffer.from(token, 'base64url')
  const forged = Buffer.from(bytes)
  forged[0] = 2
  const refused: [token: unknown, reason: string][] = [
    [undefined, 'it is not a string'], [null, 'it is not a string'], [5, 'it is not a string'], [{}, 'it is not a string'], [[token], 'it is not a string'],
    [new String(token), 'it is not a string'], // eslint-disable-line no-new-wrappers -- what JSON never gives
    ['%'.repeat(4097), 'it is too long'],
    ['%', 'it is not canonical base64url'],
    ['', 'it is too short'], [bytes.subarray(0, 36).toString('base64url'), 'it is too short'],
    [bytes.subarray(0, 37).toString('base64url'), 'it was changed, or sealed for something else'],
    [forged.toString('base64url'), 'its version is not known'],
    [create({ keys: [randomKey()] }).seal(1, 'b'), 'no key has its id'],
    [seal.seal(1, 'c'), 'it was changed, or sealed for something else']
  ]
  const told = new Set<string>()
  const look = (token: unknown, why: string) => {
    t.equal(reason(seal, token), why)
    try {
      seal.open(token, 'b')
    } catch (error) {
      told.add(JSON.stringify([toRpcError(error), toStatus(error)]))
    }
  }
  for (const [token, why] of refused) look(token, why)
  now = 1000
  look(token, 'it has expired')
  t.strictSame([...told], [JSON.stringify([{
    code: -32602,
    message: 'The requestState is not one that this server issued for this request, or it has expired',
    data: INVALID
  }, 200])])
})

t.test('a sealed token opens until its time is over', async t => {
  let now = 5000
  const seal = create({ now: () => now })
  const token = seal.seal('x', 'b')
  for (const time of [4000, 5000, 5999]) {
    now = time
    t.equal(seal.open(token, 'b'), 'x')
  }
  for (const time of [6000, 6001, 1e15]) {
    now = time
    t.equal(reason(seal, token), 'it has expired')
  }
  t.equal(reason(create({ now: () => now, ttl: 1e16 }), token), 'it has expired', 'the time is that of the token')
  t.equal(reason(create({ ttl: 0 }), create({ ttl: 0 }).seal('x', 'b')), 'it has expired', 'a time of nothing')
})

t.test('the system clock is the clock of a seal', async t => {
  const seal = create({ ttl: 60_000 })
  const token = create({ ttl: 60_000, now: () => Date.now() - 60_001 }).seal(1, 'b')
  t.equal(reason(seal, token), 'it has expired')
  t.equal(seal.open(create({ ttl: 60_000, now: () => Date.now() - 1000 }).seal(1, 'b'), 'b'), 1)
})

t.test('the first key seals and all open', async t => {
  const [older, newer] = [randomKey(), 'a newer secret, with umlauts: äöüäöü']
  const before = create({ keys: [older] })
  const during = create({ keys: [newer, older] })
  const after = create({ keys: [newer] })
  t.equal(during.open(before.seal(1, 'b'), 'b'), 1)
  t.equal(after.open(during.seal(1, 'b'), 'b'), 1)
  t.equal(during.open(after.seal(1, 'b'), 'b'), 1)
  t.equal(reason(before, during.seal(1, 'b')), 'no key has its id')
  t.equal(reason(after, before.seal(1, 'b')), 'no key has its id')
  t.equal(create({ keys: [newer, newer] }).open(after.seal(1, 'b'), 'b'), 1, 'the same key twice is one key')
  t.equal(create({ keys: [Buffer.from(newer)] }).open(after.seal(1, 'b'), 'b'), 1, 'text and its bytes are the same key')
})

t.test('the key id of one key does not help with another', async t => {
  const other = randomKey()
  const seal = create({ keys: [secret, other] })
  const token = Buffer.from(seal.seal(1, 'b'), 'base64url')
  const foreign = Buffer.from(create({ keys: [other] }).seal(1, 'b'), 'base64url')
  t.equal(reason(seal, Buffer.concat([foreign.subarray(0, 9), token.subarray(9)]).toString('base64url')), 'it was changed, or sealed for something else')
})

t.test('a key that seals has at least 32 bytes', async t => {
  for (const key of ['x'.repeat(32), 'ä'.repeat(16), new Uint8Array(32).fill(1), 'x'.repeat(1000)]) t.doesNotThrow(() => create({ keys: [key] }))
  for (const key of ['', 'x'.repeat(31), 'ä'.repeat(15), new Uint8Array(31)]) {
    t.throws(() => create({ keys: [key] }), { code: 'FST_MCP_OPTION_INVALID', message: 'Invalid option: a key that seals needs at least 32 bytes' })
    t.throws(() => create({ keys: [secret, key] }), { code: 'FST_MCP_OPTION_INVALID' }, 'also where it only opens')
  }
  t.throws(() => create({ keys: [] }), { code: 'FST_MCP_OPTION_INVALID', message: 'Invalid option: sealing needs a key' })
})

t.test('a random key is 32 bytes that are never the same', async t => {
  t.equal(randomKey().length, 32)
  t.notSame(randomKey(), randomKey())
})

t.test('a sealed token is as long as it may be and no longer', async t => {
  const now = () => 0
  for (let length = 0; length < 6; length++) {
    const value = 'x'.repeat(length)
    const token = create({ now }).seal(value, 'b')
    const seal = create({ now, maxBytes: token.length })
    t.equal(seal.seal(value, 'b').length, token.length)
    t.equal(seal.open(token, 'b'), value)
    const tighter = create({ now, maxBytes: token.length - 1 })
    t.throws(() => tighter.seal(value, 'b'), {
      code: 'FST_MCP_STATE_TOO_LARGE',
      message: `The answers and values sealed into the requestState grew beyond ${token.length - 1} bytes`
    })
    t.equal(reason(tighter, token), 'it is too long')
  }
  t.throws(() => create().seal('🚀'.repeat(800), 'b'), { code: 'FST_MCP_STATE_TOO_LARGE' }, 'bytes are counted, not characters')
})
