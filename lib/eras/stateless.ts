import { errorCodes, ToolError } from '../errors.ts'
import { Call, type Caller } from '../protocol/call.ts'
import { dispatch, type Desk } from '../protocol/dispatch.ts'
import type { Inquiry } from '../protocol/inquiry.ts'
import { bindingOf, Rounds } from '../protocol/rounds.ts'
import { ownerOf } from '../protocol/owner.ts'
import type { Seal } from '../protocol/seal.ts'
import type { Request } from '../protocol/message.ts'
import type { Awaitable } from '../store/store.ts'
import { checkMirrors } from './agreement.ts'
import { DirectLine, wholeDirect } from './response-line.ts'
import type { Notice, Standalone } from './classify.ts'
import { checkCalls, type Exchange, type Facts, mayStream, type Served } from './handshake.ts'
import type { Listeners } from './listen.ts'
import { STATELESS_REVISIONS } from './revisions.ts'
import { capabilitiesOf, type Declared } from './capabilities.ts'

export interface StatelessOptions {
  readonly served: Served
  readonly desk: Desk
  readonly listeners: Listeners
  readonly seal: Seal
  /** Milliseconds for what a handler left unfinished when it asked. */
  readonly timeout: number
  /** Tells the states of this server from those of another that has the same keys. */
  readonly audience: string
}

const MAY_ASK = new Set(['tools/call', 'prompts/get', 'resources/read'])
const ASKABLE = ['elicitation', 'sampling', 'roots']

/** Streamable HTTP of 2026-07-28: every request brings what it needs, and a lost connection ends it. */
export class Stateless {
  readonly #options: StatelessOptions

  constructor (options: StatelessOptions) {
    this.#options = options
  }

  /**
   * Answers a POST. Throws FST_MCP_HEADER_MISMATCH, FST_MCP_SCOPE_INSUFFICIENT, FST_MCP_CALLS_FULL, FST_MCP_STREAMS_FULL,
   * FST_MCP_QUOTA_EXCEEDED and what the listeners throw.
   */
  post (inbound: Standalone | Notice, facts: Facts, exchange: Exchange): Awaitable<void> {
    if (inbound.kind === 'notice') return exchange.accepted()
    const { message, envelope: { profile, capabilities, logLevel } } = inbound
    const { request, principal } = facts
    const { served, desk } = this.#options
    checkMirrors(request.headers, message.method, message.params)
    if (request.mcp !== null) request.mcp.revision = profile.revision
    served.checkScopes([message], principal)
    const isCall = message.method !== 'subscriptions/listen'
    const owner = ownerOf(principal)
    if (isCall || !desk.hooks.isEmpty) checkCalls(served, 1, owner)
    if (mayStream(message)) served.pool.admit(owner)
    const onLost = (): void => call.abort(new errorCodes.FST_MCP_CLIENT_GONE())
    const outbox = exchange.outbox([message.id], false, { line: () => new DirectLine(served.pool, owner, onLost), whole: wholeDirect })
    const caller: Caller = {
      profile, principal, session: null, terms: { capabilities, logLevel }, request, outbox, calls: served.calls, inquiryOf: this.#inquiryOf
    }
    const call = new Call(message.id, message.method, message.params, caller)
    if (!isCall) return this.#listen(message, call, exchange)
    const done = dispatch(call, desk)
    if (!(done instanceof Promise)) return
    served.calls.add(call, done)
    exchange.wait()
  }

  /** A subscription that is open is no call in progress: it waits for nothing, and has a stream of its own. */
  #listen (message: Request, call: Call, exchange: Exchange): Awaitable<void> {
    const { served: { calls, pool }, desk: { hooks }, listeners } = this.#options
    if (!exchange.canStream()) throw new errorCodes.FST_MCP_NOT_ACCEPTABLE('text/event-stream')
    const open = (): void => exchange.stream(listeners.open(message, call.principal))
    if (hooks.isEmpty) return open()
    // Until its hooks have let it in, it is a call like any other: counted, watched and ended with the server.
    pool.admit(ownerOf(call.principal))
    exchange.watch()
    const admitted = hooks.admit(call).finally(() => call.finish())
    calls.add(call, admitted.then(() => {}, () => {}))
    return admitted.then(open, error => {
      throw error instanceof ToolError ? new errorCodes.FST_MCP_HANDLER_FAILED(error.message) : error
    })
  }

  /** Nothing is kept for a call that could not ask anything. */
  readonly #inquiryOf = (call: Call): Inquiry | null => {
    const { method, params, principal, capabilities } = call
    if (!MAY_ASK.has(method)) return null
    const isRetry = params.requestState !== undefined || params.inputResponses !== undefined
    if (!isRetry && !ASKABLE.some(name => Object.hasOwn(capabilities, name))) return null
    const { seal, audience, timeout } = this.#options
    // Before the handler can change its arguments.
    const binding = bindingOf(audience, ownerOf(principal), method, params)
    return new Rounds({ seal, binding, timeout }, params, call)
  }
}

/** `server/discover` names what can be used per request; sessions are found by `initialize`. */
export function discoverResult (offered: Declared, instructions: string | undefined): object {
  const capabilities = capabilitiesOf(offered, true, true)
  return { supportedVersions: STATELESS_REVISIONS, capabilities, ...(instructions !== undefined && { instructions }) }
}

const SERVER_INFO = 'io.modelcontextprotocol/serverInfo'

/** What every result of the era says: that it is one, and who gave it. */
export function completer (serverInfo: object): (result: object) => object {
  return result => {
    const { _meta, ...rest }: { _meta?: object } = result
    return { resultType: 'complete', ...rest, _meta: { ..._meta, [SERVER_INFO]: serverInfo } }
  }
}
