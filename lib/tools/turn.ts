// Longer slices make other callers wait, shorter ones cost the stream: measured in docs/performance.md.
const SLICE_MS = 4

type Resume = () => void

/**
 * One slice of time for all producers that never wait. `drain` and resolved promises come back without a turn of the
 * event loop, so without this a flat-out generator would keep every other caller waiting.
 */
let sliceEnd = 0
let waiting: Resume[] = []
let scheduled = false

function nextTurn (): void {
  scheduled = false
  const resumed = waiting
  waiting = []
  // Resumed one after another: their microtasks run when all are queued, and interleave.
  for (const resume of resumed) resume()
}

function schedule (): void {
  if (scheduled) return
  scheduled = true
  setImmediate(nextTurn)
}

/** Whether the slice of this turn is used up. The first question of a turn starts the slice. */
export function isSliceOver (): boolean {
  if (!scheduled) {
    sliceEnd = performance.now() + SLICE_MS
    schedule()
    return false
  }
  return performance.now() > sliceEnd
}

/** Calls `resume` in the next turn of the event loop. */
export function giveWay (resume: Resume): void {
  waiting.push(resume)
  schedule()
}
