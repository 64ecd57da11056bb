// A real nginx of a test's own, on a free port of loopback.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import type { Test } from 'tap'
import { freePort } from './free-port.ts'

// Debian puts it where only root looks.
const PATH = `${process.env.PATH}:/usr/sbin`

/** What a test that needs it takes as its options. */
export const withNginx = { skip: hasNginx() ? false as const : 'nginx is not on this machine' }

function hasNginx (): boolean {
  try {
    execFileSync('nginx', ['-v'], { env: { PATH }, stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** `location`: directives of `location /`, beside `proxy_pass`. Gives its base URL. */
export async function startNginx (t: Test, target: string, location: string): Promise<string> {
  const port = await freePort()
  const folder = t.testdir({ logs: {} })
  writeFileSync(join(folder, 'nginx.conf'), `
daemon off; master_process off; pid nginx.pid; error_log stderr crit;
events {}
http {
  access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path a; uwsgi_temp_path b; scgi_temp_path c;
  server { listen 127.0.0.1:${port}; location / { proxy_pass ${target}; ${location} } }
}`)
  const child = spawn('nginx', ['-p', folder, '-c', join(folder, 'nginx.conf')], { env: { PATH }, stdio: ['ignore', 'ignore', 'inherit'] })
  const exited = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGKILL')
    await exited
  })
  const deadline = Date.now() + 20_000
  while (!await accepts(port)) {
    if (child.exitCode !== null || Date.now() > deadline) throw new Error(`nginx does not listen, exit code ${child.exitCode}`)
    await new Promise(resolve => setTimeout(resolve, 10))
  }
  return `http://127.0.0.1:${port}`
}

function accepts (port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1')
    socket.on('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}
