import type { Chart } from './chart.ts'
import { type Exchange, isSilence, type Silence } from './exchange.ts'
import type { Line, Told } from './line.ts'
import type { Patient } from './patient.ts'
import { fieldsOf, readRpc } from './rpc.ts'

// A call that took less says nothing about a buffer; and what came within so small a part of its time came at once.
const LONG_ENOUGH_MS = 300
const AT_ONCE = 0.1

/** Judges the head of an event stream. `name`: of the stream, as people call it. */
export function judgeStream (chart: Chart, name: string, stream: Exchange): void {
  const encoding = stream.header('content-encoding')
  if (encoding !== '' && encoding !== 'identity') chart.fail('stream-encoded', `${name} comes with content-encoding ${encoding}`)
  const cache = stream.header('cache-control')
  const lacking = ['no-cache', 'no-store'].every(part => !cache.includes(part)) ? 'no-cache' : cache.includes('no-transform') ? '' : 'no-transform'
  if (lacking !== '') chart.warn('stream-cache-header', `${name} comes with cache-control "${cache}", without ${lacking}`)
  // nginx takes the header for itself.
  if (!/nginx/i.test(stream.header('server')) && stream.header('x-accel-buffering') !== 'no') {
    chart.warn('stream-accel-header', `${name} comes without X-Accel-Buffering: no`)
  }
}

/** Says that the head of a stream did not come although other requests are answered. */
export function failStream (chart: Chart, name: string, { silence, words }: Silence): void {
  if (silence === 'TIMEOUT') chart.fail('stream-held', `${name}: ${words}, not even the head, although other requests are answered`)
  else chart.fail('no-answer', `${name}: ${words} (${silence})`)
}

/** Calls a tool that streams, and looks whether its chunks come as they are made. */
export async function examineCall (chart: Chart, patient: Patient, line: Line): Promise<void> {
  const { tool, args } = patient.order
  const name = tool ?? await findHarmless(patient, line)
  if (name === undefined) {
    chart.note('no tool was called: none has readOnlyHint and needs no arguments (choose one with --tool); judged by the stream itself alone')
    return
  }
  const startedAt = performance.now()
  const told = await line.request('tools/call', { name, arguments: tool === undefined ? {} : args, _meta: { progressToken: 'doctor' } })
  if (isSilence(told)) return failStream(chart, `the call of ${name}`, told)
  const { answer, exchange } = told
  if (answer === undefined) {
    chart.fail('request-failed', `the call of ${name} was answered ${exchange.status} without a result`)
  } else if (answer.error !== undefined) {
    chart.warn('request-failed', `the call of ${name} was answered with the error "${answer.error.message}"`)
  } else {
    if (answer.result?.isError === true) chart.note(`${name} answered that it failed`)
    if (exchange.isStream) judgeStream(chart, `the call of ${name}`, exchange)
    judgeChunks(chart, name, told, startedAt, tool !== undefined)
  }
}

/** Of a tool that was chosen for the visitor nobody knows that it takes its time between two chunks. */
function judgeChunks (chart: Chart, name: string, { heard, answeredAt }: Told, startedAt: number, isChosen: boolean): void {
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
  if (isChosen) chart.fail('chunks-held', said)
  else chart.warn('chunks-held', said)
}

/** Revisions differ in what they tell of tools, so one that was found is remembered. */
async function findHarmless (patient: Patient, line: Line): Promise<string | undefined> {
  if (patient.harmless !== undefined) return patient.harmless
  const told = await line.request('tools/list')
  const tools: unknown = isSilence(told) ? undefined : told.answer?.result?.tools
  for (const tool of Array.isArray(tools) ? tools : []) {
    const { name, annotations, inputSchema } = fieldsOf(tool)
    const { required } = fieldsOf(inputSchema)
    const needsNothing = !Array.isArray(required) || required.length === 0
    if (typeof name === 'string' && fieldsOf(annotations).readOnlyHint === true && needsNothing) {
      patient.harmless = name
      return name
    }
  }
  return undefined
}
