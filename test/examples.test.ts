import { execFile, spawn } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import { type CallToolResult, Client, SSEClientTransport, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { Client as Client1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as Http1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import {
  CreateMessageRequestSchema, ElicitRequestSchema, ListRootsRequestSchema, ResourceUpdatedNotificationSchema, ToolListChangedNotificationSchema
} from '@modelcontextprotocol/sdk/types.js'
import t, { type Test } from 'tap'
import { Receipts } from '../examples/browser/receipts.ts'
import { type Child, root, startChild } from './child.ts'
import { Client as RawClient, EventStream, send, SseClient, until, within } from './client.ts'
import { startRedis, withRedis } from './redis-server.ts'
import { openPort, signIn2 } from './visitor.ts'

type Progress = { progress: number, total?: number, message?: string }

/** The official client, connected to an example. */
async function connect (t: Test, { url }: Child, { path = '/mcp', token = '' } = {}): Promise<Client> {
  const client = new Client({ name: 'test', version: '1.0.0' })
  t.teardown(() => client.close())
  const Transport = path.endsWith('/sse') ? SSEClientTransport : StreamableHTTPClientTransport
  const headers = { ...(token !== '' && { authorization: `Bearer ${token}` }) }
  await client.connect(new Transport(new URL(path, url), { requestInit: { headers } }))
  return client
}

/** Calls a tool and keeps what it told on the way. */
function call (client: Client, name: string, args: object, signal?: AbortSignal): { told: Progress[], result: Promise<CallToolResult> } {
  const told: Progress[] = []
  const onprogress = (progress: Progress): void => { told.push(progress) }
  return { told, result: client.callTool({ name, arguments: { ...args } }, { onprogress, signal }) }
}

function textOf ({ content }: CallToolResult): string {
  return content.map(block => block.type === 'text' ? block.text : '').join('')
}

/** Runs one line as somebody would who pasted it into a terminal. */
async function shell (line: string): Promise<string> {
  const { stdout } = await promisify(execFile)('bash', ['-c', line])
  return stdout
}

/** A folder of documents with everything in it that a server should not follow or read. */
async function makeFolder (t: Test): Promise<string> {
  const outside = t.testdir({ 'secret.txt': 'stream of secrets', documents: {} })
  const folder = join(outside, 'documents')
  await mkdir(join(folder, 'more'))
  await writeFile(join(folder, 'a.md'), 'A stream of words.\nAnother line.\r\nThe last STREAM')
  await writeFile(join(folder, 'more', 'b.md'), 'Nothing but words words words')
  await writeFile(join(folder, 'image.png'), Buffer.from([137, 80, 78, 71, 0, 0]))
  await writeFile(join(folder, '.hidden'), 'stream')
  await writeFile(join(folder, 'table.csv'), '\uFEFFcity,degrees,note\r\n"Oslo, NO",-3,"says ""hi""\nthere"\nRome,17.5,\nRome,9,x\n\n')
  await writeFile(join(folder, 'unclosed.csv'), 'a,b\n1,"never closed\n')
  await symlink(join(outside, 'secret.txt'), join(folder, 'link.txt'))
  await symlink(outside, join(folder, 'up'))
  return folder
}

t.test('hello streams each word while the tool runs', async t => {
  const child = await startChild(t, 'examples/hello.ts')
  const client = await connect(t, child)
  const { told, result } = call(client, 'hello', { name: 'you' })
  let isOver = false
  result.finally(() => { isOver = true })
  await until(() => told.length > 0, 'the first word')
  t.notOk(isOver, 'the first word is here before the end')
  t.equal(textOf(await result), 'Hello you and welcome ')
  t.strictSame(told.map(({ message }) => message), ['Hello ', 'you ', 'and ', 'welcome '])
})

t.test('nodes serve one port with several processes, and a client that hangs up goes on at any of them', withRedis, async t => {
  const { port } = await startRedis(t)
  const child = await startChild(t, 'examples/nodes.ts', { env: { NODES: '3', REDIS_URL: `redis://127.0.0.1:${port}` } })
  const nodes = (): Set<string> => new Set(Array.from(child.output().matchAll(/process (\d+) serves/g), ([, pid = '']) => pid))
  await until(() => nodes().size === 3, 'three nodes')

  const client = await RawClient.connect(child.url)
  const call = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'count', arguments: { to: 30, pause: 50 }, _meta: { progressToken: 'a' } } }
  const { headers } = client
  const first = await EventStream.open(child.url, '/mcp', { method: 'POST', headers, body: call })
  await until(() => first.messages.length > 2, 'the first numbers')
  const seen = first.messages.length
  const [, runs = ''] = /process (\d+)/.exec(String(first.messages[0]?.params?.message)) ?? []
  t.ok(nodes().has(runs))
  await first.close()

  const rest = await EventStream.open(child.url, '/mcp', { headers: { ...headers, 'last-event-id': String(first.events.at(-1)?.id) } })
  await within(rest.closed, 'the end of the call')
  const told = [...first.messages, ...rest.messages].map(({ params }) => params?.message).filter(message => message !== undefined)
  t.strictSame(told, [`process ${runs}: `, ...Array.from({ length: 30 }, (_, index) => `${index + 1} `)], `cut after ${seen}`)
  t.match(rest.messages.at(-1), { id: 1, result: { content: [{ text: told.join('') }] } })

  process.kill(Number(runs), 'SIGKILL')
  await until(() => nodes().size === 4, 'a node in the place of the dead one')
  t.match(await client.request('ping'), { result: {} }, 'the session goes on')
  await child.stop('SIGTERM')
  t.equal(child.process.exitCode, 0, 'SIGTERM ends all of them in order')
})

