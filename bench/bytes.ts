import type { Exchange } from './exchanges.ts'

export interface Comparison {
  request: string
  /** What differs in the body; empty when nothing does. */
  body: string
  headers: string
}

/** Holds a server's answers against the floor's: figures compare only what writes the same bytes. */
export function compareExchanges (floor: Exchange[], other: Exchange[]): Comparison[] {
  return floor.map(({ request, body, headers }, index) => {
    const theirs = other[index]
    return {
      request,
      body: body === theirs?.body ? '' : `floor ${JSON.stringify(body)}\nother ${JSON.stringify(theirs?.body)}`,
      headers: differences(headers, theirs?.headers ?? [])
    }
  })
}

function differences (floor: string[], other: string[]): string {
  const only = (name: string, lines: string[], rest: string[]): string[] =>
    lines.filter(line => !rest.includes(line)).map(line => `only ${name}: ${line}`)
  return [...only('floor', floor, other), ...only('other', other, floor)].join('\n')
}
