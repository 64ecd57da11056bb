import type { FastifyRequest } from 'fastify'
import { errorCodes, logSafely, readable } from '../errors.ts'
import type { Revision } from '../eras/revisions.ts'
import type { Principal } from '../http/auth.ts'
import type { Awaitable } from '../store/store.ts'
import type { SessionInfo } from '../tools/context.ts'
import { isThenable } from '../tools/pending.ts'
import type { Call } from './call.ts'
import type { Params, RequestId } from './message.ts'

/** One request of a client, as hooks see it. */
export interface CallInfo {
  readonly id: RequestId
  /** `tools/call`, `resources/read`, `tools/list`, … */
  readonly method: string
  /** The tool or prompt that is named, or the URI that is read; undefined for other methods. */
  readonly target: string | undefined
  readonly params: Params
  readonly revision: Revision
  readonly principal: Principal | null
  readonly session: SessionInfo | null
  readonly request: FastifyRequest
  readonly signal: AbortSignal
}

/**
 * What `app.mcp.use` takes. Hooks run in the order in which they were added; each is waited for, at most for `tools.timeout` ms and until
 * its call ends.
 */
export interface McpHooks {
  /** Before the call. Throw to refuse it: a ToolError is told to the model, a McpError or an error of `errorCodes` to the client. */
  onCall?: (call: CallInfo) => Awaitable<void>
  /** After it. What it returns, if anything, is sent instead. On 2026-07-28 the result may be one with `resultType: 'input_required'`. */
  onResult?: (call: CallInfo, result: Readonly<Record<string, unknown>>) => Awaitable<object | void>
  /**
   * Instead of `onResult` when a handler threw: with what it threw, also where the model is told in a result with `isError`, or when the
   * call was refused.
   */
  onError?: (call: CallInfo, error: unknown) => Awaitable<void>
}

const NAMES = ['onCall', 'onResult', 'onError'] as const
const TARGETS = new Map([['tools/call', 'name'], ['prompts/get', 'name'], ['resources/read', 'uri']])

/** The hooks of one server. */
export class Hooks {
  readonly #hooks = new Set<McpHooks>()
  readonly #timeout: number

  /** `timeout`: milliseconds for each hook. */
  constructor (timeout: number) {
    this.#timeout = timeout
  }

  get isEmpty (): boolean {
    return this.#hooks.size === 0
  }

  /** Gives back its undo. Throws FST_MCP_HOOK_INVALID. */
  add (hook: McpHooks): () => void {
    const given = Object.entries(Object(hook))
    if (given.length === 0) throw new errorCodes.FST_MCP_HOOK_INVALID(`it needs one of ${NAMES.join(', ')}`)
    for (const [name, run] of given) {
      if (!NAMES.some(known => known === name)) throw new errorCodes.FST_MCP_HOOK_INVALID(`there is no \`${name}\`; there are ${NAMES.join(', ')}`)
      if (typeof run !== 'function') throw new errorCodes.FST_MCP_HOOK_INVALID(`\`${name}\` must be a function`)
    }
    // A copy, so that one hook may be used twice, and undone once.
    const added = { ...hook }
    this.#hooks.add(added)
    return () => { this.#hooks.delete(added) }
  }

  /** Runs what comes before a call. Rejects with what refuses it. */
  async admit (call: Call): Promise<void> {
    const info = infoOf(call)
    const hooks = [...this.#hooks]
    try {
      for (const { onCall } of hooks) await this.#wait(call, onCall?.(info))
    } catch (thrown) {
      const error = readable(thrown)
      await this.#tellError(hooks, call, info, error)
      throw error
    }
  }

  /** Runs a call between its hooks. */
  async around (call: Call, work: () => Awaitable<object>): Promise<object> {
    const info = infoOf(call)
    const hooks = [...this.#hooks]
    await this.admit(call)
    let result: object
    try {
      result = await work()
    } catch (thrown) {
      const error = readable(thrown)
      await this.#tellError(hooks, call, info, call.failure === undefined ? error : call.failure.error)
      throw error
    }
    // What a handler made of the end of its run is no failure.
    const asks = 'resultType' in result && result.resultType === 'input_required'
    if (call.failure !== undefined && !asks) {
      await this.#tellError(hooks, call, info, call.failure.error)
      return result
    }
    for (const { onResult } of hooks) {
      const instead = await this.#wait(call, onResult?.(info, { ...result }))
      if (typeof instead === 'object' && instead !== null) result = instead
    }
    return result
  }

  /** A hook that fails must not hide what went wrong. */
  async #tellError (hooks: readonly McpHooks[], call: Call, info: CallInfo, error: unknown): Promise<void> {
    for (const { onError } of hooks) {
      try {
        await this.#wait(call, onError?.(info, error))
      } catch (thrown) {
        // Whoever ended the call is not to blame.
        if (thrown !== call.reason || thrown instanceof errorCodes.FST_MCP_TOOL_TIMEOUT) logSafely(info.request.log, thrown, 'onError failed')
      }
    }
  }

  /** A hook that never comes back must not hold its call for ever. Rejects with the reason when the call ends, and with FST_MCP_TOOL_TIMEOUT. */
  #wait<T> (call: Call, hooked: Awaitable<T>): Awaitable<T> {
    if (typeof hooked !== 'object' || hooked === null || !isThenable(hooked)) return hooked
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        clearTimeout(timer)
        call.offEnd(end)
      }
      const end = (reason: Error): void => {
        leave()
        reject(reason)
      }
      const timer = setTimeout(() => {
        const reason = new errorCodes.FST_MCP_TOOL_TIMEOUT(this.#timeout)
        call.abort(reason)
        // One that had ended already tells nobody.
        end(reason)
      }, this.#timeout).unref()
      call.onEnd(end)
      Promise.resolve(hooked).finally(leave).then(resolve, reject)
    })
  }
}

function infoOf (call: Call): CallInfo {
  const { id, method, params, revision, principal, session, request } = call
  const key = TARGETS.get(method)
  const target = key === undefined ? undefined : params[key]
  return {
    id,
    method,
    params,
    revision,
    principal,
    session,
    request,
    target: typeof target === 'string' ? target : undefined,
    get signal () {
      return call.signal
    }
  }
}
