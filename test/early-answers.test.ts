// Clients of 2026-07-28 that answer before they are asked, as whoever knows a tool may.
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { z } from 'zod'
import { createApp, type Reply, type RpcMessage, send } from './client.ts'

const REVISION = '2026-07-28'
const form = z.object({ name: z.string() })
const ALICE = { action: 'accept', content: { name: 'Alice' } }

async function call (app: FastifyInstance, extra: object, capabilities: object = { elicitation: {} }): Promise<Reply & { message: RpcMessage }> {
  const reply = await send(app, '/mcp', {
    method: 'POST',
    headers: { accept: 'application/json, text/event-stream', 'mcp-protocol-version': REVISION, 'mcp-method': 'tools/call', 'mcp-name': 'greet' },
    body: {
      jsonrpc: '2.0',
      id: 1,
      method: 'tools/call',
      params: {
        name: 'greet',
        ...extra,
        _meta: { 'io.modelcontextprotocol/protocolVersion': REVISION, 'io.modelcontextprotocol/clientCapabilities': capabilities }
      }
    }
  })
  const [message] = reply.messages
  if (message === undefined) throw new TypeError(reply.text)
  return { ...reply, message }
}

t.test('an answer that comes before its question is taken, and unknown ones are not looked at', async t => {
  const app = await createApp(t)
  let runs = 0
  app.mcp.tool('greet', {}, async (_args, { ask }) => {
    runs++
    const answer = await ask('name', 'Who are you?', form)
    return answer.action === 'accept' ? `Hello, ${answer.content.name}!` : 'Hello!'
  })
  const { message } = await call(app, { inputResponses: { name: ALICE, unknown: 7, other: { action: 'accept' } } })
  t.match(message, { result: { resultType: 'complete', content: [{ text: 'Hello, Alice!' }] } })
  t.equal(runs, 1)
  t.match((await call(app, { inputResponses: { unknown: ALICE } })).message, { result: { resultType: 'input_required', inputRequests: { name: {} } } })
})

t.test('an early answer must fit its question, and needs the capability as a late one does', async t => {
  const app = await createApp(t)
  app.mcp.tool('greet', {}, async (_args, { ask }) => (await ask('name', 'Who are you?', form)).action)
  for (const answer of [12345, 'Alice', null, [], {}, { action: 'yes' }, { action: 'accept', content: { name: 5 } }]) {
    const { message } = await call(app, { inputResponses: { name: answer } })
    t.match(message, { error: { code: -32602, data: { code: 'FST_MCP_ANSWER_INVALID' } } }, JSON.stringify(answer))
  }
  for (const inputResponses of [null, 'Alice', [ALICE]]) {
    t.match((await call(app, { inputResponses })).message, { error: { data: { code: 'FST_MCP_PARAMS_INVALID' } } })
  }
  t.match((await call(app, { inputResponses: { name: ALICE } }, {})).message, { error: { data: { code: 'FST_MCP_CAPABILITY_REQUIRED' } } })
})

t.test('what was answered early is known in the rounds that follow, where only what was asked can be answered', async t => {
  const app = await createApp(t)
  app.mcp.tool('greet', {}, async (_args, { ask }) => {
    const answers = []
    for (const key of ['one', 'two', 'three']) answers.push(await ask(key, key, form))
    return JSON.stringify(answers)
  })
  const { message: { result: first } } = await call(app, { inputResponses: { one: ALICE } })
  t.strictSame(Object.keys(first.inputRequests), ['two'])
  const bob = { action: 'accept', content: { name: 'Bob' } }
  const { message: { result: second } } = await call(app, { requestState: first.requestState, inputResponses: { one: bob, two: bob, three: bob } })
  t.strictSame(Object.keys(second.inputRequests), ['three'])
  const { message: { result: last } } = await call(app, { requestState: second.requestState, inputResponses: { three: { action: 'decline' } } })
  t.strictSame(JSON.parse(last.content[0].text), [ALICE, bob, { action: 'decline' }])
})
