// The events and the text of a run, as they come.

import { Agent, embedders, Engine, KnowledgeBase } from 'raptorflow'

const kb = await KnowledgeBase.open('memory:', { embedder: embedders.hashing() })
const text = "Every agent's work shows on the bus. A full subscription says what it missed."
await kb.add([{ id: 'bus.md', text }])

const engine = new Engine('memory:', { defaultModel: 'offline:extractive' })
engine.useKnowledge(kb)
engine.register(new Agent({ name: 'reader', retrieval: true }))

// Content is off unless the host asks for it.
const stream = engine.stream('reader', 'What shows on the bus?', { content: true })
for await (const { sequence, kind, data } of stream) {
  console.log(String(sequence).padStart(4), kind.padEnd(20), data === undefined ? '' : JSON.stringify(data))
}
console.log((await stream.outcome()).text)
