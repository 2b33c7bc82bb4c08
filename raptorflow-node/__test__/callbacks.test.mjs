// User functions called from other threads: results, throws, signals, many at once, and the end of the process.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { Agent, agent, Engine, tool } from 'raptorflow'

import { held } from './held.mjs'

function engineOf(execute) {
  const engine = new Engine()
  engine.register(agent({ name: 'it', execute }))
  return engine
}

const never = () => new Promise(() => {})

test('plain values, promises and thenables are answers', async () => {
  for (const execute of [(x) => x + 1, async (x) => x + 1, (x) => ({ then: (resolve) => resolve(x + 1) })]) {
    assert.equal((await engineOf(execute).run('it', 1)).output, 2)
  }
})

test('an agent function gets the capability and the place of its call', async () => {
  const seen = []
  const engine = new Engine()
  const capabilities = [
    { name: 'estimate', description: 'Estimates.', input: { type: 'object' }, output: { type: 'object' }, timeoutSeconds: 5 },
  ]
  engine.register(
    agent({
      name: 'it',
      capabilities,
      execute: (input, ctx) => {
        seen.push([input, ctx.capability, ctx.runId, ctx.signal.aborted])
        return {}
      },
    }),
  )
  const first = await engine.run('it', { a: 1 }, { capability: 'estimate' })
  const second = await engine.run('it', 'b')
  assert.deepEqual(seen, [
    [{ a: 1 }, 'estimate', first.runId, false],
    ['b', undefined, second.runId, false],
  ])
})

test('a promise that never settles ends with its signal', async () => {
  let begin
  const begun = new Promise((resolve) => (begin = resolve))
  const engine = engineOf((_, { signal }) => {
    begin(signal)
    return never()
  })
  const controller = new AbortController()
  const run = engine.run('it', '', { signal: controller.signal })
  const inner = await held(begun)
  const aborted = new Promise((resolve) => inner.addEventListener('abort', resolve, { once: true }))
  const reason = new Error('enough')
  controller.abort(reason)
  await assert.rejects(run, (error) => error.code === 'cancelled' && error.cause === reason && error.runId !== undefined)
  await held(aborted)
  assert.equal((await engine.runs()).runs[0].status, 'cancelled')
})

test('a signal that is aborted already begins nothing', async () => {
  let calls = 0
  const engine = engineOf(() => (calls += 1))
  const signal = AbortSignal.abort('no')
  for (const work of [() => engine.run('it', '', { signal }), () => engine.start('it', '', { signal })]) {
    await assert.rejects(work, { code: 'cancelled', cause: 'no' })
  }
  assert.equal(calls, 0)
  assert.deepEqual(await engine.runs(), { runs: [], next: null })
})

test('listeners are taken off a signal that outlives its runs', async () => {
  const engine = engineOf(() => 1)
  const { signal } = new AbortController()
  const counts = { added: 0, removed: 0 }
  const { addEventListener, removeEventListener } = signal
  signal.addEventListener = (...args) => ((counts.added += 1), addEventListener.apply(signal, args))
  signal.removeEventListener = (...args) => ((counts.removed += 1), removeEventListener.apply(signal, args))
  await engine.run('it', '', { signal })
  const run = await engine.start('it', '', { signal })
  await run.outcome()
  while (counts.removed < 2) await sleep(1)
  assert.deepEqual(counts, { added: 2, removed: 2 })
})

test('a time-out is no cancellation, and the function learns of it', async () => {
  let inner
  const engine = engineOf((_, ctx) => {
    inner = ctx
    return never()
  })
  await assert.rejects(engine.run('it', '', { timeout: 30 }), { code: 'timeout' })
  while (!inner.signal.aborted) await sleep(1)
  assert.ok(inner.deadline instanceof Date)
})

test('a tool that takes too long is told to the model', async () => {
  const slow = tool({ name: 'slow', description: 'Is slow.', timeout: 20, execute: never })
  const engine = new Engine(undefined, { defaultModel: 'host:rule' })
  engine.registerModel('host:rule', ({ messages }) => {
    const [part] = messages.at(-1).parts
    return part.type === 'tool_result'
      ? `${part.isError}: ${part.content.error}`
      : { toolCalls: [{ id: '1', name: 'slow', arguments: {} }] }
  })
  engine.register(new Agent({ name: 'it', tools: [slow] }))
  assert.equal((await engine.run('it', 'go')).output, 'true: timeout')
})

