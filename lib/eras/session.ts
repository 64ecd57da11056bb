import type { FastifyRequest } from 'fastify'
import type { Principal } from '../http/auth.ts'
import type { Call } from '../protocol/call.ts'
import type { RequestId } from '../protocol/message.ts'
import type { SessionRecord } from '../store/store.ts'
import type { Channel } from './channel.ts'

// One is made for each call that is answered as a stream: what most of them do without is shared.
const NONE: readonly never[] = Object.freeze([])

/** What of a session is at work on this node: its calls in progress and its streams. Most sessions have none most of the time. */
export class Session {
  readonly record: SessionRecord
  #calls: Map<RequestId, Call> | undefined
  channels: readonly Channel[] = NONE
  /** The streams that the client opened for what belongs to no call, oldest first. */
  listeners: readonly Channel[] = NONE
  /** As it last came in: what it may see decides what it is told. */
  principal: Principal | null = null
  /** The request that opened its stream, over HTTP+SSE: what it asks for at other nodes runs here. */
  request: FastifyRequest | null = null
  /** Resources that other nodes have subscribed it to, until the record that says so is read: a list for each reading. */
  foretold: readonly (readonly string[])[] = NONE
  /** A newer stream at another node is told what belongs to no call. */
  isMuted = false

  constructor (record: SessionRecord) {
    this.record = record
  }

  get calls (): Map<RequestId, Call> {
    this.#calls ??= new Map()
    return this.#calls
  }

  /** One of its streams, by the name in its event ids. */
  channel (id: string): Channel | undefined {
    return this.channels.find(channel => channel.id === id)
  }

  get isIdle (): boolean {
    return this.channels.length === 0 && (this.#calls === undefined || this.#calls.size === 0)
  }

  /** Whether it could be told anything; whose it is, is known since it listens. */
  get hears (): boolean {
    return this.listeners.length > 0 && !this.isMuted
  }

  /** A message that belongs to no call goes to one stream: the newest that is connected, else the newest that may come back. */
  notify (key: string, json: string): void {
    const target = this.listeners.findLast(channel => channel.isConnected) ?? this.listeners.at(-1)
    target?.notify(key, json)
  }

  abortCalls (reason: Error): void {
    for (const call of [...this.#calls?.values() ?? []]) call.abort(reason)
  }

  end (reason: Error): void {
    this.abortCalls(reason)
    for (const channel of this.channels) channel.end()
  }
}
