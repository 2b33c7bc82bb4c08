// Layers, budgets and prices from JavaScript, beyond what the scenarios show.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'

import { Agent, agent, embedders, Engine, textTokens } from 'raptorflow'

const prices = [{ model: 'host:it', currency: 'USD', input: 1_000_000, output: 1_000_000, validFrom: new Date('2026-01-01') }]
const file = '[[price]]\nmodel = "host:it"\ncurrency = "USD"\ninput = 1_000_000\noutput = 1_000_000\nvalid_from = 2026-01-01\n'

function engine(settings = {}) {
  const made = new Engine('memory:', { defaultModel: 'host:it', prices, budgets: true, ...settings })
  made.registerModel('host:it', () => ({ text: 'yes', usage: { inputTokens: 1_000 } }))
  made.register(new Agent({ name: 'it' }))
  return made
}

const refused = (work) => work().then(assert.fail, (error) => error)

test('a run that grows dear waits for its approval', async () => {
  const made = engine({ budgets: { approvalAbove: '0.001 USD' } })
  const { code, context, runId } = await refused(() => made.run('it', 'well?'))
  assert.equal(code, 'budget_exceeded')
  assert.match(context.approval, /USD$/)
  await made.approveSpending(runId, { micros: 900_000, currency: 'USD' })
  const outcome = await made.resume(runId)
  assert.deepEqual([outcome.text, outcome.cost], ['yes', { micros: 1_000, currency: 'USD' }])
  const { approved, spent, reserved, at } = await made.balance({ run: runId })
  assert.deepEqual([approved.micros, spent.total.tokens, reserved.tokens], [900_000, 1_000, 0])
  assert.ok(at instanceof Date)
})

test('caps, alerts, reports and users', async () => {
  const made = engine({ budgets: { user: { day: { tokens: 8_000 } } } })
  made.register(agent({ name: 'who', execute: (_input, { user }) => user }))
  for (let run = 0; run < 4; run++) await made.run('it', 'well?', { user: 'asha' })
  const told = made.bus.history().filter(({ kind }) => kind === 'notification_triggered')
  assert.deepEqual(told.map(({ data }) => [data.budget, data.percent]), [['user', 50]])
  await made.setCap({ user: 'asha' }, { tokens: 10 }, 'day')
  assert.equal((await refused(() => made.run('it', 'well?', { user: 'asha' }))).code, 'budget_exceeded')
  assert.deepEqual((await made.balance({ user: 'asha' })).caps.day, { tokens: 10 })
  const report = await made.usage({ user: 'asha', from: new Date(Date.now() - 3_600_000) })
  assert.deepEqual([report.total.calls, report.users.asha.usage.inputTokens, report.anomalies], [4, 4_000, []])
  assert.deepEqual(report.agents.it, report.total)
  assert.equal((await made.usage({ user: 'ravi' })).total.calls, 0)
  assert.equal((await made.run('who', null, { user: 'ravi' })).output, 'ravi')
  const schema = { type: 'string' }
  assert.equal((await made.ask({ schema, question: 'who?', agent: 'who', user: 'ravi' })).output, 'ravi')
  assert.match((await refused(() => made.balance({ agent: 'it' }))).message, /run of the agent/)
})

test('predictions use the prices of the engine', () => {
  const folder = mkdtempSync(join(tmpdir(), 'raptorflow-'))
  const path = join(folder, 'prices.toml')
  try {
    writeFileSync(path, file)
    assert.equal(textTokens('four words in here'), 5)
    for (const made of [engine(), engine({ prices: path }), engine({ prices: pathToFileURL(path) })]) {
      const work = { inputTokens: 100, outputTokens: 50, maxOutputTokens: 80 }
      const { expected, high, confidence } = made.predict('host:it', work)
      assert.deepEqual([expected.money.micros, high.usage.outputTokens, confidence], [150, 80, 'high'])
    }
    writeFileSync(path, file.replace('input', 'inputs'))
    assert.throws(() => engine({ prices: path }), ({ diagnostics }) =>
      diagnostics.some(({ message }) => message.includes('did you mean `input`')))
  } finally {
    rmSync(folder, { recursive: true })
  }
  assert.throws(() => engine({ prices: path }), { code: 'not_found' })
  assert.equal(engine().predict('host:other', { inputTokens: 1, outputTokens: 1 }).high.money, null)
})

test('what layers did is seen', async () => {
  const made = engine({ layers: { cache: { ttlSeconds: 300 }, rateLimit: true } })
  assert.deepEqual([made.breakers(), made.forgetAnswers()], [[], 0])
  for (let run = 0; run < 2; run++) await made.run('it', 'well?', { user: 'asha' })
  const [{ model, state, counts }] = made.breakers()
  assert.deepEqual([model, state, counts.succeeded, counts.heldBack], ['host:it', 'closed', 1, 0])
  const { exactHits, hitRate } = made.cacheStats()
  assert.deepEqual([exactHits, hitRate], [1, 0.5])
  assert.deepEqual(made.rateLimits().map(({ scope, refused }) => [scope, refused]), [['user', 0], ['global', 0]])
  assert.equal(made.rateLimits()[0].rate.perSeconds, 60)
  assert.deepEqual([made.forgetAnswers('other'), made.forgetAnswers('it')], [0, 1])
  assert.equal(engine().cacheStats(), null)
  const near = engine({ layers: { cache: { cosine: 0.8 } }, cacheEmbedder: embedders.hashing() })
  for (const question of ['well?', 'Well.']) await near.run('it', question)
  assert.equal(near.cacheStats().semanticHits, 1)
})

test('a shared count that cannot be reached fails the call and names its host', async () => {
  const made = engine({ layers: { retry: false, rateLimit: { store: 'redis://:hidden@127.0.0.1:1/0' } } })
  const away = await refused(() => made.run('it', 'well?'))
  assert.deepEqual([away.code, away.context.host], ['unavailable', '127.0.0.1:1'])
  assert.ok(!away.message.includes('hidden'))
  assert.throws(() => engine({ layers: { rateLimit: { store: 'tape:' } } }), { code: 'invalid_input' })
})

test('a setting that is wrong is named', () => {
  for (const [settings, field, value] of [
    [{ layers: { retry: { attempts: '5' } } }, 'layers.retry.attempts', '"5"'],
    [{ layers: { rateLimits: true } }, 'layers.rate_limits', 'true'],
    [{ budgets: { run: { total: { money: 0.5 } } } }, 'budgets.run.total.money', '0.5'],
    [{ prices: [{ model: 'a:b' }] }, 'prices[0]', '{"model":"a:b"}'],
  ]) {
    assert.throws(() => engine(settings), (error) => {
      assert.deepEqual([error.code, error.context.field, error.context.value], ['invalid_input', field, value])
      return error.context.expected !== undefined
    })
  }
})

test('an engine without budgets says so', async () => {
  assert.match((await refused(() => new Engine().usage())).message, /without budgets/)
})
