// The council answers a goal from a folder of documents, and its report is Markdown.
//
//     node council.mjs [FOLDER] [GOAL]

import { fileURLToPath } from 'node:url'

import { embedders, Engine, KnowledgeBase, loadFolder, RaptorflowError, Report } from 'raptorflow'

const inRoot = (name) => fileURLToPath(new URL(`../../${name}`, import.meta.url))
const [
  folder = inRoot('docs'),
  goal = 'Plan the launch of raptorflow: its scope and architecture, what we know and have learned, the schedule and ' +
    'milestones, the quality bar and brand, trends and opportunities, conflicts between goals and how to decide ' +
    'them, and the announcement to each audience.',
] = process.argv.slice(2)

try {
  const { documents, diagnostics } = await loadFolder(folder)
  for (const { file, message } of diagnostics) console.error(`left out: ${file}: ${message}`)
  const kb = await KnowledgeBase.open('memory:', { embedder: embedders.hashing() })
  await kb.add(documents)

  const engine = new Engine('memory:', { defaultModel: 'offline:extractive' })
  engine.useKnowledge(kb)
  const { name, teams, agents } = await engine.install(inRoot('packs/council'))
  console.error(`${documents.length} documents, ${teams.length} teams, ${agents.length} agents`)
  const { output } = await engine.run(name, { goal })
  console.log(new Report(output).toMarkdown())
} catch (error) {
  if (!RaptorflowError.isInstance(error)) throw error
  console.error(`error: ${error.message}`)
  process.exitCode = 1
}
