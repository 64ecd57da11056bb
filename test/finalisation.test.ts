// However a call ends, its tool is told at once, its generator is finished, and nothing of it is kept.
import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { McpOptions, ToolContext } from 'fastify-mcp-sse'
import { z } from 'zod'
import type { Task } from '../lib/tools/context.ts'
import type { RunOptions } from '../lib/tools/outcome.ts'
import { runTool } from '../lib/tools/outcome.ts'
import { Client, until } from './client.ts'
import { DeafClient, gate, isSessionless, type Ongoing, type Peer, seeded, serve, type Served, SESSIONLESS, SESSIONS, settles, type Transport, TRANSPORTS } from './sockets.ts'

// Values that tell our timers from all others.
const TIMERS = { timeout: 600_001, grace: 600_002, openAfter: 600_003, window: 600_004 }

/** Our timers that run, by what they are for. */
const running = new Map<unknown, string>()
const names = new Map<unknown, string>(Object.entries(TIMERS).map(([name, ms]) => [ms, name]))
const { setTimeout, clearTimeout } = globalThis
globalThis.setTimeout = Object.assign((callback: () => void, ms?: number) => {
  const timer = setTimeout(() => {
    running.delete(timer)
    callback()
  }, ms)
  const name = names.get(ms)
  if (name !== undefined) running.set(timer, name)
  return timer
}, setTimeout)
globalThis.clearTimeout = timer => {
  running.delete(timer)
  clearTimeout(timer)
}
t.teardown(() => Object.assign(globalThis, { setTimeout, clearTimeout }))
const timers = (): string[] => [...running.values()].sort()

/** A call that runs. */
interface Begun {
  served: Served
  peer: Peer
  cancel: () => Promise<unknown>
  disconnect: () => unknown
  signal: AbortSignal
}

interface Ending {
  code: string
  on: readonly Transport[]
  options?: McpOptions
  end (call: Begun): unknown
}

const endings: Record<string, Ending> = {
  'a cancellation': { code: 'FST_MCP_CANCELLED', on: [...SESSIONS, 'http+sse'], end: ({ cancel }) => cancel() },
  'a disconnect': { code: 'FST_MCP_CLIENT_GONE', on: SESSIONLESS, end: ({ disconnect }) => disconnect() },
  'the end of the window after a disconnect': {
    code: 'FST_MCP_CLIENT_GONE',
    on: [...SESSIONS, 'http+sse'],
    options: { sessions: { replay: { window: 20 } } },
    end: ({ disconnect }) => disconnect()
  },
  'its timeout': { code: 'FST_MCP_TOOL_TIMEOUT', on: TRANSPORTS, options: { tools: { timeout: 80 } }, end: () => {} },
  'app.close()': { code: 'FST_MCP_CLOSING', on: TRANSPORTS, end: ({ served }) => served.app.close() },
  'the end of the session': { code: 'FST_MCP_SESSION_ENDED', on: SESSIONS, end: ({ peer }) => peer.end() }
}

type Handler = (args: object, context: ToolContext) => object

/** An app on which everything that ends by itself takes ten minutes, unless the ending says other. */
function serveFor (t: Test, transport: Transport, { streams, sessions, tools }: McpOptions = {}): Promise<Served> {
  return serve(t, transport, {
    streams: { openAfter: TIMERS.openAfter, ...streams },
    sessions: { replay: { window: TIMERS.window }, ...sessions },
    tools: { timeout: TIMERS.timeout, grace: TIMERS.grace, ...tools }
  })
}

/** Registers a tool, calls it and waits until it runs. A deaf client reads nothing of it. */
async function begin (served: Served, handler: Handler, isDeaf: boolean): Promise<Begun> {
  let context: ToolContext | undefined
  served.app.mcp.tool('tool', { collect: false }, (args, given) => {
    context = given
    return handler(args, given)
  })
  const peer = await served.peer()
  const how = isDeaf ? deafly(await peer.startDeaf('tool')) : openly(peer, await peer.start('tool', {}, 1))
  await until(() => context !== undefined, 'the tool')
  return { served, peer, ...how, signal: context?.signal as AbortSignal }
}

const openly = (peer: Peer, { id, stream }: Ongoing) => ({ cancel: () => peer.cancel(id), disconnect: () => stream.close() })
const deafly = ({ deaf, cancel }: Awaited<ReturnType<Peer['startDeaf']>>) => ({ cancel, disconnect: () => deaf.close() })

