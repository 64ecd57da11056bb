import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { Browser, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { type Child, startChild } from './child.ts'
import { inChromium, launchChromium } from './chromium.ts'
import { until } from './client.ts'

const EXAMPLE = 'examples/browser/page-server.ts'
const TOKEN = 'a-token-that-nobody-else-may-see'

function startExample (t: Test, port = 0): Promise<Child> {
  return startChild(t, EXAMPLE, { port, env: { MCP_TOKEN: TOKEN } })
}

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

/** Opens the page by the link that the server prints, and waits until it is in. */
async function openPage (t: Test, browser: Browser, url: string): Promise<Page> {
  const page = await blankPage(t, browser)
  await page.goto(`${url}/#token=${TOKEN}`)
  await connected(page)
  return page
}

async function blankPage (t: Test, browser: Browser): Promise<Page> {
  const page = await browser.newPage()
  t.teardown(() => page.close())
  page.on('pageerror', error => t.fail(error.message))
  return page
}

const connected = (page: Page) => page.waitForFunction("document.querySelector('#connection').textContent === 'connected'")
const heard = (page: Page, text: string) => page.waitForFunction(`document.querySelector('output')?.textContent.includes('${text}')`)
const state = (page: Page, state: string) => page.waitForSelector(`[data-state=${state}]`)
const output = (page: Page) => page.locator('output').first().innerText()
const bar = (page: Page) => page.evaluate("[document.querySelector('progress').value, document.querySelector('progress').max]")
const expected = (from: number) => Array.from({ length: from }, (_, index) => `${from - index}… `).join('') + 'zero'

/** Every draw of the page is one half. */
const halve = (page: Page) => page.addInitScript('Math.random = () => 0.5')

async function callTool (page: Page, from: number): Promise<void> {
  await page.fill('input[name=from]', String(from))
  await page.click('#form button')
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
    const { url } = await startExample(t)
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
    const proxy = await startProxy(t, await startExample(t))
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
    const first = await startExample(t)
    const page = await openPage(t, browser, first.url)
    const sessions = watchSessions(page)
    await callTool(page, 500)
    await heard(page, '499…')
    await first.stop()
    await page.waitForFunction("document.querySelector('#connection').textContent === 'reconnecting'")
    t.equal(await page.locator('li').getAttribute('data-state'), 'running', 'nothing is lost before the server says so')

    await startExample(t, Number(new URL(first.url).port))
    await state(page, 'lost')
    await connected(page)
    await until(() => sessions().length === 2, 'the fresh session')
    await page.click('text=Call again')
    await state(page, 'running')
    await heard(page, '499…')
    t.equal(sessions().length, 2, 'in the fresh session')
  })

  await t.test('a page whose EventSource gave up opens a new one, with a new ticket', async t => {
    const proxy = await startProxy(t, await startExample(t))
    const page = await openPage(t, browser, proxy.url)
    const sessions = watchSessions(page)
    // What a proxy answers while its server is away: no EventSource recovers from it.
    await page.route(/\/sse\?ticket=/, route => route.fulfill({ status: 502 }), { times: 1 })
    await callTool(page, 100)
    await heard(page, '100…')
    proxy.cut()
    await state(page, 'lost')
    await connected(page)
    await callTool(page, 1)
    await page.waitForSelector('li:first-child[data-state=done]')
    t.equal(sessions().length, 2, 'in a fresh session')
  })

  await t.test('a page without a token that is good asks for one, and keeps it for its tab', async t => {
    const { url } = await startExample(t)
    const page = await blankPage(t, browser)
    const asked = () => page.waitForFunction("document.querySelector('#connection').textContent === 'waiting for a token'")
    await page.goto(url)
    await asked()
    const enter = async (token: string): Promise<void> => {
      await page.fill('input[name=token]', token)
      await page.click('#login button')
    }
    await Promise.all([page.waitForResponse(response => response.status() === 401), enter('wrong')])
    await asked()
    await enter(TOKEN)
    await connected(page)
    t.notOk(await page.isVisible('#login'))
    await page.reload()
    await connected(page)
    await page.evaluate("location.hash = 'token=wrong'")
    await asked()
    await page.evaluate(`location.hash = 'token=${TOKEN}'`)
    await connected(page)
    await callTool(page, 1)
    await state(page, 'done')
  })

  await t.test('no ticket is to be had for a while: the page asks again, later each time, and not before the server says', async t => {
    const { url } = await startExample(t)
    const page = await blankPage(t, browser)
    await halve(page)
    const times: number[] = []
    await page.route('**/sse/ticket', async route => {
      times.push(performance.now())
      await route.fulfill({ status: 503, headers: times.length === 3 ? { 'retry-after': '2' } : {} })
    }, { times: 3 })
    page.on('request', request => { if (request.url().endsWith('/sse/ticket') && times.length === 3) times.push(performance.now()) })
    await page.goto(`${url}/#token=${TOKEN}`)
    await connected(page)
    const [first = 0, second = 0, third = 0, fourth = 0] = times
    // Half of 1, 2 and 4 seconds; with the third comes a wait of 2 seconds before that.
    t.ok(second - first >= 490, `${second - first}`)
    t.ok(third - second >= 990, `${third - second}`)
    t.ok(fourth - third >= 3_990, `${fourth - third}`)
  })

  await t.test('a launch whose session was lost is asked for again by itself, and happens once', async t => {
    const proxy = await startProxy(t, await startExample(t))
    const page = await openPage(t, browser, proxy.url)
    const sessions = watchSessions(page)
    await page.route(/\/sse\?ticket=/, route => route.fulfill({ status: 502 }), { times: 1 })
    await page.click('#launch')
    await heard(page, 'on the pad')
    proxy.cut()
    await state(page, 'done')
    t.equal(await output(page), 'on the pad… launch number 1')
    t.equal(sessions().length, 2, 'in a fresh session')
    await page.click('#launch')
    await page.waitForSelector('li:first-child[data-state=done]')
    t.equal(await output(page), 'on the pad… launch number 2')
  })

  await t.test('a launch that was received, though its POST broke, is asked for again and happens once', async t => {
    const { url } = await startExample(t)
    const page = await openPage(t, browser, url)
    const keys: string[] = []
    page.on('request', request => {
      const { method, params } = JSON.parse(request.postData() ?? '{}')
      if (method === 'tools/call') keys.push(params.arguments.key)
    })
    await page.route(/\/messages\?/, async route => {
      await route.fetch()
      await route.abort('connectionreset')
    }, { times: 1 })
    await page.click('#launch')
    await state(page, 'done')
    t.equal(await output(page), 'on the pad… launch number 1')
    t.equal(keys.length, 2)
    t.equal(new Set(keys).size, 1, 'with the same key')
    await page.click('#launch')
    await page.waitForSelector('li:first-child[data-state=done]')
    t.equal(await output(page), 'on the pad… launch number 2')
  })

  await t.test('a call that is refused for now is sent again, with or without a key, when the server says', async t => {
    const { url } = await startExample(t)
    const page = await openPage(t, browser, url)
    // By the page's own clock: what it tells of itself comes late on a busy machine.
    await page.evaluate(() => {
      const { fetch: send } = globalThis
      globalThis.fetch = (...args) => {
        if (String(args[1]?.body).includes('tools/call')) performance.mark('sent')
        return send(...args)
      }
    })
    let refused = 0
    await page.route(/\/messages\?/, async route => {
      const isCall = route.request().postData()?.includes('tools/call') === true
      if (isCall && refused++ === 0) await route.fulfill({ status: 429, headers: { 'retry-after': '1' } })
      else await route.continue()
    })
    await callTool(page, 1)
    await state(page, 'done')
    t.equal(await output(page), expected(1))
    const [first = 0, second = 0] = await page.evaluate(() => performance.getEntriesByName('sent').map(({ startTime }) => startTime))
    t.ok(second - first >= 990, `${second - first}`)
  })

  await t.test('no URL, no log line and nothing that is kept but the tab shows the token', async t => {
    const child = await startExample(t)
    const proxy = await startProxy(t, child)
    const page = await blankPage(t, browser)
    const shown: string[] = []
    page.on('request', request => {
      const { authorization, ...headers } = request.headers()
      shown.push(request.url(), JSON.stringify(headers), request.postData() ?? '')
      if (authorization !== undefined) t.equal(authorization, `Bearer ${TOKEN}`)
    })
    page.on('console', message => shown.push(message.text()))
    await page.goto(`${proxy.url}/#token=${TOKEN}`)
    await connected(page)
    t.equal(page.url(), `${proxy.url}/`, 'the address bar')
    await callTool(page, 4)
    await heard(page, '4…')
    proxy.cut()
    await state(page, 'done')
    shown.push(JSON.stringify(await page.context().cookies()), JSON.stringify(await page.evaluate('({ ...localStorage })')), await page.content())
    t.strictSame(await page.evaluate('({ ...sessionStorage })'), { token: TOKEN })
    const requests = shown.filter(text => text.startsWith('http'))
    t.ok(['/sse/ticket', '/sse?ticket=', '/messages?sessionId='].every(path => requests.some(url => url.includes(path))), 'it saw all that is sent')
    t.strictSame(shown.filter(text => text.includes(TOKEN)), [])

    const lines = child.output().trim().split('\n')
    t.ok(lines.length > 10, 'the log of every request')
    t.strictSame(lines.filter(line => line.includes(TOKEN)), [`${child.url}/#token=${TOKEN}`], 'printed once, and never logged')
  })
})
