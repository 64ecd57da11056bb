// A real haproxy that runs the recipe of docs/proxies.md.
import type { Test } from 'tap'
import { freePort } from '../free-port.ts'
import { type Proxy, startDaemon } from './daemon.ts'
import type { ProxyOptions } from './nginx.ts'
import { recipe } from './recipe.ts'

const binary = process.env.MCP_TEST_HAPROXY ?? 'haproxy'

export async function startHaproxy (t: Test, { behind, certificate, changes = {}, port: given }: ProxyOptions): Promise<Proxy> {
  const port = given ?? await freePort()
  const bind = 'bind :443 ssl crt /etc/ssl/mcp.example.pem alpn h2,http/1.1'
  const text = recipe('/etc/haproxy/haproxy.cfg', {
    ...changes,
    'hard-stop-after 30s': 'hard-stop-after 1s',
    '127.0.0.1:3000': new URL(behind).host,
    [bind]: certificate === undefined ? `bind 127.0.0.1:${port}` : `bind 127.0.0.1:${port} ssl crt ${certificate.bothFile} alpn h2,http/1.1`
  })
  return startDaemon(t, {
    binary,
    port,
    args: folder => ['-W', '-db', '-f', `${folder}/haproxy.cfg`],
    files: () => ({ 'haproxy.cfg': text }),
    ready: /Loading success/g,
    reload: 'SIGUSR2',
    gone: /Former worker .* exited with code/g,
    stop: 'SIGTERM'
  }, certificate === undefined ? 'http' : 'https')
}
