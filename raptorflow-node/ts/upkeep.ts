// The upkeep of what is stored: policies, archives, and what they did.

import { fileURLToPath } from 'node:url'

/** Which ended runs are removed: those that fulfill every condition that is set, of which there must be one. */
export interface Retention {
  /** They ended this many milliseconds ago or longer. */
  readonly maxAge?: number
  /** At least this many runs that ended come after them. */
  readonly keepLast?: number
  /** Whether failed runs count as ended; `false` by default, because they can be resumed. */
  readonly failed?: boolean
}

/** What a policy did, in numbers of runs. */
export interface Pruned {
  readonly removed: number
  /** Those that were left, those that cannot be read included. */
  readonly kept: number
  /** Those whose end cannot be read; they were left. */
  readonly unreadable: number
}

/** How much of a tenant was forgotten. */
export interface Erased {
  readonly keys: number
  readonly streams: number
  readonly leases: number
}

/** What a file holds that a tenant or a store was written to. */
export interface Archive {
  readonly tenants: number
  readonly keys: number
  readonly streams: number
  /** How many records of streams. */
  readonly records: number
  /** The SHA-256 in its last line: two archives with the same one are the same. */
  readonly digest: string
}

/** The archive that the native side wrote. */
export function archive(text: string): Archive {
  const { sha256, ...counts } = JSON.parse(text) as Omit<Archive, 'digest'> & { readonly sha256: string }
  return { ...counts, digest: sha256 }
}

/** The path of a file that a user named. */
export function pathOf(path: string | URL): string {
  return path instanceof URL ? fileURLToPath(path) : path
}
