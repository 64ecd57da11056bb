import type { Profile } from '../eras/revisions.ts'
import { errorCodes, withData } from '../errors.ts'
import type { ClientCapabilities, Question } from '../tools/context.ts'
import type { ProgressParams } from '../tools/chunk.ts'
import { isObject } from './message.ts'

/** How a call asks its client, which is a matter of the era. */
export interface Inquiry {
  /** The result that the client gives, not looked at yet. */
  ask (key: string, question: Question): Promise<unknown>
  once (key: string, make: () => unknown): Promise<unknown>
  /** Whether a message was sent by an earlier run of the call, so that it must not be sent again. Throws FST_MCP_RERUN_DIFFERS. */
  repeats (params: ProgressParams): boolean
  repeatsLog (): boolean
  /** What answers the call in the end, whatever its handler gave or threw; missing where asking changes nothing about that. */
  settle? (work: () => object | Promise<object>): object | Promise<object>
}

/** Runs each function once for its key. */
export class Once {
  readonly #made = new Map<string, Promise<unknown>>()

  once (key: string, make: () => unknown): Promise<unknown> {
    let made = this.#made.get(key)
    if (made === undefined) this.#made.set(key, made = new Promise(resolve => resolve(make())).then(asJson))
    return made
  }
}

/** What JSON keeps of a value: the next run of a call gets no more, and so no run does. Throws a TypeError for a circle or a BigInt. */
export function asJson (value: unknown): unknown {
  const json = JSON.stringify(value)
  return json === undefined ? undefined : JSON.parse(json)
}

/**
 * Refuses to ask for what the client did not declare, naming what it would have to declare.
 * Throws FST_MCP_CAPABILITY_REQUIRED and FST_MCP_ASK_UNAVAILABLE.
 */
export function checkCapability ({ method, params }: Question, declared: ClientCapabilities, { elicits, hasRichAsks, revision }: Profile): void {
  if (method === 'roots/list') {
    if (!isObject(declared.roots)) throw missing('roots', { roots: {} })
  } else if (method === 'sampling/createMessage') {
    const { sampling } = declared
    const needsTools = params.tools !== undefined || params.toolChoice !== undefined
    if (!isObject(sampling)) throw missing('sampling', { sampling: needsTools ? { tools: {} } : {} })
    if (needsTools && !hasRichAsks) throw new errorCodes.FST_MCP_ASK_UNAVAILABLE(`revision ${revision} cannot sample with tools`)
    if (needsTools && !isObject(sampling.tools)) throw missing('sampling.tools', { sampling: { tools: {} } })
  } else {
    const needed = params.mode === 'url' ? 'url' : 'form'
    if (elicits === 'nothing' || (needed === 'url' && elicits === 'form')) {
      throw new errorCodes.FST_MCP_ASK_UNAVAILABLE(`revision ${revision} cannot ask for a ${needed === 'url' ? 'URL' : 'form'}`)
    }
    const { elicitation } = declared
    // An empty declaration is one of forms.
    const isDeclared = isObject(elicitation) && (isObject(elicitation[needed]) || (needed === 'form' && Object.keys(elicitation).length === 0))
    if (!isDeclared) throw missing(`elicitation.${needed}`, { elicitation: { [needed]: {} } })
  }
}

function missing (name: string, requiredCapabilities: object): Error {
  return withData(new errorCodes.FST_MCP_CAPABILITY_REQUIRED(name), { requiredCapabilities })
}
