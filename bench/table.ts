import type { Figure } from './scenario.ts'

/** What one server did in one round. */
export interface Sample {
  /** Its column. */
  column: number
  round: number
  figures: Figure[]
}

export interface Row {
  work: string
  unit: string
  compare: 'ratio' | 'difference'
  /** The median of each server's rounds, in the order of the columns; NaN where a server did not take part. */
  medians: number[]
  /** The median over the rounds of each server against the first in the same round. */
  against: number[]
  /** Every round of every server. */
  rounds: number[][]
}

function median (values: number[]): number {
  const sorted = values.filter(value => !Number.isNaN(value)).sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

/** One row for each figure. Servers are compared within a round, since a shared machine is not the same a minute later. */
export function summarize (samples: Sample[], columns: number, rounds: number): Row[] {
  const rows = new Map<string, Row>()
  for (const { column, round, figures } of samples) {
    for (const { work, unit, value, compare = 'ratio' } of figures) {
      const key = `${work}\n${unit}`
      let row = rows.get(key)
      if (row === undefined) {
        const none = Array.from({ length: columns }, () => new Array<number>(rounds).fill(Number.NaN))
        rows.set(key, row = { work, unit, compare, medians: [], against: [], rounds: none })
      }
      const values = row.rounds[column]
      if (values !== undefined) values[round] = value
    }
  }
  for (const row of rows.values()) {
    const [base = []] = row.rounds
    row.medians = row.rounds.map(median)
    row.against = row.rounds.map(values => median(values.map((value, round) => {
      const first = base[round] ?? Number.NaN
      return row.compare === 'ratio' ? value / first : value - first
    })))
  }
  return [...rows.values()]
}

function digits (value: number): string {
  if (Number.isNaN(value)) return '–'
  const fraction = Math.abs(value) >= 1000 ? 0 : Math.abs(value) >= 10 ? 1 : 2
  return value.toLocaleString('en', { minimumFractionDigits: fraction, maximumFractionDigits: fraction })
}

function comparison (value: number, compare: Row['compare'], unit: string): string {
  if (Number.isNaN(value)) return '–'
  if (compare === 'ratio') return value.toFixed(2)
  return `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(1)} ${unit.split(' ')[0]}`
}

/** The rows as a Markdown table, which is also legible on a console. */
export function table (rows: Row[], [first = '', ...others]: string[]): string {
  const head = ['work', 'unit', first, ...others.flatMap(name => [name, 'ratio'])]
  const lines = rows.map(({ work, unit, compare, medians: [base = Number.NaN, ...rest], against }) => [
    work, unit, digits(base),
    ...rest.flatMap((value, index) => {
      return [digits(value), comparison(against[index + 1] ?? Number.NaN, compare, unit)]
    })
  ])
  const widths = head.map((name, column) => Math.max(...[head, ...lines].map(line => line[column]?.length ?? 0), name.length))
  const print = (cells: string[]): string => `| ${cells.map((cell, column) => {
    const width = widths[column] ?? 0
    return column < 2 ? cell.padEnd(width) : cell.padStart(width)
  }).join(' | ')} |`
  const rule = `|${widths.map((width, column) => column < 2 ? '-'.repeat(width + 2) : '-'.repeat(width + 1) + ':').join('|')}|`
  return [print(head), rule, ...lines.map(print)].join('\n')
}
