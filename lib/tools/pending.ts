export type AnyIterator = Iterator<unknown, unknown> | AsyncIterator<unknown, unknown>

export function isThenable (value: object): value is PromiseLike<unknown> {
  return 'then' in value && typeof value.then === 'function'
}

// The iterator protocols are structural: whoever has these methods has them with these meanings.
export function isAsyncIterable (value: object): value is AsyncIterable<unknown, unknown> {
  return Symbol.asyncIterator in value
}

function isIterator (value: object): value is Iterator<unknown, unknown> {
  return 'next' in value && typeof value.next === 'function'
}

/** Whether a handler gave something that is still at work. */
export function isPending (value: unknown): value is object {
  return typeof value === 'object' && value !== null && (isThenable(value) || isAsyncIterable(value) || isIterator(value))
}

export interface Destroyable {
  destroy (): void
  on? (event: 'error', listener: () => void): unknown
}

export function isDestroyable (value: object): value is Destroyable {
  return 'destroy' in value && typeof value.destroy === 'function'
}
