"""The council answers a goal from a folder of documents, and its report is Markdown.

    python council.py [FOLDER] [GOAL]
"""

import asyncio
import sys
from pathlib import Path

import raptorflow as rf

ROOT = Path(__file__).parents[2]
GOAL = (
    "Plan the launch of raptorflow: its scope and architecture, what we know and have learned, the schedule and "
    "milestones, the quality bar and brand, trends and opportunities, conflicts between goals and how to decide them, "
    "and the announcement to each audience."
)


async def main(folder: str, goal: str) -> None:
    documents = await rf.load_folder(folder)
    for line in documents.left_out:
        print(f"left out: {line}", file=sys.stderr)
    kb = await rf.KnowledgeBase.open(embedder=rf.embedders.hashing())
    await kb.add(documents)

    async with rf.Engine(default_model="offline:extractive") as engine:
        engine.use_knowledge(kb)
        pack = engine.install(ROOT / "packs" / "council")
        print(f"{len(documents)} documents, {len(pack.teams)} teams, {len(pack.agents)} agents", file=sys.stderr)
        outcome = await engine.run(pack.name, {"goal": goal})
        print(rf.Report(outcome).to_markdown())


if __name__ == "__main__":
    given = dict(enumerate(sys.argv[1:]))
    try:
        asyncio.run(main(given.get(0, str(ROOT / "docs")), given.get(1, GOAL)))
    except rf.RaptorflowError as error:
        sys.exit(f"error: {error}")