/** HTTP+SSE has one stream for the whole session, which outlives a call. */
const streamsAfter = (transport: Transport, { code }: Ending): number =>
  transport === 'http+sse' && (code === 'FST_MCP_CANCELLED' || code === 'FST_MCP_TOOL_TIMEOUT') ? 1 : 0

for (const [name, ending] of Object.entries(endings)) {
  for (const transport of ending.on) {
    t.test(`on ${transport} ${name} aborts the signal with its reason and finishes the generator`, async t => {
      const served = await serveFor(t, transport, ending.options)
      const log: string[] = []
      const [waiting, cleaned] = [gate(), gate()]
      const call = await begin(served, async function * (_args, { signal }) {
        try {
          yield 'started'
          waiting.open()
          await once(signal, 'abort')
        } finally {
          log.push('cleaning')
          await turn()
          log.push('cleaned')
          cleaned.open()
        }
      }, false)
      call.signal.addEventListener('abort', () => log.push('told'))
      await waiting.opened
      const ended = ending.end(call)
      await cleaned.opened
      t.strictSame(log, ['told', 'cleaning', 'cleaned'])
      t.equal(call.signal.reason.code, ending.code)
      await ended
      await until(() => served.app.mcp.stats().streams === streamsAfter(transport, ending), 'the end of the stream')
      t.match(served.app.mcp.stats(), { calls: 0, abandoned: 0 })
      await until(() => timers().length === 0, 'the end of all timers')
      t.strictSame(served.logs, [], 'nor a word in the log: the tool did what it should')
    })

    // The clock stands while a tool waits for its client.
    if (ending.code !== 'FST_MCP_TOOL_TIMEOUT') {
      t.test(`on ${transport} ${name} finishes a generator that its client keeps waiting`, async t => {
        const served = await serveFor(t, transport, ending.options)
        const log: unknown[] = []
        let count = 0
        const call = await begin(served, async function * (_args, { signal }) {
          try {
            for (;;) {
              count++
              yield 'x'.repeat(50_000)
            }
          } finally {
            log.push('finished', signal.reason.code)
          }
        }, true)
        await settles(() => count, 30)
        const ended = ending.end(call)
        await until(() => log.length > 0, 'the end of the generator')
        t.strictSame(log, ['finished', ending.code])
        t.equal(served.app.mcp.stats().calls, 0)
        call.disconnect()
        await ended
        await until(() => timers().length === 0, 'the end of all timers')
      })

      t.test(`on ${transport} ${name} ends what a handler awaits of ours`, async t => {
        const served = await serveFor(t, transport, ending.options)
        let count = 0
        let answer: unknown
        const call = await begin(served, async (_args, { progress, signal }) => {
          do {
            count++
            answer = await progress(count, 1, 'x'.repeat(50_000))
          } while (answer === true)
          return signal.reason.code
        }, true)
        await settles(() => count, 30)
        const ended = ending.end(call)
        await until(() => answer === false, 'the answer')
        t.equal(call.signal.reason.code, ending.code)
        call.disconnect()
        await ended
        await until(() => timers().length === 0, 'the end of all timers')
        t.equal(served.app.mcp.stats().abandoned, 0)
      })
    }

    t.test(`on ${transport} ${name} lets go of a tool that ignores its signal, and counts it once`, async t => {
      const served = await serveFor(t, transport, { ...ending.options, tools: { ...ending.options?.tools, grace: 50 } })
      const { app, logs } = served
      const call = await begin(served, async function * () {
        yield 'started'
        await new Promise(() => {})
      }, false)
      const atOnce: unknown[] = []
      call.signal.addEventListener('abort', async () => {
        // The call answers within this turn.
        await turn()
        atOnce.push(app.mcp.stats().calls, timers(), app.mcp.stats().abandoned)
      })
      await ending.end(call)
      await until(() => atOnce.length > 0, 'the signal')
      t.strictSame(atOnce, [0, [], 0], 'call and timers are over at once, and the tool has its time of grace')
      await until(() => app.mcp.stats().abandoned > 0, 'the end of its grace')
      await settles(() => logs.length, 60)
      t.equal(app.mcp.stats().abandoned, 1)
      t.match(logs, [{ tool: 'tool', err: { code: ending.code }, msg: 'tool abandoned: it ignored ctx.signal after its call had ended' }])
      t.equal(logs.length, 1, 'logged once')
      t.equal(app.mcp.stats().streams, streamsAfter(transport, ending))
      t.strictSame(timers(), [])
    })
  }
}

