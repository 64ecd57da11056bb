/** Waits for something, but not for longer than `ms`. Whether it went well is not asked. */
export async function atMost (ms: number, work: Promise<unknown>): Promise<void> {
  let timer
  const late = new Promise<void>(resolve => { timer = setTimeout(resolve, ms).unref() })
  await Promise.race([late, work.then(() => {}, () => {})])
  clearTimeout(timer)
}
