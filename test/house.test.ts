import { readdirSync, readFileSync } from 'node:fs'
import { join, sep } from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { breaches } from './house.ts'

const root = join(import.meta.dirname, '..')
const sources = ['lib', 'test', 'examples', 'bench', 'scripts']
  .flatMap(folder => readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map(path => join(folder, path)))
  .filter(path => path.endsWith('.ts') && !path.split(sep).includes('node_modules'))
  .map(path => path.replaceAll(sep, '/'))

t.test('every file of lib loads, so that coverage counts each', async t => {
  for (const path of sources.filter(path => path.startsWith('lib/'))) {
    await t.resolves(import(pathToFileURL(join(root, path)).href), path)
  }
})

t.test('the house law holds', async t => {
  const files = new Map(sources.map(path => [path, readFileSync(join(root, path), 'utf8')]))
  t.strictSame(breaches(files), [])
})

t.test('each rule of the house law says no', async t => {
  const bad: Record<string, [path: string, source: string, breach: string]> = {
    'an arrow up': ['lib/tools/run.ts', "import { a } from '../http/routes.ts'", 'lib/tools/run.ts:1: tools must not import http'],
    'an arrow past a wall': ['lib/sse/stream.ts', "import '../store/store.ts'", 'lib/sse/stream.ts:1: sse must not import store'],
    'an arrow to the door': ['lib/http/routes.ts', "import { a } from '../index.ts'", 'lib/http/routes.ts:1: http must not import index'],
    'an arrow to ops from inside': ['lib/eras/stateless.ts', "import { a } from '../ops/drain.ts'", 'lib/eras/stateless.ts:1: eras must not import ops'],
    'an arrow out of errors': ['lib/errors.ts', "import { a } from './options.ts'", 'lib/errors.ts:1: errors must not import options'],
    'one value among types': ['lib/options.ts', "import { type A, b } from './mcp.ts'", 'lib/options.ts:1: options must not import mcp'],
    'a default import': ['lib/mcp.ts', "import a, { type B } from './options.ts'", 'lib/mcp.ts:1: mcp must not import options'],
    'a namespace': ['lib/features/tools.ts', "import * as a from '../eras/classify.ts'", 'lib/features/tools.ts:1: features must not import eras'],
    'an export from above': ['lib/protocol/call.ts', "\nexport { a } from '../eras/classify.ts'", 'lib/protocol/call.ts:2: protocol must not import eras'],
    'an export of everything': ['lib/store/memory.ts', "export * from '../tools/run.ts'", 'lib/store/memory.ts:1: store must not import tools'],
    'an import() in a function': ['lib/ops/health.ts', "const a = () => import('../http/routes.ts')", 'lib/ops/health.ts:1: ops must not import http'],
    'a room that is not in the plan': ['lib/utils/a.ts', '', 'lib/utils/a.ts: utils is not a room of the house'],
    'an impure import': ['lib/sse/frame.ts', "import { Buffer } from 'node:buffer'", 'lib/sse/frame.ts:1: a pure file imports node:buffer'],
    'an impure import without its prefix': ['lib/tools/chunk.ts', "import 'fs'", 'lib/tools/chunk.ts:1: a pure file imports fs'],
    'a clock': ['lib/eras/classify.ts', 'const a = Date.now()', 'lib/eras/classify.ts:1: a pure file names Date'],
    'a timer': ['lib/protocol/message.ts', 'globalThis.setTimeout(a)', 'lib/protocol/message.ts:1: a pure file names setTimeout'],
    'the raw reply': ['lib/eras/handshake.ts', "reply.raw.write('')", 'lib/eras/handshake.ts:1: touches reply.raw'],
    'the raw reply of a call': ['lib/protocol/methods.ts', 'call.reply.raw', 'lib/protocol/methods.ts:1: touches reply.raw'],
    'the raw reply taken apart': ['lib/http/guard.ts', 'const { raw: a } = reply', 'lib/http/guard.ts:1: touches reply.raw'],
    'a frame in a string': ['lib/http/answer.ts', "const a = 'data: '", 'lib/http/answer.ts:1: writes "data: "'],
    'a frame in a template': ['lib/sse/stream.ts', 'const a = `id: ${b}\ndata: ${c}`', 'lib/sse/stream.ts:1: writes "data: "'], // eslint-disable-line no-template-curly-in-string -- it is source code
    any: ['lib/tools/schema.ts', 'let a: any', 'lib/tools/schema.ts:1: says any'],
    'a bare error': ['lib/http/auth.ts', "throw new Error('no')", 'lib/http/auth.ts:1: throws a bare Error'],
    'a long file': ['lib/http/limits.ts', 'a\n'.repeat(261), 'lib/http/limits.ts: has 261 lines, more than 260']
  }
  for (const [name, [path, source, breach]] of Object.entries(bad)) {
    t.strictSame(breaches(new Map([[path, source]])), [breach], name)
  }
  const twice = new Map([['lib/tools/run.ts', ''], ['bench/run.ts', '']])
  t.strictSame(breaches(twice), ['bench/run.ts: has the name of lib/tools/run.ts'], 'a name used twice')
})

t.test('what the house law leaves free', async t => {
  const good: Record<string, [path: string, source: string]> = {
    'a type from above': ['lib/tools/run.ts', "import type { A } from '../http/routes.ts'"],
    'types from above, each marked': ['lib/tools/run.ts', "import { type A, type B } from '../http/routes.ts'"],
    'a type passed on': ['lib/tools/run.ts', "export type { A } from '../http/routes.ts'"],
    'types passed on, each marked': ['lib/tools/run.ts', "export { type A } from '../http/routes.ts'"],
    'errors and its own room': ['lib/sse/stream.ts', "import '../errors.ts'\nimport './frame.ts'"],
    'the door to anything': ['lib/index.ts', "import './ops/drain.ts'\nimport './mcp.ts'\nimport './store/memory.ts'"],
    'packages anywhere': ['lib/tools/schema.ts', "import { z } from 'zod'\nimport { hash } from 'node:crypto'"],
    'a comment': ['lib/tools/run.ts', '// any data: is for reply.raw; throw new Error(a)'],
    'the raw reply where it belongs': ['lib/http/answer.ts', 'reply.raw.on(a)'],
    'the raw reply where streams are written': ['lib/http/responses.ts', 'reply.raw.on(a)'],
    'the frame where it belongs': ['lib/sse/frame.ts', "const a = 'data: '"],
    'the raw request': ['lib/http/guard.ts', 'request.raw'],
    'files outside lib': ['test/a.ts', 'let a: any']
  }
  for (const [name, [path, source]] of Object.entries(good)) {
    t.strictSame(breaches(new Map([[path, source]])), [], name)
  }
})
