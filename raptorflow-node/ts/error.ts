// `RaptorflowError`: the one error of the package, and its way to the native side and back.

/** What went wrong, for code to switch on; the same words in Rust, Python and Node. */
export type ErrorCode =
  | 'invalid_input'
  | 'invalid_output'
  | 'not_found'
  | 'already_exists'
  | 'conflict'
  | 'unauthenticated'
  | 'permission_denied'
  | 'rate_limited'
  | 'unavailable'
  | 'timeout'
  | 'cancelled'
  | 'budget_exceeded'
  | 'limit_exceeded'
  | 'unsupported'
  | 'corrupt'
  | 'callback'
  | 'internal'

/** Every code, in the order of the core's declaration. */
export const errorCodes: readonly ErrorCode[] = Object.freeze([
  'invalid_input',
  'invalid_output',
  'not_found',
  'already_exists',
  'conflict',
  'unauthenticated',
  'permission_denied',
  'rate_limited',
  'unavailable',
  'timeout',
  'cancelled',
  'budget_exceeded',
  'limit_exceeded',
  'unsupported',
  'corrupt',
  'callback',
  'internal',
])

/**
 * Whether trying the same thing again can help: `never`, `soon` after a pause of one's own choice, after a pause in
 * milliseconds that the other side named, or `exhausted` when it was retried as often as allowed.
 */
export type Retry = 'never' | 'soon' | 'exhausted' | { readonly after: number }

/** A problem in the user's data, and where it is. */
export interface Diagnostic {
  readonly severity: 'error' | 'warning'
  readonly code: string
  readonly message: string
  readonly file?: string
  readonly line?: number
  readonly column?: number
  readonly pointer?: string
}

/** What an error may have besides code and message. */
export interface ErrorOptions {
  /** Where it happened, as `module.verb`. */
  readonly operation?: string
  /** Values that help to find the cause; never a secret, prompt or personal data. */
  readonly context?: Readonly<Record<string, string>>
  /** Whether trying again can help; `never` by default. */
  readonly retry?: Retry
  /** Every problem, where the error is about a user's data. */
  readonly diagnostics?: readonly Diagnostic[]
  /** What led to it. */
  readonly cause?: unknown
}

const BRAND = Symbol.for('raptorflow.error')

/**
 * Everything that this package throws and rejects with.
 *
 * A model, tool or agent function may throw one to say what kind of failure it is; anything else that it throws
 * becomes the `cause` of an error with the code `callback`.
 *
 * ```js
 * try {
 *   await engine.run('pricng', 'how much?')
 * } catch (error) {
 *   if (RaptorflowError.isInstance(error) && error.code === 'not_found') console.log(error.context.nearest)
 *   else throw error
 * }
 * ```
 */
export class RaptorflowError extends Error {
  /** What went wrong, for code to switch on. */
  readonly code: ErrorCode
  /** The message without operation and context. */
  readonly reason: string
  /** Where it happened, as `module.verb`; empty when it was thrown by a host. */
  readonly operation: string
  /** Values that help to find the cause. */
  readonly context: Readonly<Record<string, string>>
  /** Whether trying again can help. */
  readonly retry: Retry
  /** Every problem with its place, where the error is about a user's data. */
  readonly diagnostics: readonly Diagnostic[]

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    const { operation = '', context = {}, retry = 'never', diagnostics = [] } = options
    super(line(operation, message, context), 'cause' in options ? { cause: options.cause } : undefined)
    this.code = code
    this.reason = message
    this.operation = operation
    this.context = Object.freeze({ ...context })
    this.retry = retry
    this.diagnostics = diagnostics
  }

  static {
    this.prototype.name = 'RaptorflowError'
    Object.defineProperty(this.prototype, BRAND, { value: true })
  }

  /** The run that it belongs to, for `engine.resume`. */
  get runId(): string | undefined {
    return this.context['run']
  }

  /** Whether a value is one of these, also from another copy of the package or another realm. */
  static isInstance(value: unknown): value is RaptorflowError {
    return typeof value === 'object' && value !== null && BRAND in value
  }
}

function line(operation: string, message: string, context: Readonly<Record<string, string>>): string {
  const values = Object.entries(context).map(([key, value]) => `${key}: ${value}`)
  return (operation && `${operation}: `) + message + (values.length > 0 ? ` (${values.join(', ')})` : '')
}

