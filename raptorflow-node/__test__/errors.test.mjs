// Errors across the border: codes, causes, places in values that are not JSON.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

import { Agent, agent, Engine, errorCodes, RaptorflowError, tool } from 'raptorflow'

function engineOf(execute) {
  const engine = new Engine()
  engine.register(agent({ name: 'it', execute }))
  return engine
}

async function failure(work) {
  try {
    await work()
  } catch (error) {
    assert.ok(RaptorflowError.isInstance(error), String(error))
    return error
  }
  return assert.fail('it did not fail')
}

test('every code goes to the core and comes back', async () => {
  const engine = engineOf((code) => {
    throw new RaptorflowError(code, 'as asked', { context: { place: 'here' }, retry: 'soon' })
  })
  assert.equal(errorCodes.length, 17)
  for (const code of errorCodes) {
    const error = await failure(() => engine.run('it', code))
    assert.deepEqual([error.code, error.reason, error.context.place, error.retry], [code, 'as asked', 'here', 'soon'])
  }
})

test('a pause that was named survives', async () => {
  const engine = engineOf(() => {
    throw new RaptorflowError('rate_limited', 'slow down', { retry: { after: 1500 } })
  })
  assert.deepEqual((await failure(() => engine.run('it', ''))).retry, { after: 1500 })
})

test('the cause is the very object that was thrown', async () => {
  class Mine extends TypeError {}
  for (const thrown of [new Mine('no ink'), 'boom', 7, null, { odd: true }, Symbol('s'), new RaptorflowError('conflict', 'x')]) {
    for (const execute of [
      () => {
        throw thrown
      },
      async () => {
        throw thrown
      },
      () => Promise.reject(thrown),
    ]) {
      const error = await failure(() => engineOf(execute).run('it', ''))
      assert.equal(error.cause, thrown)
      assert.equal(error.code, thrown instanceof RaptorflowError ? 'conflict' : 'callback')
    }
  }
})

