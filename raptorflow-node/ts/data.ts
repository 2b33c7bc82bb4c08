// Names of fields between TypeScript (camelCase) and core (snake_case), one level at a time.

/** The same object with snake_case fields; a field that is `undefined` is left out. */
export function snake(given: object): Record<string, unknown> {
  const fields = Object.entries(given).filter(([, value]) => value !== undefined)
  return Object.fromEntries(
    fields.map(([key, value]) => [key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`), value]),
  )
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
