"""Chats with tools against servers that others wrote, on OpenAI's wire and on Anthropic's.

`mock-ai-api` is installed by `cargo xtask test`, the `litellm` proxy before it by `cargo xtask third-party`.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pytest

import raptorflow as rf

FOLDER = Path(__file__).parents[2] / "tests" / "third_party"


def variable(name: str, server: str) -> str:
    """Where a server is installed; without it the test is left out, unless this machine has to have it."""
    value = os.environ.get(name)
    if not value:
        missing = pytest.fail if server in os.environ.get("RAPTORFLOW_REQUIRE", "").split(",") else pytest.skip
        missing(f"{name} is not set")
    return value


@contextmanager
def serving(ports: int, *command: str, **environment: str) -> Iterator[list[str]]:
    """The addresses of a server that prints its ports, and ends with its input."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env={**os.environ, **environment}, stdin=pipe, stdout=pipe, text=True) as child:
        assert child.stdin and child.stdout
        lines = (line.strip() for line in child.stdout)
        found = (f"http://127.0.0.1:{line}" for line in lines if line.isdecimal())
        yield list(islice(found, ports))
        child.stdin.close()


@pytest.fixture(scope="module")
def direct() -> Iterator[tuple[str, str]]:
    """The addresses of both wires of `mock-ai-api`."""
    folder = variable("RAPTORFLOW_MOCK_AI_API", "mock-ai-api")
    with serving(2, sys.executable, str(FOLDER / "mock_ai_api.py"), PYTHONPATH=folder) as (openai, anthropic):
        yield f"{openai}/v1", anthropic


@pytest.fixture(scope="module")
def proxied(direct: tuple[str, str]) -> Iterator[tuple[str, str]]:
    """The addresses of both wires of the proxy."""
    python = variable("RAPTORFLOW_LITELLM", "litellm")
    with serving(1, python, str(FOLDER / "litellm_proxy.py"), *direct) as (address,):
        yield f"{address}/v1", address


@pytest.mark.parametrize(
    "server, calls, says",
    [
        ("direct", "openai:gpt-4.1:mock-tool-stream", "openai:gpt-4.1:mock-text"),
        ("direct", "anthropic:claude-sonnet-4-5:mock-tool-stream", "anthropic:claude-sonnet-4-5:mock-text"),
        ("proxied", "openai:calls", "openai:says"),
        ("proxied", "anthropic:claude-calls", "anthropic:claude-says"),
    ],
)
def test_a_tool_is_called_and_a_text_is_read(
    server: str, calls: str, says: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    openai, anthropic = request.getfixturevalue(server)
    monkeypatch.setenv("OPENAI_BASE_URL", openai)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", anthropic)
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "key")
    written: list[tuple[str, str]] = []

    @rf.tool(name="Write")
    def write(path: str, contents: str) -> str:
        """Writes a file."""
        written.append((path, contents))
        return "written"

    async def main() -> None:
        engine = rf.Engine()
        engine.register(rf.Agent("clerk", model=calls, tools=[write], limits={"tool_calls": 1}))
        engine.register(rf.Agent("speaker", model=says))
        outcome = await engine.run("clerk", "Write a file.")
        assert (outcome.finish, written) == ("tool_calls", [("tmp/mock-file.txt", "mock output")])
        outcome = await engine.run("speaker", "Say something.")
        assert (outcome.finish, outcome.text) == ("complete", "Hello. It's nice to meet you.")
        assert outcome.usage.input_tokens > 0 and outcome.usage.output_tokens > 0

    asyncio.run(main())
