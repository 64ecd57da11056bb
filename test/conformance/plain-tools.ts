import type { FastifyInstance } from 'fastify'
import { setTimeout as sleep } from 'node:timers/promises'
import { content } from '../../lib/index.ts'
import { PNG, WAV } from './samples.ts'

const STEP_MS = 50

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

/** The tools that need nobody but themselves. */
export function addPlainTools ({ mcp }: FastifyInstance): void {
  // The header scenarios call the first tool of the list, without arguments.
  mcp.tool('a_first_tool', { description: 'Takes nothing' }, () => 'ok')

  mcp.tool('test_simple_text', { description: 'Gives text' }, () => 'This is a simple text response for testing.')

  mcp.tool('test_image_content', { description: 'Gives a picture' }, () => content.image(PNG, 'image/png'))

  mcp.tool('test_audio_content', { description: 'Gives a sound' }, () => content.audio(WAV, 'audio/wav'))

  mcp.tool('test_embedded_resource', { description: 'Gives a resource' }, () => {
    return content.resource('test://embedded-resource', 'This is an embedded resource content.', 'text/plain')
  })

  mcp.tool('test_multiple_content_types', { description: 'Gives text, a picture and a resource' }, function * () {
    yield 'Multiple content types test:'
    yield content.image(PNG, 'image/png')
    yield content.resource('test://mixed-content-resource', '{"test":"data","value":123}', 'application/json')
  })

  mcp.tool('test_tool_with_logging', { description: 'Logs while it runs' }, async (_args, { log }) => {
    log.info('Tool execution started')
    await sleep(STEP_MS)
    log.info('Tool processing data')
    await sleep(STEP_MS)
    log.info('Tool execution completed')
    return 'Logged three times'
  })

  mcp.tool('test_logging_tool', { description: 'Logs at every level' }, (_args, { log }) => {
    for (const tell of Object.values(log)) tell('A log message')
    return 'Logged eight times'
  })

  mcp.tool('test_tool_with_progress', { description: 'Reports progress' }, async function * () {
    for (const progress of [0, 50, 100]) {
      yield { progress, total: 100 }
      await sleep(STEP_MS)
    }
    return 'Reported three times'
  })

  mcp.tool('test_error_handling', { description: 'Fails' }, () => {
    throw new TypeError('This tool intentionally returns an error for testing')
  })

  mcp.tool('test_reconnection', { description: 'Ends its connection before its result' }, async (_args, { closeStream }) => {
    closeStream()
    await sleep(STEP_MS)
    return 'Reconnection test completed'
  })

  mcp.tool('json_schema_2020_12_tool', { description: 'Has a schema with every keyword', input: address }, () => 'ok')

  mcp.tool('test_x_mcp_header', {
    description: 'Has an argument that clients repeat in a header',
    input: { type: 'object', properties: { region: { type: 'string', 'x-mcp-header': 'Region' } }, required: ['region'] }
  }, ({ region }) => `Region: ${region}`)

  mcp.tool('test_trigger_tool_change', { description: 'Changes the list of tools' }, () => {
    mcp.tool('test_passing', {}, () => 'ok').remove()
    return 'Added and removed a tool'
  })

  mcp.tool('test_trigger_prompt_change', { description: 'Changes the list of prompts' }, () => {
    mcp.prompt('test_passing', {}, () => 'ok').remove()
    return 'Added and removed a prompt'
  })
}
