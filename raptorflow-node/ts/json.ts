// JSON out of any value, or an error that names the place which is not JSON.

import { RaptorflowError, type ErrorCode } from './error.js'

/** A value that JSON can say. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json | undefined }

/** How deep values may be nested; the native side reads no deeper. */
const MAX_DEPTH = 100

/**
 * The JSON text of a value.
 *
 * Fields of objects that are `undefined` are left out, and `toJSON` is honored; everything else that JSON cannot say is
 * an error with the path in its context, which begins with `name`.
 */
export function toJson(value: unknown, name: string, code: ErrorCode = 'invalid_input'): string {
  return JSON.stringify(plain(value, { name, code, parts: [], above: new Set() }))
}

interface Walk {
  readonly name: string
  readonly code: ErrorCode
  readonly parts: (string | number)[]
  readonly above: Set<object>
}

function plain(value: unknown, walk: Walk): unknown {
  switch (typeof value) {
    case 'string':
      return value.isWellFormed() ? value : refuse(walk, 'half of a surrogate pair')
    case 'boolean':
      return value
    case 'number':
      return Number.isFinite(value) ? value : refuse(walk, String(value))
    case 'object':
      return value === null ? null : nested(value, walk)
    default:
      return refuse(walk, typeof value)
  }
}

function nested(value: object, walk: Walk): unknown {
  if (walk.above.has(value)) refuse(walk, 'a cycle')
  if (walk.above.size >= MAX_DEPTH) refuse(walk, `nested deeper than ${MAX_DEPTH}`)
  walk.above.add(value)
  const copy = copied(value, walk)
  walk.above.delete(value)
  return copy
}

function copied(value: object, walk: Walk): unknown {
  if (Array.isArray(value)) {
    // Not `map`, which passes over holes.
    return Array.from(value, (item: unknown, index) => below(item, index, walk))
  }
  if (value instanceof Date && Number.isNaN(value.getTime())) refuse(walk, 'an invalid date')
  if ('toJSON' in value && typeof value.toJSON === 'function') return plain(value.toJSON(walk.parts.at(-1) ?? ''), walk)
  if (value instanceof Number || value instanceof String || value instanceof Boolean) return plain(value.valueOf(), walk)
  const foreign = notData(value)
  if (foreign !== undefined) refuse(walk, foreign)
  const copy: Record<string, unknown> = Object.create(null) as Record<string, unknown>
  for (const [key, item] of Object.entries(value)) {
    if (item === undefined) continue
    if (!key.isWellFormed()) refuse(walk, 'a name with half of a surrogate pair')
    copy[key] = below(item, key, walk)
  }
  return copy
}

function below(value: unknown, part: string | number, walk: Walk): unknown {
  walk.parts.push(part)
  const copy = plain(value, walk)
  walk.parts.pop()
  return copy
}

/** What an object is, if it is one of those whose content JSON would drop without a word. */
function notData(value: object): string | undefined {
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return 'binary data'
  for (const type of [Map, Set, WeakMap, WeakSet, Promise, RegExp, Error]) {
    if (value instanceof type) return type.name
  }
  return undefined
}

function refuse(walk: Walk, got: string): never {
  throw new RaptorflowError(walk.code, 'the value is not JSON', {
    operation: 'node.json',
    context: { path: walk.name + walk.parts.map(step).join(''), got },
  })
}

function step(part: string | number): string {
  if (typeof part === 'number') return `[${part}]`
  return /^[A-Za-z_$][\w$]*$/.test(part) ? `.${part}` : `[${JSON.stringify(part)}]`
}
