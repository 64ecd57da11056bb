// Counts the timers that were set by the global functions and neither fired nor were cleared: those that are unref'd show nowhere else.
const pending = new Set<unknown>()
const real = { setTimeout, setInterval, clearTimeout, clearInterval }

/** From now on they are counted. Gives how many there are. */
export function countTimers (): () => number {
  Object.assign(globalThis, {
    setTimeout: Object.assign((callback: (...args: unknown[]) => void, ms?: number, ...args: unknown[]) => {
      const timer = real.setTimeout(() => {
        pending.delete(timer)
        callback(...args)
      }, ms)
      pending.add(timer)
      return timer
    }, real.setTimeout),
    setInterval: (callback: (...args: unknown[]) => void, ms?: number, ...args: unknown[]) => {
      const timer = real.setInterval(callback, ms, ...args)
      pending.add(timer)
      return timer
    },
    clearTimeout: (timer: NodeJS.Timeout) => {
      pending.delete(timer)
      real.clearTimeout(timer)
    },
    clearInterval: (timer: NodeJS.Timeout) => {
      pending.delete(timer)
      real.clearInterval(timer)
    }
  })
  return () => pending.size
}
