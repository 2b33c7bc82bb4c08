// What stands before models, what runs may spend, and what models cost: the settings of an engine.

import { fileURLToPath } from 'node:url'

import { deepSnake } from './data.js'
import type { Money } from './run.js'

/** An amount as text, such as `0.50 USD`, or as an object. */
export type Amount = string | Money

/** How a call is tried again. */
export interface Retry {
  /** Tries in all, the first one included; 3 by default. */
  readonly attempts?: number
  /** The pause before the second try; 0.5 by default. */
  readonly baseSeconds?: number
  /** By what the pause grows each time; 2 by default. */
  readonly factor?: number
  /** The longest pause of its own; 30 by default. */
  readonly maxSeconds?: number
  /** The random share of the pause, 0 to 1; 1 by default. */
  readonly jitter?: number
  /** The longest pause that the other side may ask for; 60 by default. */
  readonly longestPauseSeconds?: number
  /** Holds an answer back until it is whole, so that one that breaks off can be tried again; `false` by default. */
  readonly buffered?: boolean
}

/** How long one try may take. */
export interface Timeout {
  /** Until the first part; 180 by default. */
  readonly firstSeconds?: number
  /** Between two parts; 60 by default. */
  readonly betweenSeconds?: number
  /** In all; 600 by default. */
  readonly totalSeconds?: number
}

/** When a circuit breaker opens and closes. */
export interface Breaker {
  /** How many failures within the window open it; 5 by default. */
  readonly failures?: number
  /** How far back failures count; 300 by default. */
  readonly windowSeconds?: number
  /** Which share of the calls they must be; 0.5 by default. */
  readonly failureShare?: number
  /** How long it stays open; 60 by default. */
  readonly recoverySeconds?: number
  /** How many successes close it again; 3 by default. */
  readonly successes?: number
  /** How many calls may be under way while it is half open; 3 by default. */
  readonly probes?: number
  /** A call that takes longer to begin its answer is a failure; 180 by default. */
  readonly timeoutSeconds?: number
  /** A success that takes longer to begin is counted as slow; 10 by default. */
  readonly slowCallSeconds?: number
}

/** How many calls or tokens a time may hold. */
export interface RateRule {
  /** Over whom it counts; an endpoint is a model. */
  readonly scope: 'global' | 'tenant' | 'user' | 'endpoint'
  readonly limit: number
  readonly perSeconds: number
  /** What it counts; `calls` by default. */
  readonly unit?: 'calls' | 'tokens'
  /** How much more than the limit a token bucket holds, 1 to 16; 1.5 by default. */
  readonly burst?: number
  /** How it counts; `token_bucket` by default. */
  readonly algorithm?: 'token_bucket' | 'sliding_window' | 'fixed_window'
}

/** Rates of calls and tokens. */
export interface RateLimit {
  /** All of which must allow a call; 100 calls a minute for each user and 10,000 for everybody by default. */
  readonly rules?: readonly RateRule[]
  /** The longest wait, after which a call fails; 60 by default. */
  readonly longestWaitSeconds?: number
  /** Where it is counted, like `redis://host:6379/0`; in this process by default. */
  readonly store?: string
}

/** What may answer instead of a model that fails. */
export interface Fallback {
  /** Who is asked, one after another. */
  readonly models?: readonly string[]
  /** How many answers are remembered for when all of them fail; none by default. */
  readonly remember?: number
  /** The answer when nothing else is left; the error by default. */
  readonly text?: string
}

/** Stronger models for when an answer will not do. */
export interface Cascade {
  /** Who is asked, one after another. */
  readonly models: readonly string[]
  /** The answer when none will do; the last answer as it is by default. */
  readonly text?: string
}

/** How long and how many answers are kept. */
export interface Cache {
  /** From which cosine on two questions mean the same; 0.92 by default. */
  readonly cosine?: number
  /** How long an answer is good; 3,600 by default. */
  readonly ttlSeconds?: number
  /** How many answers a tenant has for an agent; 100 by default. */
  readonly entries?: number
}

/**
 * What stands before every model.
 *
 * `true` is a part with its defaults, `false` is none.
 */
export interface Layers {
  /** One span a call; on by default. */
  readonly trace?: boolean
  /** Takes personal data out of what is sent, and puts it back into the answer; off by default. */
  readonly redact?: boolean
  /** Answers what was answered before; off by default. */
  readonly cache?: boolean | Cache
  /** A stronger model when an answer will not do; off by default. */
  readonly cascade?: false | Cascade | readonly string[]
  /** Something else when a model fails; off by default. */
  readonly fallback?: false | Fallback | readonly string[]
  /** Tries again what may succeed then; on by default. */
  readonly retry?: boolean | Retry
  /** Stops calling a model that keeps failing; on by default. */
  readonly breaker?: boolean | Breaker
  /** Keeps within calls and tokens a time; off by default. */
  readonly rateLimit?: boolean | RateLimit | readonly RateRule[]
  /** Bounds one try; on by default. */
  readonly timeout?: boolean | Timeout
}

/** How far spending may go; what is left out is not bounded. */
export interface CapOptions {
  readonly money?: Amount
  /** Input and output together. */
  readonly tokens?: number
}

/** The caps of one scope: from the beginning, in a day and in a month of UTC. */
export interface Caps {
  readonly total?: CapOptions
  readonly day?: CapOptions
  readonly month?: CapOptions
}

/** What runs may spend. */
export interface Budgets {
  /** The currency of every amount; `USD` by default. */
  readonly currency?: string
  readonly tenant?: Caps
  /** Each user of a tenant. */
  readonly user?: Caps
  readonly run?: Caps
  /** Each agent of a run, with the agents below it. */
  readonly agent?: Caps
  /** What one call may be expected to spend; 1 USD and 100,000 tokens by default. */
  readonly request?: CapOptions
  /** From which sum on a run must be approved first, `null` for none; 0.50 USD by default. */
  readonly approvalAbove?: Amount | null
  /** How long a reservation is open when nobody settles it; 900 by default. */
  readonly holdSeconds?: number
}

/** What a model costs from a date on, in millionths of the currency unit per million tokens. */
export interface Price {
  readonly model: string
  readonly currency: string
  readonly input: number
  readonly output: number
  /** Input from the provider's cache; as `input` by default. */
  readonly cached?: number
  /** A date such as `2026-01-31`, or a time. */
  readonly validFrom: string | Date
}

/** The settings of an engine that core reads. */
export interface Settings {
  /** What stands before every model. */
  readonly layers?: Layers
  /** What runs may spend, `true` for the usual caps of a call; without it nothing is counted and nothing refused. */
  readonly budgets?: Budgets | true
  /** What models cost: prices, or the path of a TOML file with `[[price]]` entries. */
  readonly prices?: readonly Price[] | string | URL
}

/** The settings as core reads them. */
export function settings({ layers, budgets, prices }: Settings): unknown {
  return deepSnake({
    layers,
    budgets: budgets === true ? {} : budgets,
    prices: prices instanceof URL ? fileURLToPath(prices) : prices,
  })
}
