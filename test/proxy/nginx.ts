// A real nginx that runs the recipe of docs/proxies.md.
import type { Test } from 'tap'
import { freePort } from '../free-port.ts'
import type { Certificate } from './certificate.ts'
import { type Proxy, startDaemon } from './daemon.ts'
import { type Changes, recipe } from './recipe.ts'

const binary = process.env.MCP_TEST_NGINX ?? 'nginx'
const TEMPORARY = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']

export interface ProxyOptions {
  /** Where the server behind it listens. */
  readonly behind: string
  /** Without one it speaks plain http. */
  readonly certificate?: Certificate
  readonly changes?: Changes
  /** Any that is free, else. */
  readonly port?: number
}

export async function startNginx (t: Test, { behind, certificate, changes = {}, port: given }: ProxyOptions): Promise<Proxy> {
  const port = given ?? await freePort()
  const site = recipe('/etc/nginx/conf.d/mcp.conf', {
    ...changes,
    '127.0.0.1:3000': new URL(behind).host,
    ...(certificate === undefined
      ? {
          'listen 443 ssl http2;': `listen 127.0.0.1:${port};`,
          '  ssl_certificate /etc/ssl/mcp.example.pem;\n': '',
          '  ssl_certificate_key /etc/ssl/mcp.example.key;\n': ''
        }
      : {
          'listen 443 ssl http2;': `listen 127.0.0.1:${port} ssl http2;`,
          '/etc/ssl/mcp.example.pem': certificate.certFile,
          '/etc/ssl/mcp.example.key': certificate.keyFile
        })
  })
  const shutdown = recipe('/etc/nginx/nginx.conf, at the top', { '30s': '1s' })
  return startDaemon(t, {
    binary,
    port,
    args: folder => ['-e', 'stderr', '-p', folder, '-c', `${folder}/nginx.conf`],
    files: folder => ({
      'nginx.conf': `daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr notice;
${shutdown}
events {}
http {
  access_log off;
  ${TEMPORARY.map(name => `${name}_temp_path ${folder}/${name};`).join('\n  ')}
${site}
}
`
    }),
    ready: /start worker process \d+/g,
    reload: 'SIGHUP',
    gone: /worker process \d+ exited with code/g,
    stop: 'SIGTERM'
  }, certificate === undefined ? 'http' : 'https')
}
