// User functions for the native side: JSON text in and out, a context with a signal, errors with their cause.

import { Failure } from './error.js'

/** What a tool, agent, model or embedder function learns about its call. */
export interface CallContext {
  /** The run that the call belongs to. */
  readonly runId: string
  /** Who asked, where the host said so. */
  readonly user: string | undefined
  /** The place inside the run, steps joined with `/`; empty at its top. */
  readonly path: string
  /** The agents above this call, outermost first. */
  readonly agents: readonly string[]
  /** A key that stays the same when this step is tried again, also after a crash. */
  readonly idempotencyKey: string | undefined
  /** When the work must be over. */
  readonly deadline: Date | undefined
  /** Aborted when nobody waits for the answer any more: the run was cancelled or is out of time. */
  readonly signal: AbortSignal
}

/** The input of a call as the native side writes it. */
interface Input {
  readonly input: unknown
  readonly run: string
  readonly user: string | null
  readonly path: string
  readonly agents: readonly string[]
  readonly key: string | null
  readonly deadline: string | null
}

class Call implements CallContext {
  readonly #input: Input
  #controller: AbortController | undefined

  constructor(input: Input) {
    this.#input = input
  }

  get runId(): string {
    return this.#input.run
  }

  get user(): string | undefined {
    return this.#input.user ?? undefined
  }

  get path(): string {
    return this.#input.path
  }

  get agents(): readonly string[] {
    return this.#input.agents
  }

  get idempotencyKey(): string | undefined {
    return this.#input.key ?? undefined
  }

  get deadline(): Date | undefined {
    return this.#input.deadline === null ? undefined : new Date(this.#input.deadline)
  }

  /** Made when it is asked for: most functions never look at it. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    return this.#controller.signal
  }

  abort(): void {
    this.#controller ??= new AbortController()
    this.#controller.abort()
  }
}

/**
 * Wraps a function for the native side.
 *
 * `operation` is where its errors say they happened; `encode` makes what the native side expects of what it returns.
 * The result throws nothing but `Failure`.
 */
export function callback<Answer>(
  operation: string,
  invoke: (input: never, ctx: CallContext) => unknown,
  encode: (value: unknown) => Answer,
): (call: number, text: string | null) => Answer | Promise<Answer> {
  const open = new Map<number, Call>()
  const fail = (number: number, thrown: unknown): never => {
    open.delete(number)
    throw new Failure(thrown, operation)
  }
  const finish = (number: number, value: unknown): Answer => {
    try {
      const answer = encode(value)
      open.delete(number)
      return answer
    } catch (error) {
      return fail(number, error)
    }
  }
  return (number, text) => {
    if (text === null) {
      open.get(number)?.abort()
      open.delete(number)
      // Nobody looks at the answer of a call that is given up.
      return undefined as Answer
    }
    try {
      const input = JSON.parse(text) as Input
      const call = new Call(input)
      open.set(number, call)
      const value = invoke(input.input as never, call)
      if (!isThenable(value)) return finish(number, value)
      return Promise.resolve(value).then(
        (settled) => finish(number, settled),
        (thrown: unknown) => fail(number, thrown),
      )
    } catch (error) {
      if (error instanceof Failure) throw error
      return fail(number, error)
    }
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}
