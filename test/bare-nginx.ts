// A real nginx with nothing in its configuration but what a test says.
import type { Test } from 'tap'
import { freePort } from './free-port.ts'
import { startDaemon } from './proxy/daemon.ts'

const binary = process.env.MCP_TEST_NGINX ?? 'nginx'

/** What a test that needs it takes as its options. */
export const withNginx = { skip: binary === '' ? 'nginx is not on this machine' : false as const }

/** `location`: directives of `location /`, beside `proxy_pass`. Gives its base URL. */
export async function startNginx (t: Test, target: string, location: string): Promise<string> {
  const port = await freePort()
  const { url } = await startDaemon(t, {
    binary,
    port,
    args: folder => ['-e', 'stderr', '-p', folder, '-c', `${folder}/nginx.conf`],
    files: folder => ({
      'nginx.conf': `daemon off; worker_processes 1; pid nginx.pid; error_log stderr notice;
events {}
http {
  access_log off;
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(name => `${name}_temp_path ${folder}/${name};`).join(' ')}
  server { listen 127.0.0.1:${port}; location / { proxy_pass ${target}; ${location} } }
}`
    }),
    ready: /start worker process \d+/g,
    reload: 'SIGHUP',
    gone: /worker process \d+ exited with code/g,
    stop: 'SIGTERM'
  }, 'http')
  return url
}
