import t from 'tap'
import { Client, createApp, listen, SseClient } from './client.ts'
t.test('a', async t => {
  const app = await createApp(t)
  app.mcp.tool('hi', {}, async function * () { yield 'a'; await new Promise(resolve => setTimeout(resolve, 20)); yield 'b' })
  const base = await listen(app)
  for (const target of [app, base]) {
    const c = await Client.connect(target)
    t.match(await c.call('hi', {}, 1), { result: { content: [{ text: 'ab' }] } })
    const g = await c.get()
    console.error(await g.next())
    app.mcp.tool('x', {}, () => 'x').remove()
    console.error(await g.next())
    await g.close()
    const s = await SseClient.connect(target)
    console.error(await s.call('hi', {}, 2), s.stream.messages.length)
    await s.close()
    console.error(app.mcp.stats(), s.endpoint)
  }
})
