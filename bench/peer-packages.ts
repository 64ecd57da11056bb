import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const FOLDER = fileURLToPath(new URL('peers/', import.meta.url))
const LOCK = `${FOLDER}package-lock.json`
const INSTALLED = `${FOLDER}node_modules/.package-lock.json`

/** Installs what the adapters in `peers` are made with, where it is missing or older than the lock file; the project itself needs none of it. */
export async function installPeers (): Promise<void> {
  if (existsSync(INSTALLED) && statSync(INSTALLED).mtimeMs >= statSync(LOCK).mtimeMs) return
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
  const [code] = await once(spawn('npm', args, { cwd: FOLDER, stdio: 'inherit' }), 'close')
  if (code !== 0) throw new Error(`npm ci in ${FOLDER} ended with ${code}`)
}
