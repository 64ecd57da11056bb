import type { Room } from '../sse/stream.ts'

// Longer slices make other callers wait, shorter ones cost the stream: measured in docs/performance.md.
const SLICE_MS = 4

/**
 * One slice of time for all producers that never wait. `drain` and resolved promises come back without a turn of the
 * event loop, so without this a flat-out generator would keep every other caller waiting.
 */
let sliceEnd = 0
let waiting: ((open: true) => void)[] = []
let scheduled = false

function nextTurn (): void {
  scheduled = false
  const resumed = waiting
  waiting = []
  // Resumed one after another: their microtasks run when all are queued, and interleave.
  for (const resume of resumed) resume(true)
}

function schedule (): void {
  if (scheduled) return
  scheduled = true
  setImmediate(nextTurn)
}

/** Whether the slice of this turn is used up. The first question of a turn starts the slice. */
function isSliceOver (): boolean {
  if (!scheduled) {
    sliceEnd = performance.now() + SLICE_MS
    schedule()
    return false
  }
  return performance.now() > sliceEnd
}

/** Resolves in the next turn of the event loop. */
export function giveWay (): Promise<true> {
  schedule()
  return new Promise(resolve => waiting.push(resolve))
}

/** The pace of one call: its tool goes on when there is room and when others had their turn. The time spent waiting for the client is counted. */
export class Pace {
  readonly #waits = new Set<(open: boolean) => void>()
  #asking = 0
  #since = 0
  #waited = 0
  /** Called when nothing waits for the client any more. */
  onResume: (() => void) | undefined

  get isWaiting (): boolean {
    return this.#waits.size + this.#asking > 0
  }

  /** Milliseconds of all waits that are over. */
  get waited (): number {
    return this.#waited
  }

  /** The answer of a write as the tool gets it. */
  of (room: Room): Room {
    if (room instanceof Promise) return this.#wait(room)
    return room && isSliceOver() ? giveWay() : room
  }

  /** Waits for something that the client takes its time for. */
  async during<T> (work: Promise<T>): Promise<T> {
    this.#start()
    this.#asking++
    try {
      return await work
    } finally {
      this.#asking--
      this.#end()
    }
  }

  #start (): void {
    if (!this.isWaiting) this.#since = performance.now()
  }

  #end (): void {
    if (this.isWaiting) return
    this.#waited += performance.now() - this.#since
    this.onResume?.()
  }

  #wait (room: Promise<boolean>): Promise<boolean> {
    this.#start()
    return new Promise(resolve => {
      const settle = (open: boolean): void => {
        if (!this.#waits.delete(settle)) return
        resolve(open && isSliceOver() ? giveWay() : open)
        this.#end()
      }
      this.#waits.add(settle)
      room.then(settle)
    })
  }

  /** The call is over: whoever waits is told that there is no room, so that it can end. */
  leave (): void {
    this.onResume = undefined
    for (const settle of this.#waits) settle(false)
  }
}