test('a rejection after the run has ended is nobody’s problem', async () => {
  const unhandled = []
  const note = (error) => unhandled.push(error)
  process.on('unhandledRejection', note)
  const engine = engineOf((_, { signal }) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('late')))))
  await assert.rejects(engine.run('it', '', { timeout: 20 }), { code: 'timeout' })
  await sleep(20)
  process.off('unhandledRejection', note)
  assert.deepEqual(unhandled, [])
})

test('a thousand runs at once each get their own answer', async () => {
  const engine = engineOf(async (n) => {
    await sleep(n % 5)
    return n * 2
  })
  const outcomes = await Promise.all(Array.from({ length: 1000 }, (_, n) => engine.run('it', n)))
  assert.deepEqual(outcomes.map(({ output }) => output), Array.from({ length: 1000 }, (_, n) => n * 2))
})

test('five million characters cross both ways', async () => {
  const text = 'ä😀x'.repeat(1_250_000)
  const { output } = await engineOf((input) => input).run('it', { text })
  assert.equal(output.text, text)
})

test('a tool may run an agent of the same engine', async () => {
  const engine = new Engine(undefined, { defaultModel: 'host:rule' })
  const ask = tool({
    name: 'ask',
    description: 'Asks another agent.',
    parameters: { type: 'object', properties: { what: { type: 'string' } }, required: ['what'] },
    execute: async ({ what }, { signal }) => (await engine.run('shout', what, { signal })).output,
  })
  engine.registerModel('host:rule', ({ messages }) => {
    const [part] = messages.at(-1).parts
    return part.type === 'tool_result' ? part.content : { toolCalls: [{ id: '1', name: 'ask', arguments: { what: 'hi' } }] }
  })
  engine.register(agent({ name: 'shout', execute: (input) => input.toUpperCase() }))
  engine.register(new Agent({ name: 'it', tools: [ask] }))
  assert.equal((await engine.run('it', 'go')).output, 'HI')
})

test('a schema of a library fills in defaults before the function is called', async () => {
  const schema = {
    '~standard': {
      version: 1,
      vendor: 'test',
      validate: (value) =>
        value.net < 0 ? { issues: [{ message: 'is negative', path: ['net'] }] } : { value: { rate: 0.18, ...value } },
      jsonSchema: {
        input: ({ target }) => {
          assert.equal(target, 'draft-2020-12')
          return { type: 'object', properties: { net: { type: 'number' } }, required: ['net'] }
        },
      },
    },
  }
  const seen = []
  const gst = tool({ name: 'gst', description: 'Adds GST.', parameters: schema, execute: (args) => (seen.push(args), 1) })
  const engine = new Engine(undefined, { defaultModel: 'host:rule' })
  const nets = [100, -1]
  engine.registerModel('host:rule', ({ messages, tools }) => {
    assert.equal(tools[0].parameters.required[0], 'net')
    const net = nets.shift()
    return net === undefined ? JSON.stringify(messages.at(-1).parts[0].content) : { toolCalls: [{ id: `${net}`, name: 'gst', arguments: { net } }] }
  })
  engine.register(new Agent({ name: 'it', tools: [gst], output: { toJSONSchema: () => ({ type: 'object' }) } }))
  const { output } = await engine.run('it', 'go')
  assert.deepEqual(seen, [{ rate: 0.18, net: 100 }])
  assert.match(output.message, /net: is negative/)
})

test('a stream gives the events of its run and then its outcome', async () => {
  const engine = new Engine(undefined, { defaultModel: 'host:rule' })
  engine.registerModel('host:rule', () => ({ text: 'so', usage: { inputTokens: 2, outputTokens: 1 } }))
  engine.register(new Agent({ name: 'it' }))
  const stream = engine.stream('it', 'go', { content: true })
  const events = []
  for await (const event of stream) events.push(event)
  const kinds = ['agent_started', 'message_sent', 'capability_executed', 'result_generated', 'agent_completed']
  assert.deepEqual(events.map(({ kind }) => kind), kinds)
  assert.equal(events[1].data.text, 'so')
  assert.equal(typeof events.at(-1).duration, 'number')
  const { output, usage, runId } = await stream.outcome()
  assert.deepEqual([output, usage.inputTokens, usage.outputTokens], ['so', 2, 1])
  assert.ok(events.every(({ run }) => run === runId))
})

