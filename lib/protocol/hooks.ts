import { errorCodes, logSafely, readable } from '../errors.ts'
import type { Awaitable } from '../store/store.ts'
import { isThenable } from '../tools/pending.ts'
import type { Call } from './call.ts'
import type { CallInfo } from './call-info.ts'

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
    const { info } = call
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
    const { info } = call
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
