// Makes what led to a finding small.
import { Chance } from './chance.ts'
import type { Finding } from './campaign.ts'
import { Episode } from './episode.ts'
import type { FuzzRequest } from './spoiled.ts'
import { startSubject } from './subjects.ts'
import type { AddressInfo } from 'node:net'

const MOST_TRIES = 150
const MOST_MS = 10_000

/** Whether requests lead to the finding on a server that saw nothing else. */
async function leadsTo (requests: readonly FuzzRequest[], { subject, what, seed }: Finding): Promise<boolean> {
  const app = await startSubject(subject, () => {})
  try {
    const { port } = app.server.address() as AddressInfo
    const episode = new Episode({ chance: new Chance(seed), era: 'http+sse', subject, port, foreign: [] })
    let isSame = false
    for (const request of requests) isSame = (await episode.send(request)).wrong === what || isSame
    return isSame
  } finally {
    await app.close()
  }
}

/** The same request with one thing less. */
function * smaller (request: FuzzRequest): Generator<FuzzRequest> {
  const { headers, body } = request
  if (request.shape !== 'whole') yield { ...request, shape: 'whole' }
  if (body !== undefined) yield { ...request, body: undefined }
  for (const header of headers) yield { ...request, headers: headers.filter(other => other !== header) }
  if (body === undefined) return
  for (let size = body.length >> 1; size > 0; size >>= 1) {
    for (let at = 0; at < body.length; at += size) yield { ...request, body: body.slice(0, at) + body.slice(at + size) }
  }
}

/** The fewest requests that still lead to it, or all when none do on a server of their own. */
export async function shrink (finding: Finding): Promise<readonly FuzzRequest[]> {
  let requests = finding.requests
  if (requests.length === 0 || !await leadsTo(requests, finding)) return requests
  let tries = 0
  const deadline = Date.now() + MOST_MS
  const isTired = (): boolean => tries >= MOST_TRIES || Date.now() > deadline
  const attempt = async (fewer: readonly FuzzRequest[]): Promise<boolean> => {
    tries++
    if (isTired() || !await leadsTo(fewer, finding)) return false
    requests = fewer
    return true
  }
  for (let index = requests.length - 2; index >= 0; index--) await attempt(requests.filter((_, other) => other !== index))
  for (let isSmaller = true; isSmaller;) {
    isSmaller = false
    const last = requests.at(-1) as FuzzRequest
    for (const request of smaller(last)) {
      isSmaller = await attempt([...requests.slice(0, -1), request])
      if (isSmaller || isTired()) break
    }
  }
  return requests
}