test('a stream ends with the error of its run', async () => {
  const thrown = new Error('no')
  const stream = engineOf(() => Promise.reject(thrown)).stream('it', '')
  const kinds = []
  await assert.rejects(
    async () => {
      for await (const { kind } of stream) kinds.push(kind)
    },
    { code: 'callback', cause: thrown },
  )
  assert.deepEqual(kinds, ['agent_started', 'agent_failed'])
  await assert.rejects(engineOf(() => 1).stream('nobody', '').next(), { code: 'not_found' })
})

test('leaving a stream cancels its run, and one that nobody looks at never begins', async () => {
  let inner
  const engine = engineOf((_, { signal }) => {
    inner = signal
    return never()
  })
  const stream = engine.stream('it', '')
  for await (const { kind } of stream) {
    assert.equal(kind, 'agent_started')
    while (inner === undefined) await sleep(1)
    break
  }
  await assert.rejects(stream.outcome(), { code: 'cancelled' })
  while (!inner.aborted) await sleep(1)
  const idle = engine.stream('it', '')
  await idle.return()
  await assert.rejects(idle.outcome(), { code: 'cancelled' })
  assert.equal((await engine.runs()).runs.length, 1)
})

test('a run in the background is awaited, watched and cancelled', async () => {
  const engine = engineOf(async (input) => (input === 'stay' ? never() : input))
  const run = await engine.start('it', 'x')
  const kinds = []
  for await (const { kind } of run.events()) kinds.push(kind)
  assert.deepEqual(kinds, ['agent_started', 'capability_executed', 'result_generated', 'agent_completed'])
  assert.equal((await run.outcome()).output, 'x')
  assert.equal((await run.outcome()).runId, run.id)
  for (const cancel of [(run) => run.cancel(), (run) => engine.cancel(run.id)]) {
    const run = await engine.start('it', 'stay')
    await run.events().next()
    cancel(run)
    await assert.rejects(run.outcome(), { code: 'cancelled' })
    await assert.rejects(engine.resume(run.id), { code: 'cancelled' })
  }
  await assert.rejects(engine.start('nobody', ''), { code: 'not_found' })
})

test('a subscription sees what it asks for, in order, and counts what it missed', async () => {
  const engine = engineOf((n) => n)
  const all = engine.bus.subscribe({ kinds: ['agent_completed'], channels: ['agent_execution'], agents: ['i*'] })
  const small = engine.bus.subscribe({ capacity: 2 })
  const strict = engine.bus.subscribe({ capacity: 1, lag: 'fail' })
  const runs = []
  for (let n = 0; n < 300; n++) runs.push((await engine.run('it', n)).runId)
  for (const run of runs) assert.equal((await all.next()).value.run, run)
  const { published } = engine.bus.stats()
  assert.equal((await small.next()).value.kind, 'result_generated')
  assert.equal(small.missed, published - 2)
  assert.equal((await strict.next()).value?.kind, 'agent_started')
  await assert.rejects(strict.next(), { code: 'limit_exceeded' })
  assert.equal((await strict.next()).done, true)
  assert.equal(engine.bus.history({ run: runs[7] }).length, published / 300)
})

test('a subscription that is closed ends at once and lets go of the bus', async () => {
  const engine = engineOf((n) => n)
  const controller = new AbortController()
  const [closed, aborted] = [engine.bus.subscribe(), engine.bus.subscribe({ signal: controller.signal })]
  const waiting = [closed.next(), closed.next(), aborted.next()]
  closed.close()
  controller.abort()
  for (const { done } of await Promise.all(waiting)) assert.equal(done, true)
  assert.equal((await closed.next()).done, true)
  while (engine.bus.stats().subscriptions > 0) await sleep(1)
  for await (const _ of engine.bus.subscribe({ signal: controller.signal })) assert.fail('it was aborted before')
})

