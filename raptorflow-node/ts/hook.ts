// Hooks: what watches and steers the runs of agents.

import { callback, type CallContext } from './callback.js'
import { call, functionOf, refuse } from './error.js'
import { toJson } from './json.js'
import { Callback, NativeHook } from '../native.js'

/** A moment of an agent's run at which hooks are asked. */
export type Moment =
  | 'before_step'
  | 'before_model'
  | 'after_model'
  | 'before_tool'
  | 'after_tool'
  | 'handoff'
  | 'after_step'

/**
 * What a hook is asked at a moment, as core writes it, with snake_case fields.
 *
 * Before and after a step it has `messages`, after it also `answer` at the end; before the model `request`, after it
 * `answer`, a message; before a tool `tool`, `arguments` and `key`, after it `call` and `result`; at a handoff `handoff`.
 */
export interface Asked {
  readonly moment: Moment
  /** The agent at work. */
  readonly agent: string
  /** What it was asked. */
  readonly input: unknown
  /** Which call of the model the step begins with, from 1. */
  readonly step: number
  // What else there is depends on the moment, and a hook changes it as it is.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly [field: string]: any
}

/**
 * What a hook says: nothing to go on as it is; or a `change` in the form of what it was asked, an `answer` in place of
 * the call, a reason to `refuse`, or `stop` with the answer of the run, `null` for what the model said last.
 */
export type Verdict =
  | undefined
  | null
  | { readonly change: unknown }
  | { readonly answer: unknown }
  | { readonly refuse: string }
  | { readonly stop: unknown }

/** What asks a hook at one moment; it may be async. */
// A function without a verdict lets the run go on.
// eslint-disable-next-line @typescript-eslint/no-invalid-void-type
export type HookFunction = (asked: Asked, ctx: CallContext) => Verdict | void | Promise<Verdict | void>

/**
 * Watches and steers agents; give it to `new Agent({ hooks })`, `new Engine(storage, { hooks })` or `Engine.addHook`.
 *
 * It has those of these methods that it wants.
 */
export interface Hook {
  /** Its name in errors, events and the journal; that of its class by default, or `hook`. */
  readonly name?: string
  /** A step begins; it cannot be changed or answered. */
  beforeStep?(asked: Asked, ctx: CallContext): ReturnType<HookFunction>
  /** The model is about to be asked. */
  beforeModel?(asked: Asked, ctx: CallContext): ReturnType<HookFunction>
  /** The model answered. */
  afterModel?(asked: Asked, ctx: CallContext): ReturnType<HookFunction>
  /** A tool is about to be called. */
  beforeTool?(asked: Asked, ctx: CallContext): ReturnType<HookFunction>
  /** A tool answered. */
  afterTool?(asked: Asked, ctx: CallContext): ReturnType<HookFunction>
  /** The conversation is about to be handed over. */
  handoff?(asked: Asked, ctx: CallContext): ReturnType<HookFunction>
  /** A step is over. */
  afterStep?(asked: Asked, ctx: CallContext): ReturnType<HookFunction>
}

const METHODS = {
  beforeStep: 'before_step',
  beforeModel: 'before_model',
  afterModel: 'after_model',
  beforeTool: 'before_tool',
  afterTool: 'after_tool',
  handoff: 'handoff',
  afterStep: 'after_step',
} as const satisfies Record<string, Moment>

/** The native half of a hook. */
export function nativeHook(hook: Hook): NativeHook {
  const given = hook as unknown
  if (typeof given !== 'object' || given === null) refuse('hooks', 'objects with methods of a hook', given)
  const moments: string[] = []
  const bodies: Callback[] = []
  for (const [method, moment] of Object.entries(METHODS)) {
    const ask = hook[method as keyof typeof METHODS]
    if (ask === undefined) continue
    functionOf(method, ask)
    const invoke = (asked: Asked, ctx: CallContext): unknown => ask.call(hook, asked, ctx)
    const encode = (value: unknown): string => toJson(value ?? null, `${method}()`, 'invalid_output')
    moments.push(moment)
    bodies.push(new Callback(callback('node.hook', invoke, encode)))
  }
  const made = (hook as { readonly constructor?: { readonly name: string } }).constructor?.name ?? 'Object'
  const name = hook.name ?? (made === 'Object' ? 'hook' : made)
  return call(() => new NativeHook(name, moments, bodies))
}
