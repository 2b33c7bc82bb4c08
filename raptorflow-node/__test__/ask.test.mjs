// Typed questions: schemas of libraries, what shows as it arrives, and how a question ends.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Agent, Engine, RaptorflowError } from 'raptorflow'

const price = {
  type: 'object',
  properties: { net: { type: 'number' }, currency: { type: 'string' } },
  required: ['net', 'currency'],
}
const fits = '{"net": 17, "currency": "INR"}'

/** An object of a schema library: standard-schema with a validation of its own. */
const library = {
  '~standard': {
    version: 1,
    vendor: 'test',
    jsonSchema: { input: () => price },
    validate: async (value) =>
      value.net > 0 ? { value: { ...value, gross: value.net * 2 } } : { issues: [{ message: 'too small', path: ['net'] }] },
  },
}

/** An engine whose model gives the replies in order. */
function engineOf(...replies) {
  const engine = new Engine('memory:', { defaultModel: 'host:script' })
  engine.registerModel('host:script', () => replies.shift())
  return engine
}

test('an answer has the form of the schema, and a library makes of it what it likes', async () => {
  const engine = engineOf(fits, fits, '{"net": 0, "currency": "INR"}', '{"value": [1]}')
  const { output, text, runId } = await engine.ask({ schema: price, question: 'net?' })
  assert.deepEqual([output, text], [{ net: 17, currency: 'INR' }, '{"net":17,"currency":"INR"}'])
  assert.deepEqual((await engine.resume(runId)).output, output)
  assert.equal((await engine.ask({ schema: library, question: 'net?' })).output.gross, 34)
  await assert.rejects(engine.ask({ schema: library, question: 'net?' }), {
    code: 'invalid_output',
    context: { problems: 'net: too small' },
  })
  assert.deepEqual((await engine.ask({ schema: { type: 'array' }, question: 'net?' })).output, [1])
})

test('an answer that never fits is an error with its problems and without its words', async () => {
  const engine = engineOf('{"net": "secret", "currency": "INR"}', 'no')
  const error = await engine.ask({ schema: price, question: 'net?', repairs: 0 }).catch((error) => error)
  assert.equal(error.code, 'invalid_output')
  assert.match(error.diagnostics[0].message, /number/)
  assert.ok(!`${error.message} ${error.cause?.message}`.includes('secret'))
})

test('an agent is asked by its name or itself, with nothing said of a model', async () => {
  const engine = engineOf(fits, fits)
  const agent = new Agent({ name: 'pricing', instructions: 'Be exact.' })
  assert.equal((await engine.ask({ schema: price, question: 'net?', agent })).output.net, 17)
  assert.equal((await engine.ask({ schema: price, question: 'net?', agent: 'pricing' })).output.net, 17)
  const refused = engine.ask({ schema: price, question: 'net?', agent, limits: { steps: 1 } })
  await assert.rejects(refused, { code: 'invalid_input', context: { field: 'limits' } })
})

test('an answer shows as it arrives, and its outcome can be waited for', async () => {
  const engine = engineOf({ text: ['{"net": 1', '7, "curr', 'ency": "INR"}'] }, { text: ['{"net": 1', '7, "currency": "INR"}'] })
  const stream = engine.askStream({ schema: library, question: 'net?' })
  assert.equal(stream.runId, undefined)
  const parts = []
  for await (const part of stream) parts.push(part.kind === 'done' ? part.outcome.output.gross : [part.value, part.open])
  assert.deepEqual(parts, [[{}, ''], [{ net: 17 }, ''], [{ net: 17, currency: 'INR' }, null], 34])
  assert.equal(typeof stream.runId, 'string')
  assert.equal((await engine.askStream({ schema: price, question: 'net?' }).outcome()).output.net, 17)
})

test('a stream that is left stops its run, which can be resumed', async () => {
  const engine = engineOf({ text: [fits.slice(0, 9), fits.slice(9)] }, fits)
  const stream = engine.askStream({ schema: price, question: 'net?' })
  for await (const part of stream) {
    assert.equal(part.kind, 'partial')
    break
  }
  await assert.rejects(stream.outcome(), { code: 'cancelled' })
  assert.equal((await engine.resume(stream.runId)).output.net, 17)
})

test('a signal cancels a question before it begins and while it waits', async () => {
  const engine = new Engine('memory:', { defaultModel: 'host:hang' })
  const late = new AbortController()
  engine.registerModel('host:hang', () => {
    late.abort(new Error('enough'))
    return new Promise(() => undefined)
  })
  const never = { schema: price, question: 'net?', signal: AbortSignal.abort() }
  for (const asked of [engine.ask(never), engine.askStream(never).next()]) await assert.rejects(asked, { code: 'cancelled' })
  const error = await engine.askStream({ schema: price, question: 'net?', signal: late.signal }).outcome().catch((error) => error)
  assert.ok(RaptorflowError.isInstance(error))
  assert.deepEqual([error.code, error.cause.message], ['cancelled', 'enough'])
})
