/** One caller of a closed loop: it makes a call and says, when the answer is there, whether it was right. */
export type Lane = (done: (right: boolean) => void) => void

export interface Drive {
  seconds: number
  /** How long each call took, in milliseconds, ascending. */
  waits: number[]
}

/**
 * Keeps every lane calling until `count` calls are made: a count and not a time, so that a busy machine makes the work
 * longer but not less. Throws when any answer was wrong.
 */
export async function drive (lanes: Lane[], count: number): Promise<Drive> {
  const waits: number[] = []
  const begin = performance.now()
  await Promise.all(lanes.map(async lane => {
    await new Promise<void>((resolve, reject) => {
      let asked = performance.now()
      const done = (right: boolean): void => {
        const now = performance.now()
        if (!right) return reject(new Error('a call got a wrong answer'))
        waits.push(now - asked)
        if (waits.length > count - lanes.length) return resolve()
        asked = now
        lane(done)
      }
      lane(done)
    })
  }))
  return { seconds: (performance.now() - begin) / 1000, waits: waits.sort((a, b) => a - b) }
}

/** The value below which `share` (0 to 1) of an ascending list lies. */
export function percentile (ascending: number[], share: number): number {
  return ascending[Math.min(ascending.length - 1, Math.floor(ascending.length * share))] ?? Number.NaN
}
