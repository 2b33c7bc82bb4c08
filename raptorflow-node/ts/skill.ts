// Skills of a folder, rendered into messages.

import { call, type Diagnostic, halfOf, settle } from './error.js'
import { toJson } from './json.js'
import type { Message } from './model.js'
import type { JsonSchema } from './schema.js'
import { NativeSkills } from '../native.js'

/** What a router sees of a skill. */
export interface SkillSummary {
  /** Its id, such as `writing.summary.v1`. */
  readonly id: string
  readonly name: string
  /** What it does and when to use it. */
  readonly description: string
  /** The first part of its id; empty for an open skill. */
  readonly category: string
  readonly tags: readonly string[]
  /** The version of its text. */
  readonly version: string
  /** The SHA-256 of what it does. */
  readonly digest: string
}

/** What reading a folder again changed: ids of skills. */
export interface SkillReload {
  readonly added: readonly string[]
  readonly changed: readonly string[]
  readonly removed: readonly string[]
  /** Skills that stay as they were because their file has problems now. */
  readonly kept: readonly string[]
  /** How many are as they were. */
  readonly unchanged: number
  /** Everything that is wrong in the folder, warnings included. */
  readonly problems: readonly Diagnostic[]
}

/** A language that types can be written in. */
export type TypeLanguage = 'typescript' | 'python' | 'rust'

const natives = new WeakMap<object, NativeSkills>()

/**
 * A folder of skills: Markdown files with typed inputs, rendered into messages.
 *
 * ```js
 * const skills = await SkillRegistry.load('skills')
 * const messages = skills.render('writing.summary', { text: '…' })
 * ```
 */
export class SkillRegistry {
  readonly #native: NativeSkills

  private constructor(native: NativeSkills) {
    this.#native = native
    natives.set(this, native)
  }

  /** Reads a folder in which every skill is usable; an error's `diagnostics` are every problem found. */
  static async load(folder: string): Promise<SkillRegistry> {
    return new SkillRegistry(await settle(() => NativeSkills.load(folder)))
  }

  /** Reads a folder and leaves out what is not usable; `diagnostics` tells what and why. */
  static async open(folder: string): Promise<SkillRegistry> {
    return new SkillRegistry(await settle(() => NativeSkills.open(folder)))
  }

  /** Reads the folder again; a file with problems keeps the skill that it gave before. */
  async reload(): Promise<SkillReload> {
    return JSON.parse(await settle(() => this.#native.reload())) as SkillReload
  }

  /** One entry for each skill, by id. */
  list(): SkillSummary[] {
    return JSON.parse(call(() => this.#native.list())) as SkillSummary[]
  }

  /** What a skill says of itself. */
  spec(id: string): Record<string, unknown> {
    return JSON.parse(call(() => this.#native.spec(id))) as Record<string, unknown>
  }

  /** The JSON Schemas of a skill's inputs and of its output. */
  schemas(id: string): { readonly input: JsonSchema; readonly output: JsonSchema } {
    return JSON.parse(call(() => this.#native.schemas(id))) as { input: JsonSchema; output: JsonSchema }
  }

  /**
   * The messages of a skill for these inputs; text from outside is delimited and never in the system role.
   *
   * The id is one such as `writing.summary.v1`, or `writing.summary` for the newest version.
   */
  render(id: string, inputs: Readonly<Record<string, unknown>> = {}): Message[] {
    const text = toJson(inputs, 'inputs')
    return JSON.parse(call(() => this.#native.render(id, text))) as Message[]
  }

  /** The types of what the skills are given and give, as the text of one source file. */
  types(language: TypeLanguage): string {
    return call(() => this.#native.types(JSON.stringify(language)))
  }

  /** Everything that was wrong when the folder was read last, warnings included. */
  get diagnostics(): readonly Diagnostic[] {
    return JSON.parse(call(() => this.#native.diagnostics())) as Diagnostic[]
  }
}

/** The native half of a registry. */
export function nativeSkills(skills: SkillRegistry): NativeSkills {
  return halfOf(natives, 'skills', 'a `SkillRegistry`', skills)
}
