"""An engine, one agent, one answer: offline, from a document that is given to it."""

import asyncio

import raptorflow as rf


async def main() -> None:
    kb = await rf.KnowledgeBase.open(embedder=rf.embedders.hashing())
    text = "A run is a list of facts. Resuming a run reads the list again and repeats nothing."
    await kb.add([rf.Document(id="journal.md", text=text)])

    engine = rf.Engine(default_model="offline:extractive")
    engine.use_knowledge(kb)
    engine.register(rf.Agent("reader", retrieval=True))

    outcome = await engine.run("reader", "What happens when a run is resumed?")
    print(outcome.text)


if __name__ == "__main__":
    asyncio.run(main())
