// A short run of what `npm run fuzz` does for as long as it is told to, in a process of its own.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import t from 'tap'
import { root } from './child.ts'
import type { Report } from './fuzz/campaign.ts'
import { Chance } from './fuzz/chance.ts'
import { ERAS } from './fuzz/grammar.ts'
import type { RawResponse } from './fuzz/raw-socket.ts'
import { type FuzzRequest, stepOf } from './fuzz/spoiled.ts'
import { CONFIGURATIONS } from './fuzz/subjects.ts'
import { judge } from './fuzz/verdict.ts'

const SEED = 20_261_120
// For each client in each half of the run: some 2,000 requests in all.
const EPISODES = 4
// Nothing waits for it but a process that does not end by itself.
const PATIENCE_MS = 100_000
// What grows with every request grows by more.
const MOST_GROWTH = 1.5

/** `env -i`: tap would count coverage in the child, at the cost of its time. */
async function fuzz (...args: string[]): Promise<{ code: number | null, output: string, errors: string }> {
  const program = [process.execPath, '--import', 'tsx', '--conditions=fastify-mcp-sse/source', 'scripts/fuzz.ts', ...args]
  const child = spawn('env', ['-i', `PATH=${process.env.PATH}`, ...program], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], timeout: PATIENCE_MS, killSignal: 'SIGKILL' })
  let [output, errors] = ['', '']
  child.stdout.setEncoding('utf8').on('data', text => { output += text })
  child.stderr.setEncoding('utf8').on('data', text => { errors += text })
  const [code] = await once(child, 'close')
  return { code, output, errors }
}

t.test('no spoilt request breaks a server, and none leaves anything behind', async t => {
  const { code, output, errors } = await fuzz('--seed', `${SEED}`, '--episodes', `${EPISODES}`)
  t.equal(errors, `seed ${SEED}\n`, 'nothing is printed but the seed')
  const report: Report = JSON.parse(output || '{}')
  t.strictSame(report.findings, [])
  t.equal(code, 0, 'the process ends by itself')
  t.strictSame(Object.keys(report.sent), Object.keys(CONFIGURATIONS))
  for (const [name, sent] of Object.entries(report.sent)) t.ok(sent > 200, `${name} got ${sent} requests`)
  for (const status of [200, 202, 400, 404, 405]) t.ok(Number(report.statuses[status]) > 0, `${status} was answered`)
  const [first, second] = report.heap
  t.ok(second < first * MOST_GROWTH, `the heap went from ${first} to ${second}`)
})

t.test('a seed makes the same requests each time, and another seed others', async t => {
  const steps = (seed: number): FuzzRequest[] => {
    const chance = new Chance(seed)
    return Array.from({ length: 200 }, (_, index) => stepOf(chance, ERAS[index % ERAS.length] ?? 'http+sse'))
  }
  const [first, again, other] = [7, 7, 8].map(seed => JSON.stringify(steps(seed)))
  t.ok(first === again, 'the same seed')
  t.ok(first !== other, 'another seed')
})

t.test('each rule of the verdict says no', async t => {
  const request: FuzzRequest = { method: 'POST', target: '/mcp', headers: [['host', 'localhost']], body: '{"id":1}', shape: 'whole', ending: 'read', salt: 0 }
  const headers = (type: string, more: [string, string[]][] = []) => new Map([['content-type', [type]], ...more])
  const good: RawResponse = { status: 200, headers: headers('application/json; charset=utf-8'), body: '{"jsonrpc":"2.0","id":1,"result":{}}', isWhole: true }
  const error = (code: number, name: string): string => JSON.stringify({ jsonrpc: '2.0', id: 1, error: { code, message: 'm', data: { code: name } } })
  const event = (text: string): Partial<RawResponse> => ({ headers: headers('text/event-stream'), body: `${text}\n\n`, isWhole: false })
  const said = (response: Partial<RawResponse>, sent: Partial<FuzzRequest> = {}): string | undefined =>
    judge({ ...request, ...sent }, { responses: [{ ...good, ...response }], isLate: false }, false)

  t.equal(said({}), undefined)
  t.equal(said({ status: 404, body: error(-32001, 'FST_MCP_SESSION_UNKNOWN') }), undefined)
  t.equal(said({ status: 503, body: error(-32000, 'FST_MCP_CALLS_FULL') }), undefined)
  t.equal(said(event(`data: ${good.body}`)), undefined)
  t.equal(said({ status: 404, body: '{"statusCode":404}' }, { target: '/other' }), undefined)
  t.equal(judge(request, { responses: [good], isLate: true }, false), 'no end')
  t.equal(judge(request, { responses: [], isLate: false }, false), 'no answer')
  const wrong: [response: Partial<RawResponse>, what: string][] = [
    [{ status: NaN }, 'no status'],
    [{ headers: headers('application/json', [['x-injected', ['1']]]) }, 'a header that the request put there'],
    [{ body: '"secret on purpose"' }, 'what a handler kept to itself'],
    [{ status: 500, body: error(-32603, 'FST_MCP_INTERNAL') }, 'the status 500 FST_MCP_INTERNAL'],
    [{ status: 400, headers: headers('text/html') }, 'the content type "text/html" with the status 400'],
    [{ status: 404, body: '{"statusCode":404}' }, 'no JSON-RPC message'],
    [{ body: '{"jsonrpc":"2.0","id":1}' }, 'a response without exactly one of result and error'],
    [{ body: '{"jsonrpc":"2.0","id":1,"result":7}' }, 'a result that is no object'],
    [{ body: '{"jsonrpc":"2.0","id":2,"result":{}}' }, 'an answer to the id 2, which was not asked'],
    [{ body: '{"jsonrpc":"2.0","id":1,"error":{}}' }, 'an error without code and message'],
    [{ status: 400, body: error(-32600, 'NONE') }, 'an error with the code NONE, which is not in the catalogue'],
    [{ status: 400, body: error(-1, 'FST_MCP_PARSE') }, 'FST_MCP_PARSE with the JSON-RPC code -1'],
    [{ status: 404, body: error(-32700, 'FST_MCP_PARSE') }, 'FST_MCP_PARSE with the status 404'],
    [{ ...event('data: {}') }, 'no JSON-RPC message'],
    [{ ...event('event: other\ndata: {}') }, 'the event other'],
    [{ ...event('event: endpoint\ndata: http://evil.example/') }, 'the endpoint http://evil.example/'],
    [{ ...event('data: {}'), status: 400 }, 'a stream with the status 400']
  ]
  for (const [response, what] of wrong) t.equal(said(response), what)
})