test('an engine that is closed stops its runs and takes no more', async () => {
  const engine = engineOf((input) => (input === 'stay' ? never() : input))
  const run = await engine.start('it', 'stay')
  const outcome = assert.rejects(run.outcome(), { code: 'cancelled' })
  await engine.close()
  await outcome
  await assert.rejects(engine.run('it', 'x'), { code: 'cancelled' })
})

const prelude = `
  import { Agent, agent, Engine } from 'raptorflow'
  const engine = new Engine()
  engine.register(agent({ name: 'stuck', execute: () => new Promise(() => {}) }))
  engine.register(agent({ name: 'slow', execute: () => new Promise((done) => setTimeout(done, 50, 'done')) }))
`

for (const [name, code, expected] of [
  ['process.exit with runs at work', `for (let i = 0; i < 50; i++) engine.run('stuck', '').catch(() => {}); setTimeout(() => process.exit(7), 30)`, 7],
  ['the end of the script with runs in the background', `for (let i = 0; i < 50; i++) await engine.start('stuck', '')`, 0],
  ['the end of the script while somebody waits for events', `engine.bus.subscribe().next(); await engine.run('slow', '')`, 0],
  ['an uncaught exception with runs at work', `engine.run('stuck', ''); setTimeout(() => { throw new Error('x') }, 20)`, 1],
  ['an awaited run keeps the process alive', `if ((await engine.run('slow', '')).output !== 'done') process.exit(3)`, 0],
  [
    'watching a run keeps the process alive',
    `const run = await engine.start('slow', ''); let last; for await (last of run.events()); if (last.kind !== 'agent_completed') process.exit(3)`,
    0,
  ],
  [
    'a worker that ends with runs at work',
    `import { Worker } from 'node:worker_threads'
     const code = \`
       import('raptorflow').then(({ agent, Engine }) => {
         const engine = new Engine()
         engine.register(agent({ name: 'stuck', execute: () => new Promise(() => {}) }))
         for (let i = 0; i < 20; i++) engine.run('stuck', '').catch(() => {})
         setTimeout(() => require('node:worker_threads').parentPort.postMessage('ready'), 20)
       })\`
     const worker = new Worker(code, { eval: true, execArgv: [] })
     worker.on('message', () => worker.terminate())
     worker.on('exit', async () => { if ((await engine.run('slow', '')).output !== 'done') process.exit(3) })`,
    0,
  ],
]) {
  test(`ends cleanly: ${name}`, async (t) => {
    const child = spawn(process.execPath, ['--input-type=module', '--eval', prelude + code], {
      cwd: new URL('..', import.meta.url),
      stdio: ['ignore', 'ignore', 'pipe'],
      signal: AbortSignal.any([t.signal, AbortSignal.timeout(20_000)]),
    })
    let stderr = ''
    child.stderr.on('data', (data) => (stderr += data))
    const [status, signal] = await new Promise((resolve, reject) => {
      child.on('error', reject)
      child.on('close', (...ended) => resolve(ended))
    })
    assert.deepEqual([status, signal], [expected, null], stderr)
  })
}

test('pictures and files reach a model that sees them', async () => {
  const seen = []
  const model = (request) => {
    seen.push(request)
    return 'a dot'
  }
  const engine = new Engine()
  engine.registerModel('host:sees', model, { images: true, documents: true })
  engine.registerModel('host:blind', model)
  engine.register(new Agent({ name: 'seer', model: 'host:sees' }))
  engine.register(new Agent({ name: 'blind', model: 'host:blind' }))
  const image = { type: 'image', mediaType: 'image/png', data: Buffer.from('PNG') }
  const file = { type: 'document', url: 'https://host/a.pdf', name: 'a.pdf' }
  assert.equal((await engine.run('seer', 'What is it?', { attachments: [image, file] })).output, 'a dot')
  assert.deepEqual(seen[0].messages.at(-1).parts, [{ type: 'text', text: 'What is it?' }, { ...image, data: 'UE5H' }, file])
  await assert.rejects(engine.run('blind', 'x', { attachments: [image] }), { code: 'unsupported' })
  await assert.rejects(engine.run('seer', 'x', { attachments: [{ type: 'image', data: 'UE5H' }] }), { code: 'invalid_input' })
  assert.equal(seen.length, 1)
})
