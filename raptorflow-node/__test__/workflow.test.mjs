// Workflows: steps of every kind, gates and signals, resume after an end, forks, and every problem at once.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'

import { agent, Engine, RaptorflowError, tool, Workflow } from 'raptorflow'

import { held } from './held.mjs'

const folder = mkdtempSync(join(tmpdir(), 'raptorflow-'))
after(() => rmSync(folder, { recursive: true, force: true }))

async function failure(work) {
  try {
    await work()
  } catch (error) {
    assert.ok(RaptorflowError.isInstance(error), error)
    return error
  }
  return assert.fail('there was no error')
}

async function output(flow, input = null, engine = new Engine()) {
  return (await engine.run(flow, input)).output
}

/** A step, a gate and a step that notes what it is given. */
function launch(published, more = []) {
  return new Workflow({
    name: 'launch',
    description: 'Asks before it publishes.',
    steps: [
      { name: 'draft', execute: (topic) => ({ text: `About ${topic}.` }) },
      {
        name: 'approve',
        gate: { prompt: 'Publish this?', choices: [true, false], approvers: ['anna'] },
        after: 'draft',
      },
      {
        name: 'publish',
        execute: (text) => (published.push(text), 'done'),
        input: '$draft/text',
        after: ['approve'],
      },
      ...more,
    ],
  })
}

/** Waits until a step is recorded. */
async function until(engine, run, path) {
  while (!(await engine.state(run)).steps.some((step) => step.path === path && step.ended)) await turn()
}

test('a signal lets a run pass its gate', async () => {
  const published = []
  const engine = new Engine()
  const run = await engine.start(launch(published), 'lamps')
  let questions = []
  while (questions.length === 0) ({ questions } = await engine.state(run.id))
  const [{ since, ...asked }] = questions
  assert.deepEqual(asked, { path: 'approve', prompt: 'Publish this?', choices: [true, false], approvers: ['anna'] })
  assert.ok(Date.parse(since) > 0)
  const refused = [
    ['approve', true, { by: 'bert' }, 'permission_denied'],
    ['approve', 'maybe', { by: 'anna' }, 'invalid_input'],
    ['aprove', true, { by: 'anna' }, 'not_found'],
  ]
  for (const [name, value, options, code] of refused) {
    assert.equal((await failure(() => engine.signal(run.id, name, value, options))).code, code)
  }
  await engine.signal(run.id, 'approve', true, { by: 'anna' })
  assert.equal((await run.outcome()).output, 'done')
  assert.deepEqual(published, ['About lamps.'])
  assert.equal((await failure(() => engine.signal(run.id, 'approve', true, { by: 'anna' }))).code, 'conflict')
  const { status, target, input, usage, signals, steps, forkedFrom } = await engine.state(run.id)
  assert.deepEqual([status, target, input, usage.inputTokens, forkedFrom], ['completed', 'launch', 'lamps', 0, undefined])
  assert.deepEqual(signals.map(({ name, value, by }) => [name, value, by]), [['approve', true, 'anna']])
  assert.deepEqual((await engine.state(run.id)).questions, [])
  const publish = steps.find(({ path }) => path === 'publish')
  assert.deepEqual([publish.status, publish.output, publish.attempts, typeof publish.took], ['completed', 'done', 1, 'number'])
  assert.equal((await engine.state(run.id, 1)).status, 'running')
})

test('an answer of false skips what comes after', async () => {
  const published = []
  const engine = new Engine()
  const run = await engine.start(launch(published), 'lamps')
  await engine.signal(run.id, 'approve', false, { by: 'anna' })
  assert.equal((await run.outcome()).output, null)
  assert.deepEqual(published, [])
})

test('a run goes on in another engine under the same owner', async () => {
  const [published, counted] = [[], []]
  const flow = launch(published, [{ name: 'count', execute: (topic) => (counted.push(topic), 1) }])
  const address = `sqlite:${join(folder, 'team.db')}`
  const id = '0199c7f0-0000-7000-8000-000000000001'
  const first = new Engine(address, { owner: 'worker-1' })
  const run = await first.start(flow, 'lamps', { id })
  assert.equal(run.id, id)
  await until(first, id, 'draft')
  await until(first, id, 'count')
  await first.close()
  const second = new Engine(address, { owner: 'worker-1' })
  second.register(flow)
  await second.signal(id, 'approve', true, { by: 'anna' })
  assert.deepEqual((await second.resume(id)).output, { publish: 'done', count: 1 })
  assert.deepEqual([counted, published], [['lamps'], ['About lamps.']])
  await second.close()
})

test('every attempt of a step has the same idempotency key', async () => {
  const keys = []
  const execute = async (input, { idempotencyKey, path }) => {
    keys.push(idempotencyKey)
    if (keys.length < 3) throw new RaptorflowError('unavailable', 'down', { retry: 'soon' })
    return `${input} at ${path}`
  }
  const flow = new Workflow({ name: 'w', steps: [{ name: 'flaky', execute, retries: 3, retryDelay: 0 }] })
  assert.equal(await output(flow, 'x'), 'x at flaky')
  assert.equal(keys.length, 3)
  assert.equal(new Set(keys).size, 1)
  assert.ok(keys[0])
})

