// Runs every story of tests/scenarios with a model, tools and function agents written in JavaScript.

import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { test } from 'node:test'
import { inspect } from 'node:util'

import { Agent, agent, embedders, Engine, KnowledgeBase, Pattern, RaptorflowError, textOf, tool, Workflow } from 'raptorflow'

const folder = new URL('../../tests/scenarios/', import.meta.url)
const files = readdirSync(folder).filter((name) => name.endsWith('.json'))

const FIELDS = {
  scenario: [
    'name',
    'about',
    'storage',
    'model',
    'other_model',
    'settings',
    'tools',
    'functions',
    'agents',
    'workflows',
    'patterns',
    'knowledge',
    'steps',
  ],
  reply: ['text', 'tool_calls', 'usage', 'error'],
  fault: ['kind', 'message', 'retry_after'],
  tool: ['name', 'description', 'parameters', 'effects', 'behavior'],
  function: ['name', 'description', 'behavior'],
  source: ['id', 'text', 'metadata'],
  step: [
    'run',
    'ask',
    'start',
    'outcome',
    'resume',
    'cancel',
    'pause',
    'signal',
    'fork',
    'state',
    'set_cap',
    'usage',
    'define',
    'search',
    'reopen',
    'expect',
  ],
  run: ['agent', 'input', 'capability', 'user'],
  cap: ['run', 'money'],
  whose: ['run', 'user'],
  spent: ['calls', 'cost', 'models'],
  layers: ['breakers', 'cache_hits', 'refused'],
  ask: ['question', 'schema', 'agent', 'model', 'instructions', 'background', 'repairs', 'stream'],
  part: ['value', 'open', 'again'],
  signal: ['run', 'name', 'value', 'by'],
  place: ['run', 'at'],
  changed: ['workflows'],
  search: ['query', 'k', 'mode', 'filter'],
  expect: [
    'output',
    'finish',
    'usage',
    'cost',
    'spent',
    'layers',
    'passages',
    'error',
    'events',
    'requests',
    'model_calls',
    'tool_calls',
    'function_calls',
    'documents',
    'parts',
    'state',
  ],
  shown: ['status', 'input', 'steps', 'outputs', 'signals', 'forked_at'],
  failure: ['kind', 'context', 'says', 'problems'],
  asked: ['roles', 'first', 'last', 'tools', 'passages', 'results'],
  told: ['id', 'name', 'content', 'error', 'says'],
}

function known(kind, given) {
  for (const field of Object.keys(given)) assert.ok(FIELDS[kind].includes(field), `unknown field of a ${kind}: ${field}`)
  return given
}

class Host {
  constructor(scenario) {
    this.replies = (scenario.model ?? []).map((reply) => known('reply', reply))
    this.otherReplies = (scenario.other_model ?? []).map((reply) => known('reply', reply))
    this.failedOnce = new Set()
    this.take()
  }

  /** What reached the callbacks since the last time. */
  take() {
    const calls = this.calls
    this.calls = { requests: [], tools: [], functions: [], unscripted: 0 }
    return calls
  }

  reply(replies, request) {
    this.calls.requests.push(request)
    const reply = replies.shift()
    if (reply === undefined) {
      this.calls.unscripted += 1
      throw new RaptorflowError('internal', 'no reply is left')
    }
    if (reply.error) {
      const { kind, message, retry_after: after } = known('fault', reply.error)
      throw new RaptorflowError(kind, message, after === undefined ? {} : { retry: { after: after * 1000 } })
    }
    const { input_tokens: inputTokens = 0, output_tokens: outputTokens = 0 } = reply.usage ?? {}
    return { text: reply.text ?? '', toolCalls: reply.tool_calls ?? [], usage: { inputTokens, outputTokens } }
  }

  act(name, behavior, given) {
    const { kind, message, value, ...rest } = behavior
    assert.deepEqual(rest, {}, `unknown field of a behavior: ${Object.keys(rest)}`)
    switch (kind) {
      case 'upper':
        return (typeof given === 'string' ? given : given.text).toUpperCase()
      case 'echo':
        return given
      case 'sum':
        return Object.values(given).reduce((sum, number) => sum + number, 0)
      case 'value':
        return value
      case 'fail':
        throw new Error(message)
      case 'fail_once':
        if (this.failedOnce.has(name)) return value
        this.failedOnce.add(name)
        throw new Error(message)
      default:
        assert.fail(`unknown kind of behavior: ${kind}`)
    }
  }

