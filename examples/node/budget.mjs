// A team of teams that stops at its cap, shows what it has by then, and goes on when the cap is raised.

import { Agent, Engine, RaptorflowError, Workflow } from 'raptorflow'

// Millionths of a dollar per million tokens: 1 USD for what goes in, 2 USD for what comes out.
const prices = [
  { model: 'host:writer', currency: 'USD', input: 1_000_000, output: 2_000_000, validFrom: '2026-01-01' },
]
const usd = ({ micros }) => `${(micros / 1e6).toFixed(6)} USD`

/** Stands in for a language model: one sentence, and what it took. */
const writer = (_request, { agents }) => ({
  text: `What ${agents.at(-1)} found.`,
  usage: { inputTokens: 1_200, outputTokens: 300 },
})

// A run may spend 0.007 USD; each call sets aside about 0.004 and takes 0.0018.
const budgets = { run: { total: { money: '0.007 USD' } } }
const engine = new Engine('memory:', { defaultModel: 'host:writer', prices, budgets })
engine.registerModel('host:writer', writer)

/** A lead and a member, who works on what the lead found. */
function team(name) {
  const [lead, member] = ['lead', 'member'].map((role) => new Agent({ name: `${name}-${role}` }))
  engine.register(lead)
  engine.register(member)
  return new Workflow({
    name,
    steps: [
      { name: 'lead', agent: lead },
      { name: 'member', agent: member, after: 'lead' },
    ],
  })
}

const office = new Workflow({
  name: 'office',
  steps: [
    { name: 'plans', workflow: team('plans'), input: '$input' },
    { name: 'risks', workflow: team('risks'), input: '$input', after: 'plans' },
  ],
})

const stopped = await engine.run(office, 'Write the plan and name each risk.').catch((error) => error)
if (!RaptorflowError.isInstance(stopped) || stopped.code !== 'budget_exceeded') throw stopped
const { runId, context } = stopped
console.log(`stopped: ${context.wanted} of ${context.cap}, spent ${context.spent}`)
for (const { output } of (await engine.state(runId)).steps) {
  if (typeof output === 'string') console.log(`  has: ${output}`)
}

await engine.setCap({ run: runId }, { money: '0.020 USD' })
const { cost } = await engine.resume(runId)
const { total, agents } = await engine.usage({ run: runId })
console.log(`complete: ${total.calls} calls, ${usd(total.cost)}`)
for (const [name, sum] of Object.entries(agents)) console.log(`  ${name}: ${sum.calls} call, ${usd(sum.cost)}`)
if (total.cost.micros !== cost.micros) throw new Error('the ledger and the journal agree')
