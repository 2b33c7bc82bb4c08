// Patterns: agents that debate, vote, check each other or share work, as data that core checks.

import type { Agent } from './agent.js'
import { snake } from './data.js'
import { call, refuse } from './error.js'
import { toJson } from './json.js'
import { NativeAgent } from '../native.js'
import type { Aggregate, Workflow } from './workflow.js'

/** One who takes part: an agent, a workflow or a pattern by name or itself, or an object that says more of it. */
export type Member = string | Agent | Workflow | Pattern | MemberOptions

/** One who takes part, and its part; one of `agent` and `pattern`. */
export interface MemberOptions {
  /** An agent, a workflow or a pattern that the engine knows. */
  readonly agent?: string | Agent | Workflow
  /** Another pattern that takes part as a whole. */
  readonly pattern?: Pattern
  /** What the others know it by; its name by default. */
  readonly label?: string
  /** The part that it plays in a debate or on a panel. */
  readonly role?:
    | 'advocate'
    | 'critic'
    | 'moderator'
    | 'neutral'
    | 'primary'
    | 'specialist'
    | 'advisor'
    | 'reviewer'
  /** How much its voice counts; 1 by default. */
  readonly weight?: number
  /** The capability that is wanted of it. */
  readonly capability?: string
  /** In a sequence: whether it goes on without this one. */
  readonly optional?: boolean
  /** In a sequence: the agent that takes back what this one did. */
  readonly undo?: string
}

/** What a tie comes to. */
export type Tie =
  | 'none'
  | 'first'
  | 'highest_priority'
  | 'lowest_priority'
  | 'most_confident'
  | { readonly seeded: number }

/** What every pattern knows; durations are seconds. */
export interface PatternOptions {
  /** Its name, unique among the agents of an engine; the kind and a digest of the options by default. */
  readonly name?: string
  /** What it does and when to choose it. */
  readonly description?: string
  /** Seconds for one turn of a member; 600 by default. */
  readonly timeout?: number
  /** How often a turn that failed is tried again; 2 in a sequence and none elsewhere by default. */
  readonly retries?: number
  /** How many turns are under way at the same time; 16 by default. */
  readonly parallel?: number
  /** How many tokens the turns may take together; without a bound by default. */
  readonly tokens?: number
  /** Whether the output is the answer, and the decision a step of the journal. */
  readonly answerOnly?: boolean
}

/** Options of a group. */
export interface ParallelOptions extends PatternOptions {
  /** When it has answered; when `all` have by default. */
  readonly complete?: 'all' | 'any' | 'majority' | 'threshold'
  /** The share of the weight that has to have answered for `threshold`; 0.7 by default. */
  readonly threshold?: number
  /** What the answers come to; `all` by default. */
  readonly aggregate?:
    | Aggregate
    | { readonly method: Aggregate; readonly threshold?: number; readonly tie?: Tie; readonly texts?: 'folded' | 'exact' }
  /** Whether one that fails ends the pattern. */
  readonly failFast?: boolean
}

/** Options of a debate. */
export interface DebateOptions extends PatternOptions {
  /** Who decides when the sides do not agree; the moderator by default, or nobody. */
  readonly judge?: Member
  /** How turns follow each other; `round_robin` by default. */
  readonly format?: 'round_robin' | 'free_form' | 'structured' | 'socratic'
  /** When they agree; `moderator` with a judge and `majority` without one by default. */
  readonly consensus?: 'unanimous' | 'majority' | 'weighted_vote' | 'moderator' | 'confidence'
  /** How sure they have to be for `confidence`; 0.8 by default. */
  readonly confidence?: number
  /** How many rounds at most; 5 by default. */
  readonly rounds?: number
  /** How often each side speaks in a round; 3 by default. */
  readonly turns?: number
  /** Whether it ends as soon as they agree; it does by default. */
  readonly earlyStop?: boolean
  /** What a tie comes to; it stays one by default. */
  readonly tie?: Tie
}

/** Options of a verification. */
export interface VerificationOptions extends PatternOptions {
  /** Who writes; without one the input itself is checked, once. */
  readonly author?: Member
  /** How much is looked for; `standard` by default. */
  readonly level?: 'basic' | 'standard' | 'thorough' | 'critical'
  /** How often it is checked at most; 3 by default. */
  readonly iterations?: number
  /** The score that is needed; 0.8 by default. */
  readonly threshold?: number
  /** Whether all verifiers have to approve, which is the default, or those with more than half of the weight. */
  readonly allRequired?: boolean
}

/** Options of a panel. */
export interface ExpertPanelOptions extends PatternOptions {
  /** Who writes the answer; the primary one by default. */
  readonly coordinator?: Member
  /** How the panel comes to one answer; by a `coordinator` by default. */
  readonly strategy?: 'coordinator' | 'consensus' | 'weighted_merge' | 'sequential_build' | 'best_solution'
  /** Whether they see what others said before them; not by default. */
  readonly order?: 'parallel' | 'sequential'
  /** What the share, the score or the confidence has to be for them to agree; 0.7 by default. */
  readonly threshold?: number
  /** What a tie comes to; it stays one by default. */
  readonly tie?: Tie
}

