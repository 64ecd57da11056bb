import { ToolError, type ProgressChunk } from 'fastify-mcp-sse'
import { z } from 'zod'
import { linesOf, readText } from './folder.ts'

const MAX_COLUMNS = 1_000
const MAX_RECORD = 1024 * 1024
const MAX_DISTINCT = 1_000
const KEPT_CHARACTERS = 100

const value = z.number().or(z.string()).nullable()

export const csvReport = z.object({
  rows: z.number(),
  columns: z.array(z.object({
    name: z.string(),
    count: z.number().describe('Rows that have a value'),
    min: value,
    max: value,
    mean: z.number().nullable().describe('Null unless every value is a number'),
    distinct: z.number().nullable().describe(`Null when there are more than ${MAX_DISTINCT}`)
  }))
})

type Report = z.infer<typeof csvReport>

/** Reads a CSV once, whatever its size, and holds one record and a few numbers for each column. Yields how far it is. */
export async function * analyzeCsv (path: string, size: number, signal: AbortSignal): AsyncGenerator<ProgressChunk, Report> {
  const text = readText(path, signal)
  let columns: Column[] | undefined
  let rows = 0
  let told = 0
  for await (const record of recordsOf(linesOf(text))) {
    if (columns === undefined) {
      columns = headerOf(record)
      continue
    }
    rows++
    columns.forEach((column, index) => column.add(record[index] ?? ''))
    if (text.bytesRead - told < size / 100) continue
    told = text.bytesRead
    yield { progress: told, total: size, message: `${rows} rows` }
  }
  return { rows, columns: (columns ?? []).map(column => column.report()) }
}

/** The records of a CSV (RFC 4180): a quoted field may hold separators, doubled quotes and line ends. The first one tells the separator. */
async function * recordsOf (lines: AsyncIterable<string>): AsyncGenerator<string[]> {
  let record = ''
  let inQuotes = false
  let fieldsOf: ReturnType<typeof splitterOf> | undefined
  for await (const line of lines) {
    record = inQuotes ? `${record}\n${line}` : line
    if (record.length > MAX_RECORD) throw new ToolError(`A record is longer than ${MAX_RECORD} characters: is a quote left open?`)
    if (line.includes('"') && line.split('"').length % 2 === 0) inQuotes = !inQuotes
    if (inQuotes || record === '') continue
    if (fieldsOf === undefined) {
      record = record.replace(/^\uFEFF/, '')
      fieldsOf = splitterOf(record)
    }
    yield fieldsOf(record)
  }
  if (inQuotes) throw new ToolError('The file ends inside a quoted field')
}

/** Splits records by the separator that the header has most of. */
function splitterOf (header: string): (record: string) => string[] {
  const bare = header.replace(/"[^"]*"/g, '')
  const [separator = ','] = [',', ';', '\t'].sort((a, b) => bare.split(b).length - bare.split(a).length)
  const field = new RegExp(`${separator}(?:"([^"]*(?:""[^"]*)*)"|([^${separator}]*))`, 'g')
  return record => {
    if (!record.includes('"')) return record.split(separator)
    return Array.from(`${separator}${record}`.matchAll(field), ([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? '')
  }
}

function headerOf (names: string[]): Column[] {
  if (names.length > MAX_COLUMNS) throw new ToolError(`The file has more than ${MAX_COLUMNS} columns`)
  return names.map(name => new Column(name.trim()))
}

/** What is known of one column so far. It is a column of numbers until a value is none. */
class Column {
  readonly #name: string
  #count = 0
  #mean: number | null = 0
  #min = Infinity
  #max = -Infinity
  #first: string | undefined
  #last: string | undefined
  #distinct: Set<string> | null = new Set()

  constructor (name: string) {
    this.#name = name
  }

  add (text: string): void {
    const value = text.trim().slice(0, KEPT_CHARACTERS)
    if (value === '') return
    this.#count++
    this.#addNumber(Number(value))
    if (this.#first === undefined || value < this.#first) this.#first = detached(value)
    if (this.#last === undefined || value > this.#last) this.#last = detached(value)
    if (this.#distinct === null || this.#distinct.has(value)) return
    this.#distinct.add(detached(value))
    if (this.#distinct.size > MAX_DISTINCT) this.#distinct = null
  }

  #addNumber (value: number): void {
    if (this.#mean === null) return
    if (!Number.isFinite(value)) {
      this.#mean = null
      return
    }
    // The sum of a long column would outgrow the precision of a double; its mean does not.
    this.#mean += (value - this.#mean) / this.#count
    this.#min = Math.min(this.#min, value)
    this.#max = Math.max(this.#max, value)
  }

  report (): Report['columns'][number] {
    const isNumeric = this.#mean !== null && this.#count > 0
    return {
      name: this.#name,
      count: this.#count,
      min: isNumeric ? this.#min : this.#first ?? null,
      max: isNumeric ? this.#max : this.#last ?? null,
      mean: isNumeric ? this.#mean : null,
      distinct: this.#distinct?.size ?? null
    }
  }
}

/** A copy of its own: V8 keeps a part of a string as a view that holds the whole piece of the file in memory. */
function detached (text: string): string {
  return Buffer.from(text).toString()
}
