// A function becomes a tool, and a model of your own calls it.

import { Agent, Engine, tool } from 'raptorflow'

const addGst = tool({
  name: 'add_gst',
  description: 'Adds GST to a net amount in rupees.',
  parameters: {
    type: 'object',
    properties: { net: { type: 'number' }, rate: { type: 'number' } },
    required: ['net', 'rate'],
  },
  execute: async ({ net, rate }) => net * (1 + rate),
})

/** Stands in for a language model: asks for the tool, then says what it answered. */
function answer({ messages }) {
  const result = messages.at(-1).parts.find(({ type }) => type === 'tool_result')
  if (result) return `With GST it is ₹${result.content}.`
  return { toolCalls: [{ id: '1', name: 'add_gst', arguments: { net: 1000, rate: 0.18 } }] }
}

const engine = new Engine()
engine.registerModel('host:rule', answer)
engine.register(new Agent({ name: 'pricing', model: 'host:rule', tools: [addGst] }))

const outcome = await engine.run('pricing', '₹1000 with GST?')
console.log(outcome.text)