  tool(spec) {
    const { name, description, parameters, effects = 'read', behavior } = known('tool', spec)
    // Half of the callbacks are async and half are not, so that both ways over the border are used.
    const execute = (args) => {
      this.calls.tools.push({ name, arguments: args })
      return this.act(name, behavior, args)
    }
    return tool({ name, description, parameters, effects, execute: name.length % 2 ? execute : async (args) => execute(args) })
  }

  functionAgent(spec) {
    const { name, description = '', behavior } = known('function', spec)
    const execute = async (input) => {
      this.calls.functions.push({ name, input })
      return this.act(name, behavior, input)
    }
    return agent({ name, description, execute })
  }

  /** A workflow, whose steps may call the functions of the scenario; as an object and as text by turns. */
  workflow(spec, functions) {
    const call = ({ name, behavior }) => (input) => {
      this.calls.functions.push({ name, input })
      return this.act(name, behavior, input)
    }
    const named = Object.fromEntries(functions.map((it) => [it.name, call(it)]))
    if (spec.name.length % 2) return Workflow.fromJson(JSON.stringify(spec), named)
    return new Workflow({ ...spec, functions: named })
  }
}

async function open(scenario, workflows, host, folder) {
  const storage = { memory: 'memory:', sqlite: `sqlite:${join(folder, 'scenario.db')}` }[scenario.storage ?? 'memory']
  assert.ok(storage, `unknown storage: ${scenario.storage}`)
  const tools = (scenario.tools ?? []).map((spec) => host.tool(spec))
  // One owner for all engines of a scenario, which follow each other: runs are taken up at once.
  const engine = new Engine(storage, { defaultModel: 'scripted:main', tools, owner: 'scenario', ...scenario.settings })
  engine.registerModel('scripted:main', (request) => host.reply(host.replies, request), { structured: true })
  engine.registerModel('scripted:other', async (request) => host.reply(host.otherReplies, request), { structured: true })
  for (const spec of scenario.agents ?? []) engine.register(new Agent(spec))
  for (const spec of scenario.functions ?? []) engine.register(host.functionAgent(spec))
  const workflow = (spec) => host.workflow(spec, scenario.functions ?? [])
  for (const spec of workflows) engine.register(workflow(spec))
  for (const spec of scenario.patterns ?? []) engine.register(new Pattern(spec))
  if (!scenario.knowledge) return { engine, workflow }
  const kb = await KnowledgeBase.open('memory:', { embedder: embedders.hashing() })
  await kb.add(scenario.knowledge.map((source) => known('source', source)))
  engine.useKnowledge(kb)
  return { engine, workflow, kb }
}

async function ask(engine, { stream, ...options }) {
  if (!stream) return { outcome: await engine.ask(options) }
  const parts = []
  for await (const part of engine.askStream(options)) {
    if (part.kind === 'done') return { outcome: part.outcome, parts }
    parts.push(part.kind === 'again' ? { again: part.attempt } : { value: part.value, open: part.open })
  }
  assert.fail('the stream has no end')
}

async function take(stage, step, last) {
  const { engine, kb } = stage
  const id = (name) => (name === 'last' ? last : name)
  if (step.run) {
    const { agent, input, capability, user } = known('run', step.run)
    return { outcome: await engine.run(agent, input, { capability, user }) }
  }
  if (step.ask) return ask(engine, known('ask', step.ask))
  if (step.resume) return { outcome: await engine.resume(id(step.resume)) }
  if (step.start) {
    const { agent, input, capability } = known('run', step.start)
    stage.started = await engine.start(agent, input, { capability })
    return { run: stage.started.id }
  }
  if (step.outcome) return { outcome: await stage.started.outcome() }
  if (step.pause) return { nothing: await engine.pause(id(step.pause)) }
  if (step.signal) {
    const { run, name, value, by } = known('signal', step.signal)
    return { nothing: await engine.signal(id(run), name, value, { by }) }
  }
  if (step.fork) {
    const { run, at } = known('place', step.fork)
    return { run: await engine.fork(id(run), at) }
  }
  if (step.state) {
    const { run, at } = known('place', step.state)
    return { state: await engine.state(id(run), at) }
  }
  if (step.set_cap) {
    const { run, money } = known('cap', step.set_cap)
    return { nothing: await engine.setCap({ run: id(run) }, { money }) }
  }
  if (step.usage) {
    const { run, user } = known('whose', step.usage)
    return { report: await engine.usage({ run: run && id(run), user }) }
  }
  if (step.define) return { nothing: engine.register(stage.workflow(step.define)) }
  if (step.cancel) return { nothing: await engine.cancel(id(step.cancel)) }
  if (step.search) {
    const { query, ...options } = known('search', step.search)
    return { documents: (await kb.search(query, options)).map((hit) => hit.document) }
  }
  assert.fail('a step does nothing')
}

