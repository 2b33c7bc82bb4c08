"""A typed function becomes a tool, a model of your own calls it, and the answer is a dataclass."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import raptorflow as rf


@dataclass
class Price:
    gross: float
    currency: str = "INR"


@rf.tool
async def add_gst(net: float, rate: float = 0.18) -> float:
    """Adds GST to a net amount in rupees.

    Args:
        net: The amount before tax.
        rate: The rate, 0.18 for 18 %.
    """
    return round(net * (1 + rate), 2)


def rule(request: rf.ChatRequest) -> Any:
    """Stands in for a language model: asks for the tool, then says what it answered."""
    results = request.messages[-1].of_type("tool_result")
    if not results:
        return {"tool_calls": [{"id": "1", "name": "add_gst", "arguments": {"net": 1000}}]}
    return json.dumps({"gross": results[0]["content"]})


async def main() -> None:
    engine = rf.Engine()
    engine.register_model("host:rule", rule)
    pricing = rf.Agent("pricing", model="host:rule", tools=[add_gst], output_type=Price)
    engine.register(pricing)

    outcome = await engine.run(pricing, "₹1000 with GST?")
    print(f"With GST it is {outcome.output.gross} {outcome.output.currency}.")


if __name__ == "__main__":
    asyncio.run(main())
