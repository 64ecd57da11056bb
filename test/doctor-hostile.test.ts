// The doctor at servers that mean harm: what they say must neither break it nor bring out what it was told.
import type { IncomingMessage } from 'node:http'
import t from 'tap'
import { examine as visit } from '../lib/doctor/examination.ts'
import { readOrder } from '../lib/doctor/order.ts'
import { consult, type Reply, startImpostor } from './consultation.ts'

t.test('no password and no query of a url comes out', async t => {
  const secret = /SECRET|PASS/
  const tell = async (answer: (request: IncomingMessage, base: string) => Reply, ...more: string[]) => {
    const url: string = await startImpostor(t, request => answer(request, url))
    const argv = ['doctor', `${url.replace('//', '//user:PASS@')}/mcp?key=SECRET`, '--idle', '0', ...more]
    const text = await consult(argv)
    const json = await consult([...argv, '--json'])
    t.notMatch(text.out, secret)
    t.notMatch(json.out, secret)
    return text.out
  }
  t.match(await tell(({ url }) => ({ status: 301, headers: { location: `${url}/` } })), 'to /mcp?…')
  t.match(await tell(({ method, url }) => ({ status: 500, text: `Route ${method}:${url} not found` })), 'Route POST:/mcp?… not found')
  t.match(await tell(({ url }, base) => url?.includes('well-known') === true
    ? { json: { resource: `${base.replace('//', '//user:PASS@')}/mcp?key=SECRET!` } }
    : { status: 401, headers: { 'www-authenticate': `Bearer resource_metadata="${base}/.well-known/oauth-protected-resource/mcp?key=SECRET"` } }), /\/mcp\?…/)
  t.match(await tell(() => ({ status: 500, text: 'x'.repeat(10_000) })), /x{80}/)
})

t.test('a probe that breaks is a finding, and the others go on', async t => {
  const url = await startImpostor(t, (request, message) => {
    if (request.method !== 'POST') return { status: 405 }
    if (message.id === undefined) return { status: 202 }
    const result = message.method === 'initialize'
      ? { protocolVersion: message.params.protocolVersion, capabilities: {}, serverInfo: { name: 'x', version: '1' } }
      : message.method === 'server/discover' ? { supportedVersions: ['2026-07-28'] } : {}
    return { json: { jsonrpc: '2.0', id: message.id, result }, headers: { 'mcp-session-id': 'abc' } }
  })
  const order = readOrder(['doctor', url, '--idle', '0'], {})
  if (typeof order === 'string' || 'wrong' in order) throw new Error('no order')
  const charts = await visit({ ...order, get tool (): string { throw new TypeError('no such luck') } }, new AbortController().signal)
  const broken = charts.filter(({ findings }) => findings.some(({ id, said }) => id === 'probe-broken' && said === 'the probe broke: no such luck'))
  t.ok(broken.length > 0)
  t.ok(broken.every(({ verdict }) => verdict === 'fail'))
  t.ok(charts.length > broken.length)
})
