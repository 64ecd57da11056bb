import Fastify from 'fastify'
import mcp, { errorCodes, type McpOptions, memoryStore } from 'fastify-mcp-sse'
import t from 'tap'
import { z } from 'zod'
import { toRpcError, toStatus } from '../lib/errors.ts'
import { optionsSchema, resolveOptions } from '../lib/options.ts'
import { must } from '../lib/wording.ts'
import { Client, createApp } from './client.ts'

const MAX_TIMER = 2_147_483_647

/** Options as a caller without types may give them. */
function resolve (options: unknown) {
  return resolveOptions(options as McpOptions)
}

function nest (name: string, value: unknown): object {
  return name.split('.').reverse().reduce<unknown>((inner, key) => ({ [key]: inner }), value) as object
}

function freeze<T> (value: T): T {
  if (typeof value === 'object' && value !== null) Object.values(Object.freeze(value)).forEach(freeze)
  return value
}

t.test('without options every default holds', async t => {
  t.strictSame(resolve({}), {
    name: 'mcp-server',
    version: '0.0.0',
    prefix: '',
    publicPath: '',
    paths: { mcp: '/mcp', sse: '/sse', messages: '/messages' },
    rateLimit: false,
    origins: [],
    cors: { maxAge: 7_200_000 },
    helmet: true,
    requireHttps: false,
    streams: { keepAlive: 15_000, stall: 60_000, max: 1_000, maxPerPrincipal: 128, buffer: 65_536, openAfter: 1_000, retry: 1_000 },
    sessions: { idle: 1_800_000, max: 10_000, maxPerPrincipal: 1_000, replay: { events: 1_000, bytes: 262_144, window: 300_000 } },
    tickets: { ttl: 30_000, max: 10_000, maxPerPrincipal: 64 },
    tools: { timeout: 300_000, grace: 5_000, maxResult: 10_485_760 },
    drain: { timeout: 10_000 },
    lists: { pageSize: 100 },
    cache: { ttl: 0, scope: 'private', lists: {} },
    ask: { timeout: 600_000, max: 10_000, maxPerPrincipal: 256, ttl: 900_000, maxState: 65_536 },
    subscriptions: { maxPerPrincipal: 16, uris: 1_000 },
    limits: {
      body: 4_194_304,
      batch: 100,
      id: 256,
      capabilities: 16_384,
      uri: 4_096,
      calls: 10_000,
      callsPerSession: 256,
      callsPerPrincipal: 256,
      header: 1_024,
      depth: 64,
      values: 100_000,
      keys: 50_000
    }
  })
})

