import { errorCodes } from '../errors.ts'
import type { StreamPool } from '../sse/pool.ts'
import type { SseStream } from '../sse/stream.ts'
import type { Bus } from '../store/store.ts'
import { type Letter, Letters } from './letters.ts'
import { Relay } from './relay.ts'

/** The other nodes of one server. */
export class Cluster {
  readonly letters: Letters
  readonly relay: Relay

  /** `onError`: something failed that nobody waits for. */
  constructor (bus: Bus, pool: StreamPool, onError: (error: unknown) => void) {
    this.letters = new Letters(bus, onError)
    this.relay = new Relay(this.letters, pool)
  }

  get node (): string {
    return this.letters.node
  }

  /**
   * The stream of another node, whose client has come back here. Undefined when that node is gone, or has nothing to give.
   * Rejects with FST_MCP_STORE_UNAVAILABLE.
   */
  async follow (node: string, owner: string | null, letter: Letter): Promise<SseStream | undefined> {
    const { stream, ...followed } = this.relay.follow(node, owner)
    try {
      const answer = await this.letters.ask(node, 'attach', { ...letter, ...followed })
      if (answer?.isFollowed === true) {
        if (stream.destroyed) throw new errorCodes.FST_MCP_STORE_UNAVAILABLE('a message of another node was lost')
        return stream
      }
    } catch (error) {
      stream.destroy()
      throw error
    }
    stream.destroy()
  }

  close (): void {
    this.relay.close()
    this.letters.close()
  }
}
