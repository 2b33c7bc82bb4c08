// The exported names are those of tests/surface.toml, neither more nor fewer.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

import * as raptorflow from 'raptorflow'

const { Agent, agent, Cassette, embedders, Engine, KnowledgeBase, Pack, parallel, RaptorflowError } = raptorflow
const { ReplayModel, Report, Rerank, ScriptedModel, tool, Workflow } = raptorflow

/** The `node` lists of the file; no more of TOML than it uses. */
function listed() {
  const text = readFileSync(new URL('../../tests/surface.toml', import.meta.url), 'utf8')
  return [...text.matchAll(/^node = \[([^\]]*)\]/gm)].flatMap(([, names]) =>
    [...names.matchAll(/"([^"]+)"/g)].map(([, name]) => name),
  )
}

async function instances() {
  const engine = new Engine()
  engine.register(agent({ name: 'it', execute: () => 1 }))
  const stream = engine.stream('it', '')
  const report = { goal: '', sections: [], disagreements: [], dropped: [], sources: [], usage: {}, cost: null }
  return {
    Engine: engine,
    AnswerStream: engine.askStream({ schema: {}, question: '' }),
    EventBus: engine.bus,
    Stream: stream,
    Run: await stream.run(),
    Subscription: engine.bus.subscribe(),
    Agent: new Agent({ name: 'x' }),
    Tool: tool({ name: 'x', description: 'x', execute: () => 1 }),
    Embedder: embedders.hashing(),
    KnowledgeBase: await KnowledgeBase.open('memory:', { embedder: embedders.hashing() }),
    Pack: await Pack.load(fileURLToPath(new URL('../../packs/council', import.meta.url))),
    RaptorflowError: new RaptorflowError('internal', 'x'),
    ScriptedModel: new ScriptedModel(),
    ReplayModel: await ReplayModel.ofRun(engine, (await engine.run('it', '')).runId),
    Cassette: new Cassette(join(tmpdir(), 'raptorflow-no-cassette.jsonl'), { mode: 'auto' }),
    Rerank: new Rerank(() => []),
    Pattern: parallel(['a']),
    Workflow: new Workflow({ name: 'x', steps: [{ name: 'a', timer: { seconds: 0 } }] }),
    Report: new Report({ ...report, decision: { router: 'x', teams: [], agents: [] } }),
  }
}

const NOT_OURS = new Set(['constructor', 'length', 'name', 'prototype'])
// Marked internal, so that the types do not have them.
const INTERNAL = new Set(['Agent.ofFunction', 'Run.begin', 'Subscription.attach', 'Subscription.closeWith', 'Subscription.deliver'])

function members(name, instance) {
  const value = raptorflow[name]
  const own = (object) => Object.getOwnPropertyNames(object)
  const static_ = own(value).filter((member) => !NOT_OURS.has(member))
  const methods = typeof value === 'function' && value.prototype ? own(value.prototype) : []
  const fields = instance ? own(instance) : []
  return [...static_, ...methods.filter((member) => !NOT_OURS.has(member)), ...fields.filter((member) => !['stack', 'message', 'cause'].includes(member))]
}

test('the exported names and their members are those of surface.toml', async () => {
  const samples = await instances()
  const found = new Set()
  for (const name of Object.keys(raptorflow)) {
    found.add(name)
    if (name === 'errorCodes') continue
    for (const member of members(name, samples[name])) {
      if (!INTERNAL.has(`${name}.${member}`)) found.add(`${name}.${member}`)
    }
  }
  found.delete('RaptorflowError.name')
  assert.deepEqual([...found].sort(), [...new Set(listed())].sort())
})

test('the types have what the values have', () => {
  const types = readFileSync(new URL('../lib/index.d.ts', import.meta.url), 'utf8')
  for (const name of Object.keys(raptorflow)) assert.match(types, new RegExp(`\\b${name}\\b`))
})