t.test('each option takes what it should', async t => {
  const auth = { tokens: [{ token: 't', principal: 'p', scopes: ['s'] }], verify: () => null }
  const store = memoryStore()
  const good: [name: string, ...values: unknown[]][] = [
    ['name', 'x'], ['version', '1'], ['title', ''], ['instructions', ''], ['prefix', '', '/a', '/a/b'], ['publicPath', '', '/api', '/a/b.c/%7E..'],
    ['paths.mcp', '/', '/a/b.c'], ['paths.sse', '/x', false], ['paths.messages', '/x'],
    ['auth', false, undefined, auth, { tokens: [] }, { verify: auth.verify },
      { ...auth, resource: 'https://a.example/mcp', authorizationServers: ['https://b.example/x'], scopes: ['a', 'b:c'], rootMetadata: true, hierarchy: () => true },
      { ...auth, resource: 'http://localhost:3000', authorizationServers: ['http://127.0.0.1:1', 'http://[::1]:2/'], scopes: [], rootMetadata: false },
      { ...auth, resource: 'https://a.example/', authorizationServers: ['https://B.example'], rootMetadata: undefined }, { ...auth, rootMetadata: false }],
    ['origins', [], ['https://a.example', 'http://localhost:8080'], [/^https:/, () => true]], ['cors.maxAge', 0, MAX_TIMER],
    ['helmet', true, false, {}, { xFrameOptions: false }], ['requireHttps', true, false], ['hosts', [], ['a.example:1', 'localhost', '[::1]', '[::1]:8080', '10.0.0.1']],
    ['streams.keepAlive', 10, MAX_TIMER], ['streams.stall', 10], ['streams.max', 1], ['streams.buffer', 1], ['streams.openAfter', 1], ['streams.retry', 0],
    ['sessions', false], ['rateLimit', false, { max: 1, timeWindow: 1, maxPerAddress: 1 }], ['rateLimit.max', 1], ['rateLimit.timeWindow', 1, MAX_TIMER], ['rateLimit.maxPerAddress', 1], ['sessions.maxPerPrincipal', 1], ['streams.maxPerPrincipal', 1], ['ask.max', 1], ['ask.maxPerPrincipal', 1], ['limits.callsPerPrincipal', 1], ['sessions.idle', 2], ['sessions.max', 1], ['sessions.replay.events', 1], ['sessions.replay.bytes', 1],
    ['drain.timeout', 0, MAX_TIMER], ['health', '/h', undefined], ['ready', '/r/y'], ['tickets.ttl', 1, MAX_TIMER], ['tickets.max', 1], ['tickets.maxPerPrincipal', 1],
    ['sessions.replay.window', 1], ['tools.timeout', 1], ['tools.grace', 1], ['tools.maxResult', 1], ['lists.pageSize', 1],
    ['description', ''], ['websiteUrl', 'https://a.example/docs'], ['icons', [], [{ src: 'https://a.example/i.png', mimeType: 'image/png' }]],
    ['cache.ttl', 0, 1, MAX_TIMER], ['cache.scope', 'public', 'private'], ['cache.lists.discover.ttl', 0], ['cache.lists.read.scope', 'public'],
    ['cache.lists.templates', { ttl: 5, scope: 'private' }, {}],
    ['ask.timeout', 1], ['ask.keys', ['x'.repeat(32)], ['é'.repeat(16)], [new Uint8Array(32), 'y'.repeat(64)]], ['ask.ttl', 1], ['ask.maxState', 512],
    ['subscriptions.maxPerPrincipal', 1], ['subscriptions.uris', 1], ['limits.uri', 1, 65_536],
    ['limits.body', 1], ['limits.batch', 1], ['limits.id', 1, 256], ['limits.header', 512], ['limits.capabilities', 1], ['limits.calls', 1], ['limits.callsPerSession', 1], ['limits.depth', 1, 1_000], ['limits.values', 1], ['limits.keys', 1], ['store', store, undefined]
  ]
  for (const [name, ...values] of good) {
    for (const value of values) {
      const resolved = resolve(nest(name, value))
      t.strictSame(name.split('.').reduce<unknown>((object, key) => Reflect.get(object as object, key), resolved), value, name)
    }
  }
})

