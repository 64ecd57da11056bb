// Lists that change while clients look: handles, who is told, who may see, pages and capabilities.
import type { Principal } from 'fastify-mcp-sse'
import t from 'tap'
import { z } from 'zod'
import { byKey, Registry } from '../lib/features/registry.ts'
import type { EventStream } from './client.ts'
import { Cursors } from '../lib/features/cursor.ts'
import { AUTH, ERAS, offer, type Offering, type Peer, revisionOf } from './peers.ts'

const pause = (ms = 20) => new Promise(resolve => setTimeout(resolve, ms))
const isAlice = (principal: Principal | null): boolean => principal?.id === 'alice'

const KINDS = [
  { kind: 'tools', method: 'tools/list', list: 'tools', key: 'name', at: (name: string) => name, changed: 'notifications/tools/list_changed' },
  { kind: 'prompts', method: 'prompts/list', list: 'prompts', key: 'name', at: (name: string) => name, changed: 'notifications/prompts/list_changed' },
  { kind: 'resources', method: 'resources/list', list: 'resources', key: 'uri', at: (name: string) => `a://${name}`, changed: 'notifications/resources/list_changed' },
  { kind: 'templates', method: 'resources/templates/list', list: 'resourceTemplates', key: 'uriTemplate', at: (name: string) => `t://${name}/{x}`, changed: 'notifications/resources/list_changed' }
] as const
type Kind = typeof KINDS[number]

/** What handles of every kind have in common. */
interface AnyHandle {
  readonly enabled: boolean
  update (changes: object, handler?: any): void
  enable (): void
  disable (): void
  remove (): boolean
}

function add ({ app }: Offering, { kind, at }: Kind, name: string, definition: object = {}, handler: () => string = () => 'x'): AnyHandle {
  if (kind === 'tools') return app.mcp.tool(at(name), definition, handler)
  if (kind === 'prompts') return app.mcp.prompt(at(name), definition, handler)
  return app.mcp.resource(at(name), definition, handler)
}

async function namesOf (client: Peer, { method, list, key }: Kind): Promise<string[]> {
  return (await client.request(method)).result[list].map((entry: Record<string, string>) => entry[key])
}

const told = (stream: EventStream): string[] => stream.messages.flatMap(({ method }) => method?.endsWith('list_changed') === true ? [method] : [])

