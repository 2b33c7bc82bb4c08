// Agents ask others, hand over, work by skills, and end at what they may cost.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

import { Agent, Engine, SkillRegistry, textOf, tool } from 'raptorflow'

/** An engine whose model plays each agent by what the agent is told to be. */
function office(requests = []) {
  const engine = new Engine(undefined, { defaultModel: 'host:office' })
  engine.registerModel('host:office', (request) => {
    requests.push(request)
    const who = textOf(request.messages[0])
    if (who === 'You bill.') return '499 a month.'
    if (request.messages.at(-1).role === 'tool') return 'Billing says: 499 a month.'
    const name = who === 'You ask.' ? 'billing' : 'transfer_to_billing'
    return { toolCalls: [{ id: '1', name, arguments: { task: 'What is the price?' } }] }
  })
  engine.register(new Agent({ name: 'billing', instructions: 'You bill.', description: 'Knows prices.' }))
  return engine
}

test('an agent asks another one as a tool', async () => {
  const requests = []
  const engine = office(requests)
  const modelSettings = { temperature: 0.25, maxOutputTokens: 200 }
  engine.register(new Agent({ name: 'desk', instructions: 'You ask.', agents: ['billing'], modelSettings }))
  const { text, agent } = await engine.run('desk', 'Price?')
  assert.deepEqual([text, agent], ['Billing says: 499 a month.', null])
  assert.deepEqual(requests[0].tools.map(({ name }) => name), ['billing'])
  assert.deepEqual([requests[0].temperature, requests[0].maxOutputTokens], [0.25, 200])
  assert.throws(() => new Agent({ name: 'hot', modelSettings: { temperature: 3 } }), { code: 'invalid_input' })
})

test('an agent hands the conversation over', async () => {
  const engine = office()
  const handoffs = [{ agent: 'billing', history: { last: 2 }, description: 'For prices.' }]
  engine.register(new Agent({ name: 'triage', instructions: 'You hand over.', handoffs }))
  const { text, agent } = await engine.run('triage', 'Price?')
  assert.deepEqual([text, agent], ['499 a month.', 'billing'])
})

test('a run ends at what it may cost', async () => {
  const engine = office()
  const limits = { cost: { micros: 1, currency: 'USD' }, depth: 2 }
  engine.register(new Agent({ name: 'desk', instructions: 'You ask.', agents: ['billing'], limits }))
  // The host's model has no price, and a cost that is not known counts as one that has reached the bound.
  assert.deepEqual((await engine.run('desk', 'Price?')).finish, { limited: 'cost' })
})

test('skills are agents', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'raptorflow-'))
  try {
    const front = 'skill_id: talk.greet.v1\nname: Greet\ndescription: Greets.\nversion: 1.0.0\ninputs:\n  who: string\n'
    writeFileSync(join(folder, 'greet.md'), `---\n${front}---\n## MISSION\nGreet.\n## CONTEXT INJECTION\n{{ who }}\n`)
    const requests = []
    const engine = new Engine(undefined, { defaultModel: 'host:m' })
    engine.registerModel('host:m', (request) => {
      requests.push(request)
      return 'Hello!'
    })
    const skills = await SkillRegistry.load(folder)
    engine.installSkills(skills)
    assert.equal((await engine.run('talk.greet.v1', { who: 'Asha' })).text, 'Hello!')
    const [system, user] = requests[0].messages
    assert.ok(textOf(system).includes('Greet.') && textOf(user).includes('Asha'))
    await assert.rejects(engine.run('talk.greet.v1', { who: 5 }), { code: 'invalid_input' })
    assert.throws(() => engine.installSkills(skills), { code: 'already_exists' })
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('a call that needs approval waits for exactly this call', async () => {
  const sent = []
  const send = tool({
    name: 'send',
    description: 'Sends a text to everybody.',
    parameters: { type: 'object', required: ['text'], properties: { text: { type: 'string' } } },
    effects: 'external',
    approval: true,
    rate: { calls: 5, seconds: 60 },
    execute: ({ text }) => {
      sent.push(text)
      return 'sent'
    },
  })
  const engine = new Engine(undefined, { defaultModel: 'host:m' })
  engine.registerModel('host:m', ({ messages }) => {
    const last = messages.at(-1)
    if (last.role === 'tool') return JSON.stringify(last.parts[0].content)
    return { toolCalls: [{ id: '1', name: 'send', arguments: { text: textOf(last) } }] }
  })
  engine.register(new Agent({ name: 'crier', tools: [send] }))
  const waiting = async (run) => {
    for (;;) {
      const [call] = await engine.pendingApprovals(run.id)
      if (call !== undefined) return call
    }
  }

  const run = await engine.start('crier', 'hello')
  const call = await waiting(run)
  assert.deepEqual([call.agent, call.tool, call.arguments, sent], ['crier', 'send', { text: 'hello' }, []])
  assert.deepEqual(await engine.pendingApprovals(), [call])
  await assert.rejects(engine.approve({ ...call, digest: '0'.repeat(64) }), { code: 'permission_denied' })
  await engine.approve(call, { by: 'anna' })
  assert.match((await run.outcome()).text, /sent/)
  assert.deepEqual(sent, ['hello'])
  await assert.rejects(engine.approve(call), ({ code }) => code === 'conflict' || code === 'not_found')

  const second = await engine.start('crier', 'again')
  await engine.deny(await waiting(second), { by: 'anna', reason: 'once is enough' })
  assert.match((await second.outcome()).text, /once is enough/)
  assert.deepEqual(sent, ['hello'])
})

test('an agent calls only tools that it was granted', async () => {
  const send = tool({
    name: 'send',
    description: 'Sends a text to everybody.',
    needs: ['mail.send'],
    cost: '0.25 USD',
    execute: () => 'sent',
  })
  const engine = new Engine(undefined, { defaultModel: 'host:m' })
  engine.registerModel('host:m', ({ messages }) => {
    const last = messages.at(-1)
    if (last.role === 'tool') return JSON.stringify(last.parts[0].content)
    return { toolCalls: [{ id: '1', name: 'send', arguments: {} }] }
  })
  engine.register(new Agent({ name: 'reader', tools: [send], grants: ['files.read'] }))
  engine.register(new Agent({ name: 'crier', tools: [send], grants: ['mail.send'] }))
  const { error, agent, grant } = JSON.parse((await engine.run('reader', 'hello')).text)
  assert.deepEqual([error, agent, grant], ['permission_denied', 'reader', 'mail.send'])
  assert.equal((await engine.run('crier', 'hello')).text, '"sent"')
  const wrong = { name: 'wrong', description: 'Costs much.', cost: 'much', execute: () => 1 }
  assert.throws(() => tool(wrong), { code: 'invalid_input' })
})
