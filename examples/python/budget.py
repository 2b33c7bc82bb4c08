"""A team of teams that stops at its cap, shows what it has by then, and goes on when the cap is raised."""

import asyncio

import raptorflow as rf

# Millionths of a dollar per million tokens: 1 USD for what goes in, 2 USD for what comes out.
PRICES = [
    {
        "model": "host:writer",
        "currency": "USD",
        "input": 1_000_000,
        "output": 2_000_000,
        "valid_from": "2026-01-01",
    }
]


def writer(ctx: rf.Context, request: rf.ChatRequest) -> dict[str, object]:
    """Stands in for a language model: one sentence, and what it took."""
    return {
        "text": f"What {ctx.lineage[-1]} found.",
        "usage": {"input_tokens": 1_200, "output_tokens": 300},
    }


def team(engine: rf.Engine, name: str) -> rf.Workflow:
    """A lead and a member, who works on what the lead found."""
    lead, member = rf.Agent(f"{name}-lead"), rf.Agent(f"{name}-member")
    engine.register(lead, member)
    return rf.Workflow(name).step("lead", agent=lead).step("member", agent=member, after="lead")


async def main() -> None:
    # A run may spend 0.007 USD; each call sets aside about 0.004 and takes 0.0018.
    engine = rf.Engine(
        default_model="host:writer", prices=PRICES, budgets={"run": {"total": {"money": "0.007 USD"}}}
    )
    engine.register_model("host:writer", writer)
    office = (
        rf.Workflow("office")
        .step("plans", workflow=team(engine, "plans"), input="$input")
        .step("risks", workflow=team(engine, "risks"), input="$input", after="plans")
    )

    try:
        await engine.run(office, "Write the plan and name each risk.")
    except rf.BudgetExceededError as stopped:
        run, why = stopped.run_id or "", stopped.context
    print(f"stopped: {why['wanted']} of {why['cap']}, spent {why['spent']}")
    for step in (await engine.state(run))["steps"]:
        if isinstance(step["output"], str):
            print(f"  has: {step['output']}")

    await engine.set_cap(run_id=run, money="0.020 USD")
    outcome = await engine.resume(run)
    report = await engine.usage(run_id=run)
    print(f"complete: {report.total.calls} calls, {report.total.cost}")
    for agent, total in report.agents.items():
        print(f"  {agent}: {total.calls} call, {total.cost}")
    assert report.total.cost == outcome.cost, "the ledger and the journal agree"


if __name__ == "__main__":
    asyncio.run(main())
