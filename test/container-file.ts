// Reads a Dockerfile, and the .dockerignore that goes with it, as far as ours go.

export interface Instruction {
  readonly name: string
  /** `--from=build` is `{ from: 'build' }`. */
  readonly flags: Readonly<Record<string, string>>
  readonly rest: string
  readonly line: number
}

/** The instructions in their order. */
export function instructionsOf (text: string): Instruction[] {
  return text.split('\n').flatMap((line, index) => {
    if (/^\s*(?:#|$)/.test(line)) return []
    if (line.endsWith('\\')) throw new Error(`line ${index + 1}: lines that go on are not read here`)
    const [, name = '', given = '', rest = ''] = /^([A-Z]+) ((?:--\S+ )*)(.*)$/.exec(line) ?? []
    const flags = Object.fromEntries(Array.from(given.matchAll(/--([\w-]+)=(\S+)/g), ([, key = '', value = '']) => [key, value]))
    return [{ name, flags, rest, line: index + 1 }]
  })
}

/** A command in its exec form. Throws on the shell form: a shell would get the signals. */
export function wordsOf (command: string): string[] {
  const words: unknown = JSON.parse(command)
  if (!Array.isArray(words)) throw new Error(`${command} is not the exec form`)
  return words.map(String)
}

/** Whether Docker would send a file: the last pattern that fits it, or a folder above it, decides. */
export function isInContext (ignore: string, path: string): boolean {
  let isIn = true
  for (const line of ignore.split('\n').map(line => line.trim()).filter(line => line !== '' && !line.startsWith('#'))) {
    const pattern = line.replace(/^!/, '')
    if (pattern !== '*' && pattern.includes('*')) throw new Error(`${pattern} is not read here`)
    if (pattern === '*' || path === pattern || path.startsWith(`${pattern}/`)) isIn = line.startsWith('!')
  }
  return isIn
}
