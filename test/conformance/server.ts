import Fastify, { type FastifyInstance } from 'fastify'
import { setTimeout as sleep } from 'node:timers/promises'
import { mcp, type Chunk } from '../../lib/index.ts'

// The smallest picture and the shortest sound that are valid.
const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=='
const WAV = 'UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA='
const STEP_MS = 50

const image: Chunk = { type: 'image', data: PNG, mimeType: 'image/png' }
const audio: Chunk = { type: 'audio', data: WAV, mimeType: 'audio/wav' }

const address = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  type: 'object',
  $defs: {
    address: {
      $anchor: 'addressDef',
      type: 'object',
      properties: { street: { type: 'string' }, city: { type: 'string' } }
    }
  },
  properties: {
    name: { type: 'string' },
    address: { $ref: '#/$defs/address' },
    contactMethod: { type: 'string', enum: ['phone', 'email'] },
    phone: { type: 'string' },
    email: { type: 'string' }
  },
  allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
  if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
  then: { required: ['phone'] },
  else: { required: ['email'] },
  additionalProperties: false
}

/** The server that the official conformance runner expects, built on the public API alone. */
export async function conformanceServer (): Promise<FastifyInstance> {
  const app = Fastify({ logger: { level: process.env.LOG_LEVEL ?? 'fatal' } })
  await app.register(mcp, { name: 'conformance', version: '1.0.0', streams: { retry: 100 } })

  app.mcp.tool('test_simple_text', { description: 'Gives text' }, () => 'This is a simple text response for testing.')

  app.mcp.tool('test_image_content', { description: 'Gives a picture' }, function * () {
    yield image
  })

  app.mcp.tool('test_audio_content', { description: 'Gives a sound' }, function * () {
    yield audio
  })

  app.mcp.tool('test_embedded_resource', { description: 'Gives a resource' }, function * () {
    yield { type: 'resource', resource: { uri: 'test://embedded-resource', mimeType: 'text/plain', text: 'This is an embedded resource content.' } }
  })

  app.mcp.tool('test_multiple_content_types', { description: 'Gives text, a picture and a resource' }, function * () {
    yield 'Multiple content types test:'
    yield image
    yield {
      type: 'resource',
      resource: { uri: 'test://mixed-content-resource', mimeType: 'application/json', text: '{"test":"data","value":123}' }
    }
  })

  app.mcp.tool('test_tool_with_logging', { description: 'Logs while it runs' }, async (_args, { log }) => {
    log.info('Tool execution started')
    await sleep(STEP_MS)
    log.info('Tool processing data')
    await sleep(STEP_MS)
    log.info('Tool execution completed')
    return 'Logged three times'
  })

  app.mcp.tool('test_tool_with_progress', { description: 'Reports progress' }, async function * () {
    for (const progress of [0, 50, 100]) {
      yield { progress, total: 100 }
      await sleep(STEP_MS)
    }
    return 'Reported three times'
  })

  app.mcp.tool('test_error_handling', { description: 'Fails' }, () => {
    throw new TypeError('This tool intentionally returns an error for testing')
  })

  app.mcp.tool('test_reconnection', { description: 'Ends its connection before its result' }, async (_args, { closeStream }) => {
    closeStream()
    await sleep(STEP_MS)
    return 'Reconnection test completed'
  })

  app.mcp.tool('json_schema_2020_12_tool', { description: 'Has a schema with every keyword', input: address }, () => 'ok')

  return app
}
