import { RE2JS } from 're2js'

/** A pattern made ready: `test` takes time in proportion to `size` times the length of the text, whatever both are. */
export interface Pattern {
  readonly test: (text: string) => boolean
  /** In instructions of the engine. */
  readonly size: number
}

const MAX_PATTERN_LENGTH = 2_000
const MAX_PATTERN_SIZE = 5_000
const MAX_QUOTED = 80

const SPACE = '\\x{9}-\\x{D}\\x{20}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}\\x{FEFF}'
const NOT_SPACE = '\\x{0}-\\x{8}\\x{E}-\\x{1F}\\x{21}-\\x{9F}\\x{A1}-\\x{167F}\\x{1681}-\\x{1FFF}\\x{200B}-\\x{2027}' +
  '\\x{202A}-\\x{202E}\\x{2030}-\\x{205E}\\x{2060}-\\x{2FFF}\\x{3001}-\\x{FEFE}\\x{FF00}-\\x{10FFFF}'
const ANY = '\\x{0}-\\x{10FFFF}'
const NOT_LINE_END = '[^\\x{A}\\x{D}\\x{2028}\\x{2029}]'
const CONTROLS = new Map([['t', 9], ['n', 10], ['v', 11], ['f', 12], ['r', 13], ['0', 0]])
// RE2 knows general categories by their short names.
const CATEGORIES = new Map([
  ['Letter', 'L'], ['Cased_Letter', 'LC'], ['Lowercase_Letter', 'Ll'], ['Uppercase_Letter', 'Lu'], ['Titlecase_Letter', 'Lt'],
  ['Modifier_Letter', 'Lm'], ['Other_Letter', 'Lo'], ['Mark', 'M'], ['Number', 'N'], ['Decimal_Number', 'Nd'], ['Punctuation', 'P'],
  ['Symbol', 'S'], ['Separator', 'Z'], ['Space_Separator', 'Zs'], ['Control', 'Cc']
])

/**
 * Makes a `pattern` of JSON Schema ready: a regular expression of ECMA-262 with the flag `u`, run by an engine that never backtracks.
 * Throws a TypeError when it is not one, when such an engine cannot run it (lookaround, backreferences), or when it is too large.
 */
export function compilePattern (source: string): Pattern {
  const refuse = (why: string): TypeError => new TypeError(`pattern "${source.slice(0, MAX_QUOTED)}" ${why}`)
  if (source.length > MAX_PATTERN_LENGTH) throw refuse(`is longer than ${MAX_PATTERN_LENGTH} characters`)
  try {
    // Only parsed: it says what ECMA-262 allows, and what passes is all that the reader below must understand.
    RegExp(source, 'u')
  } catch {
    throw refuse('is not a regular expression of ECMA-262 with the flag `u`')
  }
  let engine: RE2JS
  try {
    engine = RE2JS.compile(new Reader(source).read())
  } catch (cause) {
    throw refuse(`cannot run in linear time: ${String(cause).replace(/^\w+: /, '')}`)
  }
  const size = engine.programSize()
  if (size > MAX_PATTERN_SIZE) throw refuse('is too large: it repeats too much')
  return { size, test: text => engine.test(text) }
}

function hex (code: number): string {
  return `\\x{${code.toString(16).toUpperCase()}}`
}

/** Says a valid pattern of ECMA-262 in the syntax of RE2, where the same signs do not always mean the same. */
class Reader {
  readonly #source: string
  #at = 0

  constructor (source: string) {
    this.#source = source
  }

  read (): string {
    let out = ''
    while (this.#at < this.#source.length) out += this.#term()
    return out
  }

  #take (): string {
    const char = String.fromCodePoint(Number(this.#source.codePointAt(this.#at)))
    this.#at += char.length
    return char
  }

  #skip (text: string): boolean {
    if (!this.#source.startsWith(text, this.#at)) return false
    this.#at += text.length
    return true
  }

  #takeUntil (end: string): string {
    const from = this.#at
    this.#at = this.#source.indexOf(end, from) + end.length
    return this.#source.slice(from, this.#at - end.length)
  }

  #term (): string {
    const char = this.#take()
    switch (char) {
      case '(': return this.#group()
      case '[': return this.#class()
      case '.': return NOT_LINE_END
      case '\\': return this.#escape()
      case '{': return `{${this.#takeUntil('}')}}`
      case ')': case '|': case '*': case '+': case '?': case '^': case '$': return char
      default: return hex(Number(char.codePointAt(0)))
    }
  }

  /** Groups catch nothing: only whether there is a match is asked. */
  #group (): string {
    if (!this.#skip('?') || this.#skip(':')) return '(?:'
    for (const look of ['=', '!', '<=', '<!']) if (this.#skip(look)) throw new TypeError('lookaround')
    if (!this.#skip('<')) throw new TypeError('modifiers')
    this.#takeUntil('>')
    return '(?:'
  }

  #escape (): string {
    const char = this.#take()
    if (char === 'b' || char === 'B') return `\\${char}`
    if (char === 'k' || (char >= '1' && char <= '9')) throw new TypeError('a backreference')
    const set = this.#set(char)
    return set === undefined ? hex(this.#code(char)) : `[${set}]`
  }

  #class (): string {
    const open = this.#skip('^') ? '[^' : '['
    let out = ''
    while (!this.#skip(']')) {
      const low = this.#atom()
      const isRange = this.#source[this.#at] === '-' && this.#source[this.#at + 1] !== ']'
      out += isRange && this.#skip('-') ? `${low}-${this.#atom()}` : low
    }
    if (out === '') return open === '[' ? `[^${ANY}]` : `[${ANY}]`
    return `${open}${out}]`
  }

  #atom (): string {
    const char = this.#take()
    if (char !== '\\') return hex(Number(char.codePointAt(0)))
    const escaped = this.#take()
    return this.#set(escaped) ?? hex(escaped === 'b' ? 8 : this.#code(escaped))
  }

  /** What stands for many characters, as it is written inside brackets. */
  #set (char: string): string | undefined {
    switch (char) {
      case 'd': case 'D': case 'w': case 'W': return `\\${char}`
      case 's': return SPACE
      case 'S': return NOT_SPACE
      case 'p': case 'P': return `\\${char}{${this.#property()}}`
      default: return undefined
    }
  }

  #property (): string {
    this.#skip('{')
    const name = this.#takeUntil('}').replace(/^(?:Script|sc|General_Category|gc)=/, '')
    return CATEGORIES.get(name) ?? name
  }

  /** What stands for one character. */
  #code (char: string): number {
    if (char === 'x') return this.#digits(2)
    if (char === 'c') return Number(this.#take().codePointAt(0)) % 32
    if (char !== 'u') return CONTROLS.get(char) ?? Number(char.codePointAt(0))
    if (this.#skip('{')) return parseInt(this.#takeUntil('}'), 16)
    const unit = this.#digits(4)
    const pair = /^\\u(d[c-f][0-9a-f]{2})/i.exec(this.#source.slice(this.#at, this.#at + 6))
    if (unit < 0xD800 || unit > 0xDBFF || pair === null) return unit
    this.#at += 6
    return 0x10000 + ((unit - 0xD800) << 10) + parseInt(String(pair[1]), 16) - 0xDC00
  }

  #digits (count: number): number {
    this.#at += count
    return parseInt(this.#source.slice(this.#at - count, this.#at), 16)
  }
}
