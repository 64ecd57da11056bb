import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect as connectSocket } from 'node:net'
import { dirname, join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import ts from 'typescript'
import { ACCEPT, Client, createApp, EventStream, listen, type Reply, send, SseClient, until } from './client.ts'
import { root } from './child.ts'
import { errorCodes, toRpcError, toStatus } from '../lib/errors.ts'
import { optionsSchema } from '../lib/options.ts'
import { withRedis } from './redis-server.ts'
import { isCode, isProgram, moduleOf, Page, type Snippet, snippetsOf } from './snippets.ts'

const pages = ['README.md', ...readdirSync(join(root, 'docs')).map(name => `docs/${name}`)].filter(page => page.endsWith('.md'))
// The figures of docs/performance.md are the bench's own.
const shown = pages.filter(page => page !== 'docs/performance.md')
const read = (page: string): string => readFileSync(join(root, page), 'utf8')

// `npx tap test/docs.test.ts --snapshot` writes what really came out into the pages.
const writes = process.env.TAP_SNAPSHOT === '1'

for (const page of shown) {
  const needs = read(page).includes('REDIS_URL') ? withRedis : {}
  t.test(`every block of ${page} does what the page says`, needs, async t => {
    let text = read(page)
    let shift = 0
    const runner = new Page(t)
    for (const snippet of snippetsOf(page, text)) {
      const where = `${page}:${snippet.line} ${snippet.note || snippet.language}`
      const real = await runner.run(snippet).catch((error: Error) => t.fail(where, { found: error.message }))
      if (typeof real !== 'string') {
        t.pass(where)
      } else if (writes) {
        const start = snippet.start + shift
        text = `${text.slice(0, start)}${real}\n${text.slice(start + snippet.code.length)}`
        shift += real.length + 1 - snippet.code.length
      } else {
        t.equal(snippet.code.trim(), real, where)
      }
    }
    await runner.end()
    if (writes) writeFileSync(join(root, page), text)
  })
}

t.test('every block of code passes the type checker', async t => {
  const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile)
  const { options } = ts.parseJsonConfigFileContent({ ...config, files: [], include: [] }, ts.sys, root)
  const modules = new Map<string, { snippet: Snippet, source: string }>()
  for (const snippet of shown.flatMap(page => snippetsOf(page, read(page))).filter(isCode)) {
    modules.set(join(root, 'test', `snippet${modules.size}.ts`), { snippet, source: moduleOf(snippet) })
  }
  t.ok(modules.size > 20)

  const host = ts.createCompilerHost(options)
  const { fileExists, readFile, getSourceFile } = host
  host.fileExists = path => modules.has(path) || fileExists(path)
  host.readFile = path => modules.get(path)?.source ?? readFile(path)
  host.getSourceFile = (path, target, ...rest) => {
    const source = modules.get(path)?.source
    return source === undefined ? getSourceFile(path, target, ...rest) : ts.createSourceFile(path, source, target)
  }
  const program = ts.createProgram([...modules.keys()], options, host)
  for (const [path, { snippet }] of modules) {
    const file = program.getSourceFile(path)
    const problems = [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)]
    t.strictSame(problems.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, ' ')), [], `${snippet.page}:${snippet.line}`)
  }
})

t.test('the README is short, and its server is examples/hello.ts', async t => {
  t.ok(read('README.md').split('\n').length < 150)
  t.equal(snippetsOf('README.md', read('README.md')).find(isProgram)?.code, read('examples/hello.ts'))
})

t.test('the Python of docs/clients.md is test/clients/visit.py, which scripts/clients.ts runs', async t => {
  const [block] = snippetsOf('docs/clients.md', read('docs/clients.md')).filter(({ language }) => language === 'python')
  t.equal(block?.code, read('test/clients/visit.py'))
})