function says(value) {
  const causes = []
  for (let error = value; error !== undefined; error = error?.cause) causes.push(error?.message ?? inspect(error))
  return causes.join(': ')
}

function compareError(wanted, error) {
  known('failure', wanted)
  assert.ok(RaptorflowError.isInstance(error), `expected the error ${wanted.kind}, got ${error && inspect(error)}`)
  assert.equal(error.code, wanted.kind, error.message)
  for (const [key, value] of Object.entries(wanted.context ?? {})) assert.equal(error.context[key], value, key)
  if (wanted.problems) {
    const told = error.diagnostics.map(({ message }) => message)
    assert.equal(told.length, wanted.problems.length, inspect(told))
    wanted.problems.forEach((part, index) => assert.ok(told[index].includes(part), `${part}: ${told[index]}`))
  }
  if (wanted.says) assert.ok(says(error).includes(wanted.says), `the error does not say ${wanted.says}: ${says(error)}`)
}

function amount({ micros, currency }) {
  return `${(micros / 1e6).toFixed(6)} ${currency}`
}

function compareLayers(wanted, engine) {
  known('layers', wanted)
  const breakers = Object.fromEntries(engine.breakers().map(({ model, state }) => [model, state]))
  if (wanted.breakers) assert.deepEqual(breakers, wanted.breakers)
  if (wanted.cache_hits !== undefined) assert.equal(engine.cacheStats()?.exactHits, wanted.cache_hits)
  const refused = engine.rateLimits().map((rule) => rule.refused)
  if (wanted.refused !== undefined) assert.equal(Math.max(...refused), wanted.refused)
}

function compareState(wanted, state) {
  known('shown', wanted)
  const steps = (field) => Object.fromEntries(state.steps.map((step) => [step.path, step[field]]))
  if (wanted.status) assert.equal(state.status, wanted.status)
  if ('input' in wanted) assert.deepEqual(state.input, wanted.input)
  if (wanted.steps) assert.deepEqual(steps('status'), wanted.steps)
  for (const [path, output] of Object.entries(wanted.outputs ?? {})) assert.deepEqual(steps('output')[path], output, path)
  if (wanted.signals) assert.deepEqual(state.signals.map(({ time, ...signal }) => signal), wanted.signals)
  if (wanted.forked_at !== undefined) assert.equal(state.forkedFrom?.at, wanted.forked_at)
}

function compareRequest(wanted, request) {
  known('asked', wanted)
  const { messages } = request
  assert.deepEqual(messages.map(({ role }) => role), wanted.roles)
  if (wanted.first !== undefined) assert.equal(textOf(messages[0]), wanted.first)
  if (wanted.last !== undefined) assert.equal(textOf(messages.at(-1)), wanted.last)
  if (wanted.tools) assert.deepEqual(request.tools.map(({ name }) => name), wanted.tools)
  const parts = (type) => messages.at(-1).parts.filter((part) => part.type === type)
  if (wanted.passages) assert.deepEqual(parts('passage').map(({ source }) => source), wanted.passages)
  if (!wanted.results) return
  const results = parts('tool_result')
  assert.equal(results.length, wanted.results.length)
  wanted.results.forEach((told, index) => {
    const { id, name, content, isError = false } = results[index]
    assert.deepEqual([id, name], [known('told', told).id, told.name])
    assert.equal(isError, told.error !== undefined)
    if (told.error) assert.equal(content.error, told.error)
    if ('content' in told) assert.deepEqual(content, told.content)
    if (told.says) assert.ok(JSON.stringify(content).includes(told.says), JSON.stringify(content))
  })
}

