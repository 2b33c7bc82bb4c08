// Workflows: graphs of steps that follow each other and survive a crash, as data with functions in it.

import type { Agent } from './agent.js'
import { callback, type CallContext } from './callback.js'
import { snake } from './data.js'
import { call, functionOf, refuse } from './error.js'
import { toJson } from './json.js'
import { Callback, NativeAgent } from '../native.js'
import { jsonSchema, type SchemaLike } from './schema.js'
import type { Tool } from './tool.js'

/** A function of a step: takes the step's input, may be async, and gives a value that JSON can say. */
// The input is what the steps before gave, which no schema of ours describes.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type StepFunction = (input: any, ctx: CallContext) => unknown

/** How several answers become one value. */
export type Aggregate =
  | 'all'
  | 'first'
  | 'combine'
  | 'consensus'
  | 'majority'
  | 'merge'
  | 'priority'
  | 'average'
  | 'vote'
  | 'best'

/** A test of what a step gave; every part that is set must hold. */
export interface Condition {
  /** Where in the value to look, as a JSON Pointer; the whole value by default. */
  readonly at?: string
  readonly equals?: unknown
  readonly notEquals?: unknown
  readonly above?: number
  readonly atLeast?: number
  readonly below?: number
  readonly atMost?: number
  /** It is a text with this text, a list with this item, or an object with this key. */
  readonly contains?: unknown
  /** Whether there is something other than null. */
  readonly exists?: boolean
  readonly all?: readonly Condition[]
  readonly any?: readonly Condition[]
  readonly not?: Condition
}

/** A question to people, which `engine.signal` answers; an answer of `false` skips what comes after. */
export interface Gate {
  /** What is asked. */
  readonly prompt?: string
  /** The answers that are possible; any by default. */
  readonly choices?: readonly unknown[]
  /** The form of the answer. */
  readonly schema?: SchemaLike
  /** Who may answer; anybody by default. */
  readonly approvers?: readonly string[]
  /** Seconds to wait for an answer; as long as it takes by default. */
  readonly timeout?: number
  /** The answer when nobody gave one in time; without it the step fails then. */
  readonly default?: unknown
}

/** A workflow that runs again and again: first with the step's input, then with its own output before. */
export interface Repeat {
  readonly workflow: Workflow | WorkflowOptions
  /** How often at most; then its last output is the step's. */
  readonly atMost: number
  /** The test of its output that ends it. */
  readonly until?: Condition
}

/** What takes a step back; it is given the step's output. */
export type Compensation = StepFunction | { readonly agent: string } | { readonly tool: string } | { readonly function: string }

/**
 * One step: exactly one of `execute`, `function`, `agent`, `agents`, `tool`, `workflow`, `repeat`, `gate` and `timer`.
 *
 * Inputs are JSON with references: `$input` is what the workflow was given, `$research` what a step gave,
 * `$research/title` a part of it.
 */
export interface WorkflowStep {
  /** Its name, unique in the workflow. */
  readonly name: string
  /** What it is for. */
  readonly description?: string
  /** A function; `ctx.idempotencyKey` is the same for every attempt, also after a crash. */
  readonly execute?: StepFunction
  /** The name of one of the workflow's `functions`. */
  readonly function?: string
  /** An agent or a workflow that the engine knows. */
  readonly agent?: string | Agent | Workflow
  /** Several agents that work at the same time; see `aggregate`. */
  readonly agents?: readonly (string | Agent | Workflow)[]
  /** The capability that is wanted of the agents. */
  readonly capability?: string
  /** How the answers of several agents become one value; `all` by default. */
  readonly aggregate?: Aggregate
  /** A tool that the engine knows; its input must be an object. */
  readonly tool?: string | Tool
  /** The steps of another workflow as one step. */
  readonly workflow?: Workflow | WorkflowOptions
  /** A workflow that runs until a test holds. */
  readonly repeat?: Repeat
  /** A question to people. */
  readonly gate?: Gate
  /** A wait, also over restarts: seconds, a point in time, or a reference to one. */
  readonly timer?: { readonly seconds: number } | { readonly until: string | Date }
  /** The steps that must be settled before, each by its name or with a test of what it gave. */
  readonly after?: string | readonly (string | { readonly step: string; readonly when?: Condition })[]
  /** Whether `all` of `after` must have been taken, the default, or `any` of them. */
  readonly join?: 'all' | 'any'
  /** What it is given, with references; by default what the step before it gave. */
  readonly input?: unknown
  /** A reference to a list, each item of which is worked on by itself, as `$item`. */
  readonly map?: unknown
  /** How many items of `map` are worked on at the same time; 16 by default. */
  readonly parallel?: number
  /** Seconds for one attempt; 30 by default. */
  readonly timeout?: number
  /** How often it is tried again when it fails; 3 by default. */
  readonly retries?: number
  /** Seconds before it is tried again, doubled for each further try; 0.5 by default. */
  readonly retryDelay?: number
  /** Whether the workflow goes on, with null as the output, when the step fails. */
  readonly optional?: boolean
  /** What takes the step back when the workflow fails after it. */
  readonly compensate?: Compensation
  /** Which version of its function this is; a run that is resumed with another one is refused. */
  readonly version?: string
}

