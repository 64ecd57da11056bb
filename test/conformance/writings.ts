import type { FastifyInstance } from 'fastify'
import { PNG } from './samples.ts'

/** The resources, one of which can be watched, and a template. */
export function addResources ({ mcp }: FastifyInstance): void {
  mcp.resource('test://static-text', { name: 'Static text', description: 'Text', mimeType: 'text/plain' }, () => {
    return 'This is the content of the static text resource.'
  })

  mcp.resource('test://static-binary', { name: 'Static binary', description: 'A picture', mimeType: 'image/png' }, () => Buffer.from(PNG, 'base64'))

  mcp.resource('test://watched-resource', { name: 'Watched', description: 'Can be subscribed to', mimeType: 'text/plain' }, () => 'Watched resource content')

  mcp.resource('test://template/{id}/data', { name: 'Template', description: 'Data by id', mimeType: 'application/json' }, ({ id }) => {
    return JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` })
  })
}