t.test('an option that is wrong is refused, with its name and its value', async t => {
  const bad: [name: string, ...values: unknown[]][] = [
    ['name', '', 7, null], ['version', '', 1], ['title', 7], ['instructions', ['x']],
    ['prefix', 'a', '/:id', '/a*', '/a?b', '/a#b', 7, null], ['publicPath', 'api', '/', '/a/', '//a', '/a//b', '/a/..', '/./a', '/a?b', '/a#b', '/a b', '/a\n', '/a\\b', '/%2e%2E/x', '/a%2fb', '/a%5Cb', '/%zz', 7, null, false], ['paths.mcp', '', 'mcp', '/:x', false], ['paths.sse', 'sse', true, '/s?t'], ['paths.messages', false, ''],
    ['auth', true, 'secret', {}, null, []], ['auth.tokens', 'x', {}, [{ token: 'p', principal: 'a' }, { token: 'p', principal: 'b' }]], ['auth.verify', 'x', {}],
    ['origins', 'https://a.example', ['a.example'], [7], [null]], ['cors', true], ['cors.maxAge', -1, '1h', MAX_TIMER + 1],
    ['helmet', 'on', 7, null, []], ['requireHttps', 'yes', 1], ['hosts', 'a', [''], [7], ['https://a.example'], ['a.example/'], ['a:b'], ['::1']],
    ['streams', 7, null], ['streams.keepAlive', 9, 0, -1, 1.5, NaN, Infinity, '15s', MAX_TIMER + 1], ['streams.stall', 9, '1'], ['streams.max', 0, -1, 1.5, 'many'],
    ['streams.buffer', 0], ['streams.openAfter', 0], ['streams.retry', -1], ['sessions', true, 'off'], ['rateLimit', true, 60], ['rateLimit.max', 0, '60'], ['rateLimit.timeWindow', 0, '1 minute', MAX_TIMER + 1], ['rateLimit.maxPerAddress', 0], ['sessions.maxPerPrincipal', 0], ['streams.maxPerPrincipal', 0, 1.5], ['ask.max', 0], ['ask.maxPerPrincipal', -1], ['limits.callsPerPrincipal', '1'], ['sessions.idle', 1, MAX_TIMER + 1], ['sessions.max', 0],
    ['sessions.replay', 7], ['sessions.replay.events', 0], ['sessions.replay.bytes', 0.5], ['sessions.replay.window', 0],
    ['drain', false, 7], ['drain.timeout', -1, '10s', MAX_TIMER + 1], ['health', '', 'h', true, '/:a'], ['ready', 'r', false],
    ['tickets', false, 7, null], ['tickets.ttl', 0, -1, '30s', MAX_TIMER + 1], ['tickets.max', 0, 1.5], ['tickets.maxPerPrincipal', 0, '64'],
    ['tools.timeout', 0, MAX_TIMER + 1], ['tools.grace', 0], ['tools.maxResult', 0], ['lists.pageSize', 0, '10'],
    ['description', 7], ['websiteUrl', 'a.example', 7], ['icons', {}, 'x'], ['cache', 7, null], ['cache.ttl', -1, 1.5, MAX_TIMER + 1, '1'], ['cache.scope', 'shared', true],
    ['cache.lists', 7], ['cache.lists.tools', 7], ['cache.lists.tools.ttl', -1, '5'], ['cache.lists.read.scope', 'all'],
    ['ask.timeout', 0], ['ask.keys', 'x', []], ['ask.ttl', 0], ['ask.maxState', 511], ['subscriptions', 7], ['subscriptions.maxPerPrincipal', 0], ['subscriptions.uris', 0],
    ['limits.uri', 0, 65_537],
    ['limits.body', 0], ['limits.batch', 0], ['limits.id', 0, 257], ['limits.header', 0], ['limits.depth', 0, 1_001], ['limits.values', 0], ['limits.keys', 0, 1.5],
    ['store', 7, null, {}, { open: true }, 'redis']
  ]
  for (const [name, ...values] of bad) {
    for (const value of values) {
      const shown = quoted(name, value)
      try {
        resolve(nest(name, value))
        t.fail(`${name} took ${shown}`)
      } catch (error) {
        t.match(error, { code: 'FST_MCP_OPTION_INVALID', statusCode: 500 }, `${name} ${shown}`)
        const { message } = error as Error
        t.match(message, `\`${name}`, `${name} is named in: ${message}`)
        t.ok(message.endsWith(`got ${shown}`), `${shown} is quoted in: ${message}`)
      }
    }
  }
})

t.test('what the metadata and the challenges would say is checked', async t => {
  const whole = { tokens: [], resource: 'https://a.example/', authorizationServers: ['https://b.example'] }
  const bad: [name: string, ...values: unknown[]][] = [
    ['resource', 7, '', 'mcp', 'a:b', 'http://a.example', 'https://A.example/', 'HTTPS://a.example/', 'https://a.example:443/', 'https://a.example/a/../b'],
    ['resource', 'https://a.example/#a', 'https://a.example/#', 'https://a.example/?a', 'https://a.example/:a', 'https://a.example/*', 'https://a.example/%61'],
    ['resource', 'https://a.example/a b', 'http://localhost.a.example/', 'ftp://a.example/', {}, null],
    ['authorizationServers', [], 'https://a.example', ['http://a.example'], [''], ['https://a.example?b'], ['https://a.example#b'], [7]],
    ['scopes', 'a', [''], ['a b'], ['a"b'], ['a\\b'], ['a\n'], ['offline_access'], ['é'], [7], {}],
    ['rootMetadata', 'yes', 1, null], ['hierarchy', 'flat', {}, true]
  ]
  for (const [name, ...values] of bad) {
    for (const value of values) {
      const shown = quoted(`auth.${name}`, value)
      try {
        resolve({ auth: { ...whole, [name]: value } })
        t.fail(`auth.${name} took ${shown}`)
      } catch (error) {
        t.match(error, { code: 'FST_MCP_OPTION_INVALID' })
        t.match((error as Error).message, `Invalid option: \`auth.${name}`)
        t.ok((error as Error).message.endsWith(`got ${shown}`), `${shown} is quoted in: ${error}`)
      }
    }
  }
})

