/** What a client can take as an answer. */
export interface Accepted {
  readonly json: boolean
  readonly sse: boolean
}

const BOTH: Accepted = { json: true, sse: true }
// What official clients, curl and an `EventSource` send.
const COMMON = new Map<string, Accepted>([
  ['application/json, text/event-stream', BOTH],
  ['*/*', BOTH],
  ['application/json', { json: true, sse: false }],
  ['text/event-stream', { json: false, sse: true }]
])
const REFUSED = /;\s*q=0(?:\.0{1,3})?\s*(?:;|$)/i

/** Reads an Accept header. Without one, everything is taken (RFC 9110, section 12.5.1). */
export function readAccept (header: string | undefined): Accepted {
  return header === undefined ? BOTH : COMMON.get(header) ?? read(header)
}

function read (header: string): Accepted {
  const ranges = header.toLowerCase().split(',').filter(range => !REFUSED.test(range)).map(range => range.split(';')[0]?.trim())
  const takes = (type: string, subtype: string): boolean =>
    ranges.includes(`${type}/${subtype}`) || ranges.includes(`${type}/*`) || ranges.includes('*/*')
  return { json: takes('application', 'json'), sse: takes('text', 'event-stream') }
}
