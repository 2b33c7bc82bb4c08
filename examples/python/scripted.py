"""A test of your own without a provider: a model that follows a script, and a recorded run that is given again."""

import asyncio

import raptorflow as rf
from raptorflow.testing import ReplayModel, ScriptedModel


@rf.tool
def price(plan: str) -> int:
    """Finds what a plan costs a month, in rupees."""
    return {"basic": 499}[plan]


def clerk(model: ScriptedModel | ReplayModel) -> rf.Engine:
    """What is tested; only its model is another one."""
    engine = rf.Engine(default_model="test:model")
    engine.register_model("test:model", model)
    engine.register(rf.Agent("clerk", tools=[price]))
    return engine


async def main() -> None:
    script = ScriptedModel(
        [
            rf.RateLimitedError("slow down", retry_after=0.01),
            {"tool_calls": [{"id": "1", "name": "price", "arguments": {"plan": "basic"}}]},
            "The basic plan costs ₹499.",
        ]
    )
    engine = clerk(script)
    outcome = await engine.run("clerk", "What does the basic plan cost?")
    assert outcome.text == "The basic plan costs ₹499."
    result = script.requests[-1].messages[-1]
    assert result.role == "tool" and script.remaining == 0
    print(f"asked {len(script.requests)} times: {outcome.text}")

    recorded = await ReplayModel.of_run(engine, outcome.run_id)
    again = await clerk(recorded).run("clerk", "What does the basic plan cost?")
    assert again.text == outcome.text and recorded.left == 0
    print(f"given again: {again.text}")


if __name__ == "__main__":
    asyncio.run(main())
