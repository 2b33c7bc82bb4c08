// An engine, one agent, one answer: offline, from a document that is given to it.

import { Agent, embedders, Engine, KnowledgeBase } from 'raptorflow'

const kb = await KnowledgeBase.open('memory:', { embedder: embedders.hashing() })
const text = 'A run is a list of facts. Resuming a run reads the list again and repeats nothing.'
await kb.add([{ id: 'journal.md', text }])

const engine = new Engine('memory:', { defaultModel: 'offline:extractive' })
engine.useKnowledge(kb)
engine.register(new Agent({ name: 'reader', retrieval: true }))

const outcome = await engine.run('reader', 'What happens when a run is resumed?')
console.log(outcome.text)