/** What a workflow is made of; durations are seconds, as in a file. */
export interface WorkflowOptions {
  /** Its name, unique among the agents and workflows of an engine. */
  readonly name: string
  /** What it does and when to choose it. */
  readonly description?: string
  /** How urgent its events are. */
  readonly priority?: string
  /** Seconds for the work of the whole, without the time in which it only waits; 3,600 by default. */
  readonly timeout?: number
  /** How many steps run at the same time; 64 by default. */
  readonly parallel?: number
  /** What it gives, with references; by default the output of its last step, or of its last steps by name. */
  readonly output?: unknown
  /** The steps. */
  readonly steps?: readonly WorkflowStep[]
  /** The functions that steps name. */
  readonly functions?: Readonly<Record<string, StepFunction>>
}

interface Half {
  readonly native: NativeAgent
  readonly options: WorkflowOptions
}

const halves = new WeakMap<object, Half>()

/**
 * A graph of steps that an engine runs durably: what is recorded is not done again.
 *
 * ```js
 * const flow = new Workflow({
 *   name: 'launch',
 *   steps: [
 *     { name: 'research', agent: 'researcher' },
 *     { name: 'approve', gate: { prompt: 'Publish this?' }, after: ['research'] },
 *     { name: 'publish', execute: publish, input: { text: '$research' }, after: ['approve'] },
 *   ],
 * })
 * const run = await engine.start(flow, { topic: 'lamps' })
 * await engine.signal(run.id, 'approve', true)
 * ```
 *
 * It may also be given as the core writes it, with snake_case fields, for example when it comes from a file.
 * All problems of it are told at once, as `diagnostics` of the error.
 */
export class Workflow {
  /** Its name. */
  readonly name: string
  readonly #spec: string

