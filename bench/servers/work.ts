/** Milliseconds of silence after which a stream gets a comment. */
export const KEEP_ALIVE_MS = 2_000

let count = 0

/** Chunks that the tools of this process have yielded so far. */
export function produced (): number {
  return count
}

/** The tool whose work is the same in every server: it never waits, so what is measured is the hosting. */
export async function * produce ({ chunks, bytes }: { chunks: number, bytes: number }): AsyncGenerator<string> {
  const text = 'x'.repeat(bytes)
  for (let made = 0; made < chunks; made++) {
    count++
    yield text
  }
}
