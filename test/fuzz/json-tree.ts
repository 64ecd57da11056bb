// JSON as a tree that can say what JSON.stringify cannot: a key twice, `__proto__`, 1e999, a lone surrogate, no JSON at all.
import type { Chance } from './chance.ts'
import { HOSTILE_TEXTS, KEYS, LIMITS, LIVE, LENGTHS } from './hostile.ts'

type Leaf = { text: string }
type List = { items: Tree[] }
type Fields = { fields: [key: string, value: Tree][] }
type Tree = Leaf | List | Fields

function treeOf (value: unknown): Tree {
  if (Array.isArray(value)) return { items: value.map(treeOf) }
  if (typeof value !== 'object' || value === null) return { text: JSON.stringify(value) ?? 'null' }
  return { fields: Object.entries(value).filter(([, field]) => field !== undefined).map(([key, field]) => [key, treeOf(field)]) }
}

function textOf (tree: Tree): string {
  if ('text' in tree) return tree.text
  if ('items' in tree) return `[${tree.items.map(textOf).join(',')}]`
  return `{${tree.fields.map(([key, value]) => `${JSON.stringify(key)}:${textOf(value)}`).join(',')}}`
}

/** A place in a tree that can be written. */
interface Spot {
  get (): Tree
  set (tree: Tree): void
  drop (): void
  twice (): void
  rename (key: string): void
}

function spotsOf (tree: Tree): Spot[] {
  if ('text' in tree) return []
  if ('items' in tree) {
    const { items } = tree
    return items.flatMap((item, index) => [{
      get: () => items[index] ?? item,
      set: (next: Tree) => { items[index] = next },
      drop: () => { items.splice(index, 1) },
      twice: () => { items.push(item) },
      rename: () => { items.reverse() }
    }, ...spotsOf(item)])
  }
  const { fields } = tree
  return fields.flatMap(field => [{
    get: () => field[1],
    set: (next: Tree) => { field[1] = next },
    drop: () => { fields.splice(fields.indexOf(field), 1) },
    twice: () => { fields.push([field[0], { text: '7' }]) },
    rename: (key: string) => { field[0] = key }
  }, ...spotsOf(field[1])])
}

// A text, since what walks a tree would run out of stack.
const nested = (pairs: number, tree: Tree): Tree => ({ text: '[{"x":'.repeat(pairs) + textOf(tree) + '}]'.repeat(pairs) })

const hostile = (chance: Chance): Tree => ({ text: chance.pick(HOSTILE_TEXTS) })
const long = (chance: Chance): Tree => ({ text: JSON.stringify(chance.pick(['x', 'é', '\u{1F600}', '\\', '"']).repeat(chance.pick(LENGTHS))) })
const live = (chance: Chance): Tree => ({ text: JSON.stringify(chance.pick(LIVE)) })

const COUNTS = [0, 1, LIMITS.batch, LIMITS.batch + 1, LIMITS.values, LIMITS.values + 1]

type Mutation = (spot: Spot, chance: Chance, spots: readonly Spot[]) => void

const mutations: readonly Mutation[] = [
  spot => spot.drop(),
  spot => spot.twice(),
  (spot, chance) => spot.set(hostile(chance)),
  (spot, chance) => spot.set(hostile(chance)),
  (spot, chance) => spot.set(long(chance)),
  (spot, chance) => spot.set(live(chance)),
  (spot, chance) => spot.rename(chance.pick(KEYS)),
  (spot, chance) => spot.set(nested(chance.pick([1, LIMITS.depth / 2 - 2, LIMITS.depth / 2 - 1, LIMITS.depth / 2, 2_500]), spot.get())),
  (spot, chance, spots) => spot.set(structuredClone(chance.pick(spots).get())),
  (spot, chance) => spot.set({ items: Array.from({ length: chance.pick(COUNTS) }, () => hostile(chance)) }),
  (spot, chance) => spot.set({ fields: [[chance.pick(KEYS), spot.get()], [chance.pick(KEYS), hostile(chance)]] })
]

/** Spoils a message in a few places. What cannot be read any more stays as it is: a text is a text. */
export function mutate (message: unknown, chance: Chance): string {
  const root: List = { items: [treeOf(message)] }
  for (let left = 1 + chance.below(3); left > 0; left--) {
    const spots = spotsOf(root)
    if (spots.length > 0) chance.pick(mutations)(chance.pick(spots), chance, spots)
  }
  return root.items.map(textOf).join(chance.pick(['', '\n', ',']))
}

/** Spoils a text as bytes get spoilt. */
export function garble (text: string, chance: Chance): string {
  const at = chance.below(text.length + 1)
  return chance.pick([
    text.slice(0, at), text.slice(at), `\uFEFF${text}`, `${text}\0`, `${text.slice(0, at)}\uD800${text.slice(at)}`, text + text, `${text}//`, ' \t\n', '', 'null', '"', '[',
    `${text.slice(0, at)}${chance.pick(['\0', '\n', ',', '}', ']', '"', '\\', '\x7F', 'NaN'])}${text.slice(at)}`
  ])
}
