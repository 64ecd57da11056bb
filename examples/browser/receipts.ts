import { ToolError } from 'fastify-mcp-sse'

interface Receipt {
  readonly args: string
  readonly result: Promise<string>
}

/** What was done for whom and under which key, so that a call that is sent again does nothing twice. */
export class Receipts {
  readonly #max: number
  readonly #kept = new Map<string, Receipt>()

  /** `max`: how many are kept in all; the oldest goes first. */
  constructor (max = 1_000) {
    this.#max = max
  }

  /**
   * Acts once for a principal and a key. A repeat gets what the first call got, and waits for it while that one runs. What failed
   * was not done: the next call tries again. The same key with other arguments is refused.
   */
  async once (principal: string, key: string, args: object, act: () => Promise<string>): Promise<string> {
    const name = JSON.stringify([principal, key])
    const given = JSON.stringify(args)
    for (;;) {
      const earlier = this.#kept.get(name)
      if (earlier === undefined) return this.#act(name, given, act)
      if (earlier.args !== given) throw new ToolError('This key was used with other arguments')
      const result = await earlier.result.catch(() => undefined)
      if (result !== undefined) return result
    }
  }

  #act (name: string, args: string, act: () => Promise<string>): Promise<string> {
    const receipt: Receipt = {
      args,
      result: act().catch(error => {
        if (this.#kept.get(name) === receipt) this.#kept.delete(name)
        throw error
      })
    }
    this.#kept.set(name, receipt)
    const [oldest] = this.#kept.keys()
    if (this.#kept.size > this.#max && oldest !== undefined) this.#kept.delete(oldest)
    return receipt.result
  }
}