t.test('documents lists, summarizes and searches a folder, and nothing outside it', async t => {
  const folder = await makeFolder(t)
  const child = await startChild(t, 'examples/documents.ts', { args: [folder] })
  const client = await connect(t, child)

  await t.test('scan tells each file as it is found', async t => {
    const { told, result } = call(client, 'scan', {})
    const text = textOf(await result)
    t.equal(text.replace(/\d+ bytes/g, 'n bytes'), [
      'a.md, n bytes', 'image.png, n bytes (binary)', 'more/b.md, n bytes', 'table.csv, n bytes', 'unclosed.csv, n bytes', '5 files'
    ].join('\n'))
    t.equal(told.length, 5)
  })

  await t.test('summarize tells how far it is', async t => {
    const { told, result } = call(client, 'summarize', {})
    const text = textOf(await result)
    t.match(text, /^a\.md: \d+ bytes, 9 words, mostly stream, words, another\nmore\/b\.md: 29 bytes, 5 words, mostly words, nothing\n/)
    t.strictSame(told, text.split('\n').map((message, index) => ({ progress: index + 1, total: 4, message })))
    t.equal(textOf(await call(client, 'summarize', { prefix: 'more/' }).result), 'more/b.md: 29 bytes, 5 words, mostly words, nothing')
    await writeFile(join(folder, 'zz.txt'), 'a b c')
    t.teardown(() => rm(join(folder, 'zz.txt')))
    t.equal(textOf(await call(client, 'summarize', { prefix: 'zz' }).result), 'zz.txt: 5 bytes, 3 words')
  })

  await t.test('a chunk is here while the tool is at work, and a cancel ends it', async t => {
    const cancel = new AbortController()
    const { told, result } = call(client, 'summarize', { pause: 10_000 }, cancel.signal)
    await until(() => told.length === 1, 'the first document')
    cancel.abort()
    await t.rejects(result)
    t.equal(told.length, 1)
  })

  await t.test('search gives file, line and text', async t => {
    const { told, result } = call(client, 'search', { text: 'stream' })
    t.equal(textOf(await result), 'a.md:1: A stream of words.\na.md:3: The last STREAM\n2 lines')
    t.strictSame(told.map(({ message }) => message), ['a.md:1: A stream of words.\n', 'a.md:3: The last STREAM\n'])
  })

  await t.test('analyze reads quotes, line ends in quotes and empty fields', async t => {
    const { structuredContent } = await call(client, 'analyze', { file: 'table.csv' }).result
    t.strictSame(structuredContent, {
      rows: 3,
      columns: [
        { name: 'city', count: 3, min: 'Oslo, NO', max: 'Rome', mean: null, distinct: 2 },
        { name: 'degrees', count: 3, min: -3, max: 17.5, mean: 7.833333333333333, distinct: 3 },
        { name: 'note', count: 2, min: 'says "hi"\nthere', max: 'x', mean: null, distinct: 2 }
      ]
    })
    const { isError, ...result } = await call(client, 'analyze', { file: 'unclosed.csv' }).result
    t.ok(isError)
    t.equal(textOf(result as CallToolResult), 'The file ends inside a quoted field')
  })

  await t.test('analyze reads semicolons and tabs, and no binary file', async t => {
    for (const [name, text] of [['semicolons.csv', '\uFEFF"a;b, c";n\n"x;y";1\n'], ['tabs.tsv', 'a, c\tn\tm\nx;y\t1\t2\n']] as const) {
      await writeFile(join(folder, name), text)
      t.teardown(() => rm(join(folder, name)))
      t.match((await call(client, 'analyze', { file: name }).result).structuredContent, {
        rows: 1, columns: [{ name: /^a.*, c$/, min: 'x;y', max: 'x;y' }, { name: 'n', mean: 1 }]
      }, name)
    }
    t.match(await call(client, 'analyze', { file: 'image.png' }).result, {
      isError: true, content: [{ text: 'The file "image.png" is binary' }]
    })
  })

  await t.test('analyze stays in the folder', async t => {
    for (const file of ['../secret.txt', join(root, 'package.json'), 'link.txt', 'up/secret.txt', '..', '.', 'more', 'a.md\0', 'nowhere.csv']) {
      const { isError, ...result } = await call(client, 'analyze', { file }).result
      t.ok(isError, JSON.stringify(file))
      t.equal(textOf(result as CallToolResult), `There is no file "${file}" in the folder`)
    }
  })

  await t.test('a client of HTTP+SSE sees the same', async t => {
    const client = await connect(t, child, { path: '/sse' })
    // Its progress may arrive in one packet with the result, and the official client then drops it.
    const { result } = call(client, 'search', { text: 'another' })
    t.equal(textOf(await result), 'a.md:2: Another line.\n1 lines')
  })

  await child.stop('SIGTERM')
  t.equal(child.process.exitCode, 0, 'SIGTERM ends it in order')
})