/** How a refusal shows a value: an element of a list that is wrong stands for itself. */
function quoted (name: string, value: unknown): string {
  const isList = ['origins', 'hosts', 'auth.authorizationServers', 'auth.scopes'].includes(name)
  const shown: unknown = Array.isArray(value) && isList && value.length > 0 ? value[0] : value
  if ((['auth', 'auth.tokens', 'auth.verify'].includes(name) || name === 'ask.keys') && typeof shown === 'string') return 'a secret'
  if (typeof shown === 'object' && shown !== null) return Array.isArray(shown) ? 'an array' : 'an object'
  return typeof shown === 'string' ? JSON.stringify(shown) : String(shown)
}

t.test('a value that is no text or number is named by its kind', async t => {
  t.throws(() => resolve({ name: () => {} }), { message: /`name`.*got a function$/ })
  t.throws(() => resolve({ paths: { mcp: undefined }, name: undefined, streams: { max: 1n } }), { code: 'FST_MCP_OPTION_INVALID', message: /`streams\.max`.*got 1$/ })
  t.throws(() => resolve({ name: Symbol('x') }), { message: /`name`.*got Symbol\(x\)$/ })
  const circular: unknown[] = []
  circular.push(circular)
  t.throws(() => resolve({ name: circular }), { message: /`name`.*got an array$/ })
  t.throws(() => resolve({ store: { client: circular, password: 'x' } }), { message: /`store` must be a store, .*, got an object$/ })
  t.throws(() => resolve({ auth: { tokens: [{ token: 'x' }] } }), { message: /`auth\.tokens\.0\.principal` is missing$/ })
})

t.test('an option that does not exist is refused by its whole name, and all faults are told at once', async t => {
  t.throws(() => resolve({ colour: 'red' }), { code: 'FST_MCP_OPTION_INVALID', message: 'Invalid option: `colour` is not an option' })
  t.throws(() => resolve({ streams: { keepalive: 1 } }), { message: 'Invalid option: `streams.keepalive` is not an option (did you mean `streams.keepAlive`?)' })
  t.throws(() => resolve({ sessions: { replay: { size: 1 } } }), { message: 'Invalid option: `sessions.replay.size` is not an option' })
  t.throws(() => resolve({ auth: { token: 'x' } }), { message: /`auth\.token` is not an option/ })
  t.throws(() => resolve({ a: 1, b: 2, name: '' }), { message: /`name`.*`a` is not an option/ })
  t.throws(() => resolve({ name: '', version: '' }), { message: /`name`.*; `version`/ })
  t.throws(() => resolve({ sessions: { idle: 'x', replay: { events: 'y' } } }), { message: /^Invalid option: `sessions\.idle`.*"x"; `sessions\.replay\.events`.*"y"$/ }, 'those of a value with two forms too')
})

