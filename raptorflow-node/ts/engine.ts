// `Engine`: agents, models, journals and a bus in one handle.

import { type Agent, nativeAgent } from './agent.js'
import { type Approving, type Denying, type PendingApproval, verdict } from './approval.js'
import { answered, type Answering, AnswerStream, type AskOptions, questionText } from './ask.js'
import { snake } from './data.js'
import { call, countOf, halfOf, settle } from './error.js'
import { EventBus } from './event.js'
import { type Hook, nativeHook } from './hook.js'
import { toJson } from './json.js'
import { type Attachment, type ModelFunction, type ModelOptions, nativeModel } from './model.js'
import { Cancellation, type NativeAgent, type NativeAnswer, NativeEngine, type NativeRun, NativeScript } from '../native.js'
import { nativePack, Pack } from './pack.js'
import { type Embedder, type KnowledgeBase, nativeEmbedder, nativeKnowledgeBase } from './rag.js'
import { cancellable, outcome, type Outcome, Run, Stream } from './run.js'
import { type Amount, type CapOptions, settings, type Settings } from './settings.js'
import { nativeSkills, type SkillRegistry } from './skill.js'
import {
  balance,
  type Balance,
  type BreakerStatus,
  type CacheStats,
  type Prediction,
  type RateStatus,
  spending,
  type UsageFilter,
  type UsageReport,
  type Whose,
  type Window,
  type Workload,
} from './spending.js'
import { entries, type Entry, page, type RunPage, type RunState, type RunStatus, state } from './state.js'
import type { Infer, SchemaLike } from './schema.js'
import { type Cassette, nativeCassette, nativeDouble, type ReplayModel, type ScriptedModel } from './testing.js'
import { nativeTool, type Tool } from './tool.js'
import { type Archive, archive, type Erased, pathOf, type Pruned, type Retention } from './upkeep.js'
import { nativePattern, Pattern } from './pattern.js'
import { nativeWorkflow, Workflow } from './workflow.js'

const nativeEngines = new WeakMap<object, NativeEngine>()

/** The native half of an engine. */
export function nativeEngine(engine: Engine): NativeEngine {
  return halfOf(nativeEngines, 'engine', 'an `Engine`', engine)
}

/** What an engine is made of besides its storage. */
export interface EngineOptions extends Settings {
  /** The model of agents that name none, as `provider:model`; there is no default. */
  readonly defaultModel?: string
  /** What makes the cache of `layers` answer questions of the same meaning too. */
  readonly cacheEmbedder?: Embedder
  /** What sends requests to providers, or answers them as they were answered before; for tests. */
  readonly cassette?: Cassette
  /** Tools that agents may name in their data. */
  readonly tools?: readonly Tool[]
  /** What watches and steers all agents. */
  readonly hooks?: readonly Hook[]
  /** The tenant of runs that name none. */
  readonly tenant?: string
  /**
   * The name of this process as the owner of runs; by default one that no other process has.
   *
   * A name that outlives a restart lets the new process take its runs up at once; never give it to two at a time.
   */
  readonly owner?: string
}

/** What applies to new and resumed runs alike. */
export interface ResumeOptions {
  /** Cancels the run for good when aborted. */
  readonly signal?: AbortSignal
  /** How long the run may take, in milliseconds; no bound by default. */
  readonly timeout?: number
  /** The tenant; the engine's by default. */
  readonly tenant?: string
  /** Who asks: whose budgets and limits apply. It is recorded with the run, and a resumed run is still that user's. */
  readonly user?: string
  /** Publishes pieces of answers as `message_sent` events, as they arrive; off by default. */
  readonly content?: boolean
}

/** What a run may say besides the agent and the input. */
export interface RunOptions extends ResumeOptions {
  /** One capability of the agent; the input must fit its schema. */
  readonly capability?: string
  /** The id of the run, a UUID, for a host that must know it before the run begins; a new one by default. */
  readonly id?: string
  /** Pictures and files that come with the question. */
  readonly attachments?: readonly Attachment[]
}

/** What an engine runs: a name that it knows, or an agent or workflow itself. */
export type Target = string | Agent | Workflow | Pattern

