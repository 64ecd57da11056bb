import type { CallToolResultSchema, ContentBlockSchema } from '@modelcontextprotocol/core'
import type { z } from 'zod'
import { errorCodes } from '../errors.ts'

/** A piece of a tool's result: text, image, audio, resource link or embedded resource. */
export type ContentBlock = z.infer<typeof ContentBlockSchema>

export type CallToolResult = z.infer<typeof CallToolResultSchema>

/** Progress without content. `progress` is sent as it is while it rises. */
export interface ProgressChunk {
  progress: number
  total?: number
  message?: string
}

/** What a generator tool may yield. */
export type Chunk = string | ContentBlock | ProgressChunk

/** The params of one `notifications/progress`, without its token. */
export interface ProgressParams extends ProgressChunk {
  _meta?: Record<string, unknown>
}

/** The key under which a streamed content block rides in a progress notification. */
export const CONTENT_META = 'fastify-mcp-sse/content'

/** What a block of each type needs, for whoever forgot it. */
const NEEDS: ReadonlyMap<string, string> = new Map([
  ['text', 'text'],
  ['image', 'data and mimeType'],
  ['audio', 'data and mimeType'],
  ['resource', 'resource.uri'],
  ['resource_link', 'uri and name']
])

/** True for a plain JSON object, false for null and arrays. */
export function isRecord (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function isContentBlock (value: unknown): value is ContentBlock {
  if (!isRecord(value) || typeof value.type !== 'string' || !NEEDS.has(value.type)) return false
  switch (value.type) {
    case 'text': return typeof value.text === 'string'
    case 'resource': return isRecord(value.resource) && typeof value.resource.uri === 'string'
    case 'resource_link': return typeof value.uri === 'string' && typeof value.name === 'string'
    default: return typeof value.data === 'string' && typeof value.mimeType === 'string'
  }
}

function isProgress (value: unknown): value is ProgressChunk {
  return isRecord(value) && Number.isFinite(value.progress) &&
    (value.total === undefined || Number.isFinite(value.total)) &&
    (value.message === undefined || typeof value.message === 'string')
}

export function isResult (value: unknown): value is CallToolResult {
  return isRecord(value) && Array.isArray(value.content) && value.content.every(isContentBlock)
}

const bits = new DataView(new ArrayBuffer(8))

/** The next representable double above a finite number. */
export function nextAbove (value: number): number {
  if (value === 0) return Number.MIN_VALUE
  bits.setFloat64(0, value)
  bits.setBigInt64(0, bits.getBigInt64(0) + (value > 0 ? 1n : -1n))
  return bits.getFloat64(0)
}

/** Numbers the progress notifications of one call so that they rise strictly (basic/utilities/progress). */
export class Progress {
  #last = -Infinity
  #reported = false

  /** For a chunk: the next whole step while the tool itself reported nothing, the next double after that. */
  step (): number {
    this.#last = this.#reported ? nextAbove(this.#last) : Math.max(this.#last, -1) + 1
    return this.#last
  }

  /** What the tool reported itself: its value when it is higher than the last. Throws FST_MCP_CHUNK_INVALID. */
  report (chunk: unknown): ProgressParams {
    if (!isProgress(chunk)) throw new errorCodes.FST_MCP_CHUNK_INVALID(describe(chunk))
    const { progress, total, message } = chunk
    this.#reported = true
    this.#last = progress > this.#last ? progress : nextAbove(this.#last)
    return { progress: this.#last, total, message }
  }
}

function describe (value: unknown): string {
  if (Array.isArray(value)) return 'an array'
  if (value === null || (typeof value === 'number' && !Number.isFinite(value))) return String(value)
  if (!isRecord(value)) return typeof value
  const { type } = value
  if (typeof type === 'string' && NEEDS.has(type)) return `a block of type "${type}" without the strings ${NEEDS.get(type)}`
  if ('progress' in value) return '`progress` and `total` must be finite numbers, `message` a string'
  return `an object with the keys ${Object.keys(value).join(', ')}`
}

/** Turns what a tool yields into progress notifications and, unless `collect` is off, into the content of the final result. */
export class Collector {
  readonly progress = new Progress()
  readonly #content: ContentBlock[] = []
  readonly #collect: boolean
  readonly #maxBytes: number
  #text = ''
  #bytes = 0

  constructor (collect: boolean, maxBytes: number) {
    this.#collect = collect
    this.#maxBytes = maxBytes
  }

  /** The notification for one yielded chunk. Throws FST_MCP_CHUNK_INVALID and FST_MCP_RESULT_TOO_LARGE. */
  add (chunk: unknown): ProgressParams {
    if (typeof chunk === 'string') {
      if (this.#collect) this.#addText(chunk)
      return { progress: this.progress.step(), message: chunk }
    }
    if (isContentBlock(chunk)) {
      if (this.#collect) this.#addBlock(chunk)
      const progress = this.progress.step()
      const _meta = { [CONTENT_META]: chunk }
      return chunk.type === 'text' ? { progress, message: chunk.text, _meta } : { progress, _meta }
    }
    return this.progress.report(chunk)
  }

  #grow (bytes: number): void {
    this.#bytes += bytes
    if (this.#bytes > this.#maxBytes) throw new errorCodes.FST_MCP_RESULT_TOO_LARGE(this.#maxBytes)
  }

  #addText (text: string): void {
    this.#grow(Buffer.byteLength(text))
    this.#text += text
  }

  #addBlock (block: ContentBlock): void {
    const json = JSON.stringify(block)
    this.#grow(Buffer.byteLength(json))
    this.#closeText()
    // A copy: what was yielded belongs to the tool, which may use it again.
    this.#content.push(JSON.parse(json))
  }

  #closeText (): void {
    if (this.#text === '') return
    this.#content.push({ type: 'text', text: this.#text })
    this.#text = ''
  }

  /** What was collected so far, as it goes into a result. */
  content (): ContentBlock[] {
    this.#closeText()
    return this.#content
  }

  /** The result of a tool without an output schema: what was yielded, and what was returned. */
  finish (returned: unknown): CallToolResult {
    if (isResult(returned)) {
      this.#grow(Buffer.byteLength(JSON.stringify(returned)))
      if (!('resultType' in returned)) return returned
      // That is for the era to say: the result may have been another server's.
      const { resultType: _, ...rest } = returned
      return rest
    }
    // Whoever returns an error means to fail.
    if (returned instanceof Error) throw returned
    if (typeof returned === 'string') this.#addText(returned)
    else if (isContentBlock(returned)) this.#addBlock(returned)
    else if (Array.isArray(returned) && returned.every(isContentBlock)) returned.forEach(block => this.#addBlock(block))
    else if (returned !== undefined && returned !== null) this.#addText(toJson(checkJson(returned)))
    return { content: this.content() }
  }

  /** The result of a tool with an output schema: the value, and the value as JSON text for clients that read only text. */
  finishStructured (value: unknown): CallToolResult {
    const text = toJson(value)
    this.#grow(Buffer.byteLength(text))
    this.#closeText()
    this.#content.push({ type: 'text', text })
    // Where a revision wants an object it becomes the member of one.
    return { content: this.#content, structuredContent: value as Record<string, unknown> }
  }

  /** A failed call keeps what it had collected and says last what went wrong. */
  fail (text: string): CallToolResult {
    this.#closeText()
    this.#content.push({ type: 'text', text: text.slice(0, this.#maxBytes) })
    return { content: this.#content, isError: true }
  }
}

/** What JSON would quietly turn into something else, and what was meant as a result. */
function checkJson (value: unknown): unknown {
  if (value instanceof Map || value instanceof Set || ArrayBuffer.isView(value)) {
    throw new errorCodes.FST_MCP_CHUNK_INVALID(`a ${value.constructor.name}, of which JSON keeps nothing`)
  }
  const content = isRecord(value) && Array.isArray(value.content) ? value.content : []
  if (content.some(block => isRecord(block) && typeof block.type === 'string')) {
    throw new errorCodes.FST_MCP_CHUNK_INVALID(`in \`content\`, ${describe(content.find(block => !isContentBlock(block)))}`)
  }
  return value
}

function toJson (value: unknown): string {
  const text = JSON.stringify(value)
  if (text === undefined || (typeof value === 'number' && !Number.isFinite(value))) throw new errorCodes.FST_MCP_CHUNK_INVALID(describe(value))
  return text
}
