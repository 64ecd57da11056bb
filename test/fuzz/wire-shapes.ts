// How a request is put on the wire, in the forms that clients, proxies and attackers have.
import { Chance } from './chance.ts'
import type { Plain } from './grammar.ts'

interface Written {
  /** Text of one byte for each character, up to the body. */
  start: string
  headers: [name: string, value: string][]
  body: Buffer
}

type Shape = (request: Written, chance: Chance) => (Buffer | string)[]

const CRLF = '\r\n'
const headOf = ({ start, headers }: Written, more: readonly string[] = []): string =>
  [start, ...headers.map(([name, value]) => `${name}: ${value}`), ...more, '', ''].join(CRLF)
const length = ({ body }: Written, off = 0): string => `content-length: ${body.length + off}`
const whole: Shape = request => [headOf(request, [length(request)]), request.body]

function cut (bytes: Buffer, chance: Chance): Buffer[] {
  const pieces = []
  for (let at = 0, size; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + (size = 1 + chance.below(Math.max(2, bytes.length / 2)))))
  return pieces
}

function chunks (body: Buffer, chance: Chance): string {
  const extension = (): string => chance.pick(['', ';x', ';x="y"'])
  const each = cut(body, chance).map(piece => `${piece.length.toString(16)}${extension()}${CRLF}${piece.toString('latin1')}${CRLF}`)
  return `${each.join('')}0${CRLF}${chance.pick(['', 'x-trailer: 1\r\n', 'mcp-session-id: «none»\r\n'])}${CRLF}`
}

const chunked = (...more: string[]): Shape => (request, chance) => [headOf(request, [...more, 'transfer-encoding: chunked']), chunks(request.body, chance)]
const withHead = (edit: (text: string) => string): Shape => request => [edit(headOf(request, [length(request)])), request.body]
const withHeaders = (...more: string[]): Shape => request => [headOf(request, [length(request), ...more]), request.body]

/** What a server must answer as it answers the same request on one piece of paper. */
const sound = {
  whole,
  chunked: chunked(),
  pieces: (request, chance) => cut(Buffer.concat([Buffer.from(headOf(request, [length(request)]), 'latin1'), request.body]), chance),
  pipeline: request => Array.from({ length: 3 }, () => [headOf(request, [length(request)]), request.body]).flat()
} as const satisfies Record<string, Shape>

const BAD_CHUNKS = ['zz\r\n', '-1\r\nx\r\n', 'ffffffffffffffffff\r\nx', '5\r\nabc\r\n0\r\n\r\n', '1\nx\n0\n\n', '\r\n']
const SMUGGLED = `POST /mcp HTTP/1.1${CRLF}host: localhost${CRLF}content-length: 0${CRLF}${CRLF}`

/** What may be refused by Node, before Fastify or the plugin see it. */
const broken = {
  short: request => [headOf(request, [length(request, 10)]), request.body],
  long: request => [headOf(request, [length(request, -Math.min(3, request.body.length))]), request.body, SMUGGLED],
  both: request => [headOf(request, [length(request), 'transfer-encoding: chunked']), `0${CRLF}${CRLF}`, SMUGGLED],
  reversed: (request, chance) => [headOf(request, ['transfer-encoding: chunked', 'content-length: 4']), chunks(request.body, chance), SMUGGLED],
  hiddenCoding: request => [headOf(request, ['transfer-encoding: xchunked', length(request)]), request.body],
  twoCodings: chunked('transfer-encoding: identity'),
  twoLengths: withHeaders('content-length: 1'),
  negativeLength: request => [headOf(request, ['content-length: -1']), request.body],
  hugeLength: request => [headOf(request, ['content-length: 99999999999999999999']), request.body],
  noLength: request => [headOf(request), request.body],
  badChunk: (request, chance) => [headOf(request, ['transfer-encoding: chunked']), chance.pick(BAD_CHUNKS)],
  bareLf: withHead(text => text.replaceAll(CRLF, '\n')),
  bareCr: withHead(text => text.replace(CRLF, '\r')),
  folded: withHeaders(`x-folded: a${CRLF} b`),
  nul: withHeaders('x-nul: a\0b'),
  spaceBeforeColon: withHeaders('x-space : 1'),
  noName: withHeaders(': 1'),
  injected: withHeaders(`x-a: 1${CRLF}X-Injected: 1`),
  hugeHeader: withHeaders(`x-huge: ${'a'.repeat(20_000)}`),
  manyHeaders: withHeaders(...Array.from({ length: 2_100 }, (_, index) => `x-${index}: 1`)),
  noHost: withHead(text => text.replace(/^host: .*\r\n/mi, '')),
  twoHosts: withHeaders('host: evil.example'),
  upgrade: withHeaders('connection: upgrade', 'upgrade: websocket'),
  h2c: withHeaders('connection: Upgrade, HTTP2-Settings', 'upgrade: h2c', 'http2-settings: AAMAAABkAAQAAP__'),
  expect: withHeaders('expect: 100-continue'),
  expectMore: withHeaders('expect: a miracle'),
  old: withHead(text => text.replace('HTTP/1.1', 'HTTP/1.0')),
  ancient: withHead(text => text.replace('HTTP/1.1', 'HTTP/0.9')),
  newer: withHead(text => text.replace('HTTP/1.1', 'HTTP/2.0')),
  lowerCase: withHead(text => text.replace(/^\w+/, word => word.toLowerCase())),
  absolute: withHead(text => text.replace(' /', ' http://evil.example/')),
  connect: withHead(text => text.replace(/^\w+ \S+/, 'CONNECT evil.example:443')),
  asterisk: withHead(text => text.replace(/^\w+ \S+/, 'OPTIONS *')),
  preface: () => ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  tls: () => [Buffer.from('16030100a5010000a10303', 'hex')],
  nothing: () => [''],
  truncated: (request, chance) => {
    const bytes = Buffer.concat([Buffer.from(headOf(request, [length(request)]), 'latin1'), request.body])
    return [bytes.subarray(0, chance.below(bytes.length))]
  }
} as const satisfies Record<string, Shape>

const SHAPES: Readonly<Record<string, Shape>> = { ...sound, ...broken }

/** Those that are as good as whole, and those that are not. */
export const SOUND = Object.keys(sound)
export const BROKEN = Object.keys(broken)

/** How many responses a shape is owed; a broken one is owed nothing. */
export const owed = (shape: string): number => shape === 'pipeline' ? 3 : SOUND.includes(shape) ? 1 : 0

/** The bytes of a request, as they are written one after another. */
export function piecesOf ({ method, target, headers, body = '' }: Plain, shape: string, salt: number): Buffer[] {
  const written = { start: `${method} ${target} HTTP/1.1`, headers, body: Buffer.from(body) }
  const pieces = (SHAPES[shape] ?? whole)(written, new Chance(salt))
  return pieces.map(piece => typeof piece === 'string' ? Buffer.from(piece, 'latin1') : piece)
}
