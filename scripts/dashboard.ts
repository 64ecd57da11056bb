// Puts servers under load, has a real Prometheus scrape them, evaluates every expression of docs/grafana/dashboard.json there and draws
// docs/grafana/dashboard.png from the answers: `npm run dashboard -- --seconds 60 --seed 7`. Needs prometheus, redis-server and chromium.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { chromium } from 'playwright-core'
import t, { type Test } from 'tap'
import { freePort } from '../test/free-port.ts'
import { startRedis } from '../test/redis-server.ts'
import { type Dashboard, draw, type Panel, type Series, sizeOf } from './panels.ts'
import { openPlace, sendTraffic } from './traffic.ts'

const { values } = parseArgs({ options: { seconds: { type: 'string' }, seed: { type: 'string' } } })
const seconds = Number(values.seconds ?? 60)
const seed = Number(values.seed ?? 7)
const folder = join(import.meta.dirname, '../docs/grafana')
const board: Dashboard = JSON.parse(await readFile(join(folder, 'dashboard.json'), 'utf8'))
const MAX_PICTURE = 300_000
// What Grafana makes of them: four scrapes at the least, and everything.
const MACROS: [string, string][] = [['$__rate_interval', '5s'], ['$server', '.*']]

/** A Prometheus that scrapes each second and keeps its data for as long as it runs. */
async function startPrometheus (t: Test, target: string): Promise<string> {
  const data = await mkdtemp(join(tmpdir(), 'mcp-prometheus-'))
  const address = `127.0.0.1:${await freePort()}`
  await writeFile(join(data, 'prometheus.yml'), JSON.stringify({
    global: { scrape_interval: '1s' },
    scrape_configs: [{ job_name: 'mcp', static_configs: [{ targets: [new URL(target).host] }] }]
  }))
  const child = spawn('prometheus', [
    `--config.file=${join(data, 'prometheus.yml')}`, `--storage.tsdb.path=${join(data, 'data')}`, `--web.listen-address=${address}`, '--log.level=warn'
  ], { stdio: ['ignore', 'inherit', 'inherit'] })
  const exited = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGTERM')
    await exited
    await rm(data, { recursive: true, force: true })
  })
  for (let tries = 0; tries < 100; tries++) {
    const response = await fetch(`http://${address}/-/ready`).catch(() => undefined)
    if (response?.ok) return `http://${address}`
    await sleep(100)
  }
  throw new Error('Prometheus is not ready')
}

interface Answer {
  status: string
  error?: string
  data?: { result: { metric: Record<string, string>, values: [number, string][] }[] }
}

async function evaluate (prometheus: string, panel: Panel, from: number, to: number): Promise<Series[]> {
  const all: Series[] = []
  for (const { expr, legendFormat } of panel.targets) {
    const query = MACROS.reduce((text, [name, value]) => text.replaceAll(name, value), expr)
    const url = `${prometheus}/api/v1/query_range?${new URLSearchParams({ query, start: String(from), end: String(to), step: '1' })}`
    const { status, error, data } = await (await fetch(url)).json() as Answer
    if (status !== 'success') throw new Error(`${panel.title}: ${error}: ${query}`)
    const series = (data?.result ?? []).map(({ metric, values }) => ({
      name: legendFormat.replace(/\{\{(\w+)\}\}/g, (_, label: string) => metric[label] || 'none'),
      points: values.map(([time, value]) => [time, Number(value)] as const).filter(([, value]) => Number.isFinite(value))
    })).filter(({ points }) => points.length > 0)
    t.ok(series.length > 0, `${panel.title}: ${legendFormat || 'its figure'} shows something`)
    all.push(...series)
  }
  return all
}

async function photograph (html: string, size: { width: number, height: number }, path: string): Promise<number> {
  const browser = await chromium.launch({ executablePath: process.env.MCP_TEST_CHROMIUM ?? '/usr/bin/chromium', args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-lcd-text'] })
  try {
    const page = await browser.newPage({ viewport: size })
    await page.setContent(html)
    return (await page.screenshot({ path })).length
  } finally {
    await browser.close()
  }
}

t.setTimeout(0)
await t.test('every panel shows what Prometheus was told', async t => {
  const place = await openPlace(t, await startRedis(t))
  const prometheus = await startPrometheus(t, place.nodes[0])
  const from = Math.ceil(Date.now() / 1_000)
  const answered = await sendTraffic(place, seed, AbortSignal.timeout(seconds * 1_000))
  t.ok(answered > 300, `${answered} calls were answered`)
  const to = Math.floor(Date.now() / 1_000)
  const seriesOf = new Map<Panel, Series[]>()
  for (const panel of board.panels) seriesOf.set(panel, await evaluate(prometheus, panel, from, to))
  const note = `drawn by scripts/dashboard.ts from what Prometheus answered, not by Grafana: ${seconds} s of load, seed ${seed}`
  const bytes = await photograph(draw(board, seriesOf, from, to, note), sizeOf(board), join(folder, 'dashboard.png'))
  t.ok(bytes < MAX_PICTURE, `the picture has ${bytes} bytes`)
})
