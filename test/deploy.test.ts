// What an operator copies from deploy/: that it parses, that its numbers relate, and that nginx runs as it says.
import { execFileSync, type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect as connectHttp2 } from 'node:http2'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parse as parseToml } from 'smol-toml'
import t, { type Test } from 'tap'
import { parseAllDocuments, parse as parseYaml } from 'yaml'
import { optionsSchema } from '../lib/options.ts'
import { type Child, root, startChild } from './child.ts'
import { ACCEPT, Client, envelope, EventStream, mirrors, read as readReply, send, until, within } from './client.ts'
import { instructionsOf, isInContext, wordsOf } from './container-file.ts'
import { freePort } from './free-port.ts'
import { startRedis, withRedis } from './redis-server.ts'

const read = (path: string): string => readFileSync(join(root, path), 'utf8')
const defaults = optionsSchema.parse({})
const KEY = 'a secret of at least 32 bytes: here'
const seconds = (text: string): number => Number(/^(\d+)s$/.exec(text)?.[1])
// What the example adds to its drain before it gives up.
const [, added = ''] = /delay: env\.DRAIN_TIMEOUT \+ ([\d_]+)/.exec(read('examples/production.ts')) ?? []
const [, keptAlive = ''] = /keepAliveTimeout: ([\d_]+)/.exec(read('examples/production.ts')) ?? []
const number = (text: string): number => Number(text.replaceAll('_', ''))

const compose = parseYaml(read('deploy/compose.yaml'))
const kubernetes = new Map<string, any>(parseAllDocuments(read('deploy/kubernetes.yaml')).map(document => [document.toJS().kind, document.toJS()]))
const task = JSON.parse(read('deploy/ecs-task.json')).containerDefinitions[0]
const fly: any = parseToml(read('deploy/fly.toml'))
const railway: any = parseToml(read('deploy/railway.toml'))
const docker = instructionsOf(read('deploy/Dockerfile'))
const image = docker.slice(docker.findLastIndex(({ name }) => name === 'FROM'))
const restOf = (wanted: string): string => image.find(({ name }) => name === wanted)?.rest ?? ''
const pod = kubernetes.get('Deployment').spec.template.spec
const [container] = pod.containers

