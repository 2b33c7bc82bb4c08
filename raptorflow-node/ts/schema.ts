// Schemas from JSON Schema itself or from any schema library that can say it.

import { type ErrorCode, RaptorflowError } from './error.js'

/** A JSON Schema, draft 2020-12 unless `$schema` says otherwise. */
export type JsonSchema = { readonly [keyword: string]: unknown }

/** What a schema of a library has in common with others: https://standardschema.dev */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (
      value: unknown,
    ) => StandardResult<Output> | Promise<StandardResult<Output>>
    readonly types?: { readonly input: Input; readonly output: Output } | undefined
  }
}

type StandardResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly StandardIssue[] }

interface StandardIssue {
  readonly message: string
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined
}

/** A JSON Schema, or an object of a schema library that gives one (zod 4, valibot, arktype and others). */
export type SchemaLike = JsonSchema | StandardSchema

/** The type of values that fit a schema, where the schema's library tells. */
export type Infer<Schema> = Schema extends {
  readonly '~standard': { readonly types?: infer Types }
}
  ? NonNullable<Types> extends { readonly output: infer Output }
    ? Output
    : unknown
  : // Nothing is known of a plain JSON Schema's values before they come.
    // eslint-disable-next-line @typescript-eslint/no-explicit-any
    any

/** The type of what goes into a schema, before the library's defaults and conversions. */
export type InferInput<Schema> = Schema extends {
  readonly '~standard': { readonly types?: infer Types }
}
  ? NonNullable<Types> extends { readonly input: infer Input }
    ? Input
    : unknown
  : // eslint-disable-next-line @typescript-eslint/no-explicit-any
    any

type Convert = (options: { readonly target: string }) => unknown

/**
 * The JSON Schema of something that a user gave as a schema; `field` is what the user calls it.
 *
 * A library's object gives it by `~standard.jsonSchema` or by a `toJSONSchema` of its own; no library is needed here.
 */
export function jsonSchema(given: unknown, field: string): JsonSchema {
  if ((typeof given !== 'object' && typeof given !== 'function') || given === null) {
    throw unusable(field, `got ${given === null ? 'null' : typeof given}`)
  }
  const made = converted(given, field)
  if (typeof made !== 'object' || made === null || Array.isArray(made)) throw unusable(field, 'got no object')
  return made as JsonSchema
}

function converted(given: object, field: string): unknown {
  const standard = (given as { '~standard'?: { jsonSchema?: { input?: Convert } } })['~standard']
  try {
    const input = standard?.jsonSchema?.input
    if (input !== undefined) return input({ target: 'draft-2020-12' })
    for (const name of ['toJSONSchema', 'toJsonSchema'] as const) {
      const convert = (given as Record<string, unknown>)[name]
      if (typeof convert === 'function') return convert.call(given) as unknown
    }
  } catch (cause) {
    throw unusable(field, 'the schema library cannot say it as JSON Schema', cause)
  }
  if (standard !== undefined) {
    throw unusable(field, 'the schema library gives no JSON Schema; convert it yourself and pass the result')
  }
  return given
}

function unusable(field: string, got: string, cause?: unknown): RaptorflowError {
  const options = { operation: 'node.schema', context: { field, got } }
  const message = 'expected a JSON Schema, or a schema that has `toJSONSchema` or `~standard.jsonSchema`'
  return new RaptorflowError('invalid_input', message, cause === undefined ? options : { ...options, cause })
}

/**
 * Runs a library's own validation, which may fill in defaults and convert; other schemas were checked natively.
 *
 * What does not fit is an error with this message and code.
 */
export function parsed(
  schema: unknown,
  value: unknown,
  message = 'the arguments do not fit the schema',
  code: ErrorCode = 'invalid_input',
): unknown {
  if (typeof schema !== 'object' && typeof schema !== 'function') return value
  const standard = (schema as Partial<StandardSchema> | null)?.['~standard']
  if (standard === undefined) return value
  const accepted = (result: StandardResult<unknown>): unknown => {
    if (result.issues === undefined) return result.value
    const said = result.issues.map(({ path, message }) => {
      const parts = path?.map((part) => String(typeof part === 'object' ? part.key : part)) ?? []
      return parts.length > 0 ? `${parts.join('.')}: ${message}` : message
    })
    throw new RaptorflowError(code, message, { operation: 'node.schema', context: { problems: said.join('; ') } })
  }
  const result = standard.validate(value)
  return result instanceof Promise ? result.then(accepted) : accepted(result)
}