t.test('docs/clients.md names the versions that scripts/clients.ts runs', async t => {
  const [, table = ''] = /^const PACKAGES = \{(.+)\}/m.exec(read('scripts/clients.ts')) ?? []
  const pinned = [...table.matchAll(/'([^']+)': '([\d.]+)'/g)]
  t.equal(pinned.length, 2)
  for (const [, name = '', version = ''] of pinned) {
    const named = new Set(Array.from(read('docs/clients.md').matchAll(new RegExp(`${name}@([\\d.]+)`, 'g')), ([, found]) => found))
    t.strictSame([...named], [version], name)
  }
})

t.test('every link leads somewhere', async t => {
  for (const page of pages) {
    for (const [, target = ''] of read(page).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target)) continue
      const [path = '', anchor] = target.split('#')
      const file = path === '' ? page : join(dirname(page), path)
      t.ok(existsSync(join(root, file)), `${page}: ${target}`)
      if (anchor !== undefined) t.ok(anchorsOf(read(file)).includes(anchor), `${page}: ${target}`)
    }
  }
})

function anchorsOf (text: string): string[] {
  return Array.from(text.matchAll(/^#+ (.+)$/gm), ([, heading = '']) => heading.toLowerCase().replace(/[^\w\- ]/g, '').replaceAll(' ', '-'))
}

t.test('docs/options.md shows each option, its default and its sentence', async t => {
  const rows = rowsOf(optionsSchema, '')
  t.ok(rows.length > 30)
  const table = ['| option | default | what it is |', '|---|---|---|', ...rows].join('\n')
  const text = read('docs/options.md')
  const found = /^\| option .+\n(?:\|.*\n)+/m.exec(text)?.[0] ?? ''
  if (writes) writeFileSync(join(root, 'docs/options.md'), text.replace(found, `${table}\n`))
  else t.equal(found.trim(), table)
})

/** The part of a zod schema that the table is made of. */
interface Described {
  readonly description?: string | undefined
  readonly def?: { readonly type?: string, readonly innerType?: Described, readonly options?: readonly Described[], readonly defaultValue?: unknown }
  readonly shape?: Record<string, Described>
}

function rowsOf (schema: Described, prefix: string): string[] {
  return Object.entries(schema.shape ?? {}).flatMap(([name, field]) => {
    const path = `${prefix}${name}`
    const { description, def } = field
    const value = def?.type === 'default' ? `\`${JSON.stringify(def.defaultValue)}\` ` : ''
    return [...(description === undefined ? [] : [`| \`${path}\` | ${value}| ${description} |`]), ...rowsOf(objectIn(field), `${path}.`)]
  })
}

/** The object below defaults and alternatives, if there is one. */
function objectIn (schema: Described): Described {
  if (schema.shape !== undefined) return schema
  const inner = schema.def?.innerType ?? schema.def?.options?.find(option => objectIn(option).shape !== undefined)
  return inner === undefined ? {} : objectIn(inner)
}

t.test('docs/security.md names for each threat tests that there are', async t => {
  const [, section = ''] = read('docs/security.md').split('## Threats and guards')
  const rows = [...section.matchAll(/^\| (?!threat|-)(.+?) \| (.+) \| (.+?) \|$/gm)]
  t.ok(rows.length > 20)
  for (const [, threat = '', , tests = ''] of rows) {
    const named = [...tests.matchAll(/`([\w-]+\.test\.ts)` "(.+?)"(?:, |$)/g)]
    t.equal(named.map(([whole]) => whole).join(''), tests, `${threat}: nothing but tests`)
    for (const [, file = '', sentence = ''] of named) {
      t.ok(read(`test/${file}`).includes(`('${sentence.replaceAll("'", "\\'")}', async`), `${threat}: ${file} "${sentence}"`)
    }
  }
})

t.test('docs/errors.md shows each error as it is', async t => {
  const rows = [...read('docs/errors.md').matchAll(/^\| `(FST_MCP_\w+)` \| (\d+) \| (-\d+) \| (.+?) \| (.+) \|$/gm)]
  t.strictSame(rows.map(([, code]) => code), Object.keys(errorCodes))
  for (const [, code = '', status, rpc, message] of rows) {
    const ErrorOf = Object.entries(errorCodes).find(([name]) => name === code)?.[1]
    const error = ErrorOf === undefined ? new Error(code) : new ErrorOf()
    t.strictSame([status, rpc, message], [String(toStatus(error)), String(toRpcError(error).code), error.message], code)
  }
})

t.test('the section "Bad input" of docs/errors.md says what is answered', async t => {
  const app = await createApp(t)
  app.mcp.tool('add', { input: { type: 'object', properties: { n: { type: 'number' } } } }, () => 'added')
  app.mcp.tool('wait', {}, (_args, { signal }) => new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))))
  const url = await listen(app)
  const client = await Client.connect(url)
  const older = await Client.connect(url, { revision: '2025-03-26' })
  const ping = { jsonrpc: '2.0', id: 1, method: 'ping' }
  const initialize = { jsonrpc: '2.0', id: 1, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'bad', version: '1' } } }
  const callOf = (name: string, args: object) => ({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: args } })
  const get = async (path: string, headers: Record<string, string>): Promise<EventStream> => {
    const stream = await EventStream.open(url, path, { headers })
    t.teardown(() => stream.close())
    return stream
  }

  const cases: Record<string, () => Promise<Reply | EventStream | string>> = {
    'malformed JSON': () => client.post('{"jsonrpc":'),
    'no body': () => client.post(''),
    'a body that is not JSON-RPC': () => client.post({ hello: 'world' }),
    'a body nested 50,000 levels deep': () => client.post('['.repeat(50_000) + ']'.repeat(50_000)),
    'a body above `limits.body`': () => client.post(JSON.stringify({ ...ping, params: { text: 'x'.repeat(5_000_000) } })),
    'another media type': () => client.post('<ping/>', { 'content-type': 'text/xml' }),
    'a key `__proto__` or `constructor.prototype`': () => client.post('{"jsonrpc":"2.0","id":1,"method":"ping","params":{"__proto__":{"a":1}}}'),
    'an unknown method': () => client.post({ ...ping, method: 'pong' }),
    'an unknown tool': () => client.post(callOf('nothing', {})),
    'arguments of a wrong type, 2025-11-25': async () => {
      const reply = await client.post(callOf('add', { n: 'one' }))
      return reply.messages[0]?.result?.isError === true ? '200 a result with `isError`' : reply
    },
    'arguments of a wrong type, before': () => older.post(callOf('add', { n: 'one' })),
    'an id that is null': () => client.post({ ...ping, id: null }),
    'an id that is a fraction': () => client.post({ ...ping, id: 1.5 }),
    'an id above `limits.id`': () => client.post({ ...ping, id: 'x'.repeat(257) }),
    'an id that is in use': async () => {
      const first = client.post({ ...callOf('wait', {}), id: 'used' })
      await until(() => app.mcp.stats().calls === 1, 'the first call')
      const second = await client.post({ ...ping, id: 'used' })
      await client.cancel('used')
      await first
      return second
    },
    'a batch where there are none': () => client.post([ping]),
    'an empty batch': () => older.post([]),
    'a batch above `limits.batch`': () => older.post(Array.from({ length: 101 }, (_, id) => ({ ...ping, id }))),
    '`initialize` in a batch': () => older.post([initialize]),
    'a response to no request': () => client.post({ jsonrpc: '2.0', id: 9, result: {} }),
    'a second `initialize` in its session': () => client.post(initialize),
    '`initialize` with the id of a session that is gone': async () => {
      const reply = await client.post(initialize, { 'mcp-session-id': 'gone' })
      return typeof reply.headers['mcp-session-id'] === 'string' ? `${reply.status} a new session` : reply
    },
    'a wrong Accept': () => client.post(ping, { accept: 'text/html' }),
    'no Accept': async () => {
      const reply = await send(url, '/mcp', { method: 'POST', headers: { 'mcp-session-id': String(client.sessionId) }, body: ping })
      return reply.messages[0]?.result === undefined ? reply : `${reply.status} the answer`
    },
    'no session id': () => send(url, '/mcp', { method: 'POST', headers: { accept: ACCEPT }, body: ping }),
    'an unknown session id, also `__proto__`': () => client.post(ping, { 'mcp-session-id': '__proto__' }),
    'a POST to `/messages` while the stream is away': async () => {
      const { status } = await postAfterLeaving(app, url)
      return `${status} the answer waits`
    },
    'the same after `sessions.replay.window`': async () => {
      const app = await createApp(t, { sessions: { replay: { window: 10 } } })
      return await postAfterLeaving(app, await listen(app), () => app.mcp.stats().sessions === 0)
    },
    'an unknown `MCP-Protocol-Version`': () => client.post(ping, { 'mcp-protocol-version': '2020-01-01' }),
    'a `Last-Event-ID` above `limits.header`': () => send(url, '/sse', { headers: { accept: ACCEPT, 'last-event-id': 'x'.repeat(1_025) } }),
    'a `Last-Event-ID` that is none of ours': async () => {
      const { status, body } = await get('/mcp', { ...client.headers, 'last-event-id': '\'; DROP TABLE events' })
      return body.readableEnded ? 'it ended' : `${status} a new stream`
    },
    'a `Last-Event-ID` of another session on `/sse`': async () => {
      const stream = await get('/sse', { 'last-event-id': `${client.sessionId}_1` })
      const { data } = await stream.next()
      return data.includes(String(client.sessionId)) ? data : `${stream.status} a new session`
    },
    'a second GET stream': async () => {
      const session = await Client.connect(url)
      const streams = [await session.get(), await session.get()]
      app.mcp.tool('late', {}, () => 'here')
      const { method } = await streams[1]?.message() ?? {}
      t.equal(method, 'notifications/tools/list_changed')
      const [first, second] = streams.map(({ status }) => status)
      await Promise.all(streams.map(stream => stream.close()))
      return streams[0]?.messages.length === 0 && first === second ? `${second} a second stream; messages go to the newest` : 'both got it'
    },
    'a header with a line break': () => raw(url, 'GET /sse HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: a\nb\r\n\r\n')
  }

  const [, section = ''] = read('docs/errors.md').split('## Bad input')
  const rows = [...section.matchAll(/^\| (.+?) \| (\d+) \| (.+) \|$/gm)]
  t.strictSame(rows.map(([, name]) => name), Object.keys(cases))
  for (const [, name = '', status = '', told = ''] of rows) {
    const answer = await cases[name]?.()
    if (typeof answer === 'string') t.equal(answer, `${status} ${told}`, name)
    else if (answer instanceof EventStream) t.fail(name)
    else t.strictSame([answer?.status, answer?.messages[0]?.error?.data.code], [Number(status), told.replaceAll('`', '')], name)
  }
  const sse = await SseClient.connect(url)
  t.match(await client.request('ping'), { result: {} }, 'the session that sent all this goes on')
  await sse.close()
})

async function postAfterLeaving (app: FastifyInstance, url: string, isTime = () => true): Promise<Reply> {
  const client = await SseClient.connect(url)
  const { streams } = app.mcp.stats()
  await client.close()
  await until(() => app.mcp.stats().streams < streams && isTime(), 'the loss of the stream')
  return await client.post({ jsonrpc: '2.0', id: 1, method: 'ping' })
}

/** What Node answers to bytes that no client library would send. */
async function raw (url: string, text: string): Promise<string> {
  const socket = connectSocket(Number(new URL(url).port), '127.0.0.1')
  socket.write(text)
  let answer = ''
  for await (const chunk of socket.setEncoding('utf8')) answer += chunk
  return answer.startsWith('HTTP/1.1 400 Bad Request') ? '400 Node refuses it before Fastify sees it' : answer
}