type Env = Record<string, string | undefined>
const toEnv = (entries: { name: string, value?: string }[]): Env => Object.fromEntries(entries.map(({ name, value }) => [name, value]))
// These are set by a command that stands in the file's first lines.
const secrets = (file: string): Env => Object.fromEntries(Array.from(read(file).matchAll(/^#.*/gm), ([line]) => line.match(/\b[A-Z]+_[A-Z]+\b/g) ?? [])
  .flat().map(name => [name, undefined]))

interface Place {
  readonly env: Env
  /** Seconds from SIGTERM to SIGKILL. */
  readonly grace: number
  /** Where it is asked. */
  readonly port: number
}

const places: Record<string, Place> = {
  Compose: {
    env: compose.services.app.environment,
    grace: seconds(compose.services.app.stop_grace_period),
    port: Number(/server app:(\d+);/.exec(read('deploy/nginx.conf'))?.[1])
  },
  Kubernetes: {
    env: toEnv(container.env),
    grace: pod.terminationGracePeriodSeconds - container.lifecycle.preStop.sleep.seconds,
    port: container.ports[0].containerPort
  },
  ECS: { env: toEnv([...task.environment, ...task.secrets]), grace: task.stopTimeout, port: task.portMappings[0].containerPort },
  Fly: { env: { ...secrets('deploy/fly.toml'), ...fly.env }, grace: seconds(fly.kill_timeout), port: fly.http_service.internal_port },
  // It sets PORT itself.
  Railway: { env: { ...secrets('deploy/railway.toml'), DRAIN_TIMEOUT: String(defaults.drain.timeout) }, grace: railway.deploy.drainingSeconds, port: 3_000 }
}

t.test('every place gives a node more time than its shutdown takes, and asks the port that it listens on', async t => {
  t.ok(number(added) >= 3_000, 'what comes after a drain is a second for the streams, and close')
  for (const [name, { env, grace, port }] of Object.entries(places)) {
    t.ok(grace * 1_000 > Number(env.DRAIN_TIMEOUT) + number(added), `${name}: ${grace} s`)
    t.equal(port, Number(/PORT=(\d+)/.exec(restOf('ENV'))?.[1]), `${name}: port`)
    for (const wanted of ['MCP_TOKENS', 'MCP_KEYS', 'REDIS_URL', 'TRUST_PROXY']) t.ok(wanted in env, `${name}: ${wanted}`)
    const known = read('examples/production.ts')
    for (const given of Object.keys(env)) t.match(known, new RegExp(`^  ${given}: `, 'm'), `${name}: the example reads ${given}`)
  }
})

t.test('probes ask what the example serves: liveness never asks for Redis, readiness does', async t => {
  t.match(container.startupProbe.httpGet, { path: '/health', port: 'http' })
  t.match(container.livenessProbe.httpGet, { path: '/health', port: 'http' })
  t.match(container.readinessProbe.httpGet, { path: '/ready', port: 'http' })
  t.match(JSON.stringify(task.healthCheck.command), '/health')
  t.match(wordsOf(restOf('HEALTHCHECK').replace('CMD ', '')).join(' '), '/health')
  t.match(compose.services.app.healthcheck.test.join(' '), '/ready')
  t.equal(fly.http_service.checks[0].path, '/ready')
  t.equal(railway.deploy.healthcheckPath, '/ready')
  const { annotations } = kubernetes.get('Deployment').spec.template.metadata
  t.strictSame([annotations['prometheus.io/port'], annotations['prometheus.io/path']], ['3000', '/metrics'])
})

t.test('nothing runs as root or takes more than it needs', async t => {
  t.match(restOf('USER'), /^[1-9]\d*:[1-9]\d*$/)
  const [uid, gid] = restOf('USER').split(':').map(Number)
  t.match(pod.securityContext, { runAsNonRoot: true, runAsUser: uid, runAsGroup: gid })
  t.match(container.securityContext, { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } })
  t.match(task, { user: restOf('USER'), readonlyRootFilesystem: true })
  t.match(compose.services.app, { read_only: true, cap_drop: ['ALL'] })
  for (const path of ['.env', '.git/config', 'deploy/tls/tls.key', 'node_modules/a/index.js', 'examples/nodes.ts', 'lib.txt']) {
    t.notOk(isInContext(read('.dockerignore'), path), `${path} stays out of the image`)
  }
  t.throws(() => wordsOf('node server.js'), 'the shell form is refused')
  t.strictSame(wordsOf(restOf('CMD')), ['node', 'server/production.js'])
})

t.test('what depends on another thing finds it', async t => {
  const { app, redis, nginx } = compose.services
  t.equal(app.deploy.replicas, 2)
  t.equal(app.environment.REDIS_URL, 'redis://redis:6379')
  t.equal(app.depends_on.redis.condition, 'service_healthy')
  t.equal(nginx.depends_on.app.condition, 'service_healthy')
  t.ok(redis.healthcheck && redis.command.includes('noeviction'))
  t.match(nginx.volumes, ['./nginx.conf:/etc/nginx/nginx.conf:ro', './tls:/etc/nginx/tls:ro'])
  const labels = { app: 'mcp' }
  const { spec } = kubernetes.get('Deployment')
  t.strictSame([spec.selector.matchLabels, spec.template.metadata.labels], [labels, labels])
  t.strictSame([kubernetes.get('Service').spec.selector, kubernetes.get('PodDisruptionBudget').spec.selector.matchLabels], [labels, labels])
  t.equal(kubernetes.get('Service').spec.sessionAffinity, undefined)
  const autoscaler = kubernetes.get('HorizontalPodAutoscaler').spec
  t.match(autoscaler, { scaleTargetRef: { kind: 'Deployment', name: 'mcp' }, minReplicas: 2 })
  const ofStreams = autoscaler.metrics.find(({ type }: { type: string }) => type === 'Pods').pods
  t.equal(ofStreams.metric.name, 'mcp_server_streams')
  t.ok(Number(ofStreams.target.averageValue) < defaults.streams.max, 'it scales before pods refuse')
  t.ok(fly.http_service.concurrency.hard_limit < defaults.streams.max)
  const paths = kubernetes.get('Ingress').spec.rules[0].http.paths
  t.strictSame(paths.map(({ path }: { path: string }) => path), Object.values(defaults.paths))
  for (const { backend } of paths) t.strictSame(backend, { service: { name: 'mcp', port: { name: 'http' } } })
})

t.test('proxies wait longer than streams are silent, and let go of connections before a node does', async t => {
  const nginx = read('deploy/nginx.conf')
  const times = ['proxy_read_timeout', 'send_timeout'].map(name => seconds(new RegExp(` ${name} (.+);`).exec(nginx)?.[1] ?? ''))
  const { annotations } = kubernetes.get('Ingress').metadata
  times.push(...['read', 'send'].map(way => Number(annotations[`nginx.ingress.kubernetes.io/proxy-${way}-timeout`])))
  for (const time of times) t.ok(time * 1_000 > 2 * defaults.streams.keepAlive, `${time} s`)
  const idle = seconds(/ keepalive_timeout (.+);/.exec(nginx)?.[1] ?? '')
  t.ok(idle * 1_000 < number(keptAlive))
  const alb = (name: string): number => Number(new RegExp(`^\\| ${name} \\| (\\d+) s \\|`, 'm').exec(read('docs/deploying.md'))?.[1])
  t.ok(alb('idle time-out') * 1_000 > 2 * defaults.streams.keepAlive)
  t.ok(number(keptAlive) > alb('idle time-out') * 1_000, 'an ALB closes a connection before a node does')
  t.ok(alb('deregistration delay') * 1_000 > Number(places.ECS?.env.DRAIN_TIMEOUT))
  t.match(nginx, /location = \/sse \{[^}]+error_page 502 503 504 = @away;/, 'an EventSource comes back')
  const body = Number(/client_max_body_size (\d+)m;/.exec(nginx)?.[1])
  t.equal(body * 1_048_576, defaults.limits.body)
  t.equal(annotations['nginx.ingress.kubernetes.io/proxy-body-size'], `${body}m`)
})

t.test('the example refuses to start without what it needs, and names no secret', async t => {
  const cases: [env: Record<string, string>, said: RegExp][] = [
    [{}, /MCP_TOKENS/],
    [{ MCP_TOKENS: 'a-bare-secret' }, /MCP_TOKENS/],
    [{ MCP_TOKENS: 'ci:secret', REDIS_URL: 'redis://127.0.0.1:1' }, /MCP_KEYS/],
    [{ MCP_TOKENS: 'ci:secret', MCP_KEYS: 'a-short-secret' }, /MCP_KEYS/]
  ]
  for (const [env, said] of cases) {
    const error: unknown = await startChild(t, 'examples/production.ts', { env }).then(() => undefined, error => error)
    t.match(String(error), said, said.source)
    t.match(String(error), 'exited with 1')
    t.notMatch(String(error), 'secret')
  }
})

t.test('the example answers probes and metrics, and believes the proxies that it is told of', async t => {
  const child = await startChild(t, 'examples/production.ts', { env: { MCP_TOKENS: 'ci:one,ada:two', TRUST_PROXY: 'loopback', METRICS_ADDRESSES: '127.0.0.0/8', MCP_HOSTS: 'mcp.example' } })
  for (const path of ['/health', '/ready']) {
    const { status, headers } = await send(child.url, path)
    t.equal(status, 200, path)
    t.equal(headers['keep-alive'], undefined)
  }
  const kept = await fetch(`${child.url}/health`)
  t.equal(kept.headers.get('keep-alive'), `timeout=${number(keptAlive) / 1_000}`)
  const headers = { authorization: 'Bearer two', host: 'mcp.example', 'x-forwarded-for': '203.0.113.9' }
  const client = await Client.connect(child.url, { headers })
  const stream = await client.get()
  t.match((await send(child.url, '/metrics')).text, /^mcp_server_streams\{server="production"\} 1$/m)
  await stream.close()
  t.equal((await client.post({ jsonrpc: '2.0', id: 1, method: 'ping' }, { host: 'other.example' })).status, 403)
  t.match(child.output(), /"remoteAddress":"203\.0\.113\.9"/, 'JSON, with the address of the client')
})

const nginx = process.env.MCP_TEST_NGINX ?? 'nginx'
const withNginx = { skip: process.env.MCP_TEST_NGINX === '' ? 'nginx is not on this machine' : withRedis.skip }

t.test('nginx.conf passes streams of several nodes over TLS, HTTP/1.1 and HTTP/2, and keeps probes inside', withNginx, async t => {
  const redis = await startRedis(t)
  const env = { MCP_TOKENS: 'ci:secret', MCP_KEYS: KEY, REDIS_URL: `redis://127.0.0.1:${redis.port}`, TRUST_PROXY: 'loopback', MCP_HOSTS: 'localhost' }
  const nodes = [await startChild(t, 'examples/production.ts', { env }), await startChild(t, 'examples/production.ts', { env })]
  const { tls, plain, ca, log } = await startNginx(t, nodes)

  await t.test('each number of a call arrives while it counts', async t => {
    for (const ask of [overHttp1(tls, ca), overHttp2(t, tls, ca)]) {
      const body = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'count', arguments: { to: 4, pause: 400 }, _meta: { ...envelope(), progressToken: 'a' } } }
      const stream = new EventStream(await ask('POST', '/mcp', { ...mirrors(body), authorization: 'Bearer secret' }, body))
      t.match(await stream.message(), { params: { message: '1 ' } })
      t.notOk(stream.messages.some(({ id }) => id === 1), 'the result is still to come')
      await within(stream.closed, 'the end')
      t.match(stream.messages.at(-1), { result: { content: [{ text: '1 2 3 4 ' }] } })
    }
  })

  await t.test('a session goes on at the other node', async t => {
    const ask = overHttp1(tls, ca)
    const headers = { authorization: 'Bearer secret', accept: ACCEPT }
    const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'raw', version: '1.0.0' } }
    const opened = await readReply(await ask('POST', '/mcp', headers, { jsonrpc: '2.0', id: 1, method: 'initialize', params }))
    const session = { ...headers, 'mcp-session-id': String(opened.headers['mcp-session-id']) }
    for (let id = 2; id < 8; id++) {
      const { status } = await readReply(await ask('POST', '/mcp', session, { jsonrpc: '2.0', id, method: 'ping' }))
      t.equal(status, 200)
    }
    const asked = (): string[] => log().split('\n').filter(line => line !== '').map(line => JSON.parse(line).node)
    await until(() => nodes.every(({ url }) => asked().includes(new URL(url).host)), 'both nodes in the log')
    await nodes[0]?.stop('SIGTERM')
    t.equal(nodes[0]?.process.exitCode, 0)
    for (let id = 8; id < 12; id++) {
      const { status } = await readReply(await ask('POST', '/mcp', session, { jsonrpc: '2.0', id, method: 'ping' }))
      t.equal(status, 200, 'the node that is left serves it')
    }
  })

  await t.test('what is not for clients is not there', async t => {
    const ask = overHttp1(tls, ca)
    for (const path of ['/health', '/ready', '/metrics', '/', '/mcpx']) t.equal((await readReply(await ask('GET', path))).status, 404, path)
    t.equal((await readReply(await ask('GET', '/sse?ticket=a-secret-ticket'))).status, 401)
    t.equal((await send(plain, '/mcp')).status, 426)
    await until(() => log().includes('"path":"/sse"'), 'the log')
    t.notMatch(log(), 'a-secret-ticket')
    t.match(nodes[1]?.output(), /"remoteAddress":"127\.0\.0\.1"/)
  })
})