t.test('a refusal says what a value must be, and what a wrong name may have meant', async t => {
  const told: [given: unknown, says: string][] = [
    [{ auth: true }, '`auth` must be an object or false, got true'], [{ paths: '/x' }, '`paths` must be an object, got "/x"'],
    [{ auth: { tokens: 5, resource: 5 } }, '`auth.tokens` must be an array, got a number; `auth.resource` must be a string, got 5'],
    [{ origins: '*' }, '`origins` must be an array, got "*"'], [{ paths: { sse: true } }, '`paths.sse` must be a string or false, got true'],
    [{ paths: { sse: 'x' } }, '`paths.sse` must be a path that starts with / and has no parameters, got "x"'],
    [{ cache: { scope: 'x' } }, '`cache.scope` must be "public" or "private", got "x"'], [{ ask: { keys: [] } }, '`ask.keys` must not be empty, got an array'],
    [{ streams: { max: '5' } }, '`streams.max` must be a number, got "5"'], [{ streams: { max: 1.5 } }, '`streams.max` must be a whole number, got 1.5'],
    [{ limits: { id: 257 } }, '`limits.id` must be at most 256, got 257'], [{ limits: { header: 511 } }, '`limits.header` must be at least 512, got 511'],
    [{ name: '' }, '`name` must not be empty, got ""'], [{ websiteUrl: 'x' }, '`websiteUrl` must be a URL, got "x"'],
    [{ path: '/x' }, '`path` is not an option (did you mean `paths`?)'], [{ token: 'x' }, '`token` is not an option (did you mean `auth.tokens`?)'],
    [{ allowedOrigins: [] }, '`allowedOrigins` is not an option (did you mean `origins`?)'],
    [{ timeout: 1 }, '`timeout` is not an option (did you mean `tools.timeout` or `drain.timeout` or `ask.timeout`?)'], [{ x: 1 }, '`x` is not an option']
  ]
  for (const [given, says] of told) t.throws(() => resolve(given), { message: `Invalid option: ${says}` }, says)
})

t.test('whatever a schema asks for has its words', async t => {
  const told: [schema: z.ZodType, given: unknown, says: string | RegExp][] = [
    [z.string().min(2), 'a', 'must have at least 2 characters'], [z.array(z.string()).max(1), ['a', 'b'], 'must have at most 1 entries'],
    [z.map(z.string(), z.string()), {}, 'must be map'], [z.number().multipleOf(2), 3, /multiple/]
  ]
  for (const [schema, given, says] of told) t.match(schema.safeParse(given, { error: must }).error?.issues[0]?.message, says)
})

t.test('a secret is never quoted', async t => {
  const secret = 'hunter2-hunter2'
  const wrong: unknown[] = [
    { auth: { tokens: [{ token: secret, principal: '' }] } }, { auth: { tokens: [{ token: [secret], principal: 'p' }] } },
    { auth: { tokens: [{ token: secret, principal: 'p', extra: 1 }] } }, { auth: { tokens: { token: secret } } }, { auth: { tokens: [secret] } },
    { auth: { tokens: [], resource: `https://x:${secret}@a.example/` } }, { auth: { tokens: [], authorizationServers: [`https://x:${secret}@a.example/`] } },
    { auth: { tokens: secret } }, { auth: secret }, { auth: { verify: secret } }, { auth: [{ token: secret, principal: 'p' }] },
    { auth: { tokens: [{ token: secret, principal: { secret } }] } }, { ask: { keys: [secret] } }, { ask: { keys: secret } },
    { ask: { keys: [{ secret }] } }, { ask: { keys: ['x'.repeat(32), secret] } }, { ask: secret }, { [secret]: 1 }, { auth: { [secret]: 'ada' } },
    { auth: { tokens: [{ token: 'abc', principal: 'ada', [secret]: 1 }] } }, { ask: { [secret]: 1 } }, { auth: { tokens: [{ token: Symbol(secret), principal: 'p' }] } },
    { store: `redis://:${secret}@a.example:6379` }, { websiteUrl: `http//x:${secret}@a.example` }, { origins: [`https://x:${secret}@a.example`] },
    { hosts: [`x:${secret}@a.example`] }, { auth: { tokens: [], resource: `https://a.example/?token=${secret}` } }
  ]
  for (const options of wrong) {
    try {
      resolve(options)
      t.fail('was taken')
    } catch (error) {
      t.match(error, { code: 'FST_MCP_OPTION_INVALID' })
      t.notMatch((error as Error).message, secret, JSON.stringify(options))
    }
  }
})

