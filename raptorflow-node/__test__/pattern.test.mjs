// Patterns: one line each, members of every kind, decisions, and every problem at once.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import {
  agent,
  debate,
  Engine,
  expertPanel,
  mapReduce,
  parallel,
  Pattern,
  RaptorflowError,
  reflection,
  sequential,
  verification,
  Workflow,
} from 'raptorflow'

/** An engine with an agent for each answer, which is a value or a function of the input. */
function engine(answers) {
  const made = new Engine()
  for (const [name, answer] of Object.entries(answers)) {
    made.register(agent({ name, execute: (input) => (typeof answer === 'function' ? answer(input) : answer) }))
  }
  return made
}

test('a debate is one line and its decision says how it came about', async () => {
  const made = engine({ pro: { position: 'ship' }, con: { position: 'wait' }, judge: 'Position: ship' })
  const { output } = await made.run(debate(['pro', 'con'], { judge: 'judge', rounds: 3, turns: 1 }), 'Do we ship?')
  assert.deepEqual([output.answer, output.stopped, output.agreed], ['ship', 'judged', true])
  assert.deepEqual(output.turns.map((turn) => turn.agent), ['pro', 'con', 'judge'])
  assert.equal(output.tally.sides.length, 2)
})

test('every kind runs from one line', async () => {
  const made = engine({
    a: 'Yes',
    b: 'no',
    c: 'yes.',
    critic: { score: 0.9, verdict: 'approve' },
    double: (number) => number * 2,
    total: (given) => given.items.reduce((sum, item) => sum + item, 0),
  })
  const group = parallel(['a', 'c'], { aggregate: 'majority', name: 'group' })
  for (const [pattern, input, answer] of [
    [sequential(['a', { agent: 'b' }]), 'x', 'no'],
    [parallel(['a', { agent: 'b', weight: 1.5 }, 'c'], { aggregate: 'vote' }), 'x', 'Yes'],
    [verification(['critic'], { author: 'a', allRequired: true }), 'x', 'Yes'],
    [expertPanel(['a', 'c'], { strategy: 'consensus' }), 'x', 'Yes'],
    [mapReduce(['double'], { reducer: 'total', atOnce: 3 }), [1, 2, 3], 12],
    [reflection('a', { critic: 'critic', rounds: 2 }), 'x', 'Yes'],
    [debate([group, 'c'], { earlyStop: true }), 'x', 'Yes'],
  ]) {
    assert.equal((await made.run(pattern, input)).output.answer, answer, pattern.name)
  }
})

test('a pattern is registered and is a step of a workflow', async () => {
  const made = engine({ a: 'yes', b: 'yes' })
  const vote = parallel(['a', 'b'], { aggregate: 'majority', name: 'vote', answerOnly: true })
  made.register(vote)
  assert.deepEqual(new Pattern(vote.toJSON()).toJSON(), vote.toJSON())
  const flow = new Workflow({ name: 'flow', steps: [{ name: 'ask', agent: 'vote' }] })
  assert.equal((await made.run(flow, 'x')).output, 'yes')
})

test('all problems are told at once', () => {
  assert.throws(
    () => debate([{ agent: 'alone', weight: -1 }], { rounds: 0 }),
    (error) => {
      assert.ok(RaptorflowError.isInstance(error))
      assert.deepEqual(error.diagnostics.map((each) => each.code).sort(), ['bad_weight', 'out_of_range', 'too_few'])
      return true
    },
  )
})