/** The three lines that documents prints, and the messages that come when they are pasted. */
async function paste (t: Test, folder: string) {
  const child = await startChild(t, 'examples/documents.ts', { args: [folder] })
  await until(() => child.output().split('\n').filter(line => line.startsWith('curl')).length === 2, 'the lines')
  const lines = child.output().split('\n').filter(line => /^(SESSION|curl)/.test(line))
  t.equal(lines.length, 3)
  const output = await shell(lines.join('\n'))
  return { lines, messages: [...output.matchAll(/^data: (.+)$/gm)].map(([, json = '']) => JSON.parse(json)) }
}

t.test('the lines that documents prints work when they are pasted', async t => {
  const folder = await makeFolder(t)
  const { lines, messages } = await paste(t, folder)
  const told = (progressToken: string) => messages.filter(({ params }) => params?.progressToken === progressToken)
  t.strictSame(told('a').map(({ params }) => [params.progress, params.total]), [[1, 4], [2, 4], [3, 4], [4, 4]])
  t.ok(told('b').length > 0)
  t.match(messages.filter(({ id }) => id !== undefined), [
    { id: 2, result: { isError: undefined } }, { id: 3, result: { structuredContent: { rows: 3 } } }
  ])

  await rm(join(folder, 'table.csv'))
  await rm(join(folder, 'unclosed.csv'))
  const search = (await paste(t, folder)).messages.filter(({ params, id }) => params?.progressToken === 'b' || id === 3)
  t.match(search[0].params.message, 'a.md:1: A stream of words.')
  t.match(search.at(-1), { id: 3, result: { content: [{ text: /2 lines$/ }] } })

  const [hello = '', summarize = ''] = lines
  const curl = spawn('bash', ['-c', `${hello}\nexec ${summarize.replace('"pause":300', '"pause":10000')}`], { stdio: ['ignore', 'pipe', 'ignore'] })
  t.teardown(() => curl.kill('SIGKILL'))
  let text = ''
  curl.stdout.setEncoding('utf8').on('data', chunk => { text += chunk })
  await until(() => text.includes('"progress":1,"total":2'), 'a chunk in curl while the tool is at work')
  t.notMatch(text, '"result"')
})

