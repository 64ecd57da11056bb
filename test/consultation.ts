// The doctor's command line, run in this process, and what it said.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { McpOptions } from 'fastify-mcp-sse'
import type { Test } from 'tap'
import { run } from '../lib/command.ts'
import { createApp, listen } from './client.ts'

export interface Consultation {
  readonly code: number
  readonly out: string
  readonly err: string
}

interface Probe {
  readonly id: string
  readonly verdict: string
  readonly reason?: string
  readonly measures: Record<string, number>
  readonly notes: string[]
  readonly findings: { id: string, verdict: string, said: string, do: string }[]
}

export async function consult (
  argv: string[], { env = {}, signal = new AbortController().signal, hasColours = false, isWatched = false } = {}
): Promise<Consultation> {
  let out = ''
  let err = ''
  const code = await run(argv, { env, signal, hasColours, isWatched, out: text => { out += text }, err: text => { err += text } })
  return { code, out, err }
}

interface Examined {
  readonly code: number
  readonly probes: Probe[]
  /** The findings of each probe that has any. */
  readonly found: Record<string, string[]>
  readonly verdicts: Record<string, string>
}

/** Runs `doctor <url> --json`, quick unless `more` says otherwise. */
export async function examine (url: string, ...more: string[]): Promise<Examined> {
  const { code, out, err } = await consult(['doctor', url, '--json', '--idle', '0', '--timeout', '5', ...more])
  if (err !== '') throw new Error(err)
  const { probes }: { probes: Probe[] } = JSON.parse(out)
  return {
    code,
    probes,
    found: Object.fromEntries(probes.flatMap(({ id, findings }) => findings.length === 0 ? [] : [[id, findings.map(finding => finding.id)]])),
    verdicts: Object.fromEntries(probes.map(({ id, verdict }) => [id, verdict]))
  }
}

/** A server of ours with a tool that takes its time between chunks, and needs no arguments. */
export async function startPatient (t: Test, options: McpOptions = {}): Promise<{ app: FastifyInstance, url: string }> {
  const app = await createApp(t, options)
  app.mcp.tool('tick', { description: 'Four chunks.', annotations: { readOnlyHint: true } }, async function * () {
    for (let n = 0; n < 4; n++) {
      yield `${n} `
      await sleep(130)
    }
  })
  app.mcp.tool('break', {}, () => { throw new TypeError('broken') })
  app.mcp.tool('whole', {}, () => 'at once')
  return { app, url: await listen(app) }
}

export type Reply = { status?: number, headers?: Record<string, string>, json?: object, text?: string, hangs?: boolean }

/** A server that answers as it is told: what it does not know is 404. */
export async function startImpostor (t: Test, answer: (request: IncomingMessage, message: any) => Reply | undefined): Promise<string> {
  const server = createServer((request, response) => {
    take(request, response).catch(error => response.destroy(error))
  })
  const take = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    let body = ''
    for await (const part of request.setEncoding('utf8')) body += part
    const { status = 200, headers, json, text, hangs = false } = answer(request, body === '' ? undefined : JSON.parse(body)) ?? { status: 404 }
    response.writeHead(status, { ...(json !== undefined && { 'content-type': 'application/json' }), ...headers })
    response.flushHeaders()
    const all = json === undefined ? text : JSON.stringify(json)
    if (all !== undefined) response.write(all)
    if (!hangs) response.end()
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
