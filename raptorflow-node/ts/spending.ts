// What was spent and what may be: balances, reports, predictions, and what the layers of an engine did.

import { deepCamel } from './data.js'
import type { Usage } from './model.js'
import { NativeEngine } from '../native.js'
import type { Money } from './run.js'

/** Over what time spending is counted; days and months are those of UTC. */
export type Window = 'total' | 'day' | 'month'

/** Whose spending is meant: a user, a run, an agent of a run, or the tenant when none is named. */
export interface Whose {
  readonly user?: string
  readonly run?: string
  readonly agent?: string
}

/** Money and tokens. */
export interface Spent {
  readonly money: Money
  readonly tokens: number
}

/** How far spending may go; what is missing is not bounded. */
export interface Cap {
  readonly money?: Money
  readonly tokens?: number
}

/** How a scope stands. */
export interface Balance {
  /** When, by the clock of the ledger. */
  readonly at: Date
  readonly spent: Readonly<Record<Window, Spent>>
  /** What is set aside for calls under way. */
  readonly reserved: Spent
  readonly caps: Readonly<Record<Window, Cap>>
  /** Up to what a run was approved. */
  readonly approved: Money | null
}

/** Which calls are counted; what is left out lets all through. */
export interface UsageFilter extends Whose {
  readonly model?: string
  readonly from?: Date | string
  readonly before?: Date | string
}

/** Calls of models, and what they came to. */
export interface UsageSum {
  readonly calls: number
  readonly usage: Usage
  /** What they cost, as far as it is known; `null` when no price is. */
  readonly cost: Money | null
  /** Calls without a known price, which are missing in `cost`. */
  readonly unpriced: number
  /** Calls that count as they were expected, because what they took is not known. */
  readonly estimated: number
}

/** Something that cost more than three times as much as usual. */
export type Anomaly =
  | { readonly of: 'day'; readonly day: string; readonly cost: Money; readonly mean: Money }
  | { readonly of: 'run'; readonly run: string; readonly cost: Money; readonly mean: Money }

/** What calls of models cost. */
export interface UsageReport {
  readonly tenant: string
  readonly total: UsageSum
  readonly runs: Readonly<Record<string, UsageSum>>
  readonly agents: Readonly<Record<string, UsageSum>>
  readonly users: Readonly<Record<string, UsageSum>>
  readonly models: Readonly<Record<string, UsageSum>>
  readonly days: Readonly<Record<string, UsageSum>>
  readonly months: Readonly<Record<string, UsageSum>>
  /** What the month comes to if it goes on like this; `null` in its first hour, and without costs. */
  readonly projectedMonth: Money | null
  readonly anomalies: readonly Anomaly[]
}

/** A piece of work with a model. */
export interface Workload {
  /** Tokens of the first request; see `textTokens`. */
  readonly inputTokens: number
  /** Tokens that one answer is expected to have. */
  readonly outputTokens: number
  /** The longest answer, where the request bounds it. */
  readonly maxOutputTokens?: number
  /** How many rounds of tool calls are expected. */
  readonly toolCalls?: number
  /** Which part of the calls is made again, from 0 to 1. */
  readonly retryRate?: number
}

/** Tokens, and what they cost; `null` when the price is unknown, which is not zero. */
export interface Expected {
  readonly usage: Usage
  readonly money: Money | null
}

/** What a piece of work may take: at least, as expected, and at most. */
export interface Prediction {
  readonly low: Expected
  readonly expected: Expected
  readonly high: Expected
  readonly confidence: 'low' | 'medium' | 'high'
}

/** The circuit breaker of a model. */
export interface BreakerStatus {
  readonly model: string
  readonly state: 'closed' | 'open' | 'half_open'
  readonly counts: {
    readonly succeeded: number
    readonly failed: number
    readonly slow: number
    readonly heldBack: number
    readonly opened: number
  }
}

/** A rule of the rate limit, and what it did. */
export interface RateStatus {
  readonly scope: string
  readonly unit: 'calls' | 'tokens'
  readonly rate: { readonly limit: number; readonly perSeconds: number; readonly burst: number; readonly algorithm: string }
  /** How many keys it remembers now. */
  readonly keys: number
  /** How often it did not allow a call, which then waited or failed. */
  readonly refused: number
}

/** How often the cache had an answer. */
export interface CacheStats {
  readonly exactHits: number
  readonly semanticHits: number
  readonly misses: number
  readonly unembedded: number
  readonly entries: number
  /** From 0 to 1. */
  readonly hitRate: number
}

/** Whose keys are names of users, agents and the like. */
const KEYED = ['runs', 'agents', 'users', 'models', 'days', 'months']

/** What the native side wrote. */
export function spending<T>(text: string): T {
  return deepCamel(JSON.parse(text), KEYED) as T
}

/** The balance that the native side wrote. */
export function balance(text: string): Balance {
  const { at, ...rest } = spending<Omit<Balance, 'at'> & { readonly at: string }>(text)
  return { ...rest, at: new Date(at) }
}

/** About how many tokens a text has: four ASCII characters to a token, and one for any other character. */
export function textTokens(text: string): number {
  return NativeEngine.textTokens(text)
}
