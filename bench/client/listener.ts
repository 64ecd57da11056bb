import { expect } from '../scenario.ts'
import { Connection, dechunk } from './connection.ts'
import { type Frame, parseFrames } from './frames.ts'
import { Session } from './post-session.ts'

// How many clients arrive at once.
const ABREAST = 32

/** Opens the GET streams of as many new sessions; what comes on each goes to what `onTextOf` gives for it. */
export async function openListeners (port: number, count: number, onTextOf: () => (text: string) => void): Promise<void> {
  let left = count
  await Promise.all(Array.from({ length: ABREAST }, async () => {
    const poster = await Connection.open(port)
    while (left-- > 0) {
      const session = await Session.open(poster, port)
      const listener = await Connection.open(port)
      const head = await listener.stream(session.get(), onTextOf())
      expect(head.startsWith('HTTP/1.1 200') && head.includes('text/event-stream'), `GET opened no stream:\n${head}`)
    }
    poster.close()
  }))
}

/** What came on one stream, and how often a mark came with it. */
export class Listener {
  heard = 0
  #text = ''
  #read = 0
  readonly #mark: string
  readonly #onMark: () => void

  constructor (mark: string, onMark: () => void) {
    this.#mark = mark
    this.#onMark = onMark
  }

  readonly onText = (text: string): void => {
    this.#text += text
    for (;;) {
      const at = this.#text.indexOf(this.#mark, this.#read)
      if (at < 0) return
      this.#read = at + this.#mark.length
      this.heard++
      this.#onMark()
    }
  }

  /** Those that hold a message. */
  frames (): Frame[] {
    return parseFrames(dechunk(this.#text)).filter(({ event }) => event === 'message')
  }
}
