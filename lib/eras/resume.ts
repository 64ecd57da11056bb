import { channels } from '../channels.ts'
import { errorCodes } from '../errors.ts'
import { errorOf, type RequestId } from '../protocol/message.ts'
import { comment, message } from '../sse/frame.ts'
import type { StreamPool } from '../sse/pool.ts'
import type { SseStream } from '../sse/stream.ts'
import type { Replay } from '../store/store.ts'
import type { Channel } from './channel.ts'
import { requestsOf } from './event-id.ts'

/** What is known of a stream that a client comes back to. */
export interface Resumed {
  /** The name of the stream in the client's event id. */
  readonly name: string
  /** The number of the last event that the client saw. */
  readonly seq: number
  /** The stream itself while it runs. */
  readonly channel: Channel | undefined
  /** What the client missed, undefined when that is not known any more. */
  readonly replay: Replay | undefined
}

function lossOf (id: RequestId): string {
  return message(errorOf(id, new errorCodes.FST_MCP_REPLAY_GAP()))
}

/**
 * Gives a returning client what it missed, then the live rest. Lost events are told as an error for each call that they
 * belonged to, never skipped. `owner`: of the stream. `greeting` goes before everything. Undefined when the stream belonged to no call and is over.
 */
export function resume ({ name, seq, channel, replay }: Resumed, pool: StreamPool, owner: string | null, greeting = ''): SseStream | undefined {
  const requests = requestsOf(name)
  if (channel === undefined && requests.length === 0) return undefined
  const stream = channel?.attach() ?? pool.open({ owner, closed () {} })
  const isComplete = replay?.isComplete ?? channel !== undefined
  stream.write(greeting + comment(isComplete ? 'resumed' : 'resumed, some events are lost'))
  // What is left of one call's answer is of no use.
  let replayed = 0
  if (isComplete || requests.length !== 1) {
    replay?.frames.forEach(frame => {
      stream.write(frame)
      replayed++
    })
  }
  if (!isComplete) {
    // A call in progress tells its own error when it is ended.
    const lost = replay === undefined || requests.length === 1 || !replay.isTold ? requests : replay.lost
    if (channel === undefined || requests.length !== 1) lost.forEach(id => stream.write(lossOf(id)))
    channel?.tellGap()
  }
  if (isComplete && replay?.broken !== undefined) tellBroken(stream, { name, seq, requests, ...replay.broken })
  if (channel === undefined) stream.end()
  channels.resume.publish({ replayed, isComplete, isLive: channel !== undefined, server: pool.server })
  return stream
}

interface Broken extends NonNullable<Replay['broken']> {
  readonly name: string
  readonly seq: number
  readonly requests: readonly RequestId[]
}

/** Nobody answers any more what a node that is gone had not answered. Higher numbers than that node can have given. */
function tellBroken (stream: SseStream, { name, seq, requests, last, answered }: Broken): void {
  let number = Math.max(seq, last)
  for (const id of requests.filter(id => !answered.includes(id))) {
    stream.write(message(errorOf(id, new errorCodes.FST_MCP_NODE_GONE()), `${name}_${++number}`))
  }
}