t.test('a cancellation over HTTP+SSE ends what waits for the client although the session goes on', async t => {
  const { app, peer } = await serveFor(t, 'http+sse')
  let count = 0
  const ends: string[] = []
  app.mcp.tool('generator', { collect: false }, async function * (_args, { signal }) {
    try {
      for (;;) {
        count++
        yield 'x'.repeat(50_000)
      }
    } finally {
      ends.push(`generator ${signal.reason.code}`)
    }
  })
  const started = gate()
  app.mcp.tool('plain', {}, async (_args, { progress, signal }) => {
    await started.opened
    while (await progress(1)) count++
    ends.push(`plain ${signal.reason.code}`)
  })
  const client = await peer()
  const plain = await client.start('plain', {}, 'b')
  const generator = await client.start('generator', {}, 'a')
  generator.stream.body.pause()
  await settles(() => count, 50)
  started.open()
  await settles(() => count, 50)
  await client.cancel(plain.id)
  await until(() => ends.length === 1, 'the handler')
  await client.cancel(generator.id)
  await until(() => ends.length === 2, 'the generator')
  t.strictSame(ends, ['plain FST_MCP_CANCELLED', 'generator FST_MCP_CANCELLED'])
  t.match(app.mcp.stats(), { streams: 1, calls: 0, abandoned: 0 })
  t.strictSame(timers(), [])
  generator.stream.body.resume()
  t.strictSame((await client.request('ping')).result, {}, 'and the session lives')
  t.notOk(generator.stream.messages.some(({ id }) => id === plain.id || id === generator.id), 'a cancelled call is not answered')
})

function fail (): never {
  throw new Error('late')
}

t.test('a generator is finished as far as it lets itself be', async t => {
  const { app, peer, logs } = await serveFor(t, '2025-11-25', { tools: { timeout: 30 } })
  const client = await peer()
  /** What the log says of a tool that ran into its timeout. */
  const run = async (name: string, handler: Handler): Promise<string[]> => {
    logs.length = 0
    app.mcp.tool(name, { collect: false }, handler)
    t.match(await client.request('tools/call', { name }), { result: { isError: true, content: [{ text: 'The tool ran longer than 30 ms' }] } })
    await until(() => timers().length === 0, 'the end of the tool')
    return logs.map(({ msg, err, tool }) => `${tool}: ${msg}: ${err?.message}`)
  }
  const late = (name: string) => [`${name}: tool failed while it was ended: late`]
  const steps: unknown[] = []

  t.strictSame(await run('await-then-throw', async function * (_args, { signal }) {
    await once(signal, 'abort')
    throw new Error('late')
  }), late('await-then-throw'))

  t.strictSame(await run('throw-in-finally', async function * () {
    try {
      for (;;) yield '.'
    } finally {
      await Promise.reject(new Error('late'))
    }
  }), late('throw-in-finally'))

  t.strictSame(await run('throw-in-sync-finally', function * () {
    try {
      for (;;) yield '.'
    } finally {
      fail()
    }
  }), late('throw-in-sync-finally'))

  t.strictSame(await run('handler-throws', async (_args, { signal }) => {
    await once(signal, 'abort')
    throw new Error('late')
  }), late('handler-throws'))

  for (const [what, echo] of Object.entries({
    reason: (reason: Error) => reason,
    abort: () => new DOMException('This operation was aborted', 'AbortError'),
    cause: (reason: Error) => new Error('stopped', { cause: reason })
  })) {
    t.strictSame(await run(`throws-its-${what}`, async (_args, { signal }) => {
      await once(signal, 'abort')
      throw echo(signal.reason)
    }), [], `${what}: whoever honours a signal does so`)
  }

  t.strictSame(await run('yields-in-finally', async function * () {
    try {
      for (;;) yield '.'
    } finally {
      yield 'nobody reads this'
      steps.push('after the yield')
      yield 'nor this'
      steps.push('after the next')
    }
  }), [])
  t.strictSame(steps.splice(0), ['after the yield', 'after the next'])

  t.strictSame(await run('yields-and-throws-in-finally', async function * () {
    try {
      for (;;) yield '.'
    } finally {
      yield 'nobody reads this'
      await Promise.reject(new Error('late'))
    }
  }), late('yields-and-throws-in-finally'))

  t.strictSame(await run('iterator-without-return', () => ({ next: () => new Promise(resolve => setTimeout(resolve, 60)) })), [])

  t.strictSame(await run('late-generator', async (_args, { signal }) => {
    await once(signal, 'abort')
    return { next: () => steps.push('next'), return: () => steps.push('return') }
  }), [])
  t.strictSame(steps.splice(0), ['return'], 'what comes after the end is finished without having begun')

  t.strictSame(await run('late-value', async (_args, { signal }) => {
    await once(signal, 'abort')
    return 'nobody waits for this'
  }), [])
  t.equal(app.mcp.stats().abandoned, 0)
})