function compare(expect, happened, calls, events) {
  known('expect', expect)
  if (expect.error) compareError(expect.error, happened.error)
  else if (happened.error) throw happened.error
  assert.equal(calls.unscripted, 0, 'the model was asked more often than it has replies')
  const { outcome } = happened
  if ('output' in expect) assert.deepEqual(outcome.output, expect.output)
  if (expect.finish) assert.deepEqual(outcome.finish, expect.finish)
  const usage = { input_tokens: outcome?.usage.inputTokens, output_tokens: outcome?.usage.outputTokens }
  for (const [field, count] of Object.entries(expect.usage ?? {})) assert.equal(usage[field], count, field)
  if (expect.cost) assert.equal(amount(outcome.cost), expect.cost)
  if (expect.spent) {
    const { total, models } = happened.report
    const calls = Object.fromEntries(Object.entries(models).map(([name, sum]) => [name, sum.calls]))
    assert.deepEqual({ calls: total.calls, cost: amount(total.cost), models: calls }, known('spent', expect.spent))
  }
  if (expect.passages) {
    assert.deepEqual(outcome.passages.map(({ number, source }) => ({ number, source })), expect.passages)
  }
  if (expect.state) compareState(expect.state, happened.state)
  if (expect.parts) assert.deepEqual(happened.parts, expect.parts.map((part) => known('part', part)))
  if (expect.documents) assert.deepEqual(happened.documents, expect.documents)
  if (expect.events) assert.deepEqual(events, expect.events)
  if (expect.model_calls !== undefined) assert.equal(calls.requests.length, expect.model_calls)
  if (expect.requests) {
    assert.equal(calls.requests.length, expect.requests.length)
    expect.requests.forEach((wanted, index) => compareRequest(wanted, calls.requests[index]))
  }
  const sorted = (calls) => calls.map((call) => JSON.stringify(call)).sort()
  // Calls that only read may arrive in any order.
  if (expect.tool_calls) assert.deepEqual(sorted(calls.tools), sorted(expect.tool_calls))
  if (expect.function_calls) assert.deepEqual(calls.functions, expect.function_calls)
}

async function play(scenario, folder) {
  const host = new Host(known('scenario', scenario))
  let stage = await open(scenario, scenario.workflows ?? [], host, folder)
  let last
  for (const [index, step] of scenario.steps.entries()) {
    known('step', step)
    if (step.reopen) {
      await stage.engine.close()
      const { workflows = [] } = step.reopen === true ? scenario : known('changed', step.reopen)
      stage = await open(scenario, workflows, host, folder)
      continue
    }
    const before = stage.engine.bus.stats().published
    const happened = await take(stage, step, last).catch((error) => ({ error }))
    last = happened.run ?? last
    if (step.run || step.ask) last = happened.outcome?.runId ?? happened.error?.runId
    const events = last === undefined ? [] : stage.engine.bus.history({ run: last, from: before })
    try {
      compare(step.expect ?? {}, happened, host.take(), events.map(({ kind }) => kind))
      compareLayers(step.expect?.layers ?? {}, stage.engine)
    } catch (error) {
      error.message = `step ${index}: ${error.message}`
      throw error
    }
  }
  const left = host.replies.length + host.otherReplies.length
  assert.equal(left, 0, `${left} replies of the models were not asked for`)
}

test('there are scenarios', (t) => {
  t.diagnostic(`${files.length} scenarios`)
  assert.ok(files.length > 20)
})

for (const name of files) {
  test(basename(name, '.json').replaceAll('_', ' '), async () => {
    const scenario = JSON.parse(readFileSync(new URL(name, folder), 'utf8'))
    assert.equal(scenario.name, basename(name, '.json'))
    const temporary = mkdtempSync(join(tmpdir(), 'raptorflow-'))
    try {
      await play(scenario, temporary)
    } finally {
      rmSync(temporary, { recursive: true, force: true })
    }
  })
}
