// What resources and templates give, in every era: how they are listed, read, refused and ended.
import { createReadStream, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { errorCodes, McpError, ToolError } from 'fastify-mcp-sse'
import t from 'tap'
import { send, until } from './client.ts'
import { AUTH, ERAS, never, offer, revisionOf, StandaloneClient } from './peers.ts'

const PNG = Buffer.from([0x89, 0x50, 0x4E, 0x47, 0xFF, 0x00])
const NOT_FOUND = { 'http+sse': -32002, '2024-11-05': -32002, '2025-03-26': -32002, '2025-06-18': -32002, '2025-11-25': -32002, sessionless: -32002, '2026-07-28': -32602 } as const

const folder = mkdtempSync(join(tmpdir(), 'resources-'))
const big = join(folder, 'big.txt')
const empty = join(folder, 'empty.txt')
const TEXT = 'é漢🚀'.repeat(30_000)
writeFileSync(big, TEXT)
writeFileSync(empty, '')
t.teardown(async () => (await import('node:fs/promises')).rm(folder, { recursive: true }))

for (const era of ERAS) {
  t.test(`on ${era} resources and templates are listed in the fields of their revision, and read`, async t => {
    const { app, peer } = await offer(t, era)
    const icons = [{ src: 'https://a.example/i.png' }]
    app.mcp.resource('notes://b', {
      name: 'b', title: 'B', description: 'the second', mimeType: 'text/plain', size: 1, icons, annotations: { audience: ['user'], priority: 1 }, _meta: { a: 1 }
    }, () => 'B')
    app.mcp.resource('notes://a', {}, () => 'A')
    app.mcp.resource('notes://of/{user}/{id}', { title: 'Notes', mimeType: 'text/plain', icons }, ({ user, id }) => `${user}:${id}`)
    const client = await peer()
    const { result: { resources } } = await client.request('resources/list')
    const revision = revisionOf(era)
    const titled = revision >= '2025-06-18'
    const iconed = revision >= '2025-11-25'
    t.strictSame(resources, [
      { uri: 'notes://a', name: 'notes://a' },
      {
        uri: 'notes://b',
        name: 'b',
        ...(titled && { title: 'B' }),
        description: 'the second',
        ...(iconed && { icons }),
        ...(titled && { _meta: { a: 1 } }),
        mimeType: 'text/plain',
        annotations: { audience: ['user'], priority: 1 },
        size: 1
      }
    ])
    const { result: { resourceTemplates } } = await client.request('resources/templates/list')
    t.strictSame(resourceTemplates, [{
      uriTemplate: 'notes://of/{user}/{id}', name: 'notes://of/{user}/{id}', ...(titled && { title: 'Notes' }), ...(iconed && { icons }), mimeType: 'text/plain'
    }])
    const { result: { contents } } = await client.request('resources/read', { uri: 'notes://of/j%C3%BCrgen/7' })
    t.strictSame(contents, [{ uri: 'notes://of/j%C3%BCrgen/7', mimeType: 'text/plain', text: 'jürgen:7' }])
    t.same((await client.request('resources/read', { uri: 'notes://a' })).result.contents, [{ uri: 'notes://a', text: 'A' }])
  })

  t.test(`on ${era} what is not there is told with its URI in the code of the revision`, async t => {
    const { app, peer, logs } = await offer(t, era)
    app.mcp.resource('gone://undefined', {}, () => undefined)
    app.mcp.resource('gone://null', {}, async () => null)
    app.mcp.resource('gone://generator', {}, async function * () {})
    app.mcp.resource('gone://list', {}, () => [])
    app.mcp.resource('gone://contents', {}, () => ({ contents: [] }))
    app.mcp.resource('gone://thrown', {}, () => { throw new errorCodes.FST_MCP_RESOURCE_UNKNOWN('gone://thrown') })
    app.mcp.resource('gone://of/{id}', {}, () => undefined)
    const client = await peer()
    for (const uri of ['gone://undefined', 'gone://null', 'gone://generator', 'gone://list', 'gone://contents', 'gone://of/5', 'gone://nowhere']) {
      const { error } = await client.request('resources/read', { uri })
      t.strictSame(error, { code: NOT_FOUND[era], message: `Resource "${uri}" is not known`, data: { code: 'FST_MCP_RESOURCE_UNKNOWN', uri } })
    }
    t.match((await client.request('resources/read', { uri: 'gone://thrown' })).error, { code: NOT_FOUND[era], data: { code: 'FST_MCP_RESOURCE_UNKNOWN' } })
    t.equal(logs.length, 0)
  })

  t.test(`on ${era} text, bytes, streams, generators and parts are read whole`, async t => {
    const { app, peer } = await offer(t, era)
    const wide = new Uint8Array([1, 2, 3, 4, 5, 6])
    const base64 = (data: Uint8Array): string => Buffer.from(data).toString('base64')
    const cases: [name: string, mimeType: string | undefined, read: () => any, contents: object[]][] = [
      ['empty', undefined, () => '', [{ text: '' }]],
      ['text', 'application/octet-stream', () => 'text', [{ text: 'text' }]],
      ['promise', undefined, async () => 'text', [{ text: 'text' }]],
      ['buffer', undefined, () => PNG, [{ blob: base64(PNG) }]],
      ['buffer of text', 'text/plain; charset=utf-8', () => Buffer.from('é'), [{ text: 'é' }]],
      ['nothing in a buffer', 'image/png', async () => Buffer.alloc(0), [{ blob: '' }]],
      ['view', 'image/png', () => wide.subarray(2, 4), [{ blob: base64(new Uint8Array([3, 4])) }]],
      ['file', 'text/plain', () => createReadStream(big, { highWaterMark: 7 * 1024 + 1 }), [{ text: TEXT }]],
      ['file of bytes', undefined, async () => createReadStream(big), [{ blob: Buffer.from(TEXT).toString('base64') }]],
      ['empty file', 'text/plain', () => createReadStream(empty), [{ text: '' }]],
      ['empty file of bytes', undefined, async () => createReadStream(empty), [{ blob: '' }]],
      ['stream of text', undefined, () => createReadStream(big, 'utf8'), [{ text: TEXT }]],
      ['stream of parts', undefined, () => Readable.from([{ text: 'a' }, { text: 'b' }]), [{ text: 'a' }, { text: 'b' }]],
      ['slow stream', 'text/css', () => Readable.from((async function * () {
        for (const piece of ['a', 'b', 'c']) {
          await new Promise(resolve => setTimeout(resolve, 5))
          yield piece
        }
      })()), [{ text: 'abc' }]],
      ['generator', undefined, function * () { yield 'a'; yield 'b'; return 'c' }, [{ text: 'abc' }]],
      ['async generator', 'text/plain', async function * () {
        const reused = Buffer.from('x')
        yield reused
        reused.write('y')
        yield reused
      }, [{ text: 'xy' }]],
      ['text and then bytes', undefined, async function * () { yield 'a'; yield 'b'; yield Buffer.from([255]); yield 'c' }, [{ blob: base64(Buffer.from([97, 98, 255, 99])) }]],
      ['characters that are cut', 'text/plain', async function * () {
        for (const byte of Buffer.from('é漢🚀')) yield new Uint8Array([byte])
      }, [{ text: 'é漢🚀' }]],
      ['part', 'text/plain', () => ({ text: 'a', mimeType: 'text/x-own', uri: 'own://a', _meta: { k: 1 } }), [{ uri: 'own://a', mimeType: 'text/x-own', _meta: { k: 1 }, text: 'a' }]],
      ['parts', undefined, () => [{ text: 'a', uri: 'own://a' }, { blob: PNG, mimeType: 'image/png' }, { blob: 'AAAA' }],
        [{ uri: 'own://a', text: 'a' }, { mimeType: 'image/png', blob: base64(PNG) }, { blob: 'AAAA' }]],
      ['list of texts', undefined, () => ['a', 'b'], [{ text: 'ab' }]],
      ['contents', undefined, async () => ({ contents: [{ uri: 'own://a', text: 'a' }] }), [{ uri: 'own://a', text: 'a' }]],
      ['yielded parts', undefined, async function * () { yield { text: 'a' }; yield 'whole'; return { blob: new Uint8Array([0]) } }, [{ text: 'whole' }, { text: 'a' }, { blob: 'AA==' }]]
    ]
    for (const [name, mimeType, read] of cases) {
      app.mcp.resource(`kind://${encodeURIComponent(name)}`, { ...(mimeType !== undefined && { mimeType }) }, read)
    }
    const client = await peer()
    for (const [name, mimeType, , contents] of cases) {
      const uri = `kind://${encodeURIComponent(name)}`
      const { result } = await client.request('resources/read', { uri })
      t.strictSame(result?.contents, contents.map(part => ({ uri, ...(mimeType !== undefined && { mimeType }), ...part })), name)
    }
  })

  t.test(`on ${era} a read that grows too large or takes too long is ended, and its stream with it`, async t => {
    const { app, peer, idle, logs } = await offer(t, era, { tools: { timeout: 100, grace: 50, maxResult: 1_000 } })
    let pulled = 0
    let finished = 0
    app.mcp.resource('size://fits', {}, () => 'x'.repeat(1_000))
    app.mcp.resource('size://returned', {}, () => 'x'.repeat(1_001))
    app.mcp.resource('size://wide', {}, () => 'é'.repeat(501))
    app.mcp.resource('size://bytes', {}, () => Buffer.alloc(1_001))
    app.mcp.resource('size://parts', {}, () => [{ text: 'x'.repeat(500) }, { blob: Buffer.alloc(501) }])
    app.mcp.resource('size://streamed', {}, async function * () {
      try {
        for (;;) {
          pulled++
          yield 'x'.repeat(100)
        }
      } finally {
        finished++
      }
    })
    const file = new PassThrough()
    const silent = new PassThrough()
    app.mcp.resource('size://file', {}, () => {
      file.write('x'.repeat(1_001))
      return file
    })
    app.mcp.resource('time://stream', {}, () => silent)
    app.mcp.resource('time://promise', {}, () => never)
    app.mcp.resource('time://own', { timeout: 20 }, () => never)
    const client = await peer()
    t.equal((await client.request('resources/read', { uri: 'size://fits' })).result.contents[0].text.length, 1_000)
    for (const uri of ['size://returned', 'size://wide', 'size://bytes', 'size://parts', 'size://streamed', 'size://file']) {
      const { error } = await client.request('resources/read', { uri })
      t.match(error, { code: -32603, data: { code: 'FST_MCP_RESULT_TOO_LARGE' } }, uri)
    }
    t.equal(pulled, 11, 'no more is pulled than fits')
    await until(() => finished === 1, 'the end of the generator')
    await until(() => file.destroyed, 'the end of the stream')
    for (const [uri, ms] of [['time://stream', 100], ['time://promise', 100], ['time://own', 20]] as const) {
      const { error } = await client.request('resources/read', { uri })
      t.match(error, { code: -32603, message: `The tool ran longer than ${ms} ms`, data: { code: 'FST_MCP_TOOL_TIMEOUT' } }, uri)
    }
    await until(() => silent.destroyed, 'the end of the silent stream')
    await until(() => app.mcp.stats().abandoned === 2, 'the promises count as abandoned')
    await idle()
    t.strictSame(logs.filter(({ level }) => level >= 50), [])
  })

  t.test(`on ${era} a read that its client gives up ends with its stream`, async t => {
    const { app, peer, idle, logs } = await offer(t, era)
    const silent = new PassThrough()
    const reasons: unknown[] = []
    app.mcp.resource('hang://stream', {}, (_, { signal }) => {
      signal.addEventListener('abort', () => reasons.push(signal.reason.code))
      return silent
    })
    const client = await peer()
    const running = client.start('resources/read', { uri: 'hang://stream' })
    running.answer.catch(() => {})
    await until(() => silent.listenerCount('readable') > 0 || silent.listenerCount('end') > 0, 'the read')
    await running.stop()
    await until(() => silent.destroyed, 'the end of the stream')
    await idle()
    t.strictSame(reasons, [['sessionless', '2026-07-28'].includes(era) ? 'FST_MCP_CLIENT_GONE' : 'FST_MCP_CANCELLED'])
    t.strictSame(logs, [])

    let begun = false
    app.mcp.resource('hang://late', {}, async (_, { signal }) => {
      begun = true
      await new Promise(resolve => signal.addEventListener('abort', resolve))
      throw new Error('while it was ended')
    })
    const late = client.start('resources/read', { uri: 'hang://late' })
    late.answer.catch(() => {})
    await until(() => begun, 'the read')
    await late.stop()
    await until(() => logs.length > 0, 'the log')
    t.match(logs, [{ level: 50, msg: 'resource failed while it was ended', resource: 'hang://late' }])
  })

  t.test(`on ${era} what a reader throws is told as it was meant`, async t => {
    const { app, peer, logs } = await offer(t, era)
    app.mcp.resource('throw://tool', {}, () => { throw new ToolError('for whoever reads') })
    app.mcp.resource('throw://mcp', {}, async () => { throw new McpError(4711, 'my own', { a: 1 }) })
    app.mcp.resource('throw://code', {}, async function * () { yield 'a'; throw new errorCodes.FST_MCP_PARAMS_INVALID('the reason') })
    const client = await peer()
    const told = async (uri: string) => (await client.request('resources/read', { uri })).error
    t.strictSame(await told('throw://tool'), { code: -32603, message: 'for whoever reads', data: { code: 'FST_MCP_HANDLER_FAILED' } })
    t.strictSame(await told('throw://mcp'), { code: 4711, message: 'my own', data: { a: 1 } })
    t.match(await told('throw://code'), { code: -32602, message: 'Invalid params: the reason' })
    t.equal(logs.length, 0)

    const broken: Record<string, () => any> = {
      error: () => { throw new TypeError('a secret') },
      nothing: () => { throw null }, // eslint-disable-line no-throw-literal -- handlers may throw anything
      proxy: () => { throw new Proxy({}, { get () { throw new Error('a secret') } }) },
      number: () => 5,
      object: () => ({ a: 1 }),
      'part-uri': () => ({ uri: 5, text: 'a' }),
      'part-type': () => ({ mimeType: 5, text: 'a' }),
      'part-null': () => [null],
      'part-number': () => [5],
      yielded: async function * () { yield 5 },
      stream: () => createReadStream(join(folder, 'missing.txt'))
    }
    for (const [name, read] of Object.entries(broken)) app.mcp.resource(`broken://${name}`, {}, read)
    for (const name of Object.keys(broken)) {
      const count = logs.length
      const error = await told(`broken://${name}`)
      t.match(error, { code: -32603, message: /^The handler failed; the server's log says why under request / }, name)
      t.equal(logs.length, count + 1, `${name} is logged once`)
      t.match(logs.at(-1), { level: 50, msg: 'handler failed' })
    }
  })

  t.test(`on ${era} the resources that templates list are merged in the order of URIs, page by page`, async t => {
    const { app, peer, logs } = await offer(t, era, { lists: { pageSize: 2 }, auth: AUTH })
    const seen: unknown[] = []
    app.mcp.resource('list://b', { title: 'own' }, () => 'b')
    app.mcp.resource('list://d', {}, () => 'd')
    app.mcp.resource('list://{letter}', {
      mimeType: 'text/plain',
      list: ({ principal, request, signal }) => {
        seen.push([principal?.id, request.method, signal.aborted])
        return [{ uri: 'list://e', title: 'E', size: 5 }, { uri: 'list://a', name: 'first', mimeType: 'text/css' }, { uri: 'list://b', title: 'listed' }]
      }
    }, ({ letter }) => letter)
    app.mcp.resource('more://{id}', { list: async () => [{ uri: 'more://1' }] }, ({ id }) => id)
    app.mcp.resource('unlisted://{id}', {}, ({ id }) => id)
    const client = await peer('alice')
    const pages: any[][] = []
    let cursor: string | undefined
    do {
      const { result } = await client.request('resources/list', { cursor })
      pages.push(result.resources)
      cursor = result.nextCursor
    } while (cursor !== undefined)
    t.strictSame(pages.map(page => page.map(({ uri }) => uri)), [['list://a', 'list://b'], ['list://d', 'list://e'], ['more://1']])
    const [a, b, , e] = pages.flat()
    const titled = revisionOf(era) >= '2025-06-18'
    t.strictSame(a, { uri: 'list://a', name: 'first', mimeType: 'text/css' })
    t.strictSame(b, { uri: 'list://b', name: 'list://b', ...(titled && { title: 'own' }) }, 'a resource of its own goes before one that is listed')
    t.strictSame(e, { uri: 'list://e', name: 'list://e', mimeType: 'text/plain', ...(titled && { title: 'E' }), size: 5 })
    t.strictSame(seen[0], ['alice', era === 'http+sse' ? 'POST' : 'POST', false])
    t.equal(logs.length, 0)
  })

  t.test(`on ${era} a template that cannot list fails the list, is logged and is ended in time`, async t => {
    const { app, peer, logs, idle } = await offer(t, era, { tools: { timeout: 60, grace: 20 } })
    app.mcp.resource('own://a', {}, () => 'a')
    let give: (signal: AbortSignal) => any = () => { throw new Error('a secret') }
    app.mcp.resource('bad://{id}', { list: ({ signal }) => give(signal) }, () => 'x')
    const client = await peer()
    const bad: [name: string, give: () => any][] = [
      ['an error', give as () => any],
      ['a rejection', async () => { throw new Error('a secret') }],
      ['no array', () => ({ uri: 'bad://1' })],
      ['nothing', () => undefined],
      ['null in it', () => [null]],
      ['a text in it', () => ['bad://1']],
      ['no uri', () => [{ name: 'a' }]],
      ['a uri of another', () => [{ uri: 'other://1' }]],
      ['a hostile uri', () => [{ uri: 'bad://..' }]],
      ['too long a uri', () => [{ uri: `bad://${'x'.repeat(5_000)}` }]],
      ['an unknown field', () => [{ uri: 'bad://1', visible: () => true, cache: {} }]]
    ]
    for (const [name, list] of bad) {
      give = list
      const count = logs.length
      const { error } = await client.request('resources/list')
      t.match(error, { code: -32603, message: /^The handler failed; the server's log says why under request /, data: { code: 'FST_MCP_HANDLER_FAILED' } }, name)
      t.match(logs.slice(count), [{ level: 50, msg: 'handler failed', template: 'bad://{id}' }], name)
    }
    give = () => { throw new ToolError('later') }
    t.match((await client.request('resources/list')).error, { message: 'later' })
    give = () => { throw new McpError(7, 'mine') }
    t.match((await client.request('resources/list')).error, { code: 7, message: 'mine' })

    const count = logs.length
    give = () => never
    t.match((await client.request('resources/list')).error, { code: -32603, data: { code: 'FST_MCP_TOOL_TIMEOUT' } })
    let ended = false
    give = signal => new Promise((_resolve, reject) => signal.addEventListener('abort', () => { ended = true; reject(signal.reason) }))
    t.match((await client.request('resources/list')).error, { data: { code: 'FST_MCP_TOOL_TIMEOUT' } })
    t.ok(ended)
    await idle()
    t.strictSame(logs.slice(count).filter(({ msg }) => msg === 'handler failed'), [])
    give = () => []
    t.same((await client.request('resources/list')).result.resources.map(({ uri }: { uri: string }) => uri), ['own://a'])
  })

  t.test(`on ${era} no hostile URI reaches a reader`, async t => {
    const { app, peer } = await offer(t, era, { limits: { uri: 300 } })
    const read: unknown[] = []
    const note = (variables: unknown): string => {
      read.push(variables)
      return 'read'
    }
    app.mcp.resource('file:///one/{name}', {}, note)
    app.mcp.resource('file:///two/{+path}', {}, note)
    app.mcp.resource('file:///three{/parts*}', {}, note)
    app.mcp.resource('file:///four{?q}', {}, note)
    app.mcp.resource('five:{+path}', {}, note)
    const client = await peer()
    const hostile: unknown[] = [
      'file:///one/..', 'file:///one/.', 'file:///one/%2e%2e', 'file:///one/%2E.', 'file:///one/.%2e', 'file:///one/a%2f..%2fb', 'file:///one/..%2f..%2fetc%2fpasswd',
      'file:///one/..%5c..%5cwindows', 'file:///one/a\\b', 'file:///one/a%5Cb', 'file:///one/../etc', 'file:///one/a/b', 'file:///one/',
      'file:///two/../etc/passwd', 'file:///two/a/../b', 'file:///two/a/%2e%2e/b', 'file:///two/a%2f%2e%2e%2fb', 'file:///two/%2Fetc/passwd', 'file:///two//etc/passwd',
      'file:///two/C:/windows', 'file:///two/c%3A/windows', 'file:///two/c:', 'file:///two/a?/../b', 'file:///two/a%00b', 'file:///two/%00', 'file:///two/a\0b',
      'file:///two/a%0Ab', 'file:///two/a%7F', 'file:///two/a%C2%85b', 'file:///two/a b',
      'file:///three/..', 'file:///three/a/..', 'file:///three/a/%2e%2e/b', 'file:///three//etc', 'file:///three/a//b',
      'file:///four?q=../../etc', 'file:///four?q=a&q=b', 'file:///four?other=1',
      'five:/etc/passwd', 'five:%2fetc', 'five:\\\\server\\share', 'five:../a', 'five:C:\\a',
      'file:///one/%c0%ae%c0%ae', 'file:///one/%e0%80%ae', 'file:///one/%ff', 'file:///one/%', 'file:///one/%2', 'file:///one/%zz', 'file:///one/%u002e',
      'file:///one/{name}', 'file:///two/{+path}', 'file:///two/{path}/x', 'file:///four{?q}', 'file:///one/{{name}}',
      '/etc/passwd', '../a', 'a', '', ' ', '//host/a', '\\\\host\\a', 'C:/a', 'FILE:///one/a', 'http://a.example/one/a',
      `file:///one/${'x'.repeat(300)}`, `file:///two/${'a/'.repeat(150)}`,
      'file:///one/\uD800', 'file:///one/a\uDFFF', 'file:///one/%ED%A0%80',
      undefined, null, 5, true, [], ['file:///one/a'], {}, { toString: 'file:///one/a' }
    ]
    for (const uri of hostile) {
      const { error, result } = await client.request('resources/read', uri === undefined ? {} : { uri })
      // What fits a template all the same is shown below.
      if (result === undefined) t.ok(Number.isInteger(error?.code) && typeof error?.data?.code === 'string', JSON.stringify(uri))
      else t.fail(`${JSON.stringify(uri)} was read`)
    }
    t.strictSame(read, [], 'no reader was called')

    const harmless: [uri: string, variables: object][] = [
      ['file:///one/%252e%252e', { name: '%2e%2e' }],
      ['file:///one/...', { name: '...' }],
      ['file:///one/%61%C3%A9', { name: 'aé' }],
      ['file:///two/a/b.txt', { path: 'a/b.txt' }],
      ['file:///three/a/b', { parts: ['a', 'b'] }],
      ['file:///three', {}],
      ['file:///four?q=a+b', { q: 'a+b' }]
    ]
    for (const [uri, variables] of harmless) {
      read.length = 0
      const { result } = await client.request('resources/read', { uri })
      t.equal(result?.contents[0].text, 'read', uri)
      t.strictSame(read.map(given => ({ ...Object(given) })), [variables], uri)
    }
  })
}

t.test('media types that are text are told as text, all others as bytes', async t => {
  const { app, peer } = await offer(t, '2025-11-25')
  const textual = [
    'text/plain', 'TEXT/HTML', 'text/markdown; charset=utf-8', 'application/json', 'application/json; charset=utf-8', 'application/xml', 'application/yaml',
    'application/toml', 'application/javascript', 'application/ecmascript', 'application/x-ndjson', 'application/sql', 'image/svg+xml', 'application/ld+json', 'application/x+yaml'
  ]
  const binary = ['image/png', 'application/octet-stream', 'application/jsonx', 'application/pdf', 'application/zip; a=+json', 'application/xhtml', 'x-text/plain']
  for (const mimeType of [...textual, ...binary]) app.mcp.resource(`media:${encodeURIComponent(mimeType)}`, { mimeType }, () => Buffer.from('[1]'))
  const client = await peer()
  for (const mimeType of [...textual, ...binary]) {
    const { result: { contents: [part] } } = await client.request('resources/read', { uri: `media:${encodeURIComponent(mimeType)}` })
    t.same(Object.keys(part), ['uri', 'mimeType', textual.includes(mimeType) ? 'text' : 'blob'], mimeType)
  }
})

t.test('a reader knows its URI, its variables and its caller, and reports and logs', async t => {
  const { app, peer } = await offer(t, '2025-11-25', { auth: AUTH })
  app.mcp.resource('who://{name}{?tags*,page}', {}, async (variables, { uri, principal, revision, request, session, log, progress }) => {
    await log.warning('reading')
    await progress(1, 2, 'half')
    return JSON.stringify([variables, uri, principal?.id, revision, request.method, session?.transport])
  })
  const client = await peer('bob')
  const { result } = await client.request('resources/read', { uri: 'who://me?tags=a&tags=b' })
  t.same(JSON.parse(result.contents[0].text), [{ name: 'me', tags: ['a', 'b'] }, 'who://me?tags=a&tags=b', 'bob', '2025-11-25', 'POST', 'streamable-http'])
})

t.test('a resource of its own goes before a template, and of templates the first by name', async t => {
  const { app, peer } = await offer(t, '2025-11-25')
  app.mcp.resource('first://{b}', {}, () => 'b')
  app.mcp.resource('first://{a}', {}, () => 'a')
  const own = app.mcp.resource('first://own', {}, () => 'own')
  const client = await peer()
  const read = async (uri: string) => (await client.request('resources/read', { uri })).result.contents[0].text
  t.equal(await read('first://own'), 'own')
  t.equal(await read('first://other'), 'a')
  own.disable()
  t.equal(await read('first://own'), 'a')
})

t.test('wrong definitions are refused at registration with what is wrong', async t => {
  const { app } = await offer(t, '2025-11-25')
  const add = (uri: any, definition: any, read: any = () => ''): void => { app.mcp.resource(uri, definition, read) }
  const wrong: [uri: unknown, definition: unknown, read: unknown, code: string, message: RegExp][] = [
    [5, {}, undefined, 'FST_MCP_RESOURCE_INVALID', /^Resource "5": its URI must be a string$/],
    ['a:b', undefined, undefined, 'FST_MCP_RESOURCE_INVALID', /^Resource "a:b": its definition must be an object, got undefined/],
    ['a:b', null, undefined, 'FST_MCP_RESOURCE_INVALID', /its definition must be an object/],
    ['a:b', {}, 'text', 'FST_MCP_RESOURCE_INVALID', /its reader must be a function, got string/],
    ['a:b', { uri: 'a:c' }, undefined, 'FST_MCP_RESOURCE_INVALID', /`uri` is not part of a definition; it is the first argument/],
    ['a:b', { mimetype: 'text/plain' }, undefined, 'FST_MCP_RESOURCE_INVALID', /`mimetype` is not part of a definition$/],
    ['a:b', { name: '' }, undefined, 'FST_MCP_RESOURCE_INVALID', /`name` must not be empty, got ""$/],
    ['a:b', { size: -1 }, undefined, 'FST_MCP_RESOURCE_INVALID', /`size` must be at least 0, got -1$/],
    ['a:b', { visible: true }, undefined, 'FST_MCP_RESOURCE_INVALID', /`visible` must be a function, got true$/],
    ['a:b', { enabled: 'no' }, undefined, 'FST_MCP_RESOURCE_INVALID', /`enabled` must be true or false, got "no"$/],
    ['a:b', { annotations: { priority: 2 } }, undefined, 'FST_MCP_RESOURCE_INVALID', /`annotations.priority` must be at most 1, got/],
    ['a:b', { cache: { ttl: -1 } }, undefined, 'FST_MCP_RESOURCE_INVALID', /`cache.ttl` must be at least 0, got -1$/],
    ['a:b', { timeout: 0 }, undefined, 'FST_MCP_RESOURCE_INVALID', /`timeout` must be a whole number of milliseconds from 1 to 2147483647, got 0/],
    ['a:b', { list: () => [] }, undefined, 'FST_MCP_RESOURCE_INVALID', /`list` is not part of a definition/],
    ['a', {}, undefined, 'FST_MCP_URI_INVALID', /it has no scheme/],
    ['a:../b', {}, undefined, 'FST_MCP_URI_INVALID', /dot segment/],
    ['a:{b}', { size: 1 }, undefined, 'FST_MCP_RESOURCE_INVALID', /^Resource "a:\{b\}": `size` is not part of a definition$/],
    ['a:{b}', { list: [] }, undefined, 'FST_MCP_RESOURCE_INVALID', /`list` must be a function/],
    ['a:{b}', { complete: 5 }, undefined, 'FST_MCP_RESOURCE_INVALID', /`complete` must be an object/],
    ['a:{b}', { complete: { c: [] } }, undefined, 'FST_MCP_RESOURCE_INVALID', /`complete.c` belongs to no argument; there are b$/],
    ['a:{b}', { complete: { b: 'x' } }, undefined, 'FST_MCP_RESOURCE_INVALID', /`complete.b` must be a function or an array of strings/],
    ['a:{b', {}, undefined, 'FST_MCP_TEMPLATE_INVALID', /^URI template "a:\{b"/]
  ]
  for (const [uri, definition, read, code, message] of wrong) {
    t.throws(() => add(uri, definition, read), { code, message }, String(message))
  }
  add('a:b', {})
  add('a:{b}', {})
  t.throws(() => add('a:b', {}), { code: 'FST_MCP_RESOURCE_DUPLICATE', message: 'Resource "a:b" is already registered' })
  t.throws(() => add('a:{b}', {}), { code: 'FST_MCP_RESOURCE_DUPLICATE' })
  t.throws(() => app.mcp.resourceUpdated('no scheme'), { code: 'FST_MCP_URI_INVALID' })
})

t.test('on 2026-07-28 results say how long they hold, and for whom', async t => {
  const { app, peer } = await offer(t, '2026-07-28', { auth: AUTH, cache: { ttl: 1_000, scope: 'public', lists: { read: { ttl: 2_000 }, templates: { ttl: 3_000 } } } })
  app.mcp.resource('cache://plain', {}, () => 'a')
  app.mcp.resource('cache://own', { cache: { ttl: 5, scope: 'private' } }, () => 'a')
  const client = await peer('alice')
  const hint = async (method: string, params?: object) => {
    const { result: { ttlMs, cacheScope, resultType } } = await client.request(method, params)
    return [ttlMs, cacheScope, resultType]
  }
  t.strictSame(await hint('resources/list'), [1_000, 'public', 'complete'])
  t.strictSame(await hint('resources/templates/list'), [3_000, 'public', 'complete'])
  t.strictSame(await hint('resources/read', { uri: 'cache://plain' }), [2_000, 'public', 'complete'])
  t.strictSame(await hint('resources/read', { uri: 'cache://plain', inputResponses: {} }), [0, 'private', 'complete'], 'what answers made is nobody else\'s')
  t.strictSame(await hint('resources/read', { uri: 'cache://own' }), [5, 'private', 'complete'])
  app.mcp.resource('cache://hidden', { visible: () => true, cache: { scope: 'public' } }, () => 'a')
  t.strictSame(await hint('resources/read', { uri: 'cache://hidden' }), [2_000, 'private', 'complete'])
  t.strictSame(await hint('resources/list'), [1_000, 'private', 'complete'])
  t.strictSame(await hint('resources/templates/list'), [3_000, 'public', 'complete'])
  t.strictSame(await hint('prompts/list').catch(() => 'refused'), 'refused')
})

t.test('a URI that is mirrored wrongly is refused before anybody reads', async t => {
  const { app } = await offer(t, '2026-07-28')
  let reads = 0
  app.mcp.resource('mirror://{id}', {}, () => { reads++; return 'a' })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const client = new StandaloneClient(url)
  const { headers, body } = client.write(1, 'resources/read', { uri: 'mirror://a' })
  const reply = await send(url, '/mcp', { method: 'POST', headers: { ...headers, 'mcp-name': 'mirror://b' }, body })
  t.match(reply, { status: 400, messages: [{ error: { code: -32020 } }] })
  t.equal(reads, 0)
})

t.test('the handle of a template writes URIs that its reader may get', async t => {
  const { app } = await offer(t, '2026-07-28')
  const handle = app.mcp.resource('notes://{folder}/{+path}{?rev}', {}, ({ path }) => path)
  t.equal(handle.uri({ folder: 'a b', path: 'c/d' }), 'notes://a%20b/c/d')
  t.equal(handle.uri({ folder: 'a', path: 'b', rev: '2' }), 'notes://a/b?rev=2')
  t.throws(() => handle.uri({ folder: 'a', path: '../b' }), { code: 'FST_MCP_URI_INVALID' })
  t.throws(() => handle.uri({ folder: 'a', path: 'x'.repeat(5_000) }), { code: 'FST_MCP_URI_INVALID' })
})

t.test('a list to which templates add is shared between nobody, whatever the options say', async t => {
  const { peer, app } = await offer(t, '2026-07-28', { cache: { ttl: 1_000, scope: 'public' } })
  app.mcp.resource('plain://{id}', {}, () => 'x')
  const client = await peer()
  t.match((await client.request('resources/list')).result, { ttlMs: 1_000, cacheScope: 'public' })
  app.mcp.resource('mine://{id}', { list: ({ principal }) => [{ uri: `mine://${principal?.id ?? 'nobody'}` }] }, () => 'x')
  t.match((await client.request('resources/list')).result, { ttlMs: 1_000, cacheScope: 'private' })
  t.match((await client.request('resources/templates/list')).result, { cacheScope: 'public' })
})