t.test('documents says what is wrong with its folder', async t => {
  await t.rejects(startChild(t, 'examples/documents.ts', { args: ['/nowhere'] }), /exited with 1:\nCannot read the folder: ENOENT/)
})

t.test('documents says in one line that its port is taken', async t => {
  const { url } = await startChild(t, 'examples/hello.ts')
  const port = Number(new URL(url).port)
  await t.rejects(startChild(t, 'examples/documents.ts', { port }), { message: `examples/documents.ts exited with 1:\nport ${port} is taken: try PORT=${port + 1} npm start\n` })
})

t.test('analyze takes a CSV of any size in the same memory', async t => {
  const folder = t.testdir({ 'small.csv': 'id,name\n1,a\n' })
  const rows = 1_000_000
  await pipeline(function * () {
    yield 'id,city,degrees,note\n'
    for (let first = 0; first < rows; first += 10_000) {
      yield Array.from({ length: 10_000 }, (_, index) => `${first + index},"City, ${index % 500}",${index % 400 / 10},note number ${first + index}\n`).join('')
    }
  }, createWriteStream(join(folder, 'big.csv')))
  const child = await startChild(t, 'examples/documents.ts', { args: [folder] })
  const client = await connect(t, child)
  await call(client, 'analyze', { file: 'small.csv' }).result
  const before = await megabytes(child, 'VmRSS')

  const { told, result } = call(client, 'analyze', { file: 'big.csv' })
  t.match((await result).structuredContent, {
    rows,
    columns: [
      { name: 'id', count: rows, min: 0, max: rows - 1, mean: (rows - 1) / 2, distinct: null },
      { name: 'city', min: 'City, 0', max: 'City, 99', mean: null, distinct: 500 },
      { name: 'degrees', min: 0, max: 39.9, distinct: 400 },
      { name: 'note', distinct: null }
    ]
  })
  t.ok(told.length > 50, `it told ${told.length} times how far it was`)
  t.ok(told.every(({ progress, total = 0 }) => progress <= total))
  // Young garbage is most of it; a table that is kept whole takes several hundred.
  const more = await megabytes(child, 'VmHWM') - before
  t.ok(more < 100, `${Math.round(more)} MB more than before`)

  await t.test('and stops when its client cancels', async t => {
    const cancel = new AbortController()
    const { told, result } = call(client, 'analyze', { file: 'big.csv' }, cancel.signal)
    await until(() => told.length > 0, 'the first progress')
    cancel.abort()
    await t.rejects(result)
    t.ok(told.length < 100)
  })

  await t.test('which scan says is for it alone', async t => {
    t.match(textOf(await call(client, 'scan', {}).result), /^big\.csv, \d+ bytes \(only for analyze\)\nsmall\.csv, 12 bytes\n/)
  })
})

/** What Linux says of a process: VmRSS is what it holds, VmHWM the most it ever held. Elsewhere nothing is known. */
async function megabytes ({ process: { pid } }: Child, field: 'VmRSS' | 'VmHWM'): Promise<number> {
  if (process.platform !== 'linux') return 0
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(status)?.[1]) / 1024
}

