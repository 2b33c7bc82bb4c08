// Typed questions: to a model or an agent, with an answer in the form of a schema.

import type { Agent, Limits, Retrieval } from './agent.js'
import { snake } from './data.js'
import { RaptorflowError, settle } from './error.js'
import { toJson } from './json.js'
import type { Cancellation, NativeAnswer } from '../native.js'
import { aborted, because, outcome, type Outcome } from './run.js'
import { type Infer, type InferInput, jsonSchema, parsed, type SchemaLike } from './schema.js'
import type { Pattern } from './pattern.js'
import type { Workflow } from './workflow.js'

/** A typed question. */
export interface AskOptions<Schema extends SchemaLike = SchemaLike> {
  /** The form of the answer: an object of a schema library, or a JSON Schema. */
  readonly schema: Schema
  /** The question, or arguments; anything that JSON can say. */
  readonly question: unknown
  /** The model, as `provider:model`; the engine's default when there is none. */
  readonly model?: string
  /** What the model is told: the system message. */
  readonly instructions?: string
  /** An agent to ask instead of a model, with its own instructions and tools. */
  readonly agent?: string | Agent | Workflow | Pattern
  /** What the question is a part of, said before it. */
  readonly background?: string
  /** Passages that the model is given before it is asked, `true` for the default bounds; none by default. */
  readonly retrieval?: Retrieval | boolean
  /** Bounds of the run. */
  readonly limits?: Limits
  /** How often an answer that does not fit is sent back; 1 by default, or what the agent says. */
  readonly repairs?: number
  /** Cancels the run for good when aborted. */
  readonly signal?: AbortSignal
  /** How long the run may take, in milliseconds; no bound by default. */
  readonly timeout?: number
  /** The tenant; the engine's by default. */
  readonly tenant?: string
  /** Who asks: whose budgets and limits apply. It is recorded with the run. */
  readonly user?: string
  /** The id of the run, a UUID, for a host that must know it before the run begins; a new one by default. */
  readonly id?: string
}

/** A value of which members may be missing. */
export type Partially<T> = T extends readonly (infer Item)[]
  ? Partially<Item>[]
  : T extends object
    ? { [Key in keyof T]?: Partially<T[Key]> }
    : T

/** What an answer that is read as it arrives gives. */
// The answer's form is the schema's affair.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type AnswerPart<Output = any, Input = Output> =
  | {
      readonly kind: 'partial'
      /**
       * The answer so far, not checked: members may be missing, strings may still grow; numbers, booleans and nulls show
       * when they are whole.
       */
      readonly value: Partially<Input>
      /**
       * The JSON Pointer of the innermost value that is not whole, `null` when all is.
       *
       * What lies on the way to it may get more members; everything else is as it will be.
       */
      readonly open: string | null
    }
  | {
      /** What was shown is void, because the model is asked again. */
      readonly kind: 'again'
      /** Which call of the model it is, from 1. */
      readonly attempt: number
    }
  | {
      /** The whole answer, checked; the last part. */
      readonly kind: 'done'
      readonly outcome: Outcome<Output>
    }

/** What the native side takes for a question. */
export function questionText(options: AskOptions): string {
  const { schema, agent, retrieval, limits, signal: _, ...rest } = options
  const asked = {
    ...snake(rest),
    schema: jsonSchema(schema, 'schema'),
    ...(typeof agent === 'string' && { agent }),
    ...(retrieval && { retrieval: retrieval === true ? {} : snake(retrieval) }),
    ...(limits && { limits: snake(limits) }),
  }
  return toJson(asked, 'question')
}

/** The outcome that the native side wrote, with what the schema's library makes of the answer. */
export async function answered<Schema extends SchemaLike>(schema: Schema, text: string): Promise<Outcome<Infer<Schema>>> {
  const ended = outcome<unknown>(text)
  const output = (await parsed(schema, ended.output, 'the answer does not fit the schema', 'invalid_output')) as Infer<Schema>
  return { ...ended, output }
}

/**
 * An answer as it arrives; nothing is asked before its first part or its outcome is.
 *
 * The model is read on only while parts are taken, and leaving the loop early stops the run, which can be resumed.
 */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export class AnswerStream<Output = any, Input = Output> implements AsyncIterableIterator<AnswerPart<Output, Input>, undefined> {
  readonly #start: () => NativeAnswer
  readonly #outcome: (text: string) => Promise<Outcome<Output>>
  readonly #signal: AbortSignal | undefined
  readonly #cancel: () => void
  #native: NativeAnswer | undefined
  #ended: Outcome<Output> | undefined
  #left = false

  /** @internal */
  constructor(
    start: () => NativeAnswer,
    outcome: (text: string) => Promise<Outcome<Output>>,
    signal: AbortSignal | undefined,
    cancellation: Cancellation,
  ) {
    this.#start = start
    this.#outcome = outcome
    this.#signal = signal
    this.#cancel = () => cancellation.cancel()
  }

  /** The run; `undefined` before it began. */
  get runId(): string | undefined {
    return this.#native?.id
  }

  /** The next part; `done` after the last, and the run's error when it has failed. */
  async next(): Promise<IteratorResult<AnswerPart<Output, Input>, undefined>> {
    if (this.#left) return { done: true, value: undefined }
    let text: string | null | undefined
    try {
      text = await settle(() => (this.#native ??= this.#begin()).next())
    } catch (error) {
      this.#leave()
      throw because(this.#signal, error)
    }
    if (typeof text !== 'string') return this.return()
    const part = JSON.parse(text) as Exclude<AnswerPart<Output, Input>, { kind: 'done' }> | { kind: 'done'; outcome: string }
    if (part.kind !== 'done') return { done: false, value: part }
    this.#leave()
    this.#ended = await this.#outcome(part.outcome)
    return { done: false, value: { kind: 'done', outcome: this.#ended } }
  }

  /** Stops the run, if it has not ended. */
  async return(): Promise<IteratorResult<AnswerPart<Output, Input>, undefined>> {
    this.#leave()
    this.#native?.close()
    return { done: true, value: undefined }
  }

  /** Waits for the whole answer; parts that were not taken are dropped. */
  async outcome(): Promise<Outcome<Output>> {
    while (!(await this.next()).done);
    if (this.#ended !== undefined) return this.#ended
    const options = { operation: 'engine.ask' }
    throw new RaptorflowError('cancelled', 'the stream was left before the run ended', options)
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  /** For `await using`, where the language has it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }

  #begin(): NativeAnswer {
    if (this.#signal?.aborted) throw aborted(this.#signal)
    const native = this.#start()
    this.#signal?.addEventListener('abort', this.#cancel, { once: true })
    return native
  }

  #leave(): void {
    this.#left = true
    this.#signal?.removeEventListener('abort', this.#cancel)
  }
}

/** The stream of an answer whose input and output types a schema tells. */
export type Answering<Schema extends SchemaLike> = AnswerStream<Infer<Schema>, InferInput<Schema>>
