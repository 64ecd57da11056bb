import { rmSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { dirname, join, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import ts from 'typescript'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
// Below node_modules nothing lints, packs or commits it, and the packages are still found.
const CACHE = join(ROOT, 'node_modules', '.cache')

const OPTIONS: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2023,
  module: ts.ModuleKind.ESNext,
  verbatimModuleSyntax: true,
  rewriteRelativeImportExtensions: true
}

/**
 * Compiles `lib`, as `npm run build` does, and `bench` to plain JavaScript: tsx wraps every function it meets in a call that names it, also those
 * made on the hot path, so a server run by tsx is slower than the package that people install. The answer is the folder of
 * the compiled suite, which is gone when the process ends.
 */
export async function compile (): Promise<string> {
  await mkdir(CACHE, { recursive: true })
  const built = await mkdtemp(join(CACHE, 'bench-'))
  process.once('exit', () => { rmSync(built, { recursive: true, force: true }) })
  await build({
    entryPoints: ['index', 'redis'].map(name => join(ROOT, 'lib', `${name}.ts`)),
    outdir: join(built, 'lib'),
    bundle: true,
    splitting: true,
    packages: 'external',
    format: 'esm',
    platform: 'node',
    target: 'node20.19'
  })
  for (const entry of await readdir(join(ROOT, 'bench'), { recursive: true })) {
    if (!entry.endsWith('.ts') || entry.split(sep).includes('node_modules')) continue
    const source = await readFile(join(ROOT, 'bench', entry), 'utf8')
    const target = join(built, 'bench', entry.replace(/\.ts$/, '.js'))
    await mkdir(dirname(target), { recursive: true })
    await writeFile(target, ts.transpileModule(source, { compilerOptions: OPTIONS, fileName: entry }).outputText)
  }
  // Where they are not installed the link leads nowhere, and nobody follows it.
  await symlink(join(ROOT, 'bench', 'peers', 'node_modules'), join(built, 'bench', 'peers', 'node_modules'), 'dir')
  const manifest: Record<string, unknown> = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'))
  await writeFile(join(built, 'package.json'), JSON.stringify({ ...manifest, exports: { '.': './lib/index.js', './redis': './lib/redis.js' } }))
  return join(built, 'bench')
}
