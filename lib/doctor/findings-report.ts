import type { Chart, Verdict } from './chart.ts'
import type { Order } from './order.ts'

const SIGNS: Record<Verdict, string> = { ok: '✓', warn: '!', fail: '✗', skipped: '-' }
const COLOURS: Record<Verdict, number> = { ok: 32, warn: 33, fail: 31, skipped: 90 }
// Control characters, and those that turn the direction of text or end its line.
// eslint-disable-next-line no-control-regex -- what is searched for
const UNSAFE = /[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g
const MOST_CHARACTERS = 300
const MOST_IN_JSON = 4_096
const USER = /(:\/\/)[^\s/?#"]*@/g
const QUERY = /(\/[^\s?"]*)\?[^\s"]*?(?=[,;:.)]*(?:[\s"]|$))/g

function cut (text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most)}…` : text
}

/** Servers repeat the url that they were asked for, with the secrets in it. */
function discreet (text: string): string {
  return cut(text, MOST_IN_JSON).replace(USER, '$1').replace(QUERY, '$1?…')
}

/** What a server said, so that a terminal can show it. */
function harmless (text: string): string {
  const short = cut(discreet(text), MOST_CHARACTERS)
  return short.replace(UNSAFE, found => `\\u${found.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** 0: all is well; 1: something failed, or with `--strict` was warned of; 3: the server was not reached. */
export function exitCodeOf (charts: readonly Chart[], isStrict: boolean): 0 | 1 | 3 {
  const findings = charts.flatMap(chart => chart.findings)
  if (charts.length === 1 && findings.some(({ id }) => id === 'unreachable' || id === 'tls' || id === 'no-answer')) return 3
  return findings.some(({ verdict }) => verdict === 'fail' || isStrict) ? 1 : 0
}

/** Without what may be a secret. */
function shown (url: URL): string {
  const copy = new URL(url)
  copy.username = copy.password = ''
  if (copy.search !== '') copy.search = '?…'
  return readableOf(copy.href)
}

function readableOf (href: string): string {
  try {
    return decodeURI(href)
  } catch {
    // Not every percent sign begins a letter.
    return href
  }
}

/** Lines for people. */
export function writeText (charts: readonly Chart[], order: Order, hasColours: boolean): string {
  const paint = (verdict: Verdict, text: string): string => hasColours ? `\u001b[${COLOURS[verdict]}m${text}\u001b[0m` : text
  const width = Math.max(...charts.map(({ title }) => title.length))
  const lines = [`${harmless(shown(order.url))}`, '']
  for (const { verdict, title, reason, measures, notes, findings } of charts) {
    const figures = Object.entries(measures).map(([name, value]) => name.endsWith('Ms') ? `${words(name)} ${value} ms` : `${words(name)} ${value}`)
    const told = reason ?? figures.join(', ')
    const columns = [title.padEnd(width), verdict.padEnd(7), harmless(told)]
    lines.push(`${paint(verdict, SIGNS[verdict])} ${columns.join('  ')}`.trimEnd())
    for (const note of notes) lines.push(`    ${harmless(note)}`)
    for (const finding of findings) {
      lines.push(`  ${paint(finding.verdict, SIGNS[finding.verdict])} ${finding.id}: ${harmless(finding.said)}`, `    do: ${finding.do}`)
    }
  }
  const count = (verdict: Verdict): number => charts.filter(chart => chart.verdict === verdict).length
  lines.push('', `${count('ok')} ok, ${count('warn')} warned, ${count('fail')} failed, ${count('skipped')} skipped`)
  return `${lines.join('\n')}\n`
}

/** `firstChunkMs` is `first chunk`. */
function words (name: string): string {
  return name.replace(/Ms$/, '').replace(/[A-Z]/g, letter => ` ${letter.toLowerCase()}`)
}

/** One document for programs. */
export function writeJson (charts: readonly Chart[], order: Order): string {
  const probes = charts.map(({ id, title, verdict, reason, measures, notes, findings }) => ({
    id,
    title,
    verdict,
    reason: reason && discreet(reason),
    measures,
    notes: notes.map(discreet),
    findings: findings.map(finding => ({ ...finding, said: discreet(finding.said) }))
  }))
  const exitCode = exitCodeOf(charts, order.isStrict)
  return `${JSON.stringify({ format: 1, url: shown(order.url), exitCode, probes }, undefined, 2).replace(UNSAFE, escapeInJson)}\n`
}

/** The line breaks are those of the document: in strings they are escaped already. */
function escapeInJson (found: string): string {
  return found === '\n' ? found : `\\u${found.charCodeAt(0).toString(16).padStart(4, '0')}`
}
