"""Agents ask others, hand over, work by skills, and end at what they may cost."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

import raptorflow as rf


def called(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"tool_calls": [{"id": "1", "name": name, "arguments": arguments}]}


def office(requests: list[rf.ChatRequest]) -> rf.Engine:
    """An engine whose model plays each agent by what the agent is told to be."""

    def model(request: rf.ChatRequest) -> Any:
        requests.append(request)
        who = request.messages[0].text
        if who == "You bill.":
            return "499 a month."
        if request.messages[-1].role == "tool":
            return "Billing says: 499 a month."
        return called("billing" if who == "You ask." else "transfer_to_billing", {"task": "What is the price?"})

    engine = rf.Engine(default_model="host:office")
    engine.register_model("host:office", model)
    engine.register(rf.Agent("billing", instructions="You bill.", description="Knows prices."))
    return engine


def test_an_agent_asks_another_one_as_a_tool() -> None:
    requests: list[rf.ChatRequest] = []
    engine = office(requests)
    settings: rf.ModelSettings = {"temperature": 0.25, "max_output_tokens": 200}
    engine.register(rf.Agent("desk", instructions="You ask.", agents=["billing"], model_settings=settings))
    outcome = engine.run_sync("desk", "Price?")
    assert (outcome.text, outcome.agent) == ("Billing says: 499 a month.", None)
    assert [tool["name"] for tool in requests[0].tools] == ["billing"]
    assert (requests[0].temperature, requests[0].max_output_tokens) == (0.25, 200)
    with pytest.raises(rf.InvalidInputError, match="range"):
        rf.Agent("hot", model_settings={"temperature": 3.0})


def test_an_agent_hands_the_conversation_over() -> None:
    engine = office([])
    handoff: rf.Handoff = {"agent": "billing", "history": {"last": 2}, "description": "For prices."}
    engine.register(rf.Agent("triage", instructions="You hand over.", handoffs=[handoff]))
    outcome = engine.run_sync("triage", "Price?")
    assert (outcome.text, outcome.agent) == ("499 a month.", "billing")


def test_a_run_ends_at_what_it_may_cost() -> None:
    engine = office([])
    limits: rf.Limits = {"cost": rf.Money(1, "USD"), "depth": 2}
    engine.register(rf.Agent("desk", instructions="You ask.", agents=["billing"], limits=limits))
    # The host's model has no price, and a cost that is not known counts as one that has reached the bound.
    assert engine.run_sync("desk", "Price?").finish == "cost"


def test_skills_are_agents(tmp_path: Path) -> None:
    front = "skill_id: talk.greet.v1\nname: Greet\ndescription: Greets.\nversion: 1.0.0\ninputs:\n  who: string\n"
    (tmp_path / "greet.md").write_text(f"---\n{front}---\n## MISSION\nGreet.\n## CONTEXT INJECTION\n{{{{ who }}}}\n")
    requests: list[rf.ChatRequest] = []
    engine = rf.Engine(default_model="host:m")
    engine.register_model("host:m", lambda request: (requests.append(request), "Hello!")[1])
    engine.install_skills(rf.SkillRegistry.load(tmp_path))
    assert engine.run_sync("talk.greet.v1", {"who": "Asha"}).text == "Hello!"
    system, user = requests[0].messages
    assert "Greet." in system.text and "Asha" in user.text
    with pytest.raises(rf.InvalidInputError):
        engine.run_sync("talk.greet.v1", {"who": 5})
    with pytest.raises(rf.AlreadyExistsError):
        engine.install_skills(rf.SkillRegistry.load(tmp_path))


def test_a_call_that_needs_approval_waits_for_exactly_this_call() -> None:
    sent: list[str] = []

    @rf.tool(effects="external", approval=True, rate=(5, 60))
    def send(text: str) -> str:
        """Sends a text to everybody."""
        sent.append(text)
        return "sent"

    def model(request: rf.ChatRequest) -> Any:
        last = request.messages[-1]
        if last.role != "tool":
            return called("send", {"text": request.messages[-1].text})
        return json.dumps(last.parts[0]["content"])

    async def main() -> None:
        engine = rf.Engine(default_model="host:m")
        engine.register_model("host:m", model)
        engine.register(rf.Agent("crier", tools=[send]))

        async def waiting(run: rf.Run) -> rf.PendingApproval:
            while not (calls := await engine.pending_approvals(run.id)):
                await asyncio.sleep(0)
            return calls[0]

        run = await engine.start("crier", "hello")
        call = await waiting(run)
        assert (call.agent, call.tool, call.arguments, sent) == ("crier", "send", {"text": "hello"}, [])
        assert await engine.pending_approvals() == [call]
        other = rf.PendingApproval(call.run, call.id, call.agent, call.tool, {}, "0" * 64, call.since)
        with pytest.raises(rf.PermissionDeniedError):
            await engine.approve(other, by="anna")
        await engine.approve(call, by="anna")
        assert "sent" in (await run.outcome()).text and sent == ["hello"]
        with pytest.raises((rf.ConflictError, rf.NotFoundError)):
            await engine.approve(call)

        run = await engine.start("crier", "again")
        await engine.deny(await waiting(run), by="anna", reason="once is enough")
        assert "once is enough" in (await run.outcome()).text and sent == ["hello"]

    asyncio.run(main())


def test_an_agent_calls_only_tools_that_it_was_granted_and_pays_for_those_that_cost() -> None:
    @rf.tool(needs=["mail.send"], cost="0.25 USD")
    def send(text: str) -> str:
        """Sends a text to everybody."""
        return f"sent {text}"

    def model(request: rf.ChatRequest) -> Any:
        last = request.messages[-1]
        if last.role != "tool":
            return called("send", {"text": request.messages[-1].text})
        return json.dumps(last.parts[0]["content"])

    engine = rf.Engine(default_model="host:m")
    engine.register_model("host:m", model)
    engine.register(rf.Agent("reader", tools=[send], grants=["files.read"]))
    engine.register(rf.Agent("crier", tools=[send], grants=["mail.send"]))
    refused = json.loads(engine.run_sync("reader", "hello").text)
    assert (refused["error"], refused["agent"], refused["tool"], refused["grant"]) == (
        "permission_denied",
        "reader",
        "send",
        "mail.send",
    )
    assert engine.run_sync("crier", "hello").text == '"sent hello"'
    with pytest.raises(rf.InvalidInputError):
        rf.Tool(send.function, cost="much")
