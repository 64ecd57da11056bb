// The official clients, as far as they meet a cluster, in one shape.
import { Client as Client2, SSEClientTransport as Sse2, StreamableHTTPClientTransport as Http2, type VersionNegotiationMode } from '@modelcontextprotocol/client'
import { Client as Client1 } from '@modelcontextprotocol/sdk/client/index.js'
import { SSEClientTransport as Sse1 } from '@modelcontextprotocol/sdk/client/sse.js'
import { StreamableHTTPClientTransport as Http1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import * as sdk from '@modelcontextprotocol/sdk/types.js'
import type { Test } from 'tap'
import { within } from '../client.ts'

interface GuestOptions {
  onprogress?: (progress: { message?: string }) => void
  signal?: AbortSignal
}

interface Guest {
  /** What it was told beside answers, in order. */
  readonly told: string[]
  call (name: string, args?: Record<string, unknown>, options?: GuestOptions): Promise<unknown>
  /** Listens to changes of the tools and of one resource, and, where the era has that, to all that is logged. */
  watch (uri: string): Promise<unknown>
  /** Where an HTTP+SSE client posts to. */
  endpoint (): string | undefined
  /** Ends the session where the client can say so. */
  leave (): Promise<void>
}

const INFO = { name: 'guest', version: '1.0.0' }
const FAST = { initialReconnectionDelay: 10, maxReconnectionDelay: 50, reconnectionDelayGrowFactor: 1.5, maxRetries: 50 }
const CAPABILITIES = { elicitation: { form: {} }, roots: {} }
const elicit = () => ({ action: 'accept' as const, content: { size: 'L' } })
const roots = () => ({ roots: [{ uri: 'file:///work', name: 'work' }] })

const endpointOf = (transport: object): string | undefined => {
  // Neither client says when it has come back, but for this private field.
  const endpoint: unknown = Reflect.get(transport, '_endpoint')
  return endpoint instanceof URL ? endpoint.href : undefined
}

/** An answer of text alone as that text. */
const textOf = (result: object): unknown => Object(Object(Reflect.get(result, 'content'))[0]).text ?? result

async function guest1 (t: Test, transport: Http1 | Sse1): Promise<Guest> {
  const client = new Client1(INFO, { capabilities: CAPABILITIES })
  const told: string[] = []
  client.setRequestHandler(sdk.ElicitRequestSchema, elicit)
  client.setRequestHandler(sdk.ListRootsRequestSchema, roots)
  client.setNotificationHandler(sdk.ToolListChangedNotificationSchema, () => { told.push('tools') })
  client.setNotificationHandler(sdk.ResourceUpdatedNotificationSchema, ({ params }) => { told.push(params.uri) })
  client.setNotificationHandler(sdk.LoggingMessageNotificationSchema, ({ params }) => { told.push(`log ${String(params.data)}`) })
  await within(client.connect(transport), 'a guest to connect')
  t.after(() => client.close())
  return {
    told,
    call: async (name, args = {}, options) => textOf(await client.callTool({ name, arguments: args }, undefined, options)),
    watch: async uri => Promise.all([client.subscribeResource({ uri }), client.setLoggingLevel('debug')]),
    endpoint: () => endpointOf(transport),
    async leave () {
      if (transport instanceof Http1) await transport.terminateSession()
      await client.close()
    }
  }
}

async function guest2 (t: Test, transport: Http2 | Sse2, mode: VersionNegotiationMode = 'legacy'): Promise<Guest> {
  const client = new Client2(INFO, { capabilities: CAPABILITIES, versionNegotiation: { mode } })
  const told: string[] = []
  client.setRequestHandler('elicitation/create', elicit)
  client.setRequestHandler('roots/list', roots)
  client.setNotificationHandler('notifications/tools/list_changed', () => { told.push('tools') })
  client.setNotificationHandler('notifications/resources/updated', ({ params }) => { told.push(params.uri) })
  client.setNotificationHandler('notifications/message', ({ params }) => { told.push(`log ${String(params.data)}`) })
  await within(client.connect(transport), 'a guest to connect')
  t.after(() => client.close())
  const isStandalone = mode !== 'legacy'
  return {
    told,
    call: async (name, args = {}, options) => textOf(await client.callTool({ name, arguments: args }, options)),
    watch: async uri => isStandalone
      ? client.listen({ toolsListChanged: true, resourceSubscriptions: [uri] })
      : Promise.all([client.subscribeResource({ uri }), client.setLoggingLevel('debug')]),
    endpoint: () => endpointOf(transport),
    async leave () {
      if (transport instanceof Http2 && !isStandalone) await transport.terminateSession()
      await client.close()
    }
  }
}

type Welcome = (t: Test, url: string) => Promise<Guest>

export const OVER_HTTP: Record<string, Welcome> = {
  'client 2.4 over Streamable HTTP': (t, url) => guest2(t, new Http2(new URL(`${url}/mcp`), { reconnectionOptions: FAST })),
  'sdk 1.32 over Streamable HTTP': (t, url) => guest1(t, new Http1(new URL(`${url}/mcp`), { reconnectionOptions: FAST }))
}

export const OVER_SSE: Record<string, Welcome> = {
  'client 2.4 over HTTP+SSE': (t, url) => guest2(t, new Sse2(new URL(`${url}/sse`))),
  'sdk 1.32 over HTTP+SSE': (t, url) => guest1(t, new Sse1(new URL(`${url}/sse`)))
}

export const STANDALONE: Record<string, Welcome> = {
  'client 2.4 pinned to 2026-07-28': (t, url) => guest2(t, new Http2(new URL(`${url}/mcp`)), { pin: '2026-07-28' })
}
