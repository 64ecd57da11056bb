import type { ReadResourceResultSchema } from '@modelcontextprotocol/core'
import type { z } from 'zod'
import { errorCodes, isTold, ToolError, withData } from '../errors.ts'
import type { Room } from '../sse/stream.ts'
import { Progress } from './chunk.ts'
import { ReadContext, type Task } from './context.ts'
import { logFailure } from './outcome.ts'
import { type Job, run } from './run.ts'
import { Pace } from './turn.ts'

export type ReadResourceResult = z.infer<typeof ReadResourceResultSchema>

type Contents = ReadResourceResult['contents'][number]

/** One part of a resource: text or bytes, with a URI or a media type of its own where it has one. */
export interface ResourcePart {
  uri?: string
  mimeType?: string
  text?: string
  /** Bytes, or base64. */
  blob?: string | Uint8Array
  _meta?: Record<string, unknown>
}

/** How a resource is read, fixed at its registration. */
export interface ReadOptions {
  readonly handler: (variables: never, context: ReadContext) => unknown
  readonly mimeType: string | undefined
  readonly timeout: number
  readonly grace: number
  /** The most bytes of its contents. */
  readonly maxResult: number
}

// Bytes of these media types are told as text.
const TEXTUAL = /^(?:text\/|application\/(?:json|xml|yaml|toml|javascript|ecmascript|x-ndjson|sql)\b|[^;]*\+(?:json|xml|yaml)\b)/i

/**
 * Reads one resource. Rejects with the reason when the call is aborted. Throws FST_MCP_RESOURCE_UNKNOWN when the reader gives nothing,
 * FST_MCP_RESULT_TOO_LARGE, FST_MCP_CHUNK_INVALID, FST_MCP_TOOL_TIMEOUT and FST_MCP_INTERNAL.
 */
export function runRead (options: ReadOptions, uri: string, variables: unknown, task: Task): ReadResourceResult | Promise<ReadResourceResult> {
  const pace = new Pace()
  return run(new Reading(options, uri, variables, task, pace), options, task, pace)
}

class Reading implements Job<ReadResourceResult> {
  readonly #options: ReadOptions
  readonly #uri: string
  readonly #variables: unknown
  readonly #task: Task
  readonly #pace: Pace
  readonly #texts: string[] = []
  readonly #chunks: Buffer[] = []
  readonly #parts: Contents[] = []
  #bytes = 0
  #isStream = false

  constructor (options: ReadOptions, uri: string, variables: unknown, task: Task, pace: Pace) {
    this.#options = options
    this.#uri = uri
    this.#variables = variables
    this.#task = task
    this.#pace = pace
  }

  begin (): unknown {
    // Variables are what the template that the handler's type was inferred from gives.
    const given = this.#options.handler(this.#variables as never, new ReadContext(this.#uri, this.#task, new Progress(), this.#pace))
    return given instanceof Promise ? given.then(this.#look) : this.#look(given)
  }

  /** Whoever opens a stream has found the resource, also when nothing is in it. */
  readonly #look = (given: unknown): unknown => {
    this.#isStream = typeof given === 'object' && given !== null && 'pipe' in given
    return given
  }

  take (chunk: unknown): Room {
    this.#add(chunk)
    return true
  }