t.test('existing-app answers as it did before, and serves a tool beside', async t => {
  const child = await startChild(t, 'examples/existing-app.ts')
  const orders = await send(child.url, '/orders', { headers: { origin: 'https://app.example' } })
  t.match(JSON.parse(orders.text), [{ id: 'a1' }, { id: 'b2' }])
  t.ok(orders.headers['content-security-policy'], 'helmet')
  t.equal(orders.headers['access-control-allow-origin'], 'https://app.example')
  t.match(await send(child.url, '/orders/zz'), { status: 404, text: '{"problem":"no such order"}' })

  const client = await connect(t, child, { path: '/ai/mcp' })
  t.equal(textOf(await call(client, 'track', { id: 'a1' }).result), 'lamp ordered\nlamp packed\nlamp sent\n')
  t.match(await call(client, 'track', { id: 'zz' }).result, { isError: true, content: [{ text: 'There is no order "zz"' }] })

  const preflight = await send(child.url, '/ai/mcp', {
    method: 'OPTIONS', headers: { origin: 'https://app.example', 'access-control-request-method': 'DELETE' }
  })
  t.match(preflight, { status: 204, headers: { 'access-control-allow-origin': 'https://app.example', 'access-control-allow-methods': /DELETE/ } })
  const stream = await SseClient.open(child.url, { path: '/ai/sse', headers: { origin: 'https://app.example' } })
  t.ok(stream.stream.headers['content-security-policy'], 'helmet reaches the streams')
  t.equal(stream.stream.headers['access-control-allow-origin'], 'https://app.example', 'and so does cors')
  await stream.close()
})

t.test('the server of the browser example streams, and serves its page', async t => {
  const child = await startChild(t, 'examples/browser/page-server.ts')
  t.match(await send(child.url, '/'), { status: 200, text: /<script type="module" src="page.js">/ })
  t.match(await send(child.url, '/page.js'), { status: 200, text: /new EventSource\(url\)/ })
  t.match(await send(child.url, '/page-server.ts'), { status: 404 })
  await until(() => child.output().includes('#token='), 'the link')
  const [, token = ''] = /^http:\/\/127\.0\.0\.1:\d+\/#token=([\w-]{32})$/m.exec(child.output()) ?? []
  t.not(token, '', 'a token of this boot')
  t.equal((await send(child.url, '/sse', { headers: { accept: 'text/event-stream' } })).status, 401)
  const client = await connect(t, child, { path: '/sse', token })
  // Over SSE the official client drops progress that arrives in one packet with its result.
  const { told, result } = call(client, 'countdown', { from: 3, pause: 200 })
  t.equal(textOf(await within(result, 'the end of the countdown')), '3… 2… 1… zero')
  t.match(told.filter(({ total }) => total !== undefined), [{ progress: 1, total: 3 }, { progress: 2 }, { progress: 3 }])

  t.match((await client.listTools()).tools.find(({ name }) => name === 'launch'), { annotations: { idempotentHint: true } })
  const launch = async (key: string, pause: number): Promise<CallToolResult> => await call(client, 'launch', { key, pause }).result
  const [one, other] = ['6f0a4f5c-6d5e-4d0b-9d0b-0e6f2a1d9c01', '6f0a4f5c-6d5e-4d0b-9d0b-0e6f2a1d9c02']
  t.equal(textOf(await launch(one, 10)), 'on the pad… launch number 1')
  t.equal(textOf(await launch(one, 10)), 'on the pad… launch number 1')
  t.match(await launch(one, 20), { isError: true })
  t.equal(textOf(await launch(other, 10)), 'on the pad… launch number 2')
})

