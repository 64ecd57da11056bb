/** The value below which `share` (0 to 1) of a list lies. */
export function percentile (values: number[], share: number): number {
  const ascending = values.toSorted((a, b) => a - b)
  return ascending[Math.floor((ascending.length - 1) * share)] ?? Number.NaN
}

/**
 * What stands for a list of costs: a quarter of them are lower. Whatever else runs on the machine only adds, half as much
 * again where cores are shared, and not in every batch.
 */
export function quiet (costs: number[]): number {
  return percentile(costs, 0.25)
}
