"""The examples run offline and say what they should; their types are checked strictly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "python"


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, *command], capture_output=True, encoding="utf-8", cwd=ROOT, env=environment, timeout=300
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hello_agent", "Resuming a run reads the list again and repeats nothing"),
        ("custom_tool", "With GST it is 1180.0 INR."),
        ("streaming", "agent_completed"),
        ("budget", "complete: 4 calls, 0.007200 USD"),
        ("scripted", "given again: The basic plan costs ₹499."),
    ],
)
def test_an_example_runs(name: str, said: str) -> None:
    done = run(str(EXAMPLES / f"{name}.py"))
    assert done.returncode == 0, done.stderr
    assert said in done.stdout


def test_the_budget_shows_what_it_has_when_it_stops() -> None:
    done = run(str(EXAMPLES / "budget.py"))
    assert done.stdout.startswith("stopped: ") and "spent 0.003600 USD" in done.stdout, done.stdout
    assert done.stdout.count("  has: What ") == 2, done.stdout


def test_the_council_writes_a_section_a_team_with_citations() -> None:
    done = run(str(EXAMPLES / "council.py"))
    assert done.returncode == 0, done.stderr
    sections = [line for line in done.stdout.splitlines() if line.startswith("## ")]
    assert len(sections) >= 7, sections
    assert "[1]" in done.stdout


def test_the_council_says_in_one_line_what_is_wrong_with_a_folder(tmp_path: Path) -> None:
    for folder in (tmp_path / "missing", tmp_path):
        done = run(str(EXAMPLES / "council.py"), str(folder))
        assert done.returncode == 1
        assert done.stderr.startswith("error: rag.load: ") and len(done.stderr.splitlines()) == 1, done.stderr


def test_every_example_is_here() -> None:
    named = {"hello_agent", "custom_tool", "streaming", "budget", "scripted", "council"}
    assert {path.stem for path in EXAMPLES.glob("*.py")} == named


def test_the_examples_pass_mypy_strict() -> None:
    done = run("-m", "mypy", "--strict", "--no-error-summary", *map(str, sorted(EXAMPLES.glob("*.py"))))
    assert done.returncode == 0, done.stdout + done.stderr
