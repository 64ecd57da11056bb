import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'

// Below the ports that systems give to whoever asks for any (32,768 on Linux, 49,152 elsewhere): there a neighbour's
// connection takes a port between the look and its use.
const FIRST = 12_000
const COUNT = 20_000

/** A port of loopback for a program that cannot be asked which it took. */
export async function freePort (): Promise<number> {
  const server = createServer().listen(FIRST + Math.floor(Math.random() * COUNT), '127.0.0.1')
  try {
    await once(server, 'listening')
  } catch {
    return freePort()
  }
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
