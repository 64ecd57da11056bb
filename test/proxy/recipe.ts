// The configurations of docs/proxies.md, as they stand there: what the page shows is what the tests run.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../child.ts'

const PAGE = readFileSync(join(root, 'docs/proxies.md'), 'utf8')
const RECIPES = new Map(Array.from(PAGE.matchAll(/^```(?:nginx|haproxy)\n# (.+)\n([^]*?)^```$/gm), ([, title = '', text = '']) => [title, text]))

/** What a test changes: each key stands in the text, and its value takes its place. */
export type Changes = Readonly<Record<string, string>>

/** The block whose first line names it. */
export function recipe (title: string, changes: Changes = {}): string {
  const text = RECIPES.get(title)
  if (text === undefined) throw new TypeError(`docs/proxies.md has no "${title}"`)
  return Object.entries(changes).reduce((changed, [from, to]) => {
    if (!changed.includes(from)) throw new TypeError(`the recipe has no "${from}"`)
    return changed.replaceAll(from, () => to)
  }, text)
}