  #add (chunk: unknown): void {
    if (typeof chunk === 'string') {
      this.#grow(Buffer.byteLength(chunk))
      if (this.#chunks.length > 0) this.#chunks.push(Buffer.from(chunk))
      else this.#texts.push(chunk)
    } else if (chunk instanceof Uint8Array) {
      this.#grow(chunk.byteLength)
      // Text that came before is part of the same bytes. A copy: what was yielded belongs to the reader, which may use it again.
      if (this.#texts.length > 0) this.#chunks.push(Buffer.from(this.#texts.splice(0).join('')))
      this.#chunks.push(Buffer.from(chunk))
    } else {
      this.#addPart(chunk)
    }
  }

  #grow (bytes: number): void {
    this.#bytes += bytes
    if (this.#bytes > this.#options.maxResult) throw new errorCodes.FST_MCP_RESULT_TOO_LARGE(this.#options.maxResult)
  }

  #addPart (part: unknown): void {
    if (typeof part !== 'object' || part === null) throw new errorCodes.FST_MCP_CHUNK_INVALID(part === null ? 'null' : typeof part)
    const { uri = this.#uri, mimeType = this.#options.mimeType, text, blob, _meta }: ResourcePart = part
    if (typeof uri !== 'string' || !['string', 'undefined'].includes(typeof mimeType)) throw new errorCodes.FST_MCP_CHUNK_INVALID('`uri` and `mimeType` of a part must be strings')
    const head = { uri, ...(mimeType !== undefined && { mimeType }), ...(_meta !== undefined && { _meta }) }
    if (typeof text === 'string') {
      this.#grow(Buffer.byteLength(text))
      this.#parts.push({ ...head, text })
    } else if (typeof blob === 'string' || blob instanceof Uint8Array) {
      this.#grow(blob.length)
      this.#parts.push({ ...head, blob: typeof blob === 'string' ? blob : Buffer.from(blob).toString('base64') })
    } else {
      throw new errorCodes.FST_MCP_CHUNK_INVALID('a part of a resource has neither the string `text` nor the bytes `blob`')
    }
  }

  finish (returned: unknown): ReadResourceResult {
    if (Array.isArray(returned)) returned.forEach(part => this.#add(part))
    else if (isContents(returned)) returned.contents.forEach(part => this.#add(part))
    else if (returned !== undefined && returned !== null) this.#add(returned)
    const whole = this.#whole()
    const contents = whole === undefined ? this.#parts : [whole, ...this.#parts]
    if (contents.length === 0) throw unknownResource(this.#uri)
    return { contents }
  }

  /** What was given piece by piece is one content. */
  #whole (): Contents | undefined {
    const { mimeType } = this.#options
    const head = { uri: this.#uri, ...(mimeType !== undefined && { mimeType }) }
    if (this.#texts.length > 0) return { ...head, text: this.#texts.join('') }
    if (this.#chunks.length === 0 && (!this.#isStream || this.#parts.length > 0)) return undefined
    const bytes = Buffer.concat(this.#chunks)
    return mimeType !== undefined && TEXTUAL.test(mimeType) ? { ...head, text: bytes.toString() } : { ...head, blob: bytes.toString('base64') }
  }

  fail (error: unknown): never {
    this.#task.failed(error)
    throw tellFailure(error, this.#task, { resource: this.#uri })
  }

  logLate (error: unknown): void {
    logFailure(this.#task, error, 'resource failed while it was ended', { resource: this.#uri })
  }
}

function isContents (value: unknown): value is { contents: unknown[] } {
  return typeof value === 'object' && value !== null && 'contents' in value && Array.isArray(value.contents)
}

/** The specification wants the URI in the error (server/resources, "Error Handling"). */
export function unknownResource (uri: string): Error {
  return withData(new errorCodes.FST_MCP_RESOURCE_UNKNOWN(uri), { uri })
}

/** What a client is told of a failure that no result can tell. A ToolError keeps its words, what was not thrown for the client does not. */
export function tellFailure (error: unknown, task: Task, what: Record<string, unknown>): unknown {
  if (error instanceof ToolError) return new errorCodes.FST_MCP_HANDLER_FAILED(error.message)
  const isBroken = error instanceof errorCodes.FST_MCP_CHUNK_INVALID || error instanceof errorCodes.FST_MCP_RESOURCE_INVALID
  if (isTold(error) && !isBroken) return error
  logFailure(task, error, 'handler failed', what)
  return new errorCodes.FST_MCP_HANDLER_FAILED(`The handler failed; the server's log says why under request ${task.request.id}`)
}
