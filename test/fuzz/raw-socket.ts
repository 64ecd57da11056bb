// HTTP/1.1 as bytes: nothing is added to what is sent, and nothing is mended in what comes back.
import { connect, type Socket } from 'node:net'

/** One response as far as it came. */
export interface RawResponse {
  status: number
  headers: ReadonlyMap<string, readonly string[]>
  body: string
  isWhole: boolean
}

/**
 * What a client does after its request. `read`: waits for all that it is owed. `hold`: the same, and leaves the connection open.
 * `half`: ends its side first. `abort`: breaks off. `leave`: breaks off once something came.
 */
export type Ending = 'read' | 'half' | 'abort' | 'leave' | 'hold'

export interface Talk {
  responses: RawResponse[]
  /** It waited longer than anybody would. */
  isLate: boolean
}

export interface Manners {
  readonly ending: Ending
  readonly owed: number
  readonly isHead: boolean
  /** Whether a stream has said all that is waited for. */
  readonly isEnough: (response: RawResponse) => boolean
  readonly patience: number
}

function headersIn (lines: readonly string[]): Map<string, string[]> {
  const headers = new Map<string, string[]>()
  for (const line of lines) {
    const colon = line.indexOf(':')
    const name = line.slice(0, colon).toLowerCase()
    headers.set(name, [...headers.get(name) ?? [], line.slice(colon + 1).trim()])
  }
  return headers
}

function unchunk (text: string): { body: string, length: number, isWhole: boolean } {
  let [body, at] = ['', 0]
  for (;;) {
    const end = text.indexOf('\r\n', at)
    const size = Number.parseInt(text.slice(at, end), 16)
    if (end === -1 || Number.isNaN(size) || text.length < end + 4 + size) return { body: body + (end === -1 ? '' : text.slice(end + 2)), length: text.length, isWhole: false }
    if (size === 0) return { body, length: end + 4, isWhole: true }
    body += text.slice(end + 2, end + 2 + size)
    at = end + 4 + size
  }
}

/** The responses in a text of bytes. */
function responsesIn (text: string, isHead: boolean): RawResponse[] {
  const responses: RawResponse[] = []
  for (let rest = text; rest.startsWith('HTTP/');) {
    const end = rest.indexOf('\r\n\r\n')
    if (end === -1) break
    const [start = '', ...lines] = rest.slice(0, end).split('\r\n')
    const status = Number(start.split(' ')[1])
    rest = rest.slice(end + 4)
    if (status < 200) continue
    const headers = headersIn(lines)
    const size = Number(headers.get('content-length')?.[0] ?? Infinity)
    const isChunked = headers.get('transfer-encoding')?.[0] === 'chunked'
    const { body, length, isWhole } = isHead || status === 204 || status === 304
      ? { body: '', length: 0, isWhole: true }
      : isChunked ? unchunk(rest) : { body: rest.slice(0, size), length: size, isWhole: rest.length >= size }
    responses.push({ status, headers, body: Buffer.from(body, 'latin1').toString(), isWhole })
    rest = rest.slice(length)
  }
  return responses
}

/** One connection. */
export class RawSocket {
  readonly #socket: Socket
  #text = ''
  #onChange = (): void => {}
  #isClosed = false

  constructor (port: number) {
    this.#socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    this.#socket.setNoDelay(true).setEncoding('latin1')
    this.#socket.on('data', (text: string) => {
      this.#text += text
      this.#onChange()
    })
    this.#socket.on('error', () => {}).on('end', () => this.#socket.end()).on('close', () => {
      this.#isClosed = true
      this.#onChange()
    })
  }

  /** Everything that came. */
  get text (): string {
    return this.#text
  }

  close (): void {
    this.#socket.destroy()
  }

  /** Writes the pieces, each in a turn of its own, then does what its manners say. */
  async talk (pieces: readonly Buffer[], manners: Manners): Promise<Talk> {
    for (const piece of pieces) {
      this.#socket.write(piece)
      await new Promise(resolve => setImmediate(resolve))
    }
    if (manners.ending === 'half') this.#socket.end()
    if (manners.ending === 'abort') this.close()
    const isLate = await this.#settled(manners)
    if (manners.ending !== 'hold' || isLate) this.close()
    return { responses: responsesIn(this.#text, manners.isHead), isLate }
  }

  #settled ({ ending, owed, isHead, isEnough, patience }: Manners): Promise<boolean> {
    return new Promise(resolve => {
      const timer = setTimeout(() => resolve(true), patience)
      this.#onChange = () => {
        const responses = responsesIn(this.#text, isHead)
        const hasAll = responses.some(isEnough) || (responses.length >= owed && responses.every(({ isWhole }) => isWhole))
        const isDone = ending === 'leave' ? this.#text !== '' : ending !== 'half' && owed > 0 && hasAll
        if (!isDone && !this.#isClosed) return
        clearTimeout(timer)
        this.#onChange = () => {}
        resolve(false)
      }
      this.#onChange()
    })
  }
}