interface Proxy {
  /** https, and http. */
  readonly tls: string
  readonly plain: string
  readonly ca: Buffer
  log (): string
}

/** deploy/nginx.conf with the names, ports and paths of this machine. */
async function startNginx (t: Test, nodes: Child[]): Promise<Proxy> {
  const folder = mkdtempSync(join(tmpdir(), 'mcp-nginx-'))
  // The workers of a master that is root are not.
  chmodSync(folder, 0o755)
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  mkdirSync(join(folder, 'tls'))
  execFileSync('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1', '-subj', '/CN=localhost',
    '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', join(folder, 'tls/tls.key'), '-out', join(folder, 'tls/tls.crt')
  ], { stdio: 'ignore' })
  const [plain, tls] = [await freePort(), await freePort()]
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(name => `${name}_temp_path ${join(folder, name)};`).join(' ')
  const substitutions: [what: string, by: string][] = [
    ['http {\n', `http {\n  ${temporary}\n`],
    ['server app:3000;', nodes.map(({ url }) => `server ${new URL(url).host};`).join(' ')],
    ['listen 80;', `listen 127.0.0.1:${plain};`],
    ['listen 443 ', `listen 127.0.0.1:${tls} `],
    ['/etc/nginx/tls/tls.crt', join(folder, 'tls/tls.crt')],
    ['/etc/nginx/tls/tls.key', join(folder, 'tls/tls.key')],
    ['access_log /dev/stdout json', `access_log ${join(folder, 'access.log')} json`]
  ]
  const text = substitutions.reduce((text, [what, by]) => {
    t.equal(text.split(what).length, 2, `${what.trim()} is there once`)
    return text.replace(what, by)
  }, read('deploy/nginx.conf'))
  const file = join(folder, 'nginx.conf')
  writeFileSync(file, text)

  const args = ['-p', folder, '-c', file, '-e', join(folder, 'error.log'), '-g', `daemon off; pid ${join(folder, 'nginx.pid')};`]
  // Debian keeps it where a user's PATH does not look.
  const options: SpawnOptions = { env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` }, stdio: ['ignore', 'ignore', 'pipe'] }
  const tested = spawn(nginx, ['-t', ...args], options)
  let said = ''
  tested.stderr?.setEncoding('utf8').on('data', text => { said += text })
  const [code] = await once(tested, 'close')
  t.equal(code, 0, `nginx -t: ${said}`)
  t.notMatch(said, /\[(?:warn|error|emerg)\]/)

  const server = spawn(nginx, args, options)
  const exited = once(server, 'exit')
  t.teardown(async () => {
    server.kill('SIGTERM')
    await exited
  })
  const url = `http://127.0.0.1:${plain}`
  for (let isUp = false; !isUp;) {
    t.equal(server.exitCode, null, 'nginx runs')
    isUp = await fetch(url).then(() => true, () => false)
    if (!isUp) await new Promise(resolve => setTimeout(resolve, 10))
  }
  return { tls: `https://localhost:${tls}`, plain: url, ca: readFileSync(join(folder, 'tls/tls.crt')), log: () => readFileSync(join(folder, 'access.log'), 'utf8') }
}

