import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { content } from '../../lib/index.ts'
import { PNG } from './samples.ts'

/** The prompts, one of which asks the client. */
export function addPrompts ({ mcp }: FastifyInstance): void {
  mcp.prompt('test_simple_prompt', { description: 'Takes nothing' }, () => 'This is a simple prompt for testing.')

  mcp.prompt('test_prompt_with_arguments', {
    description: 'Takes two arguments',
    input: z.object({ arg1: z.string().describe('First test argument'), arg2: z.string().describe('Second test argument') }),
    complete: { arg1: ['test', 'testing'], arg2: value => [`${value}!`] }
  }, ({ arg1, arg2 }) => `Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`)

  mcp.prompt('test_prompt_with_embedded_resource', {
    description: 'Holds a resource',
    input: z.object({ resourceUri: z.string().describe('URI of the resource to embed') })
  }, ({ resourceUri }) => [
    content.resource(resourceUri, 'Embedded resource content for testing.', 'text/plain'),
    'Please process the embedded resource above.'
  ])

  mcp.prompt('test_prompt_with_image', { description: 'Holds a picture' }, () => [content.image(PNG, 'image/png'), 'Please analyze the image above.'])

  mcp.prompt('test_input_required_result_prompt', { description: 'Asks before it says anything' }, async (_args, { ask }) => {
    const answer = await ask('user_context', 'What context should the prompt use?', z.object({ context: z.string() }))
    return answer.action === 'accept' ? `Use this context: ${answer.content.context}` : 'There is no context.'
  })
}