for (const era of ERAS) {
  t.test(`on ${era} handles update, disable, enable and remove what they registered`, async t => {
    const offering = await offer(t, era)
    for (const kind of KINDS) {
      const a = kind.at('a')
      const handle = add(offering, kind, 'a', { description: 'first' })
      add(offering, kind, 'b')
      const client = await offering.peer()
      const described = async () => (await client.request(kind.method)).result[kind.list].map((entry: Record<string, string>) => entry.description ?? '-')
      t.equal(handle.enabled, true)
      t.equal(Reflect.get(handle, kind.key), a)
      handle.update({ description: 'second' })
      t.same(await described(), ['second', '-'])
      t.throws(() => handle.update({ description: 'third', timeout: 0 }), { code: /^FST_MCP_(TOOL|PROMPT|RESOURCE)_INVALID$/ })
      t.throws(() => handle.update({ description: 'third' }, 'text'), { code: /^FST_MCP_(TOOL|PROMPT|RESOURCE)_INVALID$/ })
      t.same(await described(), ['second', '-'], 'an update that throws changes nothing')
      handle.update({ description: undefined })
      t.same(await described(), ['-', '-'])
      handle.disable()
      handle.disable()
      t.equal(handle.enabled, false)
      t.same(await namesOf(client, kind), [kind.at('b')])
      handle.update({ description: 'hidden' })
      t.same(await namesOf(client, kind), [kind.at('b')], 'an update does not enable it')
      handle.enable()
      t.equal(handle.enabled, true)
      t.same(await described(), ['hidden', '-'])
      handle.update({ enabled: false })
      t.equal(handle.enabled, false)
      handle.update({ enabled: true })
      t.same(await namesOf(client, kind), [a, kind.at('b')])
      t.throws(() => add(offering, kind, 'a'), { code: /DUPLICATE$/ })
      t.equal(handle.remove(), true)
      t.same(await namesOf(client, kind), [kind.at('b')])
      t.same([handle.remove(), handle.enabled], [false, false])

      const anew = add(offering, kind, 'a', { description: 'anew' })
      handle.enable()
      handle.disable()
      handle.update({ description: 'of the dead' })
      t.same([handle.remove(), handle.enabled, anew.enabled], [false, false, true])
      t.same(await described(), ['anew', '-'], 'a handle of what was removed does nothing')
    }
  })

  t.test(`on ${era} an update of the handler counts from the next call on`, async t => {
    const offering = await offer(t, era)
    const { app, peer } = offering
    let finish = (): void => {}
    const begun = new Promise<void>(resolve => {
      const waits = new Promise<void>(_resolve => { finish = _resolve })
      app.mcp.tool('slow', { timeout: 60_000 }, async () => { resolve(); await waits; return 'old' })
    })
    const tool = app.mcp.tool('tool', { input: z.object({ a: z.string() }) }, ({ a }) => `${a}1`)
    const prompt = app.mcp.prompt('prompt', {}, () => '1')
    const resource = app.mcp.resource('a://b', {}, () => '1')
    const template = app.mcp.resource('t://{b}', {}, ({ b }) => `${b}1`)
    const client = await peer()
    const running = client.start('tools/call', { name: 'slow' })
    await begun
    const results = async () => [
      (await client.request('tools/call', { name: 'tool', arguments: { a: 'x' } })).result.content[0].text,
      (await client.request('prompts/get', { name: 'prompt' })).result.messages[0].content.text,
      (await client.request('resources/read', { uri: 'a://b' })).result.contents[0].text,
      (await client.request('resources/read', { uri: 't://x' })).result.contents[0].text
    ]
    t.same(await results(), ['x1', '1', '1', 'x1'])
    tool.update({}, ({ a }: { a: string }) => `${a}2`)
    prompt.update({}, () => '2')
    resource.update({ mimeType: 'text/plain' }, () => Buffer.from('2'))
    template.update({}, ({ b }: { b: string }) => `${b}2`)
    t.same(await results(), ['x2', '2', '2', 'x2'])
    finish()
    t.equal((await running.answer)?.result.content[0].text, 'old', 'a call in progress goes on as it began')
  })

  t.test(`on ${era} clients are told once of what changes together, if they may see it`, async t => {
    const offering = await offer(t, era, { auth: AUTH })
    for (const kind of KINDS) add(offering, kind, 'first')
    const streams = [await (await offering.peer('alice')).hear(), await (await offering.peer('bob')).hear()]
    if (era === 'sessionless') {
      t.strictSame(streams, [null, null])
      return
    }
    const [alice, bob] = streams
    if (alice == null || bob == null) return t.fail('there are streams')
    await pause()
    const changes = async (change: () => void): Promise<[string[], string[]]> => {
      const before = [told(alice).length, told(bob).length]
      change()
      await pause()
      return [told(alice).slice(before[0]), told(bob).slice(before[1])]
    }
    for (const kind of KINDS) {
      const once = [kind.changed]
      const handles: AnyHandle[] = []
      t.same(await changes(() => { for (const name of ['a', 'b', 'c']) handles.push(add(offering, kind, name)) }), [once, once], `${kind.kind} come`)
      t.same(await changes(() => handles[0]?.update({ description: 'new' })), [once, once])
      t.same(await changes(() => { handles[0]?.disable(); handles[1]?.remove() }), [once, once])
      t.same(await changes(() => { handles[0]?.disable(); handles[1]?.remove(); handles[0]?.update({ description: 'unseen' }) }), [[], []], 'nothing has changed')
      t.same(await changes(() => handles[0]?.enable()), [once, once])
      t.same(await changes(() => { handles.push(add(offering, kind, 'off', { enabled: false })) }), [[], []], 'what is not offered yet is not told')
      t.same(await changes(() => { handles.push(add(offering, kind, 'alices', { visible: isAlice })) }), [once, []])
      const alices = handles.at(-1)
      t.same(await changes(() => alices?.update({ description: 'hers' })), [once, []])
      t.same(await changes(() => alices?.update({ visible: () => true })), [once, once], 'who sees it now is told')
      t.same(await changes(() => alices?.update({ visible: isAlice })), [once, once], 'who saw it is told')
      t.same(await changes(() => alices?.remove()), [once, []])
    }
    const [, , resources, templates] = KINDS
    t.same(await changes(() => { add(offering, resources, 'both'); add(offering, templates, 'both') }),
      [[resources.changed], [resources.changed]], 'resources and templates are one list to clients')
    t.strictSame(offering.logs, [])
    await Promise.all([alice.close(), bob.close()])
  })

  t.test(`on ${era} what is hidden is answered as what is missing is, byte for byte`, async t => {
    const { app, peer } = await offer(t, era, { auth: AUTH })
    const visible = isAlice
    const input = z.object({ a: z.string() })
    for (const enabled of [true, false]) {
      const name = enabled ? 'hidden' : 'absent'
      // `absent` is there for nobody, so that what both get can be compared.
      app.mcp.tool(name, { visible, enabled }, () => 'x')
      app.mcp.prompt(name, { visible, enabled, input, complete: { a: ['x'] } }, () => 'x')
      app.mcp.resource(`a://${name}`, { visible, enabled }, () => 'x')
      app.mcp.resource(`t://${name}/{x}`, { visible, enabled, complete: { x: ['x'] } }, () => 'x')
    }
    for (const open of ['open', 'other']) {
      app.mcp.tool(open, {}, () => 'x')
      app.mcp.prompt(open, {}, () => 'x')
      app.mcp.resource(`a://${open}`, {}, () => 'x')
      app.mcp.resource(`t://${open}/{x}`, {}, () => 'x')
    }
    const asks: [method: string, params: (name: string) => object][] = [
      ['tools/call', name => ({ name })],
      ['prompts/get', name => ({ name, arguments: { a: 'x' } })],
      ['resources/read', name => ({ uri: `a://${name}` })],
      ['resources/read', name => ({ uri: `t://${name}/x` })],
      ['completion/complete', name => ({ ref: { type: 'ref/prompt', name }, argument: { name: 'a', value: '' } })],
      ['completion/complete', name => ({ ref: { type: 'ref/resource', uri: `t://${name}/{x}` }, argument: { name: 'x', value: '' } })]
    ]
    if (era !== 'sessionless' && era !== '2026-07-28') asks.push(['resources/subscribe', name => ({ uri: `a://${name}` })])
    const [alice, bob] = [await peer('alice'), await peer('bob')]
    for (const [method, params] of asks) {
      const text = JSON.stringify(params('hidden'))
      t.ok((await alice.request(method, params('hidden'))).result, `alice: ${method} ${text}`)
      const [hidden, missing, absent] = [await bob.raw(method, params('hidden')), await bob.raw(method, params('nobody')), await bob.raw(method, params('absent'))]
      t.match(hidden, /"error"/)
      t.equal(hidden.replaceAll('hidden', '?'), missing.replaceAll('nobody', '?'), `bob: ${method} ${text}`)
      t.equal(hidden.replaceAll('hidden', '?'), absent.replaceAll('absent', '?'))
    }
    for (const kind of KINDS) {
      const names = (...all: string[]) => all.map(kind.at)
      t.same(await namesOf(alice, kind), names('hidden', 'open', 'other'), kind.kind)
      t.same(await namesOf(bob, kind), names('open', 'other'))
    }
    if (era !== '2026-07-28') return
    const [hers, his] = [await alice.hear(['a://hidden', 'a://open']), await bob.hear(['a://hidden', 'a://nobody', 'a://open'])]
    const granted = (stream: EventStream | null) => stream?.messages[0]?.params.notifications.resourceSubscriptions
    t.strictSame([granted(hers), granted(his)], [['a://hidden', 'a://open'], ['a://open']])
  })

  t.test(`on ${era} a \`visible\` that throws, or answers later, hides and is logged`, async t => {
    const { app, peer, logs } = await offer(t, era, { auth: AUTH })
    const visibles: [visible: any, message: RegExp][] = [
      [() => { throw new Error('broken') }, /^broken$/],
      [async () => true, /must answer with a boolean at once, got a promise/],
      [async () => { throw new Error('later') }, /must answer with a boolean at once, got a promise/],
      [() => 1, /must answer with a boolean at once, got number/],
      [() => undefined, /got undefined/],
      [() => { throw new Proxy({}, { get () { throw new Error('x') } }) }, /cannot be read/]
    ]
    const client = await peer('alice')
    for (const [visible, message] of visibles) {
      const handle = app.mcp.tool('odd', { visible }, () => 'x')
      logs.length = 0
      t.match((await client.request('tools/call', { name: 'odd' })).error, { code: -32602, message: 'Tool "odd" is not known' })
      t.same((await client.request('tools/list')).result.tools, [])
      t.match(logs[0], { level: 50, msg: '`visible` failed, and so hid what it belongs to', err: { message } })
      handle.remove()
      await pause(1)
    }
  })

  t.test(`on ${era} each list comes in pages that stand still while entries come and go`, async t => {
    const offering = await offer(t, era, { lists: { pageSize: 2 }, auth: AUTH })
    const letters = ['a', 'b', 'c', 'd', 'e']
    const cursors: Record<string, string> = {}
    for (const kind of KINDS) {
      const handles = new Map(letters.map(letter => [letter, add(offering, kind, letter)]))
      const [alice, bob] = [await offering.peer('alice'), await offering.peer('bob')]
      const page = async (cursor?: unknown, client = alice) => {
        const { result, error } = await client.request(kind.method, { cursor })
        return { names: result?.[kind.list].map((entry: Record<string, string>) => entry[kind.key]), next: result?.nextCursor, error }
      }
      const first = await page()
      t.same(first.names, ['a', 'b'].map(kind.at), kind.kind)
      handles.get('a')?.remove()
      handles.get('b')?.remove()
      add(offering, kind, 'aa')
      const second = await page(first.next)
      t.same(second.names, ['c', 'd'].map(kind.at), 'what stood before is neither repeated nor skipped')
      handles.get('e')?.disable()
      t.same(await page(second.next), { names: [], next: undefined, error: undefined })
      handles.get('e')?.enable()
      add(offering, kind, 'f')
      const third = await page(second.next)
      t.same(third, { names: ['e', 'f'].map(kind.at), next: undefined, error: undefined })

      const foreign = Object.values(cursors)
      const half = String(first.next)
      for (const cursor of [...foreign, '', 'x', half.slice(1), `${half}A`, half.toUpperCase(), 5, null, {}, [half]]) {
        const { error } = await page(cursor)
        t.match(error, { code: -32602, data: { code: 'FST_MCP_CURSOR_INVALID' } }, JSON.stringify(cursor))
      }
      t.match((await page(first.next, bob)).error, { code: -32602, data: { code: 'FST_MCP_CURSOR_INVALID' } }, 'a cursor is good for its owner alone')
      cursors[kind.kind] = half
    }
  })

  t.test(`on ${era} a capability is declared exactly when its methods answer`, async t => {
    const { app, peer } = await offer(t, era)
    const hasSessions = era !== 'sessionless' && era !== '2026-07-28'
    const tells = era !== 'sessionless'
    const listChanged = tells ? { listChanged: true } : {}
    const prompt = ['prompts/list', 'prompts/get'] as const
    const resource = ['resources/list', 'resources/templates/list', 'resources/read'] as const
    const codeOf = async (client: Peer, method: string) => (await client.request(method, {})).error?.code
    const codes = (client: Peer, methods: readonly string[]) => Promise.all(methods.map(method => codeOf(client, method)))
    const missing = (methods: readonly string[]) => methods.map(() => -32601)

    const bare = await peer()
    t.strictSame(bare.capabilities, { ...(tells && { logging: {} }), tools: listChanged })
    t.same(await codes(bare, [...prompt, ...resource, 'completion/complete', 'resources/subscribe']), missing([...prompt, ...resource, '', '']))
    t.same((await bare.request('tools/list')).result.tools, [], 'tools are always there')
    t.same(await codes(bare, ['nonsense', 'constructor']), missing(['', '']))
    t.equal((await bare.request('logging/setLevel', { level: 'info' })).error?.code, hasSessions ? undefined : -32601)
    t.equal((await bare.request('ping')).error?.code, era === '2026-07-28' ? -32601 : undefined)

    app.mcp.prompt('later', { enabled: false }, () => 'x')
    const prompted = await peer()
    const completions = revisionOf(era) === '2024-11-05' ? {} : { completions: {} }
    const declared = { ...(tells && { logging: {} }), tools: listChanged, prompts: listChanged, ...completions }
    t.strictSame(prompted.capabilities, declared, '`enabled: false` declares what is to come')
    t.same(await codes(prompted, [...prompt, ...resource, 'completion/complete']), [undefined, -32602, ...missing(resource), -32602])

    app.mcp.resource('a://{b}', {}, () => 'x').remove()
    const full = await peer()
    t.strictSame(full.capabilities, {
      ...(tells && { logging: {} }),
      tools: listChanged,
      prompts: listChanged,
      resources: { ...listChanged, ...(tells && { subscribe: true }) },
      ...completions
    })
    t.same(await codes(full, [...resource, 'resources/subscribe', 'resources/unsubscribe']), [undefined, undefined, -32602, ...(hasSessions ? [-32602, -32602] : [-32601, -32601])])
  })

  t.test(`on ${era} whoever subscribed is told of a resource that has changed`, async t => {
    const { app, peer } = await offer(t, era, { auth: AUTH })
    const fixed = app.mcp.resource('a://b', { visible: isAlice }, () => 'x')
    const template = app.mcp.resource('t://{x}', {}, () => 'x')
    if (era === 'sessionless') {
      t.doesNotThrow(() => { fixed.updated(); template.updated('t://1'); app.mcp.resourceUpdated('a://b') })
      return
    }
    const uris = (stream: EventStream | null) => stream?.messages.flatMap(({ method, params }) => method === 'notifications/resources/updated' ? [params.uri] : [])
    const hers = await peer('alice')
    const alice = await hers.hear(['a://b', 't://1', 't://unwanted'])
    if (era !== '2026-07-28') t.same((await hers.request('resources/unsubscribe', { uri: 't://unwanted' })).result, {})
    const bob = await (await peer('bob')).hear(['t://1'])
    await pause()
    fixed.updated()
    template.updated('t://1')
    template.updated('t://2')
    if (era !== '2026-07-28') template.updated('t://unwanted')
    app.mcp.resourceUpdated('t://1')
    app.mcp.resourceUpdated('elsewhere:1')
    t.throws(() => template.updated('no scheme'), { code: 'FST_MCP_URI_INVALID' })
    await pause()
    t.same(uris(alice), ['a://b', 't://1', 't://1'])
    t.same(uris(bob), ['t://1', 't://1'])
    fixed.update({ visible: () => false })
    fixed.updated()
    template.disable()
    template.updated('t://1')
    await pause()
    t.equal(uris(alice)?.length, 3, 'what is not seen any more is not told')
    t.equal(uris(bob)?.length, 2)
  })
}

