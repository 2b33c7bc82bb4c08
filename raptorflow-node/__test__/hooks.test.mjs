// Hooks of JavaScript steer agents: plain and async, and their failures end the run.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Agent, Engine, textOf, tool } from 'raptorflow'

/** An engine whose model calls a tool once and then says what the tool said. */
function office(called, hooks = [], engineHooks = []) {
  const engine = new Engine(undefined, { defaultModel: 'host:office', hooks: engineHooks })
  engine.registerModel('host:office', (request) => {
    const last = request.messages.at(-1)
    if (last.role === 'tool') return `Heard: ${JSON.stringify(last.parts)}`
    return { toolCalls: [{ id: '1', name: 'send', arguments: { text: 'LOUD' } }] }
  })
  const send = tool({
    name: 'send',
    description: 'Sends a text.',
    parameters: { type: 'object', properties: { text: { type: 'string' } }, required: ['text'] },
    execute: ({ text }) => {
      called.push(text)
      return `sent ${text}`
    },
  })
  engine.register(new Agent({ name: 'clerk', tools: [send], hooks, limits: { hookSeconds: 1 } }))
  return engine
}

test('a hook changes arguments and sees the result', async () => {
  const seen = []
  const softer = {
    name: 'softer',
    async beforeTool(asked) {
      await null
      seen.push(asked)
      return { change: { text: asked.arguments.text.toLowerCase() } }
    },
    afterTool(asked) {
      seen.push(asked)
    },
  }
  const called = []
  const { text } = await office(called, [softer]).run('clerk', 'go')
  assert.deepEqual(called, ['loud'])
  assert.match(text, /sent loud/)
  const [before, after] = seen
  assert.deepEqual([before.moment, before.tool, before.agent, before.step], ['before_tool', 'send', 'clerk', 1])
  assert.deepEqual([after.call.arguments, after.result.content], [{ text: 'loud' }, 'sent loud'])
})

test('a hook of the engine watches all agents', async () => {
  const steps = []
  class Watch {
    afterStep({ step, answer }) {
      steps.push([step, answer === null])
    }
  }
  await office([], [], [new Watch()]).run('clerk', 'go')
  assert.deepEqual(steps, [[1, true], [2, false]])
  assert.throws(() => office([], [], [7]), { code: 'invalid_input' })
  assert.throws(() => office([], [{ beforeTool: 'no function' }]), { code: 'invalid_input' })
})

test('a hook answers, refuses and ends runs', async () => {
  const called = []
  const said = async (verdict) => await office(called, [{ beforeTool: () => verdict }]).run('clerk', 'go')
  assert.match((await said({ answer: 'from memory' })).text, /from memory/)
  assert.match((await said({ refuse: 'not today' })).text, /not today/)
  const { text, finish } = await said({ stop: 'enough' })
  assert.deepEqual([text, finish, called], ['enough', { limited: 'hook' }, []])
})

test('a hook that throws ends the run and is named', async () => {
  const paper = () => {
    throw new Error('out of paper')
  }
  for (const beforeModel of [paper, async () => paper()]) {
    await assert.rejects(office([], [{ name: 'night watch', beforeModel }]).run('clerk', 'go'), (error) => {
      assert.deepEqual([error.code, error.operation], ['callback', 'agent.hook'])
      assert.deepEqual([error.context.hook, error.context.moment], ['night watch', 'before_model'])
      return true
    })
  }
})

test('what is no verdict, or none of the moment, ends the run', async () => {
  for (const [said, code] of [[7, 'invalid_output'], [{ yes: 1 }, 'invalid_output'], [{ change: [] }, 'invalid_input']]) {
    await assert.rejects(office([], [{ beforeStep: () => said }]).run('clerk', 'go'), { code, operation: 'agent.hook' })
  }
})

test('a hook that hangs is ended by its time', async () => {
  // A timer keeps the process alive while nothing else does.
  const alive = setInterval(() => {}, 1000)
  try {
    const hangs = { afterModel: () => new Promise(() => {}) }
    await assert.rejects(office([], [hangs]).run('clerk', 'go'), { code: 'timeout', operation: 'agent.hook' })
  } finally {
    clearInterval(alive)
  }
})

test('a long conversation is made shorter', async () => {
  const seen = []
  const engine = new Engine(undefined, { defaultModel: 'host:long' })
  engine.registerModel('host:long', (request) => {
    seen.push(request)
    const text = `${seen.length} `.repeat(200)
    return seen.length > 4 ? 'done' : { toolCalls: [{ id: String(seen.length), name: 'send', arguments: { text } }] }
  })
  const send = tool({
    name: 'send',
    description: 'Sends a text.',
    parameters: { type: 'object', properties: { text: { type: 'string' } } },
    execute: ({ text }) => text,
  })
  engine.register(new Agent({ name: 'clerk', tools: [send], compaction: { window: 800, keepTurns: 1, method: 'trim' } }))
  assert.equal((await engine.run('clerk', 'Send it.')).text, 'done')
  assert.equal(textOf(seen.at(-1).messages[0]), 'Send it.')
  assert.match(textOf(seen.at(-1).messages[1]), /left out/)
})
