// The dashboard asks for what servers serve: every metric, every label, and a place for each panel.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { metrics } from 'fastify-mcp-sse/metrics'
import { Registry } from 'prom-client'
import t from 'tap'
import { createApp } from './client.ts'
import { root } from './child.ts'
import type { Dashboard } from '../scripts/panels.ts'

const board: Dashboard = JSON.parse(readFileSync(join(root, 'docs/grafana/dashboard.json'), 'utf8'))
const { panels } = board

t.test('every metric and every label of an expression is one that a server serves', async t => {
  const registry = new Registry()
  const app = await createApp(t, { name: 'drawn' })
  await app.register(metrics, { registry })
  const labels = new Map<string, string[]>()
  for (const metric of registry.getMetricsAsArray()) {
    // It keeps them to itself.
    const own: string[] = Reflect.get(metric, 'labelNames')
    const isHistogram = Reflect.has(metric, 'buckets')
    for (const suffix of isHistogram ? ['_count', '_sum', '_bucket'] : ['']) labels.set(metric.name + suffix, suffix === '_bucket' ? [...own, 'le'] : own)
  }
  const shown = new Set<string>()
  for (const { title, targets } of panels) {
    for (const { expr, legendFormat } of targets) {
      const named = expr.match(/mcp_\w+/g) ?? []
      t.ok(named.length > 0, title)
      const known = named.flatMap(name => labels.get(name) ?? [])
      for (const name of named) {
        t.ok(labels.has(name), `${title}: ${name}`)
        shown.add(name.replace(/_(count|bucket)$/, ''))
      }
      const grouped = Array.from(expr.matchAll(/by \(([\w, ]+)\)/g), ([, list = '']) => list.split(', ')).flat()
      const matched = Array.from(expr.matchAll(/(\w+)=~?"/g), ([, label = '']) => label)
      const told = Array.from(legendFormat.matchAll(/\{\{(\w+)\}\}/g), ([, label = '']) => label)
      t.strictSame([...grouped, ...matched, ...told].filter(label => !known.includes(label)), [], `${title}: ${expr}`)
      t.strictSame(told.filter(label => !grouped.includes(label)), [], `${title}: what the legend tells is kept`)
      if (known.includes('server')) t.ok(expr.includes('server=~"$server"'), `${title} heeds the variable`)
    }
  }
  t.strictSame(registry.getMetricsAsArray().map(({ name }) => name).filter(name => !shown.has(name)), [], 'every metric is on it')
})

t.test('panels have ids and places of their own', async t => {
  t.equal(new Set(panels.map(({ id }) => id)).size, panels.length)
  const taken = new Map<string, string>()
  for (const { title, gridPos: { x, y, w, h } } of panels) {
    t.ok(x >= 0 && y >= 0 && w > 0 && h > 0 && x + w <= 24, title)
    for (let column = x; column < x + w; column++) {
      for (let row = y; row < y + h; row++) {
        const place = `${column} ${row}`
        if (taken.has(place)) t.fail(`${title} and ${taken.get(place)} overlap`)
        taken.set(place, title)
      }
    }
  }
})

t.test('whoever imports it is asked for a Prometheus, and nothing names another one', async t => {
  const [input] = board.__inputs
  t.match(board, { __inputs: [{ type: 'datasource', pluginId: 'prometheus' }], schemaVersion: 39, templating: { list: [{ name: 'server', type: 'query' }] } })
  const wanted = { type: 'prometheus', uid: `\${${input?.name}}` }
  for (const { title, datasource, targets } of panels) {
    for (const source of [datasource, ...targets.map(target => target.datasource)]) t.strictSame(source, wanted, title)
  }
  for (const { datasource } of board.templating.list) t.strictSame(datasource, wanted)
})
