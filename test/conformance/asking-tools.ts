import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { errorCodes, type SampleParams, type SampleResult } from '../../lib/index.ts'

const nameForm = z.object({ name: z.string() })
const MAX_TOKENS = 100

function says (text: string): SampleParams {
  return { messages: [{ role: 'user', content: { type: 'text', text } }], maxTokens: MAX_TOKENS }
}

const told = ({ content }: SampleResult): string => JSON.stringify(content)

/** The tools that ask the client while they run. */
export function addAskingTools (app: FastifyInstance): void {
  addOneQuestionTools(app)
  addFormTools(app)
  addManyQuestionTools(app)
}

function addOneQuestionTools ({ mcp }: FastifyInstance): void {
  mcp.tool('test_sampling', { description: 'Asks the model', input: z.object({ prompt: z.string() }) }, async ({ prompt }, { sample }) => {
    return `LLM response: ${told(await sample('prompt', says(prompt)))}`
  })

  mcp.tool('test_missing_capability', { description: 'Asks the model, whatever the client can' }, async (_args, { sample }) => {
    return `LLM response: ${told(await sample('question', says('Anything?')))}`
  })

  mcp.tool('test_input_required_result_sampling', { description: 'Asks the model for a capital' }, async (_args, { sample }) => {
    return told(await sample('capital_question', says('What is the capital of France?')))
  })

  mcp.tool('test_input_required_result_list_roots', { description: 'Asks for folders' }, async (_args, { roots }) => {
    const folders = await roots('client_roots')
    return `Roots: ${folders.map(({ uri }) => uri).join(', ')}`
  })

  mcp.tool('test_input_required_result_elicitation', { description: 'Asks for a name' }, async (_args, { ask }) => {
    const answer = await ask('user_name', 'What is your name?', nameForm)
    return answer.action === 'accept' ? `Hello, ${answer.content.name}!` : 'Hello!'
  })

  mcp.tool('test_streaming_elicitation', { description: 'Asks after it has begun to stream' }, async function * (_args, { ask }) {
    yield { progress: 1, total: 2 }
    const { action } = await ask('user_name', 'What is your name?', nameForm)
    return action
  })

  for (const name of ['test_input_required_result_request_state', 'test_input_required_result_tampered_state']) {
    mcp.tool(name, { description: 'Asks for a confirmation and checks the state' }, async (_args, { ask }) => {
      const { action } = await ask('confirm', 'Please confirm', z.object({ ok: z.boolean() }))
      return `state-ok: ${action}`
    })
  }
}

function addFormTools ({ mcp }: FastifyInstance): void {
  mcp.tool('test_elicitation', { description: 'Asks the user', input: z.object({ message: z.string() }) }, async ({ message }, { ask }) => {
    const answer = await ask('user', message, z.object({
      username: z.string().describe("User's response"),
      email: z.string().describe("User's email address")
    }))
    return `User response: ${JSON.stringify(answer)}`
  })

  mcp.tool('test_elicitation_sep1034_defaults', { description: 'Asks for a form with defaults' }, async (_args, { ask }) => {
    const answer = await ask('form', 'Please check these', z.object({
      name: z.string().default('John Doe'),
      age: z.int().default(30),
      score: z.number().default(95.5),
      status: z.enum(['active', 'inactive', 'pending']).default('active'),
      verified: z.boolean().default(true)
    }))
    return `Elicitation completed: ${JSON.stringify(answer)}`
  })

  const titled = (first: string): object[] => [1, 2, 3].map(number => ({ const: `value${number}`, title: `${first} ${number}` }))
  const options = ['option1', 'option2', 'option3']
  mcp.tool('test_elicitation_sep1330_enums', { description: 'Asks for every kind of choice' }, async (_args, { ask }) => {
    const answer = await ask('choices', 'Please choose', {
      type: 'object',
      properties: {
        untitledSingle: { type: 'string', enum: options },
        titledSingle: { type: 'string', oneOf: titled('Option') },
        legacyEnum: { type: 'string', enum: ['opt1', 'opt2', 'opt3'], enumNames: ['Option One', 'Option Two', 'Option Three'] },
        untitledMulti: { type: 'array', items: { type: 'string', enum: options } },
        titledMulti: { type: 'array', items: { anyOf: titled('Choice') } }
      }
    })
    return `Elicitation completed: ${JSON.stringify(answer)}`
  })
}

function addManyQuestionTools ({ mcp }: FastifyInstance): void {
  mcp.tool('test_input_required_result_multiple_inputs', { description: 'Asks three questions at once' }, async (_args, { ask, sample, roots }) => {
    const answers = await Promise.all([
      ask('user_name', 'What is your name?', nameForm),
      sample('greeting', says('Generate a greeting')),
      roots('client_roots')
    ])
    return JSON.stringify(answers)
  })

  mcp.tool('test_input_required_result_multi_round', { description: 'Asks one question after another' }, async (_args, { ask }) => {
    const name = await ask('step1', 'Step 1: What is your name?', nameForm)
    const color = await ask('step2', 'Step 2: What is your favorite color?', z.object({ color: z.string() }))
    return JSON.stringify([name, color])
  })

  mcp.tool('test_input_required_result_capabilities', { description: 'Asks whom it can' }, async (_args, { ask, sample }) => {
    try {
      return JSON.stringify(await ask('user_name', 'What is your name?', nameForm))
    } catch (error) {
      if (!(error instanceof errorCodes.FST_MCP_CAPABILITY_REQUIRED)) throw error
      return told(await sample('capital_question', says('What is the capital of France?')))
    }
  })
}