type Ask = (method: string, path: string, headers?: Record<string, string>, body?: object) => ReturnType<typeof opened>
const opened = async (status: number, headers: object, body: NodeJS.ReadableStream) => ({ status, headers: { ...headers }, body: body as import('node:stream').Readable })

function overHttp1 (url: string, ca: Buffer): Ask {
  return async (method, path, headers, body) => {
    const outgoing = request(new URL(path, url), { method, ca, agent: false, headers: { 'content-type': 'application/json', accept: ACCEPT, ...headers } })
    outgoing.on('error', () => {}).end(body === undefined ? undefined : JSON.stringify(body))
    const [response] = await within(once(outgoing, 'response'), `${method} ${path}`)
    return opened(response.statusCode, response.headers, response)
  }
}

function overHttp2 (t: Test, url: string, ca: Buffer): Ask {
  const session = connectHttp2(url, { ca })
  t.teardown(() => session.destroy())
  return async (method, path, headers, body) => {
    const stream = session.request({ ':method': method, ':path': path, 'content-type': 'application/json', accept: ACCEPT, ...headers })
    stream.on('error', () => {}).end(body === undefined ? undefined : JSON.stringify(body))
    const [head] = await within(once(stream, 'response'), `${method} ${path}`)
    t.equal(session.alpnProtocol, 'h2')
    return opened(head[':status'], head, stream)
  }
}
