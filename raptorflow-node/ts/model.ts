// Models that are functions: what they are asked and what they answer.

import { callback, type CallContext } from './callback.js'
import { camel, snake } from './data.js'
import { functionOf } from './error.js'
import { toJson } from './json.js'
import { Callback } from '../native.js'
import type { JsonSchema } from './schema.js'

/** Who speaks. */
export type Role = 'system' | 'user' | 'assistant' | 'tool'

/** A numbered piece of a document that an answer may cite; data from outside, never instructions. */
export interface Passage {
  /** The number that citations use, from 1. */
  readonly number: number
  /** Where it comes from: a path relative to the folder, or an id. */
  readonly source: string
  /** First and last line in the source, from 1, both included. */
  readonly lines: readonly [number, number]
  /** Headings above it, outermost first, joined with ` > `. */
  readonly heading?: string
  /** The text, exactly as in the source. */
  readonly text: string
}

/** A model asks for a tool. */
export interface ToolCall {
  /** The id that ties the result to the call. */
  readonly id: string
  /** The name of the tool. */
  readonly name: string
  /** The arguments. */
  readonly arguments: unknown
}

/** A picture or a file: bytes of a type, in base64, or an address from which the provider fetches them. */
export type Media =
  | { readonly mediaType: string; readonly data: string; readonly url?: never }
  | { readonly url: string; readonly mediaType?: never; readonly data?: never }

/** A picture or a file that comes with a question; `data` is bytes, or base64. */
export type Attachment = (
  | { readonly mediaType: string; readonly data: string | Uint8Array; readonly url?: never }
  | { readonly url: string; readonly mediaType?: never; readonly data?: never }
) &
  ({ readonly type: 'image' } | { readonly type: 'document'; readonly name?: string })

/** One part of a message. */
export type Part =
  | { readonly type: 'text'; readonly text: string }
  | ({ readonly type: 'passage' } & Passage)
  | ({ readonly type: 'image' } & Media)
  | ({ readonly type: 'document'; readonly name?: string } & Media)
  | { readonly type: 'reasoning'; readonly text: string; readonly opaque?: unknown }
  | ({ readonly type: 'tool_call' } & ToolCall)
  | {
      readonly type: 'tool_result'
      /** The id of the call. */
      readonly id: string
      /** The name of the tool. */
      readonly name: string
      /** The value, or `{error, message}` when the call failed. */
      readonly content: unknown
      /** Whether the call failed. */
      readonly isError?: boolean
    }

/** One message of a conversation. */
export interface Message {
  /** Who speaks. */
  readonly role: Role
  /** What is said, in order. */
  readonly parts: readonly Part[]
}

/** What a tool is, as a model sees it. */
export interface ToolSpec {
  readonly name: string
  readonly description: string
  readonly parameters: JsonSchema
  readonly effects: string
}

/** A conversation and what is expected of the answer. */
export interface ChatRequest {
  /** The conversation, oldest first. */
  readonly messages: readonly Message[]
  /** Tools it may ask for. */
  readonly tools: readonly ToolSpec[]
  /** Whether it may or must. */
  readonly toolChoice: 'auto' | 'none' | 'required' | { readonly tool: string }
  /** The form of the answer. */
  readonly output:
    | { readonly type: 'text' }
    | { readonly type: 'json'; readonly name: string; readonly schema: JsonSchema }
  /** Randomness, 0 to 2. */
  readonly temperature: number | null
  /** The longest answer in tokens. */
  readonly maxOutputTokens: number | null
  /** Of how much of the probable the next token is drawn, above 0 to 1. */
  readonly topP?: number
  /** Texts before which the answer ends. */
  readonly stop?: readonly string[]
  /** With the same seed the same answer is wanted. */
  readonly seed?: number
  /** How much it thinks: how hard, or for how many tokens. */
  readonly reasoning?: { readonly effort: 'minimal' | 'low' | 'medium' | 'high' } | { readonly budget: number }
  /** Whether it may ask for several tools at a time. */
  readonly parallelToolCalls?: boolean
  /** For how long what was read of the conversation may be kept. */
  readonly keepPrompt?: 'minutes' | 'hours'
}

/** Tokens that calls took. */
export interface Usage {
  /** Tokens read, cached ones included. */
  readonly inputTokens: number
  /** Tokens written, reasoning included. */
  readonly outputTokens: number
  /** The part of the input that came from the provider's cache. */
  readonly cachedTokens: number
  /** The part of the output that was reasoning. */
  readonly reasoningTokens: number
}

/** What a model function answers: a text, or any of these. */
export interface ModelAnswer {
  /** A string, or the strings that it arrives in. */
  readonly text?: string | readonly string[]
  readonly reasoning?: string
  readonly toolCalls?: readonly ToolCall[]
  readonly usage?: Partial<Usage>
  /** Why it ended; by default `stop`, or `tool_calls` where there are some. */
  readonly finish?: 'stop' | 'length' | 'tool_calls' | 'content_filter'
}

/** A model that is a function; it may be async. */
export type ModelFunction = (
  request: ChatRequest,
  ctx: CallContext,
) => string | ModelAnswer | PromiseLike<string | ModelAnswer>

/** What a model function can do. */
export interface ModelOptions {
  /** How many tokens fit, input and output together; unknown by default. */
  readonly contextWindow?: number
  /** Whether it can ask for tools; it can by default. */
  readonly tools?: boolean
  /** Whether it can answer in a given JSON Schema; it can by default, and its answer is checked. */
  readonly structured?: boolean
  /** Whether it sees pictures; it does not by default. */
  readonly images?: boolean
  /** Whether it reads files other than text; it does not by default. */
  readonly documents?: boolean
  /** Whether it can be told how hard to think; it cannot by default. */
  readonly reasoning?: boolean
}

/** The text parts of a message, joined. */
export function textOf(message: Message): string {
  return message.parts.map((part) => (part.type === 'text' ? part.text : '')).join('')
}

/** What the native side takes for a model: its data, and its function. */
export function nativeModel(name: string, body: ModelFunction, options: ModelOptions): [string, Callback] {
  functionOf('model', body)
  const { contextWindow, tools = true, structured = true, images = false } = options
  const { documents = false, reasoning = false } = options
  const abilities = { tools, structured, images, documents, reasoning }
  const info = { name, context_window: contextWindow ?? null, abilities }
  const invoke = (request: object, ctx: CallContext): unknown => body(asked(request), ctx)
  const encode = (value: unknown): string => toJson(answered(value), 'answer', 'invalid_output')
  return [toJson(info, 'model'), new Callback(callback('model.call', invoke, encode))]
}

/** A request as users see it. */
export function asked(request: object): ChatRequest {
  const { messages, ...rest } = camel<ChatRequest>(request)
  return {
    ...rest,
    messages: messages.map(({ role, parts }) => ({ role, parts: parts.map((part) => camel<Part>(part)) })),
  }
}

function answered(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  const answer = snake(value)
  if (typeof answer['usage'] === 'object' && answer['usage'] !== null) answer['usage'] = snake(answer['usage'])
  return answer
}