t.test('launches happen once for a principal and a key', async t => {
  const receipts = new Receipts(2)
  let count = 0
  const act = async (): Promise<string> => `number ${++count}`

  t.equal(await receipts.once('ada', 'a', { pause: 1 }, act), 'number 1')
  t.equal(await receipts.once('ada', 'a', { pause: 1 }, act), 'number 1', 'a repeat does nothing')
  t.equal(await receipts.once('bob', 'a', { pause: 1 }, act), 'number 2', 'the key of somebody else is another')
  await t.rejects(receipts.once('ada', 'a', { pause: 2 }, act), { message: 'This key was used with other arguments' })

  const ended = (error?: Error) => new Promise<string>((resolve, reject) => setImmediate(() => error === undefined ? resolve('one') : reject(error)))
  const both = [receipts.once('ada', 'b', {}, () => ended()), receipts.once('ada', 'b', {}, act)]
  t.strictSame(await Promise.all(both), ['one', 'one'], 'a repeat waits for the first')
  t.equal(await receipts.once('ada', 'a', { pause: 1 }, act), 'number 3', 'the oldest was forgotten')

  const failing = receipts.once('ada', 'c', {}, () => ended(new Error('the client is gone')))
  const waiting = receipts.once('ada', 'c', {}, act)
  await t.rejects(failing, { message: 'the client is gone' })
  t.equal(await waiting, 'number 4', 'what failed was not done')
})

/** What somebody does with the notebook, in one shape for both official clients. */
interface Reader {
  client: Client | Client1
  revision: string | undefined
  told: string[]
  asked: string[]
  subscribe (uri: string): Promise<void>
}

const ABILITIES = { elicitation: { form: {} }, sampling: {}, roots: {} }
const SAMPLED = { role: 'assistant' as const, model: 'a model', content: { type: 'text' as const, text: 'Groceries' } }
const FOLDERS = { roots: [{ uri: 'file:///home/ada' }] }

/** A client of 2.4: of 2026-07-28 with `auto`, else of the session revisions. */
async function readAs2 (t: Test, { url }: Child, token: string, mode: 'auto' | 'legacy'): Promise<Reader> {
  const client = new Client({ name: 'test', version: '1.0.0' }, { capabilities: ABILITIES, versionNegotiation: { mode } })
  const told: string[] = []
  const asked: string[] = []
  client.setRequestHandler('elicitation/create', ({ params }) => {
    asked.push(params.message)
    return { action: 'accept', content: { sure: true, agree: true } }
  })
  client.setRequestHandler('sampling/createMessage', () => SAMPLED)
  client.setRequestHandler('roots/list', () => FOLDERS)
  client.setNotificationHandler('notifications/tools/list_changed', () => { told.push('tools') })
  client.setNotificationHandler('notifications/resources/updated', ({ params }) => { told.push(params.uri) })
  t.teardown(() => client.close())
  await client.connect(new StreamableHTTPClientTransport(new URL('/mcp', url), { requestInit: { headers: { authorization: `Bearer ${token}` } } }))
  return {
    client,
    told,
    asked,
    revision: client.getNegotiatedProtocolVersion(),
    async subscribe (uri) {
      if (mode === 'auto') await client.listen({ toolsListChanged: true, resourceSubscriptions: [uri] })
      else await client.subscribeResource({ uri })
    }
  }
}

async function readAs1 (t: Test, { url }: Child, token: string): Promise<Reader> {
  const client = new Client1({ name: 'test', version: '1.0.0' }, { capabilities: ABILITIES })
  const told: string[] = []
  const asked: string[] = []
  client.setRequestHandler(ElicitRequestSchema, ({ params }) => {
    asked.push(params.message)
    return { action: 'accept', content: { sure: true, agree: true } }
  })
  client.setRequestHandler(CreateMessageRequestSchema, () => SAMPLED)
  client.setRequestHandler(ListRootsRequestSchema, () => FOLDERS)
  client.setNotificationHandler(ToolListChangedNotificationSchema, () => { told.push('tools') })
  client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => { told.push(params.uri) })
  t.teardown(() => client.close())
  const transport = new Http1(new URL('/mcp', url), { requestInit: { headers: { authorization: `Bearer ${token}` } } })
  await client.connect(transport)
  return { client, told, asked, revision: transport.protocolVersion, subscribe: async uri => { await client.subscribeResource({ uri }) } }
}

const readers = {
  'client 2.4 on 2026-07-28': (t: Test, child: Child, token: string) => readAs2(t, child, token, 'auto'),
  'client 2.4 in a session': (t: Test, child: Child, token: string) => readAs2(t, child, token, 'legacy'),
  'sdk 1.32': readAs1
}