/** Which runs are wanted. */
export interface RunFilter {
  /** How far they are; any by default. */
  readonly status?: RunStatus
  /** What they run: the name of an agent, a workflow or an orchestration. */
  readonly target?: string
  /** They began at this time or later: a date, or RFC 3339. */
  readonly startedAfter?: Date | string
  /** They began before this time. */
  readonly startedBefore?: Date | string
  /** Their ids come after this one; the `next` of the page before. */
  readonly after?: string
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
  constructor(storage?: string, options?: EngineOptions)
  /** @internal */
  constructor(native: NativeEngine)
  constructor(storage?: string | NativeEngine, options: EngineOptions = {}) {
    const { tools = [], hooks = [], cacheEmbedder, cassette, ...given } = options
    // Taken out of what is left, and read from the whole.
    const { layers: _layers, budgets: _budgets, prices: _prices, ...rest } = given
    const open = (): NativeEngine =>
      storage instanceof NativeEngine
        ? storage
        : new NativeEngine(
            toJson({ ...snake({ ...rest, storage }), config: settings(given) }, 'options'),
            tools.map(nativeTool),
            cacheEmbedder === undefined ? undefined : nativeEmbedder(cacheEmbedder),
            cassette === undefined ? undefined : nativeCassette(cassette),
          )
    this.#native = call(open)
    nativeEngines.set(this, this.#native)
    this.bus = new EventBus(this.#native)
    for (const hook of hooks) this.addHook(hook)
  }

  /** The same engine for another tenant: its runs, and the questions about them, are that tenant's. */
  forTenant(tenant: string): Engine {
    return new Engine(call(() => this.#native.forTenant(tenant)))
  }

  /** Makes an agent or a workflow known; a name is given once. */
  register(agent: Agent | Workflow | Pattern): void {
    call(() => this.#native.register(nativeOf(agent)))
  }

  /** Lets a hook watch and steer all agents that begin to work from now on. */
  addHook(hook: Hook): void {
    const native = nativeHook(hook)
    call(() => this.#native.addHook(native))
  }

  /** Makes a function, or a test double, known as a model, under a full name like `host:model`. */
  registerModel(name: string, model: ModelFunction | ScriptedModel | ReplayModel, options: ModelOptions = {}): void {
    const double = nativeDouble(model)
    if (double instanceof NativeScript) return call(() => this.#native.registerScript(name, double))
    if (double !== undefined) return call(() => this.#native.registerReplay(name, double))
    const [info, body] = nativeModel(name, model as ModelFunction, options)
    call(() => this.#native.registerModel(info, body))
  }

  /** Makes every agent of a pack, or of the pack in a folder, known, and its teams under its name; all or nothing. */
  async install(pack: Pack | string): Promise<Pack> {
    const loaded = typeof pack === 'string' ? await Pack.load(pack) : pack
    call(() => this.#native.install(nativePack(loaded)))
    return loaded
  }

  /**
   * Makes an agent of each skill known, under the skill's id; all or nothing.
   *
   * Its input is an object with the skill's inputs, or a text for the only one that is required. It works by what the
   * registry has under its id when a run begins, and a run that is resumed goes on with what it began with.
   */
  installSkills(skills: SkillRegistry): void {
    call(() => this.#native.installSkills(nativeSkills(skills)))
  }

  /** The names of the agents that are known. */
  get agents(): readonly string[] {
    return this.#native.agents()
  }

  /** Says where agents with retrieval find passages from now on. */
  useKnowledge(knowledge: KnowledgeBase): void {
    this.#native.useKnowledge(nativeKnowledgeBase(knowledge))
  }

  /**
   * Asks an agent, or runs a workflow, and waits for the answer; an error has the `runId`, which can be resumed.
   *
   * What is given itself and not by name becomes known under its name, unless the name is taken.
   */
  // The answer's form is the agent's affair.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  async run<Output = any>(agent: Target, input: unknown, options: RunOptions = {}): Promise<Outcome<Output>> {
    const { signal, ...rest } = options
    const text = ask(agent, input, rest)
    const cancellation = new Cancellation()
    return outcome<Output>(await cancellable(signal, cancellation, () => this.#native.run(text, thing(agent), cancellation)))
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
  stream<Output = any>(agent: Target, input: unknown, options: RunOptions = {}): Stream<Output> {
    return new Stream(() => this.start<Output>(agent, input, options))
  }

  /** Asks an agent, or runs a workflow, in the background. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  async start<Output = any>(agent: Target, input: unknown, options: RunOptions = {}): Promise<Run<Output>> {
    const { signal, ...rest } = options
    const text = ask(agent, input, rest)
    const cancellation = new Cancellation()
    const start = (ended: () => void): Promise<NativeRun> => this.#native.start(text, thing(agent), cancellation, ended)
    return Run.begin<Output>(start, signal, cancellation)
  }

  /**
   * Asks a model, or an agent, and gives the answer in the form of a schema; nothing is registered for it.
   *
   * The answer is checked, and goes back with what is wrong if it does not fit. It is a run like any other: recorded,
   * paid from the same budgets, and resumed by its id. The error is `invalid_output` when the answer did not fit to the
   * end, and `limit_exceeded` when a bound ended the run before.
   *
   * ```js
   * const { output } = await engine.ask({ schema: z.object({ net: z.number() }), question: 'What does it cost?' })
   * ```
   */
  async ask<const Schema extends SchemaLike>(options: AskOptions<Schema>): Promise<Outcome<Infer<Schema>>> {
    const text = questionText(options)
    const cancellation = new Cancellation()
    const ask = (): Promise<string> => this.#native.ask(text, asked(options), cancellation)
    return answered(options.schema, await cancellable(options.signal, cancellation, ask))
  }

  /**
   * Asks as `ask` does, and gives the answer as it arrives.
   *
   * ```js
   * for await (const part of engine.askStream({ schema, question })) if (part.kind === 'partial') show(part.value)
   * ```
   */
  askStream<const Schema extends SchemaLike>(options: AskOptions<Schema>): Answering<Schema> {
    const text = questionText(options)
    const cancellation = new Cancellation()
    const start = (): NativeAnswer => this.#native.askStream(text, asked(options), cancellation)
    return new AnswerStream(start, (text) => answered(options.schema, text), options.signal, cancellation)
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

  /**
   * Answers a gate of a run, or says something to it; a run that is not at work finds it when it is resumed.
   *
   * The name of a gate is its path: its name, behind the names of the steps that it is inside of, joined with `/`.
   * The error is `not_found` for an unknown run or gate, `conflict` when the run has ended or the gate was answered,
   * `invalid_input` when the gate does not take this answer, and `permission_denied` when it takes none from `by`.
   */
  async signal(run: string, name: string, value: unknown, options: { readonly by?: string } = {}): Promise<void> {
    const text = toJson(value, 'value')
    await settle(() => this.#native.signal(run, name, text, options.by))
  }

  /** The calls of tools for which a run waits, or all runs of the tenant that have not ended, oldest first. */
  async pendingApprovals(run?: string): Promise<PendingApproval[]> {
    return JSON.parse(await settle(() => this.#native.approvals(run))) as PendingApproval[]
  }

  /**
   * Approves a call of a tool: of exactly this tool with exactly these arguments.
   *
   * A run that is not at work now finds the answer when it is resumed. The error is `conflict` when the run has ended or
   * the call was approved or denied already, `not_found` when the run waits for no such call, and `permission_denied`
   * when the digest is that of another one.
   */
  async approve(call: PendingApproval, options: Approving = {}): Promise<void> {
    await settle(() => this.#native.answerApproval(verdict(call, true, options)))
  }

  /** Denies a call of a tool; the model is told, and the run goes on without it. The errors are those of `approve`. */
  async deny(call: PendingApproval, options: Denying = {}): Promise<void> {
    await settle(() => this.#native.answerApproval(verdict(call, false, options)))
  }

  /** Asks a workflow to begin nothing new; what is under way goes on, and `resume` lets it go on. */
  async pause(run: string): Promise<void> {
    await settle(() => this.#native.pause(run))
  }

  /** The id of a new run with the first `at` entries of another; `resume` continues it. */
  async fork(run: string, at: number): Promise<string> {
    countOf('at', 0, at)
    return settle(() => this.#native.fork(run, at))
  }

  /** What a run looks like after its first `at` entries, or now. */
  async state(run: string, at?: number): Promise<RunState> {
    if (at !== undefined) countOf('at', 0, at)
    return state(await settle(() => this.#native.state(run, at)))
  }

  /** The runs of the engine's tenant that a filter lets through, oldest first, a page at a time. */
  async runs(filter: RunFilter = {}): Promise<RunPage> {
    const { limit = 100, ...rest } = filter
    countOf('limit', 0, limit)
    const text = toJson(snake({ ...rest, limit }), 'filter')
    return page(await settle(() => this.#native.runs(text)))
  }

  /** What happened in a run, oldest first, from a sequence number on. */
  async history(run: string, options: { readonly from?: number; readonly limit?: number } = {}): Promise<Entry[]> {
    const { from = 0, limit = 10_000 } = options
    countOf('from', 0, from)
    countOf('limit', 0, limit)
    return entries(await settle(() => this.#native.history(run, from, limit)))
  }

  /**
   * Sets what a user, a run or an agent of a run may spend, or the tenant when none is named.
   *
   * It goes before the engine's settings, and lasts; a run that stopped at its cap goes on with `resume`.
   */
  async setCap(whose: Whose, cap: CapOptions, window: Window = 'total'): Promise<void> {
    const [who, most] = [toJson(whose, 'whose'), toJson(cap, 'cap')]
    await settle(() => this.#native.setCap(who, JSON.stringify(window), most))
  }

  /** Approves what a run may spend in all, where it needs to be asked; see `approvalAbove` of the budgets. */
  async approveSpending(run: string, upTo: Amount): Promise<void> {
    const amount = toJson(upTo, 'upTo')
    await settle(() => this.#native.approveSpending(run, amount))
  }

  /** How a user, a run, an agent of a run, or the tenant stands. */
  async balance(whose: Whose = {}): Promise<Balance> {
    const who = toJson(whose, 'whose')
    return balance(await settle(() => this.#native.balance(who)))
  }

  /** What the calls of models cost that a filter lets through; the engine must have budgets. */
  async usage(filter: UsageFilter = {}): Promise<UsageReport> {
    const text = toJson(filter, 'filter')
    return spending(await settle(() => this.#native.usage(text)))
  }

  /** What a piece of work with a model may take and cost, by the engine's prices. */
  predict(model: string, work: Workload): Prediction {
    const text = toJson(snake(work), 'work')
    return spending(call(() => this.#native.predict(model, text)))
  }

  /** The circuit breakers of the models that were used. */
  breakers(): BreakerStatus[] {
    return spending(call(() => this.#native.breakers()))
  }

  /** The rules of the rate limit, and how often each did not allow a call. */
  rateLimits(): RateStatus[] {
    return spending(call(() => this.#native.rateLimits()))
  }

  /** How often the cache had an answer; `null` without a cache. */
  cacheStats(): CacheStats | null {
    return spending(call(() => this.#native.cacheStats()))
  }

  /** Forgets cached answers of the tenant, for one agent or for all, and says how many there were. */
  forgetAnswers(skill?: string): number {
    return this.#native.forgetAnswers(skill)
  }

  /** Removes ended runs of the engine's tenant that fulfill every condition of a policy, which must have one. */
  async prune(policy: Retention): Promise<Pruned> {
    const text = toJson(snake(policy), 'policy')
    return JSON.parse(await settle(() => this.#native.prune(text))) as Pruned
  }

  /** Removes a run of the engine's tenant, however far it is; one that a process works on is a `conflict`. */
  async remove(run: string): Promise<void> {
    await settle(() => this.#native.remove(run))
  }

  /**
   * Forgets everything of a tenant.
   *
   * Runs of it that are at work stop at their next entry; knowledge bases that are open keep what they have in memory.
   */
  async eraseTenant(tenant: string): Promise<Erased> {
    return JSON.parse(await settle(() => this.#native.eraseTenant(tenant))) as Erased
  }

  /** Writes everything of a tenant to a file. */
  async exportTenant(tenant: string, path: string | URL): Promise<Archive> {
    return archive(await settle(() => this.#native.exportTenant(tenant, pathOf(path))))
  }

  /** Reads what `exportTenant` wrote into a tenant that is empty; one that has data is a `conflict`. */
  async importTenant(tenant: string, path: string | URL): Promise<Archive> {
    return archive(await settle(() => this.#native.importTenant(tenant, pathOf(path))))
  }

  /** Writes every tenant of the store to a file, while the engine works. */
  async snapshot(path: string | URL): Promise<Archive> {
    return archive(await settle(() => this.#native.snapshot(pathOf(path))))
  }

  /** Reads what `snapshot` wrote into a store without tenants. */
  async restore(path: string | URL): Promise<Archive> {
    return archive(await settle(() => this.#native.restore(pathOf(path))))
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

/** The native half of what a user gave as an agent or workflow itself. */
function nativeOf(agent: Agent | Workflow | Pattern): NativeAgent {
  if (agent instanceof Pattern) return nativePattern(agent)
  return agent instanceof Workflow ? nativeWorkflow(agent) : nativeAgent(agent)
}

/** The native half of what is to run, where it was not given by name. */
function thing(agent: Target): NativeAgent | undefined {
  return typeof agent === 'string' ? undefined : nativeOf(agent)
}

/** The native half of who answers a question, where it was given itself. */
function asked({ agent }: AskOptions): NativeAgent | undefined {
  return agent === undefined ? undefined : thing(agent)
}

function ask(agent: Target, input: unknown, options: Omit<RunOptions, 'signal'>): string {
  const { capability, id, attachments = [], ...how } = options
  const name = typeof agent === 'string' ? agent : agent.name
  // Apart from the rest, so that the path in an error begins with `input`.
  const given = toJson(input, 'input')
  const rest = toJson({ agent: name, capability, id, attachments: attachments.map(partOf), how }, 'options')
  return `${rest.slice(0, -1)},"input":${given}}`
}

/** A part as core reads it, with bytes as base64. */
function partOf({ data, ...rest }: Attachment): Record<string, unknown> {
  const text = data instanceof Uint8Array ? Buffer.from(data).toString('base64') : data
  return snake({ ...rest, data: text })
}
