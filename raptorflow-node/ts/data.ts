// Names of fields between TypeScript (camelCase) and core (snake_case), one level at a time.

/** The same object with snake_case fields; a field that is `undefined` is left out. */
export function snake(given: object): Record<string, unknown> {
  const fields = Object.entries(given).filter(([, value]) => value !== undefined)
  return Object.fromEntries(
    fields.map(([key, value]) => [key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`), value]),
  )
}

/** The same value with snake_case fields at every level, and spans, dates and paths as they are. */
export function deepSnake(given: unknown): unknown {
  if (Array.isArray(given)) return given.map(deepSnake)
  if (!plainObject(given)) return given
  return Object.fromEntries(Object.entries(snake(given)).map(([key, value]) => [key, deepSnake(value)]))
}

/** The same value with camelCase fields at every level, except the names in `keyed`, whose keys are not ours. */
export function deepCamel(given: unknown, keyed: readonly string[] = []): unknown {
  if (Array.isArray(given)) return given.map((item) => deepCamel(item, keyed))
  if (!plainObject(given)) return given
  return Object.fromEntries(
    Object.entries(camel<Record<string, unknown>>(given)).map(([key, value]) => [
      key,
      keyed.includes(key) && plainObject(value)
        ? Object.fromEntries(Object.entries(value).map(([name, item]) => [name, deepCamel(item, keyed)]))
        : deepCamel(value, keyed),
    ]),
  )
}

function plainObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
}

/** The same object with camelCase fields. */
export function camel<T>(given: object): T {
  return Object.fromEntries(
    Object.entries(given).map(([key, value]) => [
      key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
      value as unknown,
    ]),
  ) as T
}

/** A span as core writes it, in milliseconds. */
export function milliseconds(span: { readonly secs: number; readonly nanos: number }): number {
  return span.secs * 1000 + span.nanos / 1e6
}

/** Milliseconds as core reads a span. */
export function span(milliseconds: number): { secs: number; nanos: number } {
  const secs = Math.floor(milliseconds / 1000)
  return { secs, nanos: Math.round((milliseconds - secs * 1000) * 1e6) }
}