for (const [name, read] of Object.entries(readers)) {
  t.test(`everything shows each feature to ${name}`, async t => {
    const child = await startChild(t, 'examples/everything.ts')
    const ada = await read(t, child, 'ada-may-write')
    const bob = await read(t, child, 'bob-may-read')
    const isStateless = name.includes('2026')
    t.equal(ada.revision, isStateless ? '2026-07-28' : '2025-11-25')
    const run = async ({ client }: Reader, name: string, args: Record<string, unknown> = {}): Promise<Record<string, unknown>> => {
      return client.callTool({ name, arguments: args })
    }
    const text = (text: string) => ({ isError: undefined, content: [{ type: 'text', text }] })

    await t.test('tools that stream, give structure and every kind of content', async t => {
      t.match(await run(bob, 'recite', { note: 'ideas' }), text('Stream the notes\nRead them aloud\n'))
      t.match(await run(bob, 'recite', { note: 'none' }), { isError: true, content: [{ text: 'There is no note "none"' }] })
      const { structuredContent } = await run(bob, 'measure')
      const lines = [{ note: 'ideas', lines: 2 }, { note: 'shopping', lines: 2 }]
      t.strictSame(structuredContent, isStateless ? lines : { result: lines })
      const { content } = await run(bob, 'show', { note: 'ideas' })
      t.match(content, [{ type: 'text', text: 'ideas: ' }, { type: 'image' }, { type: 'resource' }, { type: 'resource_link', uri: 'notebook://notes/ideas' }])
    })

    await t.test('resources, a template, a prompt and what completes them', async t => {
      t.match(await bob.client.listResources(), { resources: [{ uri: 'notebook://index' }, { name: 'ideas' }, { name: 'shopping' }] })
      t.match(await bob.client.listResourceTemplates(), { resourceTemplates: [{ uriTemplate: 'notebook://notes/{name}' }] })
      t.match(await bob.client.readResource({ uri: 'notebook://index' }), { contents: [{ text: '["ideas","shopping"]' }], ...(isStateless && { ttlMs: 60_000 }) })
      t.match(await bob.client.readResource({ uri: 'notebook://notes/shopping' }), { contents: [{ mimeType: 'text/plain', text: 'Milk\nBread\n' }] })
      await t.rejects(bob.client.readResource({ uri: 'notebook://notes/none' }), { message: /Resource "notebook:\/\/notes\/none" is not known/ })
      t.match(await bob.client.getPrompt({ name: 'review', arguments: { note: 'ideas' } }), {
        messages: [{ role: 'user', content: { text: 'Review this note. Be kind.' } }, { content: { type: 'resource' } }]
      })
      const complete = async (ref: { type: 'ref/prompt', name: string } | { type: 'ref/resource', uri: string }, argument: { name: string, value: string }) => {
        return (await bob.client.complete({ ref, argument })).completion.values
      }
      t.strictSame(await complete({ type: 'ref/prompt', name: 'review' }, { name: 'tone', value: 'h' }), ['harsh'])
      t.strictSame(await complete({ type: 'ref/resource', uri: 'notebook://notes/{name}' }, { name: 'name', value: 's' }), ['shopping'])
    })

    await t.test('questions to the user, to the model and to the client', async t => {
      t.match(await run(ada, 'entitle', { note: 'shopping' }), text('Groceries'))
      t.match(await run(ada, 'locate'), text('file:///home/ada'))
      t.strictSame(ada.asked, ['May the notebook see your folders?'])
    })

    await t.test('a subscription, and a list that changes', async t => {
      await ada.subscribe('notebook://notes/shopping')
      await run(ada, 'write', { note: 'shopping', text: 'Tea' })
      t.equal(ada.asked.at(-1), 'Replace "shopping"?')
      await until(() => ada.told.includes('notebook://notes/shopping'), 'the update')
      t.match(await bob.client.readResource({ uri: 'notebook://notes/shopping' }), { contents: [{ text: 'Tea\n' }] })
      const names = async ({ client }: Reader): Promise<string[]> => (await client.listTools()).tools.map(({ name }) => name)
      t.match(await run(ada, 'lock', { locked: true }), text('writing is off'))
      const listChanged = (times: number): Promise<void> => {
        return until(() => ada.told.filter(what => what === 'tools').length === times, 'the change of the list')
      }
      await listChanged(1)
      t.strictSame(await names(ada), ['entitle', 'locate', 'lock', 'measure', 'recite', 'show'])
      await run(ada, 'lock', { locked: false })
      // Until it is told, a client of 2026-07-28 may keep the list for the second that the server gave.
      await listChanged(2)
      t.ok((await names(ada)).includes('write'))
      t.strictSame(await names(bob), ['entitle', 'locate', 'measure', 'recite', 'show'])
      await t.rejects(run(bob, 'write', { note: 'a', text: 'b' }), { code: -32602, message: /Tool "write" is not known/ })
    })

    await t.test('hooks', async t => {
      await t.rejects(bob.client.readResource({ uri: 'notebook://notes/secret' }), { code: 4001, message: /Not even by name/ })
      await t.rejects(bob.client.readResource({ uri: 'notebook://journal' }), { message: /is not known/ })
      const { contents: [journal] } = await ada.client.readResource({ uri: 'notebook://journal' })
      t.match(journal, { text: /^bob tools\/call recite$/m })
      t.match(journal, { text: /^recite failed: There is no note "none"$/m })
    })
  })
}