test('a thrown error says its class and its message', async () => {
  const engine = engineOf(() => {
    throw new RangeError('too far')
  })
  const error = await failure(() => engine.run('it', ''))
  assert.equal(error.context.exception, 'RangeError')
  assert.match(error.message, /^agent\.call: too far \(exception: RangeError, run: /)
  assert.match(error.stack, /errors\.test\.mjs/)
})

test('an error that went through two runs keeps code and cause', async () => {
  const engine = new Engine()
  const thrown = new Error('deep')
  engine.register(
    agent({
      name: 'inner',
      execute: () => {
        throw thrown
      },
    }),
  )
  engine.register(agent({ name: 'outer', execute: () => engine.run('inner', '') }))
  const error = await failure(() => engine.run('outer', ''))
  assert.equal(error.code, 'callback')
  assert.ok(RaptorflowError.isInstance(error.cause))
  assert.equal(error.cause.cause, thrown)
})

test('an unknown agent is named, and what there is instead', async () => {
  const error = await failure(() => engineOf(() => 1).run('itt', ''))
  assert.equal(error.code, 'not_found')
  assert.deepEqual(error.context, { agent: 'itt', nearest: 'it' })
  assert.equal(error.runId, undefined)
})

test('a failed run has an id and is taken up again', async () => {
  let calls = 0
  const engine = engineOf(() => {
    calls += 1
    if (calls === 1) throw new Error('not yet')
    return 'now'
  })
  const { runId } = await failure(() => engine.run('it', ''))
  assert.equal((await engine.resume(runId)).output, 'now')
  const [summary] = (await engine.runs()).runs
  assert.deepEqual([summary.runId, summary.status, summary.error], [runId, 'completed', undefined])
})

test('the journal keeps what a failed run failed with', async () => {
  const engine = engineOf(() => {
    throw new RaptorflowError('unavailable', 'down', { retry: { after: 20 } })
  })
  const { runId } = await failure(() => engine.run('it', ''))
  const [{ error, status, target }] = (await engine.runs()).runs
  assert.deepEqual([status, target, error.code, error.reason, error.retry], ['failed', 'it', 'unavailable', 'down', { after: 20 }])
  const history = await engine.history(runId)
  assert.deepEqual([history[0].fact, history.at(-1).fact], ['execution_started', 'execution_failed'])
  assert.deepEqual(await engine.history(runId, { from: 1, limit: 1 }), [history[1]])
})

test('instances are known by a brand, also those of another copy', async () => {
  const { RaptorflowError: Other } = await import('../lib/error.js?another-copy')
  assert.notEqual(Other, RaptorflowError)
  assert.ok(RaptorflowError.isInstance(new Other('timeout', 'late')))
  for (const other of [undefined, null, 'x', {}, new Error('x')]) assert.ok(!RaptorflowError.isInstance(other))
})

test('a value that is not JSON is refused with its path', async () => {
  const cycle = { a: [] }
  cycle.a.push(cycle)
  let deep = 0
  for (let i = 0; i < 200; i++) deep = [deep]
  const cases = [
    [undefined, 'input', 'undefined'],
    [10n, 'input', 'bigint'],
    [{ a: [1, { b: 10n }] }, 'input.a[1].b', 'bigint'],
    [{ 'odd key': NaN }, 'input["odd key"]', 'NaN'],
    [[Infinity], 'input[0]', 'Infinity'],
    [{ f() {} }, 'input.f', 'function'],
    [{ s: Symbol('x') }, 'input.s', 'symbol'],
    [[undefined], 'input[0]', 'undefined'],
    // eslint-disable-next-line no-sparse-arrays
    [[1, , 2], 'input[1]', 'undefined'],
    [cycle, 'input.a[0]', 'a cycle'],
    [{ m: new Map([[1, 2]]) }, 'input.m', 'Map'],
    [{ s: new Set() }, 'input.s', 'Set'],
    [{ p: Promise.resolve(1) }, 'input.p', 'Promise'],
    [{ v: new Float32Array(2) }, 'input.v', 'binary data'],
    [{ d: new Date(NaN) }, 'input.d', 'an invalid date'],
    [{ t: 'x\ud800' }, 'input.t', 'half of a surrogate pair'],
    [deep, `input${'[0]'.repeat(100)}`, 'nested deeper than 100'],
  ]
  const engine = engineOf((input) => input)
  for (const [value, path, got] of cases) {
    const error = await failure(() => engine.run('it', value))
    assert.deepEqual([error.code, error.context], ['invalid_input', { path, got }])
  }
})

test('what JSON can say arrives as it is', async () => {
  const engine = engineOf((input) => input)
  const values = [null, true, 0, -0.5, 2 ** 53 - 1, 1e300, '', 'a\u0000b ₹ 😀', [], {}, [[[]]], { __proto__: null, a: { b: 1 } }]
  for (const value of values) assert.deepEqual((await engine.run('it', value)).output, JSON.parse(JSON.stringify(value)))
  const { output } = await engine.run('it', { at: new Date(0), left: undefined, url: new URL('https://x.example/') })
  assert.deepEqual(output, { at: '1970-01-01T00:00:00.000Z', url: 'https://x.example/' })
  const { output: polluted } = await engine.run('it', JSON.parse('{"__proto__": {"polluted": 1}}'))
  assert.equal({}.polluted, undefined)
  assert.deepEqual(Object.keys(polluted), ['__proto__'])
})

test('an answer that is not JSON is refused with its path', async () => {
  for (const [answer, path] of [
    [{ total: 10n }, 'it().total'],
    [{ list: [NaN] }, 'it().list[0]'],
  ]) {
    for (const execute of [() => answer, async () => answer]) {
      const error = await failure(() => engineOf(execute).run('it', ''))
      assert.deepEqual([error.code, error.context.path], ['invalid_output', path])
    }
  }
  assert.equal((await engineOf(() => undefined).run('it', '')).output, null)
})

test('what a model function answers in another form is refused', async () => {
  const engine = new Engine(undefined, { defaultModel: 'host:odd' })
  engine.registerModel('host:odd', () => 42)
  engine.register(new Agent({ name: 'it' }))
  assert.equal((await failure(() => engine.run('it', ''))).code, 'invalid_output')
})

test('options that do not exist are refused by name', async () => {
  const engine = engineOf(() => 1)
  assert.match((await failure(() => engine.run('it', '', { tiemout: 3 }))).message, /unknown field `tiemout`/)
  assert.match((await failure(() => new Engine('memory:', { model: 'x:y' }))).message, /unknown field `model`/)
  assert.match((await failure(() => new Agent({ name: 'x', instruction: 'y' }))).message, /unknown field `instruction`/)
  assert.match((await failure(() => engine.bus.subscribe({ kind: ['x'] }))).message, /unknown field `kind`/)
})

test('counts that are none are refused', async () => {
  const engine = engineOf(() => 1)
  const { runId } = await engine.run('it', '')
  for (const wrong of [-1, 1.5, NaN, Infinity, 2 ** 32, '3']) {
    for (const work of [
      () => engine.runs({ limit: wrong }),
      () => engine.history(runId, { limit: wrong }),
      () => engine.history(runId, { from: wrong }),
      () => engine.bus.history({ from: wrong }),
      () => engine.bus.subscribe({ capacity: wrong }),
    ]) {
      const { code, context } = await failure(work)
      assert.deepEqual([code, context.value], ['invalid_input', String(wrong)])
    }
  }
  assert.equal((await failure(() => engine.bus.subscribe({ capacity: 0 }))).context.field, 'capacity')
})

test('names are given once', async () => {
  const engine = engineOf(() => 1)
  assert.equal((await failure(() => engine.register(agent({ name: 'it', execute: () => 1 })))).code, 'already_exists')
  engine.registerModel('host:x', () => '')
  assert.equal((await failure(() => engine.registerModel('host:x', () => ''))).code, 'already_exists')
  assert.equal((await failure(() => engine.registerModel('nocolon', () => ''))).code, 'invalid_input')
  assert.equal((await failure(() => agent({ name: ' x', execute: () => 1 }))).code, 'invalid_input')
})

test('what is no tool, agent or function is refused', async () => {
  assert.equal((await failure(() => tool({ name: 'x', description: 'x' }))).code, 'invalid_input')
  assert.equal((await failure(() => agent({ name: 'x' }))).code, 'invalid_input')
  assert.equal((await failure(() => new Agent({ name: 'x', tools: [{ name: 'y' }] }))).code, 'invalid_input')
  assert.equal((await failure(() => new Engine().register({ name: 'x' }))).code, 'invalid_input')
  assert.equal((await failure(() => new Engine().registerModel('host:x', 'y'))).code, 'invalid_input')
})

test('a file that is no database and an address of no backend are clear errors', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'raptorflow-'))
  try {
    const file = join(folder, 'not.db')
    writeFileSync(file, 'this is not a database, and it is long enough to be looked at'.repeat(20))
    const error = await failure(() => new Engine(`sqlite:${file}`))
    assert.ok(error.message.includes('not.db'), error.message)
    assert.equal(error.code, 'corrupt')
    assert.match((await failure(() => new Engine('mongo:x'))).message, /sqlite/)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('a schema that says nothing in JSON Schema is a clear error', async () => {
  const make = (parameters) => tool({ name: 'x', description: 'x', parameters, execute: () => 1 })
  const vendor = { version: 1, vendor: 'old', validate: (value) => ({ value }) }
  for (const parameters of ['string', null, 7, { '~standard': vendor }, { toJSONSchema: () => 'no' }, { type: 'objekt' }]) {
    assert.equal((await failure(() => make(parameters))).code, 'invalid_input', JSON.stringify(parameters))
  }
  const thrown = new Error('a transform has no JSON Schema')
  const error = await failure(() =>
    make({
      toJSONSchema() {
        throw thrown
      },
    }),
  )
  assert.equal(error.cause, thrown)
})
