"""Every scenario of `tests/scenarios`, with the model, the tools and the function agents in Python."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from scenario import FOLDER, Player, load

FILES = sorted(FOLDER.glob("*.json"))


def test_there_are_scenarios(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{len(FILES)} scenarios")
    assert len(FILES) >= 15


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_scenario(path: Path, tmp_path: Path) -> None:
    scenario = load(path)
    asyncio.run(Player(scenario, tmp_path).play())


def test_a_planted_difference_is_found(tmp_path: Path) -> None:
    scenario = load(FOLDER / "tool_round_trip.json")
    scenario["steps"][0]["expect"]["output"] = "It is 6."
    with pytest.raises(AssertionError, match="output: expected 'It is 6.', got 'It is 5.'"):
        asyncio.run(Player(scenario, tmp_path).play())


def test_an_unknown_field_is_refused(tmp_path: Path) -> None:
    scenario = load(FOLDER / "plain_answer.json")
    scenario["steps"][0]["expect"]["colour"] = "red"
    with pytest.raises(AssertionError, match="unknown fields"):
        asyncio.run(Player(scenario, tmp_path).play())
