// Throws spoilt requests at servers in every configuration: `npm run fuzz -- --seed 7 --minutes 2`, or `--episodes 10` for each client.
// The report goes to stdout as JSON; the exit code says whether something was found.
import { parseArgs } from 'node:util'
import { Campaign } from '../test/fuzz/campaign.ts'

const { values } = parseArgs({ options: { seed: { type: 'string' }, minutes: { type: 'string' }, episodes: { type: 'string' } } })
const seed = Number(values.seed ?? Date.now() % 1_000_000)
const minutes = Number(values.minutes ?? 1)
const episodes = Number(values.episodes ?? Infinity)
if (![seed, minutes, episodes].every(number => number >= 0)) throw new Error('--seed, --minutes and --episodes are numbers')

const start = Date.now()
// By number when there is one, so that every run with a seed sends the same.
const goesOn = (half: 0 | 1, done: number): boolean =>
  values.episodes === undefined ? Date.now() - start < minutes * 30_000 * (half + 1) : done < episodes

console.error(`seed ${seed}`)
const report = await Campaign.run({ seed, goesOn })
console.log(JSON.stringify(report, null, 2))
process.exitCode = report.findings.length > 0 ? 1 : 0
