// Pages of other origins, as a real browser lets them.
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Browser, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { inChromium, launchChromium } from './chromium.ts'
import { createApp, listen } from './client.ts'

/** An empty page on an origin of its own. */
async function openPage (t: Test, browser: Browser): Promise<{ page: Page, origin: string }> {
  const server = createServer((_request, response) => response.setHeader('content-type', 'text/html').end('<!doctype html>')).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const page = await browser.newPage()
  t.teardown(async () => {
    await page.close()
    server.close()
    server.closeAllConnections()
  })
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  await page.goto(origin)
  return { page, origin }
}

/** What every program in the page starts with: `url`, and `post` of one JSON-RPC message. */
const start = (url: string, token = 'secret'): string => `
  const url = '${url}/mcp'
  const common = { authorization: 'Bearer ${token}', accept: 'application/json, text/event-stream' }
  const post = (body, headers = {}) => fetch(url, {
    method: 'POST', headers: { ...common, 'content-type': 'application/json', ...headers }, body: JSON.stringify({ jsonrpc: '2.0', ...body })
  })
  const hello = { id: 1, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'page', version: '1' } } }
`
const run = <T>(page: Page, program: string): Promise<T> => page.evaluate<T>(`(async () => { ${program} })()`)

t.test('in Chromium', inChromium, async t => {
  const browser = await launchChromium(t)
  const listed = await openPage(t, browser)
  const other = await openPage(t, browser)
  const app = await createApp(t, { auth: { tokens: [{ token: 'secret', principal: 'ci' }] }, origins: [listed.origin] })
  let ran = 0
  app.mcp.tool('act', {}, () => String(++ran))
  const url = await listen(app)

  await t.test('a page that is named opens a session, reads its id, calls, listens and ends it', async t => {
    const seen = await run<Record<string, unknown>>(listed.page, `${start(url)}
      const opened = await post(hello)
      const session = { 'mcp-session-id': opened.headers.get('mcp-session-id'), 'mcp-protocol-version': '2025-11-25' }
      const called = await (await post({ id: 2, method: 'tools/call', params: { name: 'act' } }, session)).json()
      const listening = await fetch(url, { headers: { ...common, ...session } })
      const reader = listening.body.pipeThrough(new TextDecoderStream()).getReader()
      const { value } = await reader.read()
      const ended = await fetch(url, { method: 'DELETE', headers: { ...common, ...session } })
      let last
      do last = await reader.read(); while (!last.done)
      const gone = await post({ id: 3, method: 'ping' }, session)
      return {
        status: opened.status, id: session['mcp-session-id'], text: called.result.content[0].text, type: listening.headers.get('content-type'),
        value, ended: ended.status, gone: gone.status, code: (await gone.json()).error.data.code
      }`)
    t.match(seen, { status: 200, id: /^[\w-]{24}$/, text: '1', type: 'text/event-stream', value: /^: open|^id: /, ended: 200, gone: 404, code: 'FST_MCP_SESSION_UNKNOWN' })
  })

  await t.test('a page that is named reads why it is refused', async t => {
    const seen = await run(listed.page, `${start(url, 'wrong')}
      const refused = await post(hello)
      return [refused.status, refused.headers.get('www-authenticate'), (await refused.json()).error.data.code]`)
    t.strictSame(seen, [401, 'Bearer error="invalid_token"', 'FST_MCP_TOKEN_INVALID'])
  })

  await t.test('a page that is not named reads nothing and calls nothing, token or not', async t => {
    const before = ran
    const seen = await run(other.page, `${start(url)}
      const nameOf = error => error.name
      const headers = { ...common, 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': 'act' }
      const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'act' } })
      const blind = await fetch(url, { method: 'POST', mode: 'no-cors', body })
      return [
        await post(hello).catch(nameOf), await fetch(url, { method: 'POST', headers, body }).catch(nameOf), await fetch(url, { headers: common }).catch(nameOf),
        await fetch(url, { method: 'DELETE', headers: common }).catch(nameOf), await fetch(url, { method: 'POST', body }).catch(nameOf), blind.type, blind.status
      ]`)
    t.strictSame(seen, ['TypeError', 'TypeError', 'TypeError', 'TypeError', 'TypeError', 'opaque', 0])
    t.equal(ran, before)
    t.equal(app.mcp.stats().sessions, 0)
  })
})