t.test('a generator that yields without end while it is ended is abandoned', async t => {
  const { app, peer, logs } = await serveFor(t, 'stateless', { tools: { timeout: 30, grace: 50 } })
  let count = 0
  app.mcp.tool('stubborn', { collect: false }, async function * () {
    try {
      yield '.'
      await turn()
      for (;;) yield '.'
    } finally {
      for (;;) {
        count++
        yield '.'
      }
    }
  })
  t.match(await (await peer()).request('tools/call', { name: 'stubborn' }), { result: { isError: true } })
  await until(() => app.mcp.stats().abandoned === 1, 'its grace')
  await settles(() => count, 30)
  t.ok(count > 0)
  t.equal(logs.length, 1)
})

t.test('an iterator that hides a hanging step behind its return is abandoned', async t => {
  const { app, peer } = await serveFor(t, 'stateless', { tools: { timeout: 30, grace: 30 } })
  const handler: Handler = () => ({ next: () => new Promise(() => {}), return: () => ({ done: true }) })
  app.mcp.tool('hanging', {}, handler)
  t.match(await (await peer()).request('tools/call', { name: 'hanging' }), { result: { isError: true } })
  await until(() => app.mcp.stats().abandoned === 1, 'its grace')
})

t.test('a tool by itself', async t => {
  const controller = new AbortController()
  let listener = (_reason: Error): void => {}
  const task: Task = {
    request: { log: { error: t.fail } } as never,
    principal: null,
    session: null,
    revision: '2025-11-25',
    tellsInputErrorsToModel: true,
    tellsCapabilities: false,
    capabilities: {},
    hasRichAsks: true,
    inquire: async () => t.fail(),
    once: async () => t.fail(),
    failed: () => {},
    signal: controller.signal,
    sendProgress: () => false,
    sendLog: () => false,
    closeStream: () => false,
    abort (reason) {
      controller.abort(reason)
      listener(reason)
    },
    onAbort (given) { listener = given },
    abandon: () => t.fail()
  }
  let isFinished = false
  async function * handler () {
    try {
      for (;;) yield '.'
    } finally {
      isFinished = true
    }
  }
  const { timeout, grace } = TIMERS
  const input: RunOptions['input'] = { json: {}, validate: value => ({ ok: true, value }) }
  const options = { name: 'tool', handler, input, output: undefined, collect: true, timeout, grace, maxResult: 1_000 }
  const quick = { ...options, handler: async () => 'done' }
  t.match(await runTool(quick, {}, task), { content: [{ text: 'done' }] })
  listener(new Error('too late'))
  t.strictSame(timers(), [], 'an end after the end is none')

  await t.rejects(async () => runTool(options, {}, task), { code: 'FST_MCP_CLIENT_GONE' })
  t.ok(isFinished, 'it ends when what it tells goes nowhere, even if nobody ended its call')
})

t.test('a client without a session that leaves a batch which is answered in part ends the rest', async t => {
  const { app, peer } = await serveFor(t, 'stateless')
  const reasons: unknown[] = []
  app.mcp.tool('quick', {}, () => 'done')
  app.mcp.tool('parked', {}, async (_args, { signal }) => {
    await once(signal, 'abort')
    reasons.push(signal.reason.code)
  })
  await peer()
  const body = ['quick', 'parked', 'quick', 'parked'].map((name, id) => ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name } }))
  const deaf = await DeafClient.ask(served(app), '/mcp', { method: 'POST', body })
  await until(() => app.mcp.stats().calls === 2, 'the calls')
  deaf.close()
  await until(() => reasons.length === 2, 'the end of both')
  t.strictSame(reasons, ['FST_MCP_CLIENT_GONE', 'FST_MCP_CLIENT_GONE'])
  t.strictSame(app.mcp.stats(), { sessions: 0, streams: 0, queued: 0, calls: 0, subscriptions: 0, questions: 0, abandoned: 0 })
  await until(() => timers().length === 0, 'the end of all timers')
})

t.test('a call that is cancelled while its result is checked', async t => {
  const { app, peer } = await serveFor(t, '2025-06-18')
  const [checking, checked] = [gate(), gate()]
  const isValid = async (): Promise<boolean> => {
    checking.open()
    await checked.opened
    return true
  }
  app.mcp.tool('tool', { output: z.object({ n: z.number().refine(isValid) }) }, async () => ({ n: 1 }))
  const client = await peer()
  const started = client.start('tool')
  await checking.opened
  await client.cancel(1)
  const { stream } = await started
  t.equal(stream.status, 202)
  checked.open()
  await turn()
  t.match(app.mcp.stats(), { calls: 0, abandoned: 0 })
  await until(() => timers().length === 0, 'the end of all timers')
})