  constructor(options: WorkflowOptions) {
    const functions = new Map<string, StepFunction>()
    this.name = options.name
    this.#spec = toJson(workflowData(options, '', (name) => name, functions), 'workflow')
    const bodies = [...functions].map(([name, execute]) => bodyOf(name, execute))
    const native = call(() => NativeAgent.ofWorkflow(this.#spec, [...functions.keys()], bodies))
    halves.set(this, { native, options })
  }

  /** A workflow in TOML, with the functions that its steps name. */
  static fromToml(text: string, functions: Readonly<Record<string, StepFunction>> = {}): Workflow {
    return new Workflow({ ...read(text, 'toml'), functions })
  }

  /** A workflow in JSON, with the functions that its steps name. */
  static fromJson(text: string, functions: Readonly<Record<string, StepFunction>> = {}): Workflow {
    return new Workflow({ ...read(text, 'json'), functions })
  }

  /** It as data, for `Workflow.fromJson`; functions stand in it by name. */
  toJSON(): Record<string, unknown> {
    return JSON.parse(this.#spec) as Record<string, unknown>
  }
}

function read(text: string, format: 'toml' | 'json'): WorkflowOptions {
  return JSON.parse(call(() => NativeAgent.readWorkflow(text, format))) as WorkflowOptions
}

/** The native half of a workflow. */
export function nativeWorkflow(workflow: Workflow): NativeAgent {
  const half = typeof workflow === 'object' && workflow !== null ? halves.get(workflow) : undefined
  return half?.native ?? refuse('workflow', 'an `Agent` or a `Workflow`', workflow)
}

function bodyOf(name: string, execute: StepFunction): Callback {
  const invoke = (input: never, ctx: CallContext): unknown => execute(input, ctx)
  const encode = (value: unknown): string => toJson(value ?? null, `${name}()`, 'invalid_output')
  return new Callback(callback('workflow.function', invoke, encode))
}

/** What finds the full name of a function that a step names. */
type Naming = (name: string) => string

/** A workflow as core reads it; its functions are collected under their names, behind those of the steps around it. */
function workflowData(
  given: Workflow | WorkflowOptions,
  prefix: string,
  outer: Naming,
  into: Map<string, StepFunction>,
): Record<string, unknown> {
  const { steps, functions = {}, ...rest } = halves.get(given)?.options ?? (given as WorkflowOptions)
  for (const [name, execute] of Object.entries(functions)) into.set(prefix + name, functionOf(`functions.${name}`, execute))
  const naming: Naming = (name) => (Object.hasOwn(functions, name) ? prefix + name : outer(name))
  return { ...snake(rest), steps: each(steps ?? [], (step) => stepData(step, prefix, naming, into)) }
}

function stepData(step: WorkflowStep, prefix: string, naming: Naming, into: Map<string, StepFunction>): object {
  const { execute, compensate, agent, agents, tool, workflow, repeat, gate, timer, after, ...rest } = step
  const data = snake(rest)
  const given = (name: string, function_: StepFunction): string => {
    into.set(prefix + name, function_)
    return prefix + name
  }
  const inner = (flow: Workflow | WorkflowOptions): object =>
    workflowData(flow, `${prefix}${step.name}.`, naming, into)
  if (rest.function !== undefined) data['function'] = naming(rest.function)
  if (execute !== undefined) data['function'] = given(step.name, functionOf('execute', execute))
  if (agent !== undefined) data['agent'] = nameOf(agent)
  if (agents !== undefined) data['agents'] = each(agents, nameOf)
  if (tool !== undefined) data['tool'] = nameOf(tool)
  if (workflow !== undefined) data['workflow'] = inner(workflow)
  if (repeat !== undefined) {
    data['repeat'] = { ...snake(repeat), workflow: inner(repeat.workflow), until: conditionData(repeat.until) }
  }
  if (gate !== undefined) data['gate'] = { ...snake(gate), ...(gate.schema && { schema: jsonSchema(gate.schema, 'gate.schema') }) }
  if (timer !== undefined) data['timer'] = timer
  if (after !== undefined) {
    data['after'] = each(typeof after === 'string' ? [after] : after, (it) =>
      typeof it === 'string' ? it : { ...it, when: conditionData(it.when) },
    )
  }
  if (typeof compensate === 'function') data['compensate'] = { function: given(`${step.name}.undo`, compensate) }
  else if (compensate !== undefined) {
    data['compensate'] = 'function' in compensate ? { ...compensate, function: naming(compensate.function) } : compensate
  }
  return data
}

/** Each item as data; what is no list is left for the core to refuse. */
function each<T, D>(items: readonly T[], data: (item: T) => D): unknown {
  return Array.isArray(items) ? items.map(data) : items
}

/** The name of an agent, a tool or a workflow; a name stands for itself. */
function nameOf(given: string | Agent | Tool | Workflow): string {
  return typeof given === 'string' ? given : given.name
}

function conditionData(condition: Condition | undefined): object | undefined {
  if (condition === undefined) return undefined
  const { all, any, not, ...rest } = condition
  return {
    ...snake(rest),
    all: all && each(all, conditionData),
    any: any && each(any, conditionData),
    not: conditionData(not),
  }
}