/** Options of a map. */
export interface MapReduceOptions extends PatternOptions {
  /** Who makes one answer of a list of outputs, which it gets as `items`; without one the answer is the list. */
  readonly reducer?: Member
  /** How many outputs the reducer is given at once; all of them by default. */
  readonly atOnce?: number
  /** The share of the items that has to succeed; all by default. */
  readonly threshold?: number
}

/** Options of a reflection. */
export interface ReflectionOptions extends PatternOptions {
  /** Who criticizes; the author by default. */
  readonly critic?: Member
  /** How often it is written at most; 3 by default. */
  readonly rounds?: number
  /** The score that is good enough; 0.8 by default. */
  readonly threshold?: number
}

const natives = new WeakMap<object, NativeAgent>()

/**
 * Agents that work together by a rule; it runs, and takes part in other patterns, like an agent.
 *
 * `debate` and the other functions make one.
 * The output is the decision, as core writes it: the `answer`, whether they `agreed`, the `confidence`, why it
 * `stopped`, all `turns`, the `tally` of votes with who stood against it, and who is `missing`.
 * All problems of it are told at once, as `diagnostics` of the error.
 */
export class Pattern {
  /** Its name. */
  readonly name: string
  readonly #spec: string

  constructor(spec: Readonly<Record<string, unknown>>) {
    this.#spec = toJson(spec, 'pattern')
    const native = call(() => NativeAgent.ofPattern(this.#spec))
    this.name = native.name
    natives.set(this, native)
  }

  /** It as data, for the constructor. */
  toJSON(): Record<string, unknown> {
    return JSON.parse(this.#spec) as Record<string, unknown>
  }
}

/** The native half of a pattern. */
export function nativePattern(pattern: Pattern): NativeAgent {
  return natives.get(pattern) ?? refuse('pattern', 'a `Pattern`', pattern)
}

/** One member after another, each with what the one before it gave. */
export function sequential(members: readonly Member[], options: PatternOptions = {}): Pattern {
  return pattern('sequential', { members: all(members) }, options)
}

/** All members at once with the same input. */
export function parallel(members: readonly Member[], options: ParallelOptions = {}): Pattern {
  const { complete, threshold, aggregate, failFast, ...common } = options
  const fields = {
    members: all(members),
    complete: complete ?? (threshold === undefined ? undefined : 'threshold'),
    threshold,
    aggregate: typeof aggregate === 'string' ? { method: aggregate } : aggregate,
    failFast,
  }
  return pattern('parallel', fields, common)
}

/** Sides that answer each other until they agree, a judge decides, or the rounds are used up. */
export function debate(members: readonly Member[], options: DebateOptions = {}): Pattern {
  const { judge, format, consensus, confidence, rounds, turns, earlyStop, tie, ...common } = options
  const fields = {
    members: all(members),
    judge: one(judge),
    format,
    consensus: consensus ?? (confidence === undefined ? undefined : 'confidence'),
    confidence,
    rounds,
    turns,
    earlyStop,
    tie,
  }
  return pattern('debate', fields, common)
}

/** An answer that others check, and that is written again with their notes until it passes. */
export function verification(verifiers: readonly Member[], options: VerificationOptions = {}): Pattern {
  const { author, level, iterations, threshold, allRequired, ...common } = options
  const fields = { verifiers: all(verifiers), author: one(author), level, iterations, threshold, allRequired }
  return pattern('verification', fields, common)
}

/** Experts who come to one answer. */
export function expertPanel(members: readonly Member[], options: ExpertPanelOptions = {}): Pattern {
  const { coordinator, strategy, order, threshold, tie, ...common } = options
  const fields = { members: all(members), coordinator: one(coordinator), strategy, order, threshold, tie }
  return pattern('expert_panel', fields, common)
}

/** Every item of a list by itself, and then all together. */
export function mapReduce(mappers: readonly Member[], options: MapReduceOptions = {}): Pattern {
  const { reducer, atOnce, threshold, ...common } = options
  return pattern('map_reduce', { mappers: all(mappers), reducer: one(reducer), atOnce, threshold }, common)
}

/** An answer that is criticized and written again. */
export function reflection(author: Member, options: ReflectionOptions = {}): Pattern {
  const { critic, rounds, threshold, ...common } = options
  return pattern('reflection', { author: one(author), critic: one(critic), rounds, threshold }, common)
}

function pattern(kind: string, fields: object, common: PatternOptions): Pattern {
  return new Pattern({ ...snake(common), pattern: { [kind]: snake(fields) } })
}

function all(members: readonly Member[]): unknown {
  return Array.isArray(members) ? members.map(one) : members
}

/** A member as data: an agent by its name, a pattern as a whole. */
function one(given: Member | undefined): unknown {
  if (given === undefined || typeof given === 'string') return given
  if (given instanceof Pattern) return { pattern: given.toJSON() }
  if (!plain(given)) return given.name
  const { agent, pattern, ...rest } = given
  return {
    ...snake(rest),
    ...(agent !== undefined && { agent: typeof agent === 'string' ? agent : agent.name }),
    ...(pattern !== undefined && { pattern: pattern.toJSON() }),
  }
}

function plain(given: Agent | Workflow | MemberOptions): given is MemberOptions {
  return Object.getPrototypeOf(given) === Object.prototype
}
