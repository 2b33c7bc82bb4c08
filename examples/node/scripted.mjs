// A test of your own without a provider: a model that follows a script, and a recorded run that is given again.

import assert from 'node:assert/strict'

import { Agent, Engine, RaptorflowError, ReplayModel, ScriptedModel, tool } from 'raptorflow'

const price = tool({
  name: 'price',
  description: 'Finds what a plan costs a month, in rupees.',
  parameters: { type: 'object', properties: { plan: { type: 'string' } }, required: ['plan'] },
  execute: ({ plan }) => ({ basic: 499 })[plan],
})

/** What is tested; only its model is another one. */
function clerk(model) {
  const engine = new Engine('memory:', { defaultModel: 'test:model' })
  engine.registerModel('test:model', model)
  engine.register(new Agent({ name: 'clerk', tools: [price] }))
  return engine
}

const script = new ScriptedModel([
  new RaptorflowError('rate_limited', 'slow down', { retry: { after: 10 } }),
  { toolCalls: [{ id: '1', name: 'price', arguments: { plan: 'basic' } }] },
  'The basic plan costs ₹499.',
])
const engine = clerk(script)
const { text, runId } = await engine.run('clerk', 'What does the basic plan cost?')
assert.equal(text, 'The basic plan costs ₹499.')
assert.equal(script.requests.at(-1).messages.at(-1).role, 'tool')
assert.equal(script.remaining, 0)
console.log(`asked ${script.requests.length} times: ${text}`)

const recorded = await ReplayModel.ofRun(engine, runId)
const again = await clerk(recorded).run('clerk', 'What does the basic plan cost?')
assert.equal(again.text, text)
assert.equal(recorded.left, 0)
console.log(`given again: ${again.text}`)
