// Agents: a model with instructions and tools, or a function.

import { callback, type CallContext } from './callback.js'
import { snake } from './data.js'
import { call, functionOf, halfOf } from './error.js'
import { type Hook, nativeHook } from './hook.js'
import { toJson } from './json.js'
import { Callback, NativeAgent, type NativeTool } from '../native.js'
import type { Money } from './run.js'
import { jsonSchema, type SchemaLike } from './schema.js'
import { nativeTool, type Tool } from './tool.js'

/** What an agent is for. */
export type AgentKind =
  | 'router'
  | 'specialist'
  | 'coordinator'
  | 'orchestrator'
  | 'analyzer'
  | 'generator'
  | 'utility'
  | 'automator'
  | 'security'

/** Bounds of one run; at a bound the run ends with what it has and says which bound it was. */
export interface Limits {
  /** Calls of the model; 16 by default. */
  readonly steps?: number
  /** Calls of tools; 64 by default. */
  readonly toolCalls?: number
  /** How often one tool may be called with the same arguments in a row; 3 by default. */
  readonly repeatedCalls?: number
  /** Input and output tokens of all calls together; no bound by default. */
  readonly tokens?: number
  /**
   * What all calls of models may cost together; no bound by default. A cost that is not known, for want of a price,
   * counts as one that has reached the bound.
   */
  readonly cost?: Money
  /** How often an answer that does not fit its schema is sent back; 1 by default. */
  readonly repairs?: number
  /** Seconds for the whole run; no bound by default. */
  readonly seconds?: number
  /** How deep calls of agents by agents may be nested; 5 by default. */
  readonly depth?: number
  /** Seconds that a hook may take at one moment; 30 by default. */
  readonly hookSeconds?: number
}

/** How the model is to answer; what is left out is the provider's default. */
export interface ModelSettings {
  /** Randomness, 0 to 2. */
  readonly temperature?: number
  /** Of how much of the probable the next token is drawn, above 0 to 1. */
  readonly topP?: number
  /** The longest answer in tokens. */
  readonly maxOutputTokens?: number
  /** With the same seed the provider tries to give the same answer. */
  readonly seed?: number
  /** Texts before which the answer ends. */
  readonly stop?: readonly string[]
  /** How much it thinks: an effort, or a budget in tokens. */
  readonly reasoning?: { readonly effort: 'minimal' | 'low' | 'medium' | 'high' } | { readonly budget: number }
  /** Whether it may ask for several tools at a time. */
  readonly parallelToolCalls?: boolean
  /** For how long the provider may keep what it read. */
  readonly keepPrompt?: 'minutes' | 'hours'
}

/** An agent that the conversation may be handed to; its answer is the answer then. */
export interface Handoff {
  /** The agent, by a name that the engine knows when the run begins. */
  readonly agent: string
  /** How much of the conversation goes along; all by default. */
  readonly history?: 'all' | 'summary' | 'none' | { readonly last: number }
  /** When to hand over, for the model; the agent's own description by default. */
  readonly description?: string
}

/** Passages that an agent is given before it is asked. */
export interface Retrieval {
  /** At most this many tokens of passages; 2,000 by default. */
  readonly maxTokens?: number
  /** Whether the agent fails with `not_found`, instead of answering without passages, when there are none. */
  readonly required?: boolean
}

/** Makes the conversation of a run shorter before it fills the model's context window. */
export interface Compaction {
  /** Which part of the context window the conversation may fill, in percent; 80 by default. */
  readonly atPercent?: number
  /** The context window in tokens; that of the model's information by default. */
  readonly window?: number
  /** How many of the last turns stay word by word; 4 by default. */
  readonly keepTurns?: number
  /** How older turns are made shorter: by a summary, or by leaving them out; `summarize` by default. */
  readonly method?: 'summarize' | 'trim'
  /** The model that sums up, as `provider:model`; the agent's own by default. */
  readonly model?: string
  /** The longest summary in tokens; 1,000 by default. */
  readonly summaryTokens?: number
  /** What happens when a model cannot sum up; the run fails by default. */
  readonly onFailure?: 'fail' | 'trim'
}

/** One thing that an agent can do. */
export interface Capability {
  /** Its name, unique within the agent. */
  readonly name: string
  /** What it does; requests are matched against it. */
  readonly description: string
  /** How long one execution may take, in seconds; 30 by default. */
  readonly timeoutSeconds?: number
  /** What goes in. */
  readonly input: SchemaLike
  /** What comes out. */
  readonly output: SchemaLike
}

/** What every agent has. */
export interface AgentData {
  /** Its name, unique in an engine. */
  readonly name: string
  /** Its name for people; the plain name by default. */
  readonly title?: string
  /** The team it belongs to. */
  readonly domain?: string
  /** What it is for; `specialist` by default. */
  readonly kind?: AgentKind
  /** What it does and when to choose it. */
  readonly description?: string
  /** Words to find it by. */
  readonly tags?: readonly string[]
  /** The form of its answer; free text by default. */
  readonly output?: SchemaLike
  /** Bounds of one run. */
  readonly limits?: Limits
  /**
   * What it may do: it calls only tools whose `needs` are here, and asks only agents that have no more; what its caller
   * may by default.
   */
  readonly grants?: readonly string[]
  /** Words and short phrases by which a request finds it. */
  readonly routing?: { readonly words: readonly string[] }
  /** What it can do. */
  readonly capabilities?: readonly Capability[]
}

