// Answers nothing as it should: with it the smoke run sees that a peer which fails is left out, and the run goes on.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { ready } from './control.ts'

const server = createServer((_request, response) => { response.writeHead(501, { 'content-length': 0 }).end() })

server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo
  ready(port)
})