/** An error as it crosses the border: JSON in the message of a native error. */
interface Wire {
  readonly code: ErrorCode
  readonly operation: string
  readonly message: string
  readonly context: readonly (readonly [string, string])[]
  readonly retry: 'never' | 'soon' | 'exhausted' | number
  readonly diagnostics?: readonly Diagnostic[]
  readonly causes?: readonly string[]
}

/** What a wrapped user function throws: the native side reads the message and keeps the object. */
export class Failure extends Error {
  constructor(thrown: unknown, operation: string) {
    super(JSON.stringify(wire(thrown, operation)), { cause: thrown })
  }
}

function wire(thrown: unknown, operation: string): Wire {
  if (RaptorflowError.isInstance(thrown)) {
    const { code, reason, context, retry } = thrown
    return {
      code: errorCodes.includes(code) ? code : 'callback',
      operation: thrown.operation || operation,
      message: reason,
      context: Object.entries(context),
      retry: typeof retry === 'object' ? retry.after : retry,
    }
  }
  const context: [string, string][] = []
  if (thrown instanceof Error && thrown.name !== 'Error') context.push(['exception', thrown.name])
  return { code: 'callback', operation, message: said(thrown), context, retry: 'never' }
}

/** What a thrown value says, whatever it is. */
function said(thrown: unknown): string {
  try {
    return thrown instanceof Error ? thrown.message : `the function threw ${String(thrown)}`
  } catch {
    return 'the function threw something that has no text'
  }
}

/** The error of a native one; what is none stays as it is. */
export function fromNative(native: unknown): unknown {
  if (!(native instanceof Error) || RaptorflowError.isInstance(native)) return native
  const { message, cause } = native
  let it: Wire
  try {
    it = JSON.parse(message) as Wire
  } catch {
    // A value of a wrong type at the border; the layer should have refused it with a better message.
    return new RaptorflowError('invalid_input', message, { operation: 'node.convert', cause: native })
  }
  const { code, operation, context, retry } = it
  const options: ErrorOptions = {
    operation,
    context: Object.fromEntries(context),
    retry: typeof retry === 'number' ? { after: retry } : retry,
    diagnostics: it.diagnostics ?? [],
  }
  const led = cause instanceof Failure ? cause.cause : chain(it.causes ?? [])
  return new RaptorflowError(code, it.message, led === undefined ? options : { ...options, cause: led })
}

function chain(causes: readonly string[]): Error | undefined {
  return causes.reduceRight<Error | undefined>(
    (cause, message) => new Error(message, cause && { cause }),
    undefined,
  )
}

/** Calls the native side at once; what it throws becomes a `RaptorflowError`. */
export function call<T>(native: () => T): T {
  try {
    return native()
  } catch (error) {
    throw fromNative(error)
  }
}

/** Waits for the native side; what it rejects with becomes a `RaptorflowError`. */
export async function settle<T>(native: () => Promise<T>): Promise<T> {
  try {
    return await native()
  } catch (error) {
    throw fromNative(error)
  }
}

/** Refuses what a user gave for `field` in place of what was expected. */
export function refuse(field: string, expected: string, got: unknown): never {
  const context = { field, got: got === null ? 'null' : typeof got }
  throw new RaptorflowError('invalid_input', `expected ${expected}`, { operation: 'node.check', context })
}

/** A function that a user gave; JavaScript has no types that would refuse something else. */
export function functionOf<F>(field: string, given: F): F {
  return typeof given === 'function' ? given : refuse(field, 'a function', given)
}

/** A count that a user gave, from `least` to what the native side can count. */
export function countOf(field: string, least: number, given: number): number {
  if (Number.isSafeInteger(given) && given >= least && given <= 0xffff_ffff) return given
  const context = { field, value: String(given) }
  const message = `expected a whole number from ${least} to ${0xffff_ffff}`
  throw new RaptorflowError('invalid_input', message, { operation: 'node.check', context })
}

/** The native half of an object of ours. */
export function halfOf<Native>(natives: WeakMap<object, Native>, field: string, expected: string, given: object): Native {
  const native = typeof given === 'object' && given !== null ? natives.get(given) : undefined
  return native ?? refuse(field, expected, given)
}
