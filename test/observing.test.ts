// What docs/observing.md says of metrics, channels and the log is what there is.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { metrics } from 'fastify-mcp-sse/metrics'
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import t from 'tap'
import ts from 'typescript'
import { root } from './child.ts'
import { Client, createApp } from './client.ts'

const path = 'docs/observing.md'
const page = readFileSync(join(root, path), 'utf8')
const codes = (text: string): string[] => Array.from(text.matchAll(/`([^`]+)`/g), ([, code = '']) => code)

async function served () {
  const registry = new Registry()
  const app = await createApp(t, { name: 'observed' })
  await app.register(metrics, { registry })
  return registry.getMetricsAsArray()
}

t.test('the table of metrics has each with its type, its labels and its sentence', async t => {
  const rows = (await served()).map(metric => {
    // It keeps both to itself.
    const [labels, help]: [string[], string] = [Reflect.get(metric, 'labelNames'), Reflect.get(metric, 'help')]
    const [type = ''] = Object.entries({ gauge: Gauge, counter: Counter, histogram: Histogram }).find(([, Metric]) => metric instanceof Metric) ?? []
    return `| \`${metric.name}\` | ${type} | ${labels.map(label => `\`${label}\``).join(', ')} | ${help} |`
  })
  t.ok(rows.length > 20)
  t.strictSame(page.match(/^\| `mcp_server_\w+` .+$/gm), rows)
})

t.test('rules and recipes ask for metrics that there are', async t => {
  const names = (await served()).flatMap(({ name }) => [name, `${name}_count`, `${name}_bucket`])
  const asked = Array.from(page.matchAll(/^```yaml\n(.+?)^```/gms), ([, yaml = '']) => yaml.match(/mcp_server_\w+/g) ?? []).flat()
  t.ok(asked.length > 6)
  t.strictSame(asked.filter(name => !names.includes(name)), [])
})

t.test('the table of channels has each with its type and all that it carries', async t => {
  const source = ts.createSourceFile('channels.ts', readFileSync(join(root, 'lib/channels.ts'), 'utf8'), ts.ScriptTarget.Latest)
  const fields = new Map<string, string[]>()
  const rows: string[][] = []
  source.forEachChild(function visit (node): void {
    if (ts.isInterfaceDeclaration(node)) {
      const bases = (node.heritageClauses ?? []).flatMap(({ types }) => types.flatMap(type => fields.get(type.getText(source)) ?? []))
      fields.set(node.name.text, [...bases, ...node.members.flatMap(({ name }) => name?.getText(source) ?? [])])
    }
    if (ts.isCallExpression(node) && node.expression.getText(source) === 'named') {
      const type = node.typeArguments?.[0]?.getText(source) ?? ''
      const [name] = node.arguments
      if (name !== undefined && ts.isStringLiteral(name)) rows.push([`fastify-mcp-sse:${name.text}`, type, ...fields.get(type) ?? []])
    }
    node.forEachChild(visit)
  })
  t.equal(rows.length, 8)
  const told = Array.from(page.matchAll(/^\| (`fastify-mcp-sse:.+? \| .+? \| .+?) \|/gm), ([, cells = '']) => codes(cells))
  t.strictSame(told, rows)
})

t.test('the line of the log has the fields that the page shows and explains', async t => {
  const lines: string[] = []
  const app = await createApp(t, { auth: { tokens: [{ token: 'of-ada', principal: 'ada' }] } }, { logger: { stream: { write: (line: string) => { lines.push(line) } } } })
  app.mcp.tool('browse', {}, async function * () { yield 'SPQR' })
  await (await Client.connect(app, { headers: { authorization: 'Bearer of-ada' } })).call('browse', {}, 'p')
  const real = JSON.parse(lines.find(line => line.includes('call ended')) ?? '{}')
  const shown = JSON.parse(/^\{.+"call ended"\}$/m.exec(page)?.[0] ?? '{}')
  t.strictSame([Object.keys(shown), Object.keys(shown.call)], [Object.keys(real), Object.keys(real.call)])
  const [, table = ''] = page.split('| field | what it is |\n|---|---|\n')
  const explained = Array.from(table.split('\n\n')[0]?.matchAll(/^\| (.+?) \|/gm) ?? [], ([, cell = '']) => codes(cell)).flat()
  t.strictSame(explained.filter(field => field !== 'code').sort(), Object.keys(real.call).sort())
})
