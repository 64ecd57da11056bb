import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Test } from 'tap'

/** What a channel carries until the test is over; of one server, where it says of which. */
export function hear<Event extends object> (t: Test, channel: string, server?: string): Event[] {
  const heard: Event[] = []
  const onMessage = (message: unknown): void => {
    const event = message as Event & { server?: string }
    if (event.server === server) heard.push(event)
  }
  subscribe(channel, onMessage)
  t.teardown(() => unsubscribe(channel, onMessage))
  return heard
}