test('steps of every kind run', async () => {
  const store = tool({
    name: 'store',
    description: 'Stores a text.',
    parameters: { type: 'object', properties: { text: { type: 'string' } }, required: ['text'] },
    effects: 'write',
    execute: ({ text }) => `stored ${text}`,
  })
  const shout = agent({ name: 'shout', execute: (input) => input.toUpperCase() })
  const whisper = agent({ name: 'whisper', execute: (input) => input.toLowerCase() })
  const again = new Workflow({ name: 'again', steps: [{ name: 'add', execute: (n) => n + 1 }] })
  const inner = { name: 'inner', steps: [{ name: 'twice', execute: (text) => text + text }] }
  const flow = new Workflow({
    name: 'kinds',
    output: { all: '$voices', stored: '$store', n: '$grow', each: '$each' },
    steps: [
      { name: 'shout', agent: shout },
      { name: 'voices', agents: [shout, 'whisper'], aggregate: 'all', input: '$input' },
      { name: 'twice', workflow: inner, after: ['shout'] },
      { name: 'store', tool: store, input: { text: '$twice' }, after: ['twice'] },
      { name: 'wait', timer: { seconds: 0 }, after: ['store'] },
      { name: 'grow', repeat: { workflow: again, atMost: 9, until: { atLeast: 3 } }, input: 0, after: ['wait'] },
      { name: 'late', timer: { until: new Date(0) }, after: ['grow'] },
      { name: 'each', map: [1, 2, 3], execute: async (n) => n * n, after: ['late'] },
    ],
  })
  const engine = new Engine(undefined, { tools: [store] })
  for (const it of [shout, whisper, flow]) engine.register(it)
  assert.deepEqual(await output('kinds', 'Hi', engine), {
    all: { shout: 'HI', whisper: 'hi' },
    stored: 'stored HIHI',
    n: 3,
    each: [1, 4, 9],
  })
})

test('an agent that is given itself becomes known, and a taken name stays as it is', async () => {
  const engine = new Engine()
  const one = agent({ name: 'it', execute: () => 1 })
  assert.equal(await output(one, '', engine), 1)
  assert.deepEqual(engine.agents, ['it'])
  assert.equal(await output(agent({ name: 'it', execute: () => 2 }), '', engine), 2)
  assert.equal(await output('it', '', engine), 1)
})

for (const [score, way] of [[0.9, 'good'], [0.2, 'bad']]) {
  test(`a condition decides the way to ${way}`, async () => {
    const flow = new Workflow({
      name: 'ways',
      output: '$end',
      steps: [
        { name: 'score', execute: (value) => ({ value }) },
        { name: 'good', execute: () => 'good', after: [{ step: 'score', when: { at: '/value', atLeast: 0.7 } }] },
        { name: 'bad', execute: () => 'bad', after: [{ step: 'score', when: { not: { at: '/value', all: [{ atLeast: 0.7 }] } } }] },
        { name: 'end', execute: (way) => way, after: ['good', 'bad'], join: 'any' },
      ],
    })
    assert.ok(JSON.stringify(await output(flow, score)).includes(way))
  })
}

test('a failure takes the steps before back, and an optional step may fail', async () => {
  const undone = []
  const fail = () => {
    throw new RaptorflowError('conflict', 'sold out')
  }
  const flow = new Workflow({
    name: 'order',
    steps: [
      { name: 'book', execute: () => 'seat 7', compensate: (seat) => void undone.push(seat) },
      { name: 'gift', execute: fail, optional: true, retries: 0, after: ['book'] },
      { name: 'pay', execute: fail, retries: 0, after: ['gift'] },
    ],
  })
  const { code, reason } = await failure(() => output(flow))
  assert.deepEqual([code, reason], ['conflict', 'sold out'])
  assert.deepEqual(undone, ['seat 7'])
})

test('all problems are told at once', async () => {
  const broken = {
    name: 'broken',
    steps: [
      { name: 'a', execute: () => 1, agent: 'writer' },
      { name: 'b', execute: () => 1, after: ['nowhere'] },
      { name: 'b', tool: 't' },
      { name: 'ask', gate: { choices: [] }, after: ['b'] },
    ],
  }
  const { code, diagnostics } = await failure(() => new Workflow(broken))
  assert.equal(code, 'invalid_input')
  assert.ok(diagnostics.length >= 4)
  const said = diagnostics.map(({ message, pointer }) => `${pointer} ${message}`).join('\n')
  for (const part of ['exactly one of', 'nowhere', '`b`', 'ask']) assert.ok(said.includes(part), said)
  const typo = { name: 'x', steps: [{ name: 'a', tiemout: 3 }] }
  const unknown = await failure(() => new Workflow(typo))
  assert.match(unknown.message, /unknown field `tiemout`/)
  assert.equal(unknown.context.field, 'workflow')
})