t.test('options that are inherited count, and those that cannot be read are refused', async t => {
  class Settings {
    get auth () { return { tokens: [{ token: 'abc', principal: 'ada' }] } }
  }
  t.match(resolve(new Settings()), { auth: { tokens: [{ token: 'abc' }] } }, 'a server is not open by mistake')
  t.match(resolve(Object.create({ name: 'inherited' })), { name: 'inherited' })
  const fails = { get name () { throw new TypeError('broken') } }
  t.throws(() => resolve(fails), { code: 'FST_MCP_OPTION_INVALID', message: 'Invalid option: one of them cannot be read', cause: { message: 'broken' } })
  const long = 'y'.repeat(1_000)
  t.throws(() => resolve({ prefix: long }), { message: `Invalid option: \`prefix\` must be a path that starts with / and has no parameters, got "${long.slice(0, 200)}…"` })
})

t.test('the caller\'s object is left as it was, however deep', async t => {
  const options = freeze({
    name: 'frozen',
    paths: { mcp: '/m' },
    auth: { tokens: [{ token: 't', principal: 'p', scopes: ['s'] }] },
    origins: ['https://a.example'],
    hosts: ['localhost'],
    streams: { keepAlive: 20_000 },
    sessions: { replay: { window: 1_000 } },
    tools: {},
    limits: {}
  } satisfies McpOptions)
  const app = Fastify()
  t.after(() => app.close())
  await app.register(mcp, options)
  const client = await Client.connect(app, { path: '/m', headers: { authorization: 'Bearer t' } })
  t.match(client.server, { serverInfo: { name: 'frozen' } })
  t.strictSame(Object.keys(options), ['name', 'paths', 'auth', 'origins', 'hosts', 'streams', 'sessions', 'tools', 'limits'])
})

t.test('what Fastify itself reads of every `register` is no fault', async t => {
  t.doesNotThrow(() => resolve({ logLevel: 'warn', logSerializers: {} }))
})

t.test('wrong options end the boot', async t => {
  const app = Fastify()
  await t.rejects(Promise.resolve(app.register(mcp, { streams: { max: 0 } })), { code: 'FST_MCP_OPTION_INVALID', message: /`streams\.max`/ })
  await app.close()
})

t.test('every option says in a sentence what it is', async t => {
  const walk = (schema: z.core.$ZodType, name: string): void => {
    const inner = schema instanceof z.ZodPrefault || schema instanceof z.ZodOptional || schema instanceof z.ZodDefault ? schema.unwrap() : schema
    if (inner instanceof z.ZodObject) {
      for (const [key, value] of Object.entries(inner.shape)) walk(value, name === '' ? key : `${name}.${key}`)
    } else if (!name.startsWith('auth.')) {
      t.match((z.globalRegistry.get(schema) ?? z.globalRegistry.get(inner))?.description, /^\S.*\.$/, name)
    }
  }
  walk(optionsSchema, '')
})