t.test('keys are ordered by their characters, and the same list is not sorted twice', async t => {
  t.same([{ key: 'b' }, { key: 'a' }, { key: 'B' }].sort(byKey).map(({ key }) => key), ['B', 'a', 'b'])
  const registry = new Registry({ list: 'tools', cursors: new Cursors(['secret']), pageSize: 1, duplicate: 'FST_MCP_TOOL_DUPLICATE', invalid: 'FST_MCP_TOOL_INVALID', hasAuth: true, onChange () {}, onError () {} })
  t.equal(registry.wasUsed, false)
  registry.register('a', {}, undefined, () => ({ key: 'a', listing: {}, visible: undefined, scopes: [] }))
  t.equal(registry.items(), registry.items())
  t.same([registry.wasUsed, registry.isUniform], [true, true])
  registry.register('b', {}, undefined, () => ({ key: 'b', listing: {}, visible: () => true, scopes: [] }))
  t.equal(registry.isUniform, false)
})

t.test('wrong tools are refused at registration with what is wrong', async t => {
  const { app } = await offer(t, '2025-11-25')
  const wrong: [definition: unknown, message: RegExp][] = [
    [undefined, /^Tool "a": its definition must be an object, got undefined/],
    [{ inputSchema: {} }, /`inputSchema` is not part of a definition; use `input`/],
    [{ visible: 'alice' }, /`visible` must be a function, got "alice"$/],
    [{ timeout: -1 }, /`timeout` must be/],
    [{ collect: 'no' }, /`collect` must be a boolean, got no/],
    [{ icons: [{}] }, /`icons.0.src` must be a string, got undefined$/],
    [{ annotations: { readOnly: true } }, /`annotations.readOnly` is not part of a definition/]
  ]
  for (const [definition, message] of wrong) {
    // The compiler would say so too.
    t.throws(() => app.mcp.tool('a', definition as object, () => 'x'), { code: 'FST_MCP_TOOL_INVALID', message })
  }
})

