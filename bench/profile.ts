import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

interface ProfileNode {
  id: number
  callFrame: { functionName: string, url: string, lineNumber: number }
  /** How often each line of the function was seen at work. */
  positionTicks?: Array<{ line: number, ticks: number }>
}

interface CpuProfile {
  nodes: ProfileNode[]
  samples: number[]
  timeDeltas: number[]
}

// Waiting is not work.
const WAITING = new Set(['(idle)', '(program)', '(root)'])

// Characters of a line that are shown.
const LINE = 110

async function profilesIn (folder: string): Promise<CpuProfile[]> {
  const files = (await readdir(folder)).filter(name => name.endsWith('.cpuprofile'))
  return await Promise.all(files.map(async file => JSON.parse(await readFile(join(folder, file), 'utf8'))))
}

function sharesOf (spent: Map<string, number>, all: number, count: number): string[] {
  return [...spent].sort(([, a], [, b]) => b - a).slice(0, count).map(([key, each]) => `${(each / all * 100).toFixed(1).padStart(5)} %  ${key}`)
}

function placeOf (url: string, line: number): string {
  return url === '' ? '' : `${url.replace(/^.*\/(?=(?:lib|bench|node_modules)\/)/, '')}:${line}`
}

/** The functions of every CPU profile in a folder that took most time themselves, with their share of the time at work. */
export async function hottest (folder: string, count: number): Promise<string[]> {
  const own = new Map<string, number>()
  let all = 0
  for (const { nodes, samples, timeDeltas } of await profilesIn(folder)) {
    const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]))
    for (const [index, id] of samples.entries()) {
      const frame = frames.get(id)
      if (frame === undefined || WAITING.has(frame.functionName)) continue
      const key = `${frame.functionName || '(anonymous)'}  ${placeOf(frame.url, frame.lineNumber + 1)}`
      const spent = timeDeltas[index] ?? 0
      own.set(key, (own.get(key) ?? 0) + spent)
      all += spent
    }
  }
  return sharesOf(own, all, count)
}

/** The same of the lines of the library: what a callback costs is told where it is called. */
export async function hottestLines (folder: string, count: number): Promise<string[]> {
  const own = new Map<string, number>()
  const sources = new Map<string, string[]>()
  let all = 0
  for (const { callFrame: { functionName, url }, positionTicks = [] } of (await profilesIn(folder)).flatMap(({ nodes }) => nodes)) {
    if (WAITING.has(functionName)) continue
    for (const { line, ticks } of positionTicks) {
      all += ticks
      if (!/\/bench-[^/]+\/lib\//.test(url)) continue
      if (!sources.has(url)) sources.set(url, (await readFile(fileURLToPath(url), 'utf8')).split('\n'))
      const key = `${placeOf(url, line)}  ${sources.get(url)?.[line - 1]?.trim().slice(0, LINE)}`
      own.set(key, (own.get(key) ?? 0) + ticks)
    }
  }
  return sharesOf(own, all, count)
}
