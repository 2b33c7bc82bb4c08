// Test doubles from JavaScript: scripts, recorded runs and cassettes.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

import { Agent, Cassette, Engine, RaptorflowError, ReplayModel, ScriptedModel, tool } from 'raptorflow'

const cassettes = new URL('../../tests/providers/cassettes/', import.meta.url)
const price = tool({
  name: 'price',
  description: 'Finds a price.',
  parameters: { type: 'object', properties: { plan: { type: 'string' } } },
  execute: () => 499,
})

function engine(model) {
  const made = new Engine('memory:', { defaultModel: 'test:model' })
  made.registerModel('test:model', model)
  made.register(new Agent({ name: 'clerk', tools: [price] }))
  return made
}

const refused = (work) => work().then(assert.fail, (error) => error)

test('a script answers in order and remembers what it was asked', async () => {
  const call = { id: '1', name: 'price', arguments: { plan: 'basic' } }
  const script = new ScriptedModel([{ toolCalls: [call], usage: { inputTokens: 3 } }, 'It costs ₹499.'])
  const { text, usage } = await engine(script).run('clerk', 'What does it cost?')
  assert.deepEqual([text, usage.inputTokens], ['It costs ₹499.', 3])
  assert.deepEqual(script.requests.map(({ messages }) => messages.at(-1).role), ['user', 'tool'])
  assert.equal(script.requests[0].messages.at(-1).parts[0].text, 'What does it cost?')
  assert.deepEqual([script.remaining, new Set(script.keys).size], [0, 2])
  assert.equal((await refused(() => engine(script).run('clerk', 'And now?'))).code, 'not_found')
  script.push('Still ₹499.')
  assert.equal((await engine(script).run('clerk', 'And now?')).text, 'Still ₹499.')
})

test('rules go before the list and what is always said behind it', async () => {
  const made = engine(new ScriptedModel(['listed'], { when: { plan: { json: { netPrice: 499 } } }, always: 'else' }))
  const said = []
  for (const asked of ['a plan', 'x', 'y', 'that plan']) said.push((await made.run('clerk', asked)).text)
  assert.deepEqual(said, ['{"netPrice":499}', 'listed', 'else', '{"netPrice":499}'])
})

test('errors are scripted and tried again where that can help', async () => {
  const slow = new RaptorflowError('rate_limited', 'slow down', { retry: { after: 1 } })
  assert.equal((await engine(new ScriptedModel([slow, 'There.'])).run('clerk', 'Anyone?')).text, 'There.')
  const wrong = new ScriptedModel([new RaptorflowError('unauthenticated', 'wrong key')])
  const { code, reason } = await refused(() => engine(wrong).run('clerk', 'Anyone?'))
  assert.deepEqual([code, reason], ['unauthenticated', 'wrong key'])
  const hanging = engine(new ScriptedModel([], { always: { hangs: true } }))
  assert.equal((await refused(() => hanging.run('clerk', 'Anyone?', { timeout: 10 }))).code, 'timeout')
})

test('what is no reply is refused with the reason', () => {
  assert.throws(() => new ScriptedModel([{ txt: 'a' }]), ({ code, context }) => code === 'invalid_input' && /txt/.test(context.reason))
})

test('a recorded run is given again, also from a file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'raptorflow-'))
  try {
    const first = engine(new ScriptedModel(['Hello.']))
    const { runId } = await first.run('clerk', 'Hi')
    const recorded = await ReplayModel.ofRun(first, runId)
    recorded.save(join(folder, 'answers.jsonl'))
    for (const replay of [recorded, ReplayModel.load(join(folder, 'answers.jsonl'))]) {
      assert.equal(replay.left, 1)
      assert.equal((await engine(replay).run('clerk', 'Hi')).text, 'Hello.')
      assert.equal(replay.left, 0)
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('a cassette answers without key and network', async () => {
  delete process.env.OPENAI_API_KEY
  delete process.env.OPENAI_BASE_URL
  const cassette = new Cassette(new URL('greeting.jsonl', cassettes))
  const made = new Engine('memory:', { defaultModel: 'openai:gpt-test', cassette })
  made.register(new Agent({ name: 'greeter' }))
  assert.equal(cassette.left, 1)
  assert.equal((await made.run('greeter', 'Hi')).text, 'Hello.')
  assert.equal(cassette.left, 0)
  cassette.check()
  const { code, context } = await refused(() => made.run('greeter', 'Something else'))
  assert.deepEqual([code, context.recorded], ['not_found', '1'])
})

test('a cassette that is not there is named', () => {
  const path = join(tmpdir(), 'raptorflow-no-cassette.jsonl')
  assert.throws(() => new Cassette(path), ({ code, message }) => code === 'not_found' && /record it first/.test(message))
  assert.throws(() => new Cassette(path, { mode: 'rewind' }), { code: 'invalid_input' })
})