t.test('bearer asks for a token, and knows the build by its own and people by a JWT', async t => {
  const child = await startChild(t, 'examples/bearer.ts')
  const [, build = '', ada = ''] = /the build's token:\n(\S+)\n.+:\n(\S+)\n/.exec(child.output()) ?? []
  const reader = async (token: string): Promise<Client> => {
    const client = new Client({ name: 'test', version: '1.0.0' }, { versionNegotiation: { mode: 'auto' } })
    t.teardown(() => client.close())
    const requestInit = { headers: { authorization: `Bearer ${token}` } }
    await client.connect(new StreamableHTTPClientTransport(new URL('/mcp', child.url), { requestInit }))
    return client
  }
  const names = async (client: Client): Promise<string[]> => (await client.listTools()).tools.map(({ name }) => name).sort()
  const said = async (client: Client): Promise<string> => textOf(await call(client, 'whoami', {}).result)

  const robot = await reader(build)
  t.equal(await said(robot), 'build, known to this server, may read')
  t.strictSame(await names(robot), ['whoami'])
  const person = await reader(ada)
  t.match(await said(person), /^ada, known to http:\/\/127\.0\.0\.1:\d+, may read and write$/)
  t.strictSame(await names(person), ['whoami', 'write'])

  const challenges: [headers: Record<string, string>, challenge: string][] = [
    [{}, 'Bearer'], [{ authorization: `Bearer ${ada}x` }, 'Bearer error="invalid_token"']
  ]
  for (const [headers, challenge] of challenges) {
    const ping = { method: 'POST', headers, body: { jsonrpc: '2.0', id: 1, method: 'ping' } }
    t.match(await send(child.url, '/mcp', ping), { status: 401, headers: { 'www-authenticate': challenge } })
  }
})

t.test('oauth lets in who signed in, and asks once more before it takes a note', async t => {
  const { url, leadTo } = await openPort(t)
  const child = await startChild(t, 'examples/oauth.ts', { env: { PUBLIC_URL: url } })
  leadTo(child.url)
  const ada = await signIn2(t, `${url}/mcp`, 'ada')
  t.equal(await ada.call('whoami'), 'ada may notes:read')
  t.equal(await ada.call('note', { text: 'Buy milk' }), 'note 1')
  t.equal(ada.visitor.asked.length, 2)
  t.equal(await ada.call('notes'), 'Buy milk\n')
  const bob = await signIn2(t, `${url}/mcp`, 'bob')
  t.equal(await bob.call('notes'), '', 'each has notes of their own')
  t.match(child.output(), `give your client ${url}/mcp`)
})
