// Calls of tools that wait for a person.

/** A call of a tool that waits for approval. */
export interface PendingApproval {
  /** The run that waits. */
  readonly run: string
  /** What the call is known by in the run. */
  readonly id: string
  /** The agent or the workflow that wants the call. */
  readonly agent: string
  readonly tool: string
  /** Exactly what the tool is called with. */
  readonly arguments: Readonly<Record<string, unknown>>
  /** The digest of all of this: an approval names it, so that nothing else is approved. */
  readonly digest: string
  /** Since when it waits, in RFC 3339. */
  readonly since: string
}

/** Who approves or denies a call. */
export interface Approving {
  readonly by?: string
}

/** Who denies a call, and why; the model is told the reason. */
export interface Denying extends Approving {
  readonly reason?: string
}

/** What is said about a call, for the native side. */
export function verdict(call: PendingApproval, approved: boolean, { by, reason }: Denying): string {
  const { run, id, digest } = call
  return JSON.stringify({ run, id, digest, approved, by, reason })
}
