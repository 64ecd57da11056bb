import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'

interface CpuProfile {
  nodes: Array<{ id: number, callFrame: { functionName: string, url: string, lineNumber: number } }>
  samples: number[]
  timeDeltas: number[]
}

// Waiting is not work.
const WAITING = new Set(['(idle)', '(program)', '(root)'])

/** The functions of every CPU profile in a folder that took most time themselves, with their share of the time at work. */
export async function hottest (folder: string, count: number): Promise<string[]> {
  const own = new Map<string, number>()
  let all = 0
  for (const file of (await readdir(folder)).filter(name => name.endsWith('.cpuprofile'))) {
    const { nodes, samples, timeDeltas }: CpuProfile = JSON.parse(await readFile(join(folder, file), 'utf8'))
    const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]))
    for (const [index, id] of samples.entries()) {
      const frame = frames.get(id)
      if (frame === undefined || WAITING.has(frame.functionName)) continue
      const place = frame.url.replace(/^.*\/(?=(?:lib|bench|node_modules)\/)/, '')
      const key = `${frame.functionName || '(anonymous)'}  ${place}${place === '' ? '' : `:${frame.lineNumber + 1}`}`
      const spent = timeDeltas[index] ?? 0
      own.set(key, (own.get(key) ?? 0) + spent)
      all += spent
    }
  }
  return [...own].sort(([, a], [, b]) => b - a).slice(0, count).map(([key, spent]) => `${(spent / all * 100).toFixed(1).padStart(5)} %  ${key}`)
}
