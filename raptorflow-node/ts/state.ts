// What is recorded of runs: summaries, states, entries.

import { camel, milliseconds } from './data.js'
import { RaptorflowError } from './error.js'
import type { Usage } from './model.js'
import type { Money } from './run.js'

/** How far a run is. */
export type RunStatus = 'running' | 'paused' | 'completed' | 'failed' | 'cancelled'

/** What is known of a run from its journal. */
export interface RunSummary {
  readonly runId: string
  /** What runs: the name of an agent, of a workflow or of an orchestration. */
  readonly target: string
  readonly status: RunStatus
  /** When it began, RFC 3339 in UTC. */
  readonly started: string
  readonly ended?: string
  /** How many entries its journal has. */
  readonly entries: number
  readonly usage: Usage
  readonly cost: Money | null
  readonly modelCalls: number
  readonly toolCalls: number
  /** Why it failed. */
  readonly error: RaptorflowError | undefined
}

/** Some of the runs that were asked for. */
export interface RunPage {
  /** The runs, oldest first. */
  readonly runs: readonly RunSummary[]
  /** The `after` of the next page; `null` when there are no more runs. */
  readonly next: string | null
}

/** One step of a run, or any other place in it at which something happened. */
export interface StepState {
  /** The place inside the run, steps joined with `/`. */
  readonly path: string
  readonly status: 'running' | 'waiting' | 'completed' | 'failed' | 'stopped'
  /** When it began, RFC 3339 in UTC. */
  readonly started: string
  readonly ended?: string
  /** How long it took, in milliseconds. */
  readonly took: number
  /** Which attempt it is at, from 1. */
  readonly attempts: number
  /** What was spent at this place, without what is below it. */
  readonly usage: Usage
  readonly cost: Money | null
  readonly modelCalls: number
  readonly toolCalls: number
  /** The value that it ended with. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly output?: any
  /** Why it failed, or why it is tried again. */
  readonly error: RaptorflowError | undefined
}

/** A question that waits for its answer. */
export interface Question {
  readonly path: string
  /** What is asked. */
  readonly prompt: string
  /** The answers that are possible; any when absent. */
  readonly choices?: readonly unknown[]
  /** The form of the answer, as a JSON Schema. */
  readonly schema?: unknown
  /** Who may answer; anybody when absent. */
  readonly approvers?: readonly string[]
  /** When it is too late, RFC 3339 in UTC. */
  readonly due?: string
  /** Since when it waits. */
  readonly since: string
}

/** What a run looks like at one of its entries. */
export interface RunState extends RunSummary {
  /** What the run was given. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly input: any
  /** Every place at which something happened, in the order of their first entries. */
  readonly steps: readonly StepState[]
  /** Questions that nobody has answered; the path is the name of the signal that answers one. */
  readonly questions: readonly Question[]
  /** Timers that were set and have not fired. */
  readonly timers: readonly { readonly path: string; readonly due: string }[]
  /** Signals that were given. */
  readonly signals: readonly { readonly name: string; readonly value: unknown; readonly by?: string; readonly time: string }[]
  /** Runs that were begun as parts of this one. */
  readonly children: readonly { readonly path: string; readonly runId: string; readonly target: string }[]
  /** The run that the first entries are from, and how many they are. */
  readonly forkedFrom: { readonly runId: string; readonly at: number } | undefined
}

/** One fact of a run's journal. */
export interface Entry {
  /** Its place in the journal, from 0. */
  readonly sequence: number
  /** When it was appended, RFC 3339 in UTC. */
  readonly time: string
  /** The place inside the run, steps joined with `/`; empty at its top. */
  readonly path: string
  /** What happened, for example `model_responded`. */
  readonly fact: string
  /** What there is to know about it, as the core writes it. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly data: any
}

interface WrittenError {
  readonly kind: RaptorflowError['code']
  readonly operation: string
  readonly message: string
  readonly context?: readonly (readonly [string, string])[]
  readonly retry: 'never' | 'soon' | 'exhausted' | { readonly after: { readonly secs: number; readonly nanos: number } }
}

/** The page that the native side wrote. */
export function page(text: string): RunPage {
  const { runs, next } = JSON.parse(text) as { readonly runs: readonly object[]; readonly next: string | null }
  return { runs: runs.map(totals<RunSummary>), next }
}

/** The state that the native side wrote. */
export function state(text: string): RunState {
  interface Written {
    readonly run_id: string
    readonly summary: object
    readonly input: unknown
    readonly steps: readonly { readonly took: Span; readonly spent: object }[]
    readonly questions: readonly { readonly path: string; readonly question: { readonly prompt?: string }; readonly since: string }[]
    readonly timers: RunState['timers']
    readonly signals: RunState['signals']
    readonly children: readonly { readonly path: string; readonly run: string; readonly target: string }[]
    readonly forked_from?: readonly [string, number]
  }
  const { run_id, summary, steps, questions, children, forked_from: forked, ...rest } = JSON.parse(text) as Written
  return {
    ...totals<RunSummary>({ run_id, ...summary }),
    ...rest,
    steps: steps.map(({ took, spent, ...step }) => totals<StepState>({ ...step, ...spent, took: milliseconds(took) })),
    questions: questions.map(({ question, ...asked }) => ({ ...asked, prompt: '', ...question })),
    children: children.map(({ run, ...child }) => ({ ...child, runId: run })),
    forkedFrom: forked && { runId: forked[0], at: forked[1] },
  }
}

type Span = Parameters<typeof milliseconds>[0]

/** What the native side wrote with camelCase fields, and with its usage, cost and error as ours. */
function totals<T>(written: object): T {
  type Totals = { readonly usage: object; readonly cost?: Money; readonly error?: WrittenError }
  const { usage, cost = null, error, ...rest } = camel<Totals>(written)
  return { ...rest, usage: camel<Usage>(usage), cost, error: error && recorded(error) } as T
}

function recorded({ kind, operation, message, context = [], retry }: WrittenError): RaptorflowError {
  return new RaptorflowError(kind, message, {
    operation,
    context: Object.fromEntries(context),
    retry: typeof retry === 'object' ? { after: milliseconds(retry.after) } : retry,
  })
}

/** The entries that the native side wrote. */
export function entries(text: string): Entry[] {
  type Written = Omit<Entry, 'fact' | 'data'> & { readonly fact: string | object }
  return (JSON.parse(text) as Written[]).map(({ fact, ...rest }) => {
    // A fact without fields is its name alone.
    const [name, data] = typeof fact === 'string' ? [fact, {}] : (Object.entries(fact)[0] as [string, unknown])
    return { ...rest, fact: name, data }
  })
}