test('what is no workflow, agent or function is refused', async () => {
  const engine = new Engine()
  assert.equal((await failure(() => engine.register({ name: 'x' }))).code, 'invalid_input')
  assert.equal((await failure(() => engine.run({ name: 'x' }, ''))).code, 'invalid_input')
  assert.equal((await failure(() => new Workflow({ name: 'x', steps: [{ name: 'a', execute: 3 }] }))).code, 'invalid_input')
  assert.equal((await failure(() => new Workflow({ name: 'x', functions: { a: 3 } }))).context.field, 'functions.a')
  for (const steps of [3, [{ name: 'a', agents: 'b' }], [{ name: 'a', after: 3 }]]) {
    assert.equal((await failure(() => new Workflow({ name: 'x', steps }))).code, 'invalid_input')
  }
})

test('a workflow is read from TOML and written as JSON', async () => {
  const text = `
    name = "greet"
    timeout = 60
    [[steps]]
    name = "say"
    function = "hello"
    compensate = { function = "unsay" }
  `
  const functions = { hello: (name) => `hello ${name}`, unsay: () => null }
  const flow = Workflow.fromToml(text, functions)
  assert.deepEqual([flow.name, await output(flow, 'Ada')], ['greet', 'hello Ada'])
  const again = Workflow.fromJson(JSON.stringify(flow), functions)
  assert.deepEqual(again.toJSON(), flow.toJSON())
  const outer = new Workflow({ name: 'outer', steps: [{ name: 'inner', workflow: again }] })
  assert.equal(await output(outer, 'Bo'), 'hello Bo')
  const plain = { name: 'plain', steps: [{ name: 'say', function: 'hello' }] }
  const around = new Workflow({ name: 'around', functions, steps: [{ name: 'inner', workflow: plain }] })
  assert.equal(await output(around, 'Cy'), 'hello Cy')
  assert.equal((await failure(() => Workflow.fromToml(text))).diagnostics.length, 2)
  const [{ line, column }] = (await failure(() => Workflow.fromToml('name = 3'))).diagnostics
  assert.deepEqual([line, column], [1, 8])
})

test('a fork repeats only what comes after its place', async () => {
  const calls = []
  const step = (name) => (n) => (calls.push(name), n + 1)
  const flow = new Workflow({
    name: 'count',
    steps: [
      { name: 'a', execute: step('a') },
      { name: 'b', execute: step('b'), after: ['a'] },
    ],
  })
  const engine = new Engine()
  const { runId } = await engine.run(flow, 1)
  const at = (await engine.history(runId)).find(({ path }) => path === 'a').sequence + 1
  const forked = await engine.fork(runId, at)
  assert.equal((await engine.resume(forked)).output, 3)
  assert.deepEqual(calls, ['a', 'b', 'b'])
  assert.deepEqual((await engine.state(forked)).forkedFrom, { runId, at })
  assert.equal((await failure(() => engine.fork(runId, 99))).code, 'invalid_input')
  assert.equal((await failure(() => engine.fork(runId, 1.5))).context.field, 'at')
})

test('a paused run begins nothing new until it is resumed', async () => {
  let begin, go
  const begun = new Promise((resolve) => (begin = resolve))
  const gone = new Promise((resolve) => (go = resolve))
  const flow = new Workflow({
    name: 'two',
    steps: [
      { name: 'a', execute: () => (begin(), gone) },
      { name: 'b', execute: (n) => n + 1, after: ['a'] },
    ],
  })
  const engine = new Engine()
  const run = await engine.start(flow, null)
  await held(begun)
  await engine.pause(run.id)
  assert.equal((await failure(() => engine.pause(run.id))).code, 'conflict')
  assert.equal((await engine.runs({ status: 'paused' })).runs[0].runId, run.id)
  go(1)
  assert.equal((await engine.resume(run.id)).output, 2)
})

test('a run that waits at a gate is cancelled by its id', async () => {
  const engine = new Engine()
  const run = await engine.start(launch([]), 'lamps')
  await engine.cancel(run.id)
  assert.equal((await failure(() => run.outcome())).code, 'cancelled')
  assert.equal((await failure(() => engine.signal(run.id, 'approve', true, { by: 'anna' }))).code, 'conflict')
})

test('runs are listed by what is wanted, a page at a time', async () => {
  const engine = new Engine()
  engine.register(agent({ name: 'it', execute: () => 1 }))
  const [first, second] = [await engine.run('it', 1), await engine.run('it', 2)]
  const ids = ({ runs }) => runs.map(({ runId }) => runId)
  const page = await engine.runs({ limit: 1 })
  assert.deepEqual(ids(page), [first.runId])
  const rest = await engine.runs({ limit: 1, after: page.next })
  assert.deepEqual(ids(rest), [second.runId])
  const [{ started }] = rest.runs
  assert.deepEqual(ids(await engine.runs({ startedBefore: started, status: 'completed', target: 'it' })), [first.runId])
  assert.deepEqual(ids(await engine.runs({ startedAfter: started })), [second.runId])
  assert.deepEqual(ids(await engine.runs({ startedAfter: new Date('2100-01-01') })), [])
  for (const wrong of [{ status: 'done' }, { startedAfter: 'soon' }, { after: 'no id' }, { agent: 'it' }]) {
    assert.equal((await failure(() => engine.runs(wrong))).code, 'invalid_input')
  }
})
