"""Patterns: one line each, members of every kind, decisions, and every problem at once."""

from __future__ import annotations

from typing import Any

import pytest

import raptorflow as rf


def engine(**answers: Any) -> rf.Engine:
    """An engine with an agent for each answer, which is a value or a function of the input."""

    def function(answer: Any) -> Any:
        def reply(input: Any) -> Any:
            return answer(input) if callable(answer) else answer

        return reply

    made = rf.Engine()
    made.register(*(rf.agent(name)(function(answer)) for name, answer in answers.items()))
    return made


def said(position: str, confidence: float = 0.9) -> dict[str, Any]:
    return {"position": position, "confidence": confidence}


def test_a_debate_is_one_line_and_its_decision_says_how_it_came_about() -> None:
    made = engine(pro=said("ship"), con=said("wait"), judge="Position: ship")
    decision = made.run_sync(rf.debate(["pro", "con"], judge="judge", rounds=3, turns=1), "Do we ship?").output
    assert (decision["answer"], decision["stopped"], decision["agreed"]) == ("ship", "judged", True)
    assert [turn["agent"] for turn in decision["turns"]] == ["pro", "con", "judge"]
    assert len(decision["tally"]["sides"]) == 2


def test_every_kind_runs_from_one_line() -> None:
    made = engine(
        a="Yes",
        b="no",
        c="yes.",
        critic={"score": 0.9, "verdict": "approve"},
        double=lambda number: number * 2,
        total=lambda given: sum(given["items"]),
    )
    for pattern, input, answer in [
        (rf.sequential(["a", {"agent": "b"}]), "x", "no"),
        (rf.parallel(["a", {"agent": "b", "weight": 1.5}, "c"], aggregate="vote"), "x", "Yes"),
        (rf.verification(["critic"], author="a"), "x", "Yes"),
        (rf.expert_panel(["a", "c"], strategy="consensus"), "x", "Yes"),
        (rf.map_reduce("double", reducer="total"), [1, 2, 3], 12),
        (rf.reflection("a", critic="critic", rounds=2), "x", "Yes"),
        (rf.debate([rf.parallel(["a", "c"], aggregate="majority", name="group"), "c"]), "x", "Yes"),
    ]:
        decision = made.run_sync(pattern, input).output
        assert decision["answer"] == answer, pattern


def test_a_pattern_is_registered_and_is_a_step_of_a_workflow() -> None:
    made = engine(a="yes", b="yes")
    vote = rf.parallel(["a", "b"], aggregate="majority", name="vote", answer_only=True)
    made.register(vote)
    assert vote.name == "vote"
    assert rf.Pattern(vote.to_dict()).to_dict() == vote.to_dict()
    assert made.run_sync(rf.Workflow("flow").step("ask", agent=vote), "x").output == "yes"


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(rf.InvalidInputError) as caught:
        rf.debate([{"agent": "alone", "weight": -1.0}], rounds=0).name  # noqa: B018
    problems = "\n".join(caught.value.diagnostics)
    assert all(code in problems for code in ("bad_weight", "out_of_range", "too_few")), problems
