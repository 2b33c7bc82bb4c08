// What the types promise; checked by the compiler and never run.

import {
  Agent,
  agent,
  type CallContext,
  embedders,
  Engine,
  type Event,
  KnowledgeBase,
  type Outcome,
  RaptorflowError,
  Report,
  type StandardSchema,
  tool,
  Workflow,
} from 'raptorflow'

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const same = <A, B>(_: Equal<A, B>): void => undefined

declare const net: StandardSchema<{ net: number; rate?: number }, { net: number; rate: number }>

const gst = tool({
  name: 'gst',
  description: 'Adds GST.',
  parameters: net,
  effects: 'read',
  execute: (args, ctx) => {
    same<typeof args, { net: number; rate: number }>(true)
    same<typeof ctx, CallContext>(true)
    return args.net * (1 + args.rate)
  },
})

tool({ name: 'x', description: 'x', parameters: { type: 'object' } , execute: ({ a }) => a })
// @ts-expect-error a tool needs a function
tool({ name: 'x', description: 'x' })
// @ts-expect-error there is no such effect
tool({ name: 'x', description: 'x', effects: 'delete', execute: () => 1 })

const pricing = new Agent({ name: 'pricing', instructions: 'Be brief.', tools: [gst, 'other'], limits: { steps: 3 } })
// @ts-expect-error no such option
new Agent({ name: 'pricing', instruction: 'x' })
agent({ name: 'shout', execute: async (input: string, { signal, capability }) => (signal.aborted ? capability : input) })

const flow = new Workflow({
  name: 'flow',
  steps: [
    { name: 'draft', agent: pricing },
    { name: 'ask', gate: { choices: [true, false] }, after: 'draft' },
    { name: 'send', execute: (text: string, { idempotencyKey }) => text + idempotencyKey, after: ['ask'], retries: 1 },
    { name: 'again', repeat: { workflow: { name: 'x' }, atMost: 2, until: { at: '/n', atLeast: 1 } }, timeout: 5 },
  ],
})
// @ts-expect-error there is no such option
new Workflow({ name: 'flow', steps: [{ name: 'draft', retrys: 1 }] })

export async function main(engine: Engine): Promise<void> {
  engine.register(pricing)
  engine.registerModel('host:x', ({ messages, tools }) => ({ text: `${messages.length} ${tools.length}` }))
  const outcome = await engine.run<{ total: number }>('pricing', { net: 1 }, { signal: AbortSignal.timeout(5), timeout: 5 })
  same<typeof outcome, Outcome<{ total: number }>>(true)
  const total: number = outcome.output.total
  if (outcome.finish !== 'complete') void outcome.finish.limited
  for await (const event of engine.stream(pricing, total)) same<typeof event, Event>(true)
  for await (const event of engine.bus.subscribe({ kinds: ['agent_started'], lag: { block: 5 } })) void event.duration
  // @ts-expect-error a signal is a signal
  await engine.run('x', '', { signal: 1 })
  const kb = await KnowledgeBase.open('memory:', { embedder: embedders.hashing(384) })
  await kb.add([{ id: '1', text: 'x', metadata: { lang: 'en' }, vector: new Float32Array(384) }])
  const [hit] = await kb.search('x', { k: 1, mode: 'hybrid', filter: { lang: ['en'] } })
  void hit?.score
  // @ts-expect-error there is no such mode
  await kb.search('x', { mode: 'fuzzy' })
  const run = await engine.start(flow, {}, { id: '0199c7f0-0000-7000-8000-000000000001' })
  await engine.signal(run.id, 'ask', true, { by: 'anna' })
  const { steps, forkedFrom } = await engine.state(await engine.fork(run.id, 2))
  void [steps[0]?.took, forkedFrom?.at]
  const { runs, next } = await engine.runs({ status: 'paused', startedAfter: new Date(), limit: 5 })
  if (next !== null) same<(typeof runs)[number]['status'], 'running' | 'paused' | 'completed' | 'failed' | 'cancelled'>(true)
  // @ts-expect-error there is no such status
  await engine.runs({ status: 'done' })
  same<number, Awaited<ReturnType<typeof engine.prune>>['removed']>(true)
  const answer = await engine.ask({ schema: net, question: 'net?', model: 'x:y', repairs: 2, signal: AbortSignal.timeout(5) })
  same<typeof answer, Outcome<{ net: number; rate: number }>>(true)
  for await (const part of engine.askStream({ schema: net, question: 'net?', agent: pricing })) {
    if (part.kind === 'partial') same<typeof part.value, { net?: number; rate?: number }>(true)
    else if (part.kind === 'done') same<typeof part.outcome.output, { net: number; rate: number }>(true)
    else same<typeof part.attempt, number>(true)
  }
  // @ts-expect-error a question needs the form of its answer
  await engine.ask({ question: 'net?' })
  void new Report(outcome.output).toMarkdown()
  try {
    await engine.resume(outcome.runId)
  } catch (error) {
    if (!RaptorflowError.isInstance(error)) throw error
    switch (error.code) {
      case 'cancelled':
        return
      // @ts-expect-error there is no such code
      case 'canceled':
        return
      default:
        void (typeof error.retry === 'object' ? error.retry.after : error.retry)
    }
  }
}

new Engine('memory:', {
  layers: { retry: { attempts: 5 }, cache: true, rateLimit: [{ scope: 'user', limit: 1, perSeconds: 1 }], fallback: ['a:b'] },
  budgets: { run: { total: { money: '1 USD' } }, approvalAbove: null },
  prices: 'prices.toml',
})
// @ts-expect-error there is no such part
new Engine('memory:', { layers: { retries: true } })
// @ts-expect-error an amount has a currency
new Engine('memory:', { budgets: { run: { total: { money: 1 } } } })
