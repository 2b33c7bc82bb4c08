// `Engine`: agents, models, journals and a bus in one handle.

import { type Agent, nativeAgent } from './agent.js'
import { snake } from './data.js'
import { call, countOf, settle } from './error.js'
import { EventBus } from './event.js'
import { toJson } from './json.js'
import { type ModelFunction, type ModelOptions, nativeModel } from './model.js'
import { Cancellation, NativeEngine } from '../native.js'
import { nativePack, Pack } from './pack.js'
import { type KnowledgeBase, nativeKnowledgeBase } from './rag.js'
import { cancellable, entries, type Entry, outcome, type Outcome, Run, type RunSummary, Stream, summaries } from './run.js'
import { nativeTool, type Tool } from './tool.js'

/** What an engine is made of besides its storage. */
export interface EngineOptions {
  /** The model of agents that name none, as `provider:model`; there is no default. */
  readonly defaultModel?: string
  /** Tools that agents may name in their data. */
  readonly tools?: readonly Tool[]
  /** The tenant of runs that name none. */
  readonly tenant?: string
}

/** What applies to new and resumed runs alike. */
export interface ResumeOptions {
  /** Cancels the run for good when aborted. */
  readonly signal?: AbortSignal
  /** How long the run may take, in milliseconds; no bound by default. */
  readonly timeout?: number
  /** The tenant; the engine's by default. */
  readonly tenant?: string
  /** Publishes pieces of answers as `message_sent` events, as they arrive; off by default. */
  readonly content?: boolean
}

/** What a run may say besides the agent and the input. */
export interface RunOptions extends ResumeOptions {
  /** One capability of the agent; the input must fit its schema. */
  readonly capability?: string
}

/** Which of the runs, or of the entries of a run, are wanted. */
export interface ListOptions<From> {
  /** Only what comes after this run. */
  readonly after?: From
  /** At most this many; 100 by default. */
  readonly limit?: number
}

/**
 * Agents, models, journals and a bus in one handle.
 *
 * ```js
 * const engine = new Engine('sqlite:team.db')
 * engine.register(agent({ name: 'shout', execute: (input) => input.toUpperCase() }))
 * const { output } = await engine.run('shout', 'hello')
 * ```
 */
export class Engine {
  /** The bus on which every agent's work shows. */
  readonly bus: EventBus
  readonly #native: NativeEngine

  /**
   * Opens the storage, `memory:` by default, `sqlite:path` or `postgres://user@host/database`, and makes the engine.
   *
   * It waits for the storage, which takes some milliseconds for a file.
   */
  constructor(storage?: string, options: EngineOptions = {}) {
    const { tools = [], ...rest } = options
    const text = toJson(snake({ ...rest, storage }), 'options')
    this.#native = call(() => new NativeEngine(text, tools.map(nativeTool)))
    this.bus = new EventBus(this.#native)
  }

  /** Makes an agent known. */
  register(agent: Agent): void {
    call(() => this.#native.register(nativeAgent(agent)))
  }

  /** Makes a function known as a model, under a full name like `host:model`. */
  registerModel(name: string, model: ModelFunction, options: ModelOptions = {}): void {
    const [info, body] = nativeModel(name, model, options)
    call(() => this.#native.registerModel(info, body))
  }

  /** Makes every agent of a pack, or of the pack in a folder, known, and its teams under its name; all or nothing. */
  async install(pack: Pack | string): Promise<Pack> {
    const loaded = typeof pack === 'string' ? await Pack.load(pack) : pack
    call(() => this.#native.install(nativePack(loaded)))
    return loaded
  }

  /** The names of the agents that are known. */
  get agents(): readonly string[] {
    return this.#native.agents()
  }

  /** Says where agents with retrieval find passages from now on. */
  useKnowledge(knowledge: KnowledgeBase): void {
    this.#native.useKnowledge(nativeKnowledgeBase(knowledge))
  }

  /** Asks an agent and waits for its answer; an error has the `runId`, which can be resumed. */
  // The answer's form is the agent's affair.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  async run<Output = any>(agent: Agent | string, input: unknown, options: RunOptions = {}): Promise<Outcome<Output>> {
    const { signal, ...rest } = options
    const text = ask(agent, input, rest)
    const cancellation = new Cancellation()
    return outcome<Output>(await cancellable(signal, cancellation, () => this.#native.run(text, cancellation)))
  }

  /**
   * Asks an agent and gives what happens as it happens; leaving the loop cancels the run.
   *
   * ```js
   * const stream = engine.stream('pricing', 'how much?', { content: true })
   * for await (const event of stream) if (event.kind === 'message_sent') process.stdout.write(event.data.text)
   * const { output } = await stream.outcome()
   * ```
   */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  stream<Output = any>(agent: Agent | string, input: unknown, options: RunOptions = {}): Stream<Output> {
    return new Stream(() => this.start<Output>(agent, input, options))
  }

  /** Asks an agent in the background. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  async start<Output = any>(agent: Agent | string, input: unknown, options: RunOptions = {}): Promise<Run<Output>> {
    const { signal, ...rest } = options
    const text = ask(agent, input, rest)
    const cancellation = new Cancellation()
    return Run.begin<Output>((ended) => this.#native.start(text, cancellation, ended), signal, cancellation)
  }

  /**
   * Takes up a run whose process ended, or that failed, and waits for its answer.
   *
   * Nothing that is recorded is done again; a run that is complete gives its recorded answer.
   */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  async resume<Output = any>(run: string, options: ResumeOptions = {}): Promise<Outcome<Output>> {
    const { signal, ...how } = options
    const text = toJson({ run, how }, 'options')
    const cancellation = new Cancellation()
    return outcome<Output>(await cancellable(signal, cancellation, () => this.#native.resume(text, cancellation)))
  }

  /** Cancels a run for good; one that works in this process has stopped soon after. */
  async cancel(run: string): Promise<void> {
    await settle(() => this.#native.cancel(run))
  }

  /** The runs of the engine's tenant, oldest first. */
  async runs({ after, limit = 100 }: ListOptions<string> = {}): Promise<RunSummary[]> {
    countOf('limit', 0, limit)
    return summaries(await settle(() => this.#native.runs(after, limit)))
  }

  /** What happened in a run, oldest first, from a sequence number on. */
  async history(run: string, options: { readonly from?: number; readonly limit?: number } = {}): Promise<Entry[]> {
    const { from = 0, limit = 10_000 } = options
    countOf('from', 0, from)
    countOf('limit', 0, limit)
    return entries(await settle(() => this.#native.history(run, from, limit)))
  }

  /** Stops what works in the background, waits for it at most 5 seconds, and closes the storage. */
  async close(): Promise<void> {
    await settle(() => this.#native.close())
  }

  /** For `await using`, where the language has it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

function ask(agent: Agent | string, input: unknown, options: Omit<RunOptions, 'signal'>): string {
  const { capability, ...how } = options
  const name = typeof agent === 'string' ? agent : agent.name
  // Apart from the rest, so that the path in an error begins with `input`.
  const given = toJson(input, 'input')
  const rest = toJson({ agent: name, capability, how }, 'options')
  return `${rest.slice(0, -1)},"input":${given}}`
}
