// Tools: functions that a model may call.

import { callback, type CallContext } from './callback.js'
import { snake, span } from './data.js'
import { call, functionOf, halfOf } from './error.js'
import { toJson } from './json.js'
import { Callback, NativeTool } from '../native.js'
import { type Infer, jsonSchema, parsed, type SchemaLike } from './schema.js'
import type { Amount } from './settings.js'

/** What calling a tool changes: nothing, data of the host, or the world outside. */
export type Effects = 'read' | 'write' | 'external'

/** What a tool is made of. */
export interface ToolOptions<Parameters extends SchemaLike = SchemaLike> {
  /** The name that a model calls: `A-Z`, `a-z`, `0-9`, `_` and `-`, 1 to 64 characters. */
  readonly name: string
  /** What it does and when to use it, for the model. */
  readonly description: string
  /** The schema of the arguments, an object; nothing by default. */
  readonly parameters?: Parameters
  /** What a call changes; `read` by default, and then calls may run side by side. */
  readonly effects?: Effects
  /** How long one call may take, in milliseconds; 30,000 by default. */
  readonly timeout?: number
  /** Whether each call waits until a person approves it, `false` by default; see `Engine.pendingApprovals`. */
  readonly approval?: boolean
  /** How often it may be called in a process: so many calls in so many seconds. */
  readonly rate?: { readonly calls: number; readonly seconds: number }
  /** What one call costs, such as `0.01 USD`, in the run and in budgets; nothing by default. */
  readonly cost?: Amount
  /** What an agent with a list of grants must have in it; the tool's name by default. */
  readonly needs?: readonly string[]
  /**
   * Does the work; it may be async, and gives a value that JSON can say.
   *
   * The arguments fit the schema. What it throws is told to the model and does not end the run.
   */
  readonly execute: (args: Infer<Parameters>, ctx: CallContext) => unknown
}

const natives = new WeakMap<object, NativeTool>()

/** A tool; make one with `tool`. */
export class Tool {
  /** The name that a model calls. */
  readonly name: string
  /** What it does and when to use it. */
  readonly description: string

  /** @internal */
  constructor(options: ToolOptions) {
    const { name, description, parameters = { type: 'object', properties: {} }, effects, timeout, approval, execute } =
      options
    const { rate, cost, needs } = options
    functionOf('execute', execute)
    this.name = name
    this.description = description
    const spec = {
      name,
      description,
      parameters: jsonSchema(parameters, 'parameters'),
      effects,
      timeout: timeout === undefined ? undefined : span(timeout),
      approval,
      rate,
      cost,
      needs,
    }
    const invoke = (args: never, ctx: CallContext): unknown => {
      const given = parsed(parameters, args)
      return given instanceof Promise ? given.then((args) => execute(args, ctx)) : execute(given, ctx)
    }
    const encode = (value: unknown): string => toJson(value ?? null, `${name}()`, 'invalid_output')
    const text = toJson(snake(spec), 'tool')
    natives.set(
      this,
      call(() => new NativeTool(text, new Callback(callback('tool.call', invoke, encode)))),
    )
  }
}

/** The native half of a tool. */
export function nativeTool(tool: Tool): NativeTool {
  return halfOf(natives, 'tools', 'what `tool` makes', tool)
}

/**
 * Makes a tool of a function.
 *
 * ```js
 * const addGst = tool({
 *   name: 'add_gst',
 *   description: 'Adds GST to a net amount in rupees.',
 *   parameters: { type: 'object', properties: { net: { type: 'number' } }, required: ['net'] },
 *   execute: ({ net }) => net * 1.18,
 * })
 * ```
 */
export function tool<const Parameters extends SchemaLike>(options: ToolOptions<Parameters>): Tool {
  return new Tool(options as unknown as ToolOptions)
}
