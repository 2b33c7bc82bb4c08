"""The programs of both READMEs and of the guide run as they are printed; a server here stands in for the provider."""

from __future__ import annotations

import http.server
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def program(path: str, index: int = 0) -> str:
    """A Python program of a page, by default the first."""
    found = re.findall(r"^```python\n(.*?)^```", (ROOT / path).read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return str(found[index])


class Provider(http.server.BaseHTTPRequestHandler):
    """Asks for the tool `add_gst`, then says what it answered; in the wire format of OpenAI, as a stream."""

    requests: list[dict[str, Any]] = []

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.requests.append(request)
        last = request["messages"][-1]
        if last["role"] == "tool":
            deltas: list[dict[str, Any]] = [{"content": "It is "}, {"content": f"{last['content']}."}]
        else:
            function = {"name": "add_gst", "arguments": '{"net": 1000}'}
            deltas = [{"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": function}]}]
        end = "stop" if last["role"] == "tool" else "tool_calls"
        chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": end}]})
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for chunk in chunks:
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def provider() -> Iterator[str]:
    Provider.requests.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()


def run(code: str, folder: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        encoding="utf-8",
        cwd=folder,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_program_of_the_front_page_calls_its_tool_through_a_provider(provider: str, tmp_path: Path) -> None:
    said = run(program("README.md"), tmp_path, OPENAI_BASE_URL=provider, OPENAI_API_KEY="sk-of-a-test")
    assert said == "It is 1180.0.\n"
    first, second = Provider.requests
    (function,) = [tool["function"] for tool in first["tools"]]
    assert function["description"] == "Adds GST to a net amount in rupees."
    # The strict form of the schema: every argument is there, and one that may be left out may be null.
    assert function["strict"] is True
    assert function["parameters"]["properties"]["rate"] == {
        "type": ["number", "null"],
        "description": "(default: 0.18)",
    }
    assert [message["role"] for message in second["messages"]] == ["user", "assistant", "tool"]


def test_the_program_of_the_package_runs(tmp_path: Path) -> None:
    assert run(program("raptorflow-py/README.md"), tmp_path).startswith("HELLO ")
    assert (tmp_path / "team.db").is_file()


def test_the_workflow_of_the_package_asks_and_publishes(tmp_path: Path) -> None:
    assert run(program("raptorflow-py/README.md", 1), tmp_path) == "About lamps. (publish)\n"


def test_the_workflow_of_the_guide_asks_and_publishes(tmp_path: Path) -> None:
    assert run(program("docs/guide/workflows.md"), tmp_path) == "ABOUT LAMPS.\n"


def test_the_budget_of_the_guide_stops_and_goes_on(tmp_path: Path) -> None:
    assert run(program("docs/guide/budgets.md"), tmp_path) == "0.004000 USD\n"