/** An agent around a model. */
export interface AgentOptions extends AgentData {
  /** The model, as `provider:model`; the engine's default when there is none. */
  readonly model?: string
  /** What it is told: the system message. */
  readonly instructions?: string
  /** Its tools, or names of tools that the engine was made with. */
  readonly tools?: readonly (Tool | string)[]
  /** Names of agents that it may ask, each as a tool of that name. */
  readonly agents?: readonly string[]
  /** Agents that it may hand the conversation to. */
  readonly handoffs?: readonly (Handoff | string)[]
  /** How the model is to answer. */
  readonly modelSettings?: ModelSettings
  /** Keeps long conversations short, `true` for the defaults; they are left alone by default. */
  readonly compaction?: Compaction | boolean
  /** What watches and steers its runs, after the hooks of the engine. */
  readonly hooks?: readonly Hook[]
  /** Passages that it is given before it is asked, `true` for the default bounds; none by default. */
  readonly retrieval?: Retrieval | boolean
}

/** What a function agent is asked besides the input. */
export interface AgentContext extends CallContext {
  /** The capability that is wanted; the agent as a whole when there is none. */
  readonly capability: string | undefined
}

/** An agent that is a function. */
export interface FunctionAgentOptions extends AgentData {
  /** Does the work; it may be async, and gives a value that JSON can say. */
  // The input is what the caller of the run gave, which no schema of ours describes.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly execute: (input: any, ctx: AgentContext) => unknown
}

const natives = new WeakMap<object, NativeAgent>()

/**
 * An agent: instructions, a model, tools, bounds.
 *
 * Its data may also be given as the core writes it, with snake_case fields, for example when it comes from a file.
 */
export class Agent {
  /** Its name. */
  readonly name: string

  constructor(options: AgentOptions) {
    const { tools = [], hooks = [], ...data } = options
    const own: NativeTool[] = []
    const names: string[] = []
    for (const it of tools) {
      if (typeof it === 'string') names.push(it)
      else own.push(nativeTool(it))
    }
    const spec = specText({ ...data, tools: names })
    this.name = options.name
    const watching = hooks.map(nativeHook)
    natives.set(
      this,
      call(() => NativeAgent.ofModel(spec, own, watching)),
    )
  }

  /** @internal */
  static ofFunction(options: FunctionAgentOptions): Agent {
    const { execute, ...data } = options
    functionOf('execute', execute)
    const spec = specText(data)
    interface Asked {
      readonly input: unknown
      readonly capability?: string
    }
    const invoke = ({ input, capability }: Asked, ctx: CallContext): unknown =>
      execute(input, Object.defineProperty(ctx, 'capability', { value: capability }) as AgentContext)
    const encode = (value: unknown): string => toJson(value ?? null, `${data.name}()`, 'invalid_output')
    const agent = Object.create(Agent.prototype, { name: { value: data.name, enumerable: true } }) as Agent
    natives.set(
      agent,
      call(() => NativeAgent.ofFunction(spec, new Callback(callback('agent.call', invoke, encode)))),
    )
    return agent
  }
}

/** The native half of an agent. */
export function nativeAgent(agent: Agent): NativeAgent {
  return halfOf(natives, 'agent', 'an `Agent`', agent)
}

/**
 * Makes an agent of a function.
 *
 * Its answer is recorded, so that a resumed run does not call it again.
 *
 * ```js
 * const shout = agent({ name: 'shout', execute: (input) => input.toUpperCase() })
 * ```
 */
export function agent(options: FunctionAgentOptions): Agent {
  return Agent.ofFunction(options)
}

function specText(data: object): string {
  const { output, limits, retrieval, capabilities, handoffs, modelSettings, compaction, ...rest } =
    data as AgentOptions
  const one = ({ input, output, ...rest }: Capability): object => ({
    ...snake(rest),
    input: jsonSchema(input, 'capabilities.input'),
    output: jsonSchema(output, 'capabilities.output'),
  })
  const spec = {
    ...snake(rest),
    ...(output && { output: jsonSchema(output, 'output') }),
    ...(limits && { limits: snake(limits) }),
    ...(retrieval && { retrieval: retrieval === true ? {} : snake(retrieval) }),
    ...(compaction && { compaction: compaction === true ? {} : snake(compaction) }),
    ...(handoffs && { handoffs: handoffs.map((it) => (typeof it === 'string' ? { agent: it } : it)) }),
    ...(modelSettings && { model_settings: snake(modelSettings) }),
    ...(capabilities && { capabilities: capabilities.map(one) }),
  }
  return toJson(spec, 'agent')
}
