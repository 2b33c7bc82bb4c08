// A pack is installed and run, and its report is rendered.

import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

import { embedders, Engine, KnowledgeBase, loadFolder, Pack, Report } from 'raptorflow'

const folder = (name) => fileURLToPath(new URL(`../../${name}`, import.meta.url))

test('the council answers from documents, and its report is Markdown with citations', async () => {
  const engine = new Engine(undefined, { defaultModel: 'offline:extractive' })
  const kb = await KnowledgeBase.open('memory:', { embedder: embedders.hashing() })
  await kb.add((await loadFolder(folder('docs'))).documents)
  engine.useKnowledge(kb)
  const pack = await engine.install(folder('packs/council'))
  assert.deepEqual([pack.name, pack.teams.length], ['council', 7])
  assert.ok(pack.agents.every((name) => engine.agents.includes(name)))
  const outcome = await engine.run('council', 'Plan the launch of the library.')
  const report = new Report(outcome.output)
  assert.ok(report.sections.length > 0 && report.sources.length > 0)
  const markdown = report.toMarkdown()
  assert.match(markdown, /^# Plan the launch of the library\./)
  for (const { heading } of report.sections) assert.ok(markdown.includes(`## ${heading}`), heading)
  assert.match(markdown, /\[1\]/)
  assert.deepEqual(new Report(report).toMarkdown(), markdown)
  await assert.rejects(engine.install(pack), { code: 'already_exists' })
})

test('every problem of a pack is said with its place', async () => {
  const broken = mkdtempSync(join(tmpdir(), 'raptorflow-'))
  try {
    cpSync(folder('packs/council'), broken, { recursive: true })
    const file = join(broken, 'pack.toml')
    writeFileSync(file, readFileSync(file, 'utf8').replace(/^domains = \d+/m, 'domains = 99'))
    await assert.rejects(Pack.load(broken), ({ code, diagnostics }) => {
      assert.equal(code, 'invalid_input')
      assert.deepEqual([diagnostics.length, diagnostics[0].file], [1, 'pack.toml'])
      return true
    })
  } finally {
    rmSync(broken, { recursive: true, force: true })
  }
})

test('a folder without a pack, and an output that is no report, are clear errors', async () => {
  await assert.rejects(Pack.load(folder('docs')), { code: 'not_found', message: /pack\.toml/ })
  assert.throws(() => new Report('text'), { code: 'invalid_input' })
  await assert.rejects(new Engine().install({}), { code: 'invalid_input' })
})
