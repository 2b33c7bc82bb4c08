// Packs of agents, and the reports that their teams write.

import { call, halfOf, settle } from './error.js'
import { toJson } from './json.js'
import { NativePack, NativeReport } from '../native.js'

const natives = new WeakMap<object, NativePack>()

/** Agents and teams of a folder, read and checked. */
export class Pack {
  /** Its name; installed, the orchestrator over its teams has the same. */
  readonly name: string
  /** Its version. */
  readonly version: string
  /** What it is for. */
  readonly description: string

  /** The names of its teams. */
  readonly teams: readonly string[]
  /** The names of its agents, without the leads of the teams. */
  readonly agents: readonly string[]

  private constructor(native: NativePack) {
    const { name, version, description, teams, agents } = JSON.parse(native.describe()) as Pack
    this.name = name
    this.version = version
    this.description = description
    this.teams = teams
    this.agents = agents
    natives.set(this, native)
  }

  /** Reads the pack in a folder; an error's `diagnostics` are every problem found. */
  static async load(folder: string): Promise<Pack> {
    return new Pack(await settle(() => NativePack.load(folder)))
  }
}

/** The native half of a pack. */
export function nativePack(pack: Pack): NativePack {
  return halfOf(natives, 'pack', 'a `Pack`', pack)
}

/** A place in a document that claims rest on. */
export interface Source {
  /** Its number in the report, from 1. */
  readonly number: number
  readonly source: string
  /** First and last line, from 1, both included. */
  readonly lines: readonly [number, number]
  readonly heading?: string
}

/** One claim and what it rests on. */
export interface Claim {
  readonly text: string
  /** Numbers of the report's sources. */
  readonly sources: readonly number[]
  /** Who made it. */
  readonly agents: readonly string[]
}

/** What one team found. */
export interface Section {
  readonly team: string
  readonly title: string
  readonly heading: string
  readonly claims: readonly Claim[]
  /** What agents answered besides claims, by agent. */
  readonly details?: Readonly<Record<string, unknown>>
  /** Agents that gave no answer. */
  readonly missing?: readonly { readonly agent: string; readonly error: unknown }[]
}

/**
 * What the teams of a pack found: the output of a run of the pack.
 *
 * ```js
 * await engine.install('packs/council')
 * const { output } = await engine.run('council', 'Plan the launch.')
 * console.log(new Report(output).toMarkdown())
 * ```
 */
export class Report {
  /** What was wanted. */
  readonly goal: string
  /** A section a team, in the order of the decision. */
  readonly sections: readonly Section[]
  /** Where claims do not agree. */
  readonly disagreements: readonly unknown[]
  /** Claims that were left out, and why. */
  readonly dropped: readonly { readonly agent: string; readonly text: string; readonly reason: string }[]
  /** What the claims rest on. */
  readonly sources: readonly Source[]
  /** Who was chosen and why. */
  readonly decision: unknown
  readonly #text: string
  readonly #markdown: string

  constructor(output: unknown) {
    this.#text = toJson(output, 'report')
    // What is no report is refused here.
    this.#markdown = call(() => NativeReport.toMarkdown(this.#text))
    const { goal, sections, disagreements, dropped, sources, decision } = JSON.parse(this.#text) as Report
    this.goal = goal
    this.sections = sections
    this.disagreements = disagreements
    this.dropped = dropped
    this.sources = sources
    this.decision = decision
  }

  /** The report as Markdown: a section a team with every claim cited, then what disagrees, who was chosen, sources. */
  toMarkdown(): string {
    return this.#markdown
  }

  /** The output that the report was made of. */
  toJSON(): unknown {
    return JSON.parse(this.#text) as unknown
  }
}
