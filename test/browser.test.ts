import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { Browser, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { type Child, startChild } from './child.ts'
import { inChromium, launchChromium } from './chromium.ts'
import { until } from './client.ts'

const EXAMPLE = 'examples/browser/page-server.ts'

/** Stands between the browser and the server, so that a test can break their connections. */
async function startProxy (t: Test, { url }: Child): Promise<{ url: string, cut: () => void }> {
  const sockets = new Set<Socket>()
  const server = createServer(client => {
    const upstream = connect(Number(new URL(url).port), '127.0.0.1')
    for (const [socket, other] of [[client, upstream], [upstream, client]] as const) {
      sockets.add(socket)
      socket.on('error', () => {}).on('close', () => {
        sockets.delete(socket)
        other.destroy()
      })
    }
    client.pipe(upstream).pipe(client)
  })
  const cut = (): void => sockets.forEach(socket => socket.destroy())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    cut()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, cut }
}

/** Opens the page and remembers every session that it was given. */
async function openPage (t: Test, browser: Browser, url: string): Promise<Page> {
  const page = await browser.newPage()
  t.teardown(() => page.close())
  page.on('pageerror', error => t.fail(error.message))
  await page.goto(url)
  await connected(page)
  return page
}

const connected = (page: Page) => page.waitForFunction("document.querySelector('#connection').textContent === 'connected'")
const heard = (page: Page, text: string) => page.waitForFunction(`document.querySelector('output')?.textContent.includes('${text}')`)
const state = (page: Page, state: string) => page.waitForSelector(`[data-state=${state}]`)
const output = (page: Page) => page.locator('output').first().innerText()
const bar = (page: Page) => page.evaluate("[document.querySelector('progress').value, document.querySelector('progress').max]")
const expected = (from: number) => Array.from({ length: from }, (_, index) => `${from - index}… `).join('') + 'zero'

async function callTool (page: Page, from: number): Promise<void> {
  await page.fill('input[name=from]', String(from))
  await page.click('form button')
}

/** The sessions that a page's messages went to, in the order of their first use. */
function watchSessions (page: Page): () => string[] {
  const sessions = new Set<string>()
  page.on('request', request => {
    const id = new URL(request.url()).searchParams.get('sessionId')
    if (id !== null) sessions.add(id)
  })
  return () => [...sessions]
}

t.test('the browser example in Chromium', inChromium, async t => {
  const browser = await launchChromium(t)

  await t.test('chunks and progress render while the tool runs', async t => {
    const { url } = await startChild(t, EXAMPLE)
    const page = await openPage(t, browser, url)
    await callTool(page, 4)
    await heard(page, '3…')
    t.equal(await page.locator('li').getAttribute('data-state'), 'running')
    t.match(await bar(page), [Number, 4])
    await state(page, 'done')
    t.equal(await output(page), expected(4))
    t.strictSame(await bar(page), [4, 4])
  })

  await t.test('a connection that is cut comes back to its session and loses nothing', async t => {
    const proxy = await startProxy(t, await startChild(t, EXAMPLE))
    const page = await openPage(t, browser, proxy.url)
    const sessions = watchSessions(page)
    await callTool(page, 8)
    await heard(page, '7…')
    const reconnected = page.waitForRequest(request => new URL(request.url()).pathname === '/sse')
    proxy.cut()
    const { 'last-event-id': lastEventId } = await (await reconnected).allHeaders()
    t.match(lastEventId, /_\d+$/)
    await state(page, 'done')
    t.equal(await output(page), expected(8), 'each chunk once, in order')
    t.equal(sessions().length, 1, 'in one session')
    await callTool(page, 1)
    await page.waitForSelector('li:first-child[data-state=done]')
    t.equal(sessions().length, 1)
  })

  await t.test('a server that is killed and started again gets a fresh session, and the page carries on', async t => {
    const first = await startChild(t, EXAMPLE)
    const page = await openPage(t, browser, first.url)
    const sessions = watchSessions(page)
    await callTool(page, 500)
    await heard(page, '499…')
    await first.stop()
    await page.waitForFunction("document.querySelector('#connection').textContent === 'reconnecting'")
    t.equal(await page.locator('li').getAttribute('data-state'), 'running', 'nothing is lost before the server says so')

    await startChild(t, EXAMPLE, { port: Number(new URL(first.url).port) })
    await state(page, 'lost')
    await connected(page)
    await until(() => sessions().length === 2, 'the fresh session')
    await page.click('text=Call again')
    await state(page, 'running')
    await heard(page, '499…')
    t.equal(sessions().length, 2, 'in the fresh session')
  })

  await t.test('a page whose EventSource gave up opens a new one', async t => {
    const proxy = await startProxy(t, await startChild(t, EXAMPLE))
    const page = await openPage(t, browser, proxy.url)
    const sessions = watchSessions(page)
    // What a proxy answers while its server is away: no EventSource recovers from it.
    await page.route('**/sse', route => route.fulfill({ status: 502 }), { times: 1 })
    await callTool(page, 100)
    await heard(page, '100…')
    proxy.cut()
    await state(page, 'lost')
    await connected(page)
    await callTool(page, 1)
    await page.waitForSelector('li:first-child[data-state=done]')
    t.equal(sessions().length, 2, 'in a fresh session')
  })
})
