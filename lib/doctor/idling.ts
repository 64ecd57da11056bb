import { Chart } from './chart.ts'
import { isSilence } from './exchange.ts'
import type { IdleStream, Patient } from './patient.ts'
import { failRefused } from './refusals.ts'
import { failStream } from './streamed.ts'

// A comment that opens the stream keeps nothing alive.
const GREETING_MS = 50
// The HTML standard advises a comment "every 15 seconds or so".
const USUAL_S = 16

/** Holds every kind of stream open that the server offers, all at once, and looks whether somebody cuts it. */
export async function examineIdle (chart: Chart, patient: Patient): Promise<void> {
  if (patient.order.idle === 0) return chart.skip('--idle 0')
  if (patient.streams.length === 0) return chart.skip('there is no stream to hold open')
  // One of its own for each, or who ends first would be told first.
  const charts = await Promise.all(patient.streams.map(async stream => {
    const own = new Chart(chart.id, chart.title, () => patient.isDone)
    await hold(own, patient, stream)
    return own
  }))
  for (const own of charts) chart.take(own)
}

async function hold (chart: Chart, patient: Patient, { name, key, open, resume }: IdleStream): Promise<void> {
  const { idle, timeout } = patient.order
  const stream = await open()
  if (isSilence(stream)) return failStream(chart, `the ${name}`, stream)
  if (stream.status === 405) return chart.note(`${name}: not offered`)
  if (stream.status !== 200) return failRefused(chart, `the ${name}`, stream, await stream.text(timeout))
  if (!stream.isStream) {
    stream.close()
    return chart.note(`${name}: not offered, the answer is no stream`)
  }
  const reader = stream.reader()
  const from = performance.now()
  await reader.over(idle * 1_000, patient.signal)
  const { ended, comments, lastId } = reader
  if (patient.isDone) return
  stream.close()
  const kept = comments.filter(at => at > from + GREETING_MS)
  const period = periodOf(kept)
  if (period !== undefined) chart.measure(`${key}CommentMs`, period)
  if (ended === undefined) {
    chart.note(`${name}: open for ${idle} s`)
    if (kept.length > 0) return
    if (idle < USUAL_S) chart.note(`${name}: held too short to tell whether comments keep it alive, which come every 15 s or so`)
    else chart.warn('idle-silent', `${name}: no comment kept it alive in ${idle} s`)
    return
  }
  const lasted = ((ended.at - from) / 1_000).toFixed(1)
  chart.fail('idle-cut', `${name}: cut after ${lasted} s, by ${ended.kind === 'clean' ? 'a clean end' : 'a reset'}, with ${kept.length} comments before`)
  if (resume === undefined || lastId === undefined) return
  const again = await resume(lastId)
  const isBack = !isSilence(again) && again.status === 200 && again.isStream
  if (!isSilence(again)) again.close()
  if (isBack) chart.note(`${name}: comes back with Last-Event-ID`)
  else chart.fail('resume-failed', `${name}: does not come back with Last-Event-ID: ${isSilence(again) ? again.words : again.status}`)
}

/** The longest time between two of them. */
function periodOf (times: readonly number[]): number | undefined {
  const gaps = times.slice(1).map((at, index) => at - Number(times[index]))
  return gaps.length === 0 ? undefined : Math.max(...gaps)
}
