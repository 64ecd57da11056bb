import { once } from 'node:events'
import { createServer } from 'node:net'

/** A port of loopback for a program that cannot be asked which it took: below those that a connection of the run may have taken. */
export async function sparePort (): Promise<number> {
  const port = 12_000 + Math.floor(Math.random() * 20_000)
  const server = createServer().listen(port, '127.0.0.1')
  try {
    await once(server, 'listening')
  } catch {
    return sparePort()
  }
  server.close()
  await once(server, 'close')
  return port
}
