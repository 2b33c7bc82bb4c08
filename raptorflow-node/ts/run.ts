// Runs: their outcomes, their events, what is recorded of them.

import { camel } from './data.js'
import { fromNative, RaptorflowError, settle } from './error.js'
import { type Event, Subscription } from './event.js'
import type { Passage, Usage } from './model.js'
import type { Cancellation, NativeRun } from '../native.js'

/** An amount in millionths of a currency unit. */
export interface Money {
  readonly micros: number
  readonly currency: string
}

/** Whether an answer is whole, or which bound ended the run. */
export type Finish = 'complete' | { readonly limited: 'steps' | 'tool_calls' | 'tokens' | 'cost' | (string & {}) }

/** How a run ended. */
// The answer's form is the agent's affair.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export interface Outcome<Output = any> {
  /** The run; `resume`, `history` and `cancel` take it. */
  readonly runId: string
  /** The answer: a string, or JSON that fits the agent's schema. */
  readonly output: Output
  /** The answer as text: a string as it is, other values as JSON. */
  readonly text: string
  /** Whether the answer is whole, or which bound ended it. */
  readonly finish: Finish
  /** Tokens that the run took. */
  readonly usage: Usage
  /** What the run cost; `null` when a price is unknown or nothing was priced. */
  readonly cost: Money | null
  /** The passages that a single agent was given. */
  readonly passages: readonly Passage[]
  /** Who answered, when the agent that was asked handed the conversation over; `null` when it answered itself. */
  readonly agent: string | null
}

/** The outcome that the native side wrote. */
export function outcome<Output>(text: string): Outcome<Output> {
  const { usage, passages = [], agent = null, ...rest } = camel<Outcome<Output>>(JSON.parse(text) as object)
  const { output } = rest
  const said = typeof output === 'string' ? output : JSON.stringify(output)
  return { ...rest, text: said, usage: camel<Usage>(usage), passages, agent }
}

/** Does native work that a signal cancels. */
export async function cancellable<T>(
  signal: AbortSignal | undefined,
  cancellation: Cancellation,
  work: () => Promise<T>,
): Promise<T> {
  if (signal === undefined) return settle(work)
  if (signal.aborted) throw aborted(signal)
  const cancel = (): void => cancellation.cancel()
  signal.addEventListener('abort', cancel, { once: true })
  try {
    return await work()
  } catch (error) {
    throw because(signal, fromNative(error))
  } finally {
    signal.removeEventListener('abort', cancel)
  }
}

/** The error of a run whose signal was aborted before it began. */
export function aborted(signal: AbortSignal): RaptorflowError {
  const options = { operation: 'engine.run', cause: signal.reason as unknown }
  return new RaptorflowError('cancelled', 'the signal was aborted before the run began', options)
}

/** The error of an aborted run, with the signal's reason as its cause. */
export function because(signal: AbortSignal | undefined, error: unknown): unknown {
  if (!signal?.aborted || !RaptorflowError.isInstance(error) || error.code !== 'cancelled') return error
  const { code, reason, operation, context, retry } = error
  return new RaptorflowError(code, reason, { operation, context, retry, cause: signal.reason as unknown })
}

/** A run in the background; it goes on when nobody holds this. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export class Run<Output = any> {
  /** Its id. */
  readonly id: string
  readonly #native: NativeRun
  readonly #cancellation: Cancellation
  readonly #signal: AbortSignal | undefined
  readonly #events: Subscription

  private constructor(native: NativeRun, cancellation: Cancellation, signal: AbortSignal | undefined, events: Subscription) {
    this.id = native.id
    this.#native = native
    this.#cancellation = cancellation
    this.#signal = signal
    this.#events = events
  }

  /** @internal */
  static async begin<Output>(
    start: (ended: () => void) => Promise<NativeRun>,
    signal: AbortSignal | undefined,
    cancellation: Cancellation,
  ): Promise<Run<Output>> {
    if (signal?.aborted) throw aborted(signal)
    const events = new Subscription()
    const cancel = (): void => cancellation.cancel()
    const unlisten = (): void => signal?.removeEventListener('abort', cancel)
    signal?.addEventListener('abort', cancel, { once: true })
    try {
      const native = await start(unlisten)
      events.attach(native.events, true)
      return new Run<Output>(native, cancellation, signal, events)
    } catch (error) {
      unlisten()
      throw because(signal, fromNative(error))
    }
  }

  /** Cancels it for good; await `outcome` to see it end. */
  cancel(): void {
    this.#cancellation.cancel()
  }

  /**
   * Waits for its end.
   *
   * Waiting keeps the process alive; a process that has nothing else to do ends with a run that nobody waits for.
   */
  async outcome(): Promise<Outcome<Output>> {
    try {
      return outcome<Output>(await this.#native.outcome())
    } catch (error) {
      throw because(this.#signal, fromNative(error))
    }
  }

  /** Its events, from its start to its end; each is given once, and leaving the loop does not stop the run. */
  events(): AsyncIterableIterator<Event> {
    return this.#events
  }
}

/**
 * A run that is watched: its events, and then its outcome.
 *
 * It begins when its first event or its outcome is asked for, and leaving the loop early cancels it.
 */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export class Stream<Output = any> implements AsyncIterableIterator<Event, undefined> {
  readonly #start: () => Promise<Run<Output>>
  #run: Promise<Run<Output>> | undefined

  /** @internal */
  constructor(start: () => Promise<Run<Output>>) {
    this.#start = start
  }

  /** The run; it begins now if it has not yet. */
  run(): Promise<Run<Output>> {
    this.#run ??= this.#start()
    return this.#run
  }

  /** The next event; `done` when the run has ended well, and its error when it has not. */
  async next(): Promise<IteratorResult<Event, undefined>> {
    const run = await this.run()
    const next = await run.events().next()
    if (next.done) await run.outcome()
    return next as IteratorResult<Event, undefined>
  }

  /** Cancels the run. */
  async return(): Promise<IteratorResult<Event, undefined>> {
    await this.#cancel()
    return { done: true, value: undefined }
  }

  /** Waits for the end of the run; events that were not taken are dropped. */
  async outcome(): Promise<Outcome<Output>> {
    return (await this.run()).outcome()
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  /** For `await using`, where the language has it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cancel()
  }

  async #cancel(): Promise<void> {
    if (this.#run === undefined) {
      // It never began, and shall not begin now.
      const options = { operation: 'engine.stream' }
      this.#run = Promise.reject(new RaptorflowError('cancelled', 'the stream was left before the run began', options))
      this.#run.catch(() => undefined)
      return
    }
    const run = await this.#run.catch(() => undefined)
    run?.cancel()
  }
}