t.test('a tool that is registered wrong is refused with its name', async t => {
  const app = await createApp(t)
  const tool = (name: unknown, definition: unknown = {}, handler: unknown = () => 'x') => () => app.mcp.tool(name as string, definition as object, handler as () => string)
  for (const name of ['', 'a b', 'a,b', 'é', 'a/b', 'x'.repeat(129), 7, null, undefined, {}, 'a\n']) {
    t.throws(tool(name), { code: 'FST_MCP_TOOL_NAME_INVALID' }, JSON.stringify(name) ?? 'undefined')
  }
  t.throws(tool(undefined), { message: 'Tool name undefined does not match [A-Za-z0-9_.-]{1,128}' })
  for (const name of ['a', 'A-Za_z.0-9', 'x'.repeat(128), '.']) t.doesNotThrow(tool(name), name)
  t.throws(tool('a'), { code: 'FST_MCP_TOOL_DUPLICATE', message: 'Tool "a" is already registered' })

  const wrong: [definition: unknown, handler: unknown, says: RegExp][] = [
    [null, () => {}, /^Tool "b": its definition must be an object, got null: `tool\(name, definition, handler\)`$/], [() => {}, undefined, /definition must be an object, got a function/], [undefined, () => {}, /definition must be an object/],
    [{}, undefined, /handler must be a function, got undefined/], [{}, 'x', /handler must be a function, got string/], [{ collect: 'no' }, () => {}, /`collect` must be a boolean, got no/],
    [{ collect: null }, () => {}, /`collect` must be a boolean, got null/],
    ...[0, -1, 1.5, NaN, '5', null, MAX_TIMER + 1].map((timeout): [unknown, unknown, RegExp] =>
      [{ timeout }, () => {}, new RegExp(`\`timeout\` must be a whole number of milliseconds from 1 to ${MAX_TIMER}, got ${timeout}`)]),
    [{ inputSchema: {} }, () => {}, /`inputSchema` is not part of a definition; use `input`$/], [{ descripton: 'x' }, () => {}, /`descripton` is not part of a definition$/],
    [{ description: 5 }, () => {}, /^Tool "b": `description` must be a string, got 5$/], [{ title: null }, () => {}, /`title` must be a string, got null/], [{ _meta: 'x' }, () => {}, /`_meta` must be an object, got "x"/],
    [{ annotations: { readonly: true } }, () => {}, /`annotations.readonly` is not part/], [{ annotations: { readOnlyHint: 'yes' } }, () => {}, /`annotations.readOnlyHint` must be true or false, got "yes"/],
    [{ icons: [{}] }, () => {}, /`icons.0.src` must be a string, got undefined/],
    [{ rateLimit: 5 }, () => {}, /`rateLimit` must be an object of `max` and `timeWindow`, got 5/], [{ rateLimit: null }, () => {}, /got null/],
    [{ rateLimit: {} }, () => {}, /`rateLimit.max` must be a whole number from 1 on, got undefined/], [{ scopes: 'x' }, () => {}, /`scopes` must be an array of scopes .*, got "x"$/],
    [{ rateLimit: { max: 0, timeWindow: 1 } }, () => {}, /`rateLimit.max`.*got 0/], [{ rateLimit: { max: 1, timeWindow: '1 minute' } }, () => {}, /`rateLimit.timeWindow`.*got 1 minute/],
    [{ rateLimit: { max: 1, timeWindow: 0 } }, () => {}, /`rateLimit.timeWindow`.*got 0/], [{ rateLimit: { max: 1, timeWindow: MAX_TIMER + 1 } }, () => {}, /`rateLimit.timeWindow`/],
    [{ rateLimit: { max: 1, timeWindow: 1, ban: 1 } }, () => {}, /`rateLimit.ban` is not part of a definition/]
  ]
  for (const [definition, handler, says] of wrong) {
    t.throws(() => app.mcp.tool('b', definition as object, handler as () => string), { code: 'FST_MCP_TOOL_INVALID', message: says }, says.source)
  }
  const { result } = await (await Client.connect(app)).request('tools/list')
  t.equal(result.tools.length, 4, 'what was refused is not there')
  t.doesNotThrow(tool('b', { timeout: MAX_TIMER, collect: false }), 'and its name is still free')
})

t.test('every error of the catalogue keeps its code, status and JSON-RPC code', async t => {
  for (const [code, Type] of Object.entries(errorCodes)) {
    const error = new Type('a', 'b', 'c')
    t.match(error, { code, statusCode: toStatus(error) })
    t.strictSame(toRpcError(error).data, { code })
    t.equal(toRpcError(error).message, error.message)
    t.ok(Number.isInteger(toRpcError(error).code) && toRpcError(error).code < 0, code)
  }
})

t.test('an error from elsewhere is told as an internal one and keeps its text to itself', async t => {
  const foreign = [new Error('password'), Object.assign(new Error('password'), { code: 'ECONNRESET' }), 'password', null, undefined, { code: 'FST_MCP_PARSE', message: 'password' },
    Object.assign(new Error('password'), { code: '__proto__' })]
  for (const error of foreign) {
    t.strictSame(toRpcError(error), { code: -32603, message: 'Internal error', data: { code: 'FST_MCP_INTERNAL' } })
    t.equal(toStatus(error), 500)
  }
})
