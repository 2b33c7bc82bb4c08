// Test doubles: models that follow a script or a recorded run, and cassettes of what providers answered.

import { deepSnake } from './data.js'
import { call, halfOf, RaptorflowError, settle } from './error.js'
import { type Engine, nativeEngine } from './engine.js'
import { toJson } from './json.js'
import { asked, type ChatRequest, type ToolCall, type Usage } from './model.js'
import { NativeCassette, NativeReplay, NativeScript } from '../native.js'
import { pathOf } from './upkeep.js'

/** What a reply may have besides its answer. */
interface Manner {
  /** Text and arguments arrive in pieces of at most this many characters. */
  readonly inPieces?: number
  /** Breaks off after this many pieces. */
  readonly cutAfter?: number
  /** Says nothing more after this many pieces, and does not end. */
  readonly silentAfter?: number
  /** Begins after a pause, in milliseconds. */
  readonly delay?: number
}

/** A reply of a script: an answer, a value as JSON, an error in place of one, or silence. */
export type Reply =
  | string
  | RaptorflowError
  | (Manner & {
      /** A string, or the strings that it arrives in. */
      readonly text?: string | readonly string[]
      readonly reasoning?: string
      readonly toolCalls?: readonly ToolCall[]
      readonly usage?: Partial<Usage>
      /** Why it ended; by default `stop`, or `tool_calls` where there are some. */
      readonly finish?: 'stop' | 'length' | 'tool_calls' | 'content_filter'
    })
  | (Manner & {
      /** A value, which arrives as text. */
      readonly json: unknown
    })
  | {
      /** Never answers, until the run is cancelled or its time is over. */
      readonly hangs: true
    }

/** What a script has besides its list. */
export interface ScriptOptions {
  /** Replies to requests whose last message has a text in it; they go before the list. */
  readonly when?: Readonly<Record<string, Reply>>
  /** The reply to every request that nothing else answers. */
  readonly always?: Reply
}

/**
 * A model that gives replies in order, and remembers what it was asked.
 *
 * ```js
 * const script = new ScriptedModel(['Hello.', new RaptorflowError('rate_limited', 'slow down', { retry: 'soon' })])
 * engine.registerModel('test:script', script)
 * ```
 */
export class ScriptedModel {
  readonly #native: NativeScript

  /** A call beyond the replies is `not_found`. */
  constructor(replies: Iterable<Reply> = [], { when = {}, always }: ScriptOptions = {}) {
    this.#native = new NativeScript()
    scripts.set(this, this.#native)
    for (const [text, reply] of Object.entries(when)) {
      const given = plain(reply)
      call(() => this.#native.whenAsked(text, given))
    }
    if (always !== undefined) {
      const given = plain(always)
      call(() => this.#native.always(given))
    }
    this.push(...replies)
  }

  /** Adds replies to the end of the list. */
  push(...replies: readonly Reply[]): void {
    for (const reply of replies) {
      const given = plain(reply)
      call(() => this.#native.push(given))
    }
  }

  /** Every request so far, oldest first. */
  get requests(): readonly ChatRequest[] {
    return (JSON.parse(call(() => this.#native.requests())) as object[]).map(asked)
  }

  /** The idempotency key of every request so far. */
  get keys(): readonly (string | null)[] {
    return this.#native.keys().map((key) => key ?? null)
  }

  /** How many replies of the list are left. */
  get remaining(): number {
    return this.#native.remaining()
  }
}

/**
 * A model that gives the answers of a recorded run again, each place of the run its own, in their order.
 *
 * What it is asked is not compared; a place that has no answer left gets `not_found`.
 */
export class ReplayModel {
  readonly #native: NativeReplay

  private constructor(native: NativeReplay) {
    this.#native = native
    replays.set(this, native)
  }

  /** The answers of a file that `save` wrote. */
  static load(path: string | URL): ReplayModel {
    const file = pathOf(path)
    return new ReplayModel(call(() => NativeReplay.load(file)))
  }

  /** The answers that stand in the journal of a run. */
  static async ofRun(engine: Engine, run: string): Promise<ReplayModel> {
    return new ReplayModel(await settle(() => NativeReplay.ofRun(nativeEngine(engine), run)))
  }

  /** Writes the answers that are left to a file; they hold what the models said. */
  save(path: string | URL): void {
    const file = pathOf(path)
    call(() => this.#native.save(file))
  }

  /** How many answers are left. */
  get left(): number {
    return this.#native.left
  }
}

/** What a cassette does besides giving what is recorded. */
export interface CassetteOptions {
  /**
   * `replay`, the default, sends nothing, and what is not recorded is an error; `record` sends everything and begins the
   * file anew; `auto` sends and records what is not there yet.
   */
  readonly mode?: 'record' | 'replay' | 'auto'
  /** JSON Pointers into the body that are not compared, such as `/metadata/user_id`. */
  readonly ignoring?: readonly string[]
}

/**
 * What providers answered, recorded in a file that holds no keys, to be given again without the network.
 *
 * A request is found by its address and its body, and answered once; a replay needs no key.
 *
 * ```js
 * const engine = new Engine('memory:', { defaultModel: 'openai:gpt-5-mini', cassette: new Cassette('greeting.jsonl') })
 * ```
 */
export class Cassette {
  readonly #native: NativeCassette

  constructor(path: string | URL, { mode = 'replay', ignoring = [] }: CassetteOptions = {}) {
    const [file, how] = [pathOf(path), toJson(mode, 'mode')]
    this.#native = call(() => new NativeCassette(file, how, [...ignoring]))
    cassettes.set(this, this.#native)
  }

  /** How many recorded exchanges were not asked for. */
  get left(): number {
    return this.#native.left
  }

  /** Throws `unavailable` when something could not be written. */
  check(): void {
    call(() => this.#native.check())
  }
}

const scripts = new WeakMap<object, NativeScript>()
const replays = new WeakMap<object, NativeReplay>()
const cassettes = new WeakMap<object, NativeCassette>()

/** The native half of a test double, where a user gave one. */
export function nativeDouble(model: unknown): NativeScript | NativeReplay | undefined {
  if (model instanceof ScriptedModel) return scripts.get(model)
  return model instanceof ReplayModel ? replays.get(model) : undefined
}

/** The native half of a cassette that a user gave. */
export function nativeCassette(cassette: Cassette): NativeCassette {
  return halfOf(cassettes, 'cassette', 'a `Cassette`', cassette)
}

/** A reply as core reads it. */
function plain(reply: Reply): string {
  if (reply instanceof RaptorflowError) return toJson({ error: failure(reply) }, 'reply')
  if (typeof reply !== 'object' || reply === null) return toJson(reply, 'reply')
  const { delay, json, toolCalls, ...rest } = reply as Manner & { json?: unknown; toolCalls?: readonly ToolCall[] }
  const manner = deepSnake(rest) as object
  const pause = delay === undefined ? {} : { delay_seconds: delay / 1000 }
  // Not renamed: these are values of the host's own.
  return toJson({ ...manner, ...pause, json, tool_calls: toolCalls }, 'reply')
}

function failure({ code, reason, retry }: RaptorflowError): object {
  const pause = typeof retry === 'object' ? retry.after / 1000 : retry === 'soon' ? 0 : undefined
  return { kind: code, message: reason, retry_after: pause }
}
