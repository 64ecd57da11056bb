import { advice, type FindingId } from './advice.ts'

/** How a probe went. */
export type Verdict = 'ok' | 'warn' | 'fail' | 'skipped'

/** One thing that is not as it should be. */
export interface Finding {
  readonly id: FindingId
  readonly verdict: 'warn' | 'fail'
  /** What was seen. */
  readonly said: string
  /** What to change. */
  readonly do: string
}

/** What a probe saw, while it looks. */
export class Chart {
  /** What is given to `--only`. */
  readonly id: string
  readonly title: string
  readonly findings: Finding[] = []
  /** Milliseconds, and counts, by name. */
  readonly measures: Record<string, number> = {}
  readonly notes: string[] = []
  /** Why nothing was looked at. */
  reason: string | undefined
  readonly #isClosed: () => boolean

  /** `isClosed`: whether what is seen is an effect of something else by now, such as a rate limit. */
  constructor (id: string, title: string, isClosed: () => boolean) {
    this.id = id
    this.title = title
    this.#isClosed = isClosed
  }

  get verdict (): Verdict {
    const verdicts = this.findings.map(({ verdict }) => verdict)
    if (verdicts.includes('fail')) return 'fail'
    if (verdicts.includes('warn')) return 'warn'
    return this.reason === undefined ? 'ok' : 'skipped'
  }

  fail (id: FindingId, said: string): void {
    if (!this.#isClosed()) this.#add('fail', id, said)
  }

  warn (id: FindingId, said: string): void {
    if (!this.#isClosed()) this.#add('warn', id, said)
  }

  /** Says what closed it, or what follows from that. */
  close (verdict: Finding['verdict'], id: FindingId, said: string): void {
    this.#add(verdict, id, said)
  }

  #add (verdict: Finding['verdict'], id: FindingId, said: string): void {
    const known = this.findings.findIndex(finding => finding.id === id)
    const finding = { id, verdict, said, do: advice[id] }
    if (known < 0) this.findings.push(finding)
    else if (verdict === 'fail' && this.findings[known]?.verdict === 'warn') this.findings[known] = finding
  }

  /** Takes over what another one says, in its order. */
  take ({ findings, measures, notes }: Chart): void {
    this.findings.push(...findings)
    this.notes.push(...notes)
    Object.assign(this.measures, measures)
  }

  note (text: string): void {
    this.notes.push(text)
  }

  skip (reason: string): void {
    this.reason = reason
  }

  /** `value` in milliseconds, or a count. */
  measure (name: string, value: number): void {
    this.measures[name] = Math.round(value)
  }
}
