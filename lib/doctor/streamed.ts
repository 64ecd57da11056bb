import type { FindingId } from './advice.ts'
import type { Chart } from './chart.ts'
import { type Exchange, isSilence, type Silence } from './exchange.ts'
import type { Line, Told } from './line.ts'
import type { Patient } from './patient.ts'
import { type Fields, fieldsOf, readRpc } from './rpc.ts'

// A call that took less says nothing about a buffer; and what came within so small a part of its time came at once.
const LONG_ENOUGH_MS = 300
const AT_ONCE = 0.1
const MOST_PAGES = 50
const MOST_NAMES = 20
const MOST_OF_A_TEXT = 160

type Say = (id: FindingId, said: string) => void

/** Judges the head of an event stream. `name`: of the stream, as people call it. */
export function judgeStream (chart: Chart, name: string, stream: Exchange): void {
  const encoding = encodingOf(stream)
  if (encoding !== '') chart.warn('stream-encoded', `${name} comes with content-encoding ${encoding}`)
  const cache = stream.header('cache-control')
  const lacking = ['no-cache', 'no-store'].every(part => !cache.includes(part)) ? 'no-cache' : cache.includes('no-transform') ? '' : 'no-transform'
  if (lacking !== '') chart.warn('stream-cache-header', `${name} comes with cache-control "${cache}", without ${lacking}`)
  // nginx takes the header for itself.
  if (!/nginx/i.test(stream.header('server')) && stream.header('x-accel-buffering') !== 'no') {
    chart.warn('stream-accel-header', `${name} comes without X-Accel-Buffering: no`)
  }
}

function encodingOf (stream: Exchange): string {
  return stream.header('content-encoding').replace(/^identity$/, '')
}

/** Says that the head of a stream did not come although other requests are answered. */
export function failStream (chart: Chart, name: string, { silence, words }: Silence): void {
  if (silence === 'TIMEOUT') chart.fail('stream-held', `${name}: ${words}, not even the head, although other requests are answered`)
  else chart.fail('no-answer', `${name}: ${words} (${silence})`)
}

/** Calls a tool that streams, and looks whether its chunks come as they are made. */
export async function examineCall (chart: Chart, patient: Patient, line: Line): Promise<void> {
  const { tool, args } = patient.order
  if (tool !== undefined && !await isOffered(chart, line, tool)) return
  // Revisions differ in what they tell of tools, so one that was found is remembered.
  const name = tool ?? (patient.harmless ??= await findHarmless(line))
  if (name === undefined) {
    chart.note('no tool was called: none has readOnlyHint and needs no arguments (choose one with --tool); judged by the stream itself alone')
    return
  }
  // Who named the tool wants to know about streaming; a tool that was chosen may have its reasons.
  const say: Say = (id, said) => tool === undefined ? chart.warn(id, said) : chart.fail(id, said)
  const startedAt = performance.now()
  const told = await line.request('tools/call', { name, arguments: tool === undefined ? {} : args, _meta: { progressToken: 'doctor' } })
  if (isSilence(told)) return failStream(chart, `the call of ${name}`, told)
  const { answer, exchange } = told
  if (answer === undefined) {
    chart.fail('request-failed', `the call of ${name} was answered ${exchange.status} without a result`)
  } else if (answer.error !== undefined) {
    say('request-failed', `the call of ${name} was answered with the error "${answer.error.message}": streaming was not judged`)
  } else if (answer.result?.isError === true) {
    say('tool-failed', `${name} answered that it failed: "${firstText(answer.result)}": streaming was not judged`)
  } else {
    if (exchange.isStream) judgeStream(chart, `the call of ${name}`, exchange)
    judgeChunks(chart, name, told, startedAt, say)
  }
}

function firstText ({ content }: Fields): string {
  const { text } = fieldsOf(Array.isArray(content) ? content[0] : undefined)
  return typeof text === 'string' ? text.slice(0, MOST_OF_A_TEXT) : ''
}

/** Of a tool that was chosen for the visitor nobody knows that it takes its time between two chunks. */
function judgeChunks (chart: Chart, name: string, { exchange, heard, answeredAt }: Told, startedAt: number, say: Say): void {
  const chunks = heard.filter(({ data }) => readRpc(data)?.method === 'notifications/progress').map(({ at }) => at)
  const [first] = chunks
  if (first === undefined) {
    chart.note(`${name} gave no chunk before its result`)
    return
  }
  const arrivals = [...chunks, answeredAt]
  const gaps = chunks.map((at, index) => Number(arrivals[index + 1]) - at)
  const whole = answeredAt - startedAt
  const spread = answeredAt - first
  chart.measure('chunks', chunks.length)
  chart.measure('firstChunkMs', first - startedAt)
  chart.measure('longestGapMs', Math.max(...gaps))
  if (chunks.length < 2 || whole < LONG_ENOUGH_MS || spread > whole * AT_ONCE) return
  const said = `${chunks.length} chunks of ${name} came within ${Math.round(spread)} ms at the end of ${Math.round(whole)} ms`
  say('chunks-held', said)
  const encoding = encodingOf(exchange)
  if (encoding !== '') say('stream-encoded', `the call of ${name} comes with content-encoding ${encoding}, and its chunks were held`)
}

/** Undefined when the server does not list its tools. */
async function listTools (line: Line): Promise<Fields[] | undefined> {
  const tools: Fields[] = []
  let cursor: unknown
  for (let page = 0; page < MOST_PAGES; page++) {
    const told = await line.request('tools/list', cursor === undefined ? {} : { cursor })
    const result = isSilence(told) ? undefined : told.answer?.result
    if (!Array.isArray(result?.tools)) return undefined
    tools.push(...result.tools.map(fieldsOf))
    cursor = result.nextCursor
    if (cursor === undefined) return tools
  }
  return undefined
}

/** Says so when there is no such tool. Whether it is worth a call. */
async function isOffered (chart: Chart, line: Line, tool: string): Promise<boolean> {
  const tools = await listTools(line)
  if (tools === undefined || tools.some(({ name }) => name === tool)) return true
  const names = tools.flatMap(({ name }) => typeof name === 'string' ? [name] : [])
  const more = names.length > MOST_NAMES ? `, and ${names.length - MOST_NAMES} more` : ''
  chart.fail('tool-unknown', `there is no tool ${tool}; there are: ${names.slice(0, MOST_NAMES).join(', ') || 'none'}${more}`)
  return false
}

/** A tool that says that it does no harm, and needs no arguments. */
export async function findHarmless (line: Line): Promise<string | undefined> {
  for (const { name, annotations, inputSchema } of await listTools(line) ?? []) {
    const { required } = fieldsOf(inputSchema)
    const needsNothing = !Array.isArray(required) || required.length === 0
    if (typeof name === 'string' && fieldsOf(annotations).readOnlyHint === true && needsNothing) return name
  }
  return undefined
}
