"""The events and the text of a run, as they come."""

import asyncio

import raptorflow as rf


async def main() -> None:
    kb = await rf.KnowledgeBase.open(embedder=rf.embedders.hashing())
    text = "Every agent's work shows on the bus. A full subscription says what it missed."
    await kb.add([rf.Document(id="bus.md", text=text)])

    engine = rf.Engine(default_model="offline:extractive")
    engine.use_knowledge(kb)
    engine.register(rf.Agent("reader", retrieval=True))

    stream = engine.stream("reader", "What shows on the bus?")
    async for event in stream:
        print(f"{event.sequence:>4}  {event.kind:<20} {event.data}")
    print((await stream.outcome()).text)


if __name__ == "__main__":
    asyncio.run(main())