t.test('a call that is cancelled before its tool starts', async t => {
  const { app, peer } = await serveFor(t, '2025-11-25')
  let valid = gate()
  const log: unknown[] = []
  const isValid = async (): Promise<boolean> => {
    await valid.opened
    return true
  }
  const input = z.object({ id: z.string().refine(isValid) })
  app.mcp.tool('generator', { input }, async function * () {
    log.push('started')
    yield 'never sent'
  })
  app.mcp.tool('sync', { input }, () => 'never sent')
  const client = await peer()
  for (const [index, name] of ['generator', 'sync'].entries()) {
    const started = client.start(name, { id: 'x' }, 1)
    await until(() => app.mcp.stats().calls > 0, 'the call')
    await client.cancel(index + 1)
    valid.open()
    valid = gate()
    const { stream } = await started
    t.equal(stream.status, 202, `${name}: nothing is left to be said`)
    t.equal(app.mcp.stats().calls, 0)
  }
  t.strictSame(log, [], 'a generator that did not begin does not')
  await until(() => timers().length === 0, 'the end of all timers')
})

t.test('a cancellation of what does not run is ignored', async t => {
  const { app, peer } = await serveFor(t, '2025-11-25')
  const client = await peer()
  app.mcp.tool('quick', {}, () => 'done')
  await client.request('tools/call', { name: 'quick' })
  for (const id of [1, 99]) t.match(await client.cancel(id), { status: 202 })
  const raw = await Client.connect(served(app))
  for (const requestId of [null, {}, undefined]) t.match(await raw.notify('notifications/cancelled', { requestId }), { status: 202 })
})

function served (app: Served['app']): string {
  const address = app.server.address()
  return typeof address === 'object' && address !== null ? `http://127.0.0.1:${address.port}` : ''
}

t.test('after hundreds of random endings no generator is unfinished and nothing is kept', async t => {
  const random = seeded(20_251_125)
  const pick = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)] as T
  let started = 0
  let finished = 0
  let calls = 0
  for (const transport of TRANSPORTS) {
    const served = await serveFor(t, transport, { tools: { timeout: 40 }, sessions: { replay: { window: 30 } } })
    const { app } = served
    app.mcp.tool('any', { input: z.object({ kind: z.string(), steps: z.number() }), collect: false }, async function * ({ kind, steps }, { signal, log }) {
      started++
      try {
        for (let step = 0; step < steps; step++) {
          yield 'x'.repeat(kind === 'large' ? 30_000 : 10)
          if (kind === 'logs') await log.info(step)
          if (kind === 'waits') await turn()
        }
        if (kind === 'throws') throw new Error('random')
        if (kind === 'parks') await once(signal, 'abort')
        if (kind === 'invalid') yield 5 as never
      } finally {
        if (kind !== 'logs') await turn()
        finished++
      }
    })
    const isSession = !isSessionless(transport)
    for (let round = 0; round < 12; round++) {
      const peers = await Promise.all(Array.from({ length: 5 }, served.peer))
      await Promise.all(peers.map(async peer => {
        calls++
        const args = { kind: pick(['large', 'logs', 'waits', 'throws', 'parks', 'invalid']), steps: Math.floor(random() * 40) }
        const end = pick(['cancel', 'disconnect', 'disconnect', 'stay', 'end'])
        const delay = Math.floor(random() * 6)
        const deaf = await peer.startDeaf('any', args)
        for (let turns = 0; turns < delay; turns++) await turn()
        if (end === 'cancel' && isSession) await deaf.cancel()
        if (end === 'end' && isSession) await peer.end()
        if (end === 'disconnect') deaf.deaf.close()
        else deaf.deaf.socket.resume().once('end', () => {})
        t.teardown(() => deaf.deaf.close())
      }))
    }
    await until(() => app.mcp.stats().calls === 0 && started === finished, `the end of all ${started} generators on ${transport}`)
    t.equal(app.mcp.stats().abandoned, 0, transport)
    await app.close()
    t.equal(app.mcp.stats().streams, 0)
    t.strictSame(timers(), [])
  }
  t.equal(calls, TRANSPORTS.length * 60)
  t.equal(started, finished)
  t.ok(started > 250, `${started} generators ran`)
})
