import type { FastifyRequest } from 'fastify'
import type { Revision } from '../eras/revisions.ts'
import type { Principal } from '../http/auth.ts'
import type { SessionInfo } from '../tools/context.ts'
import type { Call } from './call.ts'
import type { Params, RequestId } from './message.ts'

/** One request of a client, as hooks and those who observe it see it. */
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

const TARGETS = new Map([['tools/call', 'name'], ['prompts/get', 'name'], ['resources/read', 'uri']])

export function infoOf (call: Call): CallInfo {
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
