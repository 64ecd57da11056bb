// Whether what is held grows with the work that was done.

export interface Sample {
  /** Requests so far. */
  readonly work: number
  /** Bytes. */
  readonly heap: number
}

export interface Trend {
  /** Bytes for each request. */
  readonly slope: number
  /** Half of the 95 % interval. */
  readonly margin: number
}

/** A straight line through the samples by least squares. The interval is infinite for fewer than seven. */
export function trendOf (samples: readonly Sample[]): Trend {
  const count = samples.length
  const mean = (of: (sample: Sample) => number): number => samples.reduce((sum, sample) => sum + of(sample), 0) / count
  const work = mean(sample => sample.work)
  const heap = mean(sample => sample.heap)
  const sum = (of: (dx: number, dy: number) => number): number =>
    samples.reduce((total, sample) => total + of(sample.work - work, sample.heap - heap), 0)
  const spread = sum(dx => dx * dx)
  const slope = sum((dx, dy) => dx * dy) / spread
  if (count < 7) return { slope, margin: Infinity }
  const rest = sum((dx, dy) => (dy - slope * dx) ** 2)
  // Student's t at 97.5 %, close enough from five degrees of freedom on.
  const freedom = count - 2
  const t = 1.96 + 2.4 / freedom + 6.2 / freedom ** 3
  return { slope, margin: t * Math.sqrt(rest / freedom / spread) }
}