t.test('a tool needs a name, and a schema that can be a tool\'s', async t => {
  const { app } = await offer(t, '2025-11-25')
  // The compiler would say so too.
  for (const name of [undefined, 5, '', 'a b', 'x'.repeat(129)] as string[]) t.throws(() => app.mcp.tool(name, {}, () => 'x'), { code: 'FST_MCP_TOOL_NAME_INVALID' })
  t.throws(() => app.mcp.tool('a', { input: z.string() }, () => 'x'), { code: 'FST_MCP_SCHEMA_INVALID', message: /its root must have type "object"/ })
  const twice = { type: 'object', properties: { a: { type: 'string', 'x-mcp-header': 'A' }, b: { type: 'string', 'x-mcp-header': 'a' } } }
  t.throws(() => app.mcp.tool('a', { input: twice }, () => 'x'), { code: 'FST_MCP_SCHEMA_INVALID' })
})

t.test('who hears nothing is not asked who they are', async t => {
  const { app, peer, logs } = await offer(t, '2025-11-25', { auth: AUTH })
  let release = (): void => {}
  const waits = new Promise<void>(resolve => { release = resolve })
  app.mcp.tool('slow', {}, async () => { await waits; return 'x' })
  const client = await peer('alice')
  const running = client.start('tools/call', { name: 'slow' })
  await pause()
  const asked: unknown[] = []
  app.mcp.tool('seen', { visible: principal => { asked.push(principal); return true } }, () => 'x')
  await pause()
  t.strictSame(asked, [])
  release()
  await running.answer
  t.strictSame(logs, [])
})
