// Each era over any way to send a request.
import { envelope, EventStream, mirrors, read } from '../client.ts'
import type { Ask } from './asker.ts'

const INFO = { name: 'behind', version: '1.0.0' }

/** One call, and what it is told on. */
interface Running {
  readonly stream: EventStream
  readonly id: number
}

interface Guest {
  /** Calls a tool with a progress token. */
  call (name: string): Promise<Running>
  /** Comes back for what follows an event; undefined where nobody can. */
  resume?: (lastEventId: string) => Promise<EventStream>
}

const callOf = (id: number, name: string) => ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name, _meta: { progressToken: id } } })
export const helloOf = (protocolVersion: string) => ({ jsonrpc: '2.0', id: 0, method: 'initialize', params: { protocolVersion, capabilities: {}, clientInfo: INFO } })

/** A client of each era, whose requests go where `ask` says. */
export const eras: Record<'HTTP+SSE' | '2025-11-25' | '2026-07-28', (ask: Ask) => Promise<Guest>> = {
  'HTTP+SSE': async ask => {
    const stream = new EventStream(await ask('GET', '/sse'))
    const { data: endpoint } = await stream.next()
    let ids = 0
    return {
      async call (name) {
        const id = ++ids
        const { status } = await read(await ask('POST', endpoint, {}, callOf(id, name)))
        if (status !== 202) throw new Error(`${status}`)
        return { stream, id }
      },
      resume: async lastEventId => new EventStream(await ask('GET', '/sse', { 'last-event-id': lastEventId }))
    }
  },
  '2025-11-25': async ask => {
    const hello = await read(await ask('POST', '/mcp', {}, helloOf('2025-11-25')))
    const session = { 'mcp-session-id': String(hello.headers['mcp-session-id']), 'mcp-protocol-version': '2025-11-25' }
    let ids = 0
    return {
      async call (name) {
        const id = ++ids
        return { stream: new EventStream(await ask('POST', '/mcp', session, callOf(id, name))), id }
      },
      resume: async lastEventId => new EventStream(await ask('GET', '/mcp', { ...session, 'last-event-id': lastEventId }))
    }
  },
  '2026-07-28': async ask => {
    let ids = 0
    return {
      async call (name) {
        const id = ++ids
        const call = callOf(id, name)
        const body = { ...call, params: { ...call.params, _meta: { ...envelope(), ...call.params._meta } } }
        return { stream: new EventStream(await ask('POST', '/mcp', mirrors(call), body)), id }
      }
    }
  }
}
